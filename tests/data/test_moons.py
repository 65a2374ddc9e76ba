"""Proof for litgen/data/moons.py: quadrature, closed-form moments, chi-square, numpy by hand."""

import dataclasses
import inspect
import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from torch import Tensor

from litgen.data import moons, sources
from tests import oracles

SD = 0.1  # of the noise
MEAN_ABS = 2 / math.pi  # of the sine of a uniform angle
COVARIANCE = [
    [0.75 + SD**2, 0.125 - MEAN_ABS / 2],
    [0.125 - MEAN_ABS / 2, 0.5 - MEAN_ABS / 2 + 0.0625 + SD**2],
]
"""By hand: E (cos t - 1/2)^2, E (cos t - 1/2)(sin t - 1/4), E (sin t - 1/4)^2, for both moons."""


def curve(t: float, moon: int) -> tuple[float, float]:
    """Return a point of a half circle: the upper around (-1/2, -1/4), the lower turned by 180."""
    x, y = math.cos(t) - 0.5, math.sin(t) - 0.25
    return (-x, -y) if moon else (x, y)


def density(x: float, y: float, both: tuple[int, ...] = (0, 1)) -> float:
    """Return the density at one place, of some moons, by scipy's quadrature over the angle."""

    def along(t: float) -> float:
        total = 0.0
        for moon in both:
            a, b = curve(t, moon)
            total += math.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * SD**2))
        return total / (2 * math.pi * SD**2) / 2 / math.pi

    bends = [math.pi * i / 16 for i in range(1, 16)]
    value, _ = scipy.integrate.quad(along, 0, math.pi, points=bends, epsabs=0, limit=500)
    return float(value)


def in_parts(x: Tensor) -> Tensor:
    """Return log-densities of many places without holding the whole table of distances."""
    return torch.cat([moons.log_prob(part) for part in x.split(500)])


def over_the_plane(f: Callable[[Tensor, Tensor], Tensor]) -> float:
    """Integrate f(x, log p(x)) p(x); the trapezoid rule is exact here at half the noise's sd."""

    def weighted(x: Tensor) -> Tensor:
        log_p = in_parts(x)
        return log_p.exp() * f(x, log_p)

    return oracles.integrate_plane(weighted, extent=2.6, nodes=105).item()


def test_the_arcs_are_half_circles_that_reach_into_each_other() -> None:
    """Ends, middles and radii by hand; moon 1 is moon 0 turned around the origin."""
    t = torch.tensor([0.0, math.pi / 2, math.pi], dtype=torch.float64)
    upper, lower = (moons.arcs(t, torch.full((3,), moon)) for moon in (0, 1))
    expected = torch.tensor([[0.5, -0.25], [-0.5, 0.75], [-1.5, -0.25]], dtype=torch.float64)
    torch.testing.assert_close(upper, expected)
    torch.testing.assert_close(lower, -expected)
    t = torch.linspace(0, math.pi, 50, dtype=torch.float64).view(5, 10)
    moon = torch.arange(50).view(5, 10) % 2
    found = moons.arcs(t, moon)
    by_hand = [
        curve(a, b) for a, b in zip(t.flatten().tolist(), moon.flatten().tolist(), strict=True)
    ]
    torch.testing.assert_close(found, torch.tensor(by_hand, dtype=torch.float64).view(5, 10, 2))


def test_each_moons_share_agrees_with_adaptive_quadrature(normal: Callable[..., Tensor]) -> None:
    """Moon 0 first; far from a moon its share underflows in the judge, and is left out."""
    x = 0.6 * normal(12, 2)
    found = moons.joint_log_prob(x)
    assert found.shape == (12, 2)
    for moon in (0, 1):
        expected = torch.tensor([math.log(density(*place, both=(moon,))) for place in x.tolist()])
        torch.testing.assert_close(found[:, moon], expected.double(), rtol=1e-6, atol=1e-6)
    assert (found[:, 0] - found[:, 1]).abs().min() > 1e-3


def test_log_prob_agrees_with_adaptive_quadrature(normal: Callable[..., Tensor]) -> None:
    """eq:why-latent, place by place: in the moons, at their ends, between them, outside."""
    x = torch.cat([1.2 * normal(15, 2), torch.tensor([[-0.5, 0.75], [1.5, 0.25], [0.0, 0.0]])])
    expected = torch.tensor([math.log(density(*place)) for place in x.tolist()])
    found = moons.log_prob(x.double())
    torch.testing.assert_close(found, expected.double(), rtol=1e-6, atol=1e-6)
    assert found.std() > 3
    torch.testing.assert_close(moons.log_prob(x.float()).double(), found, rtol=1e-5, atol=1e-4)
    batch = moons.log_prob(x.double().view(3, 6, 2))
    torch.testing.assert_close(batch, found.view(3, 6), rtol=0, atol=1e-12)


def test_256_nodes_are_exact_to_rounding(normal: Callable[..., Tensor]) -> None:
    """Four times as many change nothing."""
    x = 1.2 * normal(50, 2)
    torch.testing.assert_close(moons.log_prob(x), moons.log_prob(x, 1_024), rtol=1e-12, atol=1e-11)


def test_the_density_integrates_to_one() -> None:
    """Over the square that holds all but nothing of it."""
    assert over_the_plane(lambda x, _: torch.ones(len(x))) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(
    ("powers", "expected"),
    [
        *(((1, 0), 0.0), ((0, 1), 0.0), ((2, 0), COVARIANCE[0][0])),
        *(((1, 1), COVARIANCE[0][1]), ((0, 2), COVARIANCE[1][1])),
    ],
)
def test_moments_of_the_density(powers: tuple[int, int], expected: float) -> None:
    """Mean zero and the covariance worked out by hand, by quadrature over the plane."""
    a, b = powers
    found = over_the_plane(lambda x, _: x[:, 0] ** a * x[:, 1] ** b)
    assert found == pytest.approx(expected, abs=1e-8)


def drawn(name: str) -> Tensor:
    """Return points of the fixed sets or of the sampler."""
    if name == "sample":
        return moons.sample(40_000, torch.Generator().manual_seed(3))
    return moons.load(name).points  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["sample", "train", "test"])
def test_points_have_the_density(name: str) -> None:
    """Chi-square over cells of 1/8, the mean log-density, the mean and the covariance."""
    points = drawn(name).double()
    count, side, extent = len(points), 32, 2.0
    edges = np.linspace(-extent, extent, side + 1)
    nodes, weights = np.polynomial.legendre.leggauss(4)  # of each cell's side
    width = 2 * extent / side
    axis = torch.from_numpy((edges[:-1, None] + width * (nodes + 1) / 2).ravel())
    fine = in_parts(torch.cartesian_prod(axis, axis)).exp().view(side, 4, side, 4).numpy()
    mass = np.einsum("iajb,a,b->ij", fine, weights, weights) * (width / 2) ** 2
    seen, _, _ = np.histogram2d(points[:, 0].numpy(), points[:, 1].numpy(), bins=[edges, edges])
    expected = count * mass
    often = expected >= 5
    rest = count - expected[often].sum(), count - seen[often].sum()
    chi_square = ((seen - expected)[often] ** 2 / expected[often]).sum()
    chi_square += (rest[1] - rest[0]) ** 2 / rest[0]
    assert often.sum() > 200
    assert 1e-4 < scipy.stats.chi2.sf(chi_square, often.sum()) < 1 - 1e-4
    log_p = in_parts(points)
    negative_entropy = over_the_plane(lambda _, log_p: log_p.clamp(min=-700))
    assert (log_p.mean() - negative_entropy).abs() < 4 * log_p.std() / count**0.5
    covariance = torch.tensor(COVARIANCE, dtype=torch.float64)
    mean_error = points.mean(dim=0) / (covariance.diagonal() / count).sqrt()
    assert mean_error.abs().max() < 4
    assert (points.T.cov() - covariance).abs().max() < 4 / count**0.5


def test_sample_draws_from_its_generator_alone() -> None:
    """The same seed gives the same points, another one others; the global seed has no say."""
    state = torch.get_rng_state()
    one, again, other = (
        moons.sample(50, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(state, torch.get_rng_state())
    assert one.shape == (50, 2)
    assert one.dtype == torch.float32
    assert moons.sample(0, torch.Generator()).shape == (0, 2)


@pytest.mark.parametrize(("split", "seed"), [("train", 1), ("test", 2)])
def test_the_fixed_set_is_numpys_draw_by_hand(split: sources.Split, seed: int) -> None:
    """Labels say which moon a point belongs to; coordinates are multiples of 2^-16."""
    random = np.random.default_rng(seed)
    labels, angles = random.integers(2, size=10_000), random.random(10_000) * math.pi
    noise = SD * random.standard_normal((10_000, 2))
    places = [curve(t, moon) for t, moon in zip(angles, labels, strict=True)]
    found = moons.load(split)
    assert found.labels.tolist() == labels.tolist()
    assert found.points.dtype == torch.float32
    assert np.abs(found.points.numpy() - places - noise).max() <= 2**-17 + 1e-9
    assert torch.equal(found.points * 2**16, (found.points * 2**16).round())
    record = found.record
    assert record.checksum == moons.CHECKSUM[split]
    assert record.checksum == sources.checksum(found.points, found.labels)
    assert record.counts == {"train": 10_000, "test": 10_000}
    assert (record.name, record.stand_in) == ("two moons", False)
    assert found.describe() == "10,000 points of the plane"
    assert torch.equal(moons.load(split, stand_in=False).points, found.points)


def test_training_and_test_points_are_different_draws() -> None:
    """Not one point in common."""
    train, test = ({tuple(p) for p in moons.load(s).points.tolist()} for s in ("train", "test"))
    assert min(len(train), len(test)) > 9_990
    assert not train & test


def test_another_draw_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A numpy that draws other numbers must not change a run unseen."""
    monkeypatch.setattr(moons, "SEEDS", {"train": 1, "test": 3})
    moons.load("train")
    with pytest.raises(sources.WrongBytes, match=r"moons test has checksum .*, expected cb2a0dc5"):
        moons.load("test")


def test_bad_input_is_named(unchecked: None) -> None:
    """An unknown split, and points that are not of the plane (one column would broadcast)."""
    with pytest.raises(ValueError, match="'train' or 'test', got 'validation'"):
        inspect.unwrap(moons.load)("validation")  # type: ignore[arg-type]
    for shape in ((5, 1), (5, 3), ()):
        with pytest.raises(ValueError, match="2 coordinates, got shape"):
            moons.log_prob(torch.zeros(shape))


def test_a_set_is_frozen() -> None:
    """A chapter cannot change what another reads."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        moons.load("test").points = torch.zeros(1, 2)  # type: ignore[misc]
