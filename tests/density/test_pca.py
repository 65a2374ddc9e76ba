"""Proof for litgen/density/pca.py: numpy, scipy and scikit-learn judge; errors are shown."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.linalg
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from litgen.density.pca import PrincipalAxes, principal_angles, principal_axes
from tests import oracles

Draw = Callable[..., Tensor]
SHAPES = [(50, 6), (6, 9), (7, 7), (2, 3)]


def correlated(normal: Draw, count: int, dims: int) -> Tensor:
    """Return data with correlations and a mean far from the origin."""
    return normal(count, dims) @ normal(dims, dims) + 5 + normal(dims)


@pytest.mark.parametrize(("count", "dims"), SHAPES)
def test_the_axes_are_eigenvectors_of_the_sample_covariance(
    normal: Draw, count: int, dims: int
) -> None:
    """eq:pca-eigenvectors: numpy's eigenvalues of the covariance with 1/N, largest first."""
    x = correlated(normal, count, dims)
    covariance = np.cov(x.numpy().T, bias=True)
    eigenvalues = np.linalg.eigvalsh(covariance)[::-1][: min(count, dims)]
    axes = principal_axes(x)
    np.testing.assert_allclose(axes.mean, x.numpy().mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(axes.variances, eigenvalues, rtol=1e-9, atol=1e-10)
    assert eigenvalues[0] > 1.2 * eigenvalues[1]
    left = torch.from_numpy(covariance) @ axes.directions
    torch.testing.assert_close(left, axes.directions * axes.variances, rtol=1e-9, atol=1e-9)
    eye = torch.eye(min(count, dims), dtype=torch.float64)
    torch.testing.assert_close(axes.directions.T @ axes.directions, eye)


def test_projection_and_reconstruction_are_scikit_learns(normal: Draw) -> None:
    """eq:pca-projection: up to the sign of a direction; the same points of the subspace."""
    x, fresh = correlated(normal, 40, 6), correlated(normal, 7, 6)
    axes, judge = principal_axes(x), PCA(n_components=3, svd_solver="full").fit(x.numpy())
    np.testing.assert_allclose(
        axes.directions[:, :3].abs().T, np.abs(judge.components_), atol=1e-10
    )
    codes = judge.transform(fresh.numpy())
    signs = np.sign((judge.components_ * axes.directions[:, :3].T.numpy()).sum(axis=1))
    np.testing.assert_allclose(axes.project(fresh, 3).numpy() * signs, codes, atol=1e-9)
    assert np.abs(codes).min() > 1e-3
    np.testing.assert_allclose(
        axes.reconstruct(fresh, 3), judge.inverse_transform(codes), atol=1e-9
    )
    stacked = axes.reconstruct(fresh.view(1, 7, 6), 3)
    torch.testing.assert_close(stacked[0], axes.reconstruct(fresh, 3))


@pytest.mark.parametrize("latent", [0, 1, 4, 6])
def test_the_error_is_the_sum_of_the_discarded_eigenvalues(normal: Draw, latent: int) -> None:
    """eq:pca-error: the mean squared distance, datum by datum."""
    x = correlated(normal, 40, 6)
    axes = principal_axes(x)
    rebuilt = axes.reconstruct(x, latent)
    errors = [((u - v) ** 2).sum() for u, v in zip(x, rebuilt, strict=True)]
    eigenvalues = np.linalg.eigvalsh(np.cov(x.numpy().T, bias=True))
    assert float(sum(errors)) / 40 == pytest.approx(eigenvalues[: 6 - latent].sum(), abs=1e-10)


def test_variance_kept_and_error_add_up_and_no_other_subspace_is_better(normal: Draw) -> None:
    """eq:pca-pythagoras and eq:pca-ky-fan: 300 random planes keep less and lose more."""
    x = correlated(normal, 40, 5)
    axes, centred = principal_axes(x), x - x.mean(dim=0)
    total = centred.square().sum() / 40
    best = axes.project(x, 2).square().sum() / 40
    torch.testing.assert_close(best, axes.variances[:2].sum())
    for _ in range(300):
        basis = torch.linalg.qr(normal(5, 2)).Q
        kept = (centred @ basis).square().sum() / 40
        lost = (centred - centred @ basis @ basis.T).square().sum() / 40
        torch.testing.assert_close(kept + lost, total)
        assert kept < best


def test_small_variances_keep_their_digits(normal: Draw) -> None:
    """A covariance matrix in double precision could not hold a ratio of 1e-18."""
    x = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    scales = torch.tensor([1.0, 1e-9], dtype=torch.float64)
    turn = torch.linalg.qr(normal(2, 2)).Q
    found = principal_axes(x * scales @ turn).variances
    torch.testing.assert_close(found, scales.square(), rtol=1e-6, atol=0)


@pytest.mark.parametrize(("m", "n"), [(3, 3), (3, 1), (2, 2)])
def test_principal_angles_are_scipys(normal: Draw, m: int, n: int) -> None:
    """eq:ppca-angles: scipy.linalg.subspace_angles, for bases that are not orthonormal."""
    a, b = normal(6, m), normal(6, n)
    found = principal_angles(a, b)
    assert found[0] > 0.1
    np.testing.assert_allclose(found, scipy.linalg.subspace_angles(a, b)[:n], atol=1e-12)
    assert principal_angles(a, a @ normal(m, m)).max() < 1e-12


def test_a_small_angle_is_found_exactly() -> None:
    """eq:ppca-angles by hand: 1e-9 radians, which the cosine would call zero."""
    a = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    b = torch.tensor([[math.cos(1e-9)], [math.sin(1e-9)]], dtype=torch.float64)
    assert principal_angles(a, b).item() == pytest.approx(1e-9, rel=1e-6)
    assert principal_angles(a, a.flip(0)).item() == pytest.approx(math.pi / 2)


@pytest.mark.usefixtures("unchecked")
def test_angles_between_subspaces_that_cannot_be_compared(normal: Draw) -> None:
    """The error names both shapes."""
    for a, b in ((normal(4, 2), normal(5, 2)), (normal(4, 1), normal(4, 2))):
        with pytest.raises(ValueError, match="dimensions") as error:
            principal_angles(a, b)
        assert str(tuple(a.shape)) in str(error.value)
        assert str(tuple(b.shape)) in str(error.value)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (5,), (5, 0), (2, 3, 4)])
def test_what_is_no_data_is_an_error(shape: tuple[int, ...]) -> None:
    """One datum has no covariance; the shape is named."""
    with pytest.raises(ValueError, match="at least 2 data") as error:
        principal_axes(torch.zeros(shape))
    assert str(shape) in str(error.value)


def test_values_that_are_not_finite_are_counted(normal: Draw) -> None:
    """NaN and infinity would spread to all directions."""
    x = normal(5, 4)
    x[1, 2], x[3, 0] = math.nan, math.inf
    with pytest.raises(ValueError, match="2 of the data's 20 values are not finite"):
        principal_axes(x)


def test_the_axes_fit_a_covariance_drawn_by_the_judge(normal: Draw) -> None:
    """A known answer: the evidence of a linear-Gaussian model, from 200,000 draws."""
    weight = torch.linalg.qr(normal(4, 2)).Q * torch.tensor([3.0, 2.0])
    law = oracles.JointGaussian(weight, normal(4), 0.5).evidence()
    x = normal(200_000, 4) @ torch.linalg.cholesky(law.covariance_matrix).T + law.mean
    axes = principal_axes(x)
    assert isinstance(axes, PrincipalAxes)
    expected = torch.tensor([9.25, 4.25, 0.25, 0.25], dtype=torch.float64)
    assert ((axes.variances / expected - 1).abs() < 6 * math.sqrt(2 / 200_000)).all()
    assert principal_angles(weight, axes.directions[:, :2]).max() < 0.01
