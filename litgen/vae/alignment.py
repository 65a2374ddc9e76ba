"""Turning one plane of codes onto another, and what a turn costs a VAE with diagonal posteriors.

Chapter: book/vae/convolutional.md.  Proof: tests/vae/test_alignment.py.
References: Schoenemann, "A generalized solution of the orthogonal Procrustes problem" (1966);
Rolinek, Zietlow & Martius, "Variational Autoencoders Pursue PCA Directions (by Accident)" (2019).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = ["Alignment", "align", "planar", "turn_price"]


class Alignment(NamedTuple):
    """The best turn of one set of codes onto another.

    Attributes:
        turn: orthogonal matrix Q; codes @ Q lie on the reference. Determinant -1: mirrored.
        residual: share of the reference's squared spread that is left, from 0 to 1 and more.
    """

    turn: Float[Tensor, "latent latent"]
    residual: float


def align(
    codes: Float[Tensor, "count latent"], reference: Float[Tensor, "count latent"]
) -> Alignment:
    """Find the orthogonal matrix that carries codes onto a reference.

    Implements eq:evo-procrustes. Row i of both belongs to the same datum. Nothing is moved or
    scaled: the prior's centre and size are those of both.

    Raises:
        ValueError: two shapes, or a reference without spread.
    """
    if codes.shape != reference.shape:
        raise ValueError(
            f"codes have shape {tuple(codes.shape)}, the reference {tuple(reference.shape)}"
        )
    size = reference.square().sum()
    if not size > 0:
        raise ValueError("the reference has no spread: every turn fits alike")
    left, _, right = torch.linalg.svd(codes.T @ reference)
    turn = left @ right
    apart = (codes @ turn - reference).square().sum()
    return Alignment(turn, (apart / size).item())


def planar(angle: float) -> Float[Tensor, "2 2"]:
    """Return the matrix Q of a turn of the plane: rows z become z Q, turned counter-clockwise."""
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, s], [-s, c]], dtype=torch.float64)


def turn_price(
    precision: Float[Tensor, "latent latent"], turn: Float[Tensor, "latent latent"]
) -> Float[Tensor, ""]:
    """Return the gap left by the best diagonal posterior after the codes are turned, in nats.

    Implements eq:evo-turn. The likelihood does not feel a turn; a diagonal q does, unless all
    directions have one precision.

    Args:
        precision: of the exact Gaussian posterior.
        turn: Q; codes z become z Q.
    """
    turned = turn.T @ precision @ turn
    # a turn keeps the determinant
    log_det = torch.linalg.slogdet(precision).logabsdet
    price: Tensor = 0.5 * (turned.diagonal().log().sum() - log_det)
    return price
