"""Proof for litgen/primer/surfaces.py; the chapter is book/primer/optimisation.md.

The judges are scipy's Rosenbrock function, formulas written out, and differences.
"""

from collections.abc import Callable

import pytest
import scipy.optimize
import torch
from torch import Tensor

from litgen.primer import surfaces

Draw = Callable[..., Tensor]


def test_quadratic_is_half_a_weighted_square(normal: Draw) -> None:
    """eq:opt-quadratic with a matrix of curvatures; the ravine is one."""
    x, curvature = normal(5, 3), torch.tensor([0.5, 2.0, 7.0]).double()
    expected = 0.5 * torch.einsum("bi,ij,bj->b", x, torch.diag(curvature), x)
    torch.testing.assert_close(surfaces.quadratic(x, curvature), expected)
    pair = x[:, :2]
    torch.testing.assert_close(surfaces.ravine(pair), 0.2 * pair[:, 0] ** 2 + 5 * pair[:, 1] ** 2)


def test_rosenbrock_is_scipys_made_milder(normal: Draw) -> None:
    """eq:opt-rosenbrock: both terms, each at its own scale; the minimum is 0 at (1, 1)."""
    x = normal(20, 2)
    across = (x[:, 1] - x[:, 0] ** 2) ** 2
    theirs = torch.tensor([scipy.optimize.rosen(row) for row in x.numpy()])
    expected = 0.25 * (theirs - 100 * across) + 5 * across
    assert expected.std() > 1
    torch.testing.assert_close(surfaces.rosenbrock(x), expected)
    assert surfaces.rosenbrock(torch.ones(1, 2)).item() == 0


@pytest.mark.parametrize("name", ["ravine", "rosenbrock"])
def test_gradients_are_slopes(name: str, normal: Draw) -> None:
    """Of several places at once; eq:opt-rosenbrock and eq:opt-quadratic by differences."""
    surface = surfaces.SURFACES[name]
    x = normal(6, 2)
    found = surfaces.gradient_of(surface)(x)
    for axis in range(2):
        step = torch.zeros(2).double()
        step[axis] = 1e-5
        slope = (surface(x + step) - surface(x - step)) / 2e-5
        torch.testing.assert_close(found[:, axis], slope, rtol=1e-6, atol=1e-6)
    assert not found.requires_grad
    assert not x.requires_grad


def test_reddis_slopes() -> None:
    """eq:opt-reddi: large in steps 1, 4, 7, ..., and in sum uphill to the right."""
    slopes = [surfaces.reddi_gradient(step, 4.0) for step in range(1, 8)]
    assert slopes == [4, -1, -1, 4, -1, -1, 4]
    for wrong in (2.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="above 2"):
            surfaces.reddi_gradient(1, wrong)
