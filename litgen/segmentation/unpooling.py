"""Max pooling that remembers where its maxima were, and the unpooling that puts values back there.

Chapter: book/segmentation/segnet.md.  Proof: tests/segmentation/test_unpooling.py.
Reference: Badrinarayanan, Kendall & Cipolla, "SegNet: A Deep Convolutional Encoder-Decoder
Architecture for Image Segmentation" (2017), section 3; Zeiler & Fergus, "Visualizing and
Understanding Convolutional Networks" (2014), for the idea of switches.

The paper's letters: x is a map before pooling, y its maxima, pi(c) the place of window c's
maximum, here the flat index row * width + column of that pixel. Windows do not overlap; the last
ones of an odd side are narrower. A slot is the same place counted inside its window, row by row.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from litgen.shapes import Float, Int, UInt8

__all__ = [
    "Pooled",
    "feature_bytes",
    "index_bytes",
    "packed",
    "places_of",
    "pool",
    "slots_of",
    "unpacked",
    "unpool",
    "windows",
]

Size = tuple[int, int]


class Pooled(NamedTuple):
    """What max pooling gives: the values, and the flat index of the pixel each came from."""

    maxima: Float[Tensor, "batch channels rows columns"]
    places: Int[Tensor, "batch channels rows columns"]


def windows(size: Size, window: Size = (2, 2)) -> Size:
    """Return how many windows a map has down and across, the narrower last ones included.

    Raises:
        ValueError: an empty map or window.
    """
    if min(*size, *window) < 1:
        raise ValueError(f"cannot cut a map of {size} into windows of {window}")
    return -(-size[0] // window[0]), -(-size[1] // window[1])


def pool(x: Float[Tensor, "batch channels height width"], window: Size = (2, 2)) -> Pooled:
    """Return the maximum of every window and its place. Implements eq:segnet-pool.

    Of equal values the first in reading order counts.

    Raises:
        ValueError: an empty map or window.
    """
    windows((x.shape[2], x.shape[3]), window)
    return Pooled(*nn.functional.max_pool2d(x, window, ceil_mode=True, return_indices=True))


def unpool(
    y: Float[Tensor, "batch channels rows columns"],
    places: Int[Tensor, "batch channels rows columns"],
    size: Size,
) -> Float[Tensor, "batch channels height width"]:
    """Return zeros of this size with y at the places. Implements eq:segnet-unpool.

    Raises:
        ValueError: values and places of different shape, or a place outside the map.
    """
    if y.shape != places.shape:
        raise ValueError(f"{tuple(y.shape)} values cannot go to {tuple(places.shape)} places")
    if places.numel() and not 0 <= int(places.min()) <= int(places.max()) < math.prod(size):
        raise ValueError(
            f"places reach from {int(places.min())} to {int(places.max())}, a map of "
            f"{size[0]}x{size[1]} has 0 to {math.prod(size) - 1}: they are another layer's"
        )
    flat = y.new_zeros(*y.shape[:2], math.prod(size))
    return flat.scatter(2, places.flatten(2), y.flatten(2)).view(*y.shape[:2], *size)


def slots_of(
    places: Int[Tensor, "batch channels rows columns"], width: int, window: Size = (2, 2)
) -> UInt8[Tensor, "batch channels rows columns"]:
    """Return where in its window each place lies, counted row by row. Implements eq:segnet-slot.

    Args:
        places: flat indices into a map.
        width: of that map.
        window: that was pooled.
    """
    down, right = places // width % window[0], places % width % window[1]
    return (down * window[1] + right).to(torch.uint8)


def places_of(
    slots: UInt8[Tensor, "batch channels rows columns"], width: int, window: Size = (2, 2)
) -> Int[Tensor, "batch channels rows columns"]:
    """Return the flat indices that slots mean in a map of this width; undoes `slots_of`."""
    rows = torch.arange(slots.shape[2], device=slots.device)[:, None] * window[0]
    columns = torch.arange(slots.shape[3], device=slots.device) * window[1]
    inside = slots.long()
    return (rows + inside // window[1]) * width + columns + inside % window[1]


def packed(slots: UInt8[Tensor, "*shape"]) -> UInt8[Tensor, " bytes"]:
    """Return slots of 2x2 windows, 0 to 3, as two bits each, four to a byte."""
    flat = nn.functional.pad(slots.flatten(), (0, -slots.numel() % 4)).view(-1, 4)
    return flat[:, 0] | flat[:, 1] << 2 | flat[:, 2] << 4 | flat[:, 3] << 6


def unpacked(
    content: UInt8[Tensor, " bytes"], shape: tuple[int, int, int, int]
) -> UInt8[Tensor, "batch channels rows columns"]:
    """Return the slots that bytes hold; undoes `packed`.

    Raises:
        ValueError: another number of bytes than these slots take.
    """
    count = math.prod(shape)
    if len(content) != -(-count // 4):
        raise ValueError(f"{count} slots of two bits do not fill {len(content)} bytes")
    pairs = torch.stack([content >> shift & 3 for shift in (0, 2, 4, 6)], dim=1)
    return pairs.flatten()[:count].view(shape)


def index_bytes(channels: int, size: Size, bits: int = 2, window: Size = (2, 2)) -> int:
    """Return the bytes of one image's indices at a level. Implements eq:segnet-index-bytes.

    Args:
        channels: of the map.
        size: height and width before pooling.
        bits: an index takes: 2 inside a window of 2x2, 64 as PyTorch keeps it.
        window: that is pooled.
    """
    return -(-channels * math.prod(windows(size, window)) * bits // 8)


def feature_bytes(channels: int, size: Size, bits: int = 32) -> int:
    """Return the bytes of one image's whole map at a level. Implements eq:segnet-map-bytes."""
    return -(-channels * math.prod(size) * bits // 8)
