"""Proof for litgen/gan/finite.py: exact fractions, brute force over tables, autograd, scipy."""

import itertools
import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import scipy.optimize
import scipy.spatial.distance
import torch
from torch import Tensor

from litgen.gan import finite

P = [Fraction(4, 10), Fraction(3, 10), Fraction(2, 10), Fraction(1, 10)]
Q = [Fraction(1, 10), Fraction(1, 10), Fraction(3, 10), Fraction(5, 10)]
LOG_4 = math.log(4)


def table(values: list[Fraction]) -> Tensor:
    """Return fractions as doubles."""
    return torch.tensor([float(v) for v in values], dtype=torch.float64)


def random_tables(seed: int, points: int = 5) -> tuple[Tensor, Tensor]:
    """Return two distributions that differ."""
    draws = torch.rand(
        2, points, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    p, q = draws / draws.sum(dim=1, keepdim=True)
    return p, q


def value_by_loop(d: list[float], p: list[float], q: list[float]) -> float:
    """Return E[log D] + E[log(1 - D)], term by term."""
    total = 0.0
    for di, pi, qi in zip(d, p, q, strict=True):
        total += pi * math.log(di) if pi else 0.0
        total += qi * math.log(1 - di) if qi else 0.0
    return total


def test_the_value_is_two_expectations() -> None:
    """eq:game-value: term by term, in a batch, and where one side has no mass."""
    p, q = random_tables(0)
    d = torch.rand(3, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = [value_by_loop(row.tolist(), p.tolist(), q.tolist()) for row in d]
    found = finite.value(d, p.expand(3, -1), q.expand(3, -1))
    assert found.tolist() == pytest.approx(expected, rel=1e-12)
    assert found.std() > 0.05
    apart = torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    assert finite.value(*apart) == 0  # the most there is
    assert finite.value(torch.tensor([0.0, 0.5]), *apart[1:]) == -math.inf


def test_no_other_discriminator_does_better() -> None:
    """eq:game-best: the exact fractions; a grid of others and scipy find no more."""
    p, q = table(P), table(Q)
    best = finite.best_discriminator(p, q)
    exact = [Fraction(4, 5), Fraction(3, 4), Fraction(2, 5), Fraction(1, 6)]
    assert best.tolist() == pytest.approx([float(v) for v in exact], rel=1e-14)
    most = value_by_loop(best.tolist(), p.tolist(), q.tolist())
    others = itertools.product(np.linspace(0.02, 0.98, 13).tolist(), repeat=4)
    assert max(value_by_loop(list(d), p.tolist(), q.tolist()) for d in others) < most

    def minus(logits: np.ndarray) -> float:
        return -value_by_loop((1 / (1 + np.exp(-logits))).tolist(), p.tolist(), q.tolist())

    found = scipy.optimize.minimize(minus, np.zeros(4), tol=1e-10)
    assert 1 / (1 + np.exp(-found.x)) == pytest.approx(best.numpy(), abs=1e-4)


def test_where_nobody_is_the_discriminator_is_undecided() -> None:
    """eq:game-best: 1 at data alone, 0 at samples alone, 1/2 in the void; no gradient is nan."""
    p = torch.tensor([1.0, 0.0, 0.0])
    q = torch.tensor([0.0, 1.0, 0.0], requires_grad=True)
    best = finite.best_discriminator(p, q)
    assert best.tolist() == [1.0, 0.0, 0.5]
    (gradient,) = torch.autograd.grad(best.sum(), q)
    assert gradient.isfinite().all()


def test_the_best_value_is_twice_the_divergence_less_log_4() -> None:
    """eq:game-optimum: scipy's distance squared; between -log 4 (equal) and 0 (apart)."""
    for seed in range(5):
        p, q = random_tables(seed)
        js = scipy.spatial.distance.jensenshannon(p.numpy(), q.numpy()) ** 2
        assert finite.jensen_shannon(p, q).item() == pytest.approx(js, rel=1e-10)
        best = finite.value(finite.best_discriminator(p, q), p, q).item()
        assert best == pytest.approx(2 * js - LOG_4, rel=1e-12)
        assert js > 0.01
    assert finite.jensen_shannon(p, p).item() == pytest.approx(0, abs=1e-15)
    apart = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    assert finite.jensen_shannon(*apart).item() == pytest.approx(math.log(2), rel=1e-12)
    both = finite.jensen_shannon(torch.stack([p, p]), torch.stack([q, p]))
    assert both.tolist() == pytest.approx([js, 0], abs=1e-12)


def test_the_slope_is_autograds() -> None:
    """eq:game-slope: of the value, through the logistic function."""
    p, q = random_tables(3)
    logits = torch.tensor([-2.0, 0.3, 1.0, 4.0, -0.5], dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(finite.value(torch.sigmoid(logits), p, q), logits)
    torch.testing.assert_close(finite.slope(logits.detach(), p, q), expected)
    assert expected.std() > 0.05


def test_gradient_ascent_reaches_the_best_discriminator() -> None:
    """eq:game-slope: slope times rate; the value never falls; the end is eq:game-best."""
    p, q = table(P), table(Q)
    path = finite.ascend(torch.zeros(4, dtype=torch.float64), p, q, rate=2.0, steps=300)
    assert path.shape == (301, 4)
    first = 2.0 * (p * 0.5 - q * 0.5)
    torch.testing.assert_close(path[1], first)
    values = finite.value(torch.sigmoid(path), p.expand(301, -1), q.expand(301, -1))
    assert (values.diff() > -1e-15).all()
    torch.testing.assert_close(torch.sigmoid(path[-1]), finite.best_discriminator(p, q))


@pytest.mark.parametrize("loss", [lambda d: np.log(1 - d), lambda d: -np.log(d)])
def test_the_best_generator_sits_on_one_point(loss: Callable[[np.ndarray], np.ndarray]) -> None:
    """eq:game-collapse: linear programming over all distributions, for either loss."""
    for seed in range(4):
        d = np.random.default_rng(seed).uniform(0.05, 0.95, 6)
        found = scipy.optimize.linprog(loss(d), A_eq=np.ones((1, 6)), b_eq=[1.0], bounds=(0, 1))
        best = finite.best_generator(torch.from_numpy(d))
        assert best.numpy() == pytest.approx(found.x, abs=1e-9)
        assert best.max() == best.sum() == 1
    assert finite.best_generator(torch.tensor([0.2, 0.7, 0.7])).tolist() == [0, 1, 0]


def test_what_is_no_pair_of_distributions_is_refused(unchecked: None) -> None:
    """Names and shapes are said."""
    half = torch.tensor([0.5, 0.5])
    with pytest.raises(ValueError, match=r"same points.*\(3,\)"):
        finite.value(half, half, torch.full((3,), 1 / 3))
    with pytest.raises(ValueError, match=r"same points.*\(3,\), \(2,\)"):
        finite.value(torch.full((3,), 0.5), half, half)
    with pytest.raises(ValueError, match="q is no distribution"):
        finite.best_discriminator(half, torch.tensor([0.5, 0.6]))
    with pytest.raises(ValueError, match="p is no distribution"):
        finite.jensen_shannon(torch.tensor([1.5, -0.5]), half)
    with pytest.raises(ValueError, match="p is no distribution"):
        finite.ascend(half, torch.tensor([0.5, 0.6]), half, 0.1, 2)
