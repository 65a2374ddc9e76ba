"""Batch normalisation, written out: what it computes in training, and what later.

Chapter: book/primer/convolution.md.  Proof: tests/primer/test_batch_norm.py.
Reference: Ioffe & Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing
Internal Covariate Shift" (2015), algorithms 1 and 2.

Notation: the paper's gamma is ``gain``, beta is ``bias``, epsilon is ``eps``.
"""

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = ["batch_moments", "normalize", "running_average"]


def batch_moments(
    x: Float[Tensor, "batch channels height width"],
) -> tuple[Float[Tensor, " channels"], Float[Tensor, " channels"]]:
    """Return each channel's mean and variance over batch and pixels.

    Implements eq:conv-batch-moments; the variance divides by the count, not by one less.
    """
    return x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3), unbiased=False)


def normalize(
    x: Float[Tensor, "batch channels height width"],
    mean: Float[Tensor, " channels"],
    var: Float[Tensor, " channels"],
    gain: Float[Tensor, " channels"],
    bias: Float[Tensor, " channels"],
    eps: float = 1e-5,
) -> Float[Tensor, "batch channels height width"]:
    """Give each channel this mean and variance away, and its learned ones. eq:conv-batch-norm.

    In training mean and variance are the batch's (``batch_moments``), afterwards the running ones.
    """
    factor = gain / torch.sqrt(var + eps)
    offset = bias - mean * factor
    return x * factor[:, None, None] + offset[:, None, None]


def running_average(
    running: tuple[Tensor, Tensor],
    x: Float[Tensor, "batch channels height width"],
    momentum: float = 0.1,
) -> tuple[Float[Tensor, " channels"], Float[Tensor, " channels"]]:
    """Return the running mean and variance after one more batch. Implements eq:conv-running.

    Here the batch's variance divides by the count less one, as torch does it.

    Raises:
        ValueError: fewer than two numbers a channel.
    """
    count = x.numel() // x.shape[1]
    if count < 2:
        raise ValueError(f"a variance needs two numbers a channel, x has {count}")
    mean, var = batch_moments(x)
    new_mean = (1 - momentum) * running[0] + momentum * mean
    return new_mean, (1 - momentum) * running[1] + momentum * var * count / (count - 1)
