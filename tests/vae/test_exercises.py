"""Solutions of the exercises in book/vae/elbo.md, and what shows that they are right."""

import math

import pytest
import torch
from torch import Tensor

from litgen import gaussian
from litgen.vae import elbo, likelihoods
from litgen.vae.linear_gaussian import LinearGaussian


def random_model(pixels: int, latent: int, seed: int = 3) -> LinearGaussian:
    """Return a model whose columns are not orthogonal."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(pixels, latent, generator=generator, dtype=torch.float64)
    bias = torch.randn(pixels, generator=generator, dtype=torch.float64)
    return LinearGaussian(weight, bias, scale=0.7)


def bound_of_the_prior(model: LinearGaussian, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the bound for q(z|x) = p(z), and the evidence minus KL(p(z) || p(z|x))."""
    pixels, latent = model.weight.shape
    squared = (x - model.bias).square().sum(dim=-1) + model.weight.square().sum()
    bound = -0.5 * (pixels * math.log(2 * math.pi * model.scale**2) + squared / model.scale**2)
    mean, covariance = model.posterior(x)
    precision = torch.linalg.inv(covariance)
    spread = torch.einsum("bi,ij,bj->b", mean, precision, mean)
    gap = 0.5 * (precision.trace() + spread - latent + torch.logdet(covariance))
    return bound, model.log_evidence(x) - gap


def mean_field_gap(model: LinearGaussian) -> Tensor:
    """Return the smallest gap that a diagonal Gaussian can reach."""
    precision = torch.linalg.inv(model.posterior(model.bias)[1])
    return 0.5 * (precision.diagonal().log().sum() - torch.logdet(precision))


def score_gradient_variances(dims: int, samples: int = 4_000) -> tuple[float, float, float]:
    """Return the variance of the score-function gradient, with a baseline, and reparameterised."""
    generator = torch.Generator().manual_seed(0)
    columns = torch.linalg.qr(torch.randn(2 * dims, dims, generator=generator)).Q
    model = LinearGaussian(columns, torch.zeros(2 * dims), scale=0.5)
    x = model.sample(
        torch.randn(1, dims, generator=generator), torch.randn(1, 2 * dims, generator=generator)
    )
    mean, covariance = model.posterior(x)
    mean = mean.expand(samples, 1, dims).clone().requires_grad_()
    log_var = covariance.diagonal().log().expand_as(mean)
    z = gaussian.reparameterize(mean, log_var, torch.randn(mean.shape, generator=generator))
    value = likelihoods.gaussian_pixels(x, model.decode(z), torch.tensor(0.5).log())
    surrogates = [
        elbo.score_function_surrogate(value, z, mean, log_var),
        elbo.score_function_surrogate(value - value.mean(), z, mean, log_var),
        value,
    ]
    gradients = [torch.autograd.grad(s.sum(), mean, retain_graph=True)[0] for s in surrogates]
    plain, baseline, along = (g.var(dim=0).mean().item() for g in gradients)
    return plain, baseline, along


def importance_weighted_loss(
    x: Tensor,
    encoder: elbo.Encoder,
    decoder: elbo.Decoder,
    log_likelihood: elbo.LogLikelihood,
    noise: Tensor,
) -> Tensor:
    """Return the training loss of the importance-weighted autoencoder; noise has K samples."""
    log_weights = elbo.importance_log_weights(x, encoder, decoder, log_likelihood, noise)
    return -elbo.importance_weighted_bound(log_weights).mean()


def grey_bits_per_dim(x: Tensor, mean: Tensor, log_scale: Tensor, kl: Tensor) -> Tensor:
    """Return the bound on grey images x (multiples of 1/255) in bits per dimension."""
    bound = likelihoods.discretized_logistic(x, mean, log_scale) - kl
    return gaussian.bits_per_dim(bound, x.shape[-1])


def test_bound_of_the_prior_is_the_evidence_minus_the_divergence() -> None:
    """Exercise 1: the closed form of the bound, and eq:elbo-gap's right-hand side."""
    model = random_model(5, 3)
    x = torch.randn(6, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    bound, expected = bound_of_the_prior(model, x)
    assert bound.std() > 1
    torch.testing.assert_close(bound, expected)


def test_mean_field_gap_is_the_smallest_gap() -> None:
    """Exercise 2: the formula is reached by its optimum and by no other diagonal Gaussian."""
    model = random_model(4, 3)
    precision = torch.linalg.inv(model.posterior(model.bias)[1])
    true = torch.distributions.MultivariateNormal(torch.zeros(3).double(), precision.inverse())

    def gap(variances: Tensor) -> Tensor:
        guess = torch.distributions.MultivariateNormal(true.mean, torch.diag(variances))
        return torch.distributions.kl_divergence(guess, true)

    best = 1 / precision.diagonal()
    assert mean_field_gap(model) > 0.1
    torch.testing.assert_close(mean_field_gap(model), gap(best))
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        other = best * torch.exp(0.2 * torch.randn(3, generator=generator, dtype=torch.float64))
        assert gap(other) > gap(best)


def test_a_baseline_removes_most_of_the_variance() -> None:
    """Exercise 3: what the solution says of 16 dimensions."""
    plain, baseline, along = score_gradient_variances(16)
    assert baseline < 0.05 * plain
    assert along < 0.1 * baseline


def test_importance_weighted_loss_is_minus_log_evidence_at_the_posterior() -> None:
    """Exercise 4: with an exact encoder every K gives -log p(x); with a wrong one K helps."""
    model = LinearGaussian(torch.eye(3, 2).double(), torch.ones(3).double(), scale=0.6)
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    noise = torch.randn(50, 5, 2, generator=generator, dtype=torch.float64)
    mean, covariance = model.posterior(x)
    log_var = covariance.diagonal().log().expand_as(mean)
    scale = torch.tensor(model.scale, dtype=torch.float64).log()

    def loss(shift: float, noise: Tensor) -> Tensor:
        return importance_weighted_loss(
            x,
            lambda _: (mean + shift, log_var),
            model.decode,
            lambda x, out: likelihoods.gaussian_pixels(x, out, scale),
            noise,
        )

    exact = -model.log_evidence(x).mean()
    torch.testing.assert_close(loss(0.0, noise[:1]), exact)
    torch.testing.assert_close(loss(0.0, noise), exact)
    singly = torch.stack([loss(0.5, one) for one in noise.unsqueeze(1)]).mean()
    assert singly > loss(0.5, noise) + 0.1


@pytest.mark.parametrize("kl", [0.0, 3.0])
def test_grey_bits_per_dim_of_known_codes(kl: float) -> None:
    """Exercise 5: a wide logistic is nearly uniform inside: about 8 bits; the KL adds to it."""
    x = torch.linspace(0.3, 0.7, 103, dtype=torch.float64).mul(255).round().div(255)[None]
    log_scale = torch.tensor(math.log(100.0), dtype=torch.float64)
    bits = grey_bits_per_dim(x, torch.full_like(x, 0.5), log_scale, torch.tensor([kl]).double())
    density = 0.25 / 100 / 255  # logistic density at its mean, times the bin
    expected = -math.log2(density) + kl / (103 * math.log(2))
    assert bits.item() == pytest.approx(expected, rel=1e-4)
