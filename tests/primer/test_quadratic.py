"""Proof for litgen/primer/quadratic.py; the chapter is book/primer/optimisation.md.

The judges are eigenvalues of the matrices that the updates are, searches over hyper-parameters,
runs of torch.optim, and the fixed point of the variance.
"""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from litgen.primer import quadratic
from tests import oracles

Draw = Callable[..., Tensor]
CURVATURE = torch.tensor([0.2, 1.0, 3.7, 9.0]).double()


def measured_rate(
    learning_rate: float, momentum: float, curvature: float, nesterov: bool
) -> float:
    """Return the factor per step of torch's SGD on curvature x^2 / 2, over many steps."""
    x = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
    sgd = torch.optim.SGD([x], learning_rate, momentum=momentum, nesterov=nesterov)
    sizes = []
    for _ in range(400):
        sgd.zero_grad()
        (0.5 * curvature * x.square()).sum().backward()
        before = x.detach().clone()
        sgd.step()
        sizes.append(torch.cat([x.detach(), before]).norm().item())
    return (max(sizes[390:]) / max(sizes[190:200])) ** (1 / 200)


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.2, 0.25])
def test_descent_rate_is_the_factor(rate: float) -> None:
    """eq:opt-contraction: one step of torch's SGD, above 2 / curvature a growing one."""
    found = quadratic.descent_rate(rate, CURVATURE)
    x = torch.ones(4).double().requires_grad_()
    sgd = torch.optim.SGD([x], rate)
    (0.5 * CURVATURE * x.square()).sum().backward()
    sgd.step()
    torch.testing.assert_close(found, x.detach().abs())
    assert torch.equal(found > 1, 2 / rate < CURVATURE)


@pytest.mark.parametrize(("smallest", "largest"), [(0.5, 20.0), (1.0, 1.5), (2.0, 2.0)])
def test_best_descent_is_the_best(smallest: float, largest: float) -> None:
    """eq:opt-best-descent: its rate is reached, and no rate of a fine grid is better."""
    best = quadratic.best_descent(smallest, largest)
    ends = torch.tensor([smallest, largest]).double()

    def worst(learning_rate: float) -> float:
        return quadratic.descent_rate(learning_rate, ends).max().item()

    assert best.momentum == 0
    assert worst(best.learning_rate) == pytest.approx(best.rate, abs=1e-12)
    kappa = largest / smallest
    assert best.rate == pytest.approx((kappa - 1) / (kappa + 1))
    for factor in np.linspace(0.5, 1.5, 101):
        assert worst(factor * best.learning_rate) >= best.rate - 1e-12


@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("rate", [0.02, 0.15, 0.3])
def test_momentum_rates_are_spectral_radii(rate: float, momentum: float) -> None:
    """eq:opt-heavy-ball-roots and eq:opt-nesterov-roots: eigenvalues of a step's matrix."""
    for ours, nesterov in ((quadratic.heavy_ball_rate, False), (quadratic.nesterov_rate, True)):
        found = ours(rate, momentum, CURVATURE)
        radii = [oracles.momentum_radius(rate, momentum, c, nesterov) for c in CURVATURE.tolist()]
        torch.testing.assert_close(found, torch.tensor(radii).double(), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_rates_are_what_torch_does(nesterov: bool) -> None:
    """eq:opt-heavy-ball-roots and eq:opt-nesterov-roots, over 200 steps of torch's SGD."""
    ours = quadratic.nesterov_rate if nesterov else quadratic.heavy_ball_rate
    for rate, momentum in itertools.product((0.02, 0.1), (0.5, 0.9)):
        for curvature in (1.0, 3.7):
            found = ours(rate, momentum, torch.tensor([curvature]).double()).item()
            measured = measured_rate(rate, momentum, curvature, nesterov)
            assert found == pytest.approx(measured, abs=5e-3)


@pytest.mark.parametrize(("smallest", "largest"), [(0.5, 20.0), (1.0, 1.5)])
def test_polyaks_choice_is_the_best(smallest: float, largest: float) -> None:
    """eq:opt-best-heavy-ball: all curvatures have its rate, and no choice is better."""
    best = quadratic.best_heavy_ball(smallest, largest)
    kappa = largest / smallest
    assert best.rate == pytest.approx((kappa**0.5 - 1) / (kappa**0.5 + 1))
    inside = torch.linspace(smallest, largest, 50).double()
    rates = quadratic.heavy_ball_rate(best.learning_rate, best.momentum, inside)
    torch.testing.assert_close(rates, torch.full_like(rates, best.rate), rtol=1e-5, atol=1e-6)
    for rate, momentum in itertools.product(np.linspace(0.5, 1.5, 21), np.linspace(0, 0.98, 50)):
        others = quadratic.heavy_ball_rate(rate * best.learning_rate, momentum, inside)
        assert others.max() >= best.rate - 1e-6


def test_momentum_0_is_descent() -> None:
    """eq:opt-heavy-ball-roots and eq:opt-nesterov-roots without momentum: eq:opt-contraction."""
    expected = quadratic.descent_rate(0.15, CURVATURE)
    torch.testing.assert_close(quadratic.heavy_ball_rate(0.15, 0.0, CURVATURE), expected)
    torch.testing.assert_close(quadratic.nesterov_rate(0.15, 0.0, CURVATURE), expected)


def test_the_floor_is_the_fixed_point() -> None:
    """eq:opt-floor: a step maps the variance to itself, and so does iterating from elsewhere."""
    found = quadratic.stationary_variance(0.15, CURVATURE, noise_var=2.5)
    variance = torch.ones(4).double()
    for _ in range(3000):
        variance = (1 - 0.15 * CURVATURE) ** 2 * variance + 0.15**2 * 2.5
    assert found.std() > 0.05
    torch.testing.assert_close(found, variance)


def test_the_floor_is_what_sgd_does(generator: torch.Generator) -> None:
    """eq:opt-floor: the variance of 4,000 walks by eq:opt-sgd, taken by torch's SGD."""
    x = torch.zeros(4000, 4).double().requires_grad_()
    sgd = torch.optim.SGD([x], 0.15)
    for _ in range(150):
        noise = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        x.grad = CURVATURE * x.detach() + 2.5**0.5 * noise
        sgd.step()
    found = quadratic.stationary_variance(0.15, CURVATURE, noise_var=2.5)
    torch.testing.assert_close(x.detach().var(dim=0), found, rtol=0.1, atol=0)


def test_what_has_no_answer_is_refused() -> None:
    """Rates and curvatures that are not positive, ranges the wrong way round, divergence."""
    one = torch.ones(1).double()
    for call in (
        lambda: quadratic.descent_rate(0.0, one),
        lambda: quadratic.heavy_ball_rate(-1.0, 0.5, one),
        lambda: quadratic.nesterov_rate(float("nan"), 0.5, one),
    ):
        with pytest.raises(ValueError, match="learning rate must be positive"):
            call()
    for call in (
        lambda: quadratic.descent_rate(0.1, -one),
        lambda: quadratic.heavy_ball_rate(0.1, 0.5, 0 * one),
    ):
        with pytest.raises(ValueError, match="curvatures must be positive"):
            call()
    for best in (quadratic.best_descent, quadratic.best_heavy_ball):
        for smallest, largest in ((2.0, 1.0), (0.0, 1.0), (float("nan"), 1.0)):
            with pytest.raises(ValueError, match="0 < smallest <= largest"):
                best(smallest, largest)
    with pytest.raises(ValueError, match=r"with learning rate 2\.0 SGD diverges"):
        quadratic.stationary_variance(2.0, one, 1.0)
    with pytest.raises(ValueError, match="a variance cannot be -1"):
        quadratic.stationary_variance(0.1, one, -1.0)
