"""Drawn microscope images of 64x64 pixels, grey, whose cells are known to the pixel.

Proof: tests/data/test_cells.py.

Cells lie on a jittered grid, three by three places of which some stay empty, and are large enough
to touch. A cell's outline is an ellipse with a ripple of three waves. Where two would overlap, a
pixel belongs to the one in which it lies deeper. Light falls unevenly, insides are as light as
some of the ground, rims are dark, and there is noise: a threshold alone does not find the cells.

Only sums, products, quotients and roots of single-precision numbers are used, which all machines
round alike: they draw the same images, byte for byte.
"""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from litgen.data.drawing import blocks, per_image, verified
from litgen.data.sources import Record, Split, check_split
from litgen.shapes import Bool, Int, UInt8

__all__ = ["CHECKSUM", "SIDE", "CellSet", "Culture", "cultures", "load", "render", "separated"]

SIDE = 64
PLACES = 9  # of cells, three by three
CHECKSUM: dict[str, str] = {
    "train": "9befd0ac8097019e33601b2a20aa42d6dfbaead1ddb29b85aa3e798b761cc78d",
    "test": "25b7999a6a7f1f158f9ccb9c94bb79601e9b52392c39e1328454d436c1abb388",
}
COUNTS = {"train": 300, "test": 100}
SEEDS = {"train": 1, "test": 2}
BLOCK = 50


@dataclass(frozen=True)
class CellSet:
    """Images in 0..255, which cell each pixel belongs to, and where they came from.

    Attributes:
        images: grey values.
        cells: 0 for the ground, 1 to 9 for the cells of an image; touching cells have no gap.
        record: what they are.
    """

    images: UInt8[Tensor, "count 1 height width"]
    cells: UInt8[Tensor, "count height width"]
    record: Record

    def describe(self) -> str:
        """Return how much there is, for a line of the command line."""
        return f"{len(self.images):,} images {'x'.join(map(str, self.images.shape[1:]))}"


class Culture(NamedTuple):
    """What images are drawn from, one entry an image; numbers from 0 to 1 unless said otherwise.

    Attributes:
        there: which of the nine places hold a cell, True or False.
        right: where in its place a cell lies, 0.5 in the middle; one number a place, as below.
        down: the same from top to bottom.
        long: its longer half axis.
        wide: its shorter half axis, as a share of the longer one.
        turned: how the longer axis lies, half of it to the left.
        ripple: how strong its three waves are.
        light: how light it is inside.
        ground: how light the ground is.
        slope: how the light grows to the right, and down; 0.5 for not at all. Two an image.
        noise: one number a pixel.
    """

    there: Bool[np.ndarray, "count 9"]
    right: np.ndarray
    down: np.ndarray
    long: np.ndarray
    wide: np.ndarray
    turned: np.ndarray
    ripple: np.ndarray
    light: np.ndarray
    ground: np.ndarray
    slope: np.ndarray
    noise: np.ndarray


def cultures(count: int, random: np.random.Generator) -> Culture:
    """Draw what images show: five cells in six places, everything else evenly."""
    there = random.random((count, PLACES)) < 5 / 6
    of_cells = random.random((7, count, PLACES)).astype(np.float32)
    ground = random.random(count).astype(np.float32)
    slope = random.random((count, 2)).astype(np.float32)
    # three uniform numbers together are nearly normal, and are rounded alike everywhere
    noise = random.random((3, count, SIDE, SIDE)).astype(np.float32)
    rest = [*of_cells, ground, slope, (noise[0] + noise[1] + noise[2]) / 3]
    return Culture(there, *rest)


def render(culture: Culture) -> tuple[np.ndarray, np.ndarray]:
    """Paint images; return their bytes (count, 1, 64, 64), and cells (count, 64, 64).

    Raises:
        ValueError: parts of a culture that differ in length.
    """
    parts = [_painted(part) for part in blocks(culture, BLOCK, "a culture")]
    empty = np.zeros((0, 1, SIDE, SIDE), np.uint8), np.zeros((0, SIDE, SIDE), np.uint8)
    images, cells = zip(empty, *parts, strict=True)
    return np.concatenate(images), np.concatenate(cells)


def depths(culture: Culture, place: int) -> np.ndarray:
    """Return how deep each pixel lies in a cell, in pixels: positive inside, negative outside."""
    axis = np.arange(SIDE, dtype=np.float32) + np.float32(0.5)
    row, column = divmod(place, 3)
    x = axis[None, None, :] - per_image(_centre(column, culture.right[:, place]))
    y = axis[None, :, None] - per_image(_centre(row, culture.down[:, place]))
    half = 2 * culture.turned[:, place] - 1  # tangent of half the angle
    cosine, sine = (1 - half * half) / (1 + half * half), 2 * half / (1 + half * half)
    long = np.float32(9) + np.float32(4) * culture.long[:, place]
    wide = long * (np.float32(0.65) + np.float32(0.35) * culture.wide[:, place])
    u = (x * per_image(cosine) + y * per_image(sine)) / per_image(long)
    v = (y * per_image(cosine) - x * per_image(sine)) / per_image(wide)
    radius = np.sqrt(u * u + v * v)
    c = u / np.maximum(radius, np.float32(1e-6))  # cosine of the angle; of three times it: 4c^3-3c
    waves = np.float32(0.12) * per_image(culture.ripple[:, place]) * (4 * c * c * c - 3 * c)
    deep = (1 + waves - radius) * per_image(wide)
    return np.where(per_image(culture.there[:, place]), deep, np.float32(-SIDE)).astype(np.float32)


def _centre(index: int, jitter: np.ndarray) -> np.ndarray:
    """Return the middle of a place, 20 pixels from the next, moved by up to 5 either way."""
    return np.asarray(np.float32(12 + 20 * index) + 10 * (jitter - np.float32(0.5)), np.float32)


def _painted(culture: Culture) -> tuple[np.ndarray, np.ndarray]:
    """Paint a block of images."""
    deep = np.stack([depths(culture, place) for place in range(PLACES)], axis=1)
    deepest = deep.max(axis=1)
    owner = deep.argmax(axis=1)
    cells = np.where(deepest > 0, owner + 1, 0)
    light = np.take_along_axis(culture.light, owner.reshape(len(owner), -1), axis=1)
    inside = np.float32(0.42) + np.float32(0.30) * light.reshape(owner.shape)
    share = np.clip(deepest + np.float32(0.5), 0, 1)
    ground = per_image(np.float32(0.30) + np.float32(0.22) * culture.ground)
    image = ground + share * (inside - ground)
    # a rim, darkest at the outline and gone two pixels inside; also where two cells touch
    second = np.partition(deep, PLACES - 2, axis=1)[:, PLACES - 2]
    edge = np.minimum(np.abs(deepest), np.abs(deepest - second))
    image -= np.float32(0.14) * np.clip(1 - edge / 2, 0, 1) * (deepest > -2)
    axis = (np.arange(SIDE, dtype=np.float32) + np.float32(0.5)) / SIDE - np.float32(0.5)
    across, along = culture.slope[:, 0] - np.float32(0.5), culture.slope[:, 1] - np.float32(0.5)
    image += np.float32(0.3) * (
        per_image(across) * axis[None, None, :] + per_image(along) * axis[None, :, None]
    )
    image += np.float32(0.45) * (culture.noise - np.float32(0.5))
    levels = np.clip(image * 255, 0, 255).astype(np.uint8)
    return levels[:, None], cells.astype(np.uint8)


def separated(
    cells: Int[Tensor, "*batch height width"] | UInt8[Tensor, "*batch height width"],
) -> Bool[Tensor, "*batch height width"]:
    """Return which pixels are cell, without those that touch another cell: a gap parts them all.

    A pixel touches another cell if one of its four neighbours belongs to one. What is left falls
    apart into the cells again, as the U-Net's maps of cells do.
    """
    inside = cells > 0
    for dim in (-2, -1):
        pairs = cells.shape[dim] - 1
        first, second = cells.narrow(dim, 0, pairs), cells.narrow(dim, 1, pairs)
        meet = (first != second) & (first > 0) & (second > 0)
        inside.narrow(dim, 0, pairs).logical_and_(~meet)
        inside.narrow(dim, 1, pairs).logical_and_(~meet)
    return inside


def load(split: Split = "train", stand_in: bool = True) -> CellSet:
    """Return the drawn images and their cells.

    Args:
        split: "train" (300 images) or "test" (100).
        stand_in: accepted so that all loaders are called alike; the set is never replaced.

    Raises:
        WrongBytes: this machine draws other cells than all others.
    """
    check_split(split)
    images, cells = _drawn(split)
    record = verified((images, cells), "drawn cells", __name__, split, CHECKSUM, COUNTS)
    return CellSet(images.clone(), cells.clone(), record)


@functools.cache
def _drawn(split: Split) -> tuple[Tensor, Tensor]:
    """Return images and cells; one drawing serves a whole session."""
    culture = cultures(COUNTS[split], np.random.default_rng(SEEDS[split]))
    images, cells = render(culture)
    return torch.from_numpy(images), torch.from_numpy(cells)
