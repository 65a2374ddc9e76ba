"""Gradient penalty: ask the critic for slope one between data and samples.

Chapter: book/gan/gradient_penalty.md.  Proof: tests/gan/test_gradient_penalty.py.
Reference: Gulrajani, Ahmed, Arjovsky, Dumoulin & Courville, "Improved Training of Wasserstein
GANs" (2017), algorithm 1.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = ["between", "gradient_norms", "gradient_penalty"]


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


def gradient_norms(
    critic: Callable[[Tensor], Tensor], x: Float[Tensor, "batch *event"]
) -> Float[Tensor, " batch"]:
    """Return the Euclidean norm of the critic's gradient at each point.

    Can be differentiated with respect to the critic's weights. Each point's value must not depend
    on the other points: no batch normalisation.
    """
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    norms: Tensor = slope.flatten(1).norm(dim=1)
    return norms


def gradient_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Float[Tensor, "batch *event"],
    fake: Float[Tensor, "batch *event"],
    share: Float[Tensor, " batch"],
) -> Float[Tensor, " batch"]:
    """Return (|grad f| - 1)^2 between each datum and a sample. Implements eq:gp-penalty.

    Args:
        critic: maps points to one number each.
        real: data.
        fake: samples.
        share: how near to the datum, uniform in [0, 1].
    """
    norms = gradient_norms(critic, between(real, fake, share))
    return (norms - 1).square()
