"""Proof for litgen/gaussian.py; the chapter is book/vae/elbo.md."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from litgen import gaussian
from tests import oracles

Draw = Callable[..., Tensor]


def normal_of(mean: Tensor, log_var: Tensor) -> Normal:
    """Return the judge: its parameter is the standard deviation, sqrt(exp(log_var))."""
    return Normal(mean, log_var.exp().sqrt())


def test_log_prob_is_the_sum_of_normal_log_probs(normal: Draw) -> None:
    """eq:gaussian-log-prob against torch.distributions, with different numbers in every place."""
    x, mean, log_var = normal(5, 3), normal(5, 3), normal(5, 3)
    per_dim = normal_of(mean, log_var).log_prob(x)
    assert per_dim.std(dim=0).min() > 0.1
    assert per_dim.std(dim=1).min() > 0.1
    torch.testing.assert_close(gaussian.log_prob(x, mean, log_var), per_dim.sum(dim=1))


def test_log_prob_accepts_samples_before_the_batch(normal: Draw) -> None:
    """eq:gaussian-log-prob for (samples, batch, dim) under one Gaussian an example."""
    x, mean, log_var = normal(4, 5, 3), normal(5, 3), normal(5, 3)
    found = gaussian.log_prob(x, mean, log_var)
    assert found.shape == (4, 5)
    for sample in range(4):
        for row in range(5):
            law = normal_of(mean[row], log_var[row])
            torch.testing.assert_close(
                found[sample, row], law.log_prob(x[sample, row]).sum(), rtol=1e-12, atol=1e-12
            )


def test_log_prob_integrates_to_one(normal: Draw) -> None:
    """eq:gaussian-log-prob is a density over the plane, with two different variances."""
    mean, log_var = normal(2), torch.tensor([0.9, -1.3], dtype=torch.float64)
    total = oracles.integrate_plane(lambda x: gaussian.log_prob(x, mean, log_var).exp(), 14.0)
    assert abs(total.item() - 1) < 1e-9


def test_standard_log_prob_is_the_standard_normal(normal: Draw) -> None:
    """eq:gaussian-log-prob at mean 0 and variance 1: torch.distributions, and its integral."""
    z = normal(4, 5, 3)
    expected = Normal(0.0, 1.0).log_prob(z).sum(dim=-1)
    assert expected.std() > 0.1
    torch.testing.assert_close(gaussian.standard_log_prob(z), expected)
    total = oracles.integrate_plane(lambda x: gaussian.standard_log_prob(x).exp(), 9.0)
    assert abs(total.item() - 1) < 1e-9


def test_kl_to_standard_is_the_registered_divergence(normal: Draw) -> None:
    """eq:gaussian-kl against torch.distributions: this direction and not the other."""
    mean, log_var = normal(5, 3), normal(5, 3)
    q, prior = normal_of(mean, log_var), Normal(torch.zeros_like(mean), torch.ones_like(mean))
    expected = kl_divergence(q, prior).sum(dim=1)
    assert (expected - kl_divergence(prior, q).sum(dim=1)).abs().min() > 0.1
    torch.testing.assert_close(gaussian.kl_to_standard(mean, log_var), expected)


@pytest.mark.parametrize(("mean", "log_var"), [(1.3, -0.8), (-0.4, 1.1), (0.0, 0.7), (2.0, 0.0)])
def test_kl_to_standard_is_the_integral(mean: float, log_var: float) -> None:
    """eq:gaussian-kl by its definition, the integral of q log q/p."""
    m, lv = torch.tensor([mean], dtype=torch.float64), torch.tensor([log_var], dtype=torch.float64)
    zero = torch.zeros((), dtype=torch.float64)
    expected = oracles.kl_by_quadrature(normal_of(m[0], lv[0]), Normal(zero, zero + 1))
    torch.testing.assert_close(gaussian.kl_to_standard(m, lv), expected, rtol=1e-9, atol=1e-10)


def test_kl_to_standard_is_zero_at_the_prior_alone() -> None:
    """eq:gaussian-kl: exactly 0 at mean 0 and log_var 0, positive on a grid around."""
    zero = torch.zeros(1, 2, dtype=torch.float64)
    assert gaussian.kl_to_standard(zero, zero).item() == 0
    axis = torch.linspace(-2, 2, 9, dtype=torch.float64)
    mean, log_var = torch.cartesian_prod(axis, axis)[:, :, None].unbind(dim=1)
    divergence = gaussian.kl_to_standard(mean, log_var)
    at_prior = (mean[:, 0] == 0) & (log_var[:, 0] == 0)
    assert at_prior.sum() == 1
    assert (divergence[~at_prior] > 1e-3).all()


def test_kl_divergence_is_the_registered_divergence(normal: Draw) -> None:
    """eq:gaussian-kl-general against torch.distributions, where swapped arguments would show."""
    mean, log_var, other_mean, other_log_var = (normal(5, 3) for _ in range(4))
    p, q = normal_of(mean, log_var), normal_of(other_mean, other_log_var)
    expected, swapped = kl_divergence(p, q).sum(dim=1), kl_divergence(q, p).sum(dim=1)
    assert (expected - swapped).abs().min() > 0.1
    found = gaussian.kl_divergence(mean, log_var, other_mean, other_log_var)
    torch.testing.assert_close(found, expected)


def test_kl_divergence_is_the_integral(normal: Draw) -> None:
    """eq:gaussian-kl-general by its definition, dimension by dimension."""
    mean, log_var, other_mean, other_log_var = (normal(3) for _ in range(4))
    p, q = normal_of(mean, log_var), normal_of(other_mean, other_log_var)
    parts = [
        oracles.kl_by_quadrature(Normal(p.loc[i], p.scale[i]), Normal(q.loc[i], q.scale[i]))
        for i in range(3)
    ]
    found = gaussian.kl_divergence(mean, log_var, other_mean, other_log_var)
    torch.testing.assert_close(found, torch.stack(parts).sum(), rtol=1e-8, atol=1e-9)


def test_kl_divergence_broadcasts_and_vanishes_on_equal_laws(normal: Draw) -> None:
    """eq:gaussian-kl-general: one prior for many posteriors; 0 from a law to itself, else > 0."""
    mean, log_var, other_mean, other_log_var = normal(5, 3), normal(5, 3), normal(3), normal(3)
    found = gaussian.kl_divergence(mean, log_var, other_mean, other_log_var)
    assert found.shape == (5,)
    assert (found > 0.01).all()
    for row in range(5):
        one = kl_divergence(
            normal_of(mean[row], log_var[row]), normal_of(other_mean, other_log_var)
        )
        torch.testing.assert_close(found[row], one.sum())
    itself = gaussian.kl_divergence(mean, log_var, mean, log_var)
    torch.testing.assert_close(itself, torch.zeros(5, dtype=torch.float64), rtol=0, atol=0)


def test_reparameterize_keeps_probabilities(normal: Draw) -> None:
    """eq:reparameterization: the sample lies where the noise lay, by the two laws' own cdfs."""
    mean, log_var, noise = normal(5, 3), normal(5, 3), normal(4, 5, 3)
    z = gaussian.reparameterize(mean, log_var, noise)
    assert z.shape == (4, 5, 3)
    assert (z - noise).abs().min() > 1e-4
    torch.testing.assert_close(normal_of(mean, log_var).cdf(z), Normal(0.0, 1.0).cdf(noise))


def test_reparameterize_has_the_analytic_gradient(normal: Draw) -> None:
    """eq:reparameterization: dz/dmean = 1, dz/dlog_var = (z - mean) / 2."""
    mean, log_var = normal(5, 3).requires_grad_(), normal(5, 3).requires_grad_()
    noise, weight = normal(5, 3), normal(5, 3)
    z = gaussian.reparameterize(mean, log_var, noise)
    by_mean, by_log_var = torch.autograd.grad((weight * z).sum(), [mean, log_var])
    torch.testing.assert_close(by_mean, weight)
    torch.testing.assert_close(by_log_var, weight * (z - mean).detach() / 2)


def test_reparameterized_samples_have_the_moments() -> None:
    """eq:reparameterization: mean and variance of 100,000 samples, within six standard errors."""
    count = 100_000
    mean, log_var = torch.tensor([1.5, -0.5]).double(), torch.tensor([1.2, -1.7]).double()
    noise = torch.randn(count, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z = gaussian.reparameterize(mean, log_var, noise)
    variance = log_var.exp()
    assert ((z.mean(dim=0) - mean).abs() < 6 * (variance / count).sqrt()).all()
    assert ((z.var(dim=0) - variance).abs() < 6 * variance * math.sqrt(2 / count)).all()


def test_an_eight_bit_image_costs_eight_bits_a_pixel() -> None:
    """eq:bits-per-dim: the uniform law over 256 values, and a law of half its entropy."""
    uniform = torch.tensor([-784 * math.log(256.0), -784 * math.log(16.0)], dtype=torch.float64)
    expected = torch.tensor([8.0, 4.0], dtype=torch.float64)
    torch.testing.assert_close(gaussian.bits_per_dim(uniform, 784), expected)
    torch.testing.assert_close(gaussian.bits_per_dim(uniform[0], 1), 784 * expected[0])


@pytest.mark.parametrize("dims", [0, -3])
def test_bits_per_dim_needs_dimensions(dims: int) -> None:
    """The error names the number."""
    with pytest.raises(ValueError, match=f"dims must be positive, got {dims}"):
        gaussian.bits_per_dim(torch.zeros(2), dims)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("wrong", range(2, 5))
def test_mismatched_last_axes_are_named(wrong: int) -> None:
    """A last axis of one entry would broadcast to a number, and to the wrong one."""
    good, bad = torch.zeros(4, 3), torch.zeros(4, 1)
    functions = {
        2: [gaussian.kl_to_standard],
        3: [gaussian.log_prob, gaussian.reparameterize],
        4: [gaussian.kl_divergence],
    }
    for function in functions[wrong]:
        for place in range(wrong):
            arguments = [bad if i == place else good for i in range(wrong)]
            with pytest.raises(ValueError, match=r"last axes differ: .*\b3\b") as error:
                function(*arguments)
            assert str(error.value).count("has 1") == 1
            assert str(error.value).endswith("entries")


@pytest.mark.usefixtures("unchecked")
def test_the_mismatch_says_whose_size_is_whose() -> None:
    """The message lists every argument by name with its own size."""
    with pytest.raises(ValueError, match="mean has 2, log_var has 3, noise has 2 entries"):
        gaussian.reparameterize(torch.zeros(2), torch.zeros(3), torch.zeros(2))
    with pytest.raises(ValueError, match="x has 2, mean has 0, log_var has 2 entries"):
        gaussian.log_prob(torch.zeros(2), torch.tensor(0.0), torch.zeros(2))
    with pytest.raises(ValueError, match="other_mean has 1, other_log_var has 2"):
        gaussian.kl_divergence(*[torch.zeros(2)] * 2, torch.zeros(1), torch.zeros(2))
