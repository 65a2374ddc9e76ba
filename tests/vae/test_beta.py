"""Proof for litgen/vae/beta.py: a numerical search judges the closed form."""

import inspect
import math
from collections.abc import Callable

import pytest
import scipy.optimize
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from litgen.vae import beta
from litgen.vae.elbo import Elbo

Draw = Callable[..., Tensor]
VARIANCES = torch.tensor([5.0, 2.0, 0.9, 0.3], dtype=torch.float64)
NOISE_VAR = 0.2


def test_the_weight_is_on_the_kl(normal: Draw) -> None:
    """eq:beta-bound term by term; weight 1 is the bound itself, 0 leaves the reconstruction."""
    reconstruction, kl = normal(5), normal(5).abs()
    terms = Elbo(reconstruction, kl)
    for weight in (0.0, 0.5, 1.0, 4.0):
        pairs = zip(reconstruction.tolist(), kl.tolist(), strict=True)
        expected = [r - weight * k for r, k in pairs]
        torch.testing.assert_close(
            beta.weighted_bound(terms, weight), torch.tensor(expected).double(), rtol=0, atol=1e-6
        )
    assert torch.equal(beta.weighted_bound(terms, 1.0), terms.bound)


@pytest.mark.parametrize("weight", [-1e-9, -4.0, math.nan, math.inf, -math.inf])
def test_a_weight_below_zero_is_refused(weight: float) -> None:
    """Nor is one that is no number."""
    with pytest.raises(ValueError, match="beta must be 0 or more and finite, got"):
        beta.weighted_bound(Elbo(torch.zeros(2), torch.ones(2)), weight)


def test_the_rate_of_each_latent(normal: Draw) -> None:
    """eq:beta-rate-by-dimension by torch.distributions, one latent at a time."""
    mean, log_var = normal(3, 4, 2), normal(3, 4, 2)
    q, p = Normal(mean, log_var.exp().sqrt()), Normal(torch.zeros(2), torch.ones(2))
    expected = kl_divergence(q, p)
    assert expected.std() > 0.1
    torch.testing.assert_close(beta.rate_by_dimension(mean, log_var), expected, check_dtype=False)


def objective(v: float, s2: float, w: float, variance: float, weight: float) -> float:
    """Return expected squared error over 2 sigma^2 plus weighted KL of one linear direction."""
    squared = (1 - w * v) ** 2 * variance + w**2 * s2
    kl = 0.5 * (s2 + v**2 * variance - 1 - math.log(s2))
    return squared / (2 * NOISE_VAR) + weight * kl


@pytest.mark.parametrize("weight", [0.3, 1.0, 2.0, 6.0, 20.0, 40.0])
def test_the_optimum_is_what_a_search_finds(weight: float) -> None:
    """eq:beta-linear-optimum: Nelder-Mead over encoder, variance and decoder, each direction."""
    found = beta.linear_optimum(VARIANCES, NOISE_VAR, weight)
    for j, variance in enumerate(VARIANCES.tolist()):
        search = scipy.optimize.minimize(
            lambda p, variance=variance: objective(p[0], math.exp(p[1]), p[2], variance, weight),
            [0.7, -0.7, 0.7],
            method="Nelder-Mead",
            options={"xatol": 1e-9, "fatol": 1e-13, "maxiter": 4000},
        )
        v, log_s2, w = search.x
        best = objective(
            found.gain[j].item(), found.posterior_var[j].item(), found.weight[j].item(), variance,
            weight,
        )  # fmt: skip
        assert best == pytest.approx(search.fun, abs=1e-7)
        assert found.posterior_var[j].item() == pytest.approx(math.exp(log_s2), abs=2e-3)
        assert found.gain[j].item() == pytest.approx(abs(v), abs=2e-2)
        assert found.weight[j].item() == pytest.approx(abs(w), abs=2e-2)


@pytest.mark.parametrize("weight", [0.3, 1.0, 6.0, 20.0])
def test_rate_and_error_follow_from_encoder_and_decoder(weight: float) -> None:
    """eq:beta-linear-optimum: the reported error and rate are those of the reported maps."""
    found = beta.linear_optimum(VARIANCES, NOISE_VAR, weight)
    v, s2, w = found.gain, found.posterior_var, found.weight
    squared = (1 - w * v) ** 2 * VARIANCES + w**2 * s2
    rate = 0.5 * (s2 + v**2 * VARIANCES - 1 - s2.log())
    torch.testing.assert_close(found.squared_error, squared)
    torch.testing.assert_close(found.rate, rate)
    torch.testing.assert_close(s2 + v**2 * VARIANCES, torch.ones(4).double())  # fills the prior
    assert ((found.rate > 0) == (weight * NOISE_VAR < VARIANCES)).all()
    torch.testing.assert_close(found.squared_error, VARIANCES.clamp(max=weight * NOISE_VAR))


def test_the_distortion_is_a_gaussian_log_density(normal: Draw) -> None:
    """eq:beta-linear-distortion: the mean of -log N(x; decoded, sigma^2), by drawing pairs."""
    found = beta.linear_optimum(VARIANCES, NOISE_VAR, 2.0)
    x = normal(200_000, 4) * VARIANCES.sqrt()
    z = x * found.gain + normal(200_000, 4) * found.posterior_var.sqrt()
    log_prob = Normal(z * found.weight, math.sqrt(NOISE_VAR)).log_prob(x).sum(dim=1)
    error = log_prob.std() / math.sqrt(len(x))
    assert error < 0.02
    assert abs(found.distortion(NOISE_VAR) + log_prob.mean()) < 5 * error


def test_beta_is_the_slope_of_the_curve() -> None:
    """eq:beta-slope: dD = -beta dR, by a small step of beta."""
    for weight in (0.5, 1.5, 8.0):
        near = [beta.linear_optimum(VARIANCES, NOISE_VAR, weight + h) for h in (-1e-5, 1e-5)]
        rates = [n.rate.sum().item() for n in near]
        distortions = [n.distortion(NOISE_VAR).item() for n in near]
        slope = (distortions[1] - distortions[0]) / (rates[1] - rates[0])
        assert slope == pytest.approx(-weight, rel=1e-4)


@pytest.mark.parametrize("squared_error", [0.1, 0.7, 1.4, 3.0, 8.1])
def test_shannons_rate_is_the_least_that_a_search_finds(squared_error: float) -> None:
    """eq:beta-shannon: constrained minimisation over the error left in each direction."""
    search = scipy.optimize.minimize(
        lambda d: 0.5 * sum(math.log(v / e) for v, e in zip(VARIANCES.tolist(), d, strict=True)),
        VARIANCES.numpy() * squared_error / 8.2,
        bounds=[(1e-6, v) for v in VARIANCES.tolist()],
        constraints={"type": "ineq", "fun": lambda d: squared_error - d.sum()},
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    )
    found = beta.shannon_rate(VARIANCES, squared_error).item()
    assert found == pytest.approx(search.fun, abs=1e-5)
    assert found > 0


def test_the_linear_beta_vae_reaches_shannons_curve() -> None:
    """eq:beta-shannon at the error that eq:beta-linear-optimum leaves is the rate it pays."""
    for weight in (0.2, 1.0, 3.0, 12.0):
        found = beta.linear_optimum(VARIANCES, NOISE_VAR, weight)
        least = beta.shannon_rate(VARIANCES, found.squared_error.sum().item())
        torch.testing.assert_close(found.rate.sum(), least)
    assert beta.shannon_rate(VARIANCES, 8.2).item() == pytest.approx(0, abs=1e-9)
    assert beta.shannon_rate(VARIANCES, 100.0).item() == 0


@pytest.mark.parametrize(
    ("noise_var", "weight", "least"), [(0, 1, 1), (1, 0, 1), (1, -1, 1), (1, 1, 0)]
)
def test_what_is_not_positive_is_refused(noise_var: float, weight: float, least: float) -> None:
    """The error names all three."""
    variances = torch.tensor([2.0, least])
    with pytest.raises(ValueError, match="variances, noise_var and beta must be positive"):
        inspect.unwrap(beta.linear_optimum)(variances, noise_var, weight)


@pytest.mark.parametrize(("least", "squared_error"), [(0.0, 1.0), (1.0, 0.0), (1.0, -1.0)])
def test_shannon_needs_positive_numbers(least: float, squared_error: float) -> None:
    """An error of zero would need an infinite rate."""
    with pytest.raises(ValueError, match="variances and squared_error must be positive"):
        beta.shannon_rate(torch.tensor([2.0, least]), squared_error)
