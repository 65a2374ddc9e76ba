"""Proof for litgen/data/pottery.py: profiles by hand, the hand's coins counted, volumes."""

import inspect
import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch

from litgen.data import pottery, sources
from litgen.data.pottery import CLASSES, HEIGHTS, PARAMETERS, RANGES, Form


def one(label: int, **shares: float) -> Form:
    """Return one vessel with these shares and all others in the middle."""
    row = [shares.get(name.replace(" ", "_"), 0.5) for name in PARAMETERS]
    return Form(np.array([label]), np.array([row], np.float32))


def by_hand(label: int, given: dict[str, float], up: float) -> float:
    """Return a radius with the formulas of the page, one number at a time."""
    base, belly, rim = given["base"], given["belly"], given["rim"]
    if label < 2:
        return base + (rim - base) * ((1 - belly) * up + belly * (1 - (1 - up) ** 2))
    neck, low, high = given["neck"] * belly, given["belly height"], given["neck height"]
    if up <= low:
        return belly - (belly - base) * (1 - up / low) ** 2
    if up <= high:
        t = (up - low) / (high - low)
        return belly - (belly - neck) * (3 * t**2 - 2 * t**3)
    return neck + (rim * neck - neck) * ((up - high) / (1 - high)) ** 2


def test_parameters_lie_where_their_shares_say() -> None:
    """A share of 0, 1/4 or 1 is the smallest, a quarter of the way, the largest of its class."""
    for label, share in itertools.product(range(5), (0.0, 0.25, 1.0)):
        form = Form(np.array([label]), np.full((1, 7), share, np.float32))
        low, high = RANGES[label].astype(float).T
        assert pottery.parameters(form)[0] == pytest.approx((1 - share) * low + share * high)
    assert (RANGES[..., 0] <= RANGES[..., 1]).all()


def test_profiles_by_hand() -> None:
    """Every radius of random vessels of every class; base and rim are its ends."""
    form = pottery.forms(200, np.random.default_rng(4))
    assert set(form.label) == set(range(5))
    curves, given = pottery.curves(form), pottery.parameters(form)
    for label, numbers, curve in zip(form.label, given, curves, strict=True):
        named = dict(zip(PARAMETERS, numbers.astype(float), strict=True))
        expected = [by_hand(int(label), named, k / (HEIGHTS - 1)) for k in range(HEIGHTS)]
        assert curve == pytest.approx(expected, abs=2e-6)
        assert curve[0] == pytest.approx(named["base"])
        neck = named["neck"] * named["belly"] if label > 1 else 1
        assert curve[-1] == pytest.approx(named["rim"] * neck)


def test_closed_vessels_have_a_belly_and_a_neck() -> None:
    """Widest about the belly height, narrowest above it about the neck height; open ones rise."""
    for label in (2, 3, 4):
        form = one(label)
        _, belly, neck, _, low, high, _ = pottery.parameters(form)[0].astype(float)
        curve = pottery.curves(form)[0]
        assert curve.argmax() / 31 == pytest.approx(low, abs=0.05)
        assert curve.max() == pytest.approx(belly, rel=0.01)
        narrow = curve.argmax() + curve[curve.argmax() :].argmin()
        assert narrow / 31 == pytest.approx(high, abs=0.05)
        assert curve[narrow] == pytest.approx(neck * belly, rel=0.02)
    for label in (0, 1):
        assert (np.diff(pottery.curves(one(label))[0]) > 0).all()


def test_the_hand_is_a_count_of_coins() -> None:
    """Heads of 32 less 16: their frequencies by chi-squared, heights and vessels independent."""
    form = one(1)
    many = Form(np.repeat(form.label, 4000), np.repeat(form.shares, 4000, axis=0))
    bytes_ = pottery.thrown(many, np.random.default_rng(6)).astype(int)
    off = bytes_ - np.rint(255 * pottery.curves(form)).astype(int)
    counts = np.bincount(off.ravel() + 16, minlength=33)
    expected = scipy.stats.binom.pmf(np.arange(33), 32, 0.5) * off.size
    kept = expected > 5
    assert (
        scipy.stats.chisquare(
            np.append(counts[kept], counts[~kept].sum()),
            np.append(expected[kept], expected[~kept].sum()),
        ).pvalue
        > 1e-3
    )
    correlation = np.corrcoef(off.T) - np.eye(HEIGHTS)
    assert abs(correlation).max() < 5 / math.sqrt(4000)
    assert abs(np.corrcoef(off.ravel()[:-32], off.ravel()[32:])[0, 1]) < 0.02


def test_heights_in_bytes() -> None:
    """255 of the share of the box's height, rounded to the nearest."""
    form = pottery.forms(300, np.random.default_rng(8))
    expected = np.rint(255 * pottery.parameters(form)[:, 6].astype(float))
    assert (pottery.tall(form) == expected).all()
    assert pottery.tall(form).dtype == np.uint8


def test_a_cylinder_and_a_cone_in_voxels() -> None:
    """Volumes pi r^2 h and pi h (a^2 + a b + b^2) / 3 of the box's eight units, to 1 per cent."""
    cylinder = torch.full((1, HEIGHTS), 204, dtype=torch.uint8)
    half = torch.tensor([128], dtype=torch.uint8)
    share = pottery.solid(cylinder, 64).float().mean().item()
    assert share == pytest.approx(math.pi * 0.8**2 / 4, rel=0.01)
    assert pottery.solid(cylinder, 64, half).float().mean().item() == pytest.approx(share / 2)
    cone = (torch.arange(HEIGHTS)[None] * 5 + 60).to(torch.uint8)
    a, b = 60 / 255, 215 / 255
    expected = math.pi * (a * a + a * b + b * b) / 12
    assert pottery.solid(cone, 64).float().mean().item() == pytest.approx(expected, rel=0.01)


def test_voxels_one_by_one() -> None:
    """A voxel is filled if its centre is: up first, then the two others; they are exchangeable."""
    vessels = pottery.load("test")
    profiles, tall = vessels.profiles[:3], vessels.tall[:3]
    side = 10
    solid = pottery.solid(profiles, side, tall)
    assert solid.shape == (3, side, side, side)
    assert solid.dtype == torch.bool
    grid = np.linspace(0, 1, HEIGHTS)
    for vessel, z, y, x in itertools.product(range(3), range(side), range(side), range(side)):
        up = (z + 0.5) / side * 255 / int(tall[vessel])
        radius = np.interp(up, grid, profiles[vessel].numpy() / 255)
        away = math.hypot((x + 0.5) / side * 2 - 1, (y + 0.5) / side * 2 - 1)
        if abs(away - radius) > 1e-5:
            assert solid[vessel, z, y, x] == (up <= 1 and away < radius)
    assert (solid == solid.transpose(2, 3)).all()
    assert (solid == solid.flip(2)).all()
    assert not (solid == solid.flip(1)).all()


def test_the_last_stretch_of_a_profile_is_straight() -> None:
    """A rim that flares between the last two heights alone, in the uppermost voxels."""
    profile = torch.full((1, HEIGHTS), 50, dtype=torch.uint8)
    profile[0, -1] = 250
    top = pottery.solid(profile, 64)[0, -1, 31]
    radius = 50 + 200 * (31 * 63.5 / 64 - 30)
    away = ((torch.arange(64) + 0.5) / 32 - 1).abs()
    expected = (away.square() + (1 / 64) ** 2).sqrt() <= radius / 255
    assert torch.equal(top, expected)
    assert 40 < int(top.sum()) < 60


def test_a_vessel_that_falls_short_of_every_centre_is_empty() -> None:
    """No voxel is filled above the rim, also where the radius is large."""
    flat = torch.full((1, HEIGHTS), 255, dtype=torch.uint8)
    solid = pottery.solid(flat, 8, torch.tensor([15], dtype=torch.uint8))
    assert not solid.any()
    solid = pottery.solid(flat, 8, torch.tensor([48], dtype=torch.uint8))
    assert solid[:, :2].any(dim=(2, 3)).all()
    assert not solid[:, 2:].any()
    odd = pottery.solid(flat, 9, torch.tensor([85], dtype=torch.uint8))
    assert odd[:, :3, 4, 4].all()
    assert not odd[:, 3:].any(), "a box with an odd side has centres on the axis"


@pytest.mark.usefixtures("unchecked")
def test_bad_vessels() -> None:
    """Each says what does not fit, and which vessel has no volume."""
    profiles = torch.full((3, HEIGHTS), 9, dtype=torch.uint8)
    with pytest.raises(ValueError, match="side must be positive, got 0"):
        pottery.solid(profiles, 0)
    with pytest.raises(ValueError, match="3 profiles, but 2 heights"):
        pottery.solid(profiles, 4, torch.tensor([9, 9], dtype=torch.uint8))
    with pytest.raises(ValueError, match="3 profiles, but 4 heights"):
        pottery.solid(profiles, 4, torch.tensor([9, 9, 9, 9], dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"vessels without volume: \[1\]"):
        pottery.solid(profiles, 4, torch.tensor([9, 0, 9], dtype=torch.uint8))
    profiles[2] = 0
    with pytest.raises(ValueError, match=r"vessels without volume: \[2\]"):
        pottery.solid(profiles, 4)
    profiles[2, 5:] = 9
    assert pottery.solid(profiles, 4).shape == (3, 4, 4, 4), "pointed at the base, but no error"
    for label in (5, -1):
        with pytest.raises(ValueError, match=f"classes are 0 to 4, got {label} to {label}"):
            pottery.curves(one(label))
    none = Form(np.zeros(0, int), np.zeros((0, 7), np.float32))
    assert pottery.curves(none).shape == (0, HEIGHTS)
    with pytest.raises(ValueError, match=r"2 labels need shares \(count, 7\), got \(1, 7\)"):
        pottery.curves(Form(np.array([1, 2]), one(1).shares))


@pytest.mark.usefixtures("unchecked")
def test_the_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes, checksums that hold on every machine, copies, and errors; nothing is cut off."""
    train, test = pottery.load("train"), pottery.load("test")
    assert (len(train.profiles), len(test.profiles)) == (8000, 2000)
    assert train.describe() == "8,000 profiles of 32 radii"
    assert train.record.checksum == pottery.CHECKSUM["train"]
    assert sources.checksum(test.profiles, test.tall, test.labels) == test.record.checksum
    assert not train.record.stand_in
    assert train.profiles.dtype == train.tall.dtype == torch.uint8
    assert train.labels.bincount().min() > 8000 / 5 * 0.9
    assert len(CLASSES) == 5
    assert train.profiles.min() > 16
    assert train.profiles.max() < 255
    assert (train.profiles[:2000] != test.profiles).any(dim=1).all()
    for part in (train.profiles, train.tall, train.labels):
        part.zero_()
    again = pottery.load("train")
    assert again.profiles.all()
    assert again.tall.all()
    assert again.labels.any()
    with pytest.raises(ValueError, match="split"):
        pottery.load("validation")  # type: ignore[arg-type]
    monkeypatch.setitem(pottery.CHECKSUM, "test", "another")
    with pytest.raises(sources.WrongBytes, match="drawn vessels test has checksum"):
        pottery.load("test")


def test_only_operations_that_all_machines_round_alike() -> None:
    """No power, exponential or sine in what draws the profiles, and single precision all along."""
    lines = inspect.getsource(pottery.curves) + inspect.getsource(pottery.parameters)
    for word in ("**", "np.exp", "np.log", "np.sin", "np.cos", "power", "float64"):
        assert word not in lines, word
    assert pottery.curves(one(3)).dtype == np.float32
