"""Smoothed labels: the critic's loss when data count as data only nine times in ten.

Chapter: book/gan/stability.md.  Proof: tests/gan/test_stability.py.
Reference: Salimans, Goodfellow, Zaremba, Cheung, Radford & Chen, "Improved Techniques for Training
GANs" (2016), section 3.4, whose alpha and beta are the targets of data and of samples.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from litgen.shapes import Float

__all__ = ["smoothed_loss", "smoothed_optimum", "smoothed_slope"]


def smoothed_loss(
    real_logits: Float[Tensor, "*real"],
    fake_logits: Float[Tensor, "*fake"],
    real_target: float = 0.9,
    fake_target: float = 0.0,
) -> Float[Tensor, ""]:
    """Return the cross-entropy with targets, in nats, to be lowered. Implements eq:stable-smooth.

    Each average runs over its own batch. Targets 1 and 0 give `litgen.gan.losses`' critic loss.

    Args:
        real_logits: of data.
        fake_logits: of samples.
        real_target: probability of "data" that data should get.
        fake_target: the same for samples; one-sided smoothing leaves it 0.

    Raises:
        ValueError: an empty batch, or targets that are not 0 <= fake < real <= 1.
    """
    _check(real_target, fake_target)
    if real_logits.numel() == 0 or fake_logits.numel() == 0:
        raise ValueError(
            f"{real_logits.numel()} real and {fake_logits.numel()} fake logits, need some of both"
        )
    sides = ((real_logits, real_target), (fake_logits, fake_target))
    real, fake = ((t * softplus(-x) + (1 - t) * softplus(x)).mean() for x, t in sides)
    return real + fake


def smoothed_optimum(
    log_p: Float[Tensor, "*batch"],
    log_q: Float[Tensor, "*batch"],
    real_target: float = 0.9,
    fake_target: float = 0.0,
) -> Float[Tensor, "*batch"]:
    """Return the best critic's logits under smoothed labels. Implements eq:stable-smooth-best.

    Its probability is (alpha p + beta q) / (p + q).

    Raises:
        ValueError: targets that are not 0 <= fake < real <= 1.
    """
    _check(real_target, fake_target)
    alpha, beta = real_target, fake_target
    said_data = torch.logaddexp(log_p + _log(alpha), log_q + _log(beta))
    return said_data - torch.logaddexp(log_p + _log(1 - alpha), log_q + _log(1 - beta))


def smoothed_slope(
    log_ratio: Float[Tensor, "*batch"], real_target: float = 0.9, fake_target: float = 0.0
) -> Float[Tensor, "*batch"]:
    """Return the derivative of the best logit in log p - log q. Implements eq:stable-smooth-slope.

    It is 1 without smoothing. What a sample feels is this number times a difference of scores.

    Raises:
        ValueError: targets that are not 0 <= fake < real <= 1.
    """
    _check(real_target, fake_target)
    alpha, beta = real_target, fake_target
    up = torch.sigmoid(log_ratio + _log(alpha) - _log(beta))
    down = torch.sigmoid(log_ratio + _log(1 - alpha) - _log(1 - beta))
    return up - down


def _log(number: float) -> float:
    """Return the logarithm, minus infinity for 0."""
    return math.log(number) if number > 0 else -math.inf


def _check(real_target: float, fake_target: float) -> None:
    """Refuse targets that name no preference for data."""
    if not 0 <= fake_target < real_target <= 1:
        raise ValueError(f"targets must be 0 <= fake < real <= 1: {fake_target}, {real_target}")
