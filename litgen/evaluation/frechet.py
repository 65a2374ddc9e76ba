"""Fréchet distance: how far apart two Gaussians are, or two sets of features taken for Gaussian.

Chapter: book/diffusion/ddim.md.  Proof: tests/evaluation/test_frechet.py.
References: Dowson & Landau, "The Frechet distance between multivariate normal distributions"
(1982); Heusel et al., "GANs Trained by a Two Time-Scale Update Rule ..." (2017), who apply it to
features of the Inception network. Which features are used is the caller's matter, and belongs in
the name of the number: distances in different features do not compare.

A covariance C is taken apart as R R^T. Then tr (C_x C_y)^(1/2) is the sum of the singular values
of M = R_x^T R_y, which needs no root of a matrix, and no inverse. Singular values are the roots of
the eigenvalues of M^T M, which come three to six times sooner; a root makes a small eigenvalue's
rounding large, so they are used where that cannot be seen in the distance.
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
    _check_symmetric(cov_x, cov_y)
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
    (mean_x, root_x), (mean_y, root_y) = _moments(x), _moments(y)
    return _distance(mean_x - mean_y, root_x, root_y).to(x.dtype)


def _moments(
    x: Float[Tensor, "count dims"],
) -> tuple[Float[Tensor, " dims"], Float[Tensor, "dims rank"]]:
    """Return mean and root of the covariance (over count - 1) in double precision.

    With many features of single precision the products are taken in it: that is twice as fast,
    and what rounding does to a distance is below its sixth digit.
    """
    plain = x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)
    kept = x if plain and len(x) > x.shape[1] >= 512 else x.double()
    centre = kept.mean(dim=0)
    centred = kept - centre
    gap = centred.mean(dim=0)  # what rounding has left of the mean
    mean = centre.double() + gap.double()
    _check_finite(mean)
    if len(x) <= x.shape[1]:  # a covariance would be larger than the points
        return mean, torch.linalg.qr(centred, "r").R.T / (len(x) - 1) ** 0.5
    cov = _gram(centred).double().div_(len(x) - 1)
    return mean, _root(cov.addr_(gap.double(), gap.double(), alpha=-len(x) / (len(x) - 1)))


def _gram(x: Float[Tensor, "count dims"]) -> Float[Tensor, "dims dims"]:
    """Return x^T x. On a CPU numpy does it: it computes one triangle and copies the other."""
    if x.device.type != "cpu":
        return x.T @ x
    values = x.detach().numpy()
    return torch.from_numpy(values.T @ values)


def _distance(
    gap: Float[Tensor, " dims"], root_x: Float[Tensor, "dims a"], root_y: Float[Tensor, "dims b"]
) -> Float[Tensor, ""]:
    """Return the distance of Gaussians with covariances root root^T and this gap of the means."""
    squares = gap.square().sum() + root_x.square().sum() + root_y.square().sum()
    product = root_x.T @ root_y
    overlap, doubt = _nuclear_norm(product)
    distance: Tensor = squares - 2 * overlap
    if 2 * doubt > 1e-7 * distance:
        distance = squares - 2 * torch.linalg.svdvals(product).sum()
    return distance.clamp(min=0)


def _nuclear_norm(
    matrix: Float[Tensor, "rows columns"],
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return the sum of the singular values, and how far rounding may have moved it.

    An eigenvalue's rounding is in proportion to the largest one's size.
    """
    if not matrix.numel():  # a covariance of zeros has no root to speak of
        return matrix.new_zeros(()), matrix.new_zeros(())
    gram = _gram(matrix if len(matrix) >= matrix.shape[1] else matrix.T)
    values = torch.linalg.eigvalsh(gram)
    error = 4 * len(values) ** 0.5 * torch.finfo(values.dtype).eps * values[-1]
    roots = values.clamp(min=0).sqrt()
    return roots.sum(), torch.minimum(error / roots, error.sqrt()).sum()


def _root(cov: Float[Tensor, "dims dims"]) -> Float[Tensor, "dims rank"]:
    """Return R with R R^T = cov: Cholesky's factor, or scaled eigenvectors where it is singular.

    Raises:
        ValueError: a matrix that has a negative eigenvalue.
    """
    factor: Tensor
    factor, info = torch.linalg.cholesky_ex(cov)
    if int(info) == 0:
        return factor
    size = float(cov.abs().max())
    values, vectors = torch.linalg.eigh(cov)
    if float(values[0]) < -1e-6 * size:
        raise ValueError(f"a covariance has no negative eigenvalue, got {float(values[0]):.2g}")
    kept = values > len(cov) * 1e-15 * size  # the others are rounding, and their roots are not
    factor = vectors[:, kept] * values[kept].sqrt()
    return factor


def _check_symmetric(*covs: Float[Tensor, "dims dims"]) -> None:
    if any(float((cov - cov.T).abs().max()) > 1e-6 * float(cov.abs().max()) for cov in covs):
        raise ValueError("a covariance must be symmetric")


def _check_finite(*tensors: Tensor) -> None:
    if not all(tensor.isfinite().all() for tensor in tensors):
        raise ValueError("a feature is not finite")
