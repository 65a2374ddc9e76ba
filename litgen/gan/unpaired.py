"""Unpaired matching where everything is known: lines, and Gaussian domains with linear maps.

Chapter: book/gan/cyclegan.md.  Proof: tests/gan/test_unpaired.py.
References: Galanti, Wolf & Benaim, "The Role of Minimal Complexity Functions in Unsupervised
Learning of Semantic Mappings" (2018), for the ambiguity; Olkin & Pukelsheim, "The Distance between
Two Random Vectors with Given Dispersion Matrices" (1982), for the nearest map.

Domains are centred: N(0, C_X) and N(0, C_Y). The translator there is the matrix A, back is B.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = [
    "hidden_error",
    "mismatch",
    "nearest",
    "noise_through",
    "rearranged",
    "root",
    "solution",
    "turn_of",
]

Square = Float[Tensor, "dims dims"]
Matrix = Float[Tensor, "*batch dims dims"]


def rearranged(
    ranks: Float[Tensor, "*batch"], shift: float = 0.0, flipped: bool = False
) -> Float[Tensor, "*batch"]:
    """Return each rank's new place in (0, 1): an exchange of intervals that keeps the uniform law.

    Implements eq:cycle-line: with the ranks F_X(x), Y's quantiles of what is returned are a
    translation of X onto Y that no critic can tell from the data, and that has an inverse.

    Args:
        ranks: shares of X's probability to the left, between 0 and 1.
        shift: how far ranks move, around the circle.
        flipped: first swap left and right.
    """
    start = 1 - ranks if flipped else ranks
    return (start + shift) % 1


def root(covariance: Square, power: float = 0.5) -> Square:
    """Return a symmetric positive matrix to a power, by its eigenvectors.

    Raises:
        ValueError: a matrix that is not positive definite.
    """
    values, vectors = torch.linalg.eigh(covariance)
    if not bool((values > 0).all()):
        raise ValueError(f"a covariance must be positive definite, has {values.min().item():.3g}")
    found: Tensor = (vectors * values.pow(power)) @ vectors.mT
    return found


def solution(cov_x: Square, cov_y: Square, turn: Matrix) -> Matrix:
    """Return the map of N(0, C_X) onto N(0, C_Y) that has this orthogonal matrix inside.

    Implements eq:cycle-family. Its inverse maps Y onto X: critics and cycles are content.
    """
    return root(cov_y) @ turn @ root(cov_x, -0.5)


def turn_of(there: Matrix, cov_x: Square, cov_y: Square) -> Matrix:
    """Return C_Y^(-1/2) A C_X^(1/2), orthogonal where A matches the domains. Undoes `solution`."""
    return root(cov_y, -0.5) @ there @ root(cov_x)


def nearest(cov_x: Square, cov_y: Square) -> Square:
    """Return the map of X onto Y that moves points least, in mean square.

    Implements eq:cycle-nearest.
    """
    half = root(cov_x)
    inverse = root(cov_x, -0.5)
    return inverse @ root(half @ cov_y @ half) @ inverse


def hidden_error(there: Matrix, true: Square, cov_x: Square) -> Float[Tensor, "*batch"]:
    """Return E|Ax - A*x|^2 over X: what the hidden pairs would say. Implements eq:cycle-error."""
    off = there - true
    error: Tensor = (off @ cov_x * off).sum(dim=(-2, -1))
    return error


class Mismatch(NamedTuple):
    """How far linear translators are from what critics and cycles ask; each is 0 at best."""

    there: Tensor
    back: Tensor
    cycle: Tensor


def mismatch(there: Matrix, back: Matrix, cov_x: Square, cov_y: Square) -> Mismatch:
    """Return the divergences of both translated laws from the true ones, in nats, and the cycles.

    Implements eq:cycle-linear: KL(N(0, A C_X A') || N(0, C_Y)) and its twin stand for the critics;
    the cycle is the mean squared length of BAx - x plus that of ABy - y.
    """

    def divergence(made: Tensor, wanted: Tensor) -> Tensor:
        ratio = torch.linalg.solve(wanted, made)
        trace = ratio.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
        nats: Tensor = (trace - made.shape[-1] - torch.linalg.slogdet(ratio).logabsdet) / 2
        return nats

    eye = torch.eye(there.shape[-1], dtype=there.dtype)
    cycle = hidden_error(back @ there, eye, cov_x) + hidden_error(there @ back, eye, cov_y)
    return Mismatch(
        divergence(there @ cov_x @ there.mT, cov_y),
        divergence(back @ cov_y @ back.mT, cov_x),
        cycle,
    )


def noise_through(back: Matrix, scale: float) -> Float[Tensor, "*batch"]:
    """Return by how much noise on a translation raises the squared error of the way back.

    Implements eq:cycle-gain: the noise has this standard deviation in each dimension.
    """
    error: Tensor = scale**2 * back.square().sum(dim=(-2, -1))
    return error
