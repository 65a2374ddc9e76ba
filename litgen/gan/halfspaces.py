"""Arithmetic on codes where the answer is known: each attribute is a half-space of the codes.

Chapter: book/gan/faces.md.  Proof: tests/gan/test_halfspaces.py.
Reference: Johnson, Kotz & Balakrishnan, "Continuous Univariate Distributions", volume 1 (1994),
section 10.1, for the moments of a truncated normal number.

A face has an attribute if its code reaches further than ``threshold`` along the attribute's
direction. Directions of different attributes are orthogonal, so that their coordinates are
independent standard normal numbers and can be looked at one by one. By symmetry the codes below a
threshold are those above its negative, turned round.
"""

import math

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = ["mean_above", "mean_length", "share_of_single_sums", "share_of_sums", "variance_above"]


def mean_length(latent: int) -> float:
    """Return the mean length of a standard normal code. Implements eq:dcgan-length.

    Raises:
        ValueError: no dimensions.
    """
    if latent < 1:
        raise ValueError(f"a code needs at least 1 dimension, got {latent}")
    return math.sqrt(2) * math.exp(math.lgamma((latent + 1) / 2) - math.lgamma(latent / 2))


def mean_above(threshold: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Return the mean of normal numbers above a threshold. Implements eq:dcgan-group-mean."""
    log_density = -(threshold**2) / 2 - math.log(2 * math.pi) / 2
    mean: Tensor = (log_density - torch.special.log_ndtr(-threshold)).exp()
    return mean


def variance_above(threshold: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Return the variance of normal numbers above a threshold. Implements eq:dcgan-group-var."""
    mean = mean_above(threshold)
    return 1 + threshold * mean - mean**2


def share_of_sums(threshold: Float[Tensor, "*batch"], count: int) -> Float[Tensor, "*batch"]:
    """Return how often mean(above) - mean(below) + mean(below) is above the threshold itself.

    Implements eq:dcgan-sum-share: each mean is over ``count`` codes of its own, and their sum is
    taken as normal, which it is nearly for many codes. The same holds with the signs of a kept
    attribute, mean(below) - mean(below) + mean(above).

    Raises:
        ValueError: no codes.
    """
    if count < 1:
        raise ValueError(f"each mean needs at least 1 code, got {count}")
    variance = (variance_above(threshold) + 2 * variance_above(-threshold)) / count
    share: Tensor = torch.special.ndtr((mean_above(threshold) - threshold) / variance.sqrt())
    return share


def share_of_single_sums() -> float:
    """Return the same for single codes and threshold 0, exactly. Implements eq:dcgan-octant."""
    return 2 - 4 / math.pi * math.acos(1 / math.sqrt(3))
