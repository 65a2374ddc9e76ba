"""Small networks for small slices, as many side by side as there are seeds.

Chapter: book/applications/medical.md.  Proof: tests/applications/test_slice_networks.py.

Copies that share nothing are the groups of one convolution: channels of copy k stand together, and
what an optimiser does number by number it does for every copy alone, if the loss is a sum over
copies. Normalisation goes by channel, hence by copy.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from litgen.shapes import Float, Int

__all__ = ["SliceCritic", "SliceNet", "apart", "one_hot", "together"]

LEAK = 0.2  # of the critic's rectifiers


def together(x: Float[Tensor, "batch copies channels height width"]) -> Float[Tensor, "..."]:
    """Return (batch, copies x channels, height, width), as the networks read it."""
    return x.flatten(1, 2).contiguous(memory_format=torch.channels_last)


def apart(x: Float[Tensor, "batch all height width"], copies: int) -> Float[Tensor, "..."]:
    """Undo `together`.

    Raises:
        ValueError: channels that cannot be dealt out evenly.
    """
    if x.shape[1] % copies:
        raise ValueError(f"{x.shape[1]} channels for {copies} copies")
    parted: Tensor = x.unflatten(1, (copies, -1))
    return parted


def one_hot(
    tissue: Int[Tensor, "*batch height width"], classes: int
) -> Float[Tensor, "*batch classes height width"]:
    """Return one channel a class, 1 where a pixel is of it."""
    return (
        tissue.unsqueeze(-3) == torch.arange(classes, device=tissue.device)[:, None, None]
    ).float()


class Normed(nn.Sequential):
    """A convolution of 3x3 for every copy, normalisation by batch, a rectifier."""

    def __init__(self, copies: int, inputs: int, outputs: int):
        super().__init__(
            nn.Conv2d(copies * inputs, copies * outputs, 3, padding=1, groups=copies, bias=False),
            nn.BatchNorm2d(copies * outputs),
            nn.ReLU(inplace=True),
        )


class SliceNet(nn.Module):
    """A U-Net of two levels whose finest one works on blocks of two by two pixels.

    The blocks' pixels are channels before the first convolution and after the last, so that most
    of the work is done on a quarter of the places; the skip is added.

    Args:
        copies: networks.
        inputs: channels of an image.
        outputs: channels of what is made of it.
        width: channels of the upper level; the lower one has twice as many.
    """

    def __init__(self, copies: int, inputs: int, outputs: int, width: int = 16):
        super().__init__()
        self.copies, self.inputs = copies, inputs
        self.down = nn.Sequential(Normed(copies, 4 * inputs, width), Normed(copies, width, width))
        self.below = nn.Sequential(
            Normed(copies, width, 2 * width), Normed(copies, 2 * width, 2 * width)
        )
        self.up = nn.Conv2d(copies * 2 * width, copies * width, 1, groups=copies)
        self.join = Normed(copies, width, width)
        self.head = nn.Conv2d(copies * width, copies * 4 * outputs, 1, groups=copies)

    def forward(
        self, x: Float[Tensor, "batch copies inputs height width"]
    ) -> Float[Tensor, "batch copies outputs height width"]:
        """Return each copy's answer to its own images: logits of a segmenter, say.

        Raises:
            ValueError: images for other networks, or sides that are no multiple of 4.
        """
        if x.shape[1:3] != (self.copies, self.inputs) or x.shape[3] % 4 or x.shape[4] % 4:
            raise ValueError(
                f"{self.copies} copies, {self.inputs} channels and sides that are multiples of 4, "
                f"got {tuple(x.shape)}"
            )
        h = self.down(F.pixel_unshuffle(together(x), 2))
        low = self.below(F.max_pool2d(h, 2))
        h = self.join(h + F.interpolate(self.up(low), scale_factor=2.0))
        return apart(F.pixel_shuffle(self.head(h), 2), self.copies)


class SliceCritic(nn.Module):
    """An image and its masks to logits for its patches, positive for "data".

    Three convolutions of 3x3, the first of them on blocks of two by two pixels, the second with
    stride 2: a logit sees 18 by 18 pixels.

    Args:
        copies: networks.
        inputs: channels.
        width: channels of the first level.
    """

    def __init__(self, copies: int, inputs: int, width: int = 16):
        super().__init__()
        first, second = copies * width, copies * 2 * width
        self.body = nn.Sequential(
            nn.Conv2d(copies * 4 * inputs, first, 3, padding=1, groups=copies),
            nn.LeakyReLU(LEAK),
            nn.Conv2d(first, second, 3, stride=2, padding=1, groups=copies),
            nn.LeakyReLU(LEAK),
            nn.Conv2d(second, copies, 3, padding=1, groups=copies),
        )

    def forward(
        self, x: Float[Tensor, "batch copies inputs height width"]
    ) -> Float[Tensor, "batch copies rows columns"]:
        """Return each copy's logits for its own images."""
        logits: Tensor = self.body(F.pixel_unshuffle(together(x), 2))
        return logits
