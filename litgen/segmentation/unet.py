"""The plain U-Net: down, up, and across from each level of the one path to that of the other.

Chapter: book/segmentation/unet.md.  Proof: tests/segmentation/test_unet.py.
Reference: Ronneberger, Fischer & Brox, "U-Net: Convolutional Networks for Biomedical Image
Segmentation" (2015).

With ``padded=False`` convolutions see only what is there, as in the paper, and the map is smaller
than the image; with padding it has the image's size, whatever that is. Batch normalisation came
after the paper and is what its reimplementations use.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from litgen.shapes import Float
from litgen.winograd import Conv3x3

__all__ = ["UNet", "block", "cropped", "folded", "valid_side"]


def valid_side(side: int, levels: int) -> int:
    """Return how many pixels of a side are left without padding. Implements eq:unet-valid.

    Args:
        side: of the image.
        levels: of the network, the image's own one among them: 5 in the paper.

    Raises:
        ValueError: the side is too small, or is not even where it is halved.
    """
    found = side
    for level in range(levels):
        found -= 4  # two convolutions, two pixels each
        if level < levels - 1:
            if found < 2 or found % 2:
                raise ValueError(
                    f"a side of {side} has {found} pixels at level {level + 1} of {levels}: "
                    "an even number of at least 2 is needed"
                )
            found //= 2
    for _ in range(levels - 1):
        found = 2 * found - 4
    if found < 1:
        raise ValueError(f"of a side of {side} nothing is left after {levels} levels")
    return found


def block(inputs: int, outputs: int, padded: bool = True) -> nn.Sequential:
    """Return two convolutions of 3x3, each followed by normalisation and a rectifier.

    The convolutions have no bias, since the normalisation subtracts the mean that it would add.
    """
    layers: list[nn.Module] = []
    for width in (inputs, outputs):
        layers += [
            Conv3x3(width, outputs, int(padded), bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def cropped(
    x: Float[Tensor, "batch channels height width"], height: int, width: int
) -> Float[Tensor, "batch channels {height} {width}"]:
    """Return the middle of x. Of an odd rest, the larger part is cut below and to the right.

    Raises:
        ValueError: x is smaller than what is asked for.
    """
    top, left = x.shape[2] - height, x.shape[3] - width
    if top < 0 or left < 0:
        raise ValueError(f"cannot cut {height}x{width} pixels out of {x.shape[2]}x{x.shape[3]}")
    return x[:, :, top // 2 : top // 2 + height, left // 2 : left // 2 + width]


class UNet(nn.Module):
    """A contracting path of blocks and halvings, an expanding one, and skips between them.

    Args:
        inputs: channels of the image.
        outputs: channels of the map: one logit a class, or one for two classes.
        widths: channels of each level, from the image's own level to the bottom.
        skips: without them the expanding path sees only what came up from below, through as many
            channels as before: the block is narrower at its entrance.
        padded: whether the map has the size of the image.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        widths: Sequence[int] = (64, 128, 256, 512, 1024),
        skips: bool = True,
        padded: bool = True,
    ):
        super().__init__()
        if len(widths) < 2:
            raise ValueError(f"a U-Net needs at least two levels, got widths {tuple(widths)}")
        self.skips, self.padded = skips, padded
        self.down = nn.ModuleList()
        for before, width in zip((inputs, *widths), widths, strict=False):
            self.down.append(block(before, width, padded))
        self.up, self.join = nn.ModuleList(), nn.ModuleList()
        for below, width in zip(widths[:0:-1], widths[-2::-1], strict=True):
            self.up.append(nn.ConvTranspose2d(below, width, 2, stride=2))
            self.join.append(block(2 * width if skips else width, width, padded))
        self.head = nn.Conv2d(widths[0], outputs, 1)

    def forward(
        self, x: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs map_height map_width"]:
        """Return logits for each pixel.

        Raises:
            ValueError: an image too small for the levels, or, without padding, of a size that
                cannot be halved evenly.
        """
        levels = len(self.down)
        least = 2 ** (levels - 1)
        if self.padded:
            if min(x.shape[2:]) < least:
                size = "x".join(map(str, x.shape[2:]))
                raise ValueError(
                    f"an image of {size} pixels is too small for {levels} levels: "
                    f"at least {least}x{least} are needed"
                )
        else:
            for side in x.shape[2:]:
                valid_side(side, levels)
        passed: list[Tensor] = []
        for level, down in enumerate(self.down):
            x = down(nn.functional.max_pool2d(x, 2) if level else x)
            passed.append(x)
        for up, join in zip(self.up, self.join, strict=True):
            passed.pop()
            across = passed[-1]
            x = self._raised(up(x), across)
            x = join(torch.cat([self._across(across, x), x], dim=1) if self.skips else x)
        logits: Tensor = self.head(x)
        return logits

    def _raised(self, x: Tensor, across: Tensor) -> Tensor:
        """Give what came up from below the odd row or column that halving dropped."""
        if not self.padded:
            return x
        below, right = across.shape[2] - x.shape[2], across.shape[3] - x.shape[3]
        return nn.functional.pad(x, (0, right, 0, below), "replicate") if below or right else x

    def _across(self, across: Tensor, x: Tensor) -> Tensor:
        """Cut what goes across to the size of what came up."""
        return across if self.padded else cropped(across, x.shape[2], x.shape[3])


def folded(net: UNet, dtype: torch.dtype = torch.float32) -> UNet:
    """Return a copy for inference, its normalisations folded into the convolutions before them.

    It computes what the network does in evaluation mode, in half the passes over memory.

    Args:
        net: a network with normalisations.
        dtype: of the copy's weights, and of the images that it takes; bfloat16 is faster where
            the processor multiplies it.
    """
    net = copy.deepcopy(net).eval().requires_grad_(False)
    for blocks in (net.down, net.join):
        for layers in blocks:
            assert isinstance(layers, nn.Sequential)
            for i in range(0, len(layers), 3):
                conv, norm = layers[i], layers[i + 1]
                assert isinstance(conv, nn.Conv2d)
                assert isinstance(norm, nn.BatchNorm2d)
                layers[i] = fuse_conv_bn_eval(conv, norm)
                layers[i + 1] = nn.Identity()
    net.to(dtype).to(memory_format=torch.channels_last)
    for layer in net.modules():
        if isinstance(layer, Conv3x3):
            layer.prepare()
    return net
