"""Adaptive instance normalisation, and the transport of Gaussians that it is a part of.

Chapter: book/style/arbitrary.md.  Proof: tests/style/test_adain.py.
Papers: Huang & Belongie, "Arbitrary style transfer in real-time with adaptive instance
normalization" (2017); Dowson & Landau, "The Frechet distance between multivariate normal
distributions" (1982) for the transport.

    f, g           features of the content and of the style
    m, S; n, T     mean and covariance of content's and of style's Gaussian
"""

import torch
from torch import Tensor

from litgen.shapes import Float
from litgen.style.instance_norm import EPS, moments

__all__ = ["adain", "gaussian_cost", "gaussian_map", "root"]


def adain(
    content: Float[Tensor, "batch channels height width"],
    style: Float[Tensor, "styles channels high wide"],
    strength: float = 1.0,
    eps: float = EPS,
) -> Float[Tensor, "batch channels height width"]:
    """Return the content's features with the style's moments. Implements eq:arb-adain.

    For channels that do not move together it is eq:arb-diagonal, the cheapest map.

    Args:
        content: features.
        style: one picture for all, or one for each; sizes may differ.
        strength: 1 for the style's moments, 0 for the content's own; between, a straight line.
        eps: added to the content's variance alone, so that the style's moments are met exactly
            but for it.

    Raises:
        ValueError: other channels, or neither one style nor one for each picture.
    """
    if style.shape[1] != content.shape[1] or len(style) not in (1, len(content)):
        shapes = f"style has shape {tuple(style.shape)}, content {tuple(content.shape)}"
        raise ValueError(f"{shapes}: the same channels, and one style or one a picture")
    (mean, sd), (wanted_mean, wanted_sd) = moments(content, eps), moments(style, 0.0)
    moved = wanted_sd * (content - mean) / sd + wanted_mean
    return strength * moved + (1 - strength) * content


def root(matrix: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    """Return the symmetric root of a positive semidefinite matrix.

    Raises:
        ValueError: not symmetric, or with a negative eigenvalue.
    """
    if not torch.allclose(matrix, matrix.T, rtol=1e-4, atol=1e-6):
        raise ValueError("the matrix is not symmetric")
    values, vectors = torch.linalg.eigh(matrix)
    if values.min() < -1e-5 * values.abs().max():
        raise ValueError(f"the matrix has the eigenvalue {values.min().item():.3g}")
    found: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    return found


def gaussian_map(
    cov: Float[Tensor, "d d"], wanted_cov: Float[Tensor, "d d"]
) -> Float[Tensor, "d d"]:
    """Return the matrix A that takes N(m, S) to N(n, T) at the least cost, x to A(x - m) + n.

    Implements eq:arb-map. ``cov`` is S, of full rank, ``wanted_cov`` is T.

    Raises:
        ValueError: matrices of different sizes, or one that is no covariance.
    """
    if cov.shape != wanted_cov.shape:
        raise ValueError(f"covariances have shapes {tuple(cov.shape)}, {tuple(wanted_cov.shape)}")
    half = root(cov)
    inverse = torch.linalg.inv(half)
    found: Tensor = inverse @ root(half @ wanted_cov @ half) @ inverse
    return found


def gaussian_cost(
    mean: Float[Tensor, " d"],
    cov: Float[Tensor, "d d"],
    wanted_mean: Float[Tensor, " d"],
    wanted_cov: Float[Tensor, "d d"],
) -> Float[Tensor, ""]:
    """Return the least mean squared way from one Gaussian to another. Implements eq:arb-cost.

    Raises:
        ValueError: shapes that do not fit, or a matrix that is no covariance.
    """
    if not mean.shape == wanted_mean.shape == cov.shape[:1] == wanted_cov.shape[:1]:
        shapes = [tuple(x.shape) for x in (mean, cov, wanted_mean, wanted_cov)]
        raise ValueError(f"means and covariances have shapes {shapes}")
    half = root(cov)
    cross = root(half @ wanted_cov @ half)
    return (mean - wanted_mean).square().sum() + (cov + wanted_cov - 2 * cross).trace()
