"""Proof for litgen/data/facades.py: plans that can be built, patterns and colours by hand."""

import inspect

import numpy as np
import pytest

from litgen.data import facades, sources
from litgen.data.facades import Look


def plain(count: int = 1) -> Look:
    """Return a look of middle values: no slope, no noise, dark windows, patterns at 0."""
    half = np.full((count, 3), 0.5, np.float32)
    return Look(
        half,
        half,
        half,
        half,
        np.full(count, 0.5, np.float32),
        np.ones((count, 4), np.float32),
        np.zeros((count, 5), int),
        np.zeros((count, facades.PANES), bool),
        np.full((count, 2), 0.5, np.float32),
        np.full((count, 3, 32, 32), 0.5, np.float32),
    )


def flat(kind: int, look: Look) -> np.ndarray:
    """Return the levels of a picture whose plan has one class only, in [0, 1]."""
    classes = np.full((len(look.lit), 32, 32), kind, np.uint8)
    panes = np.full(classes.shape, 3 if kind == facades.WINDOW else 0, np.uint8)
    found: np.ndarray = facades.render(classes, panes, look).astype(float) / 255
    return found


def test_plans_can_be_built() -> None:
    """Sky above, walls to the ground, a door that stands on it, windows within walls, a cornice
    of two rows under the sky; panes are numbered where windows are, frames around them."""
    classes, panes = facades.plans(300, np.random.default_rng(0))
    assert (classes[:, 0] == facades.SKY).all()
    for plan, numbers in zip(classes, panes, strict=True):
        assert set(np.unique(plan)) >= {0, 1, 2, 3, 5}
        rows, columns = (plan == facades.DOOR).nonzero()
        assert rows.max() == 31
        assert len(np.unique(columns)) == columns.max() - columns.min() + 1
        cornice = (plan == facades.CORNICE).nonzero()[0]
        assert len(np.unique(cornice)) == 2
        assert not (plan[cornice.max() + 1 :, 16] == facades.SKY).any()
        assert (plan[: cornice.min()] == facades.SKY).all()
        hidden = (plan == facades.WINDOW) | (plan == facades.BALCONY)
        assert hidden[numbers > 0].all()
        assert (numbers[plan == facades.WINDOW] > 0).all()
    balconies = (classes == facades.BALCONY).any(axis=(1, 2)).mean()
    assert 0.3 < balconies < 0.95
    inner = panes[(panes > 0) & (panes < 100)]
    assert inner.max() <= facades.PANES
    assert len({plan.tobytes() for plan in classes}) > 200


@pytest.mark.parametrize(
    ("kind", "share"), [(facades.DOOR, 1 / 3), (facades.BALCONY, 1 / 2), (facades.CORNICE, 1 / 2)]
)
def test_patterns_across(kind: int, share: float) -> None:
    """Planks, bars and dentils: two levels 0.4 apart, columns alike, moved by their phase."""
    look = plain()
    image = flat(kind, look)[0, 0]
    assert (image == image[:1]).all()
    high = image[0] > image[0].mean()
    assert high.mean() == pytest.approx(share, abs=0.03)
    assert image.max() - image.min() == pytest.approx(0.4, abs=0.01)
    place = {facades.DOOR: 2, facades.BALCONY: 3, facades.CORNICE: 4}[kind]
    phase = look.phase.copy()
    phase[0, place] = 1
    moved = flat(kind, look._replace(phase=phase))[0, 0]
    assert np.array_equal(moved[:, :-1], image[:, 1:])
    assert not np.array_equal(moved, image)


def test_bricks() -> None:
    """Courses of four rows, joints eight pixels apart, every other course shifted by four."""
    image = flat(facades.WALL, plain())[0, 0]
    mortar = image > image.mean()
    for row in range(32):
        if row % 4 == 0:
            assert mortar[row].all()
        else:
            expected = {c for c in range(32) if c % 8 == (4 if row // 4 % 2 else 0)}
            assert set(mortar[row].nonzero()[0]) == expected
    look = plain()
    down = look._replace(phase=np.array([[1, 0, 0, 0, 0]]))
    assert np.array_equal(flat(facades.WALL, down)[0, 0, :-1], image[1:])
    across = look._replace(phase=np.array([[0, 1, 0, 0, 0]]))
    assert np.array_equal(flat(facades.WALL, across)[0, 0, :, :-1], image[:, 1:])


def test_contrast_is_lighter_or_darker_and_never_none() -> None:
    """Steps of the four patterns: 0.25 to 0.4 to either side, each by its own number."""
    for i, kind in enumerate((facades.WALL, facades.DOOR, facades.BALCONY, facades.CORNICE)):
        for value, step in ((0.0, -0.4), (0.49, -0.253), (0.51, 0.253), (1.0, 0.4)):
            contrast = np.ones((1, 4), np.float32)
            contrast[0, i] = value
            image = flat(kind, plain()._replace(contrast=contrast))[0, 0]
            marks = flat(kind, plain())[0, 0]
            marks = marks > marks.mean()
            assert image[marks].mean() - image[~marks].mean() == pytest.approx(step, abs=0.01)


def test_windows_are_lit_one_by_one() -> None:
    """Number 3 looks up the third light; frames are grey by their own number."""
    lit = np.zeros((2, facades.PANES), bool)
    lit[0, 2] = True
    image = flat(facades.WINDOW, plain(2)._replace(lit=lit))
    assert image[0].mean(axis=(1, 2)) == pytest.approx([0.95, 0.82, 0.45], abs=0.01)
    assert image[1].mean(axis=(1, 2)) == pytest.approx([0.10, 0.14, 0.22], abs=0.01)
    classes = np.full((1, 32, 32), facades.WINDOW, np.uint8)
    panes = np.full((1, 32, 32), 103, np.uint8)
    frame = facades.render(classes, panes, plain()._replace(frame=np.ones(1, np.float32)))
    assert frame.mean() / 255 == pytest.approx(0.9, abs=0.01)


def test_colours_and_light() -> None:
    """Walls and sky take their own colour; light grows to the right and down by its slopes."""
    look = plain()
    red = np.array([[1.0, 0.0, 0.5]], np.float32)
    wall = flat(facades.WALL, look._replace(wall=red))[0]
    assert wall[0].mean() - wall[1].mean() == pytest.approx(0.47, abs=0.01)
    assert wall[1].mean() == pytest.approx(flat(facades.WALL, look)[0, 1].mean() - 0.175, abs=0.01)
    sky = flat(facades.SKY, look._replace(sky=red))[0]
    assert sky[0].mean() - sky[1].mean() == pytest.approx(0.25, abs=0.01)
    assert sky[0, -1].mean() - sky[0, 0].mean() == pytest.approx(0.1 * 31 / 32, abs=0.01)
    bright = flat(facades.SKY, look._replace(slope=np.array([[1.0, 0.5]], np.float32)))[0, 0]
    assert (bright[:, -1] - bright[:, 0]).mean() == pytest.approx(0.15 * 31 / 32, abs=0.01)
    low = flat(facades.SKY, look._replace(slope=np.array([[0.5, 1.0]], np.float32)))[0, 0]
    assert (low[-1] - low[0]).mean() == pytest.approx(0.25 * 31 / 32, abs=0.01)


def test_pictures_are_free_of_their_plans() -> None:
    """What a look is drawn from has nothing of the plan: two looks differ under one plan, and
    the median of walls is the middle of their range."""
    random = np.random.default_rng(1)
    plan, panes = (np.repeat(part, 200, axis=0) for part in facades.plans(1, random))
    images = facades.render(plan, panes, facades.looks(200, random)).astype(float)
    assert (images.std(axis=0) > 15).all()
    walls = np.median(images, axis=0)[:, plan[0] == facades.WALL]
    assert abs(np.median(walls, axis=1) - np.array([147, 116, 96])).max() < 20


def test_the_sets_are_what_they_were() -> None:
    """Counts, checksums, all classes; what a caller changes is its own; train and test differ."""
    train, test = facades.load("train"), facades.load("test")
    assert train.images.shape == (2_000, 3, 32, 32)
    assert test.classes.shape == (400, 32, 32)
    assert train.classes.unique().tolist() == list(range(6))
    for split, found in (("train", train), ("test", test)):
        expected = sources.checksum(found.images, found.classes)
        assert found.record.checksum == expected == facades.CHECKSUM[split]
    assert train.describe() == "2,000 images 3x32x32"
    assert not train.record.stand_in
    train.images.zero_()
    train.classes.zero_()
    assert facades.load("train").images.any()
    assert facades.load("train").classes.any()
    assert not (facades.load("train").images[:400] == test.images).all()


def test_blocks_do_not_matter() -> None:
    """A front is the same in whatever company it is painted; none are none."""
    random = np.random.default_rng(3)
    classes, panes = facades.plans(130, random)
    look = facades.looks(130, random)
    images = facades.render(classes, panes, look)
    last = Look(*(part[120:] for part in look))
    assert np.array_equal(facades.render(classes[120:], panes[120:], last), images[120:])
    none = Look(*(part[:0] for part in look))
    assert facades.render(classes[:0], panes[:0], none).shape == (0, 3, 32, 32)


def test_what_cannot_be_drawn_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of different length, an unknown class or split, a machine that draws otherwise."""
    classes, panes = facades.plans(1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="different lengths"):
        facades.render(classes, panes, plain(2))
    with pytest.raises(ValueError, match=r"different lengths: \[1, 2\]"):
        facades.render(classes, np.concatenate([panes, panes]), plain())
    with pytest.raises(ValueError, match=r"0\.\.5, found 6"):
        facades.render(classes + 6 - classes, panes, plain())
    with pytest.raises(ValueError, match="'train' or 'test', got 'validation'"):
        inspect.unwrap(facades.load)("validation")  # type: ignore[arg-type]
    monkeypatch.setitem(facades.CHECKSUM, "test", "0" * 64)
    with pytest.raises(sources.WrongBytes, match="drawn facades test"):
        facades.load("test")


def test_classes_have_tints_whose_ranges_overlap() -> None:
    """With the darkest colours and middle marks a class has its tint; no class is told by one
    colour, since every range meets another one's."""
    dark = np.zeros((1, 3), np.float32)
    look = plain()._replace(wall=dark, sky=dark, door=dark, trim=dark)
    tints = {1: (0.40, 0.28, 0.20), 3: (0.12, 0.12, 0.15), 4: (0.5, 0.5, 0.42)}
    tints[5] = tints[4]
    for kind, tint in tints.items():
        image = flat(kind, look)[0]
        middle = (image.max(axis=(1, 2)) + image.min(axis=(1, 2))) / 2
        low = np.maximum(np.array(tint) - 0.2, 0)
        assert middle == pytest.approx((low + np.array(tint) + 0.2) / 2, abs=0.01)
    assert flat(0, look)[0, :, 0].mean(axis=1) == pytest.approx([0.35, 0.45, 0.55], abs=0.01)
    for kind in (0, 1, 3):
        reach = [
            abs(facades.TINTS[kind] - facades.TINTS[k]).max() for k in (0, 1, 3, 5) if k != kind
        ]
        assert min(reach) < facades.REACH + 0.4
