"""Proof for litgen/gan/truncation.py: scipy's truncated normal, quadrature, samples, LAPACK."""

import math

import pytest
import scipy.linalg
import scipy.stats
import torch
from torch import Tensor

from litgen.gan import truncation

THRESHOLDS = [0.02, 0.3, 1.0, 2.0, 5.0]


def uniform(*shape: int, seed: int = 0) -> Tensor:
    """Return numbers in (0, 1) in double precision."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_the_quantiles_are_scipys(threshold: float) -> None:
    """eq:big-quantile, eq:big-truncated: against truncnorm.ppf, from end to end."""
    u = torch.cat([uniform(50), torch.tensor([1e-9, 1e-4, 0.5, 1 - 1e-4])])
    found = truncation.truncated(u, threshold)
    expected = scipy.stats.truncnorm(-threshold, threshold).ppf(u.numpy())
    torch.testing.assert_close(found, torch.from_numpy(expected), atol=1e-7, rtol=1e-6)
    assert found.abs().max() <= threshold
    assert found.std() > 0.4 * threshold / (1 + threshold)


def test_quantiles_survive_single_precision_and_far_thresholds() -> None:
    """eq:big-quantile: float32 in and out, both ends, and t = 9, where Phi(t) rounds to 1."""
    u = torch.tensor([0.0, 1e-7, 0.25, 0.5, 0.75, 1.0])
    for threshold in (0.5, 9.0):
        z = truncation.truncated(u, threshold)
        assert z.dtype == torch.float32
        assert z.isfinite().all()
        assert z[0] == -threshold
        assert z[-1] == threshold
        torch.testing.assert_close(z[2], -z[4])
    assert truncation.truncated(u, 9.0)[2].item() == pytest.approx(-0.6744898, abs=1e-6)


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_moments_are_scipys(threshold: float) -> None:
    """eq:big-kept, eq:big-variance, eq:big-fourth: by its own quadrature of the density."""
    law = scipy.stats.truncnorm(-threshold, threshold)
    second, fourth = (law.expect(lambda z, n=n: z**n) for n in (2, 4))
    assert truncation.kept(threshold) == pytest.approx(1 - 2 * scipy.stats.norm.sf(threshold))
    assert truncation.variance(threshold) == pytest.approx(second, rel=1e-6)
    assert truncation.kurtosis(threshold) == pytest.approx(fourth, rel=1e-4, abs=1e-9)


def test_the_variance_is_continuous_where_its_formula_changes() -> None:
    """eq:big-variance: both forms agree at the join, and tend to t^2 / 3 and to 1."""
    below, above = truncation.variance(0.0099999), truncation.variance(0.0100001)
    assert below == pytest.approx(above, rel=1e-4)
    assert truncation.variance(1e-6) == pytest.approx(1e-12 / 3)
    assert truncation.variance(0.005) < 0.005**2 / 3
    assert truncation.variance(12.0) == pytest.approx(1)


def test_the_divergence_is_its_integral() -> None:
    """eq:big-divergence: quadrature of p log(p / normal), for one dimension and for five."""
    for threshold in (0.3, 1.0, 2.5):
        law = scipy.stats.truncnorm(-threshold, threshold)
        integral = law.expect(lambda z, law=law: law.logpdf(z) - scipy.stats.norm.logpdf(z))
        assert truncation.divergence(threshold) == pytest.approx(integral, rel=1e-6)
        assert truncation.divergence(threshold, 5) == pytest.approx(5 * integral, rel=1e-6)


@pytest.mark.parametrize("threshold", [0.4, 1.5])
def test_resampled_codes_have_the_law_of_the_quantiles(threshold: float) -> None:
    """eq:big-truncated: Kolmogorov's test against scipy's law; what lay inside stays."""
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(4_000, generator=generator, dtype=torch.float64)
    found = truncation.resampled(z, threshold, generator)
    inside = z.abs() <= threshold
    assert torch.equal(found[inside], z[inside])
    assert found.abs().max() <= threshold
    assert 0.1 < inside.double().mean() < 0.95
    law = scipy.stats.truncnorm(-threshold, threshold)
    assert scipy.stats.kstest(found.numpy(), law.cdf).pvalue > 0.01
    assert found.var().item() == pytest.approx(truncation.variance(threshold), rel=0.08)
    assert (z.abs() > threshold).any()  # the argument is left alone


def test_samples_have_the_moments() -> None:
    """eq:big-variance, eq:big-fourth: 400,000 numbers through the quantile function."""
    z = truncation.truncated(uniform(400_000), 1.2)
    assert z.var().item() == pytest.approx(truncation.variance(1.2), rel=0.01)
    assert z.pow(4).mean().item() == pytest.approx(truncation.kurtosis(1.2), rel=0.01)
    assert abs(z.mean().item()) < 0.005


def test_a_linear_generators_distance_is_that_of_two_gaussians() -> None:
    """eq:big-linear-frechet: the formula with a matrix square root by Schur's method."""
    columns = torch.linalg.qr(uniform(6, 3) - 0.5).Q
    data = columns * torch.tensor([2.0, 1.0, 0.5])
    made = columns * torch.tensor([2.5, -0.7, 0.9])
    for threshold in (0.2, 1.0, 4.0):
        cov_p, cov_q = data @ data.T, truncation.variance(threshold) * made @ made.T
        ridge = 1e-12 * torch.eye(6, dtype=torch.float64)
        root = scipy.linalg.sqrtm(((cov_p + ridge) @ (cov_q + ridge)).numpy())
        expected = (cov_p + cov_q).trace().item() - 2 * float(root.real.trace())
        found = truncation.linear_frechet(threshold, made, data)
        assert found == pytest.approx(expected, abs=1e-4)
    assert truncation.linear_frechet(30.0, data, data) == pytest.approx(0, abs=1e-12)
    left = (1 - math.sqrt(truncation.variance(0.5))) ** 2 * data.square().sum().item()
    assert truncation.linear_frechet(0.5, data, data) == pytest.approx(left)


def test_bad_thresholds_and_matrices_are_refused() -> None:
    """The errors name the value."""
    for call in (truncation.kept, truncation.variance, truncation.kurtosis, truncation.divergence):
        with pytest.raises(ValueError, match=r"threshold must be positive, got 0\.0"):
            call(0.0)
    with pytest.raises(ValueError, match=r"threshold must be positive, got -1\.0"):
        truncation.truncated(uniform(3), -1.0)
    draw = torch.Generator()
    with pytest.raises(ValueError, match="threshold must be positive, got nan"):
        truncation.resampled(uniform(3), math.nan, draw)
    with pytest.raises(ValueError, match=r"threshold 1e-09 is too small to be hit in 20 rounds"):
        truncation.resampled(uniform(3), 1e-9, draw, rounds=20)
    flat = torch.eye(3, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"A has shape \(3, 2\), B \(3, 3\)"):
        truncation.linear_frechet(1.0, flat[:, :2], flat)
    with pytest.raises(ValueError, match="B needs orthogonal columns"):
        truncation.linear_frechet(1.0, flat, uniform(3, 3))
    with pytest.raises(ValueError, match="B needs orthogonal columns"):
        truncation.linear_frechet(1.0, uniform(3, 3), flat)
