"""What few samples do to the Fréchet distance: its bias for Gaussians, and a way to infinity.

Chapter: book/evaluation/metrics.md.  Proof: tests/evaluation/test_few_samples.py.
Reference: Chong & Forsyth, "Effectively Unbiased FID and Inception Score and where to find them"
(2020), for the straight line in 1 / count.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = ["Line", "extrapolated", "frechet_bias"]


def frechet_bias(cov: Float[Tensor, "dims dims"], count: int) -> float:
    """Return the mean Fréchet distance of two sets from one Gaussian, to first order in 1 / count.

    Implements eq:frechet-bias, in the unit of the data squared. It needs counts well above the
    number of dimensions, and says nothing of distributions that are not Gaussian.

    Args:
        cov: covariance of the Gaussian.
        count: points in each of the two sets.

    Raises:
        ValueError: fewer than two points, or a matrix that is no covariance.
    """
    if count < 2:
        raise ValueError(f"at least 2 points in a set, got {count}")
    square = cov.dim() == 2 and cov.shape[0] == cov.shape[1]
    if not (square and cov.isfinite().all() and torch.allclose(cov, cov.T)):
        raise ValueError(f"a finite symmetric matrix is needed, got shape {tuple(cov.shape)}")
    values = torch.linalg.eigvalsh(cov.double())
    if values[0] < -1e-6 * values[-1].abs():
        raise ValueError(f"a covariance has no negative eigenvalue, got {values[0]:.2g}")
    values = values[values > 1e-12 * values[-1]]  # directions without spread add nothing
    harmonic = torch.outer(values, values) / (values[:, None] + values)
    means = 2 * values.sum() / count
    covariances = (harmonic.sum() + harmonic.diagonal().sum()) / (count - 1)
    return float(means + covariances)


class Line(NamedTuple):
    """A straight line in 1 / count.

    Attributes:
        limit: its value at infinitely many points.
        slope: what one point fewer of 1 / count adds.
    """

    limit: float
    slope: float


def extrapolated(counts: Sequence[int], distances: Sequence[float]) -> Line:
    """Fit distances by limit + slope / count, by least squares. Implements eq:frechet-infinity.

    Raises:
        ValueError: not one distance a count, counts below 1, or fewer than two different ones.
    """
    if len(counts) != len(distances):
        raise ValueError(f"{len(counts)} counts, {len(distances)} distances")
    if len(set(counts)) < 2 or min(counts) < 1:
        raise ValueError(f"at least two different counts are needed, got {list(counts)}")
    x = 1 / torch.tensor(counts, dtype=torch.float64)
    y = torch.tensor(distances, dtype=torch.float64)
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    return Line(limit=float(y.mean() - slope * x.mean()), slope=float(slope))
