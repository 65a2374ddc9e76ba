"""Proof for litgen/vae/pitfalls.py; the chapter is book/vae/pitfalls.md.

The judges are the linear-Gaussian model, whose evidence is known, autograd, and averages over
noise by Gauss-Hermite nodes, which are exact here.
"""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from litgen.vae import pitfalls
from tests import oracles

Draw = Callable[..., Tensor]
BATCH, PIXELS, LATENT = 5, 12, 3


# What the reductions weigh ----------------------------------------------------------------------


@pytest.mark.parametrize("name", pitfalls.LOSSES)
@pytest.mark.parametrize("sizes", [(5, 12, 3), (128, 784, 20), (2, 1024, 7)])
def test_each_slip_has_the_beta_that_its_reductions_say(
    name: str, sizes: tuple[int, int, int]
) -> None:
    """eq:pit-beta: the fractions written out: D, D / d, 1 / d, B D, D / 784, 2 and 1."""
    batch, pixels, latent = sizes
    expected = {
        "sums, mean over the batch": 1.0,
        "no 1/2 in the KL": 2.0,
        "784 written in": pixels / 784,
        "KL averaged over latents": 1 / latent,
        "means everywhere": pixels / latent,
        "likelihood averaged over pixels": pixels,
        "KL summed over the batch": batch * pixels,
    }[name]
    with torch.no_grad():  # as in a cell that measures
        found = pitfalls.accidental_beta(pitfalls.LOSSES[name], batch, pixels, latent)
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", pitfalls.LOSSES)
def test_a_slip_is_a_multiple_of_its_beta_loss(name: str, normal: Draw) -> None:
    """eq:pit-beta: at any terms, loss = a (sum of -log p + beta sum of KL), summed in a loop."""
    loss = pitfalls.LOSSES[name]
    beta = pitfalls.accidental_beta(loss, BATCH, PIXELS, LATENT)
    ratios = []
    for _ in range(3):
        log_probs, kls = normal(BATCH, PIXELS) - 1, normal(BATCH, LATENT).abs()
        total = sum(
            -math.fsum(log_probs[i].tolist()) + beta * math.fsum(kls[i].tolist())
            for i in range(BATCH)
        )
        found = loss(log_probs, kls)
        assert found.shape == ()
        ratios.append(found.item() / total)
    assert ratios[0] > 0
    assert ratios == pytest.approx([ratios[0]] * 3, rel=1e-12)


def test_the_right_loss_is_the_mean_of_sums(normal: Draw) -> None:
    """eq:pit-beta with beta = 1, and one number an example whatever the batch's size."""
    log_probs, kls = normal(BATCH, PIXELS), normal(BATCH, LATENT).abs()
    expected = [(kls[i].sum() - log_probs[i].sum()).item() for i in range(BATCH)]
    found = pitfalls.summed(log_probs, kls).item()
    assert found == pytest.approx(sum(expected) / BATCH)
    twice = pitfalls.summed(log_probs.repeat(2, 1), kls.repeat(2, 1)).item()
    assert twice == pytest.approx(found)
    assert next(iter(pitfalls.LOSSES.values())) is pitfalls.summed


def test_a_loss_that_is_none_is_refused() -> None:
    """Sizes below one, a loss that ignores a term, or that rises with the likelihood."""
    with pytest.raises(ValueError, match="sizes must be positive, got 5, 0 and 3"):
        pitfalls.accidental_beta(pitfalls.summed, 5, 0, 3)
    for loss in (
        lambda log_probs, kls: kls.sum(),
        lambda log_probs, kls: -log_probs.sum(),
        lambda log_probs, kls: kls.sum() + log_probs.sum(),
    ):
        with pytest.raises(ValueError, match="must fall with the likelihood and depend on"):
            pitfalls.accidental_beta(loss, 5, 4, 3)


# What a weight does to a linear model -----------------------------------------------------------


class Linear:
    """A linear VAE's terms, averaged exactly over Gaussian data and over the noise."""

    def __init__(self, variances: Tensor, noise_var: float):
        self.covariance = torch.diag(variances)
        self.noise_var = noise_var
        self.pixels = len(variances)

    def terms(self, weight: Tensor, encode: Tensor, log_var: Tensor) -> tuple[Tensor, Tensor]:
        """Return E log p(x|z) and the mean KL for mean codes ``encode @ x``."""
        variance, eye = log_var.exp(), torch.eye(self.pixels, dtype=torch.float64)
        left = eye - weight @ encode
        squared = torch.trace(left @ self.covariance @ left.T)
        squared = squared + torch.trace(weight @ torch.diag(variance) @ weight.T)
        constant = self.pixels * math.log(2 * math.pi * self.noise_var)
        means = torch.diagonal(encode @ self.covariance @ encode.T)
        kl = 0.5 * (variance + means - 1 - log_var).sum()
        return -0.5 * (constant + squared / self.noise_var), kl

    def loss(self, parameters: list[Tensor], beta: float) -> Tensor:
        """Return the loss that a weight beta makes."""
        likelihood, kl = self.terms(*parameters)
        return beta * kl - likelihood


def optimum(variances: Tensor, noise_var: float, beta: float) -> tuple[list[Tensor], Tensor]:
    """Return (weight, encoder, log_var) made from the closed form, and its prices."""
    gain, price = pitfalls.linear_optimum(variances, noise_var, beta)
    weight = torch.diag(gain.sqrt())
    precision = 1 + gain / (beta * noise_var)
    encode = weight / (beta * noise_var) / precision[:, None]
    return [weight, encode, -precision.log()], price


VARIANCES = torch.tensor([9.0, 4.0, 1.2, 0.3], dtype=torch.float64)


@pytest.mark.parametrize("beta", [0.2, 1.0, 3.0, 8.0, 50.0])
def test_the_optimum_cannot_be_improved(beta: float, normal: Draw) -> None:
    """eq:pit-threshold: no gradient there, and 50 steps in random directions all lose."""
    model = Linear(VARIANCES, 0.5)
    parameters, _ = optimum(VARIANCES, 0.5, beta)
    parameters = [p.clone().requires_grad_() for p in parameters]
    best = model.loss(parameters, beta)
    for gradient in torch.autograd.grad(best, parameters):
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-9)
    for _ in range(50):
        size = 10 ** -normal(1).abs().item()
        moved = [p.detach() + size * normal(*p.shape) for p in parameters]
        assert model.loss(moved, beta) > best


@pytest.mark.parametrize("beta", [0.2, 3.0, 50.0])
def test_training_reaches_the_optimum(beta: float, normal: Draw) -> None:
    """eq:pit-threshold: gradient descent from random weights finds the same loss and gains."""
    model = Linear(VARIANCES, 0.5)
    shapes = [(4, 4), (4, 4), (4,)]
    parameters = [(0.5 * normal(*shape)).requires_grad_() for shape in shapes]
    search = torch.optim.LBFGS(parameters, max_iter=500, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        search.zero_grad()
        value = model.loss(parameters, beta)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    for _ in range(4):
        search.step(closure)
    known, _ = optimum(VARIANCES, 0.5, beta)
    torch.testing.assert_close(
        model.loss(parameters, beta), model.loss(known, beta), rtol=1e-6, atol=1e-6
    )
    gain = torch.linalg.svdvals(parameters[0].detach()).square()
    expected = pitfalls.linear_optimum(VARIANCES, 0.5, beta).gain
    torch.testing.assert_close(gain, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("beta", [0.2, 1.0, 7.0, 50.0])
def test_the_price_is_the_mean_kl_at_the_optimum(beta: float) -> None:
    """eq:pit-price: by the KL's own formula averaged over the data; zero where collapsed."""
    parameters, price = optimum(VARIANCES, 0.5, beta)
    _, kl = Linear(VARIANCES, 0.5).terms(*parameters)
    torch.testing.assert_close(price.sum(), kl)
    dead = beta * 0.5 > VARIANCES
    assert (price[dead] == 0).all()
    assert (price[~dead] > 0).all()


def test_a_weight_is_a_larger_noise(normal: Draw) -> None:
    """eq:pit-absorb: the weighted loss has beta times the gradients of the larger noise's."""
    beta, scale = 3.7, 0.6
    parameters = [normal(4, 3), normal(3, 4), normal(3)]
    parameters = [p.requires_grad_() for p in parameters]
    wide = pitfalls.absorbed_scale(scale, beta)
    weighted = Linear(VARIANCES, scale**2).loss(parameters, beta)
    plain = Linear(VARIANCES, wide**2).loss(parameters, 1.0)
    found = torch.autograd.grad(weighted, parameters)
    expected = [beta * g for g in torch.autograd.grad(plain, parameters)]
    assert expected[0].std() > 0.1
    torch.testing.assert_close(list(found), expected)
    assert wide == pytest.approx(0.6 * 3.7**0.5)


@pytest.mark.parametrize("beta", [0.2, 1.0, 3.0, 50.0])
def test_the_excess_is_a_divergence_of_gaussians(beta: float) -> None:
    """eq:pit-excess: from the data to the model that the optimal decoder makes."""
    gain = pitfalls.linear_optimum(VARIANCES, 0.3, beta).gain
    zero = torch.zeros(4, dtype=torch.float64)
    truth = MultivariateNormal(zero, torch.diag(VARIANCES))
    joint = oracles.JointGaussian(torch.diag(gain.sqrt()), zero, math.sqrt(0.3))
    expected = kl_divergence(truth, joint.evidence())
    found = pitfalls.linear_excess(VARIANCES, 0.3, beta)
    torch.testing.assert_close(found, expected)
    assert (found > 0.01) == (beta != 1.0)


# Squared errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [0.5, 1.0, 1 / 784])
def test_a_weighted_squared_error_is_a_gaussian(weight: float, normal: Draw) -> None:
    """eq:pit-squared: differences between images agree with the Normal law of that scale."""
    x, mean = normal(5, 7), normal(5, 7)
    error = weight * (x - mean).square().sum(dim=1)
    log_prob = Normal(mean, pitfalls.implied_scale(weight)).log_prob(x).sum(dim=1)
    torch.testing.assert_close((error + log_prob).diff(), torch.zeros(4).double())
    assert error.std() > 1e-4


def test_the_best_scale_has_no_slope(normal: Draw) -> None:
    """eq:pit-best-scale: there the Gaussian likelihood has no gradient, beside it less value."""
    x, mean = normal(5, 7), 0.3 * normal(5, 7)
    best = pitfalls.best_scale(x, mean).requires_grad_()
    value = Normal(mean, best).log_prob(x).sum()
    (slope,) = torch.autograd.grad(value, best)
    assert abs(slope.item()) < 1e-9
    for factor in (0.9, 1.1):
        assert Normal(mean, factor * best).log_prob(x).sum() < value - 0.1


def test_the_density_at_the_best_scale_grows_without_end(normal: Draw) -> None:
    """eq:pit-collapse: the Normal law at that scale; halving the residual adds D log 2."""
    x, mean = normal(7), 0.3 * normal(7)
    best = pitfalls.best_scale(x, mean)
    expected = Normal(mean, best).log_prob(x).sum()
    torch.testing.assert_close(pitfalls.at_best_scale(best, 7), expected)
    residuals = 2.0 ** -torch.arange(40, dtype=torch.float64)
    steps = pitfalls.at_best_scale(residuals, 7).diff()
    torch.testing.assert_close(steps, torch.full_like(steps, 7 * math.log(2)))


# Sampling at evaluation -------------------------------------------------------------------------


def test_decoding_a_sample_adds_the_decoded_spread(normal: Draw) -> None:
    """eq:pit-spread: averaged over posterior samples exactly, by Gauss-Hermite nodes."""
    weight, bias, x = normal(4, 2), normal(4), normal(4)
    joint = oracles.JointGaussian(weight, bias, 0.6)
    law = joint.posterior(x[None])
    mean, covariance = law.mean[0], law.covariance_matrix[0]
    assert covariance[0, 1].abs() > 0.01
    points, weights = oracles.normal_nodes(2)
    codes = mean + points @ torch.linalg.cholesky(covariance).T
    sampled = (weights * (x - codes @ weight.T - bias).square().sum(dim=1)).sum()
    at_mean = (x - weight @ mean - bias).square().sum()
    found = pitfalls.decoded_spread(weight, covariance)
    assert found > 0.1
    torch.testing.assert_close(sampled - at_mean, found)


def test_a_bound_without_noise_can_exceed_the_evidence(normal: Draw) -> None:
    """eq:pit-spread: at the exact posterior the claim is too high by its half over sigma^2."""
    weight = torch.linalg.qr(normal(4, 2)).Q * torch.tensor([1.7, 0.8], dtype=torch.float64)
    joint, x = oracles.JointGaussian(weight, normal(4), 0.6), normal(5, 4)
    law = joint.posterior(x)
    q = oracles.diagonal_normal(law.mean, law.variance.log())
    prior = oracles.diagonal_normal(torch.zeros(5, 2).double(), torch.zeros(5, 2).double())
    likelihood = Normal(law.mean @ weight.T + joint.bias, 0.6).log_prob(x).sum(dim=1)
    claimed = likelihood - kl_divergence(q, prior)
    excess = claimed - joint.evidence().log_prob(x)
    expected = pitfalls.decoded_spread(weight, law.covariance_matrix[0]) / (2 * 0.36)
    assert expected > 0.5
    torch.testing.assert_close(excess, expected.expand(5))


# The KL by sampling -----------------------------------------------------------------------------


def test_the_sampled_kl_averages_to_the_divergence(normal: Draw) -> None:
    """eq:pit-sampled-kl and eq:pit-sampled-variance: both moments exactly, by Gauss-Hermite."""
    mean, log_var = normal(4, 2), 0.7 * normal(4, 2)
    points, weights = oracles.normal_nodes(2)
    z = mean + log_var.exp().sqrt() * points[:, None, :]
    values = pitfalls.sampled_kl(z, mean, log_var)
    assert values.shape == (144, 4)
    q = Normal(mean, log_var.exp().sqrt())
    expected = kl_divergence(q, Normal(torch.zeros_like(mean), torch.ones_like(mean))).sum(dim=1)
    average = (weights[:, None] * values).sum(dim=0)
    torch.testing.assert_close(average, expected)
    variance = (weights[:, None] * (values - average).square()).sum(dim=0)
    assert variance.std() > 0.1
    torch.testing.assert_close(pitfalls.sampled_kl_variance(mean, log_var), variance)
    assert values.min() < 0 < expected.min()


# Bad input --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("unchecked")
def test_numbers_that_are_not_positive_are_named() -> None:
    """Weights, scales and variances; shapes that differ."""
    one = torch.ones(2)
    with pytest.raises(ValueError, match="weight must be positive, got 0"):
        pitfalls.implied_scale(0.0)
    for scale, beta in ((0.0, 1.0), (1.0, -1.0)):
        with pytest.raises(ValueError, match=f"must be positive, got {scale} and {beta}"):
            pitfalls.absorbed_scale(scale, beta)
    for variances, noise_var, beta in ((one, 0.0, 1.0), (one, 1.0, 0.0), (one - 1, 1.0, 1.0)):
        with pytest.raises(ValueError, match="beta and variances must be positive"):
            pitfalls.linear_optimum(variances, noise_var, beta)
    with pytest.raises(ValueError, match=r"x has shape \(2,\), mean \(3,\)"):
        pitfalls.best_scale(one, torch.ones(3))
