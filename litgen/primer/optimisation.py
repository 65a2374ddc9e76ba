"""Optimisers as pure functions: parameters, gradient and memory in; parameters and memory out.

Chapter: book/primer/optimisation.md.  Proof: tests/primer/test_optimisation.py.
References: Robbins & Monro (1951); Polyak (1964); Nesterov (1983); Kingma & Ba, "Adam" (2015);
Loshchilov & Hutter, "Decoupled Weight Decay Regularization" (2019); Reddi, Kale & Kumar, "On the
Convergence of Adam and Beyond" (2018).

Notation: theta is ``x``, what is moved; g is ``gradient``; gamma is ``learning_rate``, a number or
a tensor that broadcasts (several trainings at once); rho is ``momentum``; m and v of the memory
are ``first`` and ``second``; delta is ``eps``. Steps are counted from 1.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = [
    "Memory",
    "adam",
    "adamw",
    "amsgrad",
    "gradient_descent",
    "heavy_ball",
    "nesterov",
    "rmsprop",
    "start",
    "trajectory",
    "with_l2",
]

Rate = float | Tensor


class Memory(NamedTuple):
    """What an optimiser knows of the past; each uses the part that it needs.

    Attributes:
        step: updates so far.
        first: a sum or average of gradients.
        second: an average of squared gradients.
        largest: the largest ``second`` so far.
    """

    step: int
    first: Tensor
    second: Tensor
    largest: Tensor


Update = Callable[[Tensor, Tensor, Memory], tuple[Tensor, Memory]]
"""Maps parameters, gradient and memory to the next parameters and memory."""


def start(x: Float[Tensor, "*shape"]) -> Memory:
    """Return the memory of an optimiser that has seen nothing."""
    return Memory(0, torch.zeros_like(x), torch.zeros_like(x), torch.zeros_like(x))


def gradient_descent(
    x: Float[Tensor, "*shape"],
    gradient: Float[Tensor, "*shape"],
    memory: Memory,
    learning_rate: Rate,
) -> tuple[Float[Tensor, "*shape"], Memory]:
    """Step against the gradient. Implements eq:opt-descent, and eq:opt-sgd if it is noisy.

    Raises:
        ValueError: a learning rate that is not positive, or a gradient of another shape.
    """
    _check(x, gradient, learning_rate)
    return x - learning_rate * gradient, memory._replace(step=memory.step + 1)


def heavy_ball(
    x: Float[Tensor, "*shape"],
    gradient: Float[Tensor, "*shape"],
    memory: Memory,
    learning_rate: Rate,
    momentum: float = 0.9,
) -> tuple[Float[Tensor, "*shape"], Memory]:
    """Step along a decaying sum of gradients. Implements eq:opt-heavy-ball.

    Raises:
        ValueError: hyper-parameters out of range, or a gradient of another shape.
    """
    _check(x, gradient, learning_rate, momentum=momentum)
    first = momentum * memory.first + gradient
    return x - learning_rate * first, memory._replace(step=memory.step + 1, first=first)


def nesterov(
    x: Float[Tensor, "*shape"],
    gradient: Float[Tensor, "*shape"],
    memory: Memory,
    learning_rate: Rate,
    momentum: float = 0.9,
) -> tuple[Float[Tensor, "*shape"], Memory]:
    """Step as if the sum had already been moved along. Implements eq:opt-nesterov.

    Raises:
        ValueError: hyper-parameters out of range, or a gradient of another shape.
    """
    _check(x, gradient, learning_rate, momentum=momentum)
    first = momentum * memory.first + gradient
    ahead = gradient + momentum * first
    return x - learning_rate * ahead, memory._replace(step=memory.step + 1, first=first)


def rmsprop(
    x: Float[Tensor, "*shape"],
    gradient: Float[Tensor, "*shape"],
    memory: Memory,
    learning_rate: Rate,
    smoothing: float = 0.99,
    eps: float = 1e-8,
) -> tuple[Float[Tensor, "*shape"], Memory]:
    """Divide each entry by the root of its average square. Implements eq:opt-rmsprop.

    Raises:
        ValueError: hyper-parameters out of range, or a gradient of another shape.
    """
    _check(x, gradient, learning_rate, smoothing=smoothing, eps=eps)
    second = smoothing * memory.second + (1 - smoothing) * gradient.square()
    x = x - learning_rate * gradient / (second.sqrt() + eps)
    return x, memory._replace(step=memory.step + 1, second=second)


def adam(
    x: Float[Tensor, "*shape"],
    gradient: Float[Tensor, "*shape"],
    memory: Memory,
    learning_rate: Rate,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
) -> tuple[Float[Tensor, "*shape"], Memory]:
    """Divide an average gradient by the root of an average square. Implements eq:opt-adam.

    Both averages start at zero and are corrected for it (eq:opt-corrected). With ``eps`` 0 a
    step does not depend on the scale of the gradients (eq:opt-scale-free).

    Raises:
        ValueError: hyper-parameters out of range, or a gradient of another shape.
    """
    _check(x, gradient, learning_rate, beta1=beta1, beta2=beta2, eps=eps)
    memory = _averaged(gradient, memory, beta1, beta2)
    mean = memory.first / (1 - beta1**memory.step)
    square = memory.second / (1 - beta2**memory.step)
    return x - learning_rate * mean / (square.sqrt() + eps), memory


def amsgrad(
    x: Float[Tensor, "*shape"],
    gradient: Float[Tensor, "*shape"],
    memory: Memory,
    learning_rate: Rate,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
) -> tuple[Float[Tensor, "*shape"], Memory]:
    """Do what Adam does, with the largest average square so far. Implements eq:opt-amsgrad.

    Raises:
        ValueError: hyper-parameters out of range, or a gradient of another shape.
    """
    _check(x, gradient, learning_rate, beta1=beta1, beta2=beta2, eps=eps)
    memory = _averaged(gradient, memory, beta1, beta2)
    memory = memory._replace(largest=torch.maximum(memory.largest, memory.second))
    mean = memory.first / (1 - beta1**memory.step)
    square = memory.largest / (1 - beta2**memory.step)
    return x - learning_rate * mean / (square.sqrt() + eps), memory


def adamw(
    x: Float[Tensor, "*shape"],
    gradient: Float[Tensor, "*shape"],
    memory: Memory,
    learning_rate: Rate,
    weight_decay: float = 0.01,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
) -> tuple[Float[Tensor, "*shape"], Memory]:
    """Shrink the parameters, then do what Adam does. Implements eq:opt-adamw.

    Raises:
        ValueError: hyper-parameters out of range, or a gradient of another shape.
    """
    _check(x, gradient, learning_rate, weight_decay=weight_decay)
    shrunk = x - learning_rate * weight_decay * x
    return adam(shrunk, gradient, memory, learning_rate, beta1, beta2, eps)


def with_l2(
    x: Float[Tensor, "*shape"], gradient: Float[Tensor, "*shape"], weight_decay: float
) -> Float[Tensor, "*shape"]:
    """Return the gradient of the loss plus half of weight_decay x^2. Implements eq:opt-l2.

    Raises:
        ValueError: a negative weight decay, or a gradient of another shape.
    """
    _check(x, gradient, 1.0, weight_decay=weight_decay)
    return gradient + weight_decay * x


def trajectory(
    gradient: Callable[[Tensor], Tensor], update: Update, x: Float[Tensor, "*shape"], steps: int
) -> Float[Tensor, "places *shape"]:
    """Return the start and the places after each of a number of steps.

    Args:
        gradient: of what is to be lowered, at a place.
        update: an optimiser whose hyper-parameters are filled in (functools.partial).
        x: the start.
        steps: how many.

    Raises:
        ValueError: fewer than 0 steps, or a gradient that is not a number.
    """
    if steps < 0:
        raise ValueError(f"the number of steps cannot be {steps}")
    memory, places = start(x), [x]
    for step in range(1, steps + 1):
        slope = gradient(x)
        if slope.isnan().any():
            raise ValueError(f"the gradient of step {step} is not a number")
        x, memory = update(x, slope, memory)
        places.append(x)
    return torch.stack(places)


def _averaged(gradient: Tensor, memory: Memory, beta1: float, beta2: float) -> Memory:
    """Move both running averages, eq:opt-moments."""
    return memory._replace(
        step=memory.step + 1,
        first=beta1 * memory.first + (1 - beta1) * gradient,
        second=beta2 * memory.second + (1 - beta2) * gradient.square(),
    )


def _check(x: Tensor, gradient: Tensor, learning_rate: Rate, **others: float) -> None:
    """Say what no optimiser can work with."""
    if x.shape != gradient.shape:
        raise ValueError(f"x has shape {tuple(x.shape)}, its gradient {tuple(gradient.shape)}")
    if not torch.as_tensor(learning_rate > 0).all():
        raise ValueError(f"the learning rate must be positive, got {learning_rate}")
    for name, value in others.items():
        limit = float("inf") if name in ("eps", "weight_decay") else 1.0
        if not 0 <= value < limit:
            raise ValueError(f"{name} must lie in [0, {limit:g}), got {value}")
