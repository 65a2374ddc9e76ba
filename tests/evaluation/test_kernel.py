"""Proof for litgen/evaluation/kernel.py: double loops, a feature map, torch-fidelity, no bias."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from litgen.evaluation.kernel import (
    cubic_kernel,
    gaussian_kernel_distance,
    kernel_distance,
    kernel_distance_of_subsets,
)
from tests import oracles

Draw = Callable[..., Tensor]


def kernel(a: Tensor, b: Tensor) -> float:
    """Return the cubic kernel of two points, by numbers."""
    return (sum(u * v for u, v in zip(a.tolist(), b.tolist(), strict=True)) / len(a) + 1) ** 3


def test_kernel_is_the_formula(normal: Draw) -> None:
    """eq:kernel-cubic, one pair at a time."""
    x, y = normal(3, 4), normal(2, 4)
    expected = torch.tensor([[kernel(a, b) for b in y] for a in x], dtype=torch.float64)
    torch.testing.assert_close(cubic_kernel(x, y), expected)


def test_distance_is_the_double_sum_without_a_points_pair_with_itself(normal: Draw) -> None:
    """eq:kernel-distance, by loops over sets of different sizes."""
    x, y = normal(4, 3), 1.5 * normal(6, 3) + 0.5
    within_x = sum(kernel(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j) / 12
    within_y = sum(kernel(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j) / 30
    between = sum(kernel(a, b) for a in x for b in y) / 24
    expected = within_x + within_y - 2 * between
    assert kernel_distance(x, y).item() == pytest.approx(expected, rel=1e-9)
    assert kernel_distance(y, x).item() == pytest.approx(expected, rel=1e-9)


def test_distance_is_unbiased(normal: Draw) -> None:
    """Over many pairs of sets of one distribution the mean is zero; of two it is not."""
    pairs = normal(400, 2, 8, 2)
    same = torch.stack([kernel_distance(*pair) for pair in pairs])
    assert same.mean().abs() < 3 * same.std() / math.sqrt(len(same))
    assert (same < 0).any()
    moved = torch.stack([kernel_distance(pair[0] + 1, pair[1]) for pair in pairs])
    assert moved.mean() > 10 * moved.std() / math.sqrt(len(moved))


def test_distance_is_torch_fidelitys(normal: Draw) -> None:
    """On the same features: one subset of all points."""
    metric = pytest.importorskip("torch_fidelity.metric_kid")
    x, y = normal(60, 12), 1.2 * normal(60, 12)
    theirs = metric.kernel_mmd(x.numpy(), y.numpy())
    assert kernel_distance(x, y).item() == pytest.approx(float(theirs), rel=1e-9)


def test_distance_is_torchmetrics(normal: Draw) -> None:
    """On the same features, all in one subset."""
    image = pytest.importorskip("torchmetrics.image.kid")
    x, y = normal(50, 8), normal(50, 8) + 0.4
    theirs = image.poly_mmd(x, y)
    assert kernel_distance(x, y).item() == pytest.approx(theirs.item(), rel=1e-9)


def test_it_is_the_distance_of_means_of_monomials(normal: Draw) -> None:
    """eq:kernel-features: in one dimension the kernel's features are 1, x, x^2, x^3, weighed."""
    x, y = normal(30, 1), 0.5 + 2 * normal(40, 1)
    powers = torch.tensor([0.0, 1, 2, 3]).double()
    weights = torch.tensor([1.0, 3, 3, 1]).double().sqrt()
    means = [(p**powers * weights).mean(dim=0) for p in (x, y)]
    biased = (means[0] - means[1]).square().sum()
    for p in (x, y):  # what the pairs of a point with itself make of a set's mean over all pairs
        table = (p @ p.T + 1) ** 3
        own, n = table.diagonal().mean(), len(p)
        biased += (table.sum() - table.diagonal().sum()) / (n * (n - 1)) - table.mean()
        assert own > table.mean()
    assert kernel_distance(x, y).item() == pytest.approx(biased.item(), rel=1e-9)


@pytest.mark.parametrize("dims", [1, 2])
def test_gaussians_in_closed_form(dims: int, normal: Draw) -> None:
    """eq:kernel-gaussian by quadrature, which is exact for polynomials of this degree."""
    nodes, weights = oracles.normal_nodes(dims, 6)
    gaussians = []
    for _ in range(2):
        root = normal(dims, dims)
        gaussians.append((normal(dims), root))

    def mean_kernel(i: int, j: int) -> Tensor:
        (mx, rx), (my, ry) = gaussians[i], gaussians[j]
        table = ((nodes @ rx.T + mx) @ (nodes @ ry.T + my).T / dims + 1) ** 3
        return weights @ table @ weights

    expected = mean_kernel(0, 0) + mean_kernel(1, 1) - 2 * mean_kernel(0, 1)
    moments = [part for mean, root in gaussians for part in (mean, root @ root.T)]
    assert expected > 0.1
    assert gaussian_kernel_distance(*moments).item() == pytest.approx(expected.item(), rel=1e-9)
    swapped = moments[2:] + moments[:2]
    assert gaussian_kernel_distance(*swapped).item() == pytest.approx(expected.item(), rel=1e-9)
    same = gaussian_kernel_distance(*moments[:2], *moments[:2]).item()
    assert same == pytest.approx(0, abs=1e-9)


def test_gaussians_are_what_sets_show_in_the_mean(normal: Draw) -> None:
    """eq:kernel-gaussian is the mean of eq:kernel-distance, in three dimensions."""
    mean, root = 0.4 * normal(3), 0.5 * torch.eye(3).double() + 0.4 * normal(3, 3)
    pairs = normal(300, 2, 40, 3)
    found = torch.stack([kernel_distance(p[0], p[1] @ root.T + mean) for p in pairs])
    expected = gaussian_kernel_distance(
        torch.zeros(3).double(), torch.eye(3).double(), mean, root @ root.T
    )
    error = found.std() / math.sqrt(len(found))
    assert (found.mean() - expected).abs() < 3.5 * error
    assert expected > 5 * error


def test_subsets_are_drawn_without_putting_back(normal: Draw) -> None:
    """Subsets of everything are all the same distance; smaller ones spread around it."""
    x, y = normal(20, 3), normal(20, 3) + 0.3
    generator = torch.Generator().manual_seed(0)
    whole = kernel_distance_of_subsets(x, y, 3, 20, generator)
    torch.testing.assert_close(whole, kernel_distance(x, y).expand(3))
    parts = kernel_distance_of_subsets(x, y, 300, 10, generator)
    assert parts.shape == (300,)
    assert parts.std() > 0
    assert (parts.mean() - kernel_distance(x, y)).abs() < 4 * parts.std() / math.sqrt(300)


def test_bad_input(unchecked: None) -> None:
    """Too few points, other dimensions, not a number, subsets larger than the set."""
    x = torch.zeros(3, 2)
    with pytest.raises(ValueError, match="at least 2"):
        kernel_distance(x[:1], x)
    with pytest.raises(ValueError, match="at least 2"):
        kernel_distance(x, torch.zeros(3, 3))
    with pytest.raises(ValueError, match="finite"):
        kernel_distance(x, torch.full((3, 2), math.nan))
    for size in (4, 1):
        with pytest.raises(ValueError, match=f"size is {size}"):
            kernel_distance_of_subsets(x, x, 2, size, torch.Generator())
    with pytest.raises(ValueError, match="at least one subset"):
        kernel_distance_of_subsets(x, x, 0, 2, torch.Generator())
    with pytest.raises(ValueError, match="two sets of points"):
        cubic_kernel(x, torch.zeros(3, 3))
    with pytest.raises(ValueError, match="of one dimension"):
        gaussian_kernel_distance(x[0], torch.eye(2), x[0], torch.eye(3))
