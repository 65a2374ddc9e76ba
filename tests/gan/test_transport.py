"""Proof for litgen/gan/transport.py: permutations, linear programs by scipy, quadrature."""

import itertools
import math

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import torch
from torch import Tensor
from torch.distributions import Normal

from litgen.gan import transport
from tests import oracles


def masses(count: int, generator: torch.Generator) -> Tensor:
    """Return random masses that sum to one."""
    mass = torch.rand(count, generator=generator, dtype=torch.float64) + 0.05
    return mass / mass.sum()


def case(seed: int, n: int, m: int, dims: int = 2) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return p, q, x and y: two random sets of points with masses."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, dims, generator=g, dtype=torch.float64)
    y = 1.5 * torch.randn(m, dims, generator=g, dtype=torch.float64) + 0.7
    return masses(n, g), masses(m, g), x, y


def cost_by_hand(x: Tensor, y: Tensor) -> Tensor:
    """Return the Euclidean distances, one pair after the other."""
    rows = [[math.dist(a, b) for b in y.tolist()] for a in x.tolist()]
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize(
    ("seed", "n", "m"), [(0, 1, 4), (1, 5, 5), (2, 7, 4), (3, 12, 17), (4, 3, 1)]
)
def test_the_plan_is_the_linear_programs(seed: int, n: int, m: int) -> None:
    """eq:transport-primal, eq:transport-dual: value and margins of scipy's two linear programs."""
    p, q, x, y = case(seed, n, m)
    cost = cost_by_hand(x, y)
    torch.testing.assert_close(transport.distances(x, y), cost)
    found = transport.solve(p, q, cost)
    value, _ = oracles.transport_program(p.numpy(), q.numpy(), cost.numpy())
    earned = oracles.price_program(p.numpy(), q.numpy(), cost.numpy())
    assert found.cost == pytest.approx(value, rel=1e-9)
    assert found.cost == pytest.approx(earned, rel=1e-9)
    assert found.plan.min() >= 0
    torch.testing.assert_close(found.plan.sum(dim=1), p)
    torch.testing.assert_close(found.plan.sum(dim=0), q)
    assert found.cost == pytest.approx(float((found.plan * cost).sum()))
    assert cost.std() > 0.3 or cost.numel() < 5


def test_any_cost_will_do() -> None:
    """eq:transport-primal: costs that are no distances, negative ones and ties among them."""
    g = torch.Generator().manual_seed(5)
    p, q = masses(6, g), masses(8, g)
    for cost in (
        torch.randn(6, 8, generator=g).double(),
        torch.randint(0, 3, (6, 8), generator=g).double(),
    ):
        value, _ = oracles.transport_program(p.numpy(), q.numpy(), cost.numpy())
        found = transport.solve(p, q, cost)
        assert found.cost == pytest.approx(value, rel=1e-9, abs=1e-12)
        assert (cost - found.f[:, None] - found.g).min() > -1e-9


def test_equal_masses_need_no_splitting() -> None:
    """eq:transport-primal: among all 720 permutations of six points none is cheaper."""
    _, _, x, y = case(6, 6, 6)
    cost = cost_by_hand(x, y)
    best = min(
        sum(cost[i, j].item() for i, j in enumerate(order)) / 6
        for order in itertools.permutations(range(6))
    )
    assert transport.wasserstein(x, y) == pytest.approx(best, rel=1e-9)
    plan = transport.solve(torch.full((6,), 1 / 6), torch.full((6,), 1 / 6), cost).plan
    torch.testing.assert_close(6 * plan.sort(dim=1).values[:, -1], torch.ones(6).double())


def test_sets_of_different_sizes() -> None:
    """eq:transport-primal: every point weighs one over the size of its own set."""
    _, _, x, y = case(8, 4, 6)
    twelve = transport.wasserstein(x.repeat_interleave(3, dim=0), y.repeat_interleave(2, dim=0))
    assert transport.wasserstein(x, y) == pytest.approx(twelve, rel=1e-9)
    assert transport.wasserstein(x, y) == pytest.approx(transport.wasserstein(y, x), rel=1e-9)


def test_a_set_of_hundreds_agrees_with_scipys_assignment() -> None:
    """eq:transport-primal: 150 points a side, and single precision in."""
    g = torch.Generator().manual_seed(7)
    x, y = torch.randn(150, 3, generator=g), torch.randn(150, 3, generator=g) + 0.5
    cost = cost_by_hand(x, y).numpy()
    rows, columns = scipy.optimize.linear_sum_assignment(cost)
    assert transport.wasserstein(x, y) == pytest.approx(cost[rows, columns].mean(), rel=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_prices_prove_the_plan(seed: int) -> None:
    """eq:transport-slack, eq:transport-gap: no edge earns more than it costs."""
    p, q, x, y = case(10 + seed, 9, 6)
    cost = cost_by_hand(x, y)
    plan, f, g, value = transport.solve(p, q, cost)
    slack = cost - f[:, None] - g[None, :]
    assert slack.min() > -1e-12
    assert slack[plan > 0].abs().max() < 1e-12
    assert slack.max() > 0.5
    assert float(p @ f + q @ g) == pytest.approx(value, rel=1e-12)
    assert abs(transport.gap(plan, cost, f, g)) < 1e-12


def test_the_gap_is_cost_minus_earnings() -> None:
    """eq:transport-gap: for a plan that is not the best and prices that are not, term by term."""
    p, q, x, y = case(20, 5, 4)
    cost, plan = cost_by_hand(x, y), torch.outer(p, q)
    chance = torch.Generator().manual_seed(1)
    f = 0.3 * torch.randn(5, generator=chance, dtype=torch.float64)
    g = cost.amin(dim=0) - f.max() - 0.1
    spent = sum(plan[i, j].item() * cost[i, j].item() for i in range(5) for j in range(4))
    earned = sum(p[i].item() * f[i].item() for i in range(5))
    earned += sum(q[j].item() * g[j].item() for j in range(4))
    assert transport.gap(plan, cost, f, g).item() == pytest.approx(spent - earned, rel=1e-12)
    assert spent - earned > 0.5
    assert earned < transport.solve(p, q, cost).cost < spent


def test_the_transform_is_the_highest_price() -> None:
    """eq:transport-c-transform: any higher price is forbidden somewhere."""
    _, _, x, y = case(21, 5, 7)
    cost = cost_by_hand(x, y)
    f = torch.randn(5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    g = transport.c_transform(cost, f)
    for j in range(7):
        room = [cost[i, j].item() - f[i].item() for i in range(5)]
        assert g[j].item() == pytest.approx(min(room))
        assert any(g[j].item() + 1e-6 > r for r in room)
    assert g.shape == (7,)


@pytest.mark.parametrize("seed", [30, 31])
def test_the_extension_is_a_critic_of_slope_one(seed: int) -> None:
    """eq:transport-extension, eq:transport-lipschitz: steep as one, and attains the distance."""
    p, q, x, y = case(seed, 8, 6)
    solved = transport.solve(p, q, cost_by_hand(x, y))
    at_x, at_y = (transport.extension(points, y, solved.g) for points in (x, y))
    assert float(p @ at_x - q @ at_y) == pytest.approx(solved.cost, rel=1e-9)
    chance = torch.Generator().manual_seed(3)
    places = 3 * torch.randn(60, 2, generator=chance, dtype=torch.float64)
    values = transport.extension(places, y, solved.g)
    by_hand = [
        min(
            math.dist(a, b) - price for b, price in zip(y.tolist(), solved.g.tolist(), strict=True)
        )
        for a in places.tolist()
    ]
    torch.testing.assert_close(values, torch.tensor(by_hand).double())
    slopes = torch.pdist(values[:, None]) / torch.pdist(places)
    assert 0.9 < slopes.max() <= 1 + 1e-9


def test_no_critic_of_slope_one_says_more() -> None:
    """eq:transport-lipschitz: 200 others, distances from random points, say less."""
    p, q, x, y = case(32, 8, 6)
    exact = transport.solve(p, q, cost_by_hand(x, y)).cost
    chance = torch.Generator().manual_seed(4)
    others = 3 * torch.randn(200, 2, generator=chance, dtype=torch.float64)
    said = p @ cost_by_hand(x, others) - q @ cost_by_hand(y, others)
    assert 0.3 * exact < said.abs().max() < exact


def test_a_shift_of_everything_costs_its_length() -> None:
    """eq:transport-shift: also where the cheapest plan is another than each point's own way."""
    _, _, x, _ = case(33, 30, 1)
    for shift in ([0.4, -0.3], [3.0, 4.0]):
        moved = x + torch.tensor(shift, dtype=torch.float64)
        assert transport.wasserstein(x, moved) == pytest.approx(math.hypot(*shift), rel=1e-9)


def test_parallel_lines() -> None:
    """eq:wgan-lines: the distance of two parallel lines is their distance, however far."""
    height = torch.linspace(0, 1, 20, dtype=torch.float64)
    for theta in (-1.3, -0.2, 0.0, 0.05, 0.7):
        lines = [
            torch.stack([torch.full((20,), at, dtype=torch.float64), height], dim=1)
            for at in (0.0, theta)
        ]
        assert transport.wasserstein(*lines) == pytest.approx(abs(theta), abs=1e-12)


def test_on_a_line_it_is_the_area_between_staircases() -> None:
    """eq:transport-line: scipy's own distance, the linear program, and quadrature of |F - G|."""
    p, q, x, y = case(40, 7, 11, dims=1)
    x, y = x[:, 0], y[:, 0]
    found = transport.line_distance(x, y, 3 * p, q).item()  # masses need not sum to one
    assert found == pytest.approx(scipy.stats.wasserstein_distance(x, y, p, q), rel=1e-12)
    assert found == pytest.approx(transport.solve(p, q, (x[:, None] - y).abs()).cost, rel=1e-9)

    def area(t: Tensor) -> Tensor:
        below = [((place <= t[:, None]) * mass).sum(dim=1) for place, mass in ((x, p), (y, q))]
        return (below[0] - below[1]).abs()

    assert found == pytest.approx(oracles.integrate(area, -6, 8, 400_001).item(), rel=1e-4)
    same = transport.line_distance(x, y[:7]).item()
    by_order = (x.sort().values - y[:7].sort().values).abs().mean().item()
    assert same == pytest.approx(by_order, rel=1e-12)
    assert same != pytest.approx(found, rel=1e-2)
    unequal = scipy.stats.wasserstein_distance(x, y)
    assert transport.line_distance(x, y).item() == pytest.approx(unequal, rel=1e-12)


@pytest.mark.parametrize(
    ("mean", "std", "other_mean", "other_std"),
    [(0.0, 1.0, 0.7, 1.6), (1.0, 2.0, -0.5, 0.3), (2.0, 0.5, 2.0, 1.5), (0.0, 1.0, 3.0, 1.0)],
)
def test_gaussians_on_a_line(mean: float, std: float, other_mean: float, other_std: float) -> None:
    """eq:transport-gauss: the area between two normal distribution functions, by quadrature."""
    one, other = Normal(mean, std), Normal(other_mean, other_std)
    expected = oracles.integrate(lambda t: (one.cdf(t) - other.cdf(t)).abs(), -25, 25, 100_001)
    found = transport.gaussian_line_distance(mean, std, other_mean, other_std)
    assert found == pytest.approx(expected.item(), rel=1e-5)
    folded = scipy.stats.norm.expect(
        lambda e: abs(mean - other_mean + (std - other_std) * e), points=None
    )
    assert found == pytest.approx(folded, rel=1e-4)
    swapped = transport.gaussian_line_distance(other_mean, other_std, mean, std)
    assert found == pytest.approx(swapped)


def test_a_zero_mass_and_single_points() -> None:
    """A place without mass sends nothing; two single points are their distance apart."""
    p, q = torch.tensor([0.0, 1.0]), torch.tensor([0.25, 0.75])
    cost = torch.tensor([[1.0, 2.0], [4.0, 3.0]])
    found = transport.solve(p, q, cost)
    assert found.cost == pytest.approx(0.25 * 4 + 0.75 * 3)
    assert found.plan[0].sum() == 0
    one, other = torch.tensor([[1.0, 2.0]]), torch.tensor([[4.0, 6.0]])
    assert transport.wasserstein(one, other) == pytest.approx(5)
    assert transport.wasserstein(one, one) == 0


def test_bad_input_is_named() -> None:
    """Negative masses, masses that are no distribution, wrong shapes, empty sets."""
    half, cost = torch.full((2,), 0.5), torch.ones(2, 2)
    with pytest.raises(ValueError, match="q must be masses that sum to 1, got a sum of 2"):
        transport.solve(half, 2 * torch.ones(2) / 2, cost)
    with pytest.raises(ValueError, match="p must be masses"):
        transport.solve(torch.tensor([1.5, -0.5]), half, cost)
    with pytest.raises(ValueError, match="3 sources and 2 targets, but costs"):
        transport.solve(torch.ones(3) / 3, half, cost)
    with pytest.raises(ValueError, match="0 and 2 points"):
        transport.wasserstein(torch.zeros(0, 2), torch.zeros(2, 2))
    with pytest.raises(ValueError, match="0 places"):
        transport.line_distance(torch.zeros(0), torch.zeros(2))
    with pytest.raises(ValueError, match="2 places with 3 masses"):
        transport.line_distance(torch.zeros(2), torch.zeros(2), p=torch.ones(3))


def test_solving_changes_nothing_that_it_is_given() -> None:
    """Masses and costs in double precision are not worked on in place."""
    p, q, x, y = case(50, 4, 4)
    cost = cost_by_hand(x, y)
    before = [t.clone() for t in (p, q, cost)]
    transport.solve(p, q, cost)
    for now, then in zip((p, q, cost), before, strict=True):
        assert np.array_equal(now.numpy(), then.numpy())
