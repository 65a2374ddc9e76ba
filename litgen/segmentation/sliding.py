"""A classifier slid over a big image, and the convolution that gives the same numbers at once.

Chapter: book/segmentation/fcn.md.  Proof: tests/segmentation/test_sliding.py.
Reference: Long, Shelhamer & Darrell, "Fully Convolutional Networks for Semantic Segmentation"
(2015), sections 3.1 and 3.2.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from litgen.shapes import Float

__all__ = [
    "PIXELS",
    "Grid",
    "as_convolution",
    "convolutionalized",
    "crop_offset",
    "grid_after",
    "grid_upsampled",
    "multiplications",
    "slide",
]


class Grid(NamedTuple):
    """Where the units of a map lie along one axis of the image.

    Attributes:
        first: pixel on which unit 0 is centred; a half lies between two pixels.
        jump: pixels from one unit to the next.
        size: pixels that one unit sees.
    """

    first: float
    jump: float
    size: int


PIXELS = Grid(0.0, 1.0, 1)
"""The image itself."""


def as_convolution(linear: nn.Linear, height: int, width: int) -> nn.Conv2d:
    """Return a fully connected layer as a convolution over the map that it used to flatten.

    The same weights in another shape. Implements eq:fcn-reshaped.

    Raises:
        ValueError: inputs that are no whole number of channels of that height and width.
    """
    channels, rest = divmod(linear.in_features, height * width)
    if rest or channels == 0:
        raise ValueError(f"{linear.in_features} inputs are no channels of {height} by {width}")
    like = linear.weight.detach()
    layer = nn.Conv2d(
        channels, linear.out_features, (height, width), bias=linear.bias is not None
    ).to(like)
    with torch.no_grad():
        layer.weight.copy_(like.view_as(layer.weight))
        if layer.bias is not None and linear.bias is not None:
            layer.bias.copy_(linear.bias)
    return layer


def convolutionalized(classifier: nn.Sequential, side: int, channels: int = 3) -> nn.Sequential:
    """Return a classifier of square images as a network for images of any size from ``side`` on.

    Layers before the flattening are the classifier's own, not copies; what it flattened becomes
    the first convolution's window, and later fully connected layers see one unit each.

    Raises:
        ValueError: a stack that flattens nothing, or linear layers that do not fit.
    """
    kinds = [type(layer) for layer in classifier]
    if nn.Flatten not in kinds:
        raise ValueError("the classifier flattens nothing, so there is nothing to convolve")
    split = kinds.index(nn.Flatten)
    layers = list(classifier[:split])
    size = _size_after(layers, side)
    for layer in classifier[split + 1 :]:
        if isinstance(layer, nn.Linear):
            layers.append(as_convolution(layer, size, size))
            size = 1
        else:
            layers.append(layer)
    return nn.Sequential(*layers)


def slide(
    classifier: nn.Module,
    images: Float[Tensor, "batch channels height width"],
    side: int,
    stride: int,
) -> Float[Tensor, "batch classes rows columns"]:
    """Ask a classifier about every window of an image, one after the other.

    Implements eq:fcn-sliding, the slow way.

    Raises:
        ValueError: an image that is smaller than the window.
    """
    height, width = images.shape[2:]
    if min(height, width) < side:
        raise ValueError(f"no window of {side} by {side} fits into {height} by {width} pixels")
    rows = [
        torch.stack(
            [
                classifier(images[:, :, top : top + side, left : left + side])
                for left in range(0, width - side + 1, stride)
            ],
            dim=-1,
        )
        for top in range(0, height - side + 1, stride)
    ]
    return torch.stack(rows, dim=-2)


def multiplications(net: Iterable[nn.Module], height: int, width: int) -> int:
    """Return the multiplications that convolutions and linear layers take for one image.

    M in eq:fcn-work.

    Raises:
        ValueError: a layer whose window does not fit into what is left of the image.
    """
    total = 0
    for layer in net:
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            height, width = (_windows(layer, n) for n in (height, width))
            if min(height, width) < 1:
                raise ValueError(f"the image is too small for {layer}")
        if isinstance(layer, nn.Conv2d | nn.Linear):
            total += layer.weight.numel() * (height * width if isinstance(layer, nn.Conv2d) else 1)
    return total


def grid_after(layers: Iterable[nn.Module], grid: Grid = PIXELS) -> Grid:
    """Return where the units lie after convolutions and poolings. Implements eq:fcn-grid."""
    first, jump, size = grid
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            kernel, stride, padding = _geometry(layer)
            first += jump * ((kernel - 1) / 2 - padding)
            size += int((kernel - 1) * jump)
            jump *= stride
    return Grid(first, jump, size)


def grid_upsampled(grid: Grid, factor: int, margin: int = 0) -> Grid:
    """Return where pixels lie after a bilinear upsampling cut by ``margin`` on every side.

    The middle of unit 0's tent keeps its place. Implements eq:fcn-upsampled-grid.
    """
    middle = (2 * factor - factor % 2 - 1) / 2
    jump = grid.jump / factor
    return Grid(grid.first - jump * (middle - margin), jump, grid.size)


def crop_offset(kept: Grid, cropped: Grid) -> int:
    """Return how many units to cut from the front of one map so that it lies on another.

    Implements eq:fcn-crop.

    Raises:
        ValueError: maps with other steps, or that do not meet at a whole number of units.
    """
    offset = (kept.first - cropped.first) / kept.jump
    if kept.jump != cropped.jump or offset < 0 or offset != int(offset):
        raise ValueError(f"a map at {cropped} cannot be cropped to lie on one at {kept}")
    return int(offset)


def _size_after(layers: Iterable[nn.Module], size: int) -> int:
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            size = _windows(layer, size)
    return size


def _windows(layer: nn.Conv2d | nn.MaxPool2d, size: int) -> int:
    """Return how many windows fit along an axis."""
    kernel, stride, padding = _geometry(layer)
    return (size + 2 * padding - kernel) // stride + 1


def _geometry(layer: nn.Conv2d | nn.MaxPool2d) -> tuple[int, int, int]:
    """Return kernel, stride and padding of a layer that is square and not dilated.

    Raises:
        ValueError: one that is not.
    """
    sizes = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    pairs = [value if isinstance(value, tuple) else (value, value) for value in sizes]
    if any(len(set(pair)) != 1 for pair in pairs) or pairs[3] != (1, 1):
        raise ValueError(f"only square windows without dilation are known, not {layer}")
    kernel, stride, padding = (int(pair[0]) for pair in pairs[:3])
    return kernel, stride, padding
