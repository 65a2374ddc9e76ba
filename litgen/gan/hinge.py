"""The hinge game: a critic with margins, the best one, and the distance that it measures.

Chapter: book/gan/biggan.md.  Proof: tests/gan/test_hinge.py.
References: Lim & Ye, "Geometric GAN" (2017); Tran, Ranganath & Blei, "Hierarchical Implicit
Models and Likelihood-Free Variational Inference" (2017); Miyato et al. (2018), equations 16, 17.

Notation: the critic's f(x) is a value without units; positive values say "data".
"""

import math

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = [
    "best_critic",
    "critic_loss",
    "gaussian_variation",
    "generator_loss",
    "total_variation",
]


def critic_loss(
    real_values: Float[Tensor, "*real"], fake_values: Float[Tensor, "*fake"]
) -> Float[Tensor, ""]:
    """Return E max(0, 1 - f(x)) + E max(0, 1 + f(G(z))), to be lowered. Implements eq:big-hinge.

    Each average runs over its own batch; a critic that says 0 to everything has loss 2.

    Raises:
        ValueError: an empty batch.
    """
    if real_values.numel() == 0 or fake_values.numel() == 0:
        raise ValueError(
            f"{real_values.numel()} real and {fake_values.numel()} fake values, need some of both"
        )
    return (1 - real_values).relu().mean() + (1 + fake_values).relu().mean()


def generator_loss(fake_values: Float[Tensor, "*fake"]) -> Float[Tensor, "*fake"]:
    """Return -f for each sample, to be lowered: no hinge here. Implements eq:big-hinge-generator.

    Against the best critic its mean is eq:big-hinge-fooling.
    """
    return -fake_values


def best_critic(
    p: Float[Tensor, "*batch points"], q: Float[Tensor, "*batch points"]
) -> Float[Tensor, "*batch points"]:
    """Return the sign of p - q, which no critic's hinge loss undercuts. Implements eq:big-best.

    Where p = q every value from -1 to 1 is as good; 0 is returned. ``p`` and ``q`` are
    probabilities or densities at the same points.
    """
    return torch.sign(p - q)


def total_variation(
    p: Float[Tensor, "*batch points"], q: Float[Tensor, "*batch places"]
) -> Float[Tensor, "*batch"]:
    """Return half the sum of abs(p - q), between 0 and 1. Implements eq:big-variation.

    The best critic's hinge loss is 2 (1 - TV) (eq:big-hinge-best).

    Raises:
        ValueError: other numbers of points, or probabilities that do not sum to one.
    """
    if p.shape[-1] != q.shape[-1]:
        raise ValueError(f"p and q are over the same points, got {p.shape[-1]}, {q.shape[-1]}")
    for name, part in (("p", p), ("q", q)):
        off = (part.sum(dim=-1) - 1).abs().max().item()
        if off > 1e-4 or part.min() < 0:
            raise ValueError(f"{name} is no distribution: sum off by {off:.2g}, or negative")
    return (p - q).abs().sum(dim=-1) / 2


def gaussian_variation(distance: float, std: float) -> float:
    """Return the total variation of two Gaussians of one width, their means so far apart.

    Implements eq:big-gaussian-variation. The best critic is 1 on one side of the middle and -1 on
    the other.

    Raises:
        ValueError: a width that is not positive.
    """
    if not std > 0:
        raise ValueError(f"std must be positive, got {std}")
    return math.erf(abs(distance) / (2 * math.sqrt(2) * std))
