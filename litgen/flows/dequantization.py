"""From 8-bit values to densities on real numbers, and back to honest bits.

Chapter: book/flows/realnvp.md.  Proof: tests/flows/test_dequantization.py.
References: Theis, van den Oord & Bethge, "A note on the evaluation of generative models" (2016),
section 3.1; Dinh, Sohl-Dickstein & Bengio (2017), section 4.1; Ho, Chen, Srinivas, Duan &
Abbeel, "Flow++" (2019), section 3.1.
"""

import math

import torch
from torch import Tensor

from litgen.shapes import Float, UInt8

__all__ = ["LEVELS", "from_logit", "image_log_prob", "to_logit", "uniform", "variational_bound"]

LEVELS = 256


def uniform(
    values: UInt8[Tensor, "*shape"], noise: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Return (values + noise) / 256, in [0, 1). Implements eq:dequantize-uniform.

    Args:
        values: 0..255.
        noise: in [0, 1).

    Raises:
        ValueError: noise outside [0, 1).
    """
    if not ((noise >= 0) & (noise < 1)).all():
        raise ValueError("dequantisation noise lies outside [0, 1)")
    x = (values + noise) / LEVELS
    below_one = 1 - torch.finfo(x.dtype).eps / 2  # 255 + u may round up to 256
    return x.clamp(max=below_one)


def to_logit(
    x: Float[Tensor, "batch *shape"], margin: float = 0.05
) -> tuple[Float[Tensor, "batch *shape"], Float[Tensor, " batch"]]:
    """Spread [0, 1] over the real line; return y and log|det dy/dx|.

    Implements eq:logit-transform.

    Args:
        x: data in [0, 1].
        margin: x is first squeezed into [margin, 1 - margin], away from the poles of the logit.

    Raises:
        ValueError: data outside [0, 1], or a margin outside (0, 1/2).
    """
    _check_margin(margin)
    if not ((x >= 0) & (x <= 1)).all():
        raise ValueError("data lie outside [0, 1]: dequantise them first")
    inner = margin + (1 - 2 * margin) * x
    slope = math.log(1 - 2 * margin) - inner.log() - torch.log1p(-inner)
    return inner.log() - torch.log1p(-inner), slope.flatten(1).sum(dim=1)


def from_logit(
    y: Float[Tensor, "batch *shape"], margin: float = 0.05
) -> Float[Tensor, "batch *shape"]:
    """Return x in [0, 1], given `to_logit`'s y; what lies outside the range is cut off.

    Raises:
        ValueError: a margin outside (0, 1/2).
    """
    _check_margin(margin)
    return ((torch.sigmoid(y) - margin) / (1 - 2 * margin)).clamp(0, 1)


def image_log_prob(log_density: Float[Tensor, " batch"], pixels: int) -> Float[Tensor, " batch"]:
    """Turn a log-density of x in [0, 1) into one of 8-bit values. Implements eq:dequantize-bound.

    A lower bound, in the mean over the noise, on the log-probability of the values in nats: a
    level is 1/256 wide, so each of the pixels takes off log 256.
    """
    return log_density - pixels * math.log(LEVELS)


def variational_bound(
    log_density: Float[Tensor, " batch"],
    noise_log_prob: Float[Tensor, " batch"],
    pixels: int,
) -> Float[Tensor, " batch"]:
    """Return log p(values + u) - log q(u | values), in nats. Implements eq:dequantize-variational.

    Args:
        log_density: of x = (values + u) / 256 in [0, 1).
        noise_log_prob: log q(u | values) of the noise u in [0, 1) that was drawn; uniform noise
            has 0, which gives eq:dequantize-bound back.
        pixels: dimensions of x.
    """
    return image_log_prob(log_density, pixels) - noise_log_prob


def _check_margin(margin: float) -> None:
    if not 0 < margin < 0.5:
        raise ValueError(f"margin must lie between 0 and 1/2, got {margin}")
