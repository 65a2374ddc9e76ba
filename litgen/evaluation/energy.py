"""Energy distance: how far apart two sets of points are, with nothing to tune.

Chapter: book/start/why_generative.md.  Proof: tests/evaluation/test_energy.py.
Reference: Szekely & Rizzo, "Energy statistics: a class of statistics based on distances" (2013).
"""

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = ["energy_distance", "squared_cdf_gap"]


def energy_distance(
    x: Float[Tensor, "m dims"], y: Float[Tensor, "n dims"], block: int = 256
) -> Float[Tensor, ""]:
    """Return ``2 E|X-Y| - E|X-X'| - E|Y-Y'|``, unbiased. Implements eq:energy-distance.

    Zero in the mean when both sets come from one distribution, and then about as often below zero
    as above. It has the unit of the data; scipy's function of this name is its square root.

    Args:
        x: points of one set.
        y: points of the other.
        block: rows of the table of distances that are held at a time.

    Raises:
        ValueError: fewer than two points, other dimensions, or a coordinate that is not finite.
    """
    if x.dim() != 2 or y.dim() != 2 or min(len(x), len(y)) < 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"two sets of at least 2 points, got {tuple(x.shape)}, {tuple(y.shape)}")
    _check_finite(x, y)
    m, n = len(x), len(y)
    centre = x.double().mean(dim=0)
    left, right = (points.double() - centre for points in (x, y))  # three large means cancel
    between = torch.stack([_distances(rows, right).sum() for rows in left.split(block)]).sum()
    within_x, within_y = (_sum_within(points, block) for points in (left, right))
    distance = 2 * between / (m * n) - within_x / (m * (m - 1)) - within_y / (n * (n - 1))
    return distance.to(x.dtype)


def squared_cdf_gap(x: Float[Tensor, " m"], y: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    """Return 2 times the integral of (F - G)^2 for two sets of numbers. Implements eq:energy-cdf.

    F and G are the sets' distribution functions, which are steps, so that the integral is a sum.
    It is the energy distance with each ``E|X-X'|`` taken over all pairs, a number with itself too.

    Raises:
        ValueError: an empty set, or a number that is not finite.
    """
    if min(len(x), len(y)) < 1:
        raise ValueError(f"two sets of numbers, got {len(x)} and {len(y)}")
    _check_finite(x, y)
    places = torch.cat([x, y]).sort().values
    f = torch.searchsorted(x.sort().values, places, right=True).to(x) / len(x)
    g = torch.searchsorted(y.sort().values, places, right=True).to(x) / len(y)
    return 2 * ((f - g)[:-1].square() * places.diff()).sum()


def _check_finite(*tensors: Tensor) -> None:
    if not all(tensor.isfinite().all() for tensor in tensors):
        raise ValueError("a coordinate is not finite")


def _sum_within(points: Float[Tensor, "n dims"], block: int) -> Float[Tensor, ""]:
    """Return the sum of all n^2 distances; of each pair of blocks, one is computed."""
    sums = []
    for start in range(0, len(points), block):
        rows, later = points[start : start + block], points[start + block :]
        own = _distances(rows, rows).fill_diagonal_(0)  # rounding moves points from themselves
        sums += [own.sum(), 2 * _distances(rows, later).sum()]
    return torch.stack(sums).sum()


def _distances(x: Float[Tensor, "m dims"], y: Float[Tensor, "n dims"]) -> Float[Tensor, "m n"]:
    """Return distances by one product of matrices, which double precision can afford."""
    return torch.cdist(x, y, compute_mode="use_mm_for_euclid_dist")
