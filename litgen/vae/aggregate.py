"""All codes together: the aggregated posterior's density, its distance from the prior, its scale.

Chapter: book/vae/convolutional.md.  Proof: tests/vae/test_aggregate.py.
Reference: Hoffman & Johnson, "ELBO surgery: yet another way to carve up the variational evidence
lower bound" (2016).

Notation: q(z) is the average of q(z|x) over the data; its components are given by ``mean`` and
``log_var``. Everything is in nats.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from litgen import gaussian
from litgen.shapes import Float

__all__ = ["Grid", "grid_kl", "log_density", "price_of_scale", "rescaled_kl", "second_moment"]


class Grid(NamedTuple):
    """Middles of the equal cells of a square.

    Attributes:
        points: (side * side, 2), row by row from the top, as on a page.
        cell: area of a cell.
    """

    points: Float[Tensor, "cells 2"]
    cell: float

    @classmethod
    def square(cls, extent: float, side: int) -> "Grid":
        """Cut the square from -extent to extent into side times side cells."""
        if side < 1 or not extent > 0:
            raise ValueError(f"a grid needs a positive extent and side, got {extent} and {side}")
        width = 2 * extent / side
        axis = (torch.arange(side) + 0.5) * width - extent
        across, up = torch.meshgrid(axis, axis.flip(0), indexing="xy")
        return cls(torch.stack([across, up], dim=-1).view(-1, 2), width**2)


def log_density(
    z: Float[Tensor, "places latent"],
    mean: Float[Tensor, "count latent"],
    log_var: Float[Tensor, "count latent"],
    chunk: int = 2_000,
) -> Float[Tensor, " places"]:
    """Return log q(z), the log of the average of the data's posteriors at z.

    Implements eq:evo-aggregate. Memory grows with chunk times count times latent.
    """
    parts = [
        torch.logsumexp(gaussian.log_prob(part.unsqueeze(1), mean, log_var), dim=1)
        for part in z.split(chunk)
    ]
    return torch.cat(parts) - math.log(len(mean))


def grid_kl(
    log_q: Float[Tensor, " cells"], log_p: Float[Tensor, " cells"], cell: float
) -> Float[Tensor, ""]:
    """Return KL(q || p) as a sum over the cells of a grid. Implements eq:evo-grid-kl.

    Mass of q outside of the grid is not seen: the densities are taken as given, so check that
    q sums to one over the grid before trusting it.

    Raises:
        ValueError: q's mass on the grid is off one by more than 2 %.
    """
    q = log_q.double().exp() * cell
    mass = q.sum().item()
    if not abs(mass - 1) <= 0.02:
        raise ValueError(f"q has mass {mass:.3f} on the grid: widen it, or make it finer")
    terms = torch.where(q > 0, q * (log_q.double() - log_p.double()), torch.zeros_like(q))
    return terms.sum()


def second_moment(
    mean: Float[Tensor, "count latent"], log_var: Float[Tensor, "count latent"]
) -> Float[Tensor, " latent"]:
    """Return E z_j^2 under the aggregated posterior. Implements eq:evo-moment.

    It is 1 in every dimension wherever no rescaling of the codes can raise the bound.
    """
    return (mean.square() + log_var.exp()).mean(dim=0)


def rescaled_kl(
    mean: Float[Tensor, "count latent"],
    log_var: Float[Tensor, "count latent"],
    scale: Float[Tensor, " latent"],
) -> Float[Tensor, ""]:
    """Return the mean KL after all codes are multiplied by a scale. Implements eq:evo-rescaled.

    The decoder divides by it: the reconstruction stays as it is.
    """
    return gaussian.kl_to_standard(mean * scale, log_var + 2 * scale.log()).mean()


def price_of_scale(moment: Float[Tensor, " latent"]) -> Float[Tensor, ""]:
    """Return the nats that the best rescaling of the codes would save. Implements eq:evo-scale.

    Zero only if every second moment is 1.
    """
    return 0.5 * (moment - 1 - moment.log()).sum()
