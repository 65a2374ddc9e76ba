"""From 8-bit values to densities on real numbers, and back to honest bits.

Chapter: book/flows/realnvp.md.  Proof: tests/flows/test_dequantization.py.
References: Theis, van den Oord & Bethge, "A note on the evaluation of generative models" (2016),
section 3.1; Dinh, Sohl-Dickstein & Bengio (2017), section 4.1; Ho, Chen, Srinivas, Duan &
Abbeel, "Flow++" (2019), section 3.1.
"""

import math

import torch
from torch import Tensor

from litgen.gaussian import standard_log_prob
from litgen.shapes import Float, UInt8

__all__ = [
    "LEVELS",
    "from_logit",
    "image_log_prob",
    "logit_noise",
    "to_logit",
    "uniform",
    "variational_bound",
]

LEVELS = 256


def uniform(
    values: UInt8[Tensor, "*shape"], noise: Float[Tensor, "*shape"], levels: int = LEVELS
) -> Float[Tensor, "*shape"]:
    """Return (values + noise) / levels, in [0, 1). Implements eq:dequantize-uniform.

    Args:
        values: 0..levels - 1.
        noise: in [0, 1).
        levels: how many values a pixel can have.

    Raises:
        ValueError: noise outside [0, 1), or a value that is no level.
    """
    if not ((noise >= 0) & (noise < 1)).all():
        raise ValueError("dequantisation noise lies outside [0, 1)")
    if (values.int() >= levels).any():  # a byte cannot be compared with 256
        raise ValueError(f"a value of {int(values.max())} is none of {levels} levels")
    x = (values + noise) / levels
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


def logit_noise(
    mean: Float[Tensor, "batch *shape"],
    log_scale: Float[Tensor, "batch *shape"],
    noise: Float[Tensor, "batch *shape"],
) -> tuple[Float[Tensor, "batch *shape"], Float[Tensor, " batch"]]:
    """Turn normal noise into noise u in (0, 1); return u and log q(u) in nats.

    Implements eq:dequantize-noise: the logit of u is normal, gradients reach mean and log_scale.
    """
    y = mean + log_scale.exp() * noise
    log_slope = torch.nn.functional.logsigmoid(y) + torch.nn.functional.logsigmoid(-y)
    stretched = (log_scale + log_slope).flatten(1).sum(dim=1)
    return torch.sigmoid(y), standard_log_prob(noise.flatten(1)) - stretched


def image_log_prob(
    log_density: Float[Tensor, " batch"], pixels: int, levels: int = LEVELS
) -> Float[Tensor, " batch"]:
    """Turn a log-density of x in [0, 1) into one of whole values. Implements eq:dequantize-bound.

    A lower bound, in the mean over the noise, on the log-probability of the values in nats: a
    level is 1/levels wide, so each of the pixels takes off the log of levels.
    """
    return log_density - pixels * math.log(levels)


def variational_bound(
    log_density: Float[Tensor, " batch"],
    noise_log_prob: Float[Tensor, " batch"],
    pixels: int,
    levels: int = LEVELS,
) -> Float[Tensor, " batch"]:
    """Return log p(values + u) - log q(u | values), in nats. Implements eq:dequantize-variational.

    Args:
        log_density: of x = (values + u) / levels in [0, 1).
        noise_log_prob: log q(u | values) of the noise u in [0, 1) that was drawn; uniform noise
            has 0, which gives eq:dequantize-bound back.
        pixels: dimensions of x.
        levels: how many values a pixel can have.
    """
    return image_log_prob(log_density, pixels, levels) - noise_log_prob


def _check_margin(margin: float) -> None:
    if not 0 < margin < 0.5:
        raise ValueError(f"margin must lie between 0 and 1/2, got {margin}")
