"""Gradient penalty: ask the critic for slope one between data and samples.

Chapter: book/gan/gradient_penalty.md.  Proof: tests/gan/test_gradient_penalty.py.
References: Gulrajani, Ahmed, Arjovsky, Dumoulin & Courville, "Improved Training of Wasserstein
GANs" (2017), algorithm 1; Petzka, Fischer & Lukovnikov, "On the Regularization of Wasserstein
GANs" (2018), for the one-sided penalty.

The paper's lambda is ``weight``, its epsilon ``share``.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = [
    "between",
    "gradient_norms",
    "gradient_penalty",
    "mixing",
    "one_sided_penalty",
    "overestimate",
    "penalised_slope",
    "weighted",
]

Critic = Callable[[Tensor], Tensor]


def between(
    real: Float[Tensor, "batch *event"],
    fake: Float[Tensor, "batch *event"],
    share: Float[Tensor, " batch"],
) -> Float[Tensor, "batch *event"]:
    """Return share * real + (1 - share) * fake, one share for each pair. Implements eq:gp-between.

    Raises:
        ValueError: data and samples of different shapes, or another number of shares.
    """
    if real.shape != fake.shape or share.shape != real.shape[:1]:
        shapes = [tuple(part.shape) for part in (real, fake, share)]
        raise ValueError(f"pairs and one share each, got shapes {shapes}")
    return torch.lerp(fake, real, share.view(-1, *[1] * (real.dim() - 1)))


def gradient_norms(critic: Critic, x: Float[Tensor, "batch *event"]) -> Float[Tensor, " batch"]:
    """Return the Euclidean norm of the critic's gradient at each point. Implements eq:gp-norm.

    Can be differentiated with respect to the critic's weights, and ends at the points: nothing
    behind them gets a gradient. The sum over the batch gives each point its own gradient only
    where its value does not depend on the other points: no batch normalisation (see `mixing`).

    Raises:
        ValueError: a critic that does not return one number a point.
    """
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        values = critic(x)
        if values.numel() != len(x):
            raise ValueError(f"{len(x)} points, but values of shape {tuple(values.shape)}")
        (slope,) = torch.autograd.grad(values.sum(), x, create_graph=True)
    norms: Tensor = slope.flatten(1).norm(dim=1)
    return norms


def gradient_penalty(
    critic: Critic,
    real: Float[Tensor, "batch *event"],
    fake: Float[Tensor, "batch *event"],
    share: Float[Tensor, " batch"],
) -> Float[Tensor, " batch"]:
    """Return ``(|grad f| - 1)^2`` between each datum and a sample. Implements eq:gp-penalty.

    Args:
        critic: maps points to one number each.
        real: data.
        fake: samples.
        share: how near to the datum, uniform in [0, 1].
    """
    norms = gradient_norms(critic, between(real, fake, share))
    return (norms - 1).square()


def one_sided_penalty(
    critic: Critic,
    real: Float[Tensor, "batch *event"],
    fake: Float[Tensor, "batch *event"],
    share: Float[Tensor, " batch"],
) -> Float[Tensor, " batch"]:
    """Return ``max(|grad f| - 1, 0)^2``: only slopes above 1 pay. Implements eq:gp-one-sided."""
    norms = gradient_norms(critic, between(real, fake, share))
    return (norms - 1).clamp(min=0).square()


def weighted(
    weight: float,
    generator: torch.Generator,
    penalty: Callable[[Critic, Tensor, Tensor, Tensor], Tensor] = gradient_penalty,
) -> Callable[[Critic, Tensor, Tensor], Tensor]:
    """Return a penalty as `litgen.gan.game.Rules` takes it. Implements eq:gp-critic.

    It draws fresh shares, and returns ``weight`` times the mean over the pairs: one number, to be
    added to the critic's loss.

    Args:
        weight: of the penalty against the critic's loss, the paper's lambda.
        generator: draws the shares, on its device.
        penalty: one number a pair.

    Raises:
        ValueError: a weight that is negative or not finite.
    """
    if not 0 <= weight < math.inf:
        raise ValueError(f"weight must be at least 0 and finite, got {weight}")

    def rule(critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        share = torch.rand(len(real), generator=generator, device=generator.device)
        return weight * penalty(critic, real, fake, share.to(real)).mean()

    return rule


def mixing(critic: Critic, x: Float[Tensor, "batch *event"]) -> Float[Tensor, ""]:
    """Return how steeply the first point's value depends on the other points of its batch.

    The largest partial derivative. Exactly 0 for a critic that judges points one by one, as
    eq:gp-norm needs; not 0 with batch normalisation in training mode.

    Raises:
        ValueError: fewer than two points.
    """
    if len(x) < 2:
        raise ValueError(f"at least 2 points are needed, got {len(x)}")
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(critic(x).flatten()[0], x)
    return slope[1:].abs().max()


def penalised_slope(
    gap: Float[Tensor, "*places"], density: Float[Tensor, "*places"], weight: float
) -> Float[Tensor, "*places"]:
    """Return the slope of the best critic on the line. Implements eq:gp-slope.

    ``sign(gap) (1 + |gap| / (2 weight density))``: steeper than 1 wherever mass has to pass. Where
    the gap is 0 nothing says which way; 0 is returned.

    Args:
        gap: distribution function of the samples minus that of the data.
        density: of the places where the penalty is taken, positive, per unit of length.
        weight: of the penalty.
    """
    return gap.sign() * (1 + gap.abs() / (2 * weight * density))


def overestimate(
    x: Float[Tensor, " places"],
    gap: Float[Tensor, " places"],
    density: Float[Tensor, " places"],
    weight: float,
) -> Float[Tensor, ""]:
    """Return by how much that critic's estimate exceeds the distance. Implements eq:gp-excess.

    The integral of gap^2 / (2 weight density), by the trapezoid rule, in the unit of ``x``. At
    least the distance squared over 2 weight (eq:gp-excess-bound), and that much for two points.

    Args:
        x: places in rising order.
        gap: distribution function of the samples minus that of the data.
        density: of the places where the penalty is taken, positive.
        weight: of the penalty.
    """
    return torch.trapezoid(gap.square() / (2 * weight * density), x)
