"""How like two objects of voxels are, which known one is nearest, and directions in code space.

Chapter: book/gan/voxel.md.  Proof: tests/gan/test_voxel_scores.py.
Reference: Wu et al. (2016), sections 4.3 and 4.4, for the arithmetic of codes.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from litgen.shapes import Bool, Float, Int

__all__ = ["Nearest", "direction", "linear_probe", "nearest", "overlap", "pieces"]


class Nearest(NamedTuple):
    """For each object, the most alike of the others: how alike, and which it is."""

    overlap: Float[Tensor, " count"]
    which: Int[Tensor, " count"]


def overlap(
    a: Bool[Tensor, "n up deep wide"], b: Bool[Tensor, "m up deep wide"]
) -> Float[Tensor, "n m"]:
    """Return voxels in both over voxels in either, for each pair. Implements eq:vox-overlap.

    Two empty objects are alike: 1.

    Raises:
        ValueError: boxes of different size.
    """
    if a.shape[1:] != b.shape[1:]:
        raise ValueError(f"objects of {tuple(a.shape[1:])} and of {tuple(b.shape[1:])} voxels")
    left, right = a.flatten(1).float(), b.flatten(1).float()
    both = left @ right.T  # counts: exact in single precision
    either = left.sum(dim=1)[:, None] + right.sum(dim=1) - both
    return torch.where(either > 0, both / either.clamp(min=1), 1.0)


def nearest(
    made: Bool[Tensor, "n up deep wide"], known: Bool[Tensor, "m up deep wide"]
) -> Nearest:
    """Return for each made object the known one of the greatest overlap.

    Raises:
        ValueError: no known objects.
    """
    if not len(known):
        raise ValueError("no known objects to compare with")
    found = [overlap(part, known).max(dim=1) for part in made.split(256)]
    return Nearest(torch.cat([f.values for f in found]), torch.cat([f.indices for f in found]))


def pieces(volume: Bool[Tensor, "up deep wide"]) -> int:
    """Return how many parts an object falls into, parts being joined by faces of voxels."""
    left, count = volume.clone(), 0
    while left.any():
        part = torch.zeros_like(left)
        part.view(-1)[left.flatten().nonzero()[0]] = True
        before = 0
        while before != (before := int(part.sum())):
            grown = part.clone()
            for dim in range(3):
                size = part.shape[dim] - 1
                low, high = part.narrow(dim, 0, size), part.narrow(dim, 1, size)
                grown.narrow(dim, 1, size).logical_or_(low)
                grown.narrow(dim, 0, size).logical_or_(high)
            part = grown & left
        left &= ~part
        count += 1
    return count


def direction(
    z: Float[Tensor, "count latent"], has: Bool[Tensor, " count"]
) -> Float[Tensor, " latent"]:
    """Return the mean code of objects that have something less that of those that have not.

    Implements eq:vox-direction.

    Raises:
        ValueError: all have it, or none.
    """
    if has.all() or not has.any():
        raise ValueError(
            f"{int(has.sum())} of {len(has)} objects have it: no two means to compare"
        )
    return z[has].mean(dim=0) - z[~has].mean(dim=0)


def linear_probe(
    features: Float[Tensor, "train features"],
    targets: Float[Tensor, "train outputs"],
    fresh: Float[Tensor, "test features"],
    ridge: float = 1.0,
) -> Float[Tensor, "test outputs"]:
    """Return what a linear map, fitted by least squares with a ridge, says of fresh features.

    Implements eq:vox-probe, in the form with one equation an example, for there are more features
    than examples. Features are centred and scaled by the training set's.

    Raises:
        ValueError: a ridge that is not positive, or no examples.
    """
    if ridge <= 0 or not len(features):
        raise ValueError(f"needs examples and a positive ridge, got {len(features)} and {ridge}")
    mean, middle = features.mean(dim=0), targets.mean(dim=0)
    scale = features.std(dim=0, correction=0).clamp(min=1e-6)
    seen, asked = ((part - mean) / scale for part in (features, fresh))
    gram = seen @ seen.T / seen.shape[1]
    weights = torch.linalg.solve(gram + ridge * torch.eye(len(gram)).to(gram), targets - middle)
    said: Tensor = middle + asked @ seen.T / seen.shape[1] @ weights
    return said
