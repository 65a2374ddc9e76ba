"""Proof for litgen/diffusion/score_matching.py: Gaussians and mixtures, by quadrature."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from litgen.diffusion import score_matching
from tests import oracles

MEAN = torch.tensor([0.6, -0.4], dtype=torch.float64)
SD = torch.tensor([0.8, 0.5], dtype=torch.float64)
NODES, WEIGHTS = oracles.normal_nodes(2, 24)


def known_score(x: Tensor, sd: Tensor = SD) -> Tensor:
    """Return the gradient of the Gaussian's log-density."""
    return (MEAN - x) / sd**2


def models() -> list[score_matching.Score]:
    """Return scores that are wrong in different ways, none of them the gradient of a Gaussian."""
    turn = torch.tensor([[0.3, -1.1], [0.7, 0.2]], dtype=torch.float64)
    return [
        lambda x: torch.tanh(x @ turn),
        lambda x: -1.3 * x + 0.2,
        lambda x: torch.sin(2 * x @ turn) - x,
    ]


def average(values: Tensor) -> float:
    """Return the mean over the nodes of a standard normal."""
    return float(WEIGHTS @ values)


def test_explicit_is_half_a_squared_distance() -> None:
    """eq:score-explicit: by hand, for each example."""
    a, b = torch.tensor([[1.0, 2.0], [0.0, 1.0]]), torch.tensor([[0.0, 4.0], [3.0, 1.0]])
    torch.testing.assert_close(score_matching.explicit(a, b), torch.tensor([2.5, 4.5]))


def test_implicit_differs_from_explicit_by_a_constant() -> None:
    """eq:score-implicit: E explicit - E implicit is E|grad log p|^2 / 2, whatever the model."""
    x = MEAN + SD * NODES
    constant = float((1 / SD**2).sum() / 2)
    seen = []
    for model in models():
        explicit = average(score_matching.explicit(model(x), known_score(x)))
        implicit = average(score_matching.implicit(model, x).detach())
        assert explicit - implicit == pytest.approx(constant, rel=1e-6)
        seen.append(explicit)
    assert max(seen) > 1.5 * min(seen)
    at_truth = average(score_matching.implicit(known_score, x).detach())
    assert at_truth == pytest.approx(-constant)


@pytest.mark.parametrize("scale", [0.2, 1.0])
def test_denoising_differs_from_explicit_on_blurred_data_by_a_constant(scale: float) -> None:
    """eq:score-denoising, eq:score-vincent: the constant is known, and the same for all models."""
    nodes, weights = oracles.normal_nodes(4, 14)  # data and noise
    x, noise = MEAN + SD * nodes[:, :2], nodes[:, 2:]
    blurred_sd = (SD**2 + scale**2).sqrt()
    blurred = x + scale * noise
    constant = 2 / (2 * scale**2) - float((1 / blurred_sd**2).sum() / 2)
    seen = []
    for model in models():
        denoising = float(weights @ score_matching.denoising(model, x, noise, scale))
        known = known_score(blurred, blurred_sd)
        explicit = float(weights @ score_matching.explicit(model(blurred), known))
        assert denoising - explicit == pytest.approx(constant, rel=1e-4)
        seen.append(explicit)
    assert max(seen) > 1.3 * min(seen)


def test_the_divergence_is_the_trace() -> None:
    """eq:score-implicit: against the full Jacobian; it can be trained through."""
    weight = torch.tensor([[0.3, -1.1], [0.7, 0.2]], dtype=torch.float64, requires_grad=True)
    x = NODES[::50].clone().requires_grad_()

    def f(v: Tensor) -> Tensor:
        return torch.sin(v @ weight) * v.flip(-1)

    found = score_matching.divergence(f(x), x)
    expected = torch.stack(
        [torch.autograd.functional.jacobian(f, place.detach()).trace() for place in x]
    )
    torch.testing.assert_close(found, expected)
    loss = score_matching.implicit(f, x.detach()).mean()
    (gradient,) = torch.autograd.grad(loss, weight)
    numeric = oracles.central_difference(
        lambda w: implicit_by_hand(w, x.detach()), weight.detach()
    )
    torch.testing.assert_close(gradient, numeric, rtol=1e-6, atol=1e-8)


def implicit_by_hand(weight: Tensor, x: Tensor) -> Tensor:
    """Return the implicit loss of sin(x W) times the flipped x, its derivatives by hand."""
    inner = x @ weight
    psi = torch.sin(inner) * x.flip(-1)
    # d psi_0 / d x_0 = cos(inner_0) W[0, 0] x_1, and the same with 0 and 1 swapped
    trace = torch.cos(inner[:, 0]) * weight[0, 0] * x[:, 1]
    trace = trace + torch.cos(inner[:, 1]) * weight[1, 1] * x[:, 0]
    return (trace + 0.5 * psi.square().sum(dim=1)).mean()


def test_langevins_walk_has_the_known_law() -> None:
    """eq:score-langevin: on a Gaussian each step is linear, so mean and variance are known.

    With x' = x + h (m - x) / v + sqrt(2 h) noise the limit has variance v / (1 - h / (2 v)).
    """
    generator = torch.Generator().manual_seed(0)
    start = torch.full((40_000, 2), 2.0, dtype=torch.float64)
    step = 0.05
    walk = score_matching.langevin(known_score, start, step, generator)
    first = next(walk)
    keep = 1 - step / SD**2
    torch.testing.assert_close(first.mean(dim=0), MEAN + keep * (2 - MEAN), atol=0.01, rtol=0)
    torch.testing.assert_close(
        first.var(dim=0), torch.full((2,), 2 * step).double(), atol=0.003, rtol=0
    )
    *_, last = itertools.islice(walk, 150)
    limit = SD**2 / (1 - step / (2 * SD**2))
    torch.testing.assert_close(last.mean(dim=0), MEAN, atol=0.015, rtol=0)
    torch.testing.assert_close(last.var(dim=0), limit, atol=0.02, rtol=0)
    assert (limit / SD**2 - 1).min() > 0.03, "the step's own error is seen"


def test_a_walk_is_its_generators() -> None:
    """The same steps from the same state, whatever the world has drawn meanwhile."""
    walks = []
    for seed in (1, 1, 2):
        torch.rand(3)
        generator = torch.Generator().manual_seed(seed)
        walk = score_matching.langevin(known_score, torch.zeros(3, 2).double(), 0.1, generator)
        walks.append(torch.stack(list(itertools.islice(walk, 3))))
    assert torch.equal(walks[0], walks[1])
    assert not torch.equal(walks[0], walks[2])
    with pytest.raises(ValueError, match="the step must be positive, got 0"):
        next(score_matching.langevin(known_score, torch.zeros(3, 2), 0.0, torch.Generator()))


def test_nonsense_is_refused() -> None:
    """No blur, no step: both divide by zero or stand still."""
    x = torch.zeros(3, 2)
    with pytest.raises(ValueError, match="must be positive, got 0"):
        score_matching.denoising(lambda v: v, x, x, 0.0)
    with pytest.raises(ValueError, match="must be positive, got -1"):
        next(score_matching.langevin(lambda v: v, x, -1.0, torch.Generator()))
    assert math.isfinite(float(score_matching.denoising(lambda v: v, x, x + 1, 0.5).sum()))
