"""Proof for litgen/evaluation/two_sample.py: points by hand, loops, scipy, known behaviour."""

import math
from collections.abc import Callable

import pytest
import torch
from scipy import special, stats
from torch import Tensor

from litgen.evaluation.two_sample import (
    authenticity,
    expected_authenticity,
    nearest,
    nearest_neighbour_accuracy,
    p_value,
    variation_bound,
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


def test_accuracy_of_one_distribution_is_known(normal: Draw) -> None:
    """eq:two-sample-neighbour: n - 1 of the 2 n - 1 other points are of the own set."""
    found = torch.tensor([nearest_neighbour_accuracy(*normal(2, 6, 2)) for _ in range(1_500)])
    error = found.std(dim=0) / math.sqrt(len(found))
    assert ((found.mean(dim=0) - 5 / 11).abs() < 3.5 * error).all()
    assert error.max() < 0.01


def test_p_value_is_near_the_binomials() -> None:
    """eq:two-sample-p against the exact tail of 400 throws, which has half a throw more."""
    for right in (190, 200, 215, 230):
        exact = stats.binom.sf(right - 0.5, 400, 0.5)
        assert p_value((right - 0.5) / 400, 400) == pytest.approx(exact, rel=0.03)


def test_variation_bound_by_hand() -> None:
    """eq:two-sample-tv: 2 (accuracy - slack) - 1, and nothing where chance would do."""
    slack = math.sqrt(math.log(20) / 2_000)
    assert variation_bound(0.9, 1_000) == pytest.approx(0.8 - 2 * slack)
    assert variation_bound(0.9, 1_000, confidence=0.5) == pytest.approx(
        0.8 - 2 * math.sqrt(math.log(2) / 2_000)
    )
    assert variation_bound(0.51, 1_000) == variation_bound(0.2, 10) == 0
    assert 0.99 < variation_bound(1.0, 10**6) < 1


def test_variation_bound_is_right_as_often_as_it_says(normal: Draw) -> None:
    """eq:two-sample-tv: the best rule for shifted Gaussians, 2,000 sets of 50 points each."""
    shift = 1.0
    best = stats.norm.cdf(shift / 2)
    correct = (normal(2_000, 50) < shift / 2).double().mean(dim=1)
    bounds = torch.tensor([variation_bound(a, 50, 0.8) for a in correct.tolist()])
    broken = (bounds > 2 * best - 1).double().mean()
    assert 0 < broken < 0.2
    assert bounds.max() > 0.2


def test_a_copy_is_at_no_distance(normal: Draw) -> None:
    """Also in single precision, where matrix products leave a rest; and no copy is authentic."""
    train = (normal(500, 64) + 3).float()
    distance, which = nearest(train[100:200].clone(), train)
    assert (distance == 0).all()
    assert which.tolist() == list(range(100, 200))
    assert authenticity(train, train[:50] + 1e-4) == 0


@pytest.mark.parametrize("dims", [1, 2, 5])
def test_authenticity_of_fresh_samples_is_known(dims: int) -> None:
    """eq:authenticity-fresh, for points spread evenly, each sample alone among the data."""
    generator = torch.Generator().manual_seed(dims)
    train, samples = torch.rand(2, 3_000, dims, generator=generator).double()
    inside = ((samples > 0.15) & (samples < 0.85)).all(dim=1)  # an edge has half a neighbourhood
    found, expected = authenticity(train, samples[inside]), expected_authenticity(dims)
    error = math.sqrt(expected * (1 - expected) / inside.sum().item())
    assert found == pytest.approx(expected, abs=4 * error)
    assert error < 0.03


def test_authenticity_of_fresh_samples_in_closed_form() -> None:
    """eq:authenticity-fresh: 1/3 on a line; discs; two balls' lens by a beta integral."""
    assert expected_authenticity(1) == pytest.approx(1 / 3)
    plane = 6 * math.pi / (8 * math.pi + 3 * math.sqrt(3))
    assert expected_authenticity(2) == pytest.approx(1 - plane, abs=1e-6)
    for dims in (3, 10, 50):
        lens = special.betainc((dims + 1) / 2, 0.5, 0.75)
        assert expected_authenticity(dims) == pytest.approx(1 - 1 / (2 - lens), abs=1e-6)
    assert expected_authenticity(200) == pytest.approx(0.5, abs=1e-4)


def test_single_precision_is_enough(normal: Draw) -> None:
    """Far from the origin, where products in single precision would lose the small distances."""
    data, samples = ((0.01 * normal(300, 2) + 30).float() for _ in range(2))
    exact = data.double(), samples.double()
    assert nearest_neighbour_accuracy(data, samples) == nearest_neighbour_accuracy(*exact)
    assert authenticity(data, samples) == authenticity(*exact)
    assert torch.equal(nearest(data, samples)[1], nearest(*exact)[1])
    table = (exact[0][:, None] - exact[1]).norm(dim=2)
    assert torch.equal(nearest(data, samples)[1], table.argmin(dim=1))


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
        nearest(x, torch.zeros(3, 3))
    with pytest.raises(ValueError, match="neither set may be empty"):
        nearest(x, torch.zeros(0, 2))
    with pytest.raises(ValueError, match="neither set may be empty"):
        nearest(torch.zeros(0, 2), x)
    with pytest.raises(ValueError, match="equal shape"):
        nearest_neighbour_accuracy(x, torch.zeros(4, 2))
    with pytest.raises(ValueError, match="accuracy"):
        p_value(1.2, 10)
    with pytest.raises(ValueError, match="two training points"):
        authenticity(x[:1], x)
    bad = torch.full((3, 2), math.nan)
    for call in (nearest, nearest_neighbour_accuracy, authenticity):
        for pair in ((x, bad), (bad, x)):
            with pytest.raises(ValueError, match="not finite"):
                call(*pair)
    for accuracy, count in ((math.nan, 10), (-0.1, 10), (0.5, 0)):
        for judged in (p_value, variation_bound):
            with pytest.raises(ValueError, match="accuracy"):
                judged(accuracy, count)
    with pytest.raises(ValueError, match="one dimension"):
        expected_authenticity(0)
    for confidence in (0.0, 1.0):
        with pytest.raises(ValueError, match="confidence"):
            variation_bound(0.7, 10, confidence)
