"""Mirror symmetry of six bits: the first task of the paper on back-propagation.

Chapter: book/primer/networks.md.  Proof: tests/primer/test_symmetry.py.
Reference: Rumelhart, Hinton & Williams, "Learning representations by back-propagating errors"
(1986), figure 1: six inputs, two hidden units, one output, all of them logistic.

Notation: the paper's error E is summed over all 64 patterns, with its factor 1/2; its epsilon is
``learning_rate``, its alpha is ``momentum``. Many networks train side by side, each from a start
of its own.
"""

import itertools
from typing import NamedTuple

import torch
from torch import Tensor

from litgen.primer import optimisation
from litgen.primer.layers import sigmoid
from litgen.shapes import Float

__all__ = ["Trained", "initial", "outputs", "patterns", "train"]


class Trained(NamedTuple):
    """What the training of several networks leaves.

    Attributes:
        parameters: hidden weights and biases, output weights and biases; networks in front.
        solved: sweeps after which a network first had all patterns right, or -1.
        error: E before each sweep, (sweeps, networks).
    """

    parameters: list[Tensor]
    solved: Tensor
    error: Tensor


def patterns(bits: int = 6) -> tuple[Float[Tensor, "patterns bits"], Float[Tensor, " patterns"]]:
    """Return all rows of bits, and 1 for those that are their own mirror image, else 0."""
    rows = torch.tensor(list(itertools.product([0.0, 1.0], repeat=bits)))
    return rows, (rows == rows.flip(1)).all(dim=1).float()


def initial(
    networks: int, generator: torch.Generator, bits: int = 6, hidden: int = 2, bound: float = 0.3
) -> list[Tensor]:
    """Draw parameters evenly from -bound to bound, as the paper does."""
    shapes = [(bits, hidden), (1, hidden), (hidden, 1), (1, 1)]
    return [bound * (2 * torch.rand(networks, *s, generator=generator) - 1) for s in shapes]


def outputs(
    parameters: list[Tensor], rows: Float[Tensor, "patterns bits"]
) -> Float[Tensor, "networks patterns"]:
    """Return each network's output, between 0 and 1, for each pattern."""
    weight, bias, last_weight, last_bias = parameters
    hidden = sigmoid(rows @ weight + bias)
    return sigmoid(hidden @ last_weight + last_bias).squeeze(-1)


def train(
    parameters: list[Tensor], sweeps: int, learning_rate: float = 0.1, momentum: float = 0.9
) -> Trained:
    """Lower E = sum (output - target)^2 / 2 by gradients of all patterns at once, with momentum.

    Implements eq:net-sum-squared.
    """
    rows, targets = patterns(parameters[0].shape[1])
    rows, targets = rows.to(parameters[0]), targets.to(parameters[0])
    memories = [optimisation.start(p) for p in parameters]
    solved = torch.full((len(parameters[0]),), -1)
    errors = []
    for sweep in range(sweeps):
        leaves = [p.detach().requires_grad_() for p in parameters]
        now = outputs(leaves, rows)
        error = 0.5 * (now - targets).square().sum(dim=1)
        right = ((now > 0.5) == (targets > 0.5)).all(dim=1)
        solved = torch.where((solved < 0) & right, torch.tensor(sweep), solved)
        errors.append(error.detach())
        gradients = torch.autograd.grad(error.sum(), leaves)
        moved = [
            optimisation.heavy_ball(p.detach(), g, memory, learning_rate, momentum)
            for p, g, memory in zip(leaves, gradients, memories, strict=True)
        ]
        parameters, memories = [p for p, _ in moved], [memory for _, memory in moved]
    return Trained(parameters, solved, torch.stack(errors))
