"""Surfaces over the plane on which optimisers can be watched, and a sequence that fools Adam.

Chapter: book/primer/optimisation.md.  Proof: tests/primer/test_surfaces.py.
References: Rosenbrock (1960), "An automatic method for finding the greatest or least value of a
function"; Reddi, Kale & Kumar, "On the Convergence of Adam and Beyond" (2018), theorem 1.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = ["SURFACES", "gradient_of", "quadratic", "ravine", "reddi_gradient", "rosenbrock"]

Surface = Callable[[Tensor], Tensor]


def quadratic(
    x: Float[Tensor, "*batch dim"], curvature: Float[Tensor, " dim"]
) -> Float[Tensor, "*batch"]:
    """Return half the curvature-weighted squared distance from 0. Implements eq:opt-quadratic."""
    return 0.5 * (curvature * x.square()).sum(dim=-1)


def ravine(x: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch"]:
    """Return a quadratic that is 25 times as steep across as along; minimum 0 at the origin."""
    return quadratic(x, torch.tensor([0.4, 10.0], dtype=x.dtype))


def rosenbrock(x: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch"]:
    """Return (1 - x)^2 / 4 + 5 (y - x^2)^2, a bent valley. Implements eq:opt-rosenbrock.

    Rosenbrock's own has 1 and 100 in place of 1/4 and 5; the minimum, 0 at (1, 1), is the same.
    """
    along, across = 1 - x[..., 0], x[..., 1] - x[..., 0].square()
    return 0.25 * along.square() + 5 * across.square()


SURFACES: dict[str, Surface] = {"ravine": ravine, "rosenbrock": rosenbrock}


def gradient_of(surface: Surface) -> Callable[[Float[Tensor, "*batch 2"]], Tensor]:
    """Return the function that gives a surface's gradient at each of some places."""

    def gradient(x: Tensor) -> Tensor:
        place = x.detach().requires_grad_()
        return torch.autograd.grad(surface(place).sum(), place)[0]

    return gradient


def reddi_gradient(step: int, large: float) -> float:
    """Return the slope of the loss of a step, counted from 1. Implements eq:opt-reddi.

    Every third loss is ``large`` x, the others are -x, on the interval from -1 to 1.

    Raises:
        ValueError: ``large`` is not above 2: then -1 would not be the best place.
    """
    if not large > 2:
        raise ValueError(f"the large slope must be above 2, got {large}")
    return large if step % 3 == 1 else -1.0
