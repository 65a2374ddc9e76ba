"""LeakyReLU for critics whose gradient is itself differentiated, as a gradient penalty asks for.

Chapter: book/gan/gradient_penalty.md.  Proof: tests/gan/test_activations.py.

A piecewise linear function has no second derivative but at its kink. Torch's own layer says so
with a tensor of zeros, which the backward pass then multiplies with every weight below. This one
hands nothing on, and a penalty costs about a third less.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from litgen.shapes import Float

__all__ = ["PiecewiseLeakyReLU", "piecewise_leaky_relu"]


class _Piecewise(torch.autograd.Function):
    """The function, and a derivative that is a constant to whoever differentiates it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float) -> Tensor:
        """Return x where it is positive, slope * x elsewhere."""
        ctx.save_for_backward(x)
        ctx.slope = slope
        return leaky_relu(x, slope)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Return the gradient times 1 or slope."""
        (x,) = ctx.saved_tensors
        passed: Tensor = torch.ops.aten.leaky_relu_backward(
            gradients[0], x.detach(), ctx.slope, False
        )
        return passed, None


def piecewise_leaky_relu(x: Float[Tensor, "*batch"], slope: float) -> Float[Tensor, "*batch"]:
    """Return x where it is positive, slope * x elsewhere; see `PiecewiseLeakyReLU`."""
    y: Tensor = _Piecewise.apply(x, slope)
    return y


class PiecewiseLeakyReLU(nn.Module):
    """x where it is positive, ``slope`` x elsewhere; derivatives as `torch.nn.LeakyReLU` has them.

    Args:
        slope: on the negative side.
    """

    def __init__(self, slope: float = 0.2):
        super().__init__()
        self.slope = slope

    def forward(self, x: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """Return the activation."""
        return piecewise_leaky_relu(x, self.slope)
