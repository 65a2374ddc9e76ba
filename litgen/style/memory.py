"""L-BFGS: a step by the curvature that the last steps met, for each example of a batch on its own.

Chapter: book/style/gatys.md.  Proof: tests/style/test_memory.py.
Paper: Liu & Nocedal, "On the limited memory BFGS method for large scale optimization" (1989).

    s, y   change of the parameters in a step; change of the gradient
    rho    1 / (s . y)
    H      approximate inverse of the second derivatives, never written down

torch.optim.LBFGS asks for the loss again and again in one step; this one uses the gradient that
is there, so that `litgen.training.play` can play with it, and a batch of pictures with different
losses shares its passes through the network but not its steps. s is read off the parameters, so
that what cuts them between two steps, as a picture's pixels are cut, is part of the step.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["LimitedMemory"]

ROUNDING = 10
"""Units of the last place of a gradient that its change has to exceed."""


class LimitedMemory(torch.optim.Optimizer):
    """L-BFGS without line search, each row of one parameter tensor with a memory of its own.

    Implements eq:gatys-lbfgs. The first step has length rate x min(1, 1 / sum of absolute slopes)
    times the gradient, later ones rate times H g, as in torch.optim.LBFGS.

    Args:
        x: (batch, ...), the parameters; rows are independent problems.
        rate: factor of every step.
        history: pairs (s, y) that are remembered.
        reach: no number moves farther in a step; a row that wants to go farther goes a shorter
            way in the same direction. Without line search a bad pair would throw it far off.

    Raises:
        ValueError: a rate or a reach that is not positive, or no history.
    """

    def __init__(self, x: Tensor, rate: float = 1.0, history: int = 100, reach: float = math.inf):
        if rate <= 0 or history < 1 or reach <= 0:
            raise ValueError(
                f"rate, history and reach must be positive, got {rate}, {history} and {reach}"
            )
        super().__init__([x], {"rate": rate, "history": history, "reach": reach})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move by what ``.grad`` says.

        Raises:
            ValueError: a closure, which is not needed here; or no gradient.
        """
        group = self.param_groups[0]
        x = group["params"][0]
        if closure is not None or x.grad is None:
            raise ValueError("step takes no closure, and the gradient that is in .grad")
        gradient, place = x.grad.flatten(1).clone(), x.flatten(1).clone()
        state = self.state[x]
        if not state:
            state.update(steps=[], changes=[], rho=[], scale=torch.ones_like(gradient[:, :1]))
            length = (1 / gradient.abs().sum(dim=1, keepdim=True)).clamp(max=1)
            direction = length * gradient
        else:
            step, change = place - state["place"], gradient - state["gradient"]
            rounding = ROUNDING * torch.finfo(x.dtype).eps * (_size(change) + _size(gradient))
            self._remember(state, step, change, rounding, group["history"])
            pairs = list(zip(state["steps"], state["changes"], state["rho"], strict=True))
            direction = _times_inverse(pairs, state["scale"], gradient)
        state.update(gradient=gradient, place=place)
        move = group["rate"] * direction
        move *= (group["reach"] / move.abs().amax(dim=1, keepdim=True)).clamp(max=1)
        x -= move.view_as(x)

    def _remember(
        self, state: dict[str, Any], step: Tensor, change: Tensor, rounding: Tensor, most: int
    ) -> None:
        """Keep the last step and the gradient's change if they tell any row something.

        A change tells nothing where it goes against the step, or is not larger along it than
        rounding may be; rho is 0 there.
        """
        inner = (step * change).sum(dim=1, keepdim=True)
        useful = inner > rounding * _size(step)
        if not useful.any():
            return
        squares = change.square().sum(dim=1, keepdim=True)
        state["scale"] = torch.where(useful, inner / squares, state["scale"])
        state["steps"].append(step)
        state["changes"].append(change)
        state["rho"].append(torch.where(useful, 1 / inner, 0))
        if len(state["steps"]) > most:
            del state["steps"][0], state["changes"][0], state["rho"][0]


def _size(rows: Tensor) -> Tensor:
    """Return the length of each row, (batch, 1)."""
    size: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return size


def _times_inverse(
    pairs: list[tuple[Tensor, Tensor, Tensor]], scale: Tensor, gradient: Tensor
) -> Tensor:
    """Return H g by the two loops: newest to oldest, a scale, oldest to newest."""
    direction, shares = gradient.clone(), []
    for s, y, rho in reversed(pairs):
        shares.append(rho * (s * direction).sum(dim=1, keepdim=True))
        direction.addcmul_(shares[-1], y, value=-1)
    direction *= scale
    for (s, y, rho), share in zip(pairs, reversed(shares), strict=True):
        direction.addcmul_(share - rho * (y * direction).sum(dim=1, keepdim=True), s)
    return direction
