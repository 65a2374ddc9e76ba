"""Proof for litgen/evaluation/two_sample.py: points by hand, loops, scipy, known behaviour."""

import math
from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch import Tensor

from litgen.evaluation.two_sample import (
    authenticity,
    nearest,
    nearest_neighbour_accuracy,
    p_value,
)

Draw = Callable[..., Tensor]


@pytest.mark.parametrize("block", [2, 1_024])
def test_nearest_is_a_loops(block: int, normal: Draw) -> None:
    """Distance and index of the nearest point of the other set."""
    x, among = normal(5, 3), normal(7, 3)
    distance, which = nearest(x, among, block)
    for i, a in enumerate(x.tolist()):
        all_distances = [math.dist(a, b) for b in among.tolist()]
        assert distance[i].item() == pytest.approx(min(all_distances))
        assert which[i].item() == all_distances.index(min(all_distances))


@pytest.mark.parametrize("block", [3, 1_024])
def test_accuracy_counts_neighbours_of_the_own_set(block: int, normal: Draw) -> None:
    """eq:two-sample-neighbour, one point at a time."""
    data, samples = normal(8, 2), normal(8, 2) + 0.5
    found = nearest_neighbour_accuracy(data, samples, block)
    expected = []
    for own, other in ((data.tolist(), samples.tolist()), (samples.tolist(), data.tolist())):
        hits = [
            min(math.dist(a, b) for j, b in enumerate(own) if j != i)
            < min(math.dist(a, b) for b in other)
            for i, a in enumerate(own)
        ]
        expected.append(sum(hits) / 8)
    assert found == pytest.approx(tuple(expected))
    assert expected[0] != expected[1]


def test_accuracy_tells_equal_copied_and_collapsed_samples(normal: Draw) -> None:
    """Half; below half for near-copies; own neighbours only where samples collapsed."""
    data = normal(400, 2)
    equal = nearest_neighbour_accuracy(data, normal(400, 2))
    assert equal == pytest.approx((0.5, 0.5), abs=0.1)
    copied = nearest_neighbour_accuracy(data, data + 1e-4 * normal(400, 2))
    assert max(copied) < 0.05
    collapsed = nearest_neighbour_accuracy(data, 1e-3 * normal(400, 2))
    assert collapsed[1] > 0.95


@pytest.mark.parametrize(("accuracy", "count"), [(0.5, 100), (0.53, 1_000), (0.4, 50)])
def test_p_value_is_the_normal_tail(accuracy: float, count: int) -> None:
    """eq:two-sample-p: accuracy is normal around 1/2 with variance 1 / (4 count)."""
    expected = stats.norm.sf(accuracy, 0.5, 0.5 / math.sqrt(count))
    assert p_value(accuracy, count) == pytest.approx(expected, rel=1e-9)


def test_authenticity_by_hand() -> None:
    """eq:authenticity: 0 and 1 are 1 apart, 4 is 3 from the next."""
    train = torch.tensor([[0.0], [1], [4]])
    samples = torch.tensor([[0.4], [-1.5], [5], [8]])
    # 0.4: 0.4 from 0, whose next is 1 away: a copy. -1.5: farther than 1. 5: 1 from 4, whose next
    # is 3 away: a copy. 8: 4 away.
    assert authenticity(train, samples) == pytest.approx(0.5)
    assert authenticity(train, train) == 0


def test_bad_input(unchecked: None) -> None:
    """Empty sets, other shapes, accuracies that are none."""
    x = torch.zeros(3, 2)
    with pytest.raises(ValueError, match="two sets"):
        nearest(x, torch.zeros(0, 2))
    with pytest.raises(ValueError, match="equal shape"):
        nearest_neighbour_accuracy(x, torch.zeros(4, 2))
    with pytest.raises(ValueError, match="accuracy"):
        p_value(1.2, 10)
    with pytest.raises(ValueError, match="two training points"):
        authenticity(x[:1], x)
