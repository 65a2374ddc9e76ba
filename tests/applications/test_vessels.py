"""Proof for litgen/applications/vessels.py: Pappus, quadrature, counting by hand."""

import math
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch

from litgen.applications import vessels

DOUBLE: dict[str, Any] = {"dtype": torch.double}


def draws(seed: int) -> torch.Generator:
    """Return a seeded generator."""
    return torch.Generator().manual_seed(seed)


def test_volume_of_cylinder_cone_and_frustum() -> None:
    """eq:pot-volume: pi r^2 h, a third of it for a cone, and the frustum's formula."""
    for heights in (2, 5, 33):
        same = torch.full((heights,), 0.7, **DOUBLE)
        tall = torch.tensor(1.3, **DOUBLE)
        expected = math.pi * 0.49 * 1.3
        assert vessels.volume(same, tall).item() == pytest.approx(expected)
        cone = torch.linspace(0, 0.7, heights, **DOUBLE)
        assert vessels.volume(cone, tall).item() == pytest.approx(expected / 3)
        frustum = torch.linspace(0.2, 0.7, heights, **DOUBLE)
        third = math.pi * 1.3 * (0.04 + 0.14 + 0.49) / 3
        assert vessels.volume(frustum, tall).item() == pytest.approx(third)


def test_volume_by_quadrature_and_by_pappus() -> None:
    """eq:pot-volume against the integral of pi r^2, and 2 pi times the area times its centre."""
    radii = torch.rand(4, 9, generator=draws(1), **DOUBLE) + 0.1
    tall = torch.rand(4, generator=draws(2), **DOUBLE) + 0.5
    found = vessels.volume(radii, tall)
    assert found.std() > 0.1
    up = np.linspace(0, 1, 9)
    for one, high, volume in zip(radii.numpy(), tall.tolist(), found.tolist(), strict=True):
        disc = scipy.integrate.quad(
            lambda u, r=one: math.pi * np.interp(u, up, r) ** 2, 0, 1, points=up[1:-1], limit=200
        )[0]
        assert volume == pytest.approx(high * disc, rel=1e-9)
        # Pappus, on a fine mesh of the half profile
        fine = np.interp((np.arange(40_000) + 0.5) / 40_000, up, one)
        area = high * fine.mean()
        centre = (fine**2 / 2).mean() / fine.mean()
        assert volume == pytest.approx(2 * math.pi * area * centre, rel=1e-6)


def test_which_heights_a_sherd_shows() -> None:
    """A quarter of them: the lowest, the second quarter, the highest, or four pairs of 32."""
    for kind, places in (("base", range(8)), ("belly", range(8, 16)), ("rim", range(24, 32))):
        seen = vessels.sherd(kind, 32)  # type: ignore[arg-type]
        assert seen.nonzero().flatten().tolist() == list(places)
    counts = torch.zeros(32)
    for seed in range(300):
        seen = vessels.sherd("scattered", 32, draws(seed))
        assert seen.sum() == 8
        assert (seen[::2] == seen[1::2]).all()
        counts += seen
    assert (counts / 300 - 0.25).abs().max() < 0.1


def test_an_interval_leaves_as_much_on_both_sides() -> None:
    """eq:pot-interval: Weibull's quantiles by numpy; not symmetric about the mean."""
    samples = torch.randn(200, 3, generator=draws(3), **DOUBLE).exp()
    for level in (0.5, 0.9):
        low, high = vessels.interval(samples, level)
        for one, a, b in zip(samples.T.numpy(), low.tolist(), high.tolist(), strict=True):
            assert a == pytest.approx(np.quantile(one, (1 - level) / 2, method="weibull"))
            assert b == pytest.approx(np.quantile(one, (1 + level) / 2, method="weibull"))
        assert vessels.width(samples, level).item() == pytest.approx((high - low).mean().item())


def test_coverage_is_the_level_where_the_law_is_right() -> None:
    """eq:pot-coverage: 0.8 for samples of the truth's law, by hand for one that is too narrow."""
    truth = 2 * torch.randn(4000, generator=draws(4), **DOUBLE)
    samples = 2 * torch.randn(400, 4000, generator=draws(5), **DOUBLE)
    assert vessels.coverage(samples, truth, 0.8).item() == pytest.approx(0.8, abs=0.02)
    expected = 2 * scipy.stats.norm.cdf(scipy.stats.norm.ppf(0.9) / 2) - 1
    assert vessels.coverage(samples / 2, truth, 0.8).item() == pytest.approx(expected, abs=0.02)
    few = 2 * torch.randn(19, 4000, generator=draws(8), **DOUBLE)  # 18 of 20 gaps lie inside
    assert vessels.coverage(few, truth, 0.9).item() == pytest.approx(0.9, abs=0.015)
    three = torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]], **DOUBLE)
    truth = torch.tensor([2.1, 0.5], **DOUBLE)
    assert vessels.coverage(three, truth, 0.5).item() == 0.5
    assert vessels.coverage(-three, -truth, 0.5).item() == 0.5


def test_ranks_are_shares_below() -> None:
    """eq:pot-rank: by hand, ties by half; even for samples of the truth's law."""
    samples = torch.tensor([[1.0], [2.0], [2.0], [5.0]], **DOUBLE)
    for truth, expected in ((0.0, 0.0), (1.5, 0.25), (2.0, 0.5), (5.0, 0.875), (6.0, 1.0)):
        assert vessels.rank(samples, torch.tensor([truth], **DOUBLE)).item() == expected
    many = torch.randn(200, 3000, generator=draws(6), **DOUBLE)
    ranks = vessels.rank(many[1:], many[0])
    assert scipy.stats.kstest(ranks.numpy(), "uniform").pvalue > 1e-3


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named() -> None:
    """Profiles of one radius, other heights, unknown sherds, levels, truths of other shapes."""
    row = torch.ones(3, 4)
    with pytest.raises(ValueError, match=r"got shapes \(\(3, 1\), \(3,\)\)"):
        vessels.volume(row[:, :1], torch.ones(3))
    with pytest.raises(ValueError, match=r"got shapes \(\(3, 4\), \(\)\)"):
        vessels.volume(row, torch.tensor(1.0))
    with pytest.raises(ValueError, match="unknown sherd 'handle'"):
        vessels.sherd("handle", 32)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="multiple of 8, got 12"):
        vessels.sherd("rim", 12)
    with pytest.raises(ValueError, match="multiple of 8, got 0"):
        vessels.sherd("rim", 0)
    with pytest.raises(ValueError, match="need a generator"):
        vessels.sherd("scattered", 32)
    for level in (0.0, 1.0):
        with pytest.raises(ValueError, match="level must be between 0 and 1"):
            vessels.interval(row, level)
    with pytest.raises(ValueError, match="two samples, got 1"):
        vessels.interval(row[:1], 0.5)
    with pytest.raises(ValueError, match=r"shapes \(\(3, 4\), \(1,\)\)"):
        vessels.coverage(row, torch.ones(1), 0.5)


def test_an_end_of_an_interval_belongs_to_it() -> None:
    """Seven samples of seven truths: the second and the sixth are the ends of three quarters."""
    samples = torch.arange(7.0)[:, None].expand(7, 7)
    assert vessels.coverage(samples, torch.arange(7.0), 0.5) == 5 / 7
    assert vessels.coverage(samples[:2], torch.arange(7.0), 0.999) == 2 / 7


def test_scattered_sherds_are_the_generators() -> None:
    """The same places from the same state, whatever the world has drawn meanwhile."""
    one = vessels.sherd("scattered", 64, torch.Generator().manual_seed(1))
    torch.rand(3)
    assert torch.equal(one, vessels.sherd("scattered", 64, torch.Generator().manual_seed(1)))
    assert not torch.equal(one, vessels.sherd("scattered", 64, torch.Generator().manual_seed(2)))
