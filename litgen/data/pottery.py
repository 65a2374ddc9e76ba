"""Drawn vessels: solids of revolution of five classes, whose parameters are known.

Proof: tests/data/test_pottery.py.

A vessel is turned on a wheel, so its profile says everything: the outer radius at 32 heights from
the base to the rim, and how tall it is. The clean curve of an open vessel (plate, bowl) rises from
base to rim on one parabola; that of a closed one (jar, jug, bottle) swells to the belly, narrows
to the neck and opens to the rim. The potter's hand adds to each radius, independently, the heads
among 32 coins less 16: the likelihood of a sherd is known exactly.

Only sums, products and quotients of single-precision numbers are used, which all machines round
alike: they draw the same vessels, byte for byte.
"""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from litgen.data.drawing import verified
from litgen.data.sources import Record, Split, check_split
from litgen.shapes import Bool, Int, UInt8

__all__ = [
    "CHECKSUM",
    "CLASSES",
    "COINS",
    "HEIGHTS",
    "PARAMETERS",
    "RANGES",
    "Form",
    "PotSet",
    "curves",
    "forms",
    "load",
    "parameters",
    "solid",
    "tall",
    "thrown",
]

CLASSES = ("plate", "bowl", "jar", "jug", "bottle")
"""In the order of the labels; all are equally common."""

PARAMETERS = ("base", "belly", "neck", "rim", "belly height", "neck height", "tall")
"""What a form's seven numbers are, in this order."""

HEIGHTS = 32  # at which the radius is known: from 0, the base, to 1, the rim
COINS = 32  # the potter's hand: their heads less the half, in 1/255 of the largest radius
CHECKSUM: dict[str, str] = {
    "train": "ba89ff16c8ed8b267541dece6f6e8c5fdf11ab2c7c7cd84e264a9d7071f66d6f",
    "test": "557256af6b37b5a0c517c684f82fc5ce5471284e620a6817fd7d82f3217b1687",
}
COUNTS = {"train": 8_000, "test": 2_000}
SEEDS = {"train": 1, "test": 2}

RANGES = np.array(
    [
        [
            [0.35, 0.60],
            [0.0, 1.0],
            [0.0, 0.0],
            [0.70, 0.95],
            [0.00, 0.0],
            [0.00, 0.0],
            [0.12, 0.3],
        ],
        [
            [0.20, 0.45],
            [0.0, 1.0],
            [0.0, 0.0],
            [0.50, 0.90],
            [0.00, 0.0],
            [0.00, 0.0],
            [0.25, 0.7],
        ],
        [
            [0.20, 0.45],
            [0.5, 0.8],
            [0.6, 0.9],
            [1.00, 1.25],
            [0.45, 0.7],
            [0.80, 0.9],
            [0.50, 1.0],
        ],
        [
            [0.20, 0.45],
            [0.4, 0.7],
            [0.4, 0.7],
            [1.10, 1.60],
            [0.30, 0.5],
            [0.65, 0.8],
            [0.60, 1.0],
        ],
        [
            [0.20, 0.45],
            [0.4, 0.7],
            [0.3, 0.4],
            [1.00, 1.50],
            [0.30, 0.5],
            [0.55, 0.7],
            [0.60, 1.0],
        ],
    ],
    np.float32,
)
"""The smallest and the largest of each parameter in each class, (5, 7, 2).

Base and belly are radii, where 1 fills half the box; the neck is a share of the belly, the rim of
the neck. For the open classes the rim is a radius, the belly says how round the wall is (0 for a
straight one), and neck and heights are not used. Belly and neck height are shares of the vessel's
height; tall is a share of the box's, which is 2.
"""


@dataclass(frozen=True)
class PotSet:
    """Profiles in 0..255, how tall the vessels are, their classes, and where they came from.

    Attributes:
        profiles: outer radii at heights from base to rim, 255 for half the box's width.
        tall: 255 for the height of the box.
        labels: the number of the class, see ``CLASSES``.
        record: what they are.
    """

    profiles: UInt8[Tensor, "count heights"]
    tall: UInt8[Tensor, " count"]
    labels: Int[Tensor, " count"]
    record: Record

    def describe(self) -> str:
        """Return how much there is, for a line of the command line."""
        return f"{len(self.profiles):,} profiles of {self.profiles.shape[1]} radii"


class Form(NamedTuple):
    """What vessels are drawn from, one entry a vessel.

    Attributes:
        label: the class, a whole number from 0 to 4.
        shares: where each parameter lies in its class's range, from 0 to 1, (count, 7).
    """

    label: np.ndarray
    shares: np.ndarray


def forms(count: int, random: np.random.Generator) -> Form:
    """Draw what vessels look like: classes equally often, everything else evenly."""
    label = random.integers(len(CLASSES), size=count)
    return Form(label, random.random((count, len(PARAMETERS))).astype(np.float32))


def parameters(form: Form) -> np.ndarray:
    """Return the seven parameters of each vessel, (count, 7).

    Raises:
        ValueError: parts that do not fit, or a class that does not exist.
    """
    label, shares = form
    if shares.shape != (len(label), len(PARAMETERS)):
        raise ValueError(f"{len(label)} labels need shares (count, 7), got {shares.shape}")
    if len(label) and not (label.min() >= 0 and label.max() < len(CLASSES)):
        raise ValueError(f"classes are 0 to 4, got {label.min()} to {label.max()}")
    low, high = RANGES[label, :, 0], RANGES[label, :, 1]
    return np.asarray(low + shares.astype(np.float32) * (high - low), np.float32)


def curves(form: Form) -> np.ndarray:
    """Return the clean profiles, (count, 32) in single precision, where 1 fills half the box.

    Raises:
        ValueError: as `parameters`.
    """
    base, belly, neck, rim, low, high, _ = (p[:, None] for p in parameters(form).T)
    up = np.arange(HEIGHTS, dtype=np.float32)[None] / np.float32(HEIGHTS - 1)
    one = np.float32(1)
    wall = up * (one + belly * (one - up))  # straight, or a parabola that ends upright
    opened = base + (rim - base) * wall
    with np.errstate(divide="ignore", invalid="ignore"):  # open vessels have no neck
        swell = one - np.square(one - up / low)
        narrow = (up - low) / (high - low)
        flare = np.square((up - high) / (one - high))
    neck = neck * belly
    closed = np.where(
        up <= low,
        base + (belly - base) * swell,
        np.where(
            up <= high,
            belly + (neck - belly) * narrow * narrow * (np.float32(3) - 2 * narrow),
            neck + neck * (rim - one) * flare,
        ),
    )
    shape = np.where(form.label[:, None] < 2, opened, closed)
    return np.asarray(shape, np.float32)


def tall(form: Form) -> np.ndarray:
    """Return how tall each vessel is, in bytes: 255 for the height of the box."""
    return np.asarray(np.rint(np.float32(255) * parameters(form)[:, -1]), np.uint8)


def thrown(form: Form, random: np.random.Generator) -> np.ndarray:
    """Return profiles as the potter's hand leaves them, bytes of shape (count, 32)."""
    clean = np.rint(np.float32(255) * curves(form)).astype(np.int64)
    tossed = random.integers(2**COINS, size=clean.shape, dtype=np.uint32)
    heads = np.unpackbits(tossed[..., None].view(np.uint8), axis=-1).sum(axis=-1, dtype=np.int64)
    return np.asarray(np.clip(clean + heads - COINS // 2, 0, 255), np.uint8)


def solid(
    profiles: UInt8[Tensor, "count heights"],
    side: int = 32,
    tall: UInt8[Tensor, " count"] | None = None,
) -> Bool[Tensor, "count side side side"]:
    """Fill vessels with voxels, standing on the floor of a box: axes are up, deep, wide.

    A voxel is filled if its centre lies within the vessel's height and within the radius there,
    which is read off the profile in a straight line between two heights.

    Args:
        profiles: radii, 255 for half the box's width.
        side: of the box, in voxels.
        tall: 255 for the height of the box, which is also what vessels have by default.

    Raises:
        ValueError: a box or a vessel without volume, or heights that do not fit.
    """
    if side < 1:
        raise ValueError(f"side must be positive, got {side}")
    heights = torch.full((len(profiles),), 255) if tall is None else tall
    if len(heights) != len(profiles):
        raise ValueError(f"{len(profiles)} profiles, but {len(heights)} heights")
    flat = [i for i, (r, h) in enumerate(zip(profiles, heights, strict=True)) if not r.any() * h]
    if flat:
        raise ValueError(f"vessels without volume: {flat}")
    centres = (torch.arange(side) + 0.5) / side  # from 0, the floor or the left, to 1
    up = 255 * centres[None] / heights[:, None]  # 1 is the rim
    place = up.clamp(max=1) * (profiles.shape[1] - 1)
    below = place.floor().long().clamp(max=profiles.shape[1] - 2)
    lower, upper = (profiles.float().gather(1, below + i) for i in (0, 1))
    radius = torch.where(up <= 1, lower + (place - below) * (upper - lower), -1.0) / 255
    away = 2 * centres - 1
    square = away[:, None].square() + away[None, :].square()
    return (radius[..., None, None] > 0) & (square <= radius.square()[..., None, None])


def load(split: Split = "train", stand_in: bool = True) -> PotSet:
    """Return the drawn vessels.

    Args:
        split: "train" (8,000 vessels) or "test" (2,000).
        stand_in: accepted so that all loaders are called alike; the set is never replaced.

    Raises:
        WrongBytes: this machine draws other vessels than all others.
    """
    check_split(split)
    profiles, height, labels = _drawn(split)
    record = verified(
        (profiles, height, labels), "drawn vessels", __name__, split, CHECKSUM, COUNTS
    )
    return PotSet(profiles.clone(), height.clone(), labels.clone(), record)


@functools.cache
def _drawn(split: Split) -> tuple[Tensor, Tensor, Tensor]:
    """Return profiles, heights and labels; one drawing serves a whole session."""
    random = np.random.default_rng(SEEDS[split])
    form = forms(COUNTS[split], random)
    parts = thrown(form, random), tall(form), form.label
    profiles, height, labels = (torch.from_numpy(part) for part in parts)
    return profiles, height, labels
