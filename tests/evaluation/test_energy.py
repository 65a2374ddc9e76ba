"""Proof for litgen/evaluation/energy.py: double loops, scipy, Gaussians in closed form."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from torch import Tensor

from litgen.evaluation.energy import energy_distance, squared_cdf_gap
from tests import oracles

Normal = Callable[..., Tensor]


def mean_distance(pairs: "itertools.product[tuple[list[float], list[float]]]") -> float:
    """Return the mean Euclidean distance of pairs, one after the other."""
    return float(np.mean([math.dist(a, b) for a, b in pairs]))


def by_hand(x: Tensor, y: Tensor, biased: bool = False) -> float:
    """Return the estimate from its definition; ``biased`` counts a point with itself too."""
    a, b = x.tolist(), y.tolist()

    def within(points: list[list[float]]) -> float:
        everything = mean_distance(itertools.product(points, points))
        return everything if biased else everything * len(points) / (len(points) - 1)

    return 2 * mean_distance(itertools.product(a, b)) - within(a) - within(b)


@pytest.mark.parametrize("dims", [1, 2, 5])
@pytest.mark.parametrize("block", [1, 4, 7, 256])
def test_the_estimate_is_the_double_loop(normal: Normal, dims: int, block: int) -> None:
    """eq:energy-distance, for sets of different sizes, whatever part is held at a time."""
    x, y = normal(23, dims), 0.5 + 1.5 * normal(14, dims)
    expected = by_hand(x, y)
    assert abs(expected) > 0.01
    assert energy_distance(x, y, block).item() == pytest.approx(expected, rel=1e-12)
    assert energy_distance(y, x, block).item() == pytest.approx(expected, rel=1e-12)
    assert energy_distance(x.float(), y.float(), block).dtype == torch.float32


def test_it_is_scipys_squared_but_for_the_bias(normal: Normal) -> None:
    """eq:energy-distance in one dimension: scipy's number also pairs each point with itself."""
    x, y = normal(60), 0.3 + normal(45)
    biased = scipy.stats.energy_distance(x.numpy(), y.numpy()) ** 2
    missing = 0.0
    for values in (x, y):  # the mean difference within a set, from its sorted numbers
        n = len(values)
        ranks = 2 * torch.arange(1, n + 1, dtype=torch.float64) - n - 1
        missing += (2 * (ranks * values.sort().values).sum() / (n * (n - 1)) / n).item()
    found = energy_distance(x[:, None], y[:, None]).item()
    assert found == pytest.approx(biased - missing, rel=1e-10)
    assert missing > 0.01


def folded(mean: float, sd: float) -> float:
    """Return E|N(mean, sd^2)|, the folded normal's mean."""
    bell = sd * math.sqrt(2 / math.pi) * math.exp(-((mean / sd) ** 2) / 2)
    return float(bell + mean * (1 - 2 * scipy.stats.norm.cdf(-mean / sd)))


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (0.7, 2.0)])
def test_two_gaussians_in_closed_form(shift: float, scale: float) -> None:
    """eq:energy-distance: differences of Gaussians are Gaussian, and E|.| of one is known."""
    expected = (
        2 * folded(shift, math.sqrt(1 + scale**2))
        - folded(0, math.sqrt(2))
        - folded(0, math.sqrt(2) * scale)
    )
    rows = []
    for seed in range(12):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(1_000, 1, generator=generator)
        y = shift + scale * torch.randn(1_000, 1, generator=generator)
        rows.append(energy_distance(x, y).item())
    error = np.std(rows, ddof=1) / math.sqrt(len(rows))
    assert abs(np.mean(rows) - expected) < 4 * error
    assert expected == 0 or expected > 8 * error


def test_two_gaussians_in_the_plane() -> None:
    """eq:energy-distance: in two dimensions the mean length is Rice's, with Bessel functions."""
    shift = 1.5
    nu, s2 = shift**2 / 8, 2.0  # |N((shift, 0), 2 I)|
    bessel = (1 + 2 * nu) * scipy.special.ive(0, nu) + 2 * nu * scipy.special.ive(1, nu)
    expected = 2 * math.sqrt(s2 * math.pi / 2) * (bessel - 1)
    x, y = (torch.randn(4_000, 2, generator=torch.Generator().manual_seed(s)) for s in (1, 2))
    found = energy_distance(x, y + torch.tensor([shift, 0.0])).item()
    assert found == pytest.approx(expected, rel=0.05)


def test_equal_distributions_are_at_zero_in_the_mean(normal: Normal) -> None:
    """eq:energy-distance is unbiased: over many splits the mean is 0, and 0 is in the middle."""
    found = torch.stack([energy_distance(normal(8, 2), normal(12, 2)) for _ in range(800)])
    error = found.std() / len(found) ** 0.5
    assert found.mean().abs() < 3.5 * error
    assert error < 0.02
    assert 0.3 < (found > 0).double().mean() < 0.6
    bias = by_hand(normal(8, 2), normal(12, 2), biased=True)
    assert bias > 5 * error


def test_symmetries(normal: Normal) -> None:
    """Turned, moved and mirrored together, nothing changes; scaled, the distance is scaled."""
    x, y = normal(40, 3), 0.2 + normal(30, 3)
    distance = energy_distance(x, y)
    turn = torch.linalg.qr(normal(3, 3)).Q
    torch.testing.assert_close(energy_distance(x @ turn, y @ turn), distance)
    torch.testing.assert_close(energy_distance(x + 1e3, y + 1e3), distance)
    torch.testing.assert_close(energy_distance(-3 * x, -3 * y), 3 * distance)
    torch.testing.assert_close(energy_distance(x[torch.randperm(40)], y), distance)
    assert distance > 0.01


def test_single_precision_loses_nothing_where_means_cancel(normal: Normal) -> None:
    """The three means are summed in double precision, far from the origin too."""
    x, y = (0.1 * normal(500, 2)).float() + 64, (0.1 * normal(500, 2)).float() + 64
    exact = energy_distance(x.double(), y.double()).item()
    assert energy_distance(x, y).item() == pytest.approx(exact, rel=1e-6)


def test_the_cdf_gap_is_the_biased_energy_distance(normal: Normal) -> None:
    """eq:energy-cdf by a double loop over |x - y|, with ties between and within the sets."""
    for x, y in [
        (normal(17), 0.4 + 2 * normal(11)),
        (torch.tensor([0.0, 1, 1, 3]).double(), torch.tensor([1.0, 2, 3]).double()),
        (torch.tensor([2.0]).double(), torch.tensor([-1.0]).double()),
    ]:
        expected = by_hand(x[:, None], y[:, None], biased=True)
        assert squared_cdf_gap(x, y).item() == pytest.approx(expected, rel=1e-12)
        scipys = scipy.stats.energy_distance(x.numpy(), y.numpy()) ** 2
        assert squared_cdf_gap(y, x).item() == pytest.approx(scipys, rel=1e-12)
    assert squared_cdf_gap(normal(5).float(), normal(5).float()).dtype == torch.float32


def test_the_identity_holds_for_distributions() -> None:
    """eq:energy-cdf for Gaussians: quadrature of 2 (F - G)^2 gives the closed form of E|.|."""
    for shift, scale in ((0.8, 1.0), (0.0, 2.0), (-1.0, 0.5)):
        f = torch.distributions.Normal(0.0, 1.0)
        g = torch.distributions.Normal(shift, scale)
        integral = oracles.integrate(
            lambda t, f=f, g=g: (f.cdf(t) - g.cdf(t)) ** 2, -30, 30, 20_001
        )
        expected = 2 * folded(shift, math.hypot(1, scale)) - folded(0, 2**0.5) * (1 + scale)
        assert 2 * integral.item() == pytest.approx(expected, rel=1e-6)
        assert expected > 0.05


def test_points_that_cannot_be_compared_are_refused(unchecked: None) -> None:
    """One point, no points, other dimensions, a list of numbers, infinities."""
    x = torch.randn(5, 2)
    for bad in (x[:1], x[:0], x[:, :1], x[:, 0], torch.randn(5, 2, 2)):
        for pair in ((x, bad), (bad, x)):
            with pytest.raises(ValueError, match="two sets of at least 2 points, got"):
                energy_distance(*pair)
    for value in (math.nan, math.inf):
        bad = x.clone()
        bad[3, 1] = value
        for pair in ((x, bad), (bad, x)):
            with pytest.raises(ValueError, match="not finite"):
                energy_distance(*pair)
            with pytest.raises(ValueError, match="not finite"):
                squared_cdf_gap(pair[0][:, 1], pair[1][:, 1])
    for pair in ((x[:, 0], x[:0, 0]), (x[:0, 0], x[:, 0])):
        with pytest.raises(ValueError, match="two sets of numbers, got"):
            squared_cdf_gap(*pair)
