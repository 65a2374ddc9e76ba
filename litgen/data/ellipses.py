"""Upright white ellipses on black, 14x14 pixels, that vary in size and place and in nothing else.

Proof: tests/data/test_ellipses.py.

Every combination of 4 sizes, 16 places across and 16 down once: levels so fine that a latent can
follow them as if they were continuous. Drawn by `litgen.data.shapes`, four pixels averaged into
one.
"""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from litgen.data import shapes
from litgen.data.drawing import verified
from litgen.data.sources import Record, Split
from litgen.shapes import Int, UInt8

__all__ = ["CHECKSUM", "FACTORS", "LEVELS", "SIDE", "EllipseSet", "load"]

SIDE = 14
FACTORS = ("scale", "x", "y")
"""In the order of the columns of ``factors``."""

LEVELS = (4, 16, 16)
"""Values of size, x and y: 1,024 images."""

CHECKSUM: dict[str, str] = {
    "train": "5a2a57989408247d142b814ad4a1700e28cbce43eb6d126286716181efcf5594",
}


@dataclass(frozen=True, eq=False)
class EllipseSet:
    """Images, what each was made from, and where they came from.

    Attributes:
        images: grey values 0..255.
        factors: of each image, in levels from 0.
        record: provenance.
    """

    images: UInt8[Tensor, "count 1 14 14"]
    factors: Int[Tensor, "count 3"]
    record: Record

    def describe(self) -> str:
        """Return how much there is, for a line of the command line."""
        return f"{len(self.images):,} images {'x'.join(map(str, self.images.shape[1:]))}"


def load(split: Split = "train", stand_in: bool = True) -> EllipseSet:
    """Return the grid of all combinations.

    Args:
        split: "train"; there is no test set, since the grid is the whole population.
        stand_in: accepted so that all loaders are called alike; the set is never replaced.

    Raises:
        ValueError: another split.
        WrongBytes: this machine draws other ellipses than all others.
    """
    if split != "train":
        raise ValueError(f"the ellipses have no split {split!r}; there are: train")
    images, factors = _drawn()
    counts = {"train": len(images)}
    record = verified((images, factors), "drawn ellipses", __name__, split, CHECKSUM, counts)
    return EllipseSet(images.clone(), factors.clone(), record)


@functools.cache
def _drawn() -> tuple[Tensor, Tensor]:
    """Return images and levels; one drawing serves a whole session."""
    levels: Tensor = torch.cartesian_prod(*(torch.arange(count) for count in LEVELS))
    factors = torch.zeros(len(levels), len(shapes.FACTORS))
    factors[:, shapes.FACTORS.index("rotation")] = 2  # upright
    for column, name in enumerate(FACTORS):
        place = shapes.FACTORS.index(name)
        most = shapes.LEVELS[place] - 1
        factors[:, place] = levels[:, column] * (most / (LEVELS[column] - 1))
    images = shapes.render(factors).float()
    return torch.nn.functional.avg_pool2d(images, 2).round().to(torch.uint8), levels
