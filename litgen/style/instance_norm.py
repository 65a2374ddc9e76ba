"""Instance normalisation, and a style as its gains and biases.

Chapter: book/style/arbitrary.md.  Proof: tests/style/test_instance_norm.py.
Papers: Ulyanov, Vedaldi & Lempitsky, "Instance normalization: the missing ingredient for fast
stylization" (2016); Dumoulin, Shlens & Kudlur, "A learned representation for artistic style"
(2017).

    mu, sigma      mean and standard deviation of a channel over one picture's places
    gamma, beta    gains and biases, one a channel; s = (gamma, beta) of all layers is a style
    w              how much of each style: (1, 0, ...) is the first, sums to 1
"""

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = ["blend", "instance_norm", "modulated", "moments"]

EPS = 1e-5
"""Added to variances, so that a channel without contrast stays finite."""


def moments(
    x: Float[Tensor, "batch channels height width"], eps: float = EPS
) -> tuple[Float[Tensor, "batch channels 1 1"], Float[Tensor, "batch channels 1 1"]]:
    """Return each channel's mean and standard deviation over places. Implements eq:arb-moments.

    Args:
        x: features; every picture has moments of its own.
        eps: added to the variance, which is the mean of squares, not of one square less.

    Raises:
        ValueError: a picture without places.
    """
    if x.shape[2] * x.shape[3] == 0:
        raise ValueError(f"features without places: {tuple(x.shape)}")
    variance, mean = torch.var_mean(x, dim=(2, 3), correction=0, keepdim=True)
    return mean, (variance + eps).sqrt()


def instance_norm(
    x: Float[Tensor, "batch channels height width"], eps: float = EPS
) -> Float[Tensor, "batch channels height width"]:
    """Return features less their mean, over their deviation. Implements eq:arb-instance-norm."""
    mean, sd = moments(x, eps)
    return (x - mean) / sd


def modulated(
    x: Float[Tensor, "batch channels height width"],
    gain: Float[Tensor, "styles channels"],
    bias: Float[Tensor, "styles channels"],
) -> Float[Tensor, "batch channels height width"]:
    """Return gain times normalised features plus bias. Implements eq:arb-conditional.

    Args:
        x: features.
        gain: of each picture's channels, or one row for all pictures.
        bias: likewise.

    Raises:
        ValueError: neither one row nor one for each picture, or another number of channels.
    """
    for name, values in (("gain", gain), ("bias", bias)):
        if values.shape[1] != x.shape[1] or len(values) not in (1, len(x)):
            shapes = f"{name} has shape {tuple(values.shape)}, features {tuple(x.shape)}"
            raise ValueError(f"{shapes}: one row, or one a picture, of a number a channel")
    mean, sd = moments(x)
    scale = gain[:, :, None, None] / sd
    return torch.addcmul(bias[:, :, None, None] - mean * scale, x, scale)  # x is read once


def blend(
    styles: Float[Tensor, "styles numbers"], weights: Float[Tensor, "batch styles"]
) -> Float[Tensor, "batch numbers"]:
    """Return mixed gains and biases, a row for each row of weights. Implements eq:arb-blend.

    Raises:
        ValueError: not one weight for each style, or weights that do not sum to 1.
    """
    if weights.shape[1] != len(styles):
        raise ValueError(f"{weights.shape[1]} weights for {len(styles)} styles")
    sums = weights.sum(dim=1)
    if not torch.allclose(sums, torch.ones_like(sums), atol=1e-4):
        raise ValueError(f"weights sum to {sums.tolist()}, not to 1")
    return weights @ styles
