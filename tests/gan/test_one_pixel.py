"""Proof for litgen/gan/one_pixel.py: brute force over answers, scipy over laws."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from litgen.gan import one_pixel


def case(seed: int, count: int = 7) -> tuple[Tensor, Tensor]:
    """Return values in no order, and their chances, one of them 0."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(count, generator=generator, dtype=torch.float64)
    chances = torch.rand(count, generator=generator, dtype=torch.float64)
    chances[3] = 0
    return values, chances / chances.sum()


@pytest.mark.parametrize("seed", range(5))
def test_mean_and_median_by_brute_force(seed: int) -> None:
    """eq:p2p-mean and eq:p2p-median: of 4,001 answers none has a smaller expected error."""
    values, chances = case(seed)
    v, p = values.numpy(), chances.numpy()
    answers = np.linspace(v.min(), v.max(), 4001)
    squared = ((answers[:, None] - v) ** 2 * p).sum(axis=1)
    absolute = (abs(answers[:, None] - v) * p).sum(axis=1)
    mean, median = (f(values, chances) for f in (one_pixel.mean_value, one_pixel.median_value))
    assert mean == pytest.approx(answers[squared.argmin()], abs=2e-3)
    assert median == pytest.approx(answers[absolute.argmin()], abs=2e-3)
    assert abs(mean - median) > 1e-3


def test_the_median_s_edge() -> None:
    """At exactly half of the chances the lower value is taken."""
    values = torch.tensor([3.0, -1.0, 2.0])
    assert one_pixel.median_value(values, torch.tensor([0.5, 0.25, 0.25])) == 2.0
    assert one_pixel.median_value(values, torch.tensor([0.51, 0.25, 0.24])) == 3.0


def test_costs_by_double_loop() -> None:
    """eq:p2p-squared and eq:p2p-absolute, one sum at a time."""
    values, chances = case(1)
    pairs = list(zip(values.tolist(), chances.tolist(), strict=True))
    squared = [sum(p * (a - v) ** 2 for v, p in pairs) for a in values.tolist()]
    absolute = [sum(p * abs(a - v) for v, p in pairs) for a in values.tolist()]
    double = torch.float64
    torch.testing.assert_close(
        one_pixel.squared_costs(values, chances), torch.tensor(squared, dtype=double)
    )
    torch.testing.assert_close(
        one_pixel.absolute_costs(values, chances), torch.tensor(absolute, dtype=double)
    )


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    """Return the divergence by its definition, term by term."""
    total = 0.0
    for a, b in zip(p, q, strict=True):
        m = (a + b) / 2
        total += a * math.log(a / m) / 2 if a else 0.0
        total += b * math.log(b / m) / 2 if b else 0.0
    return total


def test_the_best_point_is_the_mode() -> None:
    """eq:p2p-point: the divergence from a point at each value, by its definition; log 2 at 0."""
    _, chances = case(2)
    found = one_pixel.point_divergences(chances)
    expected = [jensen_shannon(chances.numpy(), row) for row in np.eye(len(chances))]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))
    assert found.argmin() == chances.argmax()
    assert found[3].item() == pytest.approx(math.log(2))
    assert one_pixel.point_divergences(torch.ones(1)).item() == pytest.approx(0, abs=1e-7)


def test_the_objective_by_its_definition() -> None:
    """eq:p2p-law: twice the divergence, plus the weighted mean cost."""
    values, chances = case(3)
    law = case(4)[1]
    costs = one_pixel.absolute_costs(values, chances)
    expected = 2 * jensen_shannon(chances.numpy(), law.numpy()) + 1.7 * (law @ costs).item()
    found = one_pixel.law_objective(law, chances, costs, 1.7)
    assert found.item() == pytest.approx(expected)


@pytest.mark.parametrize("weight", [0.0, 0.3, 2.0, 9.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_best_law_by_scipy(weight: float, seed: int) -> None:
    """eq:p2p-tilt: a minimiser over all laws finds no lower objective, and the same law."""
    values, chances = case(seed)
    costs = one_pixel.absolute_costs(values, chances)
    found = one_pixel.best_law(chances, costs, weight)
    assert found.sum().item() == pytest.approx(1)
    assert found[3] == 0
    p, c = chances.numpy(), costs.numpy()

    def loss(law: np.ndarray) -> float:
        return 2 * jensen_shannon(p, law) + weight * float(law @ c)

    def law_of(logits: np.ndarray) -> np.ndarray:
        law = np.exp(logits - logits.max())
        return law / law.sum()

    start = np.log(np.maximum(p, 1e-6))
    best = minimize(lambda logits: loss(law_of(logits)), start, method="BFGS", tol=1e-9)
    assert loss(found.numpy()) <= best.fun + 1e-7
    assert abs(found.numpy() - law_of(best.x)).max() < 3e-3
    if weight == 0:
        torch.testing.assert_close(found, chances)


def test_weight_draws_the_law_to_the_median() -> None:
    """The mean cost falls with the weight, and so does the variety that is left."""
    values, chances = case(0)
    costs = one_pixel.absolute_costs(values, chances)
    laws = [one_pixel.best_law(chances, costs, weight) for weight in (0.0, 1.0, 4.0, 40.0)]
    paid = [(law @ costs).item() for law in laws]
    assert paid == sorted(paid, reverse=True)
    assert values[laws[-1].argmax()].item() == one_pixel.median_value(values, chances)
    assert laws[-1].max() > 0.9


def test_what_is_no_law_is_refused() -> None:
    """Chances that are none, a negative weight, a best value without a chance."""
    p, c = torch.tensor([0.5, 0.5, 0.0]), torch.tensor([1.0, 2.0, 3.0])
    for chances, weight in ((p + 0.1, 1.0), (torch.tensor([1.5, -0.5, 0.0]), 1.0), (p, -1.0)):
        with pytest.raises(ValueError, match="sum to 1"):
            one_pixel.best_law(chances, c, weight)
    with pytest.raises(ValueError, match="must have a chance"):
        one_pixel.best_law(p, torch.tensor([1.0, 2.0, 0.5]), 1.0)
