"""Solutions of the exercises in book/gan/biggan.md, and their proofs."""

import math

import pytest
import scipy.stats
import torch

from litgen.gan import orthogonal, truncation


def threshold_for(share: float) -> float:
    """Return the threshold that leaves this share of a code's variance, by bisection."""
    low, high = 1e-6, 20.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if truncation.variance(middle) < share else (low, middle)
    return (low + high) / 2


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_the_threshold_leaves_the_share(share: float) -> None:
    """eq:big-variance backwards, by scipy's law; half the variance is left at about 1.4."""
    found = threshold_for(share)
    assert scipy.stats.truncnorm(-found, found).var() == pytest.approx(share, rel=1e-6)
    assert threshold_for(0.5) == pytest.approx(1.4, abs=1e-3)


def draws_of_whole_codes(threshold: float, dims: int) -> float:
    """Return how many codes are drawn on average until all numbers of one lie inside."""
    return truncation.kept(threshold) ** -dims


def test_whole_codes_are_drawn_often() -> None:
    """eq:big-kept: a geometric law, counted in 20,000 draws; and 24 numbers at 0.5."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(20_000, 3, generator=generator)
    share = (z.abs() < 1).all(dim=1).double().mean().item()
    assert draws_of_whole_codes(1.0, 3) == pytest.approx(1 / share, rel=0.05)
    assert draws_of_whole_codes(0.5, 24) > 1e9


def flatness(threshold: float) -> float:
    """Return E z^4 / (E z^2)^2: 3 for any scaled normal law, 9/5 for a uniform one."""
    return truncation.kurtosis(threshold) / truncation.variance(threshold) ** 2


def test_a_cut_is_not_a_scale() -> None:
    """eq:big-fourth: between the uniform and the normal law, rising with the threshold."""
    values = [flatness(t) for t in (0.2, 0.7, 1.5, 3.0)]
    assert values == sorted(values)
    assert flatness(0.1) == pytest.approx(9 / 5, abs=0.01)
    assert flatness(8.0) == pytest.approx(3, abs=1e-3)
    law = scipy.stats.truncnorm(-1.5, 1.5)
    assert values[2] == pytest.approx(float(law.stats(moments="k")) + 3, rel=1e-6)


def least_penalty(filters: int, inputs: int) -> float:
    """Return the least off-diagonal penalty of filters of length one."""
    return max(0.0, filters**2 / inputs - filters)


def test_too_many_filters_cannot_be_orthogonal() -> None:
    """eq:big-off-diagonal of 7 unit rows in 3 dimensions: descent ends at the bound, not below."""
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(7, 3, generator=generator, dtype=torch.float64).requires_grad_()
    for _ in range(400):
        unit = torch.nn.functional.normalize(raw, dim=1)
        (slope,) = torch.autograd.grad(orthogonal.off_diagonal_penalty(unit), raw)
        raw = (raw - 0.1 * slope).detach().requires_grad_()
    unit = torch.nn.functional.normalize(raw, dim=1)
    found = orthogonal.off_diagonal_penalty(unit).item()
    assert found == pytest.approx(least_penalty(7, 3), rel=1e-6)
    assert least_penalty(3, 7) == 0
    assert math.isclose(least_penalty(7, 3), 28 / 3)
