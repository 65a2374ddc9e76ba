"""Proof for litgen/gan/halfspaces.py: scipy's truncated numbers, quadrature, and many draws."""

import math

import pytest
import torch
from scipy import integrate, stats
from torch import Tensor

from litgen.gan import codes, halfspaces

THRESHOLDS = torch.tensor([-3.0, -0.7, 0.0, 0.3, 1.9, 9.0], dtype=torch.float64)


@pytest.mark.parametrize("latent", [1, 2, 20, 3_000])
def test_the_mean_length_of_a_code(latent: int) -> None:
    """eq:dcgan-length: the mean of scipy's chi law."""
    assert halfspaces.mean_length(latent) == pytest.approx(stats.chi(latent).mean(), rel=1e-9)
    with pytest.raises(ValueError, match="at least 1 dimension, got 0"):
        halfspaces.mean_length(0)


def test_means_of_groups() -> None:
    """eq:dcgan-group-mean: quadrature of x times the density above the threshold; far out too."""
    for threshold, found in zip(THRESHOLDS, halfspaces.mean_above(THRESHOLDS), strict=True):
        c = threshold.item()

        def tail(t: float, c: float = c) -> float:
            """The normal density at c + t, in units of that at c."""
            return math.exp(-c * t - t * t / 2)

        first = integrate.quad(lambda t, c=c: (c + t) * tail(t, c), 0, 15)[0]
        assert found.item() == pytest.approx(first / integrate.quad(tail, 0, 15)[0], rel=1e-6)


def test_variances_of_groups() -> None:
    """eq:dcgan-group-var: scipy's truncated normal law; below is above, turned round."""
    expected = [stats.truncnorm(c, float("inf")).var() for c in THRESHOLDS.tolist()]
    found = halfspaces.variance_above(THRESHOLDS)
    torch.testing.assert_close(found, torch.tensor(expected).double(), rtol=1e-5, atol=0)
    below = [stats.truncnorm(-float("inf"), c).var() for c in THRESHOLDS[:5].tolist()]
    mirrored = halfspaces.variance_above(-THRESHOLDS[:5])
    torch.testing.assert_close(mirrored, torch.tensor(below).double(), rtol=1e-5, atol=0)


def drawn(threshold: float, count: int) -> Tensor:
    """Return 20,000 sums of three means along one attribute's direction, by drawing them."""
    numbers = torch.randn(6_000_000, generator=torch.Generator().manual_seed(0))
    above, below = numbers[numbers > threshold], numbers[numbers <= threshold]
    size = 20_000 * count
    groups = (above[:size], below[:size], below[size : 2 * size])
    return codes.combined(*(group.view(-1, count, 1) for group in groups))[:, 0]


@pytest.mark.parametrize(("threshold", "count"), [(0.0, 3), (0.5, 10), (-0.4, 3), (1.2, 30)])
def test_share_of_sums(threshold: float, count: int) -> None:
    """eq:dcgan-sum-share: within 0.01 of draws from three codes on; needs a code at least."""
    found = halfspaces.share_of_sums(torch.tensor(threshold), count).item()
    assert 0.6 < found < 0.999
    counted = (drawn(threshold, count) > threshold).double().mean().item()
    assert found == pytest.approx(counted, abs=0.01)
    with pytest.raises(ValueError, match="at least 1 code, got 0"):
        halfspaces.share_of_sums(torch.tensor(0.0), 0)


def test_share_of_single_sums() -> None:
    """eq:dcgan-octant: draws, and a double integral."""
    found = halfspaces.share_of_single_sums()
    counted = (drawn(0.0, 1) > 0).double().mean().item()
    assert found == pytest.approx(counted, abs=0.01)

    def inner(y: float, x: float) -> float:
        """The density of two half-normal numbers, times the share of thirds below their sum."""
        return 2 / math.pi * math.exp(-(x * x + y * y) / 2) * math.erf((x + y) / math.sqrt(2))

    quadrature = integrate.dblquad(inner, 0, 8, 0, 8)[0]
    assert found == pytest.approx(quadrature, abs=1e-6)
