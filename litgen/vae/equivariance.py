"""Whether a latent follows its own factor, and stays where it is when another one moves.

Chapter: book/vae/dcign.md.  Proof: tests/vae/test_equivariance.py.
Reference: Kulkarni, Whitney, Kohli & Tenenbaum, "Deep Convolutional Inverse Graphics Network"
(2015), section 3.2: equivariance to the own factor, invariance to the others.

Every matrix has a row for each latent and a column for each factor.
"""

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = ["line", "monotony", "r_squared", "response"]


def r_squared(
    codes: Float[Tensor, "count latent"], factors: Float[Tensor, "count factors"]
) -> Float[Tensor, "latent factors"]:
    """Return the share of each factor's variance that a line through each latent explains.

    Implements eq:dcign-r-squared: the squared correlation; 0 for a latent that never moves.

    Raises:
        ValueError: other numbers of codes and factors, or fewer than two.
    """
    if len(codes) != len(factors) or len(codes) < 2:
        raise ValueError(
            f"{len(codes)} codes and {len(factors)} factors: expected two or more pairs"
        )
    z, f = (v - v.mean(dim=0) for v in (codes, factors))
    covariance = z.T @ f
    squares = z.square().sum(dim=0)[:, None] * f.square().sum(dim=0)
    return torch.where(squares > 0, covariance.square() / squares, 0)


def response(
    sweeps: Float[Tensor, "scenes factors steps latent"],
) -> Float[Tensor, "latent factors"]:
    """Return how far each latent moves while one factor sweeps and all others stay.

    Implements eq:dcign-response: the standard deviation along the sweep, root mean square over
    scenes, as a share of the latent's largest; an invariant latent has 0, its own factor 1.
    """
    moved = sweeps.var(dim=2, correction=0).mean(dim=0).sqrt().T
    return moved / moved.max(dim=1, keepdim=True).values


def monotony(
    sweeps: Float[Tensor, "scenes factors steps latent"],
) -> Float[Tensor, "latent factors"]:
    """Return the share of steps up minus that of steps down while one factor grows.

    Implements eq:dcign-monotony: 1 or -1 for a latent that only rises or only falls, about 0 for
    one that does not care.
    """
    return sweeps.diff(dim=2).sign().mean(dim=(0, 2)).T


def line(
    codes: Float[Tensor, " count"], factor: Float[Tensor, " count"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return offset and slope of the least-squares line from a factor to its latent.

    It is the dial of a slider: where to set the latent for a wanted value of the factor.

    Raises:
        ValueError: a factor that does not vary.
    """
    centred = factor - factor.mean()
    squares = centred.square().sum()
    if not squares > 0:
        raise ValueError("the factor does not vary: no line goes through one place")
    slope = (centred * codes).sum() / squares
    return codes.mean() - slope * factor.mean(), slope
