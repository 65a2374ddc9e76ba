"""Kernel distance: the squared maximum mean discrepancy of two sets of features, unbiased.

Chapter: book/evaluation/metrics.md.  Proof: tests/evaluation/test_kernel.py.
References: Gretton et al., "A Kernel Two-Sample Test" (2012), lemma 6; Binkowski et al.,
"Demystifying MMD GANs" (2018), whose kernel inception distance uses the cubic kernel.
"""

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = [
    "cubic_kernel",
    "gaussian_kernel_distance",
    "kernel_distance",
    "kernel_distance_of_subsets",
]


def cubic_kernel(x: Float[Tensor, "m dims"], y: Float[Tensor, "n dims"]) -> Float[Tensor, "m n"]:
    """Return (x . y / dims + 1)^3 of all pairs. Implements eq:kernel-cubic.

    Raises:
        ValueError: points of other dimensions.
    """
    if x.dim() != 2 or y.dim() != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"two sets of points, got {tuple(x.shape)} and {tuple(y.shape)}")
    return (x @ y.T / x.shape[1] + 1).pow(3)


def kernel_distance(x: Float[Tensor, "m dims"], y: Float[Tensor, "n dims"]) -> Float[Tensor, ""]:
    """Return the squared discrepancy with the cubic kernel. Implements eq:kernel-distance.

    Unbiased for eq:kernel-features: zero in the mean for two sets of one distribution, so often
    below zero.

    Raises:
        ValueError: fewer than two points, other dimensions, or a feature that is not finite.
    """
    if x.dim() != 2 or y.dim() != 2 or min(len(x), len(y)) < 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"two sets of at least 2 points, got {tuple(x.shape)}, {tuple(y.shape)}")
    if not (x.isfinite().all() and y.isfinite().all()):
        raise ValueError("a feature is not finite")
    left, right = x.double(), y.double()
    within = _mean_of_pairs(left) + _mean_of_pairs(right)
    return (within - 2 * cubic_kernel(left, right).mean()).to(x.dtype)


def gaussian_kernel_distance(
    mean_x: Float[Tensor, " dims"],
    cov_x: Float[Tensor, "dims dims"],
    mean_y: Float[Tensor, " dims"],
    cov_y: Float[Tensor, "dims dims"],
) -> Float[Tensor, ""]:
    """Return the discrepancy of two Gaussians with the cubic kernel, in closed form.

    Implements eq:kernel-gaussian, three times.

    Raises:
        ValueError: means and covariances that are not of one dimension.
    """
    dims = mean_x.shape
    if len(dims) != 1 or mean_y.shape != dims or {cov_x.shape, cov_y.shape} != {(*dims, *dims)}:
        shapes = [tuple(part.shape) for part in (mean_x, cov_x, mean_y, cov_y)]
        raise ValueError(f"means and covariances of one dimension, got {shapes}")
    x, y = (mean_x, cov_x), (mean_y, cov_y)
    return _mean_kernel(*x, *x) + _mean_kernel(*y, *y) - 2 * _mean_kernel(*x, *y)


def kernel_distance_of_subsets(
    x: Float[Tensor, "m dims"],
    y: Float[Tensor, "n dims"],
    subsets: int,
    size: int,
    generator: torch.Generator,
) -> Float[Tensor, " subsets"]:
    """Return the distances of random subsets, which tell the mean and its spread.

    Args:
        x: features of one set.
        y: features of the other.
        subsets: how many.
        size: points in each, drawn without putting back.
        generator: draws them.

    Raises:
        ValueError: a size that a set does not have, or no subsets.
    """
    if not 2 <= size <= min(len(x), len(y)):
        raise ValueError(f"size is {size}, the sets have {len(x)} and {len(y)} points")
    if subsets < 1:
        raise ValueError(f"at least one subset, got {subsets}")
    found = []
    for _ in range(subsets):
        a = torch.randperm(len(x), generator=generator)[:size]
        b = torch.randperm(len(y), generator=generator)[:size]
        found.append(kernel_distance(x[a], y[b]))
    return torch.stack(found)


def _mean_of_pairs(x: Tensor) -> Tensor:
    """Return the kernel's mean over pairs of different points."""
    total = cubic_kernel(x, x).sum() - (x.square().sum(dim=1) / x.shape[1] + 1).pow(3).sum()
    mean: Tensor = total / (len(x) * (len(x) - 1))
    return mean


def _mean_kernel(mean_x: Tensor, cov_x: Tensor, mean_y: Tensor, cov_y: Tensor) -> Tensor:
    """Return the kernel's mean over independent pairs of two Gaussians."""
    dims = len(mean_x)
    centre = mean_x @ mean_y / dims + 1  # of s = x . y / dims + 1
    along_x, along_y = cov_x @ mean_y, cov_y @ mean_x
    spread = mean_y @ along_x + mean_x @ along_y + (cov_x * cov_y).sum()
    skew = 6 * along_x @ along_y / dims**3
    mean: Tensor = centre**3 + 3 * centre * spread / dims**2 + skew
    return mean
