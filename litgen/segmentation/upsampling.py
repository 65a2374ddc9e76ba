"""Bilinear upsampling as a transposed convolution: every number paints a tent, and tents add up.

Chapter: book/segmentation/fcn.md.  Proof: tests/segmentation/test_upsampling.py.
Reference: Long, Shelhamer & Darrell, "Fully Convolutional Networks for Semantic Segmentation"
(2015), section 3.3: upsampling is backwards strided convolution.

The paper's f, the factor, is ``factor`` here. Pixels are little squares: upsampled pixel r has its
middle at (r + 1/2) / f - 1/2 on the axis of the coarse units.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from litgen.shapes import Float

__all__ = ["bilinear_kernel", "margin", "painted", "tent_matrix", "upsample"]


def bilinear_kernel(factor: int) -> Float[Tensor, " taps"]:
    """Return the tent ``1 - |i - middle| / factor`` of one axis. Implements eq:fcn-tent.

    It has 2 factor taps, or one fewer for an odd factor, whose tent has a tip.

    Raises:
        ValueError: a factor below 1.
    """
    if factor < 1:
        raise ValueError(f"the factor of an upsampling must be positive, got {factor}")
    taps = 2 * factor - factor % 2
    i = torch.arange(taps, dtype=torch.float64)
    return 1 - (i - (taps - 1) / 2).abs() / factor


def margin(factor: int) -> int:
    """Return the pixels to cut from every side so that n units become n factor pixels."""
    return factor // 2


def tent_matrix(size: int, factor: int) -> Float[Tensor, "pixels size"]:
    """Return how much each pixel of an axis takes of each unit. Implements eq:fcn-matrix.

    Between the first and the last unit rows add up to one, eq:fcn-unity, and keep ramps,
    eq:fcn-ramp.
    """
    pixel = (torch.arange(size * factor, dtype=torch.float64) + 0.5) / factor - 0.5
    return (1 - (pixel[:, None] - torch.arange(size)).abs()).clamp(min=0)


def upsample(
    x: Float[Tensor, "batch channels height width"], factor: int
) -> Float[Tensor, "batch channels tall wide"]:
    """Enlarge maps ``factor`` times by tents, rows and columns apart.

    Implements eq:fcn-upsampling.

    Equal to bilinear interpolation wherever a pixel has a unit on either side. In the outer
    factor / 2 pixels one tent is missing and values fade by eq:fcn-border; the order of a pixel's
    channels stays.

    Raises:
        ValueError: a factor below 1.
    """
    if factor < 1:
        raise ValueError(f"the factor of an upsampling must be positive, got {factor}")
    down, across = (tent_matrix(n, factor).to(x) for n in x.shape[2:])
    return down @ x @ across.T


def painted(
    x: Float[Tensor, "batch channels height width"],
    kernel: Float[Tensor, "taps taps"],
    factor: int,
) -> Float[Tensor, "batch channels tall wide"]:
    """Return the transposed convolution of every channel with one kernel, cut to factor times x.

    Raises:
        ValueError: a kernel that does not have as many taps as the bilinear one.
    """
    taps = len(bilinear_kernel(factor))
    if len(kernel) != taps:
        raise ValueError(f"factor {factor} takes {taps} taps, the kernel has {len(kernel)}")
    single = x.flatten(0, 1).unsqueeze(1)  # channels do not mix
    big = F.conv_transpose2d(single, kernel[None, None], stride=factor, padding=margin(factor))
    return big.view(*x.shape[:2], *big.shape[2:])
