"""Two numbers that play against each other: games whose every turn is known in closed form.

Chapter: book/gan/stability.md.  Proof: tests/gan/test_linear_games.py.
References: Heusel et al., "GANs Trained by a Two Time-Scale Update Rule" (2017), for rates of
different size; Yazici et al., "The Unusual Effectiveness of Averaging in GAN Training" (2019).

A state is (generator's number x, critic's number y). The generator lowers a value V, the critic
raises it.
"""

import math

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = ["average", "momentum_radius", "moving_gain", "slowest_rate", "turn", "two_scales"]


def turn(step: float) -> Float[Tensor, "2 2"]:
    """Return the matrix of one turn of the game V = xy, x first. Implements eq:stable-turn.

    Its determinant is 1: with 0 < step < 2 the state walks an ellipse for ever, by an angle w with
    2 cos w = 2 - step^2 each turn (eq:stable-angle).

    Raises:
        ValueError: a step that is not between 0 and 2.
    """
    if not 0 < step < 2:
        raise ValueError(f"step must be between 0 and 2, got {step}")
    return torch.tensor([[1, -step], [step, 1 - step**2]], dtype=torch.float64)


def momentum_radius(step: float, momentum: float) -> float:
    """Return by how much a turn stretches the circling game's state when gradients are averaged.

    Implements eq:stable-momentum: the largest modulus of an eigenvalue of the turn of x, y and the
    averages m, n of both players' gradients, as Adam keeps them. Below 1 the game ends in the
    middle, above 1 it flies apart; without momentum it is 1.

    Raises:
        ValueError: a step that is not between 0 and 2, or a momentum not between -1 and 1.
    """
    if not (0 < step < 2 and -1 < momentum < 1):
        raise ValueError(f"step in (0, 2) and momentum in (-1, 1), got {step}, {momentum}")
    x, y, m, n = torch.eye(4, dtype=torch.float64)  # each as a row of what it is made of
    m = momentum * m + (1 - momentum) * y
    x = x - step * m
    n = momentum * n + (1 - momentum) * x
    y = y + step * n
    values = torch.linalg.eigvals(torch.stack([x, y, m, n]))
    return float(values.abs().max())


def average(
    matrix: Float[Tensor, "2 2"], start: Float[Tensor, " 2"], count: int
) -> Float[Tensor, " 2"]:
    """Return the mean of the first ``count`` states, start included. Implements eq:stable-average.

    The geometric sum of matrices: no state is computed.

    Raises:
        ValueError: a count below 1.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    eye = torch.eye(2, dtype=matrix.dtype)
    left = start - torch.linalg.matrix_power(matrix, count) @ start
    mean: Tensor = torch.linalg.solve(eye - matrix, left) / count
    return mean


def moving_gain(decay: float, angle: float) -> float:
    """Return by how much a moving average shrinks a circle. Implements eq:stable-moving.

    Args:
        decay: share of the average that each turn keeps.
        angle: of the state's turn, in radians.
    """
    return (1 - decay) / math.sqrt(1 - 2 * decay * math.cos(angle) + decay**2)


def two_scales(ratio: float, curvature: float) -> Float[Tensor, "2 2"]:
    """Return the matrix of the flow for V = xy - c y^2 / 2. Implements eq:stable-flow.

    Args:
        ratio: the critic's learning rate over the generator's.
        curvature: c, how strongly the critic is held back.

    Raises:
        ValueError: a number that is not positive.
    """
    if not (ratio > 0 and curvature > 0):
        raise ValueError(f"ratio and curvature must be positive, got {ratio}, {curvature}")
    return torch.tensor([[0, -1], [ratio, -ratio * curvature]], dtype=torch.float64)


def slowest_rate(ratio: float, curvature: float) -> float:
    """Return how fast the flow's slower part decays. Implements eq:stable-rate.

    Half of r c while the state turns (r c^2 < 4); beyond, the smaller of two real rates, which
    falls to 1 / c.
    """
    half = ratio * curvature / 2
    inside = half**2 - ratio
    return half if inside < 0 else ratio / (half + math.sqrt(inside))
