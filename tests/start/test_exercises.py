"""Solutions of the exercises in book/start/why_generative.md, each with its proof."""

import math
from collections.abc import Callable

import pytest
import scipy.stats
import torch
from torch import Tensor

from litgen.data import moons
from litgen.evaluation.energy import energy_distance, squared_cdf_gap
from litgen.recipes import comparison

LogProb = Callable[[Tensor], Tensor]


def bits_per_point(log_prob: LogProb, points: Tensor, side: float) -> Tensor:
    """Return what coding the points' cells costs, for cells of this side."""
    middles = (points / side).floor() * side + side / 2
    return -(log_prob(middles) / math.log(2) + 2 * math.log2(side)).mean()


def test_halving_the_side_costs_everyone_two_bits() -> None:
    """The difference between two tables is a difference of log-likelihoods, in bits."""
    points = moons.load("test").points[:2_000].double()
    normal = torch.distributions.Normal(0.0, 0.7)

    def blob(x: Tensor) -> Tensor:
        return normal.log_prob(x).sum(dim=-1)

    rows = torch.stack(
        [
            torch.stack([bits_per_point(p, points, side) for side in (0.04, 0.02, 0.01)])
            for p in (moons.log_prob, blob)
        ]
    )
    torch.testing.assert_close(
        rows.diff(dim=1), torch.full((2, 2), 2.0).double(), atol=0.02, rtol=0
    )
    nats = (moons.log_prob(points) - blob(points)).mean()
    assert nats > 0.5
    torch.testing.assert_close(
        rows[1] - rows[0], (nats / math.log(2)).expand(3), atol=0.02, rtol=0
    )


def histogram(points: Tensor, cells: int) -> tuple[comparison.Sampler, comparison.LogProb]:
    """Return sampler and log-density of a smoothed histogram over the square."""
    side = 2 * comparison.EXTENT / cells

    def cell_of(x: Tensor) -> Tensor:
        place = ((x + comparison.EXTENT) / side).long().clamp(0, cells - 1)
        return place[:, 0] * cells + place[:, 1]

    counts = torch.bincount(cell_of(points), minlength=cells**2) + 0.1
    probabilities = counts / counts.sum()

    def sampler(count: int, generator: torch.Generator) -> Tensor:
        cell = torch.multinomial(probabilities, count, replacement=True, generator=generator)
        corner = torch.stack([cell // cells, cell % cells], dim=1)
        return (corner + torch.rand(count, 2, generator=generator)) * side - comparison.EXTENT

    def log_prob(x: Tensor) -> Tensor:
        return (probabilities[cell_of(x)] / side**2).log()

    return sampler, log_prob


def test_the_best_histogram_lies_between_coarse_and_fine() -> None:
    """It integrates to one, its samples fall as its density says, and it beats one Gaussian."""
    points, test = moons.load("train").points, moons.load("test").points
    nll = {k: -histogram(points, k)[1](test).mean().item() for k in (5, 20, 40, 80, 300)}
    best = min(nll, key=lambda k: nll[k])
    assert 5 < best < 300
    assert nll[best] < 1.25 < min(nll[5], nll[300])
    sampler, log_prob = histogram(points, 20)
    mass = log_prob(comparison.grid()).double().exp().sum() * (4.4 / 100) ** 2
    assert mass.item() == pytest.approx(1, abs=1e-6)
    drawn = sampler(20_000, torch.Generator().manual_seed(0))
    own = log_prob(comparison.grid()).double()
    entropy = -(own.exp() * own).sum().item() * (4.4 / 100) ** 2
    assert -log_prob(drawn).mean().item() == pytest.approx(entropy, abs=0.03)
    assert energy_distance(drawn[:3_000], test[:3_000]).item() < 0.01


def distance_along(x: Tensor, y: Tensor, direction: Tensor) -> Tensor:
    """Return the distance of both sets' coordinates in a direction."""
    unit = direction / direction.norm()
    return squared_cdf_gap(x @ unit, y @ unit)


def test_a_direction_tells_equal_marginals_apart(normal: Callable[..., Tensor]) -> None:
    """eq:energy-cdf: zero along the axes, not along (1, 1); the mean over all is the whole."""
    u, v = normal(4_000), normal(4_000)
    x, y = torch.stack([u, u], dim=1), torch.stack([v, -v], dim=1)
    for axis in torch.eye(2, dtype=torch.float64):
        assert distance_along(x, y, axis) < 0.005
    found = distance_along(x, y, torch.tensor([1.0, 1.0]).double()).item()
    known = 2 * math.sqrt(2) * (math.sqrt(2 / math.pi) - 1 / math.sqrt(math.pi))
    assert found == pytest.approx(known, abs=0.06)
    angles = torch.linspace(0, math.pi, 37, dtype=torch.float64)[:-1]
    rows = [distance_along(x, y, torch.stack([a.cos(), a.sin()])) for a in angles]
    whole = energy_distance(x, y).item()
    # |v| in the plane is pi/2 times the mean of its length along a random direction
    assert math.pi / 2 * torch.stack(rows).mean().item() == pytest.approx(whole, abs=0.01)
    assert whole > 0.1


def cost_of_noise(log_p: Tensor, log_noise: Tensor, share: float) -> Tensor:
    """Return the nats that mixing a share of noise into a model costs, for each point."""
    mixed = torch.logaddexp(math.log1p(-share) + log_p, math.log(share) + log_noise)
    return log_p - mixed


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_noise_costs_no_more_than_its_share_says(share: float) -> None:
    """eq:why-noise-bound: at most -log(1 - share), nearly so where the noise is rare."""
    points = moons.load("test").points[:500].double()
    log_p, log_noise = moons.log_prob(points), torch.full((500,), -2 * math.log(4.4)).double()
    cost = cost_of_noise(log_p, log_noise, share)
    p, q = log_p.exp(), log_noise.exp()
    torch.testing.assert_close(cost, -((1 - share) + share * q / p).log())
    assert (cost <= -math.log(1 - share) + 1e-12).all()
    likely = p > 100 * q * share / (1 - share)
    assert (cost[likely] > -math.log(1 - share) - 0.011).all()
    assert cost.std() > 0


def test_the_squared_norm_has_the_mean_that_the_chapter_says() -> None:
    """eq:why-monte-carlo: 21/16 - 1/pi + 2 sigma^2, and an error of sd / sqrt(n)."""
    known = 21 / 16 - 1 / math.pi + 2 * moons.NOISE**2
    x = moons.sample(200_000, torch.Generator().manual_seed(0)).double().square().sum(dim=1)
    assert abs(x.mean() - known) < 4 * x.std() / 200_000**0.5
    means = x.view(400, 500).mean(dim=1)
    chi_square = ((means - known) ** 2 / (x.var() / 500)).sum().item()
    assert 1e-4 < scipy.stats.chi2.sf(chi_square, 400) < 1 - 1e-4
