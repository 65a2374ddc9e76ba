"""Proof for litgen/gan/toys.py: torch.distributions, scipy, and counting by loops."""

import math

import pytest
import scipy.stats
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from litgen.gan import toys
from tests import oracles

GRID = [(x, y) for x in (-2, -1, 0, 1, 2) for y in (-2, -1, 0, 1, 2)]


def seeded(seed: int = 0) -> torch.Generator:
    """Return a generator."""
    return torch.Generator().manual_seed(seed)


def centres_of(modes: toys.Modes) -> set[tuple[float, float]]:
    """Return the centres, rounded, without their order."""
    return {(round(x, 5) + 0.0, round(y, 5) + 0.0) for x, y in modes.centres.tolist()}


def test_the_grid_is_where_the_papers_have_it() -> None:
    """Whole places from -2 to 2, and their spread, divided by 2 sqrt 2; 9 and 4 likewise."""
    modes, scale = toys.grid_of_gaussians(), 2 * math.sqrt(2)
    assert centres_of(modes) == {(round(x / scale, 5), round(y / scale, 5)) for x, y in GRID}
    assert modes.std == pytest.approx(0.05 / scale)
    assert toys.grid_of_gaussians(std=0.2).std == pytest.approx(0.2 / scale)
    assert centres_of(toys.grid_of_gaussians(2)) == {
        (round(x / scale, 5), round(y / scale, 5)) for x in (-0.5, 0.5) for y in (-0.5, 0.5)
    }
    assert modes.centres.std(dim=0, correction=0).tolist() == pytest.approx([0.5, 0.5])


def test_the_circle_has_eight_places() -> None:
    """Radius 2 over sqrt 2, neighbours 45 degrees apart, one on the first axis."""
    modes = toys.eight_gaussians(std=0.1)
    assert modes.centres.norm(dim=1).tolist() == pytest.approx([math.sqrt(2)] * 8)
    angles = torch.atan2(modes.centres[:, 1], modes.centres[:, 0]).rad2deg() % 360
    assert sorted(angles.round().tolist()) == pytest.approx([45 * k for k in range(8)])
    assert modes.std == pytest.approx(0.1 / math.sqrt(2))
    assert toys.eight_gaussians().std == pytest.approx(0.02 / math.sqrt(2))


@pytest.mark.parametrize("modes", [toys.grid_of_gaussians(std=0.3), toys.eight_gaussians(0.3)])
def test_the_density_is_torchs_mixture(modes: toys.Modes) -> None:
    """Value by value, and its integral over the plane is one."""
    parts = Independent(Normal(modes.centres.double(), modes.std), 1)
    mixture = MixtureSameFamily(Categorical(torch.ones(len(modes.centres)).double()), parts)
    x = 0.8 * torch.randn(200, 2, generator=seeded(), dtype=torch.float64)
    torch.testing.assert_close(modes.log_prob(x), mixture.log_prob(x))
    assert modes.log_prob(x).std() > 0.3
    exact = toys.Modes(modes.centres.double(), modes.std)
    total = oracles.integrate_plane(lambda at: exact.log_prob(at).exp(), 3.0)
    assert total.item() == pytest.approx(1, abs=1e-6)


def test_samples_come_from_all_modes_alike_with_the_right_spread() -> None:
    """Chi-square for the modes' shares, Kolmogorov-Smirnov for both coordinates around them."""
    modes = toys.grid_of_gaussians(std=0.05)
    points = modes.sample(20_000, seeded(1))
    nearest = ((points[:, None] - modes.centres) ** 2).sum(dim=2).argmin(dim=1)
    assert scipy.stats.chisquare(torch.bincount(nearest, minlength=25).numpy()).pvalue > 0.01
    around = (points - modes.centres[nearest]) / modes.std
    for axis in range(2):
        assert scipy.stats.kstest(around[:, axis].numpy(), "norm").pvalue > 0.01
    assert (points == modes.sample(20_000, seeded(1))).all()
    assert (points != modes.sample(20_000, seeded(2))).any()


def test_the_roll_is_a_spiral_with_noise() -> None:
    """Without noise the radius is the angle; with it, deviations have its size."""
    clean = 7.5 * toys.swiss_roll(4_000, seeded(), std=0.0).double()
    t = clean.norm(dim=1)
    assert scipy.stats.kstest(t.numpy(), "uniform", (1.5 * math.pi, 3 * math.pi)).pvalue > 0.01
    torch.testing.assert_close(
        clean, torch.stack([t * t.cos(), t * t.sin()], 1), atol=1e-4, rtol=0
    )
    noisy = 7.5 * toys.swiss_roll(4_000, seeded()).double()
    off = (noisy - clean).flatten()  # the same angles are drawn first
    assert scipy.stats.kstest(off.numpy() / 0.25, "norm").pvalue > 0.01


def counted(points: Tensor, modes: toys.Modes, reach: float) -> list[int]:
    """Count near points of each mode by loops."""
    counts = [0] * len(modes.centres)
    for x, y in points.tolist():
        gaps = [math.hypot(x - a, y - b) for a, b in modes.centres.tolist()]
        k = min(range(len(gaps)), key=gaps.__getitem__)
        counts[k] += gaps[k] <= reach * modes.std
    return counts


@pytest.mark.parametrize("reach", [1.0, 3.0])
def test_coverage_is_a_count_by_loops(reach: float) -> None:
    """eq:stable-divergence: counts, share near, modes covered; the divergence is scipy's."""
    modes = toys.grid_of_gaussians(std=0.1)
    heavy = toys.Modes(modes.centres[:7], modes.std)
    points = torch.cat([heavy.sample(900, seeded()), modes.sample(150, seeded(1))])
    points = torch.cat([points, torch.randn(150, 2, generator=seeded(2))])
    found, counts = toys.coverage(points, modes, reach), counted(points, modes, reach)
    assert found.counts.tolist() == counts
    assert found.near == pytest.approx(sum(counts) / 1_200)
    assert found.covered == sum(c >= max(1, 0.01 * 1_200 / 25) for c in counts)
    shares = [c / sum(counts) for c in counts]
    assert found.divergence == pytest.approx(scipy.stats.entropy(shares, [1 / 25] * 25))
    assert 0.1 < found.divergence < math.log(25)
    assert found.near < 0.98


def test_the_truth_covers_itself_and_one_point_covers_one_mode() -> None:
    """eq:stable-near: 25 modes, 1 - exp(-9/2) near; a collapsed sample diverges by log 25."""
    modes = toys.grid_of_gaussians()
    truth = toys.coverage(modes.sample(20_000, seeded()), modes)
    assert truth.covered == 25
    assert truth.near == pytest.approx(1 - math.exp(-4.5), abs=3e-3)
    assert truth.divergence < 0.002
    alone = toys.coverage(modes.centres[3].expand(500, 2), modes)
    assert (alone.covered, alone.near) == (1, 1.0)
    assert alone.divergence == pytest.approx(math.log(25))
    away = toys.coverage(torch.full((10, 2), 9.0), modes)
    assert (away.covered, away.near, away.divergence) == (0, 0.0, math.inf)


def test_a_mode_counts_as_covered_from_a_hundredth_of_its_share() -> None:
    """Of 25,000 points a mode's fair share is 1,000: nine are too few, ten are enough."""
    modes = toys.grid_of_gaussians()
    for few, covered in ((9, 1), (10, 2)):
        points = torch.cat(
            [modes.centres[:1].expand(25_000 - few, 2), modes.centres[1:2].expand(few, 2)]
        )
        assert toys.coverage(points, modes).covered == covered


def test_points_that_cannot_be_counted_are_refused() -> None:
    """None at all, or one that is not finite."""
    modes = toys.grid_of_gaussians()
    for points in (torch.zeros(0, 2), torch.tensor([[0.0, math.nan]])):
        with pytest.raises(ValueError, match="finite points are needed"):
            toys.coverage(points, modes)


def test_coverage_does_not_round_distances() -> None:
    """Points a thousandth inside and outside the reach, in single precision, eight ways round.

    A distance made of products of matrices is off by more than that, as it is with TF32.
    """
    modes = toys.eight_gaussians()
    angle = torch.arange(64, dtype=torch.float64) * 0.1
    ring = 3 * modes.std * torch.stack([angle.cos(), angle.sin()], dim=1)
    for share, near in ((0.999, 1.0), (1.001, 0.0)):
        points = modes.centres.double().repeat(8, 1) + share * ring
        assert toys.coverage(points.float(), modes).near == near
