"""Proof for litgen/evaluation/frechet.py: scipy's matrix root, closed forms, couplings."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from torch import Tensor

from litgen.evaluation.frechet import frechet_distance, gaussian_frechet

Normal = Callable[..., Tensor]


def by_matrix_root(
    mean_x: np.ndarray, cov_x: np.ndarray, mean_y: np.ndarray, cov_y: np.ndarray
) -> float:
    """Return the distance from its definition, with scipy's root of a general matrix."""
    root = scipy.linalg.sqrtm(cov_x @ cov_y)
    return float(((mean_x - mean_y) ** 2).sum() + np.trace(cov_x + cov_y - 2 * root.real))


def of_sets(x: Tensor, y: Tensor) -> float:
    """Return the same of two sets, with numpy's moments."""
    a, b = x.numpy(), y.numpy()
    moments = [a.mean(axis=0), np.cov(a, rowvar=False), b.mean(axis=0), np.cov(b, rowvar=False)]
    return by_matrix_root(
        *[np.atleast_1d(m) if i % 2 == 0 else np.atleast_2d(m) for i, m in enumerate(moments)]
    )


def covariance(normal: Normal, dims: int, rank: int | None = None) -> Tensor:
    """Return a random covariance; of full rank unless told."""
    factor = normal(dims, rank or 2 * dims)
    return factor @ factor.T / dims


@pytest.mark.parametrize("dims", [1, 2, 5, 20])
def test_gaussians_against_the_matrix_root(dims: int, normal: Normal) -> None:
    """eq:ddim-frechet by scipy.linalg.sqrtm of the product, which is not symmetric."""
    one = normal(dims), covariance(normal, dims)
    other = normal(dims), covariance(normal, dims)
    expected = by_matrix_root(*(part.numpy() for part in (*one, *other)))
    assert expected > 0.1
    assert gaussian_frechet(*one, *other).item() == pytest.approx(expected, rel=1e-9)
    assert gaussian_frechet(*other, *one).item() == pytest.approx(expected, rel=1e-9)
    single = gaussian_frechet(*(part.float() for part in (*one, *other)))
    assert single.dtype == torch.float32
    assert single.item() == pytest.approx(expected, rel=1e-5)


def test_one_dimension_in_closed_form(normal: Normal) -> None:
    """eq:ddim-frechet of N(m, s^2) and N(n, r^2) is (m - n)^2 + (s - r)^2."""
    for mean, sd, other_mean, other_sd in (2 * normal(6, 4)).tolist():
        moments = ([mean], [[sd**2]], [other_mean], [[other_sd**2]])
        found = gaussian_frechet(*(torch.tensor(m, dtype=torch.float64) for m in moments))
        expected = (mean - other_mean) ** 2 + (abs(sd) - abs(other_sd)) ** 2
        assert found.item() == pytest.approx(expected, rel=1e-9)


def test_commuting_covariances_in_closed_form(normal: Normal) -> None:
    """eq:ddim-frechet with the same eigenvectors: the roots of the eigenvalues are compared."""
    turn = torch.linalg.qr(normal(6, 6)).Q
    sds, others = normal(6).abs(), normal(6).abs()
    sds[0] = others[1] = 0  # singular, in different directions
    covs = [turn @ torch.diag(s.square()) @ turn.T for s in (sds, others)]
    covs = [(c + c.T) / 2 for c in covs]
    mean, other = normal(6), normal(6)
    expected = (mean - other).square().sum() + (sds - others).square().sum()
    found = gaussian_frechet(mean, covs[0], other, covs[1])
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


def test_it_is_the_best_couplings_mean_square(normal: Normal) -> None:
    """eq:ddim-frechet in one dimension is E (X - Y)^2 when both have the same quantile."""
    levels = (torch.arange(200_000).double() + 0.5) / 200_000
    standard = torch.from_numpy(scipy.stats.norm.ppf(levels.numpy()))
    mean, sd, other, scale = 0.3, 1.7, -0.4, 0.6
    coupled = ((mean + sd * standard) - (other + scale * standard)).square().mean()
    found = frechet_distance(mean + sd * normal(100_000, 1), other + scale * normal(100_000, 1))
    assert found.item() == pytest.approx(coupled.item(), rel=0.03)


@pytest.mark.parametrize(
    ("m", "n", "dims"),
    [(40, 60, 3), (8, 60, 7), (7, 60, 7), (60, 5, 7), (4, 6, 9), (2, 2, 1), (3, 9, 1)],
)
def test_sets_against_the_matrix_root(m: int, n: int, dims: int, normal: Normal) -> None:
    """eq:ddim-frechet of numpy's moments; more or fewer points than dimensions, or as many."""
    x, y = normal(m, dims), 1.4 + normal(n, dims) @ covariance(normal, dims)
    expected = of_sets(x, y)
    assert expected > 0.1
    for pair in ((x, y), (y, x), (x[torch.randperm(m)], y)):
        assert frechet_distance(*pair).item() == pytest.approx(expected, rel=1e-5)
    assert frechet_distance(x.float(), y.float()).dtype == torch.float32


def test_sets_are_torchmetrics_and_torch_fidelitys(normal: Normal) -> None:
    """On the same features; their roots are of another kind, and need more points than dims."""
    ours = pytest.importorskip("torchmetrics.image.fid")
    fidelity = pytest.importorskip("torch_fidelity.metric_fid")
    x, y = normal(300, 12), 0.3 + 1.2 * normal(200, 12)
    found = frechet_distance(x, y).item()
    moments = [part for points in (x, y) for part in (points.mean(dim=0), points.T.cov())]
    assert found == pytest.approx(ours._compute_fid(*moments).item(), rel=1e-6)
    theirs = [
        {"mu": points.mean(dim=0).numpy(), "sigma": points.T.cov().numpy()} for points in (x, y)
    ]
    value = fidelity.fid_statistics_to_metric(*theirs, verbose=False)
    assert found == pytest.approx(next(iter(value.values())), rel=1e-6)
    assert found > 0.5


def test_both_forms_of_a_set_agree(normal: Normal) -> None:
    """Points told with more coordinates, all zero or turned: no covariance is formed then."""
    x, y = normal(12, 4), 0.5 + 1.5 * normal(15, 4)
    turn = torch.linalg.qr(normal(30, 30)).Q
    wide = [torch.cat([p, torch.zeros(len(p), 26).double()], dim=1) @ turn for p in (x, y)]
    torch.testing.assert_close(frechet_distance(*wide), frechet_distance(x, y))
    moments = [m for p in wide for m in (p.mean(dim=0), p.T.cov())]
    torch.testing.assert_close(gaussian_frechet(*moments), frechet_distance(x, y))


def test_a_constant_coordinate_does_no_harm(normal: Normal) -> None:
    """A feature that never varies adds the squared gap of its two values."""
    x, y = normal(30, 3), normal(20, 3) * 2
    expected = frechet_distance(x, y) + 0.49
    x, y = (
        torch.cat([p, torch.full((len(p), 1), v).double()], 1) for p, v in ((x, 0.2), (y, 0.9))
    )
    torch.testing.assert_close(frechet_distance(x, y), expected)


@pytest.mark.parametrize(("count", "dims"), [(50, 4), (5, 12)])
def test_symmetries(count: int, dims: int, normal: Normal) -> None:
    """Zero of a set and itself; moved, turned and scaled together; moved apart."""
    x, y = normal(count, dims), 0.3 + 1.4 * normal(count + 7, dims)
    distance = frechet_distance(x, y)
    assert distance > 0.3
    assert frechet_distance(x, x).item() < 1e-12
    twice = torch.cat([x, x])
    spread = x.T.cov().trace() * (1 - math.sqrt((2 * count - 2) / (2 * count - 1))) ** 2
    torch.testing.assert_close(frechet_distance(x, twice), spread)
    turn = torch.linalg.qr(normal(dims, dims)).Q
    torch.testing.assert_close(frechet_distance(x @ turn, y @ turn), distance)
    torch.testing.assert_close(frechet_distance(x + 50, y + 50), distance)
    torch.testing.assert_close(frechet_distance(-3 * x, -3 * y), 9 * distance)
    shift = normal(dims)
    torch.testing.assert_close(frechet_distance(x, x + shift), shift.square().sum())


def test_rounding_never_makes_it_negative(normal: Normal) -> None:
    """A set and itself, twenty times: the terms cancel to zero or to a little above it."""
    found = torch.stack([frechet_distance(x, x) for x in (normal(40, 9) for _ in range(20))])
    assert (found >= 0).all()
    assert found.max() < 1e-12


def test_a_point_mass_is_at_the_sum_of_variances(normal: Normal) -> None:
    """eq:ddim-frechet with a zero covariance: squared gap plus the other's trace."""
    cov, mean = covariance(normal, 4), normal(4)
    zero = torch.zeros(4, 4).double()
    found = gaussian_frechet(mean, zero, torch.zeros(4).double(), cov)
    torch.testing.assert_close(found, mean.square().sum() + cov.trace())
    assert gaussian_frechet(mean, zero, mean, zero).item() == 0


def test_single_precision_far_from_the_origin(normal: Normal) -> None:
    """Moments are taken in double precision: a large common mean costs no digits."""
    x, y = (0.1 * normal(200, 3)).float() + 64, (0.12 * normal(200, 3)).float() + 64
    exact = frechet_distance(x.double(), y.double()).item()
    assert frechet_distance(x, y).item() == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("singular", [False, True])
def test_many_features_of_single_precision(singular: bool, normal: Normal) -> None:
    """Products are taken in single precision there; the definition, in double, agrees.

    The singular set has features that never fire, and one that is another's copy.
    """
    mixing = normal(520, 520) / 30
    x = (normal(900, 520) @ mixing).relu() + 3
    y = (1.1 * normal(700, 520) @ mixing + 0.05).relu() + 3
    if singular:
        x[:, :9], y[:, :5], y[:, 10] = 0, 0, y[:, 11]
    x, y = x.float(), y.float()
    moments = [m for p in (x.double(), y.double()) for m in (p.mean(dim=0), p.T.cov())]
    expected = gaussian_frechet(*moments)
    if not singular:
        judge = by_matrix_root(*(m.numpy() for m in moments))
        assert expected.item() == pytest.approx(judge, rel=1e-6)
    assert frechet_distance(x, y).item() == pytest.approx(expected.item(), rel=1e-5)


def test_roots_of_eigenvalues_only_where_they_are_exact(
    normal: Normal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Distances that small eigenvalues decide are taken from singular values, others are not."""
    asked = []
    exact = torch.linalg.svdvals
    monkeypatch.setattr(
        torch.linalg, "svdvals", lambda matrix: asked.append(matrix.shape) or exact(matrix)
    )
    x, y = normal(80, 6), 1 + 2 * normal(90, 6)
    frechet_distance(x, y)
    assert not asked
    tilted = x * torch.logspace(0, -9, 6).double()
    near = frechet_distance(tilted, tilted * 1.000001)
    assert asked
    expected = (1e-6 * tilted.std(dim=0)).square().sum() + (
        1e-6 * tilted.mean(dim=0)
    ).square().sum()
    assert near.item() == pytest.approx(expected.item(), rel=1e-3)


def test_few_points_make_it_too_large(normal: Normal) -> None:
    """The bias that forbids comparing sets of different sizes."""
    small, large = (
        torch.stack([frechet_distance(normal(n, 10), normal(n, 10)) for _ in range(10)]).mean()
        for n in (30, 300)
    )
    assert small > 5 * large > 0.1


def test_bad_input(unchecked: None) -> None:
    """One point, other dimensions, infinities, and matrices that are no covariances."""
    x = torch.randn(5, 2)
    for bad in (x[:1], x[:0], x[:, :1], x[:, 0], torch.randn(5, 2, 2)):
        for pair in ((x, bad), (bad, x)):
            with pytest.raises(ValueError, match="two sets of at least 2 points, got"):
                frechet_distance(*pair)
    mean, cov = torch.zeros(2), torch.eye(2)
    for value in (math.nan, math.inf):
        broken = x.clone()
        broken[3, 1] = value
        for pair in ((x, broken), (broken, x)):
            with pytest.raises(ValueError, match="not finite"):
                frechet_distance(*pair)
        with pytest.raises(ValueError, match="not finite"):
            gaussian_frechet(mean, cov, torch.tensor([0.0, value]), cov)
        with pytest.raises(ValueError, match="not finite"):
            gaussian_frechet(mean, cov * value, mean, cov)
    for moments in (
        (mean, cov, torch.zeros(3), torch.eye(3)),
        (mean, cov, mean, torch.eye(3)),
        (mean, torch.eye(3), mean, torch.eye(3)),
        (mean[None], cov, mean, cov),
        (mean, cov, mean, torch.ones(2)),
    ):
        with pytest.raises(ValueError, match="means and covariances of one dimension"):
            gaussian_frechet(*moments)
    for matrix, match in (
        (torch.tensor([[1.0, 0.5], [0.0, 1.0]]), "symmetric"),
        (torch.tensor([[1.0, 2.0], [2.0, 1.0]]), "negative eigenvalue"),
    ):
        for pair in ((cov, matrix), (matrix, cov)):
            with pytest.raises(ValueError, match=match):
                gaussian_frechet(mean, pair[0], mean, pair[1])
