"""Solutions of the exercises of book/gan/wasserstein.md, and what proves them."""

import math

import pytest
import scipy.stats
import torch
from torch import Tensor

from litgen.gan import transport
from tests import oracles


def uniform_distances(theta: float) -> tuple[float, float]:
    """Return W_1 and JS, in nats, of uniforms on [0, 1] and [theta, 1 + theta], theta >= 0."""
    return theta, min(theta, 1.0) * math.log(2)


@pytest.mark.parametrize("theta", [0.1, 0.6, 1.0, 1.7])
def test_two_intervals(theta: float) -> None:
    """Quadrature of |F - G|, and of both divergences from the middle."""

    def density(t: Tensor, start: float) -> Tensor:
        return ((t >= start) & (t < start + 1)).double()

    def area(t: Tensor) -> Tensor:
        return (t.clamp(0, 1) - (t - theta).clamp(0, 1)).abs()

    def information(t: Tensor) -> Tensor:
        p, q = density(t, 0.0), density(t, theta)
        return sum(0.5 * torch.xlogy(a, 2 * a / (p + q).clamp(min=1e-9)) for a in (p, q))

    distance, divergence = uniform_distances(theta)
    assert oracles.integrate(area, -1, 4).item() == pytest.approx(distance, rel=1e-3)
    found = oracles.integrate(information, -1, 4, 200_001).item()
    assert found == pytest.approx(divergence, rel=1e-3)


def three_numbers(x: Tensor, p: Tensor, q: Tensor) -> tuple[float, float, float]:
    """Return the means' distance, W_1, and diameter times total variation, in this order."""
    means = (p @ x - q @ x).norm().item()
    exact = transport.solve(p, q, transport.distances(x, x)).cost
    return means, exact, (torch.pdist(x).max() * (p - q).abs().sum() / 2).item()


def test_the_three_numbers_are_in_order() -> None:
    """On twenty random tables; all three are equal for two places."""
    g = torch.Generator().manual_seed(0)
    for _ in range(20):
        x = torch.randn(6, 2, generator=g).double()
        p, q = torch.rand(2, 6, generator=g).double().softmax(dim=1)
        means, exact, variation = three_numbers(x, p, q)
        assert 0 < means < exact < variation
        shared = torch.minimum(p, q)
        assert variation == pytest.approx((torch.pdist(x).max() * (1 - shared.sum())).item())
    two = torch.tensor([[0.0, 0.0], [3.0, 4.0]]).double()
    p, q = torch.tensor([0.2, 0.8]).double(), torch.tensor([0.7, 0.3]).double()
    assert three_numbers(two, p, q) == pytest.approx((2.5, 2.5, 2.5))


def coin_bias(tosses: int) -> float:
    """Return the mean W_1 between two samples of so many tosses of a fair coin, summed exactly."""
    chance = [math.comb(tosses, k) / 2**tosses for k in range(tosses + 1)]
    pairs = [(k, m) for k in range(tosses + 1) for m in range(tosses + 1)]
    return sum(chance[k] * chance[m] * abs(k - m) for k, m in pairs) / tosses


def test_samples_err_upwards() -> None:
    """Against samples of coins by scipy's distance, and against the rate for many tosses."""
    g = torch.Generator().manual_seed(1)
    coins = torch.randint(2, (400, 2, 10), generator=g).double().numpy()
    drawn = [scipy.stats.wasserstein_distance(a, b) for a, b in coins]
    assert coin_bias(10) == pytest.approx(sum(drawn) / 400, rel=0.1)
    assert coin_bias(1) == 0.5
    assert coin_bias(200) == pytest.approx(1 / math.sqrt(200 * math.pi), rel=0.01)


def sinkhorn(p: Tensor, q: Tensor, cost: Tensor, blur: float, turns: int = 2_000) -> Tensor:
    """Return the plan of least cost minus blur times entropy, by turns on the two price lists."""
    f, g = torch.zeros_like(p), torch.zeros_like(q)
    for _ in range(turns):
        g = blur * (q.log() - ((f[:, None] - cost) / blur).logsumexp(dim=0))
        f = blur * (p.log() - ((g[None, :] - cost) / blur).logsumexp(dim=1))
    return ((f[:, None] + g[None, :] - cost) / blur).exp()


def test_the_blurred_plan_approaches_the_best() -> None:
    """Margins hold, the cost falls to the linear program's from above; much blur: independence."""
    g = torch.Generator().manual_seed(2)
    p, q = torch.rand(2, 5, generator=g).double().softmax(dim=1)
    x, y = torch.randn(2, 5, 2, generator=g).double()
    cost = torch.cdist(x, y)
    exact, _ = oracles.transport_program(p.numpy(), q.numpy(), cost.numpy())
    excess = []
    for blur in (0.5, 0.1, 0.02):
        plan = sinkhorn(p, q, cost, blur)
        torch.testing.assert_close(plan.sum(dim=0), q, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(plan.sum(dim=1), p)
        excess.append((plan * cost).sum().item() - exact)
    assert excess[0] > excess[1] > excess[2] > -1e-4
    assert excess[2] < 0.01 * exact < excess[0]
    torch.testing.assert_close(sinkhorn(p, q, cost, 1e5), torch.outer(p, q), rtol=1e-3, atol=0)
