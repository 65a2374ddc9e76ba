"""Kernel density estimation: one Gaussian for every datum, all with one bandwidth.

    p(x) = 1/n sum_i N(x; x_i, h^2 I)

Chapter: book/density/kde.md.  Proof: tests/density/test_kde.py.
References: Parzen, "On estimation of a probability density function and mode" (1962); Duin, "On
the choice of smoothing parameters for Parzen estimators" (1976).

Notation: h is ``bandwidth``, the x_i are the rows of ``data``, n is their number, D is ``dims``.
Tables of distances are made ``block`` rows at a time, small enough for a processor's cache.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from litgen.shapes import Float, Int

__all__ = [
    "LeaveOneOut",
    "fit_bandwidth",
    "leave_one_out",
    "log_prob",
    "reference_bandwidth",
    "sample",
]

FAR = 1e30  # instead of infinity: its exponential is 0, and 0 times it is 0
LARGEST_STEP = 0.7  # of log h: the bandwidth at most doubles or halves


def log_prob(
    x: Float[Tensor, "points dims"],
    data: Float[Tensor, "count dims"],
    bandwidth: float,
    block: int = 256,
) -> Float[Tensor, " points"]:
    """Return the log-density at every point in nats, the log of eq:kde-density.

    Implements eq:kde-log-prob.

    Raises:
        ValueError: a bandwidth that is not positive, values that are not finite, or points of
            other dimensions than the data's.
    """
    _check(data, bandwidth, at_least=1)
    if x.dim() != 2 or x.shape[1] != data.shape[1] or not x.isfinite().all():
        raise ValueError(f"finite points of {data.shape[1]} dims expected, got {tuple(x.shape)}")
    parts = [
        torch.logsumexp(-exponents, dim=1) for exponents in _exponents(x, data, bandwidth, block)
    ]
    log_sums = torch.cat(parts) if parts else x.new_zeros(0)
    return log_sums - math.log(len(data)) - _log_volume(data.shape[1], bandwidth)


def sample(
    data: Float[Tensor, "count dims"],
    bandwidth: float,
    index: Int[Tensor, " points"],
    noise: Float[Tensor, "points dims"],
) -> Float[Tensor, "points dims"]:
    """Turn chosen rows and standard normal noise into samples. Implements eq:kde-sample.

    Args:
        data: the rows to choose from.
        bandwidth: standard deviation of the kernel.
        index: the row of each sample, drawn uniformly.
        noise: one row a sample.

    Raises:
        ValueError: as for `log_prob`, or not as many rows of noise as choices.
    """
    _check(data, bandwidth, at_least=1)
    if noise.shape != (len(index), data.shape[1]):
        raise ValueError(
            f"{len(index)} rows of {data.shape[1]} expected as noise, got {tuple(noise.shape)}"
        )
    return data[index] + bandwidth * noise


class LeaveOneOut(NamedTuple):
    """The mean leave-one-out log-likelihood in nats, and its derivatives in log h."""

    log_likelihood: float
    gradient: float
    curvature: float


def leave_one_out(
    data: Float[Tensor, "count dims"],
    bandwidth: float,
    groups: Int[Tensor, " count"] | None = None,
    block: int = 256,
) -> LeaveOneOut:
    """Score every datum under the kernels of the others, in the mean.

    Implements eq:kde-leave-one-out, eq:kde-loo-gradient and eq:kde-loo-curvature; with ``groups``,
    eq:kde-leave-group-out.

    Args:
        data: (count, dims), at least two rows.
        bandwidth: standard deviation of the kernel.
        groups: a number for each row; rows of one group do not score each other. Without it every
            row is a group of its own.
        block: rows of the table of distances that are held at a time.

    Raises:
        ValueError: as for `log_prob`, a single datum, or groups that do not fit or are all one.
    """
    _check(data, bandwidth, at_least=2)
    count, dims = data.shape
    groups, log_others = _others(count, groups, data.device)
    totals = torch.zeros(3, dtype=torch.float64, device=data.device)
    for number, exponents in enumerate(_exponents(data, data, bandwidth, block)):
        own = groups[number * block :][: len(exponents), None] == groups
        exponents.masked_fill_(own, FAR)
        nearest = exponents.amin(dim=1, keepdim=True)
        above = exponents.sub_(nearest)
        weights = torch.exp(-above)
        total = weights.sum(dim=1)
        first = weights.mul_(above).sum(dim=1) / total
        second = weights.mul_(above).sum(dim=1) / total
        nearest = nearest.squeeze(1)
        terms = torch.stack([total.log() - nearest, nearest + first, second - first.square()])
        totals += terms.sum(dim=1, dtype=torch.float64)
    log_sum, mean, variance = (totals / count).tolist()
    constant = log_others + _log_volume(dims, bandwidth)
    return LeaveOneOut(log_sum - constant, 2 * mean - dims, 4 * variance - 4 * mean)


def fit_bandwidth(
    data: Float[Tensor, "count dims"],
    start: float | None = None,
    groups: Int[Tensor, " count"] | None = None,
    tolerance: float = 1e-4,
    steps: int = 50,
) -> tuple[float, float]:
    """Return the bandwidth of the largest leave-one-out likelihood, and that likelihood in nats.

    Newton's steps in log h, cut to a factor of two and kept within a bracket (eq:kde-newton).
    Where they end, eq:kde-fixed-point holds. The likelihood may have several tops; this is one.

    Args:
        data: (count, dims).
        start: the first bandwidth; `reference_bandwidth` unless given.
        groups: rows that do not score each other, see `leave_one_out`.
        tolerance: the step in log h that is no longer taken.
        steps: how many are tried.

    Raises:
        ValueError: no maximum, as when every datum occurs twice, or values that are not finite.
    """
    bandwidth = reference_bandwidth(data) if start is None else start
    low, high = 0.0, math.inf  # the likelihood rises at the one and falls at the other
    for _ in range(steps):
        now = leave_one_out(data, bandwidth, groups)
        uphill = math.copysign(LARGEST_STEP, now.gradient)
        step = -now.gradient / now.curvature if now.curvature < 0 else uphill
        step = min(max(step, -LARGEST_STEP), LARGEST_STEP)
        if abs(step) < tolerance:
            return bandwidth, now.log_likelihood
        low, high = (bandwidth, high) if now.gradient > 0 else (low, bandwidth)
        bandwidth *= math.exp(step)
        if not low < bandwidth < high:  # Newton would leave the bracket: halve it instead
            bandwidth = math.sqrt(low * high)
    raise ValueError(
        f"no bandwidth maximises the leave-one-out likelihood: after {steps} steps it is "
        f"{bandwidth:.3g}. Does every datum occur twice?"
    )


def reference_bandwidth(data: Float[Tensor, "count dims"]) -> float:
    """Return the bandwidth that is best for Gaussian data, to leading order in n.

    Implements eq:kde-reference with the root mean square of the columns' standard deviations.

    Raises:
        ValueError: a single datum, values that are not finite, or data that do not vary.
    """
    _check(data, 1.0, at_least=2)
    count, dims = data.shape
    spread: float = data.var(dim=0).mean().sqrt().item()
    if spread == 0:
        raise ValueError(f"all {count} data are equal")
    factor: float = (4 / ((dims + 2) * count)) ** (1 / (dims + 4))
    return spread * factor


def _exponents(
    x: Float[Tensor, "points dims"],
    data: Float[Tensor, "count dims"],
    bandwidth: float,
    block: int,
) -> Iterator[Float[Tensor, "rows count"]]:
    """Yield |x - x_i|^2 / 2 h^2, ``block`` points at a time.

    The square is multiplied out, which makes of it a matrix product; the data's mean is taken away
    first, so that little cancels.
    """
    centre = data.mean(dim=0)
    scaled = (data - centre) / (bandwidth * math.sqrt(2))
    squares = scaled.square().sum(dim=1)
    for rows in x.split(block):
        rows = (rows - centre) / (bandwidth * math.sqrt(2))
        table = torch.addmm(squares, rows, scaled.T, alpha=-2)
        yield table.add_(rows.square().sum(dim=1, keepdim=True)).clamp_min_(0)


def _others(
    count: int, groups: Tensor | None, device: torch.device
) -> tuple[Int[Tensor, " count"], float]:
    """Return a group for each row, and the mean log of how many rows are in other groups."""
    if groups is None:
        return torch.arange(count, device=device), math.log(count - 1)
    if groups.shape != (count,):
        raise ValueError(f"{count} groups expected, got {tuple(groups.shape)}")
    _, which, sizes = groups.unique(return_inverse=True, return_counts=True)
    if len(sizes) < 2:
        raise ValueError(f"all {count} data are in one group: nothing is left to score them")
    return which.to(device), (count - sizes[which]).double().log().mean().item()


def _log_volume(dims: int, bandwidth: float) -> float:
    """Return the log of a kernel's normaliser, (2 pi h^2)^(D/2)."""
    return dims * (math.log(2 * math.pi) / 2 + math.log(bandwidth))


def _check(data: Tensor, bandwidth: float, at_least: int) -> None:
    """Refuse what would give a number, and the wrong one."""
    if not (bandwidth > 0 and math.isfinite(bandwidth)):
        raise ValueError(f"the bandwidth must be positive and finite, got {bandwidth}")
    if data.dim() != 2 or len(data) < at_least or data.shape[1] == 0:
        raise ValueError(f"at least {at_least} rows of data expected, got {tuple(data.shape)}")
    if not data.isfinite().all():
        bad = int((~data.isfinite()).any(dim=1).sum())
        raise ValueError(f"{bad} of {len(data)} data hold values that are not finite")
