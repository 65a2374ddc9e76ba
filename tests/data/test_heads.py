"""Proof for litgen/data/heads.py: areas, rings, chambers and light by hand, against scipy."""

import math
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import torch

from litgen.data import heads, sources
from litgen.data.heads import FINE, SIDE, Anatomy


def anatomy(**changed: Any) -> Anatomy:
    """Return one straight head without ripple, lesion, slope or noise; all else in the middle."""
    widths = {"size": 2, "place": 3, "ripple": 2, "chambers": 3, "lesion": 4, "tissue": 6}
    parts: dict[str, Any] = {k: np.full((1, n), 0.5, np.float32) for k, n in widths.items()}
    parts |= {name: np.full(1, 0.5, np.float32) for name in ("ribbon", "gain")}
    parts |= {"there": np.zeros(1, bool), "slope": np.full((1, 2), 0.5, np.float32)}
    parts["noise"] = np.full((1, SIDE, SIDE), 0.5, np.float32)
    return Anatomy(**parts | changed)


def row(*values: float) -> np.ndarray:
    """Return numbers of one slice."""
    return np.array([values], np.float32)


def half_axes(long: float, wide: float) -> tuple[float, float]:
    """Return a head's half axes in fine pixels."""
    longer = 26 + 4 * long
    return longer, longer * (0.78 + 0.14 * wide)


def test_a_head_is_an_ellipse_of_layers() -> None:
    """Each ring's area is a difference of ellipses whose axes shrink alike."""
    found = heads.layers(anatomy(size=row(0.8, 0.3)))[0]
    longer, shorter = half_axes(0.8, 0.3)

    def area(depth: float) -> float:
        scale = 1 - depth / shorter
        return math.pi * longer * shorter * scale**2

    ribbon = 3 + 3 * 0.5
    edges = [0, 3, 5, 5 + ribbon]
    for layer, outer, inner in ((5, 0, 1), (2, 2, 3)):
        expected = area(edges[outer]) - area(edges[inner])
        assert (found == layer).sum() == pytest.approx(expected, rel=0.05)
    assert np.isin(found, [1, 3]).sum() == pytest.approx(
        area(edges[1]) - area(edges[2]) + area(edges[3]), rel=0.02
    )
    assert (found > 0).sum() == pytest.approx(area(0), rel=0.01)
    ys, xs = np.nonzero(found)
    assert np.ptp(ys) + 1 == pytest.approx(2 * longer, abs=1.5)
    assert np.ptp(xs) + 1 == pytest.approx(2 * shorter, abs=1.5)


def test_chambers_lie_left_and_right() -> None:
    """Two ellipses of fluid inside the white matter, with their distance and area."""
    fine = heads.layers(anatomy(chambers=row(0.5, 0.0, 1.0)))[0]
    inside = scipy.ndimage.binary_fill_holes(fine == 3)
    parts, count = scipy.ndimage.label(inside & (fine == 1))
    assert count == 2
    centres = np.array(scipy.ndimage.center_of_mass(parts > 0, parts, [1, 2]))
    middle = FINE / 2 - 0.5
    assert centres[:, 0] == pytest.approx([middle, middle], abs=0.1)
    assert sorted(centres[:, 1] - middle) == pytest.approx([-4, 4], abs=0.2)
    assert (parts > 0).sum() == pytest.approx(2 * math.pi * 6 * 1.5, rel=0.1)
    longer = heads.layers(anatomy(chambers=row(1.0, 0.0, 1.0)))[0]
    assert (longer == 1).sum() - (fine == 1).sum() == pytest.approx(2 * math.pi * 2 * 1.5, abs=4)
    wider = heads.layers(anatomy(chambers=row(0.5, 1.0, 1.0)))[0]
    assert (wider == 1).sum() > (fine == 1).sum() + 20


@pytest.mark.parametrize(("side", "sign"), [(0.2, -1), (0.8, 1)])
def test_a_lesion_lies_where_it_is_said(side: float, sign: int) -> None:
    """A disc in the white matter, left or right of the middle; without it, nothing changes."""
    lesion = row(side, 0.7, 1.0, 0.6)
    ill = heads.layers(anatomy(there=np.ones(1, bool), lesion=lesion, size=row(1, 1)))[0]
    well = heads.layers(anatomy(lesion=lesion, size=row(1, 1)))[0]
    where = ill == 4
    assert where.sum() == pytest.approx(math.pi * (3 + 2.5 * 0.6) ** 2, rel=0.08)
    assert (well[where] == 3).all()
    assert (ill[~where] == well[~where]).all()
    centre = np.array(scipy.ndimage.center_of_mass(where)) - (FINE / 2 - 0.5)
    assert centre == pytest.approx([16 * 0.2, sign * 11], abs=0.3)


def test_place_turn_and_ripple() -> None:
    """The middle moves by four fine pixels, the long axis turns, six waves go around."""
    plain, moved = (
        heads.layers(each)[0] > 0 for each in (anatomy(), anatomy(place=row(1, 0, 0.5)))
    )
    shift = np.subtract(scipy.ndimage.center_of_mass(moved), scipy.ndimage.center_of_mass(plain))
    assert shift == pytest.approx([-2, 2], abs=0.1)
    turned = heads.layers(anatomy(place=row(0.5, 0.5, 1.0), size=row(1, 0)))[0] > 0
    ys, xs = np.nonzero(turned)
    _, vectors = np.linalg.eigh(np.cov(np.stack([xs, ys])))
    angle = math.atan2(vectors[1, 1], vectors[0, 1]) % math.pi - math.pi / 2
    assert angle == pytest.approx(2 * math.atan(0.15), abs=0.03)
    for ripple, wave in ((row(1, 0.5), np.cos), (row(0.5, 1), np.sin)):
        rippled = heads.layers(anatomy(ripple=ripple))[0] > 0
        longer, shorter = half_axes(0.5, 0.5)
        axis = np.arange(FINE) + 0.5 - FINE / 2
        x, y = axis[None] / shorter, axis[:, None] / longer
        radius, phi = np.hypot(x, y), np.arctan2(y, x)
        expected = radius < 1 + 0.045 * wave(6 * phi)
        assert (rippled != expected).mean() < 0.002
        assert (rippled != plain).mean() > 0.01


def test_light_of_each_tissue() -> None:
    """Grey values far from borders: light times gain; a lesion is as light as grey matter."""
    lights = row(0.1, 0.2, 0.3, 0.4, 0.6, 0.9)
    big = {"size": row(1, 1), "ribbon": np.ones(1, np.float32), "tissue": lights}
    sick = anatomy(**big, there=np.ones(1, bool), lesion=row(0.8, 0.5, 0.6, 1.0))
    images, tissue = heads.render(sick)
    darkest = np.array([0.02, 0.14, 0.40, 0.66, 0.36])
    spread = np.array([0.04, 0.12, 0.14, 0.16, 0.14])
    expected = (darkest + spread * lights[0, :5]) * (0.75 + 0.35 * 0.5)
    for k in (0, 2, 3, 4):
        core = scipy.ndimage.binary_erosion(tissue[0] == k) if k in (3, 4) else tissue[0] == k
        grey = np.median(images[0, 0][core]) / 255
        assert grey == pytest.approx(expected[k], abs=0.02), heads.TISSUES[k]
    assert darkest[4] < darkest[2] < darkest[4] + spread[4], "lesion and grey matter overlap"


def test_gain_slope_and_noise() -> None:
    """The gain is a factor, its slope grows along an axis, noise spans 0.3 of the range."""
    plain = heads.render(anatomy())[0][0, 0].astype(float)
    brighter = heads.render(anatomy(gain=np.ones(1, np.float32)))[0][0, 0]
    lit = plain > 60
    assert np.median(brighter[lit] / plain[lit]) == pytest.approx(1.10 / 0.925, rel=0.02)
    across = heads.render(anatomy(slope=row(1, 0.5)))[0][0, 0].astype(float)
    down = heads.render(anatomy(slope=row(0.5, 1)))[0][0, 0].astype(float)
    columns, rows = np.broadcast_arrays(np.arange(SIDE)[None], np.arange(SIDE)[:, None])
    for found, place in ((across, columns), (down, rows)):
        expected = 1 + 0.3 * ((place + 0.5) / SIDE - 0.5)
        assert np.abs(found[lit] / plain[lit] - expected[lit]).max() < 0.03
        assert np.ptp(expected[lit]) > 0.1
    noise = np.full((1, SIDE, SIDE), 0.5, np.float32)
    noise[0, 16, 10] = 1.0
    grain = heads.render(anatomy(noise=noise))[0][0, 0] - plain
    assert grain[16, 10] == pytest.approx(0.15 * 255, abs=1)
    assert (grain != 0).sum() == 1


def test_tissue_is_the_commonest_of_four_and_the_ring_is_ground() -> None:
    """Counted pixel by pixel; the first one where two are as common."""
    drawn = heads.anatomies(4, np.random.default_rng(5))
    fine, (_, tissue) = heads.layers(drawn), heads.render(drawn)
    fine = np.where(fine == 5, 0, fine)
    for k in range(4):
        for y in range(SIDE):
            for x in range(SIDE):
                votes = np.bincount(fine[k, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].ravel())
                assert tissue[k, y, x] == votes.argmax()


def test_anatomies_differ_and_repeat_with_their_seed() -> None:
    """A lesion in one of two; nothing is shared between slices; company changes nothing."""
    first, again = (heads.anatomies(300, np.random.default_rng(3)) for _ in range(2))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert first.there.mean() == pytest.approx(0.5, abs=0.08)
    for part in (p for p in first if p.dtype != bool):
        assert abs(part.mean() - 0.5) < 0.06
        assert (part[0] != part[1]).all()
    images, tissue = heads.render(first)
    one = Anatomy(*(part[57:58] for part in first))
    assert (heads.render(one)[0] == images[57:58]).all()
    assert (heads.render(one)[1] == tissue[57:58]).all()
    assert heads.render(Anatomy(*(part[:0] for part in first)))[0].shape == (0, 1, SIDE, SIDE)
    with pytest.raises(ValueError, match=r"different lengths: \[299, 300\]"):
        heads.render(first._replace(gain=first.gain[1:]))


@pytest.mark.usefixtures("unchecked")
def test_the_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes, checksums that hold on every machine, copies, and errors."""
    train, test = heads.load("train"), heads.load("test")
    assert (len(train.images), len(test.images)) == (400, 200)
    assert train.describe() == "400 slices 1x32x32"
    assert train.record.checksum == heads.CHECKSUM["train"]
    assert not train.record.stand_in
    assert 0.004 < (train.tissue == 4).float().mean() < 0.01
    train.images.zero_()
    train.tissue.zero_()
    assert heads.load("train").images.any()
    assert heads.load("train").tissue.any()
    assert not torch.equal(heads.load("train").images[:200], test.images)
    with pytest.raises(ValueError, match="split"):
        heads.load("validation")  # type: ignore[arg-type]
    monkeypatch.setitem(heads.CHECKSUM, "test", "another")
    with pytest.raises(sources.WrongBytes, match="drawn heads test has checksum"):
        heads.load("test")
