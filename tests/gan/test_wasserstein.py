"""Proof for litgen/gan/wasserstein.py: hand sums, exact transport, singular values, extremes."""

import itertools
import math

import pytest
import scipy.optimize
import torch
from torch import Tensor, nn

from litgen.blocks import MLP
from litgen.gan import transport, wasserstein
from tests import oracles


def test_the_losses_are_means() -> None:
    """eq:wgan-critic, eq:wgan-generator: written out, for batches of different sizes."""
    real, fake = torch.tensor([1.0, 2.5, -0.7]).double(), torch.tensor([0.3, -1.1]).double()
    expected = (0.3 - 1.1) / 2 - (1.0 + 2.5 - 0.7) / 3
    assert wasserstein.critic_loss(real, fake).item() == pytest.approx(expected)
    torch.testing.assert_close(
        wasserstein.generator_loss(fake), torch.tensor([-0.3, 1.1]).double()
    )
    with pytest.raises(ValueError, match="3 real and 0 fake"):
        wasserstein.critic_loss(real, fake[:0])
    with pytest.raises(ValueError, match="0 real and 2 fake"):
        wasserstein.critic_loss(real[:0], fake)


def two_sets() -> tuple[Tensor, Tensor, Tensor]:
    """Return data, a linear generator's codes, and its matrix."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(12, 2, generator=g, dtype=torch.float64)
    z = torch.randn(12, 2, generator=g, dtype=torch.float64)
    return x, z, 0.5 * torch.randn(2, 2, generator=g, dtype=torch.float64)


def test_the_best_critics_loss_is_minus_the_distance() -> None:
    """eq:wgan-critic: with the exact critic of two sets, against permutations' best by scipy."""
    x, z, weight = two_sets()
    y = z @ weight.T
    solved = transport.solve(*2 * [torch.full((12,), 1 / 12)], transport.distances(x, y))
    at_x, at_y = (transport.extension(points, y, solved.g) for points in (x, y))
    cost = torch.cdist(x, y).numpy()
    value, _ = oracles.transport_program(*2 * [torch.full((12,), 1 / 12).numpy()], cost)
    assert -wasserstein.critic_loss(at_x, at_y).item() == pytest.approx(value, rel=1e-6)


def inner_prices(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return best prices with the most room on unused edges, so that the critic has no kinks."""
    n, cost = len(x), torch.cdist(x, y).numpy()
    rows, columns = scipy.optimize.linear_sum_assignment(cost)
    used = set(zip(rows.tolist(), columns.tolist(), strict=True))
    tight, loose = [], []
    for i, j in itertools.product(range(n), range(n)):
        ends = [float(k in (i, n + j)) for k in range(2 * n)]
        (tight if (i, j) in used else loose).append(([*ends, (i, j) not in used], cost[i, j]))
    found = scipy.optimize.linprog(
        [0.0] * 2 * n + [-1.0],
        A_ub=[row for row, _ in loose],
        b_ub=[limit for _, limit in loose],
        A_eq=[row for row, _ in tight],
        b_eq=[limit for _, limit in tight],
        bounds=(None, None),
    )
    assert found.x[-1] > 1e-4
    prices = torch.from_numpy(found.x)
    return prices[:n], prices[n : 2 * n]


def test_the_generators_gradient_is_the_distances() -> None:
    """eq:wgan-gradient: through a frozen best critic, against differences of linear programs."""
    x, z, weight = two_sets()

    def distance(w: Tensor) -> float:
        even = torch.full((12,), 1 / 12).numpy()
        return oracles.transport_program(even, even, torch.cdist(x, z @ w.T).numpy())[0]

    weight.requires_grad_()
    y = z @ weight.T
    f, g = inner_prices(x, y.detach())

    def critic(at: Tensor) -> Tensor:
        # the lowest function of slope one with the values f at the data
        return (f - torch.cdist(at, x)).amax(dim=1)

    assert critic(y).mean().item() == pytest.approx(-float(g.mean()), rel=1e-9)
    (found,) = torch.autograd.grad(wasserstein.generator_loss(critic(y)).mean(), weight)
    expected = torch.zeros(2, 2).double()
    for place in ((0, 0), (0, 1), (1, 0), (1, 1)):
        step = torch.zeros(2, 2).double()
        step[place] = 1e-6
        now = weight.detach()
        expected[place] = (distance(now + step) - distance(now - step)) / 2e-6
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert expected.abs().min() > 1e-3


def test_clipping_cuts_every_parameter() -> None:
    """eq:wgan-clip: weights and biases, both signs; what lies inside stays as it is."""
    torch.manual_seed(0)
    net = MLP([2, 6, 1]).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(3)
    before = [p.detach().clone() for p in net.parameters()]
    wasserstein.clip_weights(net, 0.5)
    for now, then in zip(net.parameters(), before, strict=True):
        by_hand = [max(-0.5, min(0.5, v)) for v in then.flatten().tolist()]
        assert now.detach().flatten().tolist() == by_hand
    assert any((b < -0.5).any() for b in before)
    assert any((b > 0.5).any() for b in before)
    for limit in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="limit must be positive"):
            wasserstein.clip_weights(net, limit)


def steepest(net: nn.Module, dims: int, reach: float = 2.0) -> float:
    """Return the largest gradient norm of a network at 2,000 random places."""
    g = torch.Generator().manual_seed(1)
    x = reach * torch.randn(2_000, dims, generator=g, dtype=torch.float64)
    x.requires_grad_()
    (slope,) = torch.autograd.grad(net(x).sum(), x)
    return float(slope.norm(dim=1).max())


def test_no_clipped_network_is_steeper_than_its_bound() -> None:
    """eq:wgan-clip-slope: attained where all weights are at the limit, missed by random ones."""
    sizes, limit = [3, 8, 5, 1], 0.4
    bound = wasserstein.clipped_slope(sizes, limit)
    assert bound == pytest.approx(0.4**3 * math.sqrt(3 * 8) * math.sqrt(8 * 5) * math.sqrt(5))
    net = MLP(sizes).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(limit)
    assert steepest(net, 3) == pytest.approx(bound)
    torch.manual_seed(2)
    other = MLP(sizes).double()
    wasserstein.clip_weights(other, limit)
    assert 0 < steepest(other, 3) < bound


def test_the_product_of_norms_bounds_the_slope() -> None:
    """eq:wgan-slope: largest singular values by scipy's norm; a linear network attains it."""
    torch.manual_seed(3)
    net = MLP([2, 7, 6, 1]).double()
    product = 1.0
    for layer in (net[0], net[2], net[4]):
        values = torch.linalg.eigvalsh(layer.weight @ layer.weight.T)
        product *= math.sqrt(values.max().item())
    assert wasserstein.slope_bound(net) == pytest.approx(product)
    assert 0 < steepest(net, 2) < product
    one = nn.Linear(4, 1).double()
    assert wasserstein.slope_bound(one) == pytest.approx(steepest(one, 4))


def test_sorting_pairs() -> None:
    """eq:wgan-sort: neighbours (smaller, larger), pair by pair; the Jacobian is a permutation."""
    x = torch.tensor([[3.0, 1.0, -2.0, 5.0], [0.5, 0.7, 4.0, -4.0]]).double()
    expected = torch.tensor([[1.0, 3.0, -2.0, 5.0], [0.5, 0.7, -4.0, 4.0]]).double()
    torch.testing.assert_close(wasserstein.PairSort()(x), expected)
    jacobian = torch.autograd.functional.jacobian(wasserstein.PairSort(), x[1])
    torch.testing.assert_close(jacobian @ jacobian.T, torch.eye(4).double())
    assert set(jacobian.flatten().tolist()) == {0.0, 1.0}
    with pytest.raises(ValueError, match="even number of features, got 3"):
        wasserstein.PairSort()(torch.zeros(2, 3))


@pytest.mark.parametrize("sizes", [[2, 8, 8, 1], [5, 4, 6, 1], [1, 2, 1]])
def test_a_sorting_critic_has_slope_one(sizes: list[int]) -> None:
    """eq:wgan-slope: norm one in every layer, before and after training; gradients of norm one."""
    torch.manual_seed(4)
    net = wasserstein.sorting_critic(sizes).double()
    assert wasserstein.slope_bound(net) == pytest.approx(1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    x = torch.randn(64, sizes[0], generator=torch.Generator().manual_seed(5)).double()
    for _ in range(5):
        optimizer.zero_grad()
        (net(x) - x[:, :1]).square().mean().backward()
        optimizer.step()
    assert wasserstein.slope_bound(net) == pytest.approx(1, rel=1e-6)
    assert steepest(net, sizes[0]) <= 1 + 1e-6
    if sizes == [2, 8, 8, 1]:  # wide enough to lose nothing on the way: never flat
        assert sum(isinstance(layer, wasserstein.PairSort) for layer in net) == 2
        assert steepest(net, 2) > 0.5
    assert isinstance(net[-1], nn.Linear)


def test_sorting_reaches_the_distance() -> None:
    """eq:wgan-critic: within 5 % of the exact distance of two Gaussians on a line, from below."""
    torch.manual_seed(6)
    g = torch.Generator().manual_seed(6)
    net = wasserstein.sorting_critic([1, 16, 16, 1])
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(250):
        real, fake = torch.randn(256, 1, generator=g), 0.5 + 2 * torch.randn(256, 1, generator=g)
        loss = wasserstein.critic_loss(net(real), net(fake))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    grid = (torch.arange(40_000) + 0.5) / 40_000
    quantile = math.sqrt(2) * torch.erfinv(2 * grid - 1)[:, None]
    with torch.no_grad():
        said = -wasserstein.critic_loss(net(quantile), net(0.5 + 2 * quantile)).item()
    exact = transport.gaussian_line_distance(0.0, 1.0, 0.5, 2.0)
    assert 0.95 * exact < said < exact * 1.001
