"""Solutions of the exercises in book/diffusion/ddim.md, and what shows that they are right."""

import itertools
import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from litgen import gaussian
from litgen.diffusion import ddim, ddpm, schedule
from litgen.diffusion.known import GaussianMixture
from litgen.diffusion.schedule import Schedule

Draw = Callable[..., Tensor]
FEW = schedule.from_betas(torch.tensor([0.1, 0.3, 0.4, 0.6, 0.8], dtype=torch.float64))
FINE = schedule.cosine(2_048)


def loss_weight(schedule: Schedule, t: int, s: int, eta: float) -> float:
    """Return what one unit of |noise - guess|^2 costs in the divergence of the step t to s."""
    now, then = (float(schedule.alpha_bar[k]) for k in (t, s))
    deviation = ddim.sigma(schedule, t, s, eta)
    through_x = math.sqrt(then * (1 - now) / now)
    direct = math.sqrt(1 - then - deviation**2)
    return (through_x - direct) ** 2 / (2 * deviation**2)


def forward_step(schedule: Schedule, t: int, s: int, eta: float) -> tuple[float, float]:
    """Return a and v of q(x_t | x_s, x): mean sqrt(abar_t) x + a (x_s - sqrt(abar_s) x)."""
    now, then = (float(schedule.alpha_bar[k]) for k in (t, s))
    deviation = ddim.sigma(schedule, t, s, eta)
    direct = math.sqrt(max(0.0, 1 - then - deviation**2))
    return direct * math.sqrt(1 - now) / (1 - then), (1 - now) * deviation**2 / (1 - then)


def final_deviation(scale: float, schedule: Schedule, times: Sequence[int], eta: float) -> float:
    """Return the standard deviation that a chain on N(m, scale^2) ends with."""
    variance = 1.0
    for t, s in itertools.pairwise(times):
        now, then = (float(schedule.alpha_bar[k]) for k in (t, s))
        deviation = ddim.sigma(schedule, t, s, eta)
        direct = math.sqrt(max(0.0, 1 - then - deviation**2))
        truth = now * scale**2 + 1 - now
        keeps = (math.sqrt(then * now) * scale**2 + direct * math.sqrt(1 - now)) / truth
        variance = keeps**2 * variance + deviation**2
    return math.sqrt(variance)


def heun(model: ddpm.Model, x: Tensor, schedule: Schedule, times: Sequence[int]) -> Tensor:
    """Return x_0 by Heun's method in the angle; the last step, to where no noise is, is DDIM's."""

    def turning(x: Tensor, t: int) -> Tensor:
        """Return dx/dphi, which is v, of the model's guess."""
        when = torch.full((len(x),), t)
        guess = ddpm.denoised(model(x, when), x, when, schedule)
        return ddpm.target(guess.x, when, guess.noise, schedule, "v")

    angle = schedule.alpha_bar.sqrt().acos().tolist()
    for t, s in itertools.pairwise(times):
        turn = angle[s] - angle[t]
        slope = turning(x, t)
        if s == 0:
            return math.cos(turn) * x + math.sin(turn) * slope
        ahead = x + turn * slope
        x = x + turn * (slope + turning(ahead, s)) / 2
    return x


def quadratic_times(schedule: Schedule, count: int) -> list[int]:
    """Return count + 1 falling times, the gaps growing with the time; no time comes twice."""
    rising = [0]
    for k in range(1, count + 1):
        rising.append(max(rising[-1] + 1, round(schedule.steps * (k / count) ** 2)))
    return rising[::-1]


@pytest.mark.parametrize(("t", "s", "eta"), [(5, 2, 1.0), (4, 3, 0.3), (3, 1, 0.7)])
def test_the_weight_is_that_of_the_divergence(t: int, s: int, eta: float, normal: Draw) -> None:
    """Exercise 1: KL of two steps that differ in their noise, by the general formula."""
    x, noise, guess = normal(6, 4), normal(6, 4), normal(6, 4)
    when, deviation = torch.full((6,), t), ddim.sigma(FEW, t, s, eta)
    x_t = ddpm.diffuse(x, when, noise, FEW)
    means = [
        ddim.step(ddpm.denoised(told, x_t, when, FEW), t, s, FEW, eta, torch.zeros_like(x))
        for told in (noise, guess)
    ]
    log_var = torch.full_like(x, 2 * math.log(deviation))
    expected = gaussian.kl_divergence(means[0], log_var, means[1], log_var)
    found = loss_weight(FEW, t, s, eta) * (noise - guess).square().sum(dim=1)
    torch.testing.assert_close(found, expected)
    assert loss_weight(FEW, t, s, eta / 10) > 10 * loss_weight(FEW, t, s, eta)


def test_with_eta_1_the_weight_is_ddpms(normal: Draw) -> None:
    """Exercise 1: one step down, the terms are those of DDPM's bound."""
    x, noise, guess, t = normal(6, 4), normal(6, 4), normal(6, 4), torch.full((6,), 3)
    x_t = ddpm.diffuse(x, t, noise, FEW)
    expected = ddpm.bound_terms(x, ddpm.denoised(guess, x_t, t, FEW).x, x_t, t, FEW)
    found = loss_weight(FEW, 3, 2, 1.0) * (noise - guess).square().sum(dim=1)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_the_forward_step_is_bayes_rule(eta: float) -> None:
    """Exercise 2: joint density of (x_t, x_s) given x, written either way round, on a grid."""
    t, s, x = 4, 2, 0.7
    now, then = float(FEW.alpha_bar[t]), float(FEW.alpha_bar[s])
    a, v = forward_step(FEW, t, s, eta)
    if eta == 0:
        assert v == 0
        assert a == pytest.approx(math.sqrt((1 - now) / (1 - then)))
        return
    one, two = torch.meshgrid(*[torch.linspace(-3, 3, 9).double()] * 2, indexing="ij")
    deviation = ddim.sigma(FEW, t, s, eta)

    def normal_log(x: Tensor, mean: Tensor | float, variance: float) -> Tensor:
        return -0.5 * ((x - mean) ** 2 / variance + math.log(2 * math.pi * variance))

    away_t, away_s = one - math.sqrt(now) * x, two - math.sqrt(then) * x
    direct = math.sqrt(1 - then - deviation**2) / math.sqrt(1 - now)
    down = normal_log(away_t, 0.0, 1 - now) + normal_log(away_s, direct * away_t, deviation**2)
    up = normal_log(away_s, 0.0, 1 - then) + normal_log(away_t, a * away_s, v)
    torch.testing.assert_close(up, down)
    markov = a == pytest.approx(math.sqrt(now / then))  # then x drops out of the mean
    assert markov == (eta == 1)


@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0, 1.3])
@pytest.mark.parametrize("count", [1, 3, 10, 40])
def test_the_deviation_is_that_of_a_simulation(count: int, eta: float) -> None:
    """Exercise 3: 40,000 chains with the exact denoiser; few steps are too narrow below eta 1."""
    data = GaussianMixture(torch.ones(1).double(), torch.tensor([[0.6]]).double(), 0.5)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(40_000, 1, generator=generator, dtype=torch.float64)
    times = ddim.times(FINE, count)
    told = final_deviation(0.5, FINE, times, eta)
    *_, x = ddim.trajectory(lambda x, t: data.noise(x, t, FINE), x, FINE, times, eta, generator)
    assert x.std().item() == pytest.approx(told, rel=0.015)
    if count > 1 and eta <= 1:
        assert told < 0.99 * 0.5


def exact_line(data: GaussianMixture, x: Tensor, schedule: Schedule) -> Tensor:
    """Return where the flow takes x_T on a line: to the same quantile, by bisection."""

    def share_below(x: Tensor, t: int) -> Tensor:
        kept = float(schedule.alpha_bar[t])
        spread = math.sqrt(kept * data.scale**2 + 1 - kept)
        each = torch.special.ndtr((x - math.sqrt(kept) * data.means.T) / spread)
        return (data.weights * each).sum(dim=1, keepdim=True)

    wanted = share_below(x, schedule.steps)
    low, high = torch.full_like(x, -9.0), torch.full_like(x, 9.0)
    for _ in range(80):
        middle = (low + high) / 2
        below = share_below(middle, 0) < wanted
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return low


TWO = GaussianMixture(
    torch.tensor([0.6, 0.4]).double(), torch.tensor([[-1.0], [1.0]]).double(), 0.3
)


def errors(schedule: Schedule, times: Sequence[int]) -> tuple[float, float]:
    """Return the root mean square error of DDIM's and of Heun's steps on a mixture of two."""

    def model(x: Tensor, t: Tensor) -> Tensor:
        return TWO.noise(x, t, schedule)

    x = torch.linspace(-2, 2, 41, dtype=torch.float64)[:, None]
    truth = exact_line(TWO, x, schedule)
    *_, end = ddim.trajectory(model, x, schedule, times)
    ends = end, heun(model, x, schedule, times)
    first, second = ((end - truth).square().mean().sqrt().item() for end in ends)
    return first, second


def test_heun_is_of_order_2() -> None:
    """Exercise 4: four times the steps, 1/16 of the error, with times packed near the data."""
    few, many = (errors(FINE, quadratic_times(FINE, count)) for count in (10, 40))
    orders = [math.log(a / b) / math.log(4) for a, b in zip(few, many, strict=True)]
    assert orders == [pytest.approx(1, abs=0.1), pytest.approx(2, abs=0.2)]
    assert many[1] < 0.02 * many[0]
    even = [errors(FINE, ddim.times(FINE, count))[1] for count in (10, 40)]
    assert math.log(even[0] / even[1]) / math.log(4) < 1.7


def test_quadratic_times() -> None:
    """Exercise 5: packed near the data; they help the linear schedule and not the cosine's."""
    times = quadratic_times(FINE, 12)
    assert (times[0], times[-1], len(times)) == (2_048, 0, 13)
    gaps = [a - b for a, b in itertools.pairwise(times)]
    assert min(gaps) > 0
    assert gaps == sorted(gaps, reverse=True)
    assert quadratic_times(FEW, 5) == [5, 4, 3, 2, 1, 0]
    for kind, better in ((schedule.linear(2_048), True), (FINE, False)):
        even = errors(kind, ddim.times(kind, 12))[0]
        packed = errors(kind, quadratic_times(kind, 12))[0]
        assert (packed < 0.9 * even) == better
        assert (packed > 1.1 * even) != better
