"""Proof for litgen/data/scenes.py: areas, places and order of things, by hand."""

import inspect
import math

import numpy as np
import pytest

from litgen.data import scenes, sources


def one(*kinds: int, size: float = 0.5, turned: float = 0.5, at: float = 0.5) -> scenes.Things:
    """Return a scene of things without noise or slope, all at one place, on black."""
    count = len(kinds)
    kind = np.array([[*kinds, *[0] * (scenes.MOST - count)]])
    shape = (1, scenes.MOST)
    colour = np.zeros((1, scenes.MOST + 1, 3), np.float32)
    colour[0, :count, 0] = 1
    return scenes.Things(
        kind,
        np.full(shape, at, np.float32),
        np.full(shape, 0.5, np.float32),
        np.full(shape, size, np.float32),
        np.full(shape, turned, np.float32),
        colour,
        np.full((1, 2), 0.5, np.float32),
        np.full((1, 3, 64, 64), 0.5, np.float32),
    )


def area(kind: int, radius: float) -> float:
    """Return the area of a thing in pixels."""
    height = 0.5 * radius * (math.sqrt(12**2 + 7**2) / 7 + 1)  # from the left side to the corner
    return {
        1: math.pi * (0.8 * radius) ** 2,
        2: 4 * 0.9 * 0.6 * radius**2,
        3: height * height * 7 / 12,
        4: 2 * math.pi * 0.85 * radius * 2.5,
    }[kind]


@pytest.mark.parametrize("kind", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [0.0, 1.0])
def test_a_thing_covers_its_area_with_its_class(kind: int, size: float) -> None:
    """Disk, box, triangle and ring, at any turn; no other class is there."""
    for turned in (0.0, 0.37, 0.5, 0.9):
        image, classes = scenes.render(one(kind, size=size, turned=turned))
        assert set(np.unique(classes)) == {0, kind}
        assert (classes == kind).sum() == pytest.approx(area(kind, 9 + 7 * size), rel=0.12)
        red = image[0, 0].astype(float)
        share = (red - red.min()) / np.ptp(red)
        assert share.sum() == pytest.approx(area(kind, 9 + 7 * size), rel=0.03)
        assert (abs(image[0, 1:] / 255 - 0.15) < 0.01).all()


def test_right_moves_to_the_right() -> None:
    """From 8 to 56 pixels; down is the same along the other axis."""
    for at in (0.25, 0.5, 0.8):
        classes = scenes.render(one(1, at=at))[1][0]
        rows, columns = classes.nonzero()
        assert columns.mean() + 0.5 == pytest.approx(8 + 48 * at, abs=0.1)
        assert rows.mean() + 0.5 == pytest.approx(32, abs=0.1)
    moved = one(1)._replace(down=np.full((1, scenes.MOST), 0.8, np.float32))
    assert scenes.render(moved)[1][0].nonzero()[0].mean() + 0.5 == pytest.approx(46.4, abs=0.1)


def test_a_box_is_longer_along_its_turn() -> None:
    """Not turned, along x; by a right angle, along y."""
    flat, tall = (scenes.render(one(2, turned=turned))[1][0] for turned in (0.5, 1.0))
    assert np.array_equal(flat, tall.T)
    assert np.ptp(flat.nonzero()[1]) > np.ptp(flat.nonzero()[0]) + 5


def test_later_things_lie_in_front() -> None:
    """Of a disk and a box at one place, the pixels of both belong to the second."""
    disk, box = (scenes.render(one(kind))[1][0] > 0 for kind in (1, 2))
    found = scenes.render(one(1, 2))[1][0]
    assert np.array_equal(found == 2, box)
    assert np.array_equal(found == 1, disk & ~box)


def test_colour_tells_nothing_of_the_class() -> None:
    """Colours are drawn apart from kinds: the mean red of each class's things is the same."""
    drawn = scenes.things(4_000, np.random.default_rng(0))
    red = drawn.colour[:, : scenes.MOST, 0]
    means = [red[drawn.kind == kind].mean() for kind in (1, 2, 3, 4)]
    assert max(means) - min(means) < 0.03
    shown = (drawn.kind > 0).sum(axis=1)
    assert set(shown) == {2, 3, 4, 5}
    assert (drawn.kind[:, 0] > 0).all()


def test_the_sets_are_what_they_were() -> None:
    """Counts, checksums, all classes; what a caller changes is its own; train and test differ."""
    train, test = scenes.load("train"), scenes.load("test")
    assert train.images.shape == (1_000, 3, 64, 64)
    assert test.classes.shape == (200, 64, 64)
    assert train.classes.unique().tolist() == [0, 1, 2, 3, 4]
    for split, found in (("train", train), ("test", test)):
        expected = sources.checksum(found.images, found.classes)
        assert found.record.checksum == expected == scenes.CHECKSUM[split]
    assert train.describe() == "1,000 images 3x64x64"
    assert not (train.images[:200] == test.images).all()
    train.images.zero_()
    assert scenes.load("train").images.any()


def test_blocks_do_not_matter() -> None:
    """A scene is the same in whatever company it is painted."""
    drawn = scenes.things(60, np.random.default_rng(3))
    images, classes = scenes.render(drawn)
    last = scenes.Things(*(part[55:] for part in drawn))
    assert np.array_equal(scenes.render(last)[0], images[55:])
    assert np.array_equal(scenes.render(last)[1], classes[55:])
    assert scenes.render(scenes.Things(*(part[:0] for part in drawn)))[0].shape == (0, 3, 64, 64)


def test_everything_is_in_single_precision() -> None:
    """Double precision would be rounded once more, and not alike everywhere."""
    drawn = scenes.things(2, np.random.default_rng(0))
    assert {part.dtype for part in drawn[1:]} == {np.dtype(np.float32)}
    assert scenes.outside(drawn, 0).dtype == np.float32
    code = inspect.getsource(scenes)
    for word in ("np.sin", "np.cos", "np.exp", "float64", "np.power", "hypot"):
        assert word not in code


def test_what_cannot_be_drawn_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of different length, an unknown kind or split, a machine that draws otherwise."""
    good = one(1)
    with pytest.raises(ValueError, match="different lengths"):
        scenes.render(good._replace(slope=np.zeros((2, 2), np.float32)))
    with pytest.raises(ValueError, match=r"0\.\.4, found 5"):
        scenes.render(good._replace(kind=np.full((1, 5), 5)))
    with pytest.raises(ValueError, match="'train' or 'test', got 'validation'"):
        inspect.unwrap(scenes.load)("validation")  # type: ignore[arg-type]
    monkeypatch.setitem(scenes.CHECKSUM, "test", "0" * 64)
    with pytest.raises(sources.WrongBytes, match="drawn scenes test"):
        scenes.load("test")
