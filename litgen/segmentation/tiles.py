"""An image of any size through a network of one size: overlapping tiles, a mirrored margin.

Chapter: book/segmentation/unet.md.  Proof: tests/segmentation/test_tiles.py.
Reference: Ronneberger, Fischer & Brox (2015), sections 2 and 3, figure 2.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = ["fitting", "margin", "mirrored", "path", "reach", "stitched"]


def path(side: int, levels: int = 5) -> list[int]:
    """Return the sides of all maps of a U-Net of valid convolutions: eq:unet-down, eq:unet-up.

    Two convolutions of 3x3 at every level, each takes two pixels; pooling halves, an
    up-convolution of 2x2 doubles.

    Args:
        side: of the image, in pixels.
        levels: of the network, the image's own one among them.

    Raises:
        ValueError: a side that is odd where it is to be halved, or too small.
    """
    if side != fitting(side, levels):
        raise ValueError(
            f"an image of side {side} does not fit {levels} levels; the next that does has "
            f"{fitting(side, levels)}"
        )
    sides = [side]
    for _ in range(levels - 1):
        sides += [sides[-1] - 2, sides[-1] - 4, (sides[-1] - 4) // 2]
    sides += [sides[-1] - 2, sides[-1] - 4]
    for _ in range(levels - 1):
        sides += [2 * sides[-1], 2 * sides[-1] - 2, 2 * sides[-1] - 4]
    return sides


def margin(levels: int = 5) -> int:
    """Return the pixels that valid convolutions take from each side: eq:unet-margin."""
    return 3 * (1 << levels) - 4


def reach(levels: int = 5) -> int:
    """Return how far from an edge padded convolutions feel it: eq:unet-reach.

    No pixel this far inside depends on what lies beyond the edge, or on zeros put there, if the
    edge lies where a pooled square of 2^(levels - 1) pixels begins. From the third level on this
    is two pixels more than `margin`: valid convolutions shift the squares that are pooled.
    """
    felt = 0
    for _ in range(levels - 1):
        felt = (felt + 3) // 2  # two more, then half of it, rounded up
    felt += 2
    for _ in range(levels - 1):
        felt = 2 * felt + 2
    return felt


def fitting(side: int, levels: int = 5) -> int:
    """Return the smallest side from this on that is even wherever it is halved: eq:unet-fitting.

    Raises:
        ValueError: no level.
    """
    if levels < 1:
        raise ValueError(f"there must be at least one level, got {levels}")
    enough = max(side, 2 * margin(levels) + 1)
    return enough + (-4 - enough) % (1 << (levels - 1))


def mirrored(
    images: Float[Tensor, "batch channels height width"], before: int, after: tuple[int, int]
) -> Float[Tensor, "batch channels taller wider"]:
    """Continue images by their mirror image, over and over where it must: eq:unet-mirror.

    Args:
        images: at least two pixels high and wide.
        before: rows to add on top, and columns on the left.
        after: rows to add at the bottom, and columns on the right.

    Raises:
        ValueError: images of fewer than two pixels a side, or a negative number to add.
    """
    height, width = images.shape[-2:]
    if min(height, width) < 2 or min(before, *after) < 0:
        raise ValueError(f"cannot mirror {height}x{width} pixels by {before} and {after}")
    for dim, count, more in ((-2, height, after[0]), (-1, width, after[1])):
        place = torch.arange(-before, count + more, device=images.device) % (2 * count - 2)
        images = images.index_select(dim, torch.minimum(place, 2 * count - 2 - place))
    return images


def stitched(
    network: Callable[[Tensor], Tensor],
    images: Float[Tensor, "batch channels height width"],
    tile: int,
    edge: int,
    window: int,
) -> Float[Tensor, "batch outputs height width"]:
    """Return a network's answers for whole images, computed window by window: eq:unet-tiles.

    A window starts ``edge`` pixels before its tile; of the answer only the tile is kept. That is
    what the network says of the whole mirrored image where (a) tile is a multiple of
    2^(levels - 1), so that every window is pooled in the same pairs, and (b) edge is at least
    `margin`, or for a padded network a multiple of that number and at least `reach`, and as much
    lies behind.

    Args:
        network: maps (batch, channels, window, window) to a square map, smaller by the same
            number of pixels on each side, or not smaller.
        images: of any size from two pixels a side on.
        tile: side of what is kept of a window.
        edge: pixels that a window has before its tile.
        window: side of what the network sees at once.

    Raises:
        ValueError: a window that has no room for edge and tile, or answers that lack the tile.
    """
    if tile < 1 or edge < 0 or window < edge + tile:
        raise ValueError(f"no tile of {tile} after {edge} pixels in a window of {window}")
    height, width = images.shape[-2:]
    rows, columns = -(-height // tile), -(-width // tile)
    rest = window - edge - tile
    after = rows * tile + rest - height, columns * tile + rest - width
    wide = mirrored(images, edge, after)
    lines = []
    for top in range(0, rows * tile, tile):
        line = []
        for left in range(0, columns * tile, tile):
            answer = network(wide[..., top : top + window, left : left + window])
            lost, odd = divmod(window - answer.shape[-1], 2)
            if odd or not 0 <= lost <= min(edge, rest):
                raise ValueError(
                    f"answers of {answer.shape[-1]} to windows of {window} lack a tile of {tile} "
                    f"after {edge}"
                )
            start = edge - lost
            line.append(answer[..., start : start + tile, start : start + tile])
        lines.append(torch.cat(line, dim=-1))
    return torch.cat(lines, dim=-2)[..., :height, :width]
