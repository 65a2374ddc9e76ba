"""Two sets of points: can a classifier tell them apart, and are samples copies of training data?

Chapter: book/evaluation/metrics.md.  Proof: tests/evaluation/test_two_sample.py.
References: Lopez-Paz & Oquab, "Revisiting Classifier Two-Sample Tests" (2017); Alaa et al., "How
Faithful is your Synthetic Data?" (2022), for authenticity.
"""

import math

import torch
from torch import Tensor

from litgen.shapes import Float, Int

__all__ = ["authenticity", "nearest", "nearest_neighbour_accuracy", "p_value"]


def nearest(
    x: Float[Tensor, "m dims"], among: Float[Tensor, "n dims"], block: int = 1_024
) -> tuple[Float[Tensor, " m"], Int[Tensor, " m"]]:
    """Return each point's distance to the nearest of the others, and which one it is.

    Raises:
        ValueError: an empty set, or other dimensions.
    """
    if x.dim() != 2 or among.dim() != 2 or not len(among) or x.shape[1] != among.shape[1]:
        raise ValueError(f"two sets of points, got {tuple(x.shape)} and {tuple(among.shape)}")
    found = [torch.cdist(rows, among).min(dim=1) for rows in x.split(block)]
    return torch.cat([part.values for part in found]), torch.cat([part.indices for part in found])


def nearest_neighbour_accuracy(
    data: Float[Tensor, "m dims"], samples: Float[Tensor, "n dims"], block: int = 1_024
) -> tuple[float, float]:
    """Return the shares of data and of samples whose nearest other point is of their own set.

    Implements eq:two-sample-neighbour: a 1-nearest-neighbour classifier, each point left out in
    turn. Both are 1/2 for equal sets of one distribution. Samples that copy data have less;
    collapsed samples have a high share of their own beside a low one of the data.

    Raises:
        ValueError: sets of other sizes (a larger set has more neighbours to offer), of fewer than
            two points, or of other dimensions.
    """
    if data.shape != samples.shape or data.dim() != 2 or len(data) < 2:
        raise ValueError(
            f"two sets of equal shape, got {tuple(data.shape)} and {tuple(samples.shape)}"
        )
    shares = []
    for own, other in ((data, samples), (samples, data)):
        hits = []
        for start in range(0, len(own), block):
            rows = own[start : start + block]
            within = torch.cdist(rows, own)
            index = torch.arange(len(rows), device=own.device)
            within[index, start + index] = math.inf
            hits.append(within.amin(dim=1) < torch.cdist(rows, other).amin(dim=1))
        shares.append(torch.cat(hits).double().mean().item())
    return shares[0], shares[1]


def p_value(accuracy: float, count: int) -> float:
    """Return how probable at least this accuracy is by guessing. Implements eq:two-sample-p.

    By the normal approximation to a fair coin thrown ``count`` times; for a classifier whose
    judged points were not trained on.

    Raises:
        ValueError: an accuracy outside [0, 1], or no points.
    """
    if not 0 <= accuracy <= 1 or count < 1:
        raise ValueError(f"an accuracy in [0, 1] of some points, got {accuracy} of {count}")
    return 0.5 * math.erfc((accuracy - 0.5) * math.sqrt(2 * count))


def authenticity(
    train: Float[Tensor, "m dims"], samples: Float[Tensor, "n dims"], block: int = 1_024
) -> float:
    """Return the share of samples that are no near-copies. Implements eq:authenticity.

    A sample is called a copy where it lies nearer to its nearest training point than that point
    lies to any other training point.

    Raises:
        ValueError: fewer than two training points, or other dimensions.
    """
    if len(train) < 2:
        raise ValueError(f"two training points at least, got {len(train)}")
    distance, which = nearest(samples, train, block)
    own = torch.cat([torch.cdist(r, train).kthvalue(2, dim=1).values for r in train.split(block)])
    return (distance >= own[which]).double().mean().item()
