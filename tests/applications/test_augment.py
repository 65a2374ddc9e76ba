"""Proof for litgen/applications/augment.py: risks by simulation, information by determinants."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from litgen.applications import augment


def seeded(seed: int = 0) -> torch.Generator:
    """Return a generator."""
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Return standard normal numbers in double precision."""
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def test_samples_have_the_points_mean_and_covariance() -> None:
    """Many draws of eq:med-generator have the moments numpy finds in the points."""
    points = normal(4, 3) * torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64) + 3
    drawn = augment.draw_fitted(points, normal(200_000, 4, seed=1)).numpy()
    assert np.abs(drawn.mean(axis=0) - points.numpy().mean(axis=0)).max() < 0.02
    wanted = np.cov(points.numpy(), rowvar=False)
    assert np.abs(np.cov(drawn, rowvar=False) - wanted).max() < 0.02 * np.abs(wanted).max()
    assert np.abs(wanted).min() > 0.01


def test_samples_stay_in_the_plane_of_the_points() -> None:
    """Three points in ten dimensions span a plane; no sample leaves it (eq:med-generator)."""
    points = normal(2, 3, 10)
    drawn = augment.draw_fitted(points, normal(2, 50, 3, seed=1))
    for own, made in zip(points.numpy(), drawn.numpy(), strict=True):
        basis = np.linalg.qr((own[1:] - own[0]).T)[0]
        rest = (made - own[0]) - (made - own[0]) @ basis @ basis.T
        assert np.abs(rest).max() < 1e-12
        assert made.std(axis=0).min() > 0.05


def test_a_mixed_mean_is_a_weighted_mean() -> None:
    """With the share m / (n + m) it is the mean of all points together (eq:med-mixed)."""
    points, samples = normal(3, 5, 2), normal(3, 7, 2, seed=1)
    found = augment.mixed_mean(points, samples, 7 / 12)
    torch.testing.assert_close(found, torch.cat([points, samples], dim=1).mean(dim=1))
    expected = 0.8 * points.sum(dim=1) / 5 + 0.2 * samples.sum(dim=1) / 7
    torch.testing.assert_close(augment.mixed_mean(points, samples, 0.2), expected)


@pytest.mark.parametrize(("n", "m", "share"), [(5, 3, None), (5, 20, None), (8, 4, 0.7)])
def test_variance_of_the_mixed_mean_by_simulation(n: int, m: int, share: float | None) -> None:
    """Data, a Gaussian fitted to them, its samples, their mean: eq:med-variance, eq:med-mixed."""
    runs, scale = 100_000, 1.7
    points = scale * normal(runs, n, 1)
    samples = augment.draw_fitted(points, normal(runs, m, n, seed=1))
    weight = m / (n + m) if share is None else share
    found = augment.mixed_mean(points, samples, weight).var().item() / scale**2
    assert found == pytest.approx(augment.pooled_variance(n, m, share), rel=0.015)


def test_samples_never_help_and_many_do_no_harm() -> None:
    """Never below 1/n; worst where m = n, by a quarter; 1/n again in the end: eq:med-variance."""
    values = [augment.pooled_variance(20, m) for m in range(2_000)]
    assert min(values) == values[0] == 1 / 20
    assert int(np.argmax(values)) == 20
    assert max(values) == pytest.approx(1.25 / 20)
    assert augment.pooled_variance(20, 10**9) == pytest.approx(1 / 20, rel=1e-6)


def test_effective_numbers() -> None:
    """The harmonic rule for samples alone, and data that would do as well: eq:med-effective."""
    assert augment.effective_number(20, 30, samples_alone=True) == pytest.approx(20 * 30 / 50)
    assert augment.effective_number(20, 20) == pytest.approx(16)
    assert augment.effective_number(20, 0) == 20
    assert augment.effective_number(20, 5) == pytest.approx(1 / (1 / 20 + 5 / 625))


def joint_information(n: int, m: int, signal: float, first: int) -> float:
    """Return I(mu; z[first:]) in nats from determinants, z = (n data, m samples), sigma = 1.

    A datum is mu plus noise; a sample is the data's mean plus noise.
    """
    mixing = np.zeros((1 + n + m, 1 + n + m))
    mixing[0, 0] = math.sqrt(signal)
    for i in range(n):
        mixing[1 + i, 0], mixing[1 + i, 1 + i] = math.sqrt(signal), 1
    for j in range(m):
        mixing[1 + n + j] = mixing[1 : 1 + n].mean(axis=0)
        mixing[1 + n + j, 1 + n + j] = 1
    covariance = mixing @ mixing.T
    seen = list(range(1 + first, 1 + n + m))
    both = [0, *seen]
    own = np.linalg.slogdet(covariance[np.ix_(seen, seen)])[1]
    return 0.5 * (math.log(signal) + own - np.linalg.slogdet(covariance[np.ix_(both, both)])[1])


@pytest.mark.parametrize(("n", "m", "signal"), [(3, 2, 0.7), (4, 9, 2.5), (5, 1, 0.1)])
def test_information_is_that_of_determinants(n: int, m: int, signal: float) -> None:
    """Of all variables written out; samples beside the data add nothing: eq:med-information."""
    with_samples = joint_information(n, m, signal, 0)
    assert augment.information(n, m, signal) == pytest.approx(with_samples)
    assert joint_information(n, 0, signal, 0) == pytest.approx(with_samples)
    alone = augment.information(n, m, signal, samples_alone=True)
    assert alone == pytest.approx(joint_information(n, m, signal, n))
    assert alone < with_samples
    assert augment.information(n, 0, signal, samples_alone=True) == 0


def test_risk_with_a_plane_by_simulation() -> None:
    """Project, mix, compare with the true mean: eq:med-prior-risk."""
    dims, rank, n, share = 6, 2, 4, 0.6
    mean = normal(dims, seed=3)
    points = mean + 1.3 * normal(50_000, n, dims)
    own = points.mean(dim=1)
    made = own.clone()
    made[:, rank:] = 0
    found = ((1 - share) * own + share * made - mean).square().sum(dim=1).mean().item()
    bias = mean[rank:].square().sum().item()
    expected = augment.prior_risk(dims, rank, bias, 1.3**2 / n, share)
    assert found == pytest.approx(expected, rel=0.01)
    without = augment.prior_risk(dims, rank, bias, 1.3**2 / n, 0.0)
    assert without == pytest.approx(dims * 1.3**2 / n)
    assert augment.prior_risk(dims, rank, bias, 0.0, share) == pytest.approx(share**2 * bias)


@pytest.mark.parametrize("share", [0.4, 1.0])
def test_at_break_even_the_risks_cross(share: float) -> None:
    """Below this number the generator helps, above it harms: eq:med-break-even."""
    dims, rank, bias, variance = 10, 3, 0.5, 2.0
    n = augment.break_even(dims, rank, bias, variance, share)
    plain = [augment.prior_risk(dims, rank, bias, variance / k, 0.0) for k in (n / 2, n, 2 * n)]
    made = [augment.prior_risk(dims, rank, bias, variance / k, share) for k in (n / 2, n, 2 * n)]
    assert made[0] < plain[0]
    assert made[1] == pytest.approx(plain[1])
    assert made[2] > plain[2]
    assert augment.break_even(dims, rank, 0.0, variance) == math.inf
    assert augment.break_even(dims, rank, bias, variance, 0.0) == math.inf
    assert augment.break_even(dims, dims, bias, variance) == 0
    alone = augment.break_even(dims, rank, bias, variance)
    assert alone == augment.break_even(dims, rank, bias, variance, 1.0) == 7 * 2 / 0.5


def test_the_best_share_has_the_least_risk() -> None:
    """On a fine grid of shares; with it the generator never harms: eq:med-best-share."""
    grid = np.linspace(0, 1, 1_001)
    for noise in (0.01, 0.1, 1.0):
        risks = [augment.prior_risk(10, 3, 0.5, noise, share) for share in grid]
        found = augment.best_share(10, 3, 0.5, noise)
        assert found == pytest.approx(grid[int(np.argmin(risks))], abs=1e-3)
        assert 0 < found < 1
        assert augment.prior_risk(10, 3, 0.5, noise, found) < risks[0]
    assert augment.best_share(10, 10, 0.0, 0.1) == 0
    assert augment.best_share(10, 3, 0.0, 0.1) == 1


def test_a_diluted_class_by_counting() -> None:
    """Bayes' rule on a table of looks, samples drawn without the class: eq:med-diluted."""
    table = np.array([[0.30, 0.05], [0.20, 0.10], [0.15, 0.20]])  # looks by (other, class)
    share, prior = 0.4, table[:, 1].sum()
    healthy = table[:, 0] / table[:, 0].sum()
    mixed = (1 - share) * table[:, 1] / ((1 - share) * table.sum(axis=1) + share * healthy)
    before = torch.from_numpy(np.log(table[:, 1] / table[:, 0]))
    after = augment.diluted_logit(before, share, float(prior))
    np.testing.assert_allclose(torch.sigmoid(after).numpy(), mixed)
    assert (after < before).all()
    torch.testing.assert_close(augment.diluted_logit(before, 0.0, 0.3), before)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: augment.draw_fitted(torch.zeros(3, 2), torch.zeros(5, 4)), "3 points and noise"),
        (lambda: augment.draw_fitted(torch.zeros(1, 2), torch.zeros(5, 1)), "at least 2"),
        (lambda: augment.pooled_variance(0, 3), "at least one datum"),
        (lambda: augment.pooled_variance(3, -1), "no negative number"),
        (lambda: augment.pooled_variance(3, 0, 0.5), "for no samples"),
        (lambda: augment.pooled_variance(3, 2, 1.5), "between 0 and 1"),
        (lambda: augment.information(3, 2, 0.0), "must be positive"),
        (lambda: augment.information(0, 2, 1.0), "at least one datum"),
        (lambda: augment.prior_risk(3, 2, 0.0, 1.0, 1.5), "between 0 and 1"),
        (lambda: augment.prior_risk(3, -1, 0.0, 1.0, 0.5), "rank -1 of 3"),
        (lambda: augment.break_even(3, 4, 1.0, 1.0), "rank 4 of 3"),
        (lambda: augment.break_even(3, 2, 1.0, 1.0, 1.5), "between 0 and 1"),
        (lambda: augment.best_share(3, 4, 1.0, 1.0), "rank 4 of 3"),
        (lambda: augment.diluted_logit(torch.zeros(1), 0.5, 1.0), "some of the class"),
        (lambda: augment.diluted_logit(torch.zeros(1), 1.5, 0.1), "between 0 and 1"),
        (lambda: augment.prior_risk(3, 4, 0.0, 1.0, 0.5), "rank 4 of 3"),
        (lambda: augment.prior_risk(3, 2, -1.0, 1.0, 0.5), "squared bias -1.0"),
        (lambda: augment.prior_risk(3, 2, 1.0, -1.0, 0.5), "cannot be negative"),
        (lambda: augment.diluted_logit(torch.zeros(1), 1.0, 0.1), "some data"),
        (lambda: augment.diluted_logit(torch.zeros(1), 0.5, 0.0), "some of the class"),
        (lambda: augment.mixed_mean(torch.zeros(2, 1), torch.zeros(2, 1), -0.1), "share"),
    ],
)
def test_bad_input_is_named(call: object, said: str) -> None:
    """Counts, shares and planes that cannot be."""
    with pytest.raises(ValueError, match=said):
        call()  # type: ignore[operator]
