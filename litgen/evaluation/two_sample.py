"""Whether two sets of points can be told apart, and whether samples copy training data.

Chapter: book/evaluation/traps.md.  Proof: tests/evaluation/test_two_sample.py.
References: Lopez-Paz & Oquab, "Revisiting Classifier Two-Sample Tests" (2017); Alaa et al., "How
Faithful is your Synthetic Data?" (2022), for authenticity.
"""

import math

import torch
from torch import Tensor

from litgen.shapes import Float, Int

__all__ = [
    "authenticity",
    "expected_authenticity",
    "nearest",
    "nearest_neighbour_accuracy",
    "p_value",
    "variation_bound",
]


def nearest(
    x: Float[Tensor, "m dims"], among: Float[Tensor, "n dims"], block: int = 1_024
) -> tuple[Float[Tensor, " m"], Int[Tensor, " m"]]:
    """Return each point's distance to the nearest of the others, and which one it is.

    In double precision. The table of distances is made by matrix products, which give a copy a
    distance of rounding; the one that is returned is computed anew, and a copy's is 0.

    Raises:
        ValueError: an empty set, other dimensions, or a coordinate that is not finite.
    """
    if x.dim() != 2 or among.dim() != 2 or x.shape[1] != among.shape[1]:
        raise ValueError(f"two sets of points, got {tuple(x.shape)} and {tuple(among.shape)}")
    if not (len(x) and len(among)):
        raise ValueError(f"neither set may be empty, got {len(x)} and {len(among)} points")
    _check_finite(x, among)
    x, among = x.double(), among.double()
    which = torch.cat([torch.cdist(rows, among).argmin(dim=1) for rows in x.split(block)])
    return (x - among[which]).norm(dim=1), which


def nearest_neighbour_accuracy(
    data: Float[Tensor, "m dims"], samples: Float[Tensor, "n dims"], block: int = 1_024
) -> tuple[float, float]:
    """Return the shares of data and of samples whose nearest other point is of their own set.

    Implements eq:two-sample-neighbour: a 1-nearest-neighbour classifier, each point left out in
    turn. Both are (n - 1) / (2 n - 1), about 1/2, for n and n points of one distribution. Samples
    that copy data have less; collapsed samples have a high share of their own beside a low one of
    the data.

    Raises:
        ValueError: sets of other sizes (a larger set has more neighbours to offer), of fewer than
            two points, of other dimensions, or a coordinate that is not finite.
    """
    if data.shape != samples.shape or data.dim() != 2 or len(data) < 2:
        raise ValueError(
            f"two sets of equal shape, got {tuple(data.shape)} and {tuple(samples.shape)}"
        )
    _check_finite(data, samples)
    data, samples = data.double(), samples.double()
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


def variation_bound(accuracy: float, count: int, confidence: float = 0.95) -> float:
    """Return a total variation that two distributions have at least. Implements eq:two-sample-tv.

    From the accuracy of any rule that tells them apart, on ``count`` points that it has not seen,
    half of them from either; by Hoeffding's inequality right with at least this confidence.

    Raises:
        ValueError: an accuracy outside [0, 1], no points, or a confidence outside (0, 1).
    """
    if not 0 <= accuracy <= 1 or count < 1:
        raise ValueError(f"an accuracy in [0, 1] of some points, got {accuracy} of {count}")
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence between 0 and 1, got {confidence}")
    slack = math.sqrt(-math.log(1 - confidence) / (2 * count))
    return max(0.0, 2 * (accuracy - slack) - 1)


def authenticity(
    train: Float[Tensor, "m dims"], samples: Float[Tensor, "n dims"], block: int = 1_024
) -> float:
    """Return the share of samples that are no near-copies. Implements eq:authenticity.

    A sample is called a copy where it lies nearer to its nearest training point than that point
    lies to any other training point.

    Raises:
        ValueError: fewer than two training points, no samples, other dimensions, or a coordinate
            that is not finite.
    """
    if len(train) < 2:
        raise ValueError(f"two training points at least, got {len(train)}")
    distance, which = nearest(samples, train, block)
    train = train.double()
    rows, place = which.unique(return_inverse=True)
    own = [torch.cdist(part, train).kthvalue(2, dim=1).values for part in train[rows].split(block)]
    return (distance >= torch.cat(own)[place]).double().mean().item()


def expected_authenticity(dims: int) -> float:
    """Return the authenticity of many fresh samples of the data's own distribution.

    Implements eq:authenticity-fresh: a fresh sample is called a copy when it and its nearest datum
    are each other's nearest, which has a probability that depends on the dimensions alone.

    Raises:
        ValueError: no dimension.
    """
    if dims < 1:
        raise ValueError(f"at least one dimension, got {dims}")
    cosine = torch.linspace(0, 1, 20_001, dtype=torch.float64)
    slices = (1 - cosine.square()) ** ((dims - 1) / 2)  # of a ball, across the line of centres
    shared = torch.trapezoid(slices[10_000:], cosine[10_000:]) / torch.trapezoid(slices, cosine)
    return float(1 - 1 / (2 - shared))


def _check_finite(*tensors: Tensor) -> None:
    if not all(tensor.isfinite().all() for tensor in tensors):
        raise ValueError("a coordinate is not finite")
