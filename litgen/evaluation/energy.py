"""Energy distance: how far apart two sets of points are, with nothing to tune.

Chapter: book/start/why_generative.md.  Proof: tests/evaluation/test_energy.py.
Reference: Szekely & Rizzo, "Energy statistics: a class of statistics based on distances" (2013).
"""

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = ["energy_distance"]


def energy_distance(
    x: Float[Tensor, "m dims"], y: Float[Tensor, "n dims"], block: int = 2_048
) -> Float[Tensor, ""]:
    """Return 2 E|X-Y| - E|X-X'| - E|Y-Y'|, the unbiased estimate. Implements eq:energy-distance.

    Zero in the mean when both sets come from one distribution, and then as often below zero as
    above. It has the unit of the data; scipy's function of this name is its square root.

    Args:
        x: points of one set.
        y: points of the other.
        block: rows of the table of distances that are held at a time.

    Raises:
        ValueError: fewer than two points, other dimensions, or a coordinate that is not finite.
    """
    if min(len(x), len(y)) < 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"two sets of at least 2 points, got {tuple(x.shape)}, {tuple(y.shape)}")
    if not (x.isfinite().all() and y.isfinite().all()):
        raise ValueError("a coordinate is not finite")
    m, n = len(x), len(y)
    between = _sum_of_distances(x, y, block) / (m * n)
    within_x = _sum_of_distances(x, x, block) / (m * (m - 1))
    within_y = _sum_of_distances(y, y, block) / (n * (n - 1))
    return 2 * between - within_x - within_y


def _sum_of_distances(
    x: Float[Tensor, "m dims"], y: Float[Tensor, "n dims"], block: int
) -> Float[Tensor, ""]:
    exact = "donot_use_mm_for_euclid_dist"  # the fast form gives a point a distance from itself
    sums = [torch.cdist(rows, y, compute_mode=exact).double().sum() for rows in x.split(block)]
    return torch.stack(sums).sum().to(x.dtype)
