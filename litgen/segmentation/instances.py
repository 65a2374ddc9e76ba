"""From a map of pixels to things that can be counted: connected pieces, and which are right.

Chapter: book/segmentation/unet.md.  Proof: tests/segmentation/test_instances.py.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from litgen.shapes import Bool, Int

__all__ = ["Found", "components", "matched"]


class Found(NamedTuple):
    """How many cells there are, how many pieces were found, how many are the same."""

    cells: int
    pieces: int
    matches: int


def components(inside: Bool[Tensor, "batch height width"]) -> Int[Tensor, "batch height width"]:
    """Number the connected pieces of each image from 1 on; 0 elsewhere. Implements eq:unet-pieces.

    Pixels are neighbours along rows and columns, not across corners. Every pixel starts with a
    number of its own and takes its neighbours' largest one until nothing changes.
    """
    count, height, width = inside.shape
    own = torch.arange(1, height * width + 1, dtype=torch.int32, device=inside.device)
    zero = own.new_zeros(())
    numbers = torch.where(inside, own.view(height, width), zero)
    while True:
        around = F.pad(numbers, (1, 1, 1, 1))
        largest = numbers
        for top, left in ((0, 1), (2, 1), (1, 0), (1, 2)):
            shifted = around[:, top : top + height, left : left + width]
            largest = torch.maximum(largest, shifted)
        largest = torch.where(inside, largest, zero)
        if torch.equal(largest, numbers):
            break
        numbers = largest
    for i in range(count):
        numbers[i] = torch.unique(numbers[i], return_inverse=True)[1].view(height, width)
        numbers[i] += int(inside[i].all() and inside[i].numel() > 0)  # no ground to be number 0
    return numbers.long()


def matched(
    cells: Int[Tensor, "height width"], pieces: Int[Tensor, "height width"], least: int = 1
) -> Found:
    """Count the pieces that share more than half of their union with a cell: eq:unet-match.

    A piece can do so with one cell only, and a cell with one piece.

    Args:
        cells: 0 for the ground, any other number for a cell.
        pieces: the same for what was found.
        least: smaller pieces and cells, in pixels, do not count.

    Raises:
        ValueError: maps of different size.
    """
    if cells.shape != pieces.shape:
        raise ValueError(f"cells are {tuple(cells.shape)}, pieces {tuple(pieces.shape)}")
    truth, found = _numbered(cells), _numbered(pieces)
    columns = int(found.max()) + 1
    together = torch.bincount((truth * columns + found).flatten()).double()
    shape = (int(truth.max()) + 1, columns)
    table = F.pad(together, (0, shape[0] * shape[1] - len(together))).view(shape)
    areas, sizes = table.sum(dim=1, keepdim=True), table.sum(dim=0, keepdim=True)
    kept = (areas[1:] >= least) & (sizes[:, 1:] >= least)
    union = (areas + sizes - table)[1:, 1:]
    matches = int(((table[1:, 1:] / union > 0.5) & kept).sum())
    return Found(int((areas[1:] >= least).sum()), int((sizes[:, 1:] >= least).sum()), matches)


def _numbered(labels: Tensor) -> Tensor:
    """Number what is there without gaps, the ground as 0."""
    values = torch.unique(labels[labels > 0])
    return torch.where(labels > 0, torch.searchsorted(values, labels.clamp(min=0)) + 1, 0)
