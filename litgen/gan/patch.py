"""A critic that judges patches: one logit for each place, from what that place sees.

Chapter: book/gan/pix2pix.md.  Proof: tests/gan/test_patch.py.
Reference: Isola, Zhu, Zhou & Efros, "Image-to-Image Translation with Conditional Adversarial
Networks" (2017), sections 3.2.2 and 6.1.2.

The paper names its critics by the side of the square that a logit sees: 1, 16, 70 and 286 pixels.
Those are 0, 1, 3 and 5 ``halvings``.
"""

import itertools
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from litgen.gan.networks import initialise
from litgen.shapes import Float

__all__ = ["Norm", "PatchCritic", "geometry", "normalisation", "receptive_field"]

Norm = Literal["batch", "instance", "none"]


class PatchCritic(nn.Module):
    """Images, and what they should fit, to a map of logits.

    Convolutions of 4x4: ``halvings`` of stride 2, one of stride 1, and a head of stride 1. With no
    halving all of them are 1x1, and each pixel is judged by itself.

    Args:
        channels: of what is judged, and of the condition beside it, together.
        width: channels of the first stage; each later stage has twice as many.
        halvings: how often height and width are halved; they decide what a logit sees.
        norm: of all stages but the first and the head. "instance" takes an image's own moments.
        most: channels that no stage exceeds, in units of ``width``.

    Raises:
        ValueError: a negative number of halvings, no channels, or an unknown norm.
    """

    def __init__(
        self,
        channels: int = 3,
        width: int = 64,
        halvings: int = 3,
        norm: Norm = "batch",
        most: int = 8,
    ):
        if halvings < 0 or min(channels, width, most) < 1:
            given = f"channels {channels}, width {width}, halvings {halvings}, most {most}"
            raise ValueError(f"a patch critic cannot have {given}")
        super().__init__()
        self.channels, self.halvings = channels, halvings
        kernel = 4 if halvings else 1
        widths = [channels, *(width * min(2**i, most) for i in range(max(halvings, 1) + 1))]
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(itertools.pairwise(widths)):
            stride, padding = (2 if i < halvings else 1), kernel // 4
            plain = i == 0 or norm == "none"
            layers.append(nn.Conv2d(a, b, kernel, stride, padding, bias=plain))
            layers.append(normalisation("none" if i == 0 else norm, b))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
        head = nn.Conv2d(widths[-1], 1, kernel, 1, kernel // 4)
        self.layers = nn.Sequential(*layers, head)
        initialise(self)

    def forward(
        self,
        x: Float[Tensor, "batch channels height width"],
        condition: Float[Tensor, "same_batch beside same_height same_width"] | None = None,
    ) -> Float[Tensor, "batch rows columns"]:
        """Return logits, positive for "data". Implements eq:p2p-patch.

        Args:
            x: images.
            condition: what they were made from, shown to the critic as further channels.

        Raises:
            ValueError: images and conditions of different size, channels that are not the
                critic's, or images too small for its halvings.
        """
        if condition is not None:
            if condition.shape[0] != x.shape[0] or condition.shape[2:] != x.shape[2:]:
                raise ValueError(
                    f"images have shape {tuple(x.shape)}, conditions {tuple(condition.shape)}: "
                    "number, height and width must agree"
                )
            x = torch.cat([condition, x], dim=1)
        least = 3 * 2**self.halvings if self.halvings else 1
        if x.shape[1] != self.channels or min(x.shape[2:]) < least:
            raise ValueError(
                f"the critic takes {self.channels} channels of at least {least}x{least} pixels, "
                f"got shape {tuple(x.shape)}"
            )
        logits: Tensor = self.layers(x).squeeze(1)
        return logits


def geometry(critic: nn.Module) -> list[tuple[int, int]]:
    """Return kernel and stride of each convolution, in order.

    Raises:
        ValueError: a kernel or a stride that is not square.
    """
    found = []
    for layer in critic.modules():
        if isinstance(layer, nn.Conv2d):
            kernel, stride = set(layer.kernel_size), set(layer.stride)
            if len(kernel) != 1 or len(stride) != 1:
                raise ValueError(f"kernel {layer.kernel_size}, stride {layer.stride}: not square")
            found.append((kernel.pop(), stride.pop()))
    return found


def receptive_field(layers: Iterable[tuple[int, int]]) -> int:
    """Return the side of the square of pixels that one logit sees. Implements eq:p2p-field.

    Args:
        layers: kernel and stride of each convolution, from the image on.
    """
    side = 1
    for kernel, stride in reversed(list(layers)):
        side = stride * (side - 1) + kernel
    return side


def normalisation(kind: Norm, channels: int) -> nn.Module:
    """Return a normalisation with a learned gain and bias, or none.

    Raises:
        ValueError: an unknown norm.
    """
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "instance":
        return nn.InstanceNorm2d(channels, affine=True)
    if kind != "none":
        raise ValueError(f"unknown norm {kind!r}; there are: batch, instance, none")
    return nn.Identity()
