"""Proof for litgen/diffusion/known.py: torch.distributions, autograd and plain simulation."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from litgen.diffusion import schedule
from litgen.diffusion.known import GaussianMixture

Draw = Callable[..., Tensor]
TIMES = schedule.linear(50)


@pytest.fixture
def data(normal: Draw) -> GaussianMixture:
    """Three components in the plane, of different weights."""
    weights = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    return GaussianMixture(weights, 2 * normal(3, 2), 0.4)


def law(data: GaussianMixture, t: int) -> MixtureSameFamily:
    """Return the judge: the mixture that x_t has, from the product of the steps' factors."""
    alpha_bar = math.prod(1 - b for b in TIMES.betas[:t].tolist())
    variance = alpha_bar * data.scale**2 + 1 - alpha_bar
    parts = MultivariateNormal(
        math.sqrt(alpha_bar) * data.means, variance * torch.eye(2, dtype=torch.float64)
    )
    return MixtureSameFamily(Categorical(data.weights), parts)


@pytest.mark.parametrize("t", [0, 1, 7, 50])
def test_log_prob_is_the_noisy_mixtures(data: GaussianMixture, t: int, normal: Draw) -> None:
    """eq:ddpm-mixture: by torch.distributions."""
    x_t = normal(6, 2)
    expected = law(data, t).log_prob(x_t)
    assert expected.std() > 0.1
    torch.testing.assert_close(data.log_prob(x_t, torch.full((6,), t), TIMES), expected)


def test_class_log_prob_is_bayes_rule(data: GaussianMixture, normal: Draw) -> None:
    """The share of each component in the density, at its time."""
    x_t, t = normal(5, 2), torch.tensor([1, 3, 9, 30, 50])
    found = data.class_log_prob(x_t, t, TIMES).exp()
    torch.testing.assert_close(found.sum(dim=1), torch.ones(5).double())
    for n in range(5):
        mixture = law(data, int(t[n]))
        parts = mixture.component_distribution.log_prob(x_t[n]).exp() * data.weights
        torch.testing.assert_close(found[n], parts / parts.sum())


def test_noise_is_the_score(data: GaussianMixture, normal: Draw) -> None:
    """eq:ddpm-mixture-noise: -sqrt(1 - alpha_bar) times autograd's gradient of log q(x_t)."""
    x_t, t = normal(5, 2).requires_grad_(), torch.tensor([1, 3, 9, 30, 50])
    total = sum(law(data, int(t[n])).log_prob(x_t[n]) for n in range(5))
    assert isinstance(total, Tensor)
    gradient = torch.autograd.grad(total, x_t)[0]
    expected = -(1 - TIMES.alpha_bar[t]).sqrt()[:, None] * gradient
    torch.testing.assert_close(data.noise(x_t.detach(), t, TIMES), expected)


def test_noise_is_the_mean_of_the_noise_that_was_added(data: GaussianMixture) -> None:
    """eq:ddpm-mixture-noise: simulate, keep what landed near a point, average its noise."""
    generator = torch.Generator().manual_seed(0)
    count, t = 2_000_000, 8
    component = torch.multinomial(data.weights, count, replacement=True, generator=generator)
    x = data.sample(component, torch.randn(count, 2, generator=generator, dtype=torch.float64))
    noise = torch.randn(count, 2, generator=generator, dtype=torch.float64)
    alpha_bar = math.prod(1 - b for b in TIMES.betas[:t].tolist())
    x_t = math.sqrt(alpha_bar) * x + math.sqrt(1 - alpha_bar) * noise
    place = x_t[:3].round(decimals=1)
    found = data.noise(place, torch.full((3,), t), TIMES)
    for n in range(3):
        near = (x_t - place[n]).norm(dim=1) < 0.05
        error = noise[near].std(dim=0) / near.sum().sqrt()
        assert near.sum() > 300
        assert ((noise[near].mean(dim=0) - found[n]).abs() < 5 * error + 0.02).all()


def test_samples_are_the_components(data: GaussianMixture, normal: Draw) -> None:
    """Mean plus scale times noise; and a component alone is the data of its class."""
    noise = normal(4, 2)
    component = torch.tensor([2, 0, 1, 2])
    expected = torch.stack(
        [data.means[c] + 0.4 * e for c, e in zip(component, noise, strict=True)]
    )
    torch.testing.assert_close(data.sample(component, noise), expected)
    one = data.component(1)
    torch.testing.assert_close(one.means, data.means[1:2])
    assert one.weights.tolist() == [1.0]
    assert one.scale == data.scale


def test_bad_input(unchecked: None) -> None:
    """Weights that are no probabilities, other counts, no spread."""
    means = torch.zeros(2, 2)
    for weights, scale in (([0.5, 0.6], 1.0), ([1.0, 0.0], 1.0), ([0.5, 0.5], 0.0), ([1.0], 1.0)):
        with pytest.raises(ValueError, match="weights"):
            GaussianMixture(torch.tensor(weights), means, scale)
