"""Vessels by their profiles: volume, what a sherd shows, and whether intervals keep their word.

Chapter: book/applications/archaeology.md.  Proof: tests/applications/test_vessels.py.
References: Karasik & Smilansky, "Computerized morphological classification of ceramics" (2011),
for profiles as functions; Gneiting & Raftery, "Strictly Proper Scoring Rules, Prediction, and
Estimation" (2007), for judging intervals.

Notation: radius r(u) at relative height u from 0, the base, to 1, the rim, is a row of ``radii``;
h is ``tall``, in the same units; several completions of one vessel are ``samples``.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from litgen.shapes import Bool, Float

__all__ = ["Sherd", "coverage", "interval", "rank", "sherd", "volume", "width"]

Sherd = Literal["base", "belly", "rim", "scattered"]


def volume(
    radii: Float[Tensor, "*batch heights"], tall: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """Return the volume of the solid that a profile turns out, straight between its radii.

    Implements eq:pot-volume, a sum over frusta. Units are those of radii and height, cubed.

    Raises:
        ValueError: fewer than two radii, or other heights than profiles.
    """
    if radii.dim() < 1 or radii.shape[-1] < 2 or radii.shape[:-1] != tall.shape:
        shapes = tuple(radii.shape), tuple(tall.shape)
        raise ValueError(f"profiles of two radii or more and a height each, got shapes {shapes}")
    below, above = radii[..., :-1], radii[..., 1:]
    squares = (below * below + below * above + above * above) / 3
    return math.pi * tall * squares.mean(dim=-1)


def sherd(
    kind: Sherd, heights: int, generator: torch.Generator | None = None
) -> Bool[Tensor, " heights"]:
    """Return which heights a sherd shows: a quarter of them.

    Args:
        kind: the lowest, those from a quarter to a half, the highest, or runs of two at random.
        heights: how many radii a profile has, a multiple of 8.
        generator: draws the places of scattered sherds.

    Raises:
        ValueError: an unknown kind, a number that is no multiple of 8, or no generator for sherds
            that are scattered.
    """
    if heights < 8 or heights % 8:
        raise ValueError(f"heights must be a multiple of 8, got {heights}")
    quarter = heights // 4
    seen = torch.zeros(heights, dtype=torch.bool)
    starts = {"base": 0, "belly": quarter, "rim": 3 * quarter}
    if kind in starts:
        seen[starts[kind] : starts[kind] + quarter] = True
    elif kind != "scattered":
        raise ValueError(f"unknown sherd {kind!r}; there are: base, belly, rim, scattered")
    elif generator is None:
        raise ValueError("scattered sherds need a generator")
    else:
        pairs = torch.randperm(heights // 2, generator=generator)[: quarter // 2]
        seen.view(-1, 2)[pairs] = True
    return seen


def interval(
    samples: Float[Tensor, "samples *batch"], level: float
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Return the ends of the middle ``level`` of the samples. Implements eq:pot-interval.

    The truth is counted as one sample more: of n samples of its own law, it falls below the k-th
    smallest with probability k / (n + 1). Plain quantiles of n samples would be too narrow.

    Raises:
        ValueError: a level that is not between 0 and 1, or fewer than two samples.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")
    if len(samples) < 2:
        raise ValueError(f"an interval needs two samples, got {len(samples)}")
    ordered = samples.sort(dim=0).values
    place = max((1 - level) / 2 * (len(samples) + 1) - 1, 0.0)  # less than half of them
    first = int(place)
    low = torch.lerp(ordered[first], ordered[first + 1], place - first)
    high = torch.lerp(ordered[-1 - first], ordered[-2 - first], place - first)
    return low, high


def coverage(
    samples: Float[Tensor, "samples *batch"], truth: Float[Tensor, "*batch"], level: float
) -> Float[Tensor, ""]:
    """Return how often the truth lies in the interval. Implements eq:pot-coverage.

    Raises:
        ValueError: as `interval`, or a truth of another shape.
    """
    if samples.shape[1:] != truth.shape:
        shapes = tuple(samples.shape), tuple(truth.shape)
        raise ValueError(f"samples and truth have shapes {shapes}: they do not fit")
    low, high = interval(samples, level)
    return ((low <= truth) & (truth <= high)).to(samples.dtype).mean()


def width(samples: Float[Tensor, "samples *batch"], level: float) -> Float[Tensor, ""]:
    """Return how wide the intervals are on average, in the units of the samples."""
    low, high = interval(samples, level)
    return (high - low).mean()


def rank(
    samples: Float[Tensor, "samples *batch"], truth: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """Return the share of samples below the truth, ties by half. Implements eq:pot-rank.

    Even between 0 and 1 where truth and samples come from the same law.
    """
    below = (samples < truth).to(samples.dtype) + (samples == truth).to(samples.dtype) / 2
    return below.mean(dim=0)
