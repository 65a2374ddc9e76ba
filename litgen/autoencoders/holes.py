"""Holes: where no code of a datum lies, and what a decoder says there.

Chapter: book/autoencoders/dense.md.  Proof: tests/autoencoders/test_holes.py.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = ["crowding", "nearest_distance", "return_distance"]

Map = Callable[[Tensor], Tensor]


def nearest_distance(
    x: Float[Tensor, "count dims"], data: Float[Tensor, "n dims"], block: int = 500
) -> Float[Tensor, " count"]:
    """Return each point's distance to the nearest datum. Implements eq:ae-nearest.

    Raises:
        ValueError: no data, or other dimensions.
    """
    if not len(data) or x.shape[1:] != data.shape[1:]:
        raise ValueError(f"points {tuple(x.shape)}, data {tuple(data.shape)}")
    squares = data.square().sum(dim=1)
    parts = []
    for rows in x.split(block):
        found = (squares - 2 * rows @ data.T).min(dim=1)  # the nearest; its distance anew
        parts.append((rows - data[found.indices]).norm(dim=1))
    return torch.cat(parts)


def crowding(
    z: Float[Tensor, "count latent"], codes: Float[Tensor, "n latent"], k: int = 10
) -> Float[Tensor, " count"]:
    """Return the log of the density of codes at each place, in nats, by the k-th neighbour.

    Implements eq:ae-crowding.

    Raises:
        ValueError: fewer than k codes, or other dimensions.
    """
    if not 1 <= k <= len(codes) or z.shape[1:] != codes.shape[1:]:
        raise ValueError(f"k is {k}, places {tuple(z.shape)}, codes {tuple(codes.shape)}")
    n, dims = codes.shape
    radius = torch.cat([torch.cdist(p, codes).kthvalue(k, dim=1).values for p in z.split(500)])
    log_ball = 0.5 * dims * math.log(math.pi) - math.lgamma(dims / 2 + 1)
    return math.log(k / n) - log_ball - dims * radius.clamp(min=1e-12).log()


def return_distance(
    z: Float[Tensor, "count latent"], encode: Map, decode: Map
) -> Float[Tensor, " count"]:
    """Return how far a code is from the code of its own image. Implements eq:cae-return."""
    distance: Tensor = (encode(decode(z)) - z).norm(dim=1)
    return distance
