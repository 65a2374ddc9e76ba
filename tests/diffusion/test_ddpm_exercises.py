"""Solutions of the exercises in book/diffusion/ddpm.md, and what shows that they are right."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from litgen.diffusion import ddpm, schedule
from litgen.diffusion.known import GaussianMixture
from litgen.diffusion.schedule import Schedule

Draw = Callable[..., Tensor]


def step_weights(times: Schedule) -> Tensor:
    """Return what the bound's terms t = 2, ..., T multiply the squared error of x with."""
    snr = times.alpha_bar[1:] / (1 - times.alpha_bar[1:])
    return 0.5 * (snr[:-1] - snr[1:])


def chain_deviation(times: Schedule, scale: float) -> float:
    """Return the standard deviation in which the chain ends for data N(0, scale^2)."""
    variance = 1.0
    for t in range(times.steps, 0, -1):
        now, before = float(times.alpha_bar[t]), float(times.alpha_bar[t - 1])
        gain = math.sqrt(now) * scale**2 / (now * scale**2 + 1 - now)  # of the guess by x_t
        x, x_t = torch.tensor([[gain]]), torch.tensor([[1.0]])
        slope, noise = ddpm.posterior(x.double(), x_t.double(), torch.tensor([t]), times)
        assert before > now
        variance = slope.item() ** 2 * variance + noise.item()
    return math.sqrt(variance)


def exact_step_variance(times: Schedule, t: int, scale: float) -> float:
    """Return the variance of q(x_{t-1} | x_t) for data N(0, scale^2)."""
    before, beta = float(times.alpha_bar[t - 1]), float(times.betas[t - 1])
    prior = before * scale**2 + 1 - before  # of x_{t-1}
    return 1 / (1 / prior + (1 - beta) / beta)


def thinned(times: Schedule, stride: int) -> Schedule:
    """Return the schedule that visits every ``stride``-th time only."""
    return Schedule(times.alpha_bar[::stride])


def fitted_denoiser(x: Tensor, t: int, times: Schedule, noise: Tensor) -> tuple[float, float]:
    """Return slope and intercept of the linear function of x_t that says the noise best."""
    x_t = ddpm.diffuse(x, torch.full((len(x),), t), noise, times)
    design = torch.cat([x_t, torch.ones_like(x_t)], dim=1)
    slope, intercept = torch.linalg.lstsq(design, noise).solution.flatten().tolist()
    return slope, intercept


@pytest.mark.parametrize("make", [schedule.linear, schedule.cosine])
def test_the_terms_of_the_bound_are_weighted_by_the_fall_of_snr(
    make: Callable[[int], Schedule], normal: Draw
) -> None:
    """eq:ddpm-kl: half the difference of the signal-to-noise ratios, at every time."""
    times = make(60)
    t = torch.arange(2, 61)
    x, guess, x_t = (normal(59, 3) for _ in range(3))
    found = ddpm.bound_terms(x, guess, x_t, t, times) / (x - guess).square().sum(dim=1)
    torch.testing.assert_close(found, step_weights(times), rtol=1e-6, atol=0)


@pytest.mark.parametrize("scale", [0.3, 1.0, 1.7])
def test_the_chains_variance_is_followed(scale: float, generator: torch.Generator) -> None:
    """eq:ddpm-reverse: 60,000 simulated chains end with this standard deviation."""
    times, count = schedule.cosine(15), 60_000
    data = GaussianMixture(torch.ones(1).double(), torch.zeros(1, 1).double(), scale)
    x_t = torch.randn(count, 1, generator=generator, dtype=torch.float64)
    *_, x = ddpm.trajectory(lambda x_t, t: data.noise(x_t, t, times), x_t, times, generator)
    known = chain_deviation(times, scale)
    assert x.std().item() == pytest.approx(known, rel=5 / math.sqrt(2 * count))
    assert known < 0.97 * scale
    assert chain_deviation(schedule.cosine(1_000), scale) == pytest.approx(scale, rel=0.02)


def test_the_two_variances_are_the_two_ends(generator: torch.Generator) -> None:
    """A point has the posterior's variance, unit data beta_t; what is between, simulation says."""
    times, t = schedule.linear(50), 4
    beta = times.betas[t - 1].item()
    point = exact_step_variance(times, t, 0.0)
    tilde = ddpm.posterior(torch.zeros(1, 1), torch.zeros(1, 1), torch.tensor([t]), times)[1]
    assert point == pytest.approx(tilde.item(), rel=1e-5)
    assert exact_step_variance(times, t, 1.0) == pytest.approx(beta)
    between = exact_step_variance(times, t, 0.4)
    assert point * 1.02 < between < beta * 0.98
    x = 0.4 * torch.randn(200_000, 1, generator=generator, dtype=torch.float64)
    noise = torch.randn(2, 200_000, 1, generator=generator, dtype=torch.float64)
    before = ddpm.diffuse(x, torch.full((200_000,), t - 1), noise[0], times)
    now = math.sqrt(1 - beta) * before + math.sqrt(beta) * noise[1]
    slope = (before * now).mean() / now.square().mean()
    assert (before - slope * now).var().item() == pytest.approx(between, rel=0.02)


def test_a_thinned_schedule_has_the_same_states() -> None:
    """Its step reaches in one go what the old one reaches in ``stride``, in mean and variance."""
    times = schedule.cosine(60)
    thin = thinned(times, 5)
    assert thin.steps == 12
    for t in range(1, 13):
        kept = math.prod(1 - b for b in times.betas[5 * (t - 1) : 5 * t].tolist())
        assert thin.betas[t - 1].item() == pytest.approx(1 - kept)


def test_regression_finds_the_exact_denoiser(generator: torch.Generator) -> None:
    """eq:ddpm-score: least squares on pairs (x_t, noise) gives the mixture's closed form."""
    times, t, mean, scale = schedule.linear(100), 30, 0.8, 0.5
    x = mean + scale * torch.randn(100_000, 1, generator=generator, dtype=torch.float64)
    noise = torch.randn(100_000, 1, generator=generator, dtype=torch.float64)
    slope, intercept = fitted_denoiser(x, t, times, noise)
    data = GaussianMixture(torch.ones(1).double(), torch.tensor([[mean]]).double(), scale)
    places = torch.tensor([[-1.0], [0.0], [2.0]], dtype=torch.float64)
    exact = data.noise(places, torch.full((3,), t), times)
    torch.testing.assert_close(slope * places + intercept, exact, rtol=0, atol=0.03)
    assert exact.std() > 0.5
