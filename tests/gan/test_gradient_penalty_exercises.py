"""Solutions of the exercises of book/gan/gradient_penalty.md, and what proves them.

They call litgen/gan/gradient_penalty.py.
"""

import pytest
import torch
from torch import Tensor

from litgen.gan import gradient_penalty as gp


def weight_for(distance: float, excess: float = 0.01) -> tuple[float, float]:
    """Return the weight whose gain exceeds the distance by this share, and the objective."""
    weight = distance / (2 * excess)
    slope = 1 + distance / (2 * weight)
    return weight, distance * slope - weight * (slope - 1) ** 2


@pytest.mark.parametrize("distance", [0.5, 3.0])
def test_the_weight_keeps_the_excess_at_one_percent(distance: float) -> None:
    """eq:gp-two-points: by the closed form, and the objective by trying all slopes."""
    weight, objective = weight_for(distance)
    assert weight == pytest.approx(50 * distance)
    x, one = torch.linspace(0, distance, 5).double(), torch.ones(5).double()
    density = one / distance
    assert gp.overestimate(x, one, density, weight).item() == pytest.approx(0.01 * distance)
    slopes = torch.linspace(0.5, 1.5, 10_001).double()
    tried = distance * slopes - weight * (slopes.abs() - 1) ** 2
    assert objective == pytest.approx(tried.max().item(), rel=1e-7)
    assert objective == pytest.approx(distance + distance**2 / (4 * weight))


def wanderings(
    penalty: gp.Callable[..., Tensor], rate: float = 0.1, turns: int = 200
) -> list[float]:
    """Return where a sample goes that starts on its datum at 0, with the critic f(x) = a x."""
    slope, place, path = torch.tensor(0.3, requires_grad=True), 0.0, []
    share = torch.full((1,), 0.5)
    for _ in range(turns):
        real, fake = torch.zeros(1, 1), torch.full((1, 1), place)
        loss = (slope * (fake - real)).mean()
        loss = loss + penalty(lambda x, a=slope: a * x[:, 0], real, fake, share).mean()
        (pull,) = torch.autograd.grad(loss, slope)
        slope = (slope - rate * pull).detach().requires_grad_()
        place += rate * slope.item()
        path.append(place)
    return path


def test_the_two_sided_penalty_leaves_nothing_at_rest() -> None:
    """A sample on its datum is pushed away further where the slope must be one."""
    two, one = wanderings(gp.gradient_penalty), wanderings(gp.one_sided_penalty)
    late = range(100, 200)
    assert max(abs(two[i]) for i in late) > 2 * max(abs(one[i]) for i in late) > 0


def mean_square_of_places(dims: int, count: int, generator: torch.Generator) -> float:
    """Return the mean square length over the dimensions, of places between normal points."""
    real, fake = torch.randn(2, count, dims, generator=generator)
    places = gp.between(real, fake, torch.rand(count, generator=generator))
    return places.square().sum(dim=1).mean().item() / dims


def test_places_lie_inside(generator: torch.Generator) -> None:
    """eq:gp-between: two thirds, whatever the dimensions."""
    for dims in (2, 50):
        assert mean_square_of_places(dims, 40_000, generator) == pytest.approx(2 / 3, rel=0.02)


def norms_by_hand(a: Tensor, b: Tensor, v: Tensor, x: Tensor) -> Tensor:
    """Return the norm of A^T (v * relu'(A x + b)) at each row of x."""
    on = (x @ a.T + b > 0).to(x)
    return ((on * v) @ a).square().sum(dim=1).sqrt()


def test_the_norm_of_one_layer_by_hand(generator: torch.Generator) -> None:
    """eq:gp-norm: without automatic differentiation."""
    a, b, v, x = (torch.randn(s, generator=generator) for s in ((8, 3), (8,), (8,), (20, 3)))
    got = gp.gradient_norms(lambda at: torch.relu(at @ a.T + b) @ v, x)
    torch.testing.assert_close(got, norms_by_hand(a, b, v, x))
    assert got.std() > 0.1
