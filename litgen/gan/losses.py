"""The adversarial game in logits: both players' losses, the best critic, what its value measures.

Chapter: book/start/one_picture.md.  Proof: tests/gan/test_losses.py.
References: Goodfellow et al., "Generative Adversarial Nets" (2014), equation 1, proposition 1 and
theorem 1; Arjovsky & Bottou, "Towards Principled Methods for Training Generative Adversarial
Networks" (2017), theorem 2.5.

Notation: the paper's D(x) is the logistic function of ``logits``; positive logits say "data". All
logarithms are computed by softplus, so that no logit, however large, gives an infinite loss.
"""

import math

from torch import Tensor
from torch.nn.functional import softplus

from litgen.shapes import Float

__all__ = [
    "discriminator_loss",
    "generator_loss",
    "jensen_shannon",
    "optimal_logits",
    "saturating_loss",
]


def discriminator_loss(
    real_logits: Float[Tensor, "*real"], fake_logits: Float[Tensor, "*fake"]
) -> Float[Tensor, ""]:
    """Return -E[log D(x)] - E[log(1 - D(G(z)))] in nats, to be lowered. Implements eq:gan-value.

    Each average runs over its own batch, so the two may differ in size; a critic that knows
    nothing (all logits 0) has loss 2 log 2.

    Raises:
        ValueError: an empty batch.
    """
    if real_logits.numel() == 0 or fake_logits.numel() == 0:
        raise ValueError(
            f"{real_logits.numel()} real and {fake_logits.numel()} fake logits, need some of both"
        )
    return softplus(-real_logits).mean() + softplus(fake_logits).mean()


def saturating_loss(fake_logits: Float[Tensor, "*fake"]) -> Float[Tensor, "*fake"]:
    """Return log(1 - D) for each sample, to be lowered: the game as it is derived.

    Implements eq:gan-saturating. Its slope in the logit, -D, vanishes where the critic is right
    (eq:gan-slopes).
    """
    return -softplus(fake_logits)


def generator_loss(fake_logits: Float[Tensor, "*fake"]) -> Float[Tensor, "*fake"]:
    """Return -log D for each sample, to be lowered: the non-saturating loss that is in use.

    Implements eq:gan-non-saturating. Its slope in the logit is D - 1, near -1 where the critic is
    right (eq:gan-slopes).
    """
    return softplus(-fake_logits)


def optimal_logits(
    log_p: Float[Tensor, "*batch"], log_q: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """Return the best critic's logits where data have density p and samples q, in nats.

    Implements eq:gan-optimal. Its gradient in x is a difference of scores
    (eq:gan-logit-gradient).
    """
    return log_p - log_q


def jensen_shannon(
    real_logits: Float[Tensor, "*real"], fake_logits: Float[Tensor, "*fake"]
) -> Float[Tensor, ""]:
    """Return log 2 minus half the critic's loss, in nats. Implements eq:gan-js.

    With the best critic it is the Jensen-Shannon divergence, between 0 and log 2, up to the error
    of the two averages; with any other critic it is less, and may be negative.

    Raises:
        ValueError: an empty batch.
    """
    return math.log(2) - discriminator_loss(real_logits, fake_logits) / 2
