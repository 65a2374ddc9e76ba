"""Proof for litgen/evaluation/manifolds.py: points on a line, loops, prdc and torch-fidelity."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from litgen.evaluation.manifolds import Manifolds, compare, expected_coverage, radii

Draw = Callable[..., Tensor]


def by_loops(data: Tensor, samples: Tensor, k: int) -> Manifolds:
    """Say the definitions, one pair at a time."""

    def reach(points: Tensor) -> list[float]:
        return [
            sorted(math.dist(a, b) for j, b in enumerate(points.tolist()) if j != i)[k - 1]
            for i, a in enumerate(points.tolist())
        ]

    rd, rs = reach(data), reach(samples)
    d, s = data.tolist(), samples.tolist()
    inside = [[math.dist(x, y) <= r for x, r in zip(d, rd, strict=True)] for y in s]
    reached = [[math.dist(x, y) <= r for y, r in zip(s, rs, strict=True)] for x in d]
    return Manifolds(
        precision=sum(any(row) for row in inside) / len(s),
        recall=sum(any(row) for row in reached) / len(d),
        density=sum(sum(row) for row in inside) / len(s) / k,
        coverage=sum(any(row[i] for row in inside) for i in range(len(d))) / len(d),
    )


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("block", [4, 1_024])
def test_shares_are_the_definitions(k: int, block: int, normal: Draw) -> None:
    """eq:manifold-precision, eq:manifold-density, eq:manifold-coverage, sets of other sizes."""
    data, samples = normal(15, 2), 0.7 * normal(11, 2) + 0.4
    found, expected = compare(data, samples, k, block), by_loops(data, samples, k)
    assert found == pytest.approx(expected)
    assert 0 < min(expected) < max(expected)


def test_points_on_a_line() -> None:
    """eq:manifold-radius: data 0, 1, 3 and k = 1 have radii 1, 1, 2; samples at 0.5, 0.6 and 9."""
    data, samples = torch.tensor([[0.0], [1], [3]]), torch.tensor([[0.5], [0.6], [9]])
    assert radii(data, 1).tolist() == [1, 1, 2]
    found = compare(data, samples, 1)
    assert found.precision == pytest.approx(2 / 3)  # 9 is in no ball
    assert found.recall == pytest.approx(2 / 3)  # the ball around 9 reaches down to 0.6
    assert found.density == pytest.approx(4 / 3)  # 0.5 and 0.6 are each in the first two balls
    assert found.coverage == pytest.approx(2 / 3)  # 3's ball begins at 1


def test_shares_are_other_libraries(normal: Draw) -> None:
    """prdc's four; torch-fidelity's precision and recall, whose balls are the same."""
    prdc = pytest.importorskip("prdc")
    fidelity = pytest.importorskip("torch_fidelity.metric_prc")
    data, samples = normal(80, 6), 0.8 * normal(90, 6)
    found = compare(data, samples, 5)
    theirs = prdc.compute_prdc(data.numpy(), samples.numpy(), nearest_k=5)
    assert found == pytest.approx(tuple(theirs[name] for name in Manifolds._fields))
    theirs = fidelity.prc_features_to_metric(samples, data, prc_neighborhood=5, verbose=False)
    assert found.precision == pytest.approx(theirs["precision"])
    assert found.recall == pytest.approx(theirs["recall"])


@pytest.mark.parametrize(("m", "n", "k"), [(30, 30, 5), (20, 40, 3), (40, 15, 1)])
def test_equal_distributions_have_known_density_and_coverage(
    m: int, n: int, k: int, normal: Draw
) -> None:
    """eq:manifold-expected: whatever the distribution, over many sets of one and of another."""
    for bend in (lambda x: x, torch.exp):
        found = torch.tensor(
            [tuple(compare(bend(normal(m, 3)), bend(normal(n, 3)), k))[2:] for _ in range(400)]
        )
        error = found.std(dim=0) / math.sqrt(len(found))
        expected = torch.tensor([1.0, expected_coverage(m, n, k)])
        assert ((found.mean(dim=0) - expected).abs() < 3.5 * error).all()
        assert error.max() < 0.02


def test_expected_coverage_by_counting() -> None:
    """eq:manifold-expected: the nearest k of all orders of the other points are data."""
    for m, n, k in ((4, 3, 2), (3, 2, 1)):
        orders = list(itertools.permutations([True] * (m - 1) + [False] * n))
        missed = sum(all(order[:k]) for order in orders) / len(orders)
        assert expected_coverage(m, n, k) == pytest.approx(1 - missed)


def test_copies_of_the_data(normal: Draw) -> None:
    """Each ball then holds its own centre as well: density is (k + 1) / k, the rest 1."""
    data = normal(50, 4)
    assert compare(data, data.clone(), 4) == pytest.approx((1, 1, 5 / 4, 1))


def test_single_precision_is_enough(normal: Draw) -> None:
    """Far from the origin too, where a matrix product in single precision loses all digits."""
    data, samples = 0.1 * normal(300, 5) + 30, 0.12 * normal(300, 5) + 30
    single = data.float(), samples.float()
    assert torch.equal(radii(single[0], 3), radii(single[0].double(), 3))
    assert compare(*single) == compare(*(points.double() for points in single))
    assert compare(*single) == pytest.approx(compare(data, samples), abs=0.01)


def test_dropped_and_strange_samples_show_in_different_shares(normal: Draw) -> None:
    """Half of the data's places: recall and coverage fall; places beside them: precision falls."""
    centres = torch.tensor([[-5.0, 0], [5, 0]], dtype=torch.float64)
    data = normal(200, 2) + centres.repeat(100, 1)
    dropped = compare(data, normal(200, 2) + centres[0])
    assert dropped.precision > 0.9
    assert max(dropped.recall, dropped.coverage) < 0.6
    strange = compare(data, normal(200, 2) * 0.5 + torch.tensor([0.0, 20]))
    assert strange.precision == strange.coverage == strange.density == 0


def test_bad_input(unchecked: None) -> None:
    """Too few points, other dimensions, not a number."""
    x = torch.zeros(6, 2)
    with pytest.raises(ValueError, match="k is 6"):
        compare(x, x, 6)
    with pytest.raises(ValueError, match="k is 0"):
        radii(x, 0)
    for bad in ((5, 3, 5), (3, 0, 1), (5, 5, 0)):
        with pytest.raises(ValueError, match="k is"):
            expected_coverage(*bad)
    with pytest.raises(ValueError, match="two sets"):
        compare(x, torch.zeros(6, 3))
    with pytest.raises(ValueError, match="finite"):
        compare(x, torch.full((6, 2), math.inf))
