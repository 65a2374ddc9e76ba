"""Proof for litgen/evaluation/few_samples.py: many pairs of sets, one dimension, numpy's fit."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from litgen.evaluation.few_samples import extrapolated, frechet_bias
from litgen.evaluation.frechet import frechet_distance

Draw = Callable[..., Tensor]


def test_one_dimension_in_closed_form() -> None:
    """eq:frechet-bias: 2 s^2 / n for the means, s^2 / (n - 1) for the standard deviations."""
    for variance, count in ((1.0, 10), (2.5, 200)):
        found = frechet_bias(torch.tensor([[variance]]), count)
        assert found == pytest.approx(2 * variance / count + variance / (count - 1))


def test_equal_variances_in_closed_form() -> None:
    """eq:frechet-bias of N(0, s^2 I) in D dimensions: 2 D s^2 / n + D (D + 1) s^2 / 2 (n - 1)."""
    for dims, variance, count in ((3, 1.0, 50), (7, 0.3, 400)):
        found = frechet_bias(variance * torch.eye(dims), count)
        both = 2 * dims / count + dims * (dims + 1) / 2 / (count - 1)
        assert found == pytest.approx(variance * both, rel=1e-6)


@pytest.mark.parametrize("scales", [(1.0, 1.0, 1.0), (3.0, 1.0, 0.2)])
def test_it_is_the_mean_over_many_pairs_of_sets(scales: tuple[float, ...], normal: Draw) -> None:
    """eq:frechet-bias against 600 pairs of 200 points, with a covariance that is turned."""
    root = torch.diag(torch.tensor(scales).double()) @ torch.linalg.qr(normal(3, 3)).Q
    found = torch.stack(
        [frechet_distance(normal(200, 3) @ root, normal(200, 3) @ root) for _ in range(600)]
    )
    expected = frechet_bias(root.T @ root, 200)
    error = found.std().item() / math.sqrt(len(found))
    assert abs(found.mean().item() - expected) < 4 * error + 0.01 * expected  # and second order
    assert error < 0.04 * expected


def test_directions_of_little_spread_add_theirs() -> None:
    """eq:frechet-bias of two variances, written out; single precision is not computed in."""
    a, b, n = 1.0, 1e-3, 50
    expected = 2 * (a + b) / n + (a + b + 2 * a * b / (a + b)) / (n - 1)
    cov = torch.diag(torch.tensor([a, b], dtype=torch.float64))
    assert frechet_bias(cov, n) == pytest.approx(expected, rel=1e-12)
    turn = torch.linalg.qr(torch.tensor([[1.0, 2.0], [0.5, -1.0]])).Q
    single = turn @ cov.float() @ turn.T
    single = (single + single.T) / 2
    assert frechet_bias(single, n) == frechet_bias(single.double(), n)


def test_directions_without_spread_add_nothing() -> None:
    """A constant coordinate, or nothing that varies."""
    cov = torch.diag(torch.tensor([2.0, 0.0, 1.0]))
    assert frechet_bias(cov, 30) == pytest.approx(frechet_bias(cov[::2, ::2], 30))
    assert frechet_bias(torch.zeros(2, 2), 30) == 0


def test_extrapolation_is_numpys_fit(normal: Draw) -> None:
    """eq:frechet-infinity by numpy's polynomial; on an exact line, exactly."""
    counts = [100, 250, 500, 1_000]
    noisy = (3 + 50 / np.array(counts) + 0.1 * normal(4).numpy()).tolist()
    slope, limit = np.polyfit(1 / np.array(counts), noisy, 1)
    assert extrapolated(counts, noisy) == pytest.approx((limit, slope))
    assert extrapolated([10, 40], [7.0, 2.5]) == pytest.approx((1.0, 60.0))


def test_bad_input(unchecked: None) -> None:
    """One point, matrices that are no covariance, one count, other lengths."""
    with pytest.raises(ValueError, match="at least 2 points"):
        frechet_bias(torch.eye(2), 1)
    asymmetric = torch.tensor([[1.0, 0.5], [0.0, 1.0]])
    endless = torch.diag(torch.tensor([1.0, math.inf]))
    odd = (torch.zeros(2, 3), torch.zeros(2), torch.full((2, 2), math.nan), asymmetric, endless)
    for bad in odd:
        with pytest.raises(ValueError, match="finite symmetric matrix"):
            frechet_bias(bad, 10)
    with pytest.raises(ValueError, match="negative eigenvalue"):
        frechet_bias(-torch.eye(2), 10)
    with pytest.raises(ValueError, match="2 counts, 1 distances"):
        extrapolated([1, 2], [1.0])
    for counts in ([5, 5], [0, 5], []):
        with pytest.raises(ValueError, match="two different counts"):
            extrapolated(counts, [1.0] * len(counts))
