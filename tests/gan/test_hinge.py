"""Proof for litgen/gan/hinge.py: linear programming, quadrature, and critics by the thousand."""

import math

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import torch
from torch import Tensor

from litgen.gan import hinge
from tests import oracles

P = torch.tensor([0.4, 0.1, 0.3, 0.2], dtype=torch.float64)
Q = torch.tensor([0.1, 0.35, 0.3, 0.25], dtype=torch.float64)


def loss_by_sums(f: Tensor, p: Tensor = P, q: Tensor = Q) -> float:
    """Return the hinge loss of a critic on a finite support, term by term."""
    parts = zip(f.tolist(), p.tolist(), q.tolist(), strict=True)
    return sum(a * max(0.0, 1 - v) + b * max(0.0, 1 + v) for v, a, b in parts)


def test_the_losses_by_hand() -> None:
    """eq:big-hinge, eq:big-hinge-generator: numbers on both sides of both hinges."""
    real, fake = torch.tensor([-2.0, 0.5, 3.0]), torch.tensor([-3.0, -0.5, 0.0, 4.0])
    expected = (3 + 0.5 + 0) / 3 + (0 + 0.5 + 1 + 5) / 4
    assert hinge.critic_loss(real, fake).item() == pytest.approx(expected)
    assert hinge.critic_loss(fake, real).item() != pytest.approx(expected)
    assert hinge.generator_loss(fake).tolist() == [3.0, 0.5, 0.0, -4.0]
    assert hinge.critic_loss(torch.zeros(3), torch.zeros(5)).item() == 2


def test_a_datum_beyond_its_margin_has_no_pull() -> None:
    """eq:big-hinge: slopes -1/n and 1/m inside the margins, exactly 0 outside."""
    real = torch.tensor([-2.0, 0.5, 3.0], requires_grad=True)
    fake = torch.tensor([-3.0, -0.5, 4.0, 0.2], requires_grad=True)
    slopes = torch.autograd.grad(hinge.critic_loss(real, fake), [real, fake])
    torch.testing.assert_close(slopes[0], torch.tensor([-1.0, -1.0, 0.0]) / 3)
    torch.testing.assert_close(slopes[1], torch.tensor([0.0, 1.0, 1.0, 1.0]) / 4)


def test_linear_programming_finds_no_better_critic() -> None:
    """eq:big-best, eq:big-hinge-best: the program with slack variables ends at 2 (1 - TV)."""
    p, q = P.numpy(), Q.numpy()
    n = len(p)  # unknowns: f, then slacks of data, then slacks of samples
    cost = np.concatenate([np.zeros(n), p, q])
    unit, zero = np.eye(n), np.zeros((n, n))
    matrix = np.block([[-unit, -unit, zero], [unit, zero, -unit]])
    bounds = [(None, None)] * n + [(0, None)] * (2 * n)
    found = scipy.optimize.linprog(cost, matrix, -np.ones(2 * n), bounds=bounds)
    best = hinge.best_critic(P, Q)
    assert best.tolist() == [1, -1, 0, -1]
    assert loss_by_sums(best) == pytest.approx(found.fun)
    assert found.fun == pytest.approx(2 * (1 - hinge.total_variation(P, Q).item()))
    differs = P != Q
    np.testing.assert_allclose(found.x[:n][differs.numpy()], best[differs], atol=1e-9)


def test_no_critic_of_many_undercuts_it() -> None:
    """eq:big-hinge-best: random critics on random pairs of laws."""
    draw = torch.Generator().manual_seed(0)
    for _ in range(50):
        p, q = torch.rand(2, 5, generator=draw, dtype=torch.float64)
        p, q = p / p.sum(), q / q.sum()
        best = loss_by_sums(hinge.best_critic(p, q), p, q)
        assert best == pytest.approx(2 - (p - q).abs().sum().item())
        others = 1.5 * torch.randn(40, 5, generator=draw, dtype=torch.float64)
        assert min(loss_by_sums(f, p, q) for f in others) >= best - 1e-12


def test_what_the_generator_hears_from_the_best_critic() -> None:
    """eq:big-hinge-fooling: E_p f - E_q f = 2 TV, so -E_q f = 2 TV - E_p f."""
    best = hinge.best_critic(P, Q)
    variation = hinge.total_variation(P, Q).item()
    gain = ((P - Q) * best).sum().item()
    assert gain == pytest.approx(2 * variation)
    fooling = (Q * hinge.generator_loss(best)).sum().item()
    assert fooling == pytest.approx(2 * variation - (P * best).sum().item())
    assert fooling > 0.1


def test_total_variation_is_the_largest_difference_of_an_events_probability() -> None:
    """eq:big-variation: over all 16 events; symmetric, 0 for equal laws, 1 for disjoint ones."""
    events = oracles.all_binary(4).double()
    expected = (events @ (P - Q)).abs().max()
    torch.testing.assert_close(hinge.total_variation(P, Q), expected)
    torch.testing.assert_close(hinge.total_variation(Q, P), expected)
    assert hinge.total_variation(P, P) == 0
    apart = torch.eye(2, dtype=torch.float64)
    assert hinge.total_variation(apart[0], apart[1]) == 1
    both = hinge.total_variation(torch.stack([P, Q]), torch.stack([Q, Q]))
    torch.testing.assert_close(both, torch.stack([expected, torch.zeros_like(expected)]))


@pytest.mark.parametrize(("distance", "std"), [(0.5, 1.0), (2.0, 0.7), (-3.0, 2.0), (0.0, 1.0)])
def test_two_gaussians_by_quadrature(distance: float, std: float) -> None:
    """eq:big-gaussian-variation: half the integral of |p - q|, and the normal law's tables."""
    p, q = (torch.distributions.Normal(torch.tensor(m).double(), std) for m in (0.0, distance))
    integral = oracles.integrate(
        lambda x: (p.log_prob(x).exp() - q.log_prob(x).exp()).abs() / 2, -25, 25, 40_001
    )
    found = hinge.gaussian_variation(distance, std)
    assert found == pytest.approx(integral.item(), abs=1e-5)
    assert found == pytest.approx(2 * scipy.stats.norm.cdf(abs(distance) / (2 * std)) - 1)


def test_laws_and_batches_that_cannot_be_compared_are_refused() -> None:
    """The errors name what is wrong."""
    with pytest.raises(ValueError, match="0 real and 3 fake values"):
        hinge.critic_loss(torch.zeros(0), torch.zeros(3))
    with pytest.raises(ValueError, match="2 real and 0 fake values"):
        hinge.critic_loss(torch.zeros(2), torch.zeros(0))
    with pytest.raises(ValueError, match="over the same points, got 4, 3"):
        hinge.total_variation(P, Q[:3])
    with pytest.raises(ValueError, match="q is no distribution: sum off by 1"):
        hinge.total_variation(P, 2 * Q)
    with pytest.raises(ValueError, match="p is no distribution"):
        hinge.total_variation(torch.tensor([1.5, -0.5]), torch.tensor([0.5, 0.5]))
    with pytest.raises(ValueError, match=r"std must be positive, got 0\.0"):
        hinge.gaussian_variation(1.0, 0.0)
    assert math.isclose(hinge.gaussian_variation(1e9, 1.0), 1.0)
