"""Drawn fronts of houses, 32x32 pixels in colour, with a known class at every pixel.

Proof: tests/data/test_facades.py.

A plan says which pixels are sky, wall, window, door, balcony and cornice. The picture adds what
the plan does not say: colours of wall, sky, door, trim and frames, bricks whose mortar is lighter
or darker than they are, bars and dentils, their places, which windows are lit, the light's slope,
noise. So many pictures fit one plan. Classes have tints, but their ranges overlap widely, and
their patterns have no fixed place: what they are is seen best from the pattern.

Only sums, products and quotients of single-precision numbers are used, which all machines round
alike: they draw the same fronts, byte for byte.
"""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from litgen.data.drawing import blocks, equal_lengths, verified
from litgen.data.sources import Record, Split, check_split
from litgen.shapes import Int, UInt8

__all__ = ["CHECKSUM", "CLASSES", "SIDE", "FacadeSet", "Look", "load", "looks", "plans", "render"]

SIDE = 32
CLASSES = ("sky", "wall", "window", "door", "balcony", "cornice")
SKY, WALL, WINDOW, DOOR, BALCONY, CORNICE = range(6)
PANES = 16
"""Windows of a front at most; each is lit or dark for itself."""
CHECKSUM: dict[str, str] = {
    "train": "5e651914c56915a5b6bd8e89beaa33abf692d843cdd6413e832fc3a43ddbc733",
    "test": "4b63814685189339880be84287e3891a8269f9b3f6e71c815faa83262566f1e2",
}
COUNTS = {"train": 2_000, "test": 400}
SEEDS = {"train": 1, "test": 2}
TINTS = np.array(
    [[0.35, 0.45, 0.55], [0.40, 0.28, 0.20], [0, 0, 0], [0.12, 0.12, 0.15]]
    + 2 * [[0.50, 0.50, 0.42]],
    np.float32,
)
"""The darkest colour of each class; a front's own is up to REACH lighter. Ranges overlap."""
REACH = np.float32(0.35)
BLOCK = 100  # fronts at a time: they stay in the processor's cache


@dataclass(frozen=True, eq=False)
class FacadeSet:
    """Pictures, the class of each of their pixels, and where they came from.

    Attributes:
        images: levels 0..255 of red, green and blue.
        classes: the plan: 0 sky, 1 wall, 2 window, 3 door, 4 balcony, 5 cornice.
        record: what they are.
    """

    images: UInt8[Tensor, "count 3 height width"]
    classes: UInt8[Tensor, "count height width"]
    record: Record

    def describe(self) -> str:
        """Return how much there is, for a line of the command line."""
        return f"{len(self.images):,} images {'x'.join(map(str, self.images.shape[1:]))}"


class Look(NamedTuple):
    """What a picture has beyond its plan, one row a front; numbers from 0 to 1 if not said else.

    Attributes:
        wall: red, green, blue of the wall.
        sky: the same of the sky.
        door: of the door.
        trim: of balcony and cornice.
        frame: lightness of window frames.
        contrast: of mortar, bars and dentils against what they lie on; 0.5 for none.
        phase: places of the patterns, whole numbers 0..7: down and across for bricks, across for
            planks, bars and dentils.
        lit: which windows are lit.
        slope: how the light grows to the right, and down; 0.5 for not at all.
        noise: one number a pixel and colour.
    """

    wall: np.ndarray
    sky: np.ndarray
    door: np.ndarray
    trim: np.ndarray
    frame: np.ndarray
    contrast: np.ndarray
    phase: Int[np.ndarray, "count 5"]
    lit: np.ndarray
    slope: np.ndarray
    noise: np.ndarray


def plans(count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw plans; return their classes, and the windows' numbers (0 for none, + 100 on frames)."""
    classes = np.zeros((count, SIDE, SIDE), np.uint8)
    panes = np.zeros((count, SIDE, SIDE), np.uint8)
    for i, numbers in enumerate(random.random((count, 12))):
        _build(classes[i], panes[i], numbers)
    return classes, panes


def _build(plan: np.ndarray, panes: np.ndarray, numbers: np.ndarray) -> None:
    """Build one front into its plan from twelve numbers between 0 and 1."""

    def among(i: int, least: int, most: int) -> int:
        return least + int(numbers[i] * (most - least + 1))

    top, left, right = among(0, 3, 7), among(1, 0, 3), SIDE - among(2, 0, 3)
    floors, columns = among(3, 2, 3), among(4, 2, 4)
    plan[top:, left:right] = WALL
    plan[top : top + 2, max(left - 1, 0) : right + 1] = CORNICE
    storey, bay = (SIDE - top - 2) // floors, (right - left) // columns
    wide, high = min(among(5, 3, 5), bay - 2), min(among(6, 4, 6), storey - 3)
    entrance, balconies = among(7, 0, columns - 1), numbers[8]
    for floor in range(floors):
        low = SIDE - 2 - floor * storey  # the row below the windows of this floor
        for column in range(columns):
            middle = left + column * bay + (bay - wide) // 2
            if floor == 0 and column == entrance:
                plan[SIDE - min(storey, 9) + 1 :, middle : middle + wide + 1] = DOOR
                continue
            window = slice(low - high, low), slice(middle, middle + wide)
            plan[window], panes[window] = WINDOW, 101 + floor * columns + column
            panes[low - high + 1 : low - 1, middle + 1 : middle + wide - 1] -= 100
            if floor and (numbers[8 + floor] < 0.5 or balconies < 0.3):
                plan[low - 2 : low + 1, max(middle - 1, 0) : middle + wide + 1] = BALCONY


def looks(count: int, random: np.random.Generator) -> Look:
    """Draw what is free once a plan is given: everything evenly."""
    colours = random.random((4, count, 3)).astype(np.float32)
    frame = random.random(count).astype(np.float32)
    contrast = random.random((count, 4)).astype(np.float32)
    phase = random.integers(8, size=(count, 5))
    lit = random.random((count, PANES)) < 0.5
    slope = random.random((count, 2)).astype(np.float32)
    noise = random.random((count, 3, SIDE, SIDE), dtype=np.float32)
    wall, sky, door, trim = colours
    return Look(wall, sky, door, trim, frame, contrast, phase, lit, slope, noise)


def render(classes: np.ndarray, panes: np.ndarray, look: Look) -> UInt8[np.ndarray, "..."]:
    """Paint fronts; return bytes of shape (count, 3, 32, 32).

    Raises:
        ValueError: parts that differ in length, or a class that there is not.
    """
    equal_lengths((classes, panes, *look), "the fronts")
    if classes.size and classes.max() >= len(CLASSES):
        raise ValueError(f"classes lie in 0..{len(CLASSES) - 1}, found {classes.max()}")
    starts = range(0, len(classes), BLOCK)
    looks_of = blocks(look, BLOCK, "the fronts")
    parts = [
        _painted(classes[i : i + BLOCK], panes[i : i + BLOCK], part)
        for i, part in zip(starts, looks_of, strict=True)
    ]
    return np.concatenate([np.zeros((0, 3, SIDE, SIDE), np.uint8), *parts])


def _painted(classes: np.ndarray, panes: np.ndarray, look: Look) -> np.ndarray:
    """Paint a block of fronts, class by class."""
    rows, columns = np.arange(SIDE)[None, :, None], np.arange(SIDE)[None, None, :]
    down, across, planks, bars, dentils = (part[:, None, None] for part in look.phase.T)
    course, along = rows + down, columns + across
    mortar = (course % 4 == 0) | ((along + 4 * (course // 4 % 2)) % 8 == 0)
    patterns = {
        WALL: (look.wall, mortar),
        DOOR: (look.door, (columns + planks) % 3 == 0),
        BALCONY: (look.trim, (columns + bars) % 2 == 0),
        CORNICE: (look.trim, (columns + dentils) % 4 < 2),
    }
    height = (np.arange(SIDE, dtype=np.float32) / SIDE)[None, None, :, None]
    image = _of(TINTS[SKY] + REACH * look.sky) + np.float32(0.1) * height
    image = np.broadcast_to(image, look.noise.shape).copy()
    for i, (kind, (colour, marks)) in enumerate(patterns.items()):
        step = 2 * look.contrast[:, i] - 1  # at least a quarter, lighter or darker
        step = np.where(step < 0, -1, 1) * np.float32(0.25) + np.float32(0.15) * step
        ground = _of(TINTS[kind] + REACH * colour)
        marked = marks[:, None].astype(np.float32) - np.float32(0.5)
        painted = ground + step.astype(np.float32)[:, None, None, None] * marked
        image = np.where((classes == kind)[:, None], painted, image)
    image = np.where((classes == WINDOW)[:, None], _glazed(panes, look), image)
    axis = np.arange(SIDE, dtype=np.float32) / SIDE - np.float32(0.5)
    right, below = (part[:, None, None] - np.float32(0.5) for part in look.slope.T)
    light = np.float32(0.3) * (right * axis[None, None, :] + below * axis[None, :, None])
    image = image + light[:, None] + np.float32(0.08) * (look.noise - np.float32(0.5))
    found: np.ndarray = np.clip(image * 255, 0, 255).astype(np.uint8)
    return found


def _glazed(panes: np.ndarray, look: Look) -> np.ndarray:
    """Return the colour of windows at each pixel: panes, lit or dark, within their frames."""
    warm = np.array([0.95, 0.82, 0.45], np.float32)[None, :, None, None]
    dark = np.array([0.10, 0.14, 0.22], np.float32)[None, :, None, None]
    number = np.maximum(panes.astype(int) % 100 - 1, 0)
    lit = np.take_along_axis(look.lit, number.reshape(len(panes), -1), 1).reshape(panes.shape)
    frame = np.float32(0.2) + np.float32(0.7) * look.frame[:, None, None, None]
    found: np.ndarray = np.where(
        (panes >= 100)[:, None], frame, np.where(lit[:, None], warm, dark)
    )
    return found


def _of(colours: np.ndarray) -> np.ndarray:
    """Give one colour a front the axes of an image."""
    return colours[:, :, None, None]


def load(split: Split = "train", stand_in: bool = True) -> FacadeSet:
    """Return the drawn fronts and their plans.

    Args:
        split: "train" (2,000 fronts) or "test" (400).
        stand_in: accepted so that all loaders are called alike; the set is never replaced.

    Raises:
        WrongBytes: this machine draws other fronts than all others.
    """
    check_split(split)
    images, classes = _drawn(split)
    record = verified((images, classes), "drawn facades", __name__, split, CHECKSUM, COUNTS)
    return FacadeSet(images.clone(), classes.clone(), record)


@functools.cache
def _drawn(split: Split) -> tuple[Tensor, Tensor]:
    """Return images and classes; one drawing serves a whole session."""
    random = np.random.default_rng(SEEDS[split])
    classes, panes = plans(COUNTS[split], random)
    images = render(classes, panes, looks(COUNTS[split], random))
    return torch.from_numpy(images), torch.from_numpy(classes)
