"""Proof for litgen/density/kde.py; the chapter is book/density/kde.md.

The judges are scipy, scikit-learn, quadrature, and a double loop in Python's own arithmetic, whose
derivatives are taken by differences.
"""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
import torch
from sklearn.neighbors import KernelDensity
from torch import Tensor
from torch.distributions import MultivariateNormal

from litgen.density.kde import (
    fit_bandwidth,
    leave_one_out,
    log_prob,
    reference_bandwidth,
    sample,
)
from tests import oracles

Draw = Callable[..., Tensor]
DIMS = [1, 2, 5]


def by_double_loop(
    data: Tensor, bandwidth: float, groups: Sequence[int] | None = None
) -> list[float]:
    """Return the log-density of every datum under the kernels of other groups, one by one."""
    rows = data.tolist()
    which = list(groups) if groups is not None else list(range(len(rows)))
    found = []
    for i, x in enumerate(rows):
        densities = []
        for j, middle in enumerate(rows):
            if which[i] != which[j]:
                density = 1.0
                for a, b in zip(x, middle, strict=True):
                    u = (a - b) / bandwidth
                    density *= math.exp(-u * u / 2) / (bandwidth * math.sqrt(2 * math.pi))
                densities.append(density)
        found.append(math.log(sum(densities) / len(densities)))
    return found


# The density ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dims", DIMS)
@pytest.mark.parametrize("block", [1, 3, 100])
def test_the_log_density_is_scikit_learns(normal: Draw, dims: int, block: int) -> None:
    """eq:kde-log-prob, whatever the number of points at a time."""
    data, x, bandwidth = 2 * normal(30, dims) + 1, 3 * normal(10, dims), 0.4
    judge = KernelDensity(bandwidth=bandwidth, rtol=1e-12).fit(data.numpy())
    expected = torch.from_numpy(judge.score_samples(x.numpy()))
    assert expected.std() > 0.3
    torch.testing.assert_close(log_prob(x, data, bandwidth, block), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("dims", DIMS)
def test_the_density_is_scipys(normal: Draw, dims: int) -> None:
    """eq:kde-density: scipy scales the data's covariance, so the data are whitened first."""
    data = normal(40, dims)
    whitening = torch.linalg.inv(torch.linalg.cholesky(torch.cov(data.T).view(dims, dims)))
    data = data @ whitening.T
    x = normal(9, dims)
    expected = scipy.stats.gaussian_kde(data.T.numpy(), bw_method=0.3).pdf(x.T.numpy())
    assert expected.std() > 0.01 * expected.mean()
    found = log_prob(x, data, 0.3).exp()
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-9, atol=0)


@pytest.mark.parametrize("dims", DIMS)
def test_one_datum_is_one_gaussian(normal: Draw, dims: int) -> None:
    """eq:kde-density with n = 1 is torch's normal density around the datum."""
    datum, x, bandwidth = normal(1, dims), normal(6, dims), 0.7
    law = MultivariateNormal(datum[0], bandwidth**2 * torch.eye(dims, dtype=torch.float64))
    torch.testing.assert_close(log_prob(x, datum, bandwidth), law.log_prob(x))


@pytest.mark.parametrize("bandwidth", [0.1, 0.5, 2.0])
def test_it_integrates_to_one(normal: Draw, bandwidth: float) -> None:
    """eq:kde-density on the line and in the plane, by quadrature."""
    line, plane = normal(7, 1), normal(5, 2)
    width = 4 + 9 * bandwidth
    mass = oracles.integrate(lambda x: log_prob(x[:, None], line, bandwidth).exp(), -width, width)
    torch.testing.assert_close(mass, torch.ones((), dtype=torch.float64), rtol=0, atol=1e-9)
    axis = torch.linspace(-width, width, 601, dtype=torch.float64)
    places = torch.cartesian_prod(axis, axis)
    total = log_prob(places, plane, bandwidth).exp().sum() * (axis[1] - axis[0]) ** 2
    torch.testing.assert_close(total, torch.ones((), dtype=torch.float64), rtol=0, atol=1e-9)


def test_far_away_the_log_density_stays_finite(normal: Draw) -> None:
    """eq:kde-log-prob where every exponential leaves the doubles: the nearest kernel decides."""
    data = normal(20, 3)
    x = 1e4 * torch.nn.functional.normalize(normal(4, 3), dim=1)
    found = log_prob(x, data, 0.1)
    squares = ((x.numpy()[:, None] - data.numpy()) ** 2).sum(axis=2)
    expected = scipy.special.logsumexp(-squares / 0.02, axis=1) - math.log(20)
    expected -= 1.5 * math.log(2 * math.pi * 0.01)
    assert found.max() < -1e8
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-9, atol=0)


def test_it_moves_with_the_data(normal: Draw) -> None:
    """A shift of a million changes nothing: the square is not multiplied out far from zero."""
    data, x = normal(20, 2), normal(5, 2)
    shift = torch.tensor([1e6, -3e6], dtype=torch.float64)
    moved = log_prob(x + shift, data + shift, 0.2)
    torch.testing.assert_close(moved, log_prob(x, data, 0.2), rtol=0, atol=1e-6)
    single = log_prob((x + 1000).float(), (data + 1000).float(), 0.2)
    torch.testing.assert_close(single.double(), log_prob(x, data, 0.2), rtol=0, atol=2e-2)


def test_a_far_point_does_not_disturb_the_others(normal: Draw) -> None:
    """Squares are multiplied out around the data, wherever the points are."""
    data, x = normal(20, 2), normal(5, 2)
    far = torch.full((1, 2), 1e9, dtype=torch.float64)
    found = log_prob(torch.cat([x, far]), data, 0.2)
    torch.testing.assert_close(found[:5], log_prob(x, data, 0.2), rtol=0, atol=1e-9)


def test_no_density_exceeds_that_of_all_kernels_at_one_place(normal: Draw) -> None:
    """In single precision a square that is multiplied out may come out below zero; it is cut."""
    data, bandwidth = (100 * normal(50, 300)).float(), 0.01
    top = -150 * math.log(2 * math.pi * bandwidth**2)
    assert log_prob(data, data, bandwidth).max().item() <= top + 1e-3


def test_no_points_have_no_density(normal: Draw) -> None:
    """An empty table stays empty."""
    assert log_prob(normal(0, 2), normal(5, 2), 0.2).shape == (0,)


# Sampling -------------------------------------------------------------------------------------


def test_a_sample_is_a_datum_and_noise(normal: Draw) -> None:
    """eq:kde-sample, entry by entry."""
    data, noise, index = normal(6, 3), normal(4, 3), torch.tensor([5, 0, 0, 2])
    found = sample(data, 0.3, index, noise)
    for row, i in enumerate(index.tolist()):
        for column in range(3):
            expected = data[i, column].item() + 0.3 * noise[row, column].item()
            assert found[row, column].item() == pytest.approx(expected, abs=1e-12)


def test_samples_follow_the_density(generator: torch.Generator) -> None:
    """eq:kde-sample against eq:kde-density: by Kolmogorov and Smirnov's test of its integral."""
    data = torch.tensor([[-1.0], [0.5], [2.0]], dtype=torch.float64)
    index = torch.randint(3, (4000,), generator=generator)
    noise = torch.randn(4000, 1, generator=generator, dtype=torch.float64)
    drawn = sample(data, 0.4, index, noise)[:, 0].numpy()
    axis = np.linspace(-4, 5, 9001)
    density = log_prob(torch.from_numpy(axis)[:, None], data, 0.4).exp().numpy()
    integral = np.cumsum(density) * (axis[1] - axis[0])
    found = scipy.stats.kstest(drawn, lambda x: np.interp(x, axis, integral))
    assert 1e-3 < found.pvalue < 1 - 1e-3


# The bandwidth --------------------------------------------------------------------------------


@pytest.mark.parametrize("dims", DIMS)
@pytest.mark.parametrize("block", [2, 5, 100])
def test_leave_one_out_is_the_double_loop(normal: Draw, dims: int, block: int) -> None:
    """eq:kde-leave-one-out: each datum under the n - 1 other kernels, in the mean."""
    data, bandwidth = normal(12, dims) * 1.5, 0.6
    expected = by_double_loop(data, bandwidth)
    assert np.std(expected) > 0.1
    found = leave_one_out(data, bandwidth, block=block).log_likelihood
    assert found == pytest.approx(sum(expected) / 12, abs=1e-10)


@pytest.mark.parametrize("block", [2, 100])
def test_left_out_groups_are_those_of_the_double_loop(normal: Draw, block: int) -> None:
    """eq:kde-leave-group-out: groups of unequal size, in no order, with any names."""
    data, bandwidth = normal(11, 2), 0.8
    groups = [7, 0, 7, 7, -3, 0, 7, -3, 7, 0, 7]
    expected = by_double_loop(data, bandwidth, groups)
    found = leave_one_out(data, bandwidth, torch.tensor(groups), block)
    assert found.log_likelihood == pytest.approx(sum(expected) / 11, abs=1e-10)
    alone = leave_one_out(data, bandwidth, torch.arange(11) * 5, block)
    assert alone == pytest.approx(leave_one_out(data, bandwidth), abs=1e-10)
    assert alone.log_likelihood != pytest.approx(found.log_likelihood, abs=1e-3)


@pytest.mark.parametrize("dims", DIMS)
@pytest.mark.parametrize("grouped", [False, True])
def test_the_derivatives_are_those_of_the_double_loop(
    normal: Draw, dims: int, grouped: bool
) -> None:
    """eq:kde-loo-gradient and eq:kde-loo-curvature, by differences in log h."""
    data, bandwidth, step = normal(9, dims), 0.5, 1e-3
    groups = torch.tensor([0, 0, 1, 1, 1, 2, 2, 2, 2]) if grouped else None

    def mean(shift: float) -> float:
        h = bandwidth * math.exp(shift)
        each = by_double_loop(data, h, groups.tolist() if groups is not None else None)
        return sum(each) / len(each)

    found = leave_one_out(data, bandwidth, groups)
    slope = (mean(step) - mean(-step)) / (2 * step)
    curvature = (mean(step) - 2 * mean(0) + mean(-step)) / step**2
    assert abs(slope) > 0.05
    assert abs(curvature) > 0.1
    assert found.gradient == pytest.approx(slope, rel=1e-4)
    assert found.curvature == pytest.approx(curvature, rel=1e-4)


@pytest.mark.parametrize(
    ("dims", "start"), [(1, None), (2, None), (5, None), (2, 50.0), (2, 1e-3)]
)
def test_the_fitted_bandwidth_is_the_best(normal: Draw, dims: int, start: float | None) -> None:
    """eq:kde-newton ends where a search without derivatives ends, from near and from far."""
    data = normal(25, dims)
    found, value = fit_bandwidth(data, start, tolerance=1e-7)
    best = scipy.optimize.minimize_scalar(
        lambda u: -np.mean(by_double_loop(data, math.exp(u))),
        bounds=(math.log(0.05), math.log(3.0)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    assert found == pytest.approx(math.exp(best.x), rel=1e-4)
    assert value == pytest.approx(-best.fun, abs=1e-8)


def test_newton_does_not_go_round_in_circles() -> None:
    """eq:kde-newton on twelve points between which bare Newton steps jump to and fro for ever."""
    line = [-2.56, -2.41, -1.8, -1.65, -1.4, -0.47, -0.36, 0.11, 0.23, 0.46, 0.62, 0.66]
    data = torch.tensor(line, dtype=torch.float64)[:, None]
    found, value = fit_bandwidth(data, tolerance=1e-8)
    nearby = [np.mean(by_double_loop(data, found * r)) for r in (0.99, 1.0, 1.01)]
    assert nearby[1] > max(nearby[0], nearby[2])
    assert value == pytest.approx(nearby[1], abs=1e-10)


def test_the_fitted_bandwidth_obeys_the_groups(normal: Draw) -> None:
    """eq:kde-leave-group-out: near twins in one group must not pull the bandwidth to zero."""
    points = normal(30, 2)
    twins = torch.cat([points, points + 1e-3 * normal(30, 2)])
    groups = torch.arange(30).repeat(2)
    alone, _ = fit_bandwidth(points)
    grouped, _ = fit_bandwidth(twins, groups=groups)
    fooled, _ = fit_bandwidth(twins)
    assert grouped == pytest.approx(alone, rel=0.02)
    assert fooled < 0.05 * alone


def test_the_best_bandwidth_is_a_distance(normal: Draw) -> None:
    """eq:kde-fixed-point: h^2 D is the mean square distance to the kernels behind a datum."""
    data = normal(20, 3)
    bandwidth, _ = fit_bandwidth(data, tolerance=1e-8)
    total = 0.0
    for i, j in itertools.permutations(range(20), 2):
        logs = [
            -((data[i] - data[k]).square().sum().item()) / (2 * bandwidth**2)
            for k in range(20)
            if k != i
        ]
        square = (data[i] - data[j]).square().sum().item()
        share = math.exp(-square / (2 * bandwidth**2)) / sum(map(math.exp, logs))
        total += share * square
    assert bandwidth**2 == pytest.approx(total / (20 * 3), rel=1e-5)


def test_training_likelihood_has_no_best_bandwidth(normal: Draw) -> None:
    """eq:kde-collapse: with a datum's own kernel left in, the likelihood grows as h shrinks."""
    data = normal(15, 2)
    values = [log_prob(data, data, h).mean().item() for h in (1e-1, 1e-2, 1e-3, 1e-4)]
    assert values == sorted(values)
    slope = (values[-1] - values[-2]) / math.log(10)
    assert slope == pytest.approx(2, abs=1e-6), "it grows by D for each e-fold"
    floor = -math.log(15) - math.log(2 * math.pi * 1e-8)
    assert values[-1] == pytest.approx(floor, abs=1e-6)


@pytest.mark.parametrize("dims", [1, 2, 4])
def test_the_reference_rule_is_silvermans(normal: Draw, dims: int) -> None:
    """eq:kde-reference: scipy's rule of Silverman, at equal standard deviations."""
    data = normal(50, dims)
    data = (data - data.mean(dim=0)) / data.std(dim=0) * 3.0
    factor = scipy.stats.gaussian_kde(data.T.numpy(), bw_method="silverman").factor
    assert reference_bandwidth(data) == pytest.approx(3.0 * factor, rel=1e-12)
    wider = data * torch.linspace(1, 2, dims, dtype=torch.float64)
    spread = 3 * math.sqrt(sum((1 + k / max(dims - 1, 1)) ** 2 for k in range(dims)) / dims)
    assert reference_bandwidth(wider) == pytest.approx(spread * factor, rel=1e-12)


# Bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("bandwidth", [0.0, -1.0, math.inf, math.nan])
def test_a_bandwidth_is_positive(normal: Draw, bandwidth: float) -> None:
    """Zero, negative, infinite and nan are named."""
    data = normal(4, 2)
    with pytest.raises(
        ValueError, match=f"bandwidth must be positive and finite, got {bandwidth}"
    ):
        log_prob(data, data, bandwidth)
    with pytest.raises(ValueError, match="bandwidth must be positive"):
        leave_one_out(data, bandwidth)
    with pytest.raises(ValueError, match="bandwidth must be positive"):
        sample(data, bandwidth, torch.tensor([0]), normal(1, 2))
    with pytest.raises(ValueError, match="bandwidth must be positive"):
        fit_bandwidth(data, start=bandwidth)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_data_are_finite(normal: Draw, bad: float) -> None:
    """One nan would make every density nan; it is counted instead."""
    data = normal(4, 2)
    data[2, 1] = bad
    fine = normal(3, 2)
    for call in (
        lambda: log_prob(fine, data, 1.0),
        lambda: leave_one_out(data, 1.0),
        lambda: fit_bandwidth(data),
        lambda: reference_bandwidth(data),
        lambda: sample(data, 1.0, torch.tensor([0]), normal(1, 2)),
    ):
        with pytest.raises(ValueError, match="1 of 4 data hold values that are not finite"):
            call()
    with pytest.raises(ValueError, match=r"finite points of 2 dims expected, got \(4, 2\)"):
        log_prob(data, fine, 1.0)
    data[3, 1] = bad
    with pytest.raises(ValueError, match="2 of 4 data hold"):
        log_prob(fine, data, 1.0)


@pytest.mark.usefixtures("unchecked")
def test_shapes_are_checked(normal: Draw) -> None:
    """What would broadcast into a number, and the wrong one."""
    with pytest.raises(ValueError, match=r"finite points of 3 dims expected, got \(5, 2\)"):
        log_prob(normal(5, 2), normal(6, 3), 1.0)
    with pytest.raises(ValueError, match=r"finite points of 3 dims expected, got \(3,\)"):
        log_prob(normal(3), normal(6, 3), 1.0)
    with pytest.raises(ValueError, match=r"at least 1 rows of data expected, got \(0, 3\)"):
        log_prob(normal(5, 3), normal(0, 3), 1.0)
    with pytest.raises(ValueError, match=r"at least 1 rows of data expected, got \(3,\)"):
        log_prob(normal(5, 3), normal(3), 1.0)
    with pytest.raises(ValueError, match=r"at least 2 rows of data expected, got \(1, 3\)"):
        leave_one_out(normal(1, 3), 1.0)
    with pytest.raises(ValueError, match=r"at least 2 rows of data expected, got \(4, 0\)"):
        leave_one_out(normal(4, 0), 1.0)
    with pytest.raises(ValueError, match=r"2 rows of 3 expected as noise, got \(1, 3\)"):
        sample(normal(4, 3), 1.0, torch.tensor([0, 1]), normal(1, 3))
    with pytest.raises(ValueError, match=r"4 groups expected, got \(3,\)"):
        leave_one_out(normal(4, 3), 1.0, torch.tensor([0, 1, 2]))


def test_one_group_leaves_nothing(normal: Draw) -> None:
    """Every kernel would be excluded."""
    with pytest.raises(ValueError, match="all 4 data are in one group"):
        leave_one_out(normal(4, 3), 1.0, torch.zeros(4, dtype=torch.int64))


def test_twins_have_no_best_bandwidth(normal: Draw) -> None:
    """If every datum occurs twice, the likelihood rises for ever as h shrinks; that is said."""
    data = normal(5, 2).repeat(2, 1)
    with pytest.raises(
        ValueError, match=r"no bandwidth maximises .* Does every datum occur twice"
    ):
        fit_bandwidth(data)
    with pytest.raises(ValueError, match="all 5 data are equal"):
        fit_bandwidth(data[:1].repeat(5, 1))
