"""White shapes on black, 28x28 pixels, made from five independent factors that are known.

Proof: tests/data/test_shapes.py.

The training set holds every combination of the factors' levels once, so the factors are exactly
independent in it; the test set holds places between the levels. An edge is as soft as a pixel:
a pixel's grey value falls from 255 to 0 over a pixel's width.

Only sums, products, quotients and roots of single-precision numbers are used, which all machines
round alike: they draw the same shapes, byte for byte.
"""

import functools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from litgen.data.drawing import verified
from litgen.data.sources import Record, Split, check_split
from litgen.shapes import Float, Int, UInt8

__all__ = ["CHECKSUM", "FACTORS", "LEVELS", "SIDE", "ShapeSet", "grid", "load", "render"]

SIDE = 28
FACTORS = ("shape", "scale", "rotation", "x", "y")
"""In the order of the columns of ``factors``."""

LEVELS = (3, 4, 5, 8, 8)
"""How many values each factor takes in the training set; all in all 3,840 images."""

LOW = np.array([0, 0.75, -0.4, -6.3, -6.3], np.float32)
STEP = np.array([1, 0.15, 0.2, 1.8, 1.8], np.float32)
"""A level's value is LOW + level * STEP: 0 ellipse, 1 rectangle, 2 triangle; size against the
usual one; tangent of half the angle by which the shape is turned; pixels to the right of the
middle, and below it."""

CHECKSUM: dict[str, str] = {
    "train": "6e37460a251dfd70a8df89e16815e0d4f748997c22572174494758840ef23d0c",
    "test": "77ecb4de9b12e9430ff1a2bcff799d6449704f861f6876e0c17b3e630b2213cc",
}
COUNTS = {"train": 3_840, "test": 1_000}
BLOCK = 200  # images at a time: they stay in the processor's cache


@dataclass(frozen=True, eq=False)
class ShapeSet:
    """Images, what each was made from, and where they came from.

    Attributes:
        images: grey values 0..255.
        factors: of each image, in levels from 0; between two levels in the test set.
        record: provenance.
    """

    images: UInt8[Tensor, "count 1 28 28"]
    factors: Float[Tensor, "count 5"]
    record: Record

    def describe(self) -> str:
        """Return how much there is, for a line of the command line."""
        return f"{len(self.images):,} images {'x'.join(map(str, self.images.shape[1:]))}"


def grid() -> Int[Tensor, "count 5"]:
    """Return every combination of the factors' levels, the last factor running fastest."""
    axes = [torch.arange(levels) for levels in LEVELS]
    combined: Tensor = torch.cartesian_prod(*axes)
    return combined


def render(factors: Float[Tensor, "count 5"]) -> UInt8[Tensor, "count 1 28 28"]:
    """Draw one image for each row of factors, given in levels.

    Raises:
        ValueError: a factor outside its levels, a shape that is no whole number, or another
            number of factors than five.
    """
    if factors.dim() != 2 or factors.shape[1] != len(FACTORS):
        raise ValueError(f"factors have shape {tuple(factors.shape)}, expected (count, 5)")
    for name, column, levels in zip(FACTORS, factors.T, LEVELS, strict=True):
        if len(column) and not (column.min() >= 0 and column.max() <= levels - 1):
            raise ValueError(f"{name} must lie in 0..{levels - 1}, found {column.tolist()[:5]}")
    if (factors[:, 0] != factors[:, 0].round()).any():
        raise ValueError("shape must be a whole number")
    values = LOW + factors.numpy().astype(np.float32) * STEP
    parts = [_painted(values[i : i + BLOCK]) for i in range(0, len(values), BLOCK)]
    return torch.from_numpy(np.concatenate([np.zeros((0, 1, SIDE, SIDE), np.uint8), *parts]))


def _painted(values: np.ndarray) -> np.ndarray:
    """Paint a block of shapes from the values of their factors."""
    kind, scale, half, right, down = (column[:, None, None] for column in values.T)
    axis = np.arange(SIDE, dtype=np.float32) - np.float32((SIDE - 1) / 2)
    across, below = axis[None, None, :] - right, axis[None, :, None] - down
    cosine, sine = (1 - half * half) / (1 + half * half), 2 * half / (1 + half * half)
    u = (across * cosine + below * sine) / scale
    v = (below * cosine - across * sine) / scale
    outside = np.where(kind == 0, _ellipse(u, v), np.where(kind == 1, _box(u, v), _triangle(u, v)))
    share = np.clip(np.float32(0.5) - outside * scale, 0, 1)
    painted: np.ndarray = np.rint(255 * share).astype(np.uint8)[:, None]
    return painted


def _ellipse(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return about how far a point lies outside an ellipse of half axes 6.4 and 3.2 pixels."""
    reach = np.sqrt(np.square(u / np.float32(6.4)) + np.square(v / np.float32(3.2)))
    slope = np.sqrt(np.square(u / np.float32(6.4**2)) + np.square(v / np.float32(3.2**2)))
    near = (reach - 1) * reach / np.maximum(slope, np.float32(1e-3))
    distance: np.ndarray = np.where(reach < np.float32(0.5), np.float32(-1.6), near)
    return distance


def _box(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return how far a point lies outside a rectangle of half sides 5.6 and 2.8 pixels."""
    distance: np.ndarray = np.maximum(abs(u) - np.float32(5.6), abs(v) - np.float32(2.8))
    return distance


def _triangle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return how far a point lies outside a triangle that points to the right.

    Its corners are (8, 0) and (-4, +-5); the slanted sides have the direction (12, -5), length 13.
    """
    slanted = (np.float32(5) * u + np.float32(12) * abs(v) - np.float32(40)) / np.float32(13)
    distance: np.ndarray = np.maximum(slanted, -u - np.float32(4))
    return distance


def load(split: Split = "train", stand_in: bool = True) -> ShapeSet:
    """Return the grid of all combinations, or places between them.

    Args:
        split: "train" (the grid, 3,840 images) or "test" (1,000, factors drawn evenly).
        stand_in: accepted so that all loaders are called alike; the set is never replaced.

    Raises:
        WrongBytes: this machine draws other shapes than all others.
    """
    check_split(split)
    images, factors = _drawn(split)
    record = verified((images, factors), "drawn shapes", __name__, split, CHECKSUM, COUNTS)
    return ShapeSet(images.clone(), factors.clone(), record)


@functools.cache
def _drawn(split: Split) -> tuple[Tensor, Tensor]:
    """Return images and factors; one drawing serves a whole session."""
    factors = grid().float()
    if split == "test":
        random = np.random.default_rng(2)
        count = COUNTS["test"]
        shape = random.integers(LEVELS[0], size=(count, 1))
        rest = random.random((count, len(LEVELS) - 1)) * (np.array(LEVELS[1:]) - 1)
        factors = torch.from_numpy(np.hstack([shape, rest]).astype(np.float32))
    return render(factors), factors
