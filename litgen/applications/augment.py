"""What samples of a fitted model are worth: estimates from n data and m samples, in closed form.

Chapter: book/applications/medical.md.  Proof: tests/applications/test_augment.py.

The model throughout: n independent data with mean mu and variance sigma^2 in each coordinate; a
generator that is a Gaussian fitted to them; m samples of it. Risks are expected squared errors of
the estimated mean, summed over coordinates.
"""

import math

from torch import Tensor

from litgen.shapes import Float

__all__ = [
    "best_share",
    "break_even",
    "diluted_logit",
    "draw_fitted",
    "effective_number",
    "information",
    "mixed_mean",
    "pooled_variance",
    "prior_risk",
]


def draw_fitted(
    points: Float[Tensor, "*batch n dims"], noise: Float[Tensor, "*batch m own"]
) -> Float[Tensor, "*batch m dims"]:
    """Return samples of the Gaussian with the points' mean and covariance: eq:med-generator.

    The covariance is the one with n - 1 below. Given standard normal noise, a sample is the mean
    plus a random mixture of deviations; it lies in the plane of the points, whatever the dims.

    Raises:
        ValueError: fewer than two points, or noise for another number of them.
    """
    n = points.shape[-2]
    if n < 2 or noise.shape[-1] != n:
        raise ValueError(f"{n} points and noise for {noise.shape[-1]}: equal, and at least 2")
    mean = points.mean(dim=-2, keepdim=True)
    return mean + noise @ (points - mean) / math.sqrt(n - 1)


def mixed_mean(
    points: Float[Tensor, "*batch n dims"], samples: Float[Tensor, "*batch m dims"], share: float
) -> Float[Tensor, "*batch dims"]:
    """Return the mean in which samples count with a share, data with the rest: eq:med-mixed."""
    _check_share(share)
    return (1 - share) * points.mean(dim=-2) + share * samples.mean(dim=-2)


def pooled_variance(n: int, m: int, share: float | None = None) -> float:
    """Return the variance of the mixed mean, in units of sigma^2. Implements eq:med-variance.

    Args:
        n: data.
        m: samples; with 0 of them the share must be 0.
        share: of the samples in the mean; m / (n + m), all counted alike, unless given.

    Raises:
        ValueError: no data, a share outside [0, 1], or a share of no samples.
    """
    _check_counts(n, m)
    share = m / (n + m) if share is None else share
    _check_share(share)
    if share and not m:
        raise ValueError(f"a share of {share} for no samples")
    return 1 / n + (share**2 / m if m else 0.0)


def effective_number(n: int, m: int, samples_alone: bool = False) -> float:
    """Return how many data alone would estimate the mean as well: eq:med-effective.

    Args:
        n: data.
        m: samples, at least one if they are alone.
        samples_alone: the data were thrown away, and the mean is that of the samples.
    """
    return 1 / pooled_variance(n, m, 1.0 if samples_alone else None)


def information(n: int, m: int, signal: float, samples_alone: bool = False) -> float:
    """Return what data and samples say about the mean, in nats. Implements eq:med-information.

    One coordinate, a normal prior whose variance is ``signal`` times sigma^2, and a generator that
    knows sigma: the mutual information of the mean with both sets, or with the samples alone.
    With both it does not depend on m: the data-processing inequality, met with equality.

    Raises:
        ValueError: no data, a negative number of samples, or a signal that is not positive.
    """
    _check_counts(n, m)
    if signal <= 0:
        raise ValueError(f"the prior's variance must be positive, got {signal}")
    if not samples_alone:
        return 0.5 * math.log1p(signal * n)
    return 0.5 * math.log1p(signal / (1 / n + 1 / m)) if m else 0.0


def prior_risk(dims: int, rank: int, bias: float, noise: float, share: float) -> float:
    """Return the risk of a mean whose generator knows a plane: eq:med-prior-risk.

    The generator projects what it was fitted to on ``rank`` of ``dims`` dimensions, and so many
    samples are drawn that their own noise is gone.

    Args:
        dims: coordinates.
        rank: dimensions of the plane that the generator takes for granted.
        bias: squared distance of the true mean from that plane.
        noise: sigma^2 / n.
        share: of the samples in the mean.

    Raises:
        ValueError: a rank outside 0..dims, negative numbers, or a share outside [0, 1].
    """
    _check_share(share)
    _check_plane(dims, rank, bias)
    if noise < 0:
        raise ValueError(f"a variance cannot be negative, got {noise}")
    return noise * (rank + (dims - rank) * (1 - share) ** 2) + share**2 * bias


def break_even(dims: int, rank: int, bias: float, variance: float, share: float = 1.0) -> float:
    """Return the number of data below which the generator helps: eq:med-break-even.

    Infinite where the plane is right, or the share is 0 and nothing changes.

    Args:
        dims: coordinates.
        rank: dimensions of the generator's plane.
        bias: squared distance of the true mean from it.
        variance: sigma^2, of one datum in one coordinate.
        share: of the samples in the mean.
    """
    _check_plane(dims, rank, bias)
    _check_share(share)
    if bias == 0 or share == 0:
        return math.inf
    return (dims - rank) * variance * (2 - share) / (share * bias)


def best_share(dims: int, rank: int, bias: float, noise: float) -> float:
    """Return the share with the least risk: eq:med-best-share. `prior_risk` says the arguments."""
    _check_plane(dims, rank, bias)
    gained = (dims - rank) * noise
    return gained / (gained + bias) if gained + bias else 0.0


def diluted_logit(
    logit: Float[Tensor, "*batch"], share: float, prior: float
) -> Float[Tensor, "*batch"]:
    """Return the best logit of a class after samples without it joined: eq:med-diluted.

    Args:
        logit: of the class before, log p / (1 - p) given what is seen.
        share: of the samples in what is trained on, below 1; a sample looks as a datum that is
            not of the class.
        prior: share of the class among the data.

    Raises:
        ValueError: a share outside [0, 1), or a prior outside (0, 1).
    """
    _check_share(share)
    if share == 1 or not 0 < prior < 1:
        raise ValueError(f"some data and some of the class, got shares {share} and {prior}")
    return logit - math.log1p(share / ((1 - share) * (1 - prior)))


def _check_counts(n: int, m: int) -> None:
    if n < 1 or m < 0:
        raise ValueError(f"at least one datum and no negative number of samples, got {n} and {m}")


def _check_share(share: float) -> None:
    if not 0 <= share <= 1:
        raise ValueError(f"a share lies between 0 and 1, got {share}")


def _check_plane(dims: int, rank: int, bias: float) -> None:
    if not 0 <= rank <= dims or bias < 0:
        raise ValueError(f"rank {rank} of {dims} dimensions, squared bias {bias}")
