"""Grey values as data: the continuous Bernoulli, and what a density says of 8-bit values.

Chapter: book/vae/pitfalls.md.  Proof: tests/vae/test_grey.py.
References: Loaiza-Ganem & Cunningham, "The continuous Bernoulli: fixing a pervasive error in
variational autoencoders" (2019); Theis, van den Oord & Bethge, "A note on the evaluation of
generative models" (2016), section 3.1.

Notation: lambda = s(l), where l is ``logits``; A is ``log_partition``, C is the exponential of
``log_normalizer``; v, a whole grey value 0..255, is ``values`` and lies in the cell from v/256 to
(v + 1)/256. Everything is in nats, summed over the last axis where a docstring says "image".
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from litgen.shapes import Float
from litgen.vae.likelihoods import bernoulli

__all__ = [
    "LEVELS",
    "as_if",
    "continuous_bernoulli",
    "continuous_cells",
    "continuous_mean",
    "continuous_sample",
    "dequantize",
    "gaussian_cells",
    "log_normalizer",
    "log_partition",
    "probability_bound",
]

LEVELS = 256
SERIES_BELOW = 0.2
"""Logits this small are computed by a series: the formulas there take a small difference."""


def as_if(
    x: Float[Tensor, "*#batch pixels"], logits: Float[Tensor, "*#batch pixels"]
) -> Float[Tensor, "*batch"]:
    """Return minus the cross-entropy of grey x, as if pixels were Bernoulli variables.

    Implements eq:pit-as-if: the average log-probability of the black and white images that x would
    be turned into; no log-probability of x itself.

    Raises:
        ValueError: x outside [0, 1], or another number of pixels than logits.
    """
    return bernoulli(x, logits)


def log_partition(logits: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the log of the integral of e^(l x) over x in [0, 1]. Implements eq:pit-partition.

    Computed as l/2 + log(sinh(h) / h) with h = |l|/2, which neither overflows nor, near l = 0,
    divides nothing by nothing.
    """
    half = logits.abs() / 2
    near = half < SERIES_BELOW / 2
    h = torch.where(near, 1.0, half)  # the branch not taken must have a finite gradient
    far_value = h + torch.log1p(-torch.exp(-2 * h)) - torch.log(2 * h)
    h2 = torch.where(near, half, 0.0).square()
    near_value = h2 / 6 - h2**2 / 180 + h2**3 / 2835 - h2**4 / 37800
    return logits / 2 + torch.where(near, near_value, far_value)


def log_normalizer(logits: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return log C(l), what the cross-entropy of a grey pixel lacks. Implements eq:pit-normaliser.

    Never below log 2, its value at l = 0; it grows as log |l|.
    """
    return softplus(logits) - log_partition(logits)


def continuous_bernoulli(
    x: Float[Tensor, "*#batch pixels"], logits: Float[Tensor, "*#batch pixels"]
) -> Float[Tensor, "*batch"]:
    """Return the log-density of an image x in [0, 1]. Implements eq:pit-continuous-bernoulli.

    Raises:
        ValueError: x outside [0, 1] (looked at on the CPU only), or another number of pixels than
            logits.
    """
    _check_pixels(x, logits)
    _check_range(x, "x", 1)
    return (x * logits - log_partition(logits)).sum(dim=-1)


def continuous_mean(logits: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the mean of the continuous Bernoulli, which is not s(l). Implements eq:pit-mean."""
    near = logits.abs() < SERIES_BELOW
    far = torch.where(near, 1.0, logits)
    far_value = -1 / torch.expm1(-far.clamp(min=-60)) - 1 / far  # e^60 is as good as infinity
    small = torch.where(near, logits, 0.0)
    near_value = 0.5 + small / 12 - small**3 / 720 + small**5 / 30240 - small**7 / 1209600
    return torch.where(near, near_value, far_value)


def continuous_sample(
    logits: Float[Tensor, "*#shape"], uniform: Float[Tensor, "*#shape"]
) -> Float[Tensor, "*shape"]:
    """Turn uniform noise in [0, 1) into grey values in [0, 1]. Implements eq:pit-sample.

    The inverse of the distribution function; positive logits by the mirror image, where the
    exponential cannot overflow.
    """
    down = -logits.abs()
    rank = torch.where(logits > 0, 1 - uniform, uniform)
    near = down > -1e-6
    far = torch.where(near, -1.0, down)
    x = torch.where(near, rank, torch.log1p(rank * torch.expm1(far)) / far)
    return torch.where(logits > 0, 1 - x, x).clamp(0, 1)


def dequantize(
    values: Float[Tensor, "*#batch pixels"], noise: Float[Tensor, "*#batch pixels"]
) -> Float[Tensor, "*batch pixels"]:
    """Spread whole values 0..255 over their cells: (values + noise) / 256, in [0, 1).

    Implements eq:pit-dequantize.

    Raises:
        ValueError: values outside 0..255, or noise outside [0, 1] (looked at on the CPU only).
    """
    _check_range(values, "values", LEVELS - 1)
    _check_range(noise, "noise", 1)
    x = (values + noise) / LEVELS
    return x.clamp(max=1 - torch.finfo(x.dtype).eps / 2)  # 255 + noise may round up to 256


def probability_bound(
    log_density: Float[Tensor, "*batch"], pixels: int
) -> Float[Tensor, "*batch"]:
    """Turn the log-density of dequantised images into a bound on the log-probability of values.

    Implements eq:pit-dequantize: each pixel's cell is 1/256 wide, which takes off log 256.

    Raises:
        ValueError: ``pixels`` is not positive.
    """
    if pixels < 1:
        raise ValueError(f"pixels must be positive, got {pixels}")
    return log_density - pixels * math.log(LEVELS)


def continuous_cells(
    values: Float[Tensor, "*#batch pixels"], logits: Float[Tensor, "*#batch pixels"]
) -> Float[Tensor, "*batch"]:
    """Return log P(image) of whole values under the continuous Bernoulli. Implements eq:pit-cell.

    The integral of the density over each pixel's cell; the 256 probabilities sum to one.

    Raises:
        ValueError: values outside 0..255 (looked at on the CPU only), or another number of pixels.
    """
    _check_pixels(values, logits)
    _check_range(values, "values", LEVELS - 1)
    width = log_partition(logits / LEVELS) - math.log(LEVELS)
    return (values * logits / LEVELS + width - log_partition(logits)).sum(dim=-1)


def gaussian_cells(
    values: Float[Tensor, "*#batch pixels"],
    mean: Float[Tensor, "*#batch pixels"],
    log_scale: Float[Tensor, ""],
) -> Float[Tensor, "*batch"]:
    """Return log P(image) of whole values under a Gaussian. Implements eq:pit-gaussian-cell.

    The first and the last cell reach to minus and plus infinity, so that the 256 probabilities sum
    to one.

    Args:
        values: 0..255.
        mean: of dequantised pixels, in [0, 1] or beyond.
        log_scale: log of the standard deviation, in the units of the mean.

    Raises:
        ValueError: values outside 0..255 (looked at on the CPU only), or another number of pixels.
    """
    _check_pixels(values, mean)
    _check_range(values, "values", LEVELS - 1)
    lower = (values / LEVELS - mean) * torch.exp(-log_scale)
    upper = ((values + 1) / LEVELS - mean) * torch.exp(-log_scale)
    right = lower > 0  # a cell in the right tail is mirrored: the left one keeps its digits
    low, high = torch.where(right, -upper, lower), torch.where(right, -lower, upper)
    log_high = torch.special.log_ndtr(high)
    gap = (torch.special.log_ndtr(low) - log_high).clamp(max=-torch.finfo(mean.dtype).tiny)
    inside = log_high + torch.log(-torch.expm1(gap))
    inside = torch.where(values == 0, torch.special.log_ndtr(upper), inside)
    inside = torch.where(values == LEVELS - 1, torch.special.log_ndtr(-lower), inside)
    return inside.sum(dim=-1)


def _check_pixels(x: Tensor, parameters: Tensor) -> None:
    """Broadcasting over pixels would compute a number, and the wrong one."""
    if x.shape[-1:] != parameters.shape[-1:]:
        raise ValueError(
            f"the images have shape {tuple(x.shape)}, the decoder's output "
            f"{tuple(parameters.shape)}: the last axis must hold the same pixels"
        )


def _check_range(x: Tensor, name: str, top: int) -> None:
    """Bytes where [0, 1] is meant, or the reverse, are the usual slip."""
    if x.device.type != "cpu" or x.numel() == 0 or torch.compiler.is_compiling():
        return
    low, high = (bound.item() for bound in torch.aminmax(x.detach()))
    if not (low >= 0 and high <= top):
        raise ValueError(f"{name} must lie in [0, {top}], found {low:.4g} to {high:.4g}")
