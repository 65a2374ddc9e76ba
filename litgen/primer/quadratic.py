"""What optimisers do on a quadratic, in closed form: rates, limits, and the noise that stays.

Chapter: book/primer/optimisation.md.  Proof: tests/primer/test_quadratic.py.
References: Polyak, "Some methods of speeding up the convergence of iteration methods" (1964);
Nesterov (1983).

Notation: lambda is ``curvature`` (an eigenvalue of the second derivative), kappa the largest over
the smallest, gamma is ``learning_rate``, rho is ``momentum``, sigma^2 is ``noise_var``. A *rate*
is the factor by which the distance from the minimum shrinks in a step, in the long run.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = [
    "Tuned",
    "best_descent",
    "best_heavy_ball",
    "descent_rate",
    "heavy_ball_rate",
    "nesterov_rate",
    "stationary_variance",
]


class Tuned(NamedTuple):
    """The best hyper-parameters for a range of curvatures, and the rate that they give."""

    learning_rate: float
    momentum: float
    rate: float


def descent_rate(
    learning_rate: float, curvature: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Return the size of 1 - learning_rate curvature, eq:opt-contraction; above 1 it diverges.

    Raises:
        ValueError: a learning rate or a curvature that is not positive.
    """
    _check(learning_rate, curvature)
    return (1 - learning_rate * curvature).abs()


def best_descent(smallest: float, largest: float) -> Tuned:
    """Return the learning rate whose worst rate is the smallest. Implements eq:opt-best-descent.

    Raises:
        ValueError: not 0 < smallest <= largest.
    """
    _check_range(smallest, largest)
    return Tuned(2 / (smallest + largest), 0.0, (largest - smallest) / (largest + smallest))


def best_heavy_ball(smallest: float, largest: float) -> Tuned:
    """Return Polyak's learning rate and momentum. Implements eq:opt-best-heavy-ball.

    Raises:
        ValueError: not 0 < smallest <= largest.
    """
    _check_range(smallest, largest)
    low, high = math.sqrt(smallest), math.sqrt(largest)
    rate = (high - low) / (high + low)
    return Tuned(4 / (high + low) ** 2, rate**2, rate)


def heavy_ball_rate(
    learning_rate: float, momentum: float, curvature: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Return the larger root's size of eq:opt-heavy-ball-roots: the rate of each curvature.

    Raises:
        ValueError: a learning rate or a curvature that is not positive.
    """
    _check(learning_rate, curvature)
    return _larger_root(1 + momentum - learning_rate * curvature, momentum + 0 * curvature)


def nesterov_rate(
    learning_rate: float, momentum: float, curvature: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Return the larger root's size of eq:opt-nesterov-roots: the rate of each curvature.

    Raises:
        ValueError: a learning rate or a curvature that is not positive.
    """
    _check(learning_rate, curvature)
    shrink = 1 - learning_rate * curvature
    return _larger_root((1 + momentum) * shrink, momentum * shrink)


def stationary_variance(
    learning_rate: float, curvature: Float[Tensor, "*shape"], noise_var: float
) -> Float[Tensor, "*shape"]:
    """Return the variance around the minimum that SGD ends with. Implements eq:opt-floor.

    Args:
        learning_rate: held constant, below 2 / curvature.
        curvature: of each direction.
        noise_var: variance of the gradient's noise in a direction.

    Raises:
        ValueError: a learning rate with which it diverges, or a negative variance.
    """
    if not (descent_rate(learning_rate, curvature) < 1).all():
        raise ValueError(f"with learning rate {learning_rate} SGD diverges: no variance stays")
    if not noise_var >= 0:
        raise ValueError(f"a variance cannot be {noise_var}")
    return learning_rate * noise_var / (curvature * (2 - learning_rate * curvature))


def _larger_root(linear: Tensor, constant: Tensor) -> Tensor:
    """Return the larger size of r with r^2 - linear r + constant = 0."""
    inside = linear.square() - 4 * constant
    real = (linear.abs() + inside.clamp(min=0).sqrt()) / 2
    return torch.where(inside >= 0, real, constant.abs().sqrt())


def _check(learning_rate: float, curvature: Tensor) -> None:
    if not learning_rate > 0:
        raise ValueError(f"the learning rate must be positive, got {learning_rate}")
    if not (curvature > 0).all():
        raise ValueError("curvatures must be positive: only then there is a minimum")


def _check_range(smallest: float, largest: float) -> None:
    if not 0 < smallest <= largest:
        raise ValueError(f"curvatures must be 0 < smallest <= largest, got {smallest}, {largest}")
