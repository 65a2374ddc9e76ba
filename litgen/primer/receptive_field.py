"""How far a unit of a convolutional network sees: computed from its layers, read off gradients.

Chapter: book/primer/convolution.md.  Proof: tests/primer/test_receptive_field.py.
Reference: Dumoulin & Visin, "A guide to convolution arithmetic for deep learning" (2016), for the
geometry of a layer.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from litgen.shapes import Bool, Float

__all__ = ["Layer", "View", "geometry", "receptive_fields", "seen_pixels"]


class Layer(NamedTuple):
    """What decides the geometry of a convolution or a pooling along one axis."""

    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1


class View(NamedTuple):
    """What one unit sees along one axis.

    Attributes:
        size: pixels of the image that reach it.
        jump: pixels between the views of neighbouring units.
        first: first pixel that unit 0 sees; negative inside the padding.
    """

    size: int
    jump: int
    first: int

    def pixels(self, unit: int, length: int) -> range:
        """Return the pixels 0..length-1 that a unit sees."""
        start = self.first + unit * self.jump
        return range(max(start, 0), min(start + self.size, length))


def receptive_fields(layers: Sequence[Layer]) -> list[View]:
    """Return the view after each layer. Implements eq:conv-receptive-field."""
    size, jump, first = 1, 1, 0
    views = []
    for layer in layers:
        size += (layer.kernel - 1) * layer.dilation * jump
        first -= layer.padding * jump
        jump *= layer.stride
        views.append(View(size, jump, first))
    return views


def geometry(net: nn.Sequential) -> list[Layer]:
    """Return a flat stack's convolutions and poolings, up to its first linear layer.

    Raises:
        ValueError: a layer whose height and width differ.
    """
    names = ("kernel_size", "stride", "padding", "dilation")
    layers = []
    for module in net:
        if isinstance(module, nn.Linear):
            break
        if isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
            layers.append(Layer(*(_one(module, name) for name in names if hasattr(module, name))))
    return layers


def seen_pixels(
    net: Callable[[Tensor], Tensor],
    images: Float[Tensor, "batch channels height width"],
    row: int,
    column: int,
) -> Bool[Tensor, "height width"]:
    """Say which pixels move the unit at (row, column): those where its gradient is not zero.

    A maximum passes on the gradient of one pixel only and a ReLU of none where it is closed, so
    the answer is collected over channels and a batch of images.
    """
    x = images.clone().requires_grad_()
    units = net(x)[:, :, row, column]
    weights = torch.linspace(0.5, 1.5, units.shape[1], dtype=units.dtype)
    gradient = torch.autograd.grad((units * weights).sum(), x)[0]
    return (gradient != 0).any(dim=0).any(dim=0)


def _one(module: nn.Module, name: str) -> int:
    """Return a setting that is the same for height and width."""
    value = getattr(module, name)
    if isinstance(value, tuple):
        if len(set(value)) != 1:
            raise ValueError(f"{name} differs along the axes: {value}")
        value = value[0]
    return int(value)
