"""Encoders and decoders for dense prediction that differ only in how the decoder grows its maps.

Chapter: book/segmentation/segnet.md.  Proof: tests/segmentation/test_segnet.py.
Reference: Badrinarayanan, Kendall & Cipolla, "SegNet: A Deep Convolutional Encoder-Decoder
Architecture for Image Segmentation" (2017), sections 3 and 3.1.

As in the paper every convolution is followed by batch normalisation, has no bias, and the decoder
mirrors the encoder. The paper's networks have 13 (or, "basic", 4) convolutions on the way down;
here their number is an argument.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from litgen.segmentation import unpooling
from litgen.shapes import Float

__all__ = ["Growth", "Kept", "SegNet", "doubling", "stage"]

Growth = Literal["indices", "bilinear", "transposed", "skip"]


class Kept(NamedTuple):
    """What the decoder is given of an encoder's level, besides what comes up from below.

    Attributes:
        size: height and width of the level.
        shape: of the indices, where there are any.
        memory: their two bits each (in training: whole places), or the whole map, or nothing.
    """

    size: tuple[int, int]
    shape: tuple[int, int, int, int] | None = None
    memory: Tensor | None = None


def stage(inputs: int, outputs: int, depth: int) -> nn.Sequential:
    """Return convolutions of 3x3 that keep the size, each normalised and rectified."""
    layers: list[nn.Module] = []
    for width in [inputs, *[outputs] * (depth - 1)]:
        layers += [
            nn.Conv2d(width, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def doubling(channels: int) -> nn.ConvTranspose2d:
    """Return a learned transposed convolution of stride 2 that begins as bilinear interpolation.

    Implements eq:segnet-doubling. Channels are not mixed at the beginning, and may be later.
    """
    layer = nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1, bias=False)
    line = torch.tensor([0.25, 0.75, 0.75, 0.25])
    with torch.no_grad():
        layer.weight.copy_(torch.eye(channels)[:, :, None, None] * line[:, None] * line)
    return layer


class SegNet(nn.Module):
    """Images of any size to logits of the same height and width.

    Args:
        inputs: channels of the image.
        classes: logits of a pixel.
        widths: channels of the levels, finest first; each is followed by pooling.
        growth: how the decoder doubles a map: "indices" unpools to the places of the maxima
            (SegNet), "bilinear" interpolates, "transposed" learns a transposed convolution that
            begins as interpolation, "skip" interpolates and adds the encoder's whole map.
        depth: convolutions at a level, in encoder and decoder.

    Raises:
        ValueError: no widths, no depth, or an unknown growth.
    """

    def __init__(
        self,
        inputs: int,
        classes: int,
        widths: Sequence[int] = (16, 32, 64),
        growth: Growth = "indices",
        depth: int = 1,
    ):
        super().__init__()
        if not widths or depth < 1:
            raise ValueError(f"need widths and a depth, got {tuple(widths)} and {depth}")
        if growth not in get_args(Growth):
            raise ValueError(
                f"unknown growth {growth!r}; there are: {', '.join(get_args(Growth))}"
            )
        self.growth = growth
        self.down, self.up, self.grow = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for before, width in zip((inputs, *widths), widths, strict=False):
            self.down.append(stage(before, width, depth))
        for width, after in zip(widths[::-1], (*widths[-2::-1], widths[0]), strict=True):
            self.grow.append(doubling(width) if growth == "transposed" else nn.Identity())
            self.up.append(stage(width, after, depth))
        self.head = nn.Conv2d(widths[0], classes, 1)

    def encode(self, x: Tensor) -> tuple[Tensor, list[Kept]]:
        """Return the coarsest map, and what is kept of each level, finest first.

        Raises:
            ValueError: an image without pixels.
        """
        if not x.numel():
            raise ValueError(f"an image of {tuple(x.shape)} has no pixels")
        kept = []
        for down in self.down:
            h = down(x)
            x, places = unpooling.pool(h)
            size = (h.shape[2], h.shape[3])
            if self.growth == "indices" and self.training:  # packing saves memory, and takes time
                kept.append(Kept(size, memory=places))
            elif self.growth == "indices":
                slots = unpooling.slots_of(places, size[1])
                shape = (len(slots), slots.shape[1], slots.shape[2], slots.shape[3])
                kept.append(Kept(size, shape, unpooling.packed(slots)))
            else:
                kept.append(Kept(size, memory=h if self.growth == "skip" else None))
        return x, kept

    def decode(self, x: Tensor, kept: Sequence[Kept]) -> Tensor:
        """Return logits from the coarsest map and what was kept of the levels, finest first."""
        for level, grow, up in zip(reversed(kept), self.grow, self.up, strict=True):
            x = up(self._grown(grow(x), level))
        logits: Tensor = self.head(x)
        return logits

    def forward(
        self, x: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch classes height width"]:
        """Return logits for each pixel.

        Raises:
            ValueError: an image without pixels.
        """
        return self.decode(*self.encode(x))

    def _grown(self, x: Tensor, level: Kept) -> Tensor:
        """Bring a map to the size of the level above."""
        if self.growth == "indices" and level.memory is not None:
            places = level.memory
            if level.shape is not None:
                slots = unpooling.unpacked(places, level.shape)
                places = unpooling.places_of(slots, level.size[1])
            return unpooling.unpool(x, places, level.size)
        if self.growth == "transposed":  # a side that was odd has one row or column too many
            return x[:, :, : level.size[0], : level.size[1]]
        x = nn.functional.interpolate(x, level.size, mode="bilinear", align_corners=False)
        return x if level.memory is None else x + level.memory
