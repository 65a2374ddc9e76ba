"""Principal components: the orthogonal directions along which data vary most.

Chapter: book/density/ppca.md.  Proof: tests/density/test_pca.py.
Reference: Turk & Pentland, "Eigenfaces for recognition" (1991).

Notation: mu is ``mean``, the columns of U are ``directions``, the eigenvalues lambda are
``variances``.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = ["PrincipalAxes", "principal_angles", "principal_axes"]


@dataclass(frozen=True, eq=False)
class PrincipalAxes:
    """Eigenvectors and eigenvalues of a sample covariance.

    Attributes:
        mean: mu, (dims,).
        directions: U, (dims, count), orthonormal columns, the largest variance first; count is the
            smaller of data and dimensions.
        variances: lambda, (count,), in the data's unit squared; beyond count they are zero.
    """

    mean: Float[Tensor, " dims"]
    directions: Float[Tensor, "dims count"]
    variances: Float[Tensor, " count"]

    def project(
        self, x: Float[Tensor, "*batch dims"], latent: int
    ) -> Float[Tensor, "*batch latent"]:
        """Map data to their coordinates on the first directions. Implements eq:pca-projection."""
        return (x - self.mean) @ self.directions[:, :latent]

    def reconstruct(
        self, x: Float[Tensor, "*batch dims"], latent: int
    ) -> Float[Tensor, "*batch dims"]:
        """Map data to the nearest points of the principal subspace. Implements eq:pca-projection.

        The mean squared error over the training data is that of eq:pca-error.
        """
        return self.project(x, latent) @ self.directions[:, :latent].T + self.mean


def principal_axes(x: Float[Tensor, "count dims"]) -> PrincipalAxes:
    """Return the eigenvectors of the sample covariance (1/N). Implements eq:pca-eigenvectors.

    By singular values: the centred data are Q R with orthonormal Q, so R has their singular values
    and right singular vectors. No product of the data with themselves is formed, which would halve
    the digits. The sign of a direction is arbitrary.

    Raises:
        ValueError: fewer than two data, or a value that is not finite.
    """
    check_data(x)
    mean = x.mean(dim=0)
    triangle = torch.linalg.qr(x - mean, mode="r").R
    _, singular, directions = torch.linalg.svd(triangle, full_matrices=False)
    return PrincipalAxes(mean, directions.T, singular.square() / len(x))


def principal_angles(
    a: Float[Tensor, "dims m"], b: Float[Tensor, "dims n"]
) -> Float[Tensor, " angles"]:
    """Return the angles between two subspaces in radians, the largest first.

    The sine of an angle is a singular value of what b's basis leaves outside a's span, which keeps
    its digits where the angle is small. Implements eq:ppca-angles.

    Raises:
        ValueError: other dimensions, or more columns in b than in a.
    """
    if len(a) != len(b) or b.shape[1] > a.shape[1]:
        raise ValueError(f"b must lie in as many dimensions: {tuple(a.shape)}, {tuple(b.shape)}")
    basis, other = torch.linalg.qr(a).Q, torch.linalg.qr(b).Q
    outside = other - basis @ (basis.T @ other)
    angles: Tensor = torch.linalg.svdvals(outside).clamp(max=1).asin()
    return angles


def check_data(x: Tensor) -> None:
    """Reject what has no covariance.

    Raises:
        ValueError: not a matrix, fewer than two data, or a value that is not finite.
    """
    if x.dim() != 2 or len(x) < 2 or x.shape[1] < 1:
        raise ValueError(f"at least 2 data of shape (count, dims) expected, got {tuple(x.shape)}")
    bad = int((~x.isfinite()).sum())
    if bad:
        raise ValueError(f"{bad} of the data's {x.numel()} values are not finite")
