"""Fréchet distance: how far apart two Gaussians are, or two sets of features taken for Gaussian.

Chapter: book/diffusion/ddim.md.  Proof: tests/evaluation/test_frechet.py.
References: Dowson & Landau, "The Frechet distance between multivariate normal distributions"
(1982); Heusel et al., "GANs Trained by a Two Time-Scale Update Rule ..." (2017), who apply it to
features of the Inception network. Which features are used is the caller's matter, and belongs in
the name of the number: distances in different features do not compare.

A covariance C is taken apart as R R^T. Then tr (C_x C_y)^(1/2) is the sum of the singular values
of R_x^T R_y, which needs no root of a matrix, and no inverse.
"""

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = ["frechet_distance", "gaussian_frechet"]


def gaussian_frechet(
    mean_x: Float[Tensor, " dims"],
    cov_x: Float[Tensor, "dims dims"],
    mean_y: Float[Tensor, " dims"],
    cov_y: Float[Tensor, "dims dims"],
) -> Float[Tensor, ""]:
    """Return the squared distance of two Gaussians. Implements eq:ddim-frechet.

    ``|mean_x - mean_y|^2 + tr(cov_x + cov_y - 2 (cov_x cov_y)^(1/2))``, in the unit of the data
    squared; covariances may be singular. Never negative: rounding below zero is cut.

    Raises:
        ValueError: dimensions that differ, numbers that are not finite, or a matrix that is no
            covariance.
    """
    dims = mean_x.shape
    if len(dims) != 1 or mean_y.shape != dims or {cov_x.shape, cov_y.shape} != {(*dims, *dims)}:
        shapes = [tuple(part.shape) for part in (mean_x, cov_x, mean_y, cov_y)]
        raise ValueError(f"means and covariances of one dimension, got {shapes}")
    _check_finite(mean_x, cov_x, mean_y, cov_y)
    gap = mean_x.double() - mean_y.double()
    return _distance(gap, _root(cov_x.double()), _root(cov_y.double())).to(mean_x.dtype)


def frechet_distance(x: Float[Tensor, "m dims"], y: Float[Tensor, "n dims"]) -> Float[Tensor, ""]:
    """Return the squared Fréchet distance of two sets' means and covariances (over count - 1).

    Biased: few points make it too large, by more the more dimensions there are. Compare sets of
    one size only. With fewer points than dimensions the covariances are never formed.

    Args:
        x: features of one set.
        y: features of the other, by the same network.

    Raises:
        ValueError: fewer than two points, other dimensions, or a feature that is not finite.
    """
    if x.dim() != 2 or y.dim() != 2 or min(len(x), len(y)) < 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"two sets of at least 2 points, got {tuple(x.shape)}, {tuple(y.shape)}")
    _check_finite(x, y)
    means = [points.double().mean(dim=0) for points in (x, y)]
    sets = [p.double() - mean for p, mean in zip((x, y), means, strict=True)]
    if min(len(x), len(y)) > x.shape[1]:
        roots = [_root(points.T @ points / (len(points) - 1)) for points in sets]
    else:
        roots = [torch.linalg.qr(p, "r").R.T / (len(p) - 1) ** 0.5 for p in sets]
    return _distance(means[0] - means[1], *roots).to(x.dtype)


def _distance(
    gap: Float[Tensor, " dims"], root_x: Float[Tensor, "dims a"], root_y: Float[Tensor, "dims b"]
) -> Float[Tensor, ""]:
    """Return the distance of Gaussians with covariances root root^T and this gap of the means."""
    overlap = torch.linalg.svdvals(root_x.T @ root_y).sum()
    squares = gap.square().sum() + root_x.square().sum() + root_y.square().sum()
    distance: Tensor = (squares - 2 * overlap).clamp(min=0)
    return distance


def _root(cov: Float[Tensor, "dims dims"]) -> Float[Tensor, "dims rank"]:
    """Return R with R R^T = cov: Cholesky's factor, or scaled eigenvectors where it is singular.

    Raises:
        ValueError: a matrix that is not symmetric, or has a negative eigenvalue.
    """
    size = float(cov.abs().max())
    if float((cov - cov.T).abs().max()) > 1e-6 * size:
        raise ValueError("a covariance must be symmetric")
    factor: Tensor
    factor, info = torch.linalg.cholesky_ex(cov)
    if int(info) == 0:
        return factor
    values, vectors = torch.linalg.eigh(cov)
    if float(values[0]) < -1e-6 * size:
        raise ValueError(f"a covariance has no negative eigenvalue, got {float(values[0]):.2g}")
    kept = values > len(cov) * 1e-15 * size  # the others are rounding, and their roots are not
    factor = vectors[:, kept] * values[kept].sqrt()
    return factor


def _check_finite(*tensors: Tensor) -> None:
    if not all(tensor.isfinite().all() for tensor in tensors):
        raise ValueError("a feature is not finite")
