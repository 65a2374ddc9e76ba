"""Proof for litgen/data/cells.py: areas, outlines and light by hand, gaps by brute force."""

import math
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import torch

from litgen.data import cells, sources
from litgen.data.cells import SIDE, Culture


def culture(count: int = 1, **changed: Any) -> Culture:
    """Return a culture of one round cell in the middle, in middle light; no slope, no noise."""
    there = np.zeros((count, 9), bool)
    there[:, 4] = True
    half = np.full((count, 9), 0.5, np.float32)
    parts: dict[str, Any] = {
        "there": there,
        **{name: half for name in ("right", "down", "long", "turned", "light")},
        "wide": half * 2,
        "ripple": half * 0,
        "ground": half[:, 0],
        "slope": half[:, :2],
        "noise": np.full((count, SIDE, SIDE), 0.5, np.float32),
    }
    return Culture(**parts | changed)


def only(places: list[int]) -> np.ndarray:
    """Return cells in these places."""
    return np.isin(np.arange(9), places)[None]


def at(value: float) -> np.ndarray:
    """Return a number for each place of one image."""
    return np.full((1, 9), value, np.float32)


def test_a_round_cell_has_its_area_and_place() -> None:
    """pi r^2 pixels around the image's middle; labels are places counted from one."""
    image, where = cells.render(culture())
    inside = where[0] > 0
    assert inside.sum() == pytest.approx(math.pi * 11**2, rel=0.02)
    assert set(np.unique(where)) == {0, 5}
    assert scipy.ndimage.center_of_mass(inside) == pytest.approx((31.5, 31.5), abs=0.01)
    assert image.shape == (1, 1, SIDE, SIDE)
    assert image.dtype == where.dtype == np.uint8


def test_an_ellipse_has_its_half_axes_and_its_turn() -> None:
    """Second moments a^2/4 and b^2/4 along the axes; turned by twice the arc tangent."""
    turned = 0.7
    _, where = cells.render(culture(long=at(0.9), wide=at(0.2), turned=at(turned)))
    y, x = np.nonzero(where[0])
    values, vectors = np.linalg.eigh(np.cov(np.stack([x, y])))
    long, wide = 9 + 4 * 0.9, (9 + 4 * 0.9) * (0.65 + 0.35 * 0.2)
    assert values == pytest.approx([wide**2 / 4, long**2 / 4], rel=0.03)
    angle = math.atan2(vectors[1, 1], vectors[0, 1]) % math.pi
    assert angle == pytest.approx(2 * math.atan(2 * turned - 1), abs=0.03)


def test_a_ripple_has_three_waves() -> None:
    """The outline's distance from the middle is r (1 + 0.12 cos 3 phi) at full strength."""
    deep = cells.depths(culture(ripple=at(1.0)), 4)[0]
    axis = np.arange(SIDE) + 0.5 - 32
    x, y = np.meshgrid(axis, axis)
    radius, phi = np.hypot(x, y), np.arctan2(y, x)
    expected = 11 * (1 + 0.12 * np.cos(3 * phi)) - radius
    assert deep == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(("name", "row", "column"), [("right", 0.0, 3.0), ("down", 3.0, 0.0)])
def test_a_cell_moves_within_its_place(name: str, row: float, column: float) -> None:
    """By ten pixels from end to end; places are twenty pixels apart."""
    middle = scipy.ndimage.center_of_mass(cells.render(culture())[1][0])
    moved = scipy.ndimage.center_of_mass(cells.render(culture(**{name: at(0.8)}))[1][0])
    assert np.subtract(moved, middle) == pytest.approx([row, column], abs=0.05)
    _, where = cells.render(culture(there=only([1, 5]), long=at(0)))
    centres = scipy.ndimage.center_of_mass(where[0] > 0, where[0], [2, 6])
    assert centres[1] == pytest.approx((31.5, 51.5), abs=0.1)
    assert centres[0] == pytest.approx((11.5, 31.5), abs=0.1)


def test_where_two_would_overlap_the_deeper_one_has_the_pixel() -> None:
    """Two equal round cells 20 apart with radius 13 part half-way, without a gap."""
    _, where = cells.render(culture(there=only([3, 4]), long=at(1.0)))
    row = where[0, 32]
    assert (row[13:22] == 4).all()
    assert (row[22:31] == 5).all()


def test_light_inside_outside_and_on_the_rim() -> None:
    """Grey values far inside, far outside, and the darkest ones at the outline."""
    image = cells.render(culture())[0][0, 0].astype(int)
    assert image[32, 32] == int((0.42 + 0.15) * 255)
    assert image[2, 2] == int((0.30 + 0.11) * 255)
    profile = image[32, 32:50]
    assert 9 <= profile.argmin() <= 12
    assert profile.min() < image[2, 2] - 10
    lighter = cells.render(culture(light=at(1.0)))[0][0, 0]
    assert lighter[32, 32] - image[32, 32] == pytest.approx(0.15 * 255, abs=1)
    ground = cells.render(culture(ground=np.ones(1, np.float32)))[0][0, 0]
    assert ground[2, 2] - image[2, 2] == pytest.approx(0.11 * 255, abs=1)
    assert ground[32, 32] == image[32, 32]


def test_slope_and_noise() -> None:
    """Light grows to the right, or down, by up to 0.15 of the range; noise by up to 0.225."""
    plain = cells.render(culture())[0][0, 0].astype(int)
    across = cells.render(culture(slope=np.array([[1.0, 0.5]], np.float32)))[0][0, 0] - plain
    down = cells.render(culture(slope=np.array([[0.5, 1.0]], np.float32)))[0][0, 0] - plain
    assert across[2, 60] - across[2, 3] == pytest.approx(0.15 * 255 * 57 / 64, abs=2)
    assert abs(across[60, 2] - across[3, 2]) <= 1
    assert (down.T - across).min() >= -1
    assert (down.T - across).max() <= 1
    noise = np.full((1, SIDE, SIDE), 0.5, np.float32)
    noise[0, 2, 2] = 1.0
    assert cells.render(culture(noise=noise))[0][0, 0][2, 2] - plain[2, 2] == pytest.approx(57, 1)


def test_two_that_touch_have_a_rim_between_them() -> None:
    """Darker on the line where they meet than two pixels beside it."""
    image = cells.render(culture(there=only([3, 4]), long=at(1.0)))[0][0, 0].astype(int)
    assert image[32, 22] < image[32, 26] - 10


def brute(labels: np.ndarray) -> np.ndarray:
    """Return cell pixels without a neighbour in another cell, pixel by pixel."""
    found = labels > 0
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if 0 <= v < labels.shape[0] and 0 <= u < labels.shape[1] and labels[y, x]:
                    found[y, x] &= labels[v, u] in (0, labels[y, x])
    return found


def test_gaps_part_cells_that_touch() -> None:
    """As by brute force on random labels; the parts of what is left are the cells."""
    labels = torch.randint(0, 4, (5, 9, 7), generator=torch.Generator().manual_seed(1))
    for one, found in zip(labels, cells.separated(labels), strict=True):
        assert (found.numpy() == brute(one.numpy())).all()
    drawn = torch.from_numpy(cells.render(cells.cultures(20, np.random.default_rng(7)))[1])
    for one in drawn:
        parted = cells.separated(one.int()).numpy()
        parts, _ = scipy.ndimage.label(parted)
        for label in np.unique(parts[parts > 0]):
            assert len(np.unique(one.numpy()[parts == label])) == 1


def test_cultures_differ_and_repeat_with_their_seed() -> None:
    """Five cells in six places; nothing is shared between images."""
    first, again = (cells.cultures(200, np.random.default_rng(3)) for _ in range(2))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert first.there.mean() == pytest.approx(5 / 6, abs=0.03)
    for part in first[1:]:
        assert abs(part.mean() - 0.5) < 0.06
        assert (part[0] != part[1]).all()
    assert first.noise.std() == pytest.approx(1 / 6, rel=0.02)


def test_an_image_does_not_depend_on_its_company() -> None:
    """Blocks and order change nothing."""
    many = cells.cultures(60, np.random.default_rng(5))
    images, where = cells.render(many)
    one = Culture(*(part[57:58] for part in many))
    assert (cells.render(one)[0] == images[57:58]).all()
    assert (cells.render(one)[1] == where[57:58]).all()
    assert cells.render(Culture(*(part[:0] for part in many)))[0].shape == (0, 1, SIDE, SIDE)
    with pytest.raises(ValueError, match=r"different lengths: \[59, 60\]"):
        cells.render(many._replace(light=many.light[1:]))


@pytest.mark.usefixtures("unchecked")
def test_the_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes, checksums that hold on every machine, copies, and errors."""
    train, test = cells.load("train"), cells.load("test")
    assert (len(train.images), len(test.images)) == (300, 100)
    assert train.describe() == "300 images 1x64x64"
    assert train.record.checksum == cells.CHECKSUM["train"]
    assert not train.record.stand_in
    assert 0.5 < (train.cells > 0).float().mean() < 0.58
    train.images.zero_()
    assert cells.load("train").images.any()
    grey, inside = test.images[:, 0], test.cells > 0
    best = max(
        ((grey > k) & inside).sum() / ((grey > k) | inside).sum() for k in range(20, 240, 4)
    )
    assert best < 0.65, "a threshold alone must not find the cells"
    with pytest.raises(ValueError, match="split"):
        cells.load("validation")  # type: ignore[arg-type]
    monkeypatch.setitem(cells.CHECKSUM, "test", "another")
    with pytest.raises(sources.WrongBytes, match="drawn cells test has checksum"):
        cells.load("test")
