"""The smallest game that can circle: one datum, one sample, a discriminator with one weight.

Chapter: book/gan/toy2d.md.  Proof: tests/gan/test_dirac.py.
Reference: Mescheder, Geiger & Nowozin, "Which Training Methods for GANs do actually Converge?"
(2018), section 2. There the discriminator's logit is positive for samples; here, as in the whole
book, for data.

All data lie at 0, all samples at ``place``, and the discriminator's logit at x is ``weight`` * x.
A state is the pair (place, weight); the game is at rest at (0, 0) alone.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = ["alternating", "invariant", "linear_step", "play", "simultaneous", "value"]

State = Float[Tensor, " 2"]


def value(state: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch"]:
    """Return log D(0) + log(1 - D(place)) in nats. Implements eq:game-dirac.

    The discriminator raises it by ``weight``, the generator lowers it by ``place``.
    """
    place, weight = state.unbind(dim=-1)
    zero = torch.zeros_like(place)
    return torch.nn.functional.logsigmoid(zero) - torch.nn.functional.softplus(weight * place)


def simultaneous(state: State, rate: float) -> State:
    """Return the state after both have moved at once. Implements eq:game-simultaneous.

    The square of its distance from (0, 0) grows by the factor 1 + rate^2 d^2, with
    d = s(weight * place) (eq:game-growth).
    """
    place, weight = state
    d = torch.sigmoid(weight * place)
    return torch.stack([place + rate * d * weight, weight - rate * d * place])


def alternating(state: State, rate: float) -> State:
    """Return the state after the discriminator, then the generator, has moved.

    Implements eq:game-alternating.
    """
    place, weight = state
    weight = weight - rate * torch.sigmoid(weight * place) * place
    return torch.stack([place + rate * torch.sigmoid(weight * place) * weight, weight])


def play(
    step: Callable[[State, float], State], start: State, rate: float, turns: int
) -> Float[Tensor, "moments 2"]:
    """Return the state before and after each of so many turns."""
    path = [start]
    for _ in range(turns):
        path.append(step(path[-1], rate))
    return torch.stack(path)


def linear_step(kind: str, rate: float) -> Float[Tensor, "2 2"]:
    """Return the matrix of one turn near (0, 0), where d = 1/2. Implements eq:game-matrices.

    Its eigenvalues have absolute value sqrt(1 + rate^2 / 4) for "simultaneous" steps, and one for
    "alternating" steps with a rate below 4.

    Raises:
        ValueError: another kind.
    """
    a = rate / 2
    matrices = {
        "simultaneous": [[1.0, a], [-a, 1.0]],
        "alternating": [[1 - a * a, a], [-a, 1.0]],
    }
    if kind not in matrices:
        raise ValueError(f"unknown kind {kind!r}; there are: {', '.join(matrices)}")
    return torch.tensor(matrices[kind], dtype=torch.float64)


def invariant(state: Float[Tensor, "*batch 2"], rate: float) -> Float[Tensor, "*batch"]:
    """Return place^2 + weight^2 - (rate / 2) place weight. Implements eq:game-ellipse.

    Alternating steps of the linearised game keep it: they run on an ellipse.
    """
    place, weight = state.unbind(dim=-1)
    return place.square() + weight.square() - rate / 2 * place * weight
