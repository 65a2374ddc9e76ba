"""The truncation trick: codes that are cut to an interval, and what it does in closed form.

Chapter: book/gan/biggan.md.  Proof: tests/gan/test_truncation.py.
Reference: Brock, Donahue & Simonyan, "Large Scale GAN Training for High Fidelity Natural Image
Synthesis" (2019), section 3.1.

Notation: t is ``threshold``, in standard deviations; s(t), the standard deviation that is left,
is the root of ``variance``.
"""

import math

import torch
from torch import Tensor
from torch.special import ndtr, ndtri

from litgen.shapes import Float

__all__ = [
    "divergence",
    "kept",
    "kurtosis",
    "linear_frechet",
    "resampled",
    "truncated",
    "variance",
]


def truncated(u: Float[Tensor, "*batch"], threshold: float) -> Float[Tensor, "*batch"]:
    """Map uniform numbers in (0, 1) to normal ones between -threshold and threshold.

    Implements eq:big-quantile: the quantile function of eq:big-truncated. The same ``u`` under
    another threshold is the same place in another interval, which moves without jumps.

    Raises:
        ValueError: a threshold that is not positive.
    """
    _check(threshold)
    low = ndtr(torch.as_tensor(-threshold, dtype=torch.float64))
    # the lower half alone is computed: there no digits are lost
    half = ndtri(low + torch.minimum(u, 1 - u).double() * (1 - 2 * low))
    return torch.where(u < 0.5, half, -half).clamp(-threshold, threshold).to(u.dtype)


def resampled(
    z: Float[Tensor, "*batch"], threshold: float, generator: torch.Generator, rounds: int = 10_000
) -> Float[Tensor, "*batch"]:
    """Draw each number beyond the threshold anew until it falls inside, as the paper says.

    It has the law of `truncated` (eq:big-truncated), at the price of 1 / eq:big-kept draws.

    Raises:
        ValueError: a threshold that is not positive, or so small that the rounds do not suffice.
    """
    _check(threshold)
    z = z.clone()
    for _ in range(rounds):
        outside = z.abs() > threshold
        if not outside.any():
            return z
        count = int(outside.sum())
        fresh = torch.randn(count, generator=generator, dtype=z.dtype, device=generator.device)
        z[outside] = fresh.to(z.device)
    raise ValueError(f"threshold {threshold} is too small to be hit in {rounds} rounds")


def kept(threshold: float) -> float:
    """Return the share of normal numbers that lie inside. Implements eq:big-kept.

    Raises:
        ValueError: a threshold that is not positive.
    """
    _check(threshold)
    return math.erf(threshold / math.sqrt(2))


def variance(threshold: float) -> float:
    """Return the variance of a truncated number: below 1, near t^2 / 3 for small t.

    Implements eq:big-variance.

    Raises:
        ValueError: a threshold that is not positive.
    """
    _check(threshold)
    if threshold < 1e-2:  # where the difference of two equal numbers would be left
        return threshold**2 / 3 * (1 - 2 * threshold**2 / 15)
    return 1 - 2 * threshold * _density(threshold) / kept(threshold)


def kurtosis(threshold: float) -> float:
    """Return E z^4 of a truncated number. Implements eq:big-fourth.

    Raises:
        ValueError: a threshold that is not positive.
    """
    return 3 * variance(threshold) - 2 * threshold**3 * _density(threshold) / kept(threshold)


def divergence(threshold: float, dims: int = 1) -> float:
    """Return KL(truncated || normal) in nats: what variety the cut has cost.

    Implements eq:big-divergence. (The other direction is infinite.)

    Raises:
        ValueError: a threshold that is not positive.
    """
    return -dims * math.log(kept(threshold))


def linear_frechet(
    threshold: float,
    generated: Float[Tensor, "features latent"],
    data: Float[Tensor, "places codes"],
) -> float:
    """Return the Frechet distance of a linear generator with truncated codes from Gaussian data.

    Implements eq:big-linear-frechet: samples are A z, data B e with e standard normal, and A is
    B times factors of its columns, so that both covariances have the same axes.

    Args:
        threshold: of the codes z.
        generated: A.
        data: B, with orthogonal columns.

    Raises:
        ValueError: matrices of other shapes, or columns that do not belong together.
    """
    if generated.shape != data.shape:
        raise ValueError(f"A has shape {tuple(generated.shape)}, B {tuple(data.shape)}")
    long, own = data.norm(dim=0), generated.norm(dim=0)
    products = data.T @ data - torch.diag(long.square())
    along = (generated * data).sum(dim=0).abs() - own * long
    if max(products.abs().max(), along.abs().max()) > 1e-6 * long.max() ** 2:
        raise ValueError("B needs orthogonal columns, and A the same ones but for their length")
    return float((long - math.sqrt(variance(threshold)) * own).square().sum())


def _density(x: float) -> float:
    """Return the standard normal density."""
    return math.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def _check(threshold: float) -> None:
    if not threshold > 0:
        raise ValueError(f"threshold must be positive, got {threshold}")
