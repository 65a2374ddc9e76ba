"""Precision, recall, density, coverage: whether samples lie where data are, and reach them all.

Chapter: book/evaluation/metrics.md.  Proof: tests/evaluation/test_manifolds.py.
References: Kynkaanniemi et al., "Improved Precision and Recall Metric for Assessing Generative
Models" (2019); Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models"
(2020).

A set's manifold is taken to be the union of balls around its points, each reaching to the point's
k-th neighbour in its own set.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = ["Manifolds", "compare", "expected_coverage", "radii"]


class Manifolds(NamedTuple):
    """Four shares; all are 1 for very many samples of the data's own distribution, about.

    Attributes:
        precision: of the samples that lie in a ball of the data.
        recall: of the data that lie in a ball of the samples.
        density: balls of the data around a sample, on average, over k; may pass 1.
        coverage: of the data whose own ball holds a sample.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def radii(x: Float[Tensor, "count dims"], k: int, block: int = 1_024) -> Float[Tensor, " count"]:
    """Return each point's distance to its k-th neighbour in its own set, in double precision.

    Implements eq:manifold-radius: the point itself is not counted.

    Raises:
        ValueError: fewer than k other points.
    """
    if not 1 <= k < len(x):
        raise ValueError(f"k is {k}, each point has {len(x) - 1} others")
    x = x.double()  # the distances are made by matrix products, which round
    parts = [torch.cdist(rows, x).kthvalue(k + 1, dim=1).values for rows in x.split(block)]
    return torch.cat(parts)


def expected_coverage(data: int, samples: int, k: int = 5) -> float:
    """Return the mean coverage of samples of the data's own distribution, whichever it is.

    Implements eq:manifold-expected: a datum is not covered when its k nearest among all other
    points are data. The mean density is 1 then.

    Args:
        data: how many data.
        samples: how many samples.
        k: neighbours that a ball reaches to.

    Raises:
        ValueError: fewer than k other data, or no samples.
    """
    if not 1 <= k < data or samples < 1:
        raise ValueError(f"k is {k}, there are {data} data and {samples} samples")
    missed = 1.0
    for j in range(1, k + 1):
        missed *= (data - j) / (data + samples - j)
    return 1 - missed


def compare(
    data: Float[Tensor, "m dims"],
    samples: Float[Tensor, "n dims"],
    k: int = 5,
    block: int = 1_024,
) -> Manifolds:
    """Return the four shares of samples against data.

    Implements eq:manifold-precision, eq:manifold-density and eq:manifold-coverage; recall is
    precision with the sets exchanged.

    Args:
        data: features of data.
        samples: features of samples, by the same network.
        k: neighbours; precision and recall are usual with 3, density and coverage with 5.
        block: rows of the table of distances that are held at a time.

    Raises:
        ValueError: other dimensions, too few points for k, or a feature that is not finite.
    """
    if data.dim() != 2 or samples.dim() != 2 or data.shape[1] != samples.shape[1]:
        raise ValueError(f"two sets of points, got {tuple(data.shape)}, {tuple(samples.shape)}")
    if not (data.isfinite().all() and samples.isfinite().all()):
        raise ValueError("a feature is not finite")
    data, samples = data.double(), samples.double()
    around_data, around_samples = radii(data, k, block), radii(samples, k, block)
    balls = torch.zeros(len(samples), dtype=torch.long, device=data.device)
    reached, covered = [], []
    for rows, radius in zip(data.split(block), around_data.split(block), strict=True):
        distance = torch.cdist(rows, samples)
        inside = distance <= radius[:, None]
        balls += inside.sum(dim=0)
        covered.append(inside.any(dim=1))
        reached.append((distance <= around_samples).any(dim=1))
    return Manifolds(
        precision=(balls > 0).double().mean().item(),
        recall=torch.cat(reached).double().mean().item(),
        density=balls.double().mean().item() / k,
        coverage=torch.cat(covered).double().mean().item(),
    )
