"""What a critic says of a place, and where it sends a sample that is there.

Chapter: book/gan/toy2d.md.  Proof: tests/gan/test_field.py.
Reference: Goodfellow et al., "Generative Adversarial Nets" (2014), figure 1.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from litgen.gan import losses
from litgen.shapes import Float

__all__ = ["advice", "places"]


def advice(
    critic: Callable[[Tensor], Tensor],
    x: Float[Tensor, "count dims"],
    loss: Callable[[Tensor], Tensor] = losses.generator_loss,
) -> Float[Tensor, "count dims"]:
    """Return minus the gradient of each sample's loss in the sample. Implements eq:game-advice.

    It is the direction in which the sample should move to lower its loss, and all that a generator
    learns from its critic (eq:game-chain). The critic's weights get no gradient.

    Args:
        critic: maps points to one logit each, none of which depends on the other points.
        x: samples.
        loss: of logits, one number a sample.
    """
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(loss(critic(x)).sum(), x)
    return -gradient


def places(extent: float, count: int) -> Float[Tensor, "places 2"]:
    """Return the centres of count x count cells of a square, the row with the largest y first.

    Args:
        extent: half the square's side.
        count: cells along a side.

    Raises:
        ValueError: no cells, or a square without area.
    """
    if count < 1 or not extent > 0:
        raise ValueError(f"a square of {count} cells a side and half side {extent} has no places")
    axis = (torch.arange(count) + 0.5) / count * 2 * extent - extent
    x, y = torch.meshgrid(axis, axis.flip(0), indexing="xy")
    return torch.stack([x, y], dim=-1).view(-1, 2)
