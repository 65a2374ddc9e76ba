"""Proof for litgen/autoencoders/denoising.py."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

from litgen.autoencoders import denoising
from tests import oracles

SCALE = 0.7


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Return seeded standard normal numbers in double precision."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def gaussian(dims: int = 4) -> tuple[Tensor, Tensor]:
    """Return a mean and a covariance whose eigenvalues differ widely."""
    root = normal(dims, dims, seed=1) * torch.linspace(0.3, 2.0, dims, dtype=torch.float64)
    return normal(dims, seed=2), root @ root.T


def log_noisy_density(y: Tensor, points: Tensor, scale: float) -> Tensor:
    """Return log p_scale(y) for equally likely points, by torch.distributions."""
    which = Categorical(torch.ones(len(points), dtype=torch.float64))
    return MixtureSameFamily(which, Independent(Normal(points, scale), 1)).log_prob(y)


def test_noise_is_added_with_its_standard_deviation() -> None:
    """eq:dae-noise: its spread by torch's moments; the level may differ by row."""
    x, noise = normal(40_000, 2, seed=3), normal(40_000, 2, seed=4)
    added = denoising.noisy(x, noise, 0.5) - x
    torch.testing.assert_close(added.std(dim=0), torch.full((2,), 0.5).double(), rtol=0.02, atol=0)
    assert (added * noise > 0).all()
    levels = torch.tensor([[0.0], [2.0]], dtype=torch.float64)
    by_row = denoising.noisy(x[:2], noise[:2], levels)
    torch.testing.assert_close(by_row[0], x[0], rtol=0, atol=0)
    torch.testing.assert_close(by_row[1], x[1] + noise[1] + noise[1])


def test_masks_put_out_the_share_that_is_asked_for() -> None:
    """eq:dae-masking: 30 % zeros, the rest untouched; none at 0, all at 1."""
    x = normal(200, 200).abs() + 1
    uniform = torch.rand(200, 200, generator=torch.Generator().manual_seed(5)).double()
    found = denoising.masked(x, uniform, 0.3)
    assert abs((found == 0).double().mean().item() - 0.3) < 0.01
    torch.testing.assert_close(found[found != 0], x[found != 0], rtol=0, atol=0)
    assert (found[uniform < 0.3] == 0).all()
    assert (denoising.masked(x, uniform, 0.0) == x).all()
    assert (denoising.masked(x, uniform, 1.0) == 0).all()
    for share in (-0.1, 1.1):
        with pytest.raises(ValueError, match="must lie in"):
            denoising.masked(x, uniform, share)


def test_squared_error_by_hand() -> None:
    """eq:dae-loss: summed over entries, one number an example."""
    x = torch.tensor([[1.0, 2.0], [0.0, -1.0]])
    answer = torch.tensor([[0.0, 4.0], [3.0, -1.0]])
    assert denoising.squared_error(x, answer).tolist() == [5.0, 9.0]
    assert denoising.squared_error(x.view(2, 1, 2), answer.view(2, 1, 2)).tolist() == [5.0, 9.0]
    with pytest.raises(ValueError, match=r"\(2, 2\), answers \(2,\)"):
        denoising.squared_error(x, answer[0])


def test_posterior_mean_is_bayes_rule_point_by_point() -> None:
    """eq:dae-posterior-mean and eq:dae-points: prior times likelihood, normalised, in a loop."""
    points, y = normal(7, 3, seed=6), normal(5, 3, seed=7)
    found = denoising.posterior_mean(y, points, SCALE)
    for one, mean in zip(y, found, strict=True):
        likelihood = [
            math.exp(
                -sum((a - b) ** 2 for a, b in zip(one.tolist(), p.tolist(), strict=True))
                / (2 * SCALE**2)
            )
            for p in points
        ]
        expected = sum(w * p for w, p in zip(likelihood, points, strict=True)) / sum(likelihood)
        torch.testing.assert_close(mean, expected)
    assert found.std(dim=0).min() > 0.05


def test_posterior_mean_of_a_density_by_quadrature() -> None:
    """eq:dae-posterior-mean: many points of a known density give the integral of x p(x|y)."""
    places = torch.linspace(-6, 6, 4001, dtype=torch.float64)
    prior = (
        Normal(-1.0, 0.4).log_prob(places).exp() + Normal(1.5, 0.8).log_prob(places).exp()
    ) / 2
    cumulative = torch.cumulative_trapezoid(prior, places)
    middles = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    points = places[torch.searchsorted(cumulative, middles).clamp(max=4000)][:, None]
    y = torch.tensor([[-1.2], [0.1], [0.9], [2.5]], dtype=torch.float64)
    found = denoising.posterior_mean(y, points, SCALE)[:, 0]
    weight = prior * torch.exp(-0.5 * ((y - places) / SCALE) ** 2)
    expected = (weight * places).sum(dim=1) / weight.sum(dim=1)
    torch.testing.assert_close(found, expected, atol=3e-3, rtol=0)


def test_the_posterior_mean_is_the_best_answer() -> None:
    """eq:dae-split: whatever is added to it raises the mean squared error by its own square."""
    points, generator = normal(6, 2, seed=8), torch.Generator().manual_seed(9)
    x = points[torch.randint(6, (200_000,), generator=generator)]
    y = denoising.noisy(x, normal(200_000, 2, seed=10), SCALE)
    best = denoising.posterior_mean(y, points, SCALE)
    least = denoising.squared_error(x, best).mean()
    for wrong in (0.3 * torch.sin(3 * y), 0.2 * (best - y), torch.full_like(y, 0.1)):
        more = denoising.squared_error(x, best + wrong).mean() - least
        own = wrong.square().sum(dim=1).mean()
        assert own > 0.01
        torch.testing.assert_close(more, own, rtol=0.05, atol=2e-3)


def test_tweedie_is_the_gradient_of_the_noisy_log_density() -> None:
    """eq:dae-tweedie: autograd of a mixture's log-density, in both directions."""
    points, y = normal(5, 3, seed=11), normal(8, 3, seed=12).requires_grad_()
    (expected,) = torch.autograd.grad(log_noisy_density(y, points, SCALE).sum(), y)
    y = y.detach()
    mean = denoising.posterior_mean(y, points, SCALE)
    assert expected.std() > 0.3
    torch.testing.assert_close(denoising.score(y, mean, SCALE), expected)
    torch.testing.assert_close(denoising.denoised(y, expected, SCALE), mean)


def test_tweedie_on_gaussian_data() -> None:
    """eq:dae-tweedie and eq:dae-wiener: one step along a Gaussian's score is Wiener's filter."""
    mean, covariance = gaussian()
    y = (3 * normal(6, 4, seed=13)).requires_grad_()
    blurred = MultivariateNormal(mean, covariance + SCALE**2 * torch.eye(4).double())
    (slope,) = torch.autograd.grad(blurred.log_prob(y).sum(), y)
    found = denoising.wiener(y.detach(), mean, covariance, SCALE)
    torch.testing.assert_close(denoising.denoised(y.detach(), slope, SCALE), found)


def test_the_jacobian_is_the_posterior_covariance() -> None:
    """eq:dae-covariance: second moments of the posterior over points, by a loop."""
    points, y = normal(6, 3, seed=14), normal(4, 3, seed=15)
    found = denoising.posterior_covariance(
        lambda at: denoising.posterior_mean(at, points, SCALE), y, SCALE
    )
    for one, covariance in zip(y, found, strict=True):
        weight = torch.exp(-0.5 * (one - points).square().sum(dim=1) / SCALE**2)
        weight = weight / weight.sum()
        gap = points - weight @ points
        expected = sum(w * torch.outer(g, g) for w, g in zip(weight, gap, strict=True))
        torch.testing.assert_close(covariance, expected)


def test_a_jacobian_that_is_not_symmetric_is_not_turned_round() -> None:
    """eq:dae-covariance: row i holds the derivatives of answer i."""
    matrix = normal(3, 3, seed=16)
    found = denoising.posterior_covariance(lambda y: y @ matrix.T, normal(2, 3), SCALE)
    torch.testing.assert_close(found, (SCALE**2 * matrix).expand(2, 3, 3))


def test_wiener_is_bayes_rule_in_precisions() -> None:
    """eq:dae-wiener: the gradient of log p(x) + log p(y|x) in x is zero at its answer."""
    mean, covariance = gaussian()
    y = 2 * normal(5, 4, seed=17)
    found = denoising.wiener(y, mean, covariance, SCALE).requires_grad_()
    joint = MultivariateNormal(mean, covariance).log_prob(found)
    joint = joint + MultivariateNormal(found, SCALE**2 * torch.eye(4).double()).log_prob(y)
    (slope,) = torch.autograd.grad(joint.sum(), found)
    torch.testing.assert_close(slope, torch.zeros_like(slope), atol=1e-9, rtol=0)
    assert (found - y).abs().min() > 0.01


def test_wiener_gains_along_principal_directions() -> None:
    """eq:dae-gain: each eigenvector keeps variance / (variance + noise variance) of itself."""
    mean, covariance = gaussian()
    variances, directions = torch.linalg.eigh(covariance)
    found = denoising.wiener(mean + directions.T, mean, covariance, SCALE) - mean
    for k in range(4):
        kept = variances[k] / (variances[k] + SCALE**2)
        torch.testing.assert_close(found[k], kept * directions[:, k])


def test_wieners_error_is_the_posteriors_variance() -> None:
    """eq:dae-wiener-error: trace of the inverse sum of precisions, and what samples show."""
    mean, covariance = gaussian()
    found = denoising.wiener_error(covariance, SCALE)
    precision = torch.linalg.inv(covariance) + torch.eye(4).double() / SCALE**2
    torch.testing.assert_close(found, torch.linalg.inv(precision).trace())
    x = mean + normal(200_000, 4, seed=18) @ torch.linalg.cholesky(covariance).T
    y = denoising.noisy(x, normal(200_000, 4, seed=19), SCALE)
    answer = denoising.wiener(y, mean, covariance, SCALE)
    torch.testing.assert_close(denoising.squared_error(x, answer).mean(), found, rtol=0.01, atol=0)


def test_no_affine_answer_beats_wiener_on_any_data() -> None:
    """eq:dae-wiener: least squares of x on y, for data that are no Gaussian, is the filter."""
    generator = torch.Generator().manual_seed(20)
    points = normal(3, 2, seed=21)
    x = points[torch.randint(3, (300_000,), generator=generator)]
    y = denoising.noisy(x, normal(300_000, 2, seed=22), SCALE)
    design = torch.cat([y, torch.ones(len(y), 1).double()], dim=1)
    fitted = design @ torch.linalg.lstsq(design, x).solution
    found = denoising.wiener(y, x.mean(dim=0), torch.cov(x.T), SCALE)
    torch.testing.assert_close(found[:50], fitted[:50], atol=0.02, rtol=0)


def test_climbing_raises_the_density_and_ends_on_a_mode() -> None:
    """eq:dae-climb: the exact denoiser's steps go uphill; a part of a step goes less far."""
    points, y = normal(6, 2, seed=23), 2 * normal(10, 2, seed=24)

    def denoise(at: Tensor) -> Tensor:
        """Return the exact answer."""
        return denoising.posterior_mean(at, points, SCALE)

    walk = denoising.climb(denoise, y)
    path = [next(walk) for _ in range(300)]
    torch.testing.assert_close(path[0], y, rtol=0, atol=0)
    torch.testing.assert_close(path[1], denoise(y))
    heights = torch.stack([log_noisy_density(at, points, SCALE) for at in path])
    assert (heights.diff(dim=0) > -1e-12).all()
    assert (heights[1] - heights[0]).min() > 1e-3
    slope = oracles.central_difference(
        lambda at: log_noisy_density(at, points, SCALE).sum(), path[-1]
    )
    assert slope.abs().max() < 1e-3
    part = denoising.climb(denoise, y, rate=0.25)
    next(part)
    torch.testing.assert_close(next(part), 0.75 * y + 0.25 * denoise(y))


@pytest.mark.parametrize("rate", [0.0, -0.5, 1.5])
def test_a_rate_that_makes_no_sense_is_refused(rate: float) -> None:
    """Larger ones overshoot."""
    with pytest.raises(ValueError, match="rate must lie in"):
        next(denoising.climb(lambda y: y, normal(2, 2), rate))


def test_bad_input_is_refused() -> None:
    """The message names what is wrong."""
    y = normal(2, 3)
    for scale in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="must be positive"):
            denoising.posterior_mean(y, y, scale)
        with pytest.raises(ValueError, match="must be positive"):
            denoising.score(y, y, scale)
        with pytest.raises(ValueError, match="must be positive"):
            denoising.wiener_error(torch.eye(3).double(), scale)
    with pytest.raises(ValueError, match="y has 3 dimensions, the points have 2"):
        denoising.posterior_mean(y, normal(4, 2), 1.0)
    with pytest.raises(ValueError, match=r"mean of 3 entries, covariance \(2, 2\)"):
        denoising.wiener(y, normal(3), torch.eye(2).double(), 1.0)
