"""Proof for litgen/evaluation/classifier_test.py: Gaussians whose best accuracy is known."""

import math
from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch import Tensor

from litgen.evaluation.classifier_test import trained_accuracy
from litgen.evaluation.two_sample import p_value, variation_bound

Draw = Callable[..., Tensor]


@pytest.mark.parametrize("shift", [0.5, 1.5, 3.0])
def test_shifted_gaussians_reach_the_best_accuracy(shift: float, normal: Draw) -> None:
    """eq:two-sample-rule, eq:two-sample-tv: the best rule is right with chance Phi(shift / 2)."""
    x, y = normal(3_000, 2), normal(3_000, 2) + torch.tensor([shift, 0.0])
    told = trained_accuracy(x, y, torch.Generator().manual_seed(0), turns=200)
    best = stats.norm.cdf(shift / 2)
    assert told.judged == 3_000
    assert told.accuracy == pytest.approx(best, abs=0.03)
    variation = 2 * best - 1
    assert 0 < variation_bound(told.accuracy, told.judged) <= variation


def test_a_bent_border_is_learned(normal: Draw) -> None:
    """A ball in a shell of the same mean: no straight line tells them apart, this rule does."""
    ball, shell = normal(600, 2), normal(600, 2)
    shell = 4 * shell / shell.norm(dim=1, keepdim=True)
    told = trained_accuracy(ball, 10 + shell - 10, torch.Generator().manual_seed(1))
    assert told.accuracy > 0.95


def test_scale_and_place_do_not_matter(normal: Draw) -> None:
    """Coordinates are centred and scaled; one that is constant does no harm."""
    x, y = normal(1_000, 2), normal(1_000, 2) + 1.0
    plain = trained_accuracy(x, y, torch.Generator().manual_seed(0))
    constant = torch.full((1_000, 1), 7.0, dtype=torch.float64)
    far = [torch.cat([1_000 * p + 5_000, constant], dim=1) for p in (x, y)]
    moved = trained_accuracy(*far, torch.Generator().manual_seed(0))
    assert moved.accuracy == pytest.approx(plain.accuracy, abs=0.02)
    assert plain.accuracy > 0.7


def test_equal_sets_are_not_told_apart(normal: Draw) -> None:
    """Accuracies around 1/2 and p-values that are not small: nothing is judged that was seen."""
    told = [
        trained_accuracy(
            normal(300, 20), normal(300, 20), torch.Generator().manual_seed(seed), turns=100
        )
        for seed in range(6)
    ]
    mean = sum(t.accuracy for t in told) / len(told)
    assert abs(mean - 0.5) < 4 * 0.5 / math.sqrt(6 * 300)
    assert sum(p_value(*t) < 0.05 for t in told) <= 2
    assert {t.judged for t in told} == {300}


def test_the_generator_decides(normal: Draw) -> None:
    """The same seed gives the same number, whatever torch drew before; another seed another."""
    x, y = normal(200, 3), normal(200, 3) + 0.4
    torch.manual_seed(0)
    first = trained_accuracy(x, y, torch.Generator().manual_seed(5), turns=50)
    torch.manual_seed(1)
    assert trained_accuracy(x, y, torch.Generator().manual_seed(5), turns=50) == first
    others = {trained_accuracy(x, y, torch.Generator().manual_seed(s), turns=50) for s in range(4)}
    assert len(others) > 1


def test_bad_input(unchecked: None) -> None:
    """Other shapes, few points, numbers that are none."""
    x = torch.zeros(100, 2)
    for bad in (x[:99], torch.zeros(100, 3), x[:, 0]):
        with pytest.raises(ValueError, match="two sets of equal shape"):
            trained_accuracy(x, bad, torch.Generator())
    with pytest.raises(ValueError, match="at least 100"):
        trained_accuracy(x[:99], x[:99], torch.Generator())
    for pair in ((x, torch.full((100, 2), math.nan)), (torch.full((100, 2), math.inf), x)):
        with pytest.raises(ValueError, match="not finite"):
            trained_accuracy(*pair, torch.Generator())
