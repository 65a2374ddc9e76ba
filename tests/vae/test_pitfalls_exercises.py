"""Solutions of the exercises in book/vae/pitfalls.md, and what shows that they are right."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, kl_divergence

from litgen import gaussian
from litgen.vae import grey, pitfalls
from litgen.vae.likelihoods import discretized_logistic, gaussian_pixels
from litgen.vae.linear_gaussian import LinearGaussian


def betas_of_multiples(factor: float) -> list[tuple[float, float]]:
    """Return each slip's beta, and that of a constant times the slip."""
    pairs = []
    for loss in pitfalls.LOSSES.values():

        def multiple(log_probs: Tensor, kls: Tensor, loss: pitfalls.Loss = loss) -> Tensor:
            return factor * loss(log_probs, kls)

        pairs.append(
            (
                pitfalls.accidental_beta(loss, 8, 50, 4),
                pitfalls.accidental_beta(multiple, 8, 50, 4),
            )
        )
    return pairs


def betas_that_keep(variances: Tensor, noise_var: float, count: int) -> tuple[float, float]:
    """Return the interval of beta in which a linear VAE keeps so many latents; variances fall."""
    padded = torch.cat([variances, variances.new_zeros(1)]) / noise_var
    return padded[count].item(), padded[count - 1].item()


def cross_entropy_floor(x: Tensor) -> Tensor:
    """Return the least cross-entropy that any decoder can reach on a grey image, in nats."""
    return -(torch.xlogy(x, x) + torch.xlogy(1 - x, 1 - x)).sum(dim=-1)


def parts_of_the_gradient(
    model: LinearGaussian, x: Tensor, mean: Tensor, log_var: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the sampled bound's gradient in the mean: along z, and of -log q's own mean."""
    mean = mean.expand(noise.shape).clone().requires_grad_()
    z = gaussian.reparameterize(mean, log_var.expand(noise.shape), noise)
    scale = torch.tensor(model.scale, dtype=x.dtype).log()
    log_joint = gaussian_pixels(x, model.decode(z), scale) + gaussian.standard_log_prob(z)
    held = log_joint - gaussian.log_prob(z, mean.detach(), log_var)
    own = -gaussian.log_prob(z.detach(), mean, log_var)
    along, direct = (torch.autograd.grad(part.sum(), mean)[0] for part in (held, own))
    return along, direct


def probability_of_black(logit: float, mean: float, log_scale: float) -> tuple[float, float]:
    """Return P(0) under a continuous Bernoulli and under a discretised logistic."""
    black = torch.zeros(1, 1, dtype=torch.float64)
    smooth = grey.continuous_cells(black, torch.full_like(black, logit))
    binned = discretized_logistic(
        black, torch.full_like(black, mean), torch.tensor(log_scale, dtype=torch.float64)
    )
    return smooth.exp().item(), binned.exp().item()


@pytest.mark.parametrize("factor", [0.01, 784.0])
def test_a_constant_changes_no_beta(factor: float) -> None:
    """Exercise 1: whatever multiplies the loss, beta stays."""
    pairs = betas_of_multiples(factor)
    assert len({round(before, 9) for before, _ in pairs}) == len(pairs)
    for before, after in pairs:
        assert after == pytest.approx(before, rel=1e-12)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_interval_keeps_so_many_latents(count: int) -> None:
    """Exercise 2: inside the interval that many gains are positive, outside another number."""
    variances = torch.tensor([9.0, 4.0, 1.2], dtype=torch.float64)
    low, high = betas_that_keep(variances, 0.5, count)

    def kept(beta: float) -> int:
        return int((pitfalls.linear_optimum(variances, 0.5, beta).gain > 0).sum())

    assert kept(low + 1e-6) == kept(high - 1e-6) == count
    assert kept(high + 1e-6) == count - 1
    assert low == 0 or kept(low - 1e-6) == count + 1


def test_the_floor_is_reached_by_the_image_itself() -> None:
    """Exercise 3: cross-entropy minus floor is a divergence, zero at p = x alone."""
    x = torch.rand(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    floor = cross_entropy_floor(x)
    torch.testing.assert_close(-grey.as_if(x, torch.logit(x)), floor)
    logits = torch.logit(x) + 0.7
    divergence = kl_divergence(Bernoulli(x), Bernoulli(logits=logits)).sum(dim=1)
    torch.testing.assert_close(-grey.as_if(x, logits) - floor, divergence)
    greys = torch.linspace(0, 1, 101, dtype=torch.float64)[:, None]
    assert cross_entropy_floor(greys).argmax() == 50
    assert cross_entropy_floor(greys).max().item() == pytest.approx(math.log(2))


def test_one_part_averages_to_zero_and_one_is_zero() -> None:
    """Exercise 4: at the posterior the path's gradient is zero at every code, the other is not."""
    generator = torch.Generator().manual_seed(0)
    columns = torch.linalg.qr(torch.randn(5, 2, generator=generator, dtype=torch.float64)).Q
    model = LinearGaussian(columns * 1.5, torch.zeros(5).double(), scale=0.6)
    x = torch.randn(1, 5, generator=generator, dtype=torch.float64)
    mean, covariance = model.posterior(x)
    log_var = covariance.diagonal().log()
    noise = torch.randn(20_000, 2, generator=generator, dtype=torch.float64)
    along, direct = parts_of_the_gradient(model, x, mean, log_var, noise)
    torch.testing.assert_close(along, torch.zeros_like(along), rtol=0, atol=1e-9)
    sd = (0.5 * log_var).exp()
    torch.testing.assert_close(direct, -noise / sd)
    assert (direct.mean(dim=0).abs() < 6 / sd / math.sqrt(20_000)).all()
    away, _ = parts_of_the_gradient(model, x, mean + 0.5, log_var, noise)
    assert away.abs().max() > 0.1


def test_black_is_dear_to_a_smooth_density() -> None:
    """Exercise 5: even odds need a logit of -256 log 2; a logistic gets there easily."""
    smooth, binned = probability_of_black(-256 * math.log(2), -0.1, math.log(0.02))
    assert smooth == pytest.approx(0.5, rel=1e-6)
    assert binned > 0.99
    assert probability_of_black(-10.0, 0.0, 0.0)[0] < 0.05
