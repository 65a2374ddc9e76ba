"""Proof for litgen/density/kde_gaussian.py; the chapter is book/density/kde.md.

The judge is quadrature of the defining integrals on a line. Standard normal data and the kernel
are products over dimensions, so integrals of one kernel in D dimensions are powers.
"""

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch

from litgen.density import kde_gaussian as known

AXIS = np.linspace(-12, 12, 1201)
STEP = AXIS[1] - AXIS[0]
TRUTH = scipy.stats.norm.pdf(AXIS)
SILVERMAN = [4, 19, 67, 223, 768, 2790, 10_700, 43_700, 187_000, 842_000]
"""Silverman (1986), table 4.2: what a relative error of 0.1 at the origin takes, d = 1 to 10."""


def moment(x: np.ndarray, bandwidth: float, power: int) -> np.ndarray:
    """Return E K(x - t)^power over standard normal t on a line, by summing over an axis."""
    kernel = scipy.stats.norm.pdf(x[:, None], AXIS, bandwidth)
    return (kernel**power * TRUTH).sum(axis=1) * STEP


@pytest.mark.parametrize("dims", [1, 2, 5])
def test_the_expected_density_is_the_convolution(dims: int) -> None:
    """eq:kde-gaussian-mean: the product of D integrals on a line."""
    points = np.random.default_rng(0).standard_normal((6, dims))
    expected = moment(points.ravel(), 0.6, 1).reshape(6, dims).prod(axis=1)
    found = known.expected_log_density(torch.from_numpy(points), 0.6).exp()
    assert expected.std() > 0.01 * expected.mean()
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-9, atol=0)


@pytest.mark.parametrize("dims", [1, 3])
@pytest.mark.parametrize("bandwidth", [0.3, 1.1])
def test_the_error_at_the_origin_is_bias_and_variance(dims: int, bandwidth: float) -> None:
    """eq:kde-origin-error, and eq:kde-variance at the origin: two moments of one kernel."""
    origin = np.zeros(1)
    first, second = (moment(origin, bandwidth, power).item() ** dims for power in (1, 2))
    truth = (2 * math.pi) ** (-dims / 2)
    for count in (1, 7, 200):
        expected = ((first - truth) ** 2 + (second - first**2) / count) / truth**2
        found = known.relative_error_at_origin(count, bandwidth, dims)
        assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("bandwidth", [0.2, 0.9])
def test_the_mean_integrated_error_on_a_line(bandwidth: float) -> None:
    """eq:kde-gaussian-mise: bias squared plus variance, integrated over places."""
    first, second = (moment(AXIS, bandwidth, power) for power in (1, 2))
    for count in (1, 30):
        expected = ((first - TRUTH) ** 2 + (second - first**2) / count).sum() * STEP
        found = known.mean_integrated_squared_error(count, bandwidth, 1)
        assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("dims", [2, 4])
def test_the_mean_integrated_error_in_more_dimensions(dims: int) -> None:
    """eq:kde-gaussian-mise: its five terms are powers of integrals on a line."""
    count, bandwidth = 12, 0.5
    first, second = (moment(AXIS, bandwidth, power) for power in (1, 2))

    def power(integrand: np.ndarray) -> float:
        return float((integrand.sum() * STEP) ** dims)

    variance = (power(second) - power(first**2)) / count
    bias = power(first**2) - 2 * power(first * TRUTH) + power(TRUTH**2)
    found = known.mean_integrated_squared_error(count, bandwidth, dims)
    assert found == pytest.approx(bias + variance, rel=1e-9)


def test_the_integrated_error_of_one_data_set() -> None:
    """eq:kde-gaussian-ise on a line by quadrature of scipy's density, in the plane by a grid."""
    random = np.random.default_rng(1)
    data = random.standard_normal(20)
    estimate = scipy.stats.norm.pdf(AXIS[:, None], data, 0.4).mean(axis=1)
    expected = scipy.integrate.simpson((estimate - TRUTH) ** 2, x=AXIS)
    found = known.integrated_squared_error(torch.from_numpy(data)[:, None], 0.4)
    assert found == pytest.approx(expected, rel=1e-9)
    plane = random.standard_normal((8, 2))
    axis = np.linspace(-9, 9, 361)
    one, two = (scipy.stats.norm.pdf(axis[:, None], plane[:, k], 0.5) for k in (0, 1))
    estimate = one @ two.T / 8
    truth = np.outer(scipy.stats.norm.pdf(axis), scipy.stats.norm.pdf(axis))
    expected = ((estimate - truth) ** 2).sum() * (axis[1] - axis[0]) ** 2
    found = known.integrated_squared_error(torch.from_numpy(plane), 0.5)
    assert found == pytest.approx(expected, rel=1e-9)


def test_the_mean_error_is_the_mean_of_the_errors() -> None:
    """eq:kde-gaussian-mise is eq:kde-gaussian-ise averaged over data sets."""
    generator = torch.Generator().manual_seed(3)
    sets = torch.randn(500, 15, 2, generator=generator, dtype=torch.float64)
    errors = torch.tensor([known.integrated_squared_error(data, 0.5) for data in sets])
    expected = known.mean_integrated_squared_error(15, 0.5, 2)
    assert abs(errors.mean().item() - expected) < 4 * errors.std().item() / math.sqrt(500)
    assert errors.std().item() / math.sqrt(500) < 0.04 * expected


@pytest.mark.parametrize(("dims", "expected"), list(enumerate(SILVERMAN, start=1)))
def test_silvermans_table(dims: int, expected: int) -> None:
    """eq:kde-origin-error minimised over h gives table 4.2 to its three digits."""
    count, bandwidth = known.samples_needed(dims)
    assert float(f"{count:.2e}") == expected
    fine = np.exp(np.linspace(math.log(0.05), math.log(3), 2_001))

    def best(number: int) -> float:
        return min(known.relative_error_at_origin(number, h, dims) for h in fine)

    assert best(count) <= 0.1 + 2e-6
    assert best(count - 1) > 0.1
    assert known.relative_error_at_origin(count, bandwidth, dims) <= best(count) + 1e-12


def test_less_error_takes_more_data() -> None:
    """The leading order: data grow as error^(-(D + 4) / 4)."""
    few, many = (known.samples_needed(2, error)[0] for error in (1e-3, 1e-4))
    assert math.log10(many / few) == pytest.approx(6 / 4, abs=0.03)
    # Even the best estimate from one datum is off by less than everything.
    assert known.samples_needed(1, 0.9)[0] == 1


@pytest.mark.parametrize("error", [0.0, 1.0, -1.0, math.nan])
def test_an_error_lies_between_nothing_and_everything(error: float) -> None:
    """At 0 the search would never end."""
    with pytest.raises(ValueError, match="an error between 0 and 1 in some dims expected"):
        known.samples_needed(2, error)
    with pytest.raises(ValueError, match=r"in some dims expected, got 0\.1, 0"):
        known.samples_needed(0)
