"""Cases of style transfer whose answer is known: features that are moved directly.

Chapter: book/style/gatys.md.  Proof: tests/style/test_known.py.
Reference: Olkin & Pukelsheim, "The distance between two random vectors with given dispersion
matrices" (1982).

    P      features of the content, (channels, places); G = P P^T / M, its Gram matrix
    A      Gram matrix of the style
    T      the linear map that turns G into A and moves features least
"""

import numpy as np
import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = ["closest", "root", "stretch"]


def root(matrix: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """Return the symmetric square root of a symmetric matrix without negative eigenvalues."""
    values, vectors = torch.linalg.eigh(matrix)
    half: Tensor = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    return half


def closest(
    features: Float[Tensor, "channels places"], wanted: Float[Tensor, "channels channels"]
) -> Float[Tensor, "channels places"]:
    """Return the features with Gram matrix A that are closest to P. Implements eq:gatys-closest.

    Args:
        features: P, with channels that are linearly independent.
        wanted: A.

    Raises:
        ValueError: channels that depend on each other, or another number of them.
    """
    if wanted.shape != (len(features), len(features)):
        raise ValueError(f"{len(features)} channels, Gram matrix {tuple(wanted.shape)}")
    found = features @ features.T / features.shape[1]
    values = torch.linalg.eigvalsh(found)
    if values[0] <= 1e-10 * values[-1]:
        raise ValueError(f"the {len(features)} channels depend on each other linearly")
    half = root(found)
    inverse = torch.linalg.inv(half)
    moved: Tensor = inverse @ root(half @ wanted @ half) @ inverse @ features
    return moved


def stretch(power: float, wanted: float, ratio: float, channels: int) -> float:
    """Return t >= 0 that minimises alpha/(2N) p (t-1)^2 + beta/(4N^2) (p t^2 - a)^2.

    Implements eq:gatys-cubic: content and style where both Gram matrices have the same
    eigenvectors; t is what one of these directions is multiplied by.

    Args:
        power: p, eigenvalue of the content's Gram matrix.
        wanted: a, that of the style's.
        ratio: beta over alpha.
        channels: N.

    Raises:
        ValueError: a power or a ratio that is not positive, or a negative eigenvalue.
    """
    if power <= 0 or ratio <= 0 or wanted < 0:
        raise ValueError(f"wanted p, ratio > 0 and a >= 0, got {power}, {ratio} and {wanted}")
    slope = [ratio / channels * power, 0, 1 - ratio / channels * wanted, -1]
    # one change of sign: one positive root; roots sum to 0: real parts of the others are negative
    return max(float(t.real) for t in np.roots(slope))
