"""Drawn chairs and tables of 16x16x16 voxels, put together from boxes whose sizes are known.

Proof: tests/data/test_drawn_furniture.py.

A chair is a seat on four legs with a back, and arms or none; a table is a top on four legs, or on
one in the middle with a foot. All sizes are whole numbers of voxels, so every voxel is known, and
so is what a change of one number does. There are 2,816 plans; three of four are for training,
drawn by lot, the rest for testing. Chairs look to the front, where deep is 0; all stand in the
middle of the box.
"""

import functools
import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from litgen.data.drawing import verified
from litgen.data.sources import Record, Split, check_split
from litgen.shapes import Int, UInt8

__all__ = [
    "CHECKSUM",
    "CLASSES",
    "PARAMETERS",
    "SIDE",
    "DrawnSet",
    "Plan",
    "build",
    "load",
    "plans",
    "volumes",
]

SIDE = 16
CLASSES = ("chair", "table")
PARAMETERS = ("wide", "deep", "seat", "back", "arms", "pedestal")
"""What the six numbers of a plan are: sizes from side to side and from front to back, the height
of the seat or top, how far the back rises above it (chairs), whether there are arms (chairs), and
whether one leg stands in the middle (tables)."""
CHECKSUM: dict[str, str] = {
    "train": "f003312cfa1d6eed931a5db1e62bfe721df46ca349d915363237c91f945e14d7",
    "test": "ec139622437e4bcfb481947c2f7d85dd8943ca979612a2cfc80bddee8908a1ad",
}
COUNTS = {"train": 2_112, "test": 704}
LEG = 2  # voxels, as thick as seats, backs, tops and arms
ARM = 3  # how far arms reach above the seat


@dataclass(frozen=True, eq=False)
class DrawnSet:
    """Voxels, classes, the numbers they were built from, and where they came from.

    Attributes:
        voxels: 1 where something is, 0 elsewhere; axes are up, deep, wide.
        labels: see ``CLASSES``.
        plans: see ``PARAMETERS``.
        record: what they are.
    """

    voxels: UInt8[Tensor, "count up deep wide"]
    labels: Int[Tensor, " count"]
    plans: Int[Tensor, "count parameters"]
    record: Record

    def describe(self) -> str:
        """Return how much there is, for a line of the command line."""
        return f"{len(self.voxels):,} models {'x'.join(map(str, self.voxels.shape[1:]))}"


class Plan(NamedTuple):
    """What pieces are built from, one entry a piece.

    Attributes:
        label: 0 for a chair, 1 for a table.
        numbers: see ``PARAMETERS``.
    """

    label: Int[np.ndarray, " count"]
    numbers: Int[np.ndarray, "count 6"]


BOUNDS = (
    ((7, 14), (7, 12), (5, 8), (4, 8), (0, 1), (0, 0)),
    ((9, 16), (9, 16), (6, 12), (0, 0), (0, 0), (0, 1)),
)
"""The smallest and the largest value of each number, for chairs and for tables."""


def plans() -> Plan:
    """Return all plans there are, chairs first: 1,920 chairs and 896 tables."""
    rows = [
        (label, *numbers)
        for label, bounds in enumerate(BOUNDS)
        for numbers in itertools.product(*(range(low, high + 1) for low, high in bounds))
    ]
    table = np.array(rows, np.int64)
    return Plan(table[:, 0], table[:, 1:])


def build(plan: Plan) -> UInt8[np.ndarray, "count up deep wide"]:
    """Return the voxels of each piece.

    Raises:
        ValueError: parts that differ in length, or a piece that does not fit into the box or has
            no room between its legs.
    """
    label, numbers = plan
    if len(label) != len(numbers):
        raise ValueError(f"{len(label)} labels, but {len(numbers)} plans")
    pieces = [_piece(int(c), [int(n) for n in row]) for c, row in zip(label, numbers, strict=True)]
    return np.stack(pieces) if pieces else np.zeros((0, SIDE, SIDE, SIDE), np.uint8)


def _piece(label: int, numbers: list[int]) -> np.ndarray:
    """Build one piece of boxes."""
    wide, deep, seat, back, arms, pedestal = numbers
    fits = max(wide, deep, seat + back) <= SIDE and min(wide, deep) > 2 * LEG and seat > LEG
    if not fits:
        raise ValueError(f"a {CLASSES[label]} of {numbers} does not fit into {SIDE}^3 voxels")
    box = np.zeros((SIDE, SIDE, SIDE), np.uint8)
    left, front = (SIDE - wide) // 2, (SIDE - deep) // 2
    right, rear = left + wide, front + deep
    box[seat - LEG : seat, front:rear, left:right] = 1
    if pedestal:
        middle = slice(SIDE // 2 - 1, SIDE // 2 + 1)
        box[:seat, middle, middle] = 1
        box[0, SIDE // 2 - 3 : SIDE // 2 + 3, SIDE // 2 - 3 : SIDE // 2 + 3] = 1
    else:
        for z in (slice(front, front + LEG), slice(rear - LEG, rear)):
            for x in (slice(left, left + LEG), slice(right - LEG, right)):
                box[:seat, z, x] = 1
    box[seat : seat + back, rear - LEG : rear, left:right] = 1
    if arms:
        for x in (slice(left, left + LEG), slice(right - LEG, right)):
            box[seat : seat + ARM, front:rear, x] = 1
    return box


def volumes(plan: Plan) -> Int[np.ndarray, " count"]:
    """Return how many voxels each piece must have, by arithmetic on its numbers alone."""
    wide, deep, seat, back, arms, pedestal = plan.numbers.T
    top = LEG * wide * deep
    legs = np.where(pedestal, LEG**2 * (seat - LEG) + 36 - LEG**2, 4 * LEG**2 * (seat - LEG))
    rear = back * LEG * wide
    shared = np.minimum(ARM, back) * LEG  # of an arm and the back
    return np.asarray(top + legs + rear + arms * 2 * LEG * (ARM * deep - shared))


def load(split: Split = "train", stand_in: bool = True) -> DrawnSet:
    """Return the drawn pieces.

    Args:
        split: "train" (2,112 pieces) or "test" (704); no plan is in both.
        stand_in: accepted so that all loaders are called alike; the set is never replaced.

    Raises:
        WrongBytes: this machine draws other pieces than all others.
    """
    check_split(split)
    voxels, labels, numbers = _drawn(split)
    record = verified(
        (voxels, labels, numbers), "drawn furniture", __name__, split, CHECKSUM, COUNTS
    )
    return DrawnSet(voxels.clone(), labels.clone(), numbers.clone(), record)


@functools.cache
def _drawn(split: Split) -> tuple[Tensor, Tensor, Tensor]:
    """Return voxels, labels and plans; one drawing serves a whole session."""
    every = plans()
    order = np.random.default_rng(1).permutation(len(every.label))
    rows = order[: COUNTS["train"]] if split == "train" else order[COUNTS["train"] :]
    plan = Plan(*(part[rows] for part in every))
    voxels, labels, numbers = (torch.from_numpy(part) for part in (build(plan), *plan))
    return voxels, labels, numbers
