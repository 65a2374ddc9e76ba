"""Proof for litgen/data/drawn_faces.py: areas, colours and places by hand."""

import inspect
import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch

from litgen.data import drawn_faces, sources
from litgen.data.drawn_faces import ATTRIBUTES, Look

MIDDLE = 0.5


def _f32(values: Any) -> np.ndarray:
    """Return numbers in single precision."""
    return np.asarray(values, np.float32)


def one(has: str = "", **free: Any) -> np.ndarray:
    """Return one face with these attributes and everything else in the middle, in [0, 1]."""
    wanted = [name in has.split(",") for name in ATTRIBUTES]
    parts: dict[str, Any] = dict.fromkeys(Look._fields[1:12], _f32([MIDDLE]))
    parts |= {"hat": np.array([0]), "shirt": np.array([1])}
    parts |= {
        name: _f32([v]) if name not in ("hat", "shirt") else np.array([v])
        for name, v in free.items()
    }
    image = drawn_faces.render(Look(np.array([wanted]), **parts))[0]
    return np.asarray(image / 255.0)


def changed(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return how far each pixel's colour moved."""
    return np.asarray(abs(a - b).max(axis=0))


def test_an_ellipse_covers_its_area_and_no_more() -> None:
    """pi a b, to a hundredth; a pixel far inside is whole, one far outside empty."""
    axis = (np.arange(32, dtype=np.float32) + 0.5) / 16 - 1
    u, v = np.meshgrid(axis, axis)
    for a, b in ((0.5, 0.7), (0.8, 0.3), (0.45, 0.45)):
        share = drawn_faces._ellipse(u[None] - 0.03, v[None] + 0.02, a, b)[0]
        assert share.sum() / 256 == pytest.approx(math.pi * a * b, rel=0.012)
        far = ((u - 0.03) / a) ** 2 + ((v + 0.02) / b) ** 2
        assert (share[far < 0.6] == 1).all()
        assert (share[far > 1.6] == 0).all()
        assert ((share > 0) & (share < 1)).sum() > 30


def test_an_edge_is_as_soft_as_a_pixel() -> None:
    """Whole half a pixel inside, a half on the edge, a quarter a quarter outside."""
    pixel = 2 / 32
    distance = _f32([-1, -pixel / 2, -pixel / 4, 0, pixel / 4, pixel / 2, 1])
    expected = [1, 1, 0.75, 0.5, 0.25, 0, 0]
    assert drawn_faces._edge(distance).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "rows", "columns", "least"),
    [
        ("smile", (19, 27), (8, 24), 15),
        ("glasses", (9, 22), (4, 28), 40),
        ("moustache", (17, 25), (9, 23), 10),
        ("hat", (0, 13), (0, 32), 100),
        ("long hair", (6, 30), (3, 29), 80),
    ],
)
def test_each_attribute_changes_its_own_place(
    name: str, rows: tuple[int, int], columns: tuple[int, int], least: int
) -> None:
    """All that changes lies in the rows and columns where the thing is, and is well seen."""
    moved = changed(one(name), one())
    inside = np.zeros((32, 32), bool)
    inside[slice(*rows), slice(*columns)] = True
    assert moved[~inside].max() < 0.02
    assert (moved > 0.2).sum() >= least


def test_colours_are_those_that_were_asked_for() -> None:
    """Hair, hat, wall, shirt and cheek, at pixels where nothing else is."""
    black = one(hair=0.0)
    np.testing.assert_allclose(black[:, 6, 16], [0.08, 0.06, 0.06], atol=1 / 255)
    white = one("light hair", hair=1.0)
    np.testing.assert_allclose(white[:, 6, 16], [0.83, 0.82, 0.80], atol=1 / 255)
    for i, colour in enumerate(drawn_faces.HATS):
        np.testing.assert_allclose(one("hat", hat=i)[:, 6, 16], colour, atol=1 / 255)
    for i, colour in enumerate(drawn_faces.SHIRTS):
        np.testing.assert_allclose(one(shirt=i)[:, 31, 16], colour, atol=1 / 255)
    for wall, expected in ((0.0, [0.40, 0.47, 0.55]), (1.0, [0.70, 0.77, 0.85])):
        np.testing.assert_allclose(one(wall=wall)[:, 1, 1], expected, atol=1 / 255)
    for skin, expected in ((0.0, [0.36, 0.22, 0.15]), (1.0, [0.98, 0.83, 0.72])):
        cheek = one(skin=skin)[:, 19, 12]
        np.testing.assert_allclose(cheek, expected, atol=1 / 255)


def test_what_is_free_moves_the_face() -> None:
    """Shift, tilt, width, eyes and gaze, each seen where it must be."""
    dark = one()[0] < 0.3  # hair and pupils
    assert dark.sum() > 40

    def middle(image: np.ndarray, axis: int) -> float:
        hair = abs(image - one()[:, 6, 16][:, None, None]).max(axis=0) < 0.1
        return float(np.nonzero(hair)[axis].mean())

    assert middle(one(right=1.0), 1) - middle(one(right=0.0), 1) == pytest.approx(2.56, abs=0.4)
    assert middle(one(down=1.0), 0) - middle(one(down=0.0), 0) == pytest.approx(2.56, abs=0.4)
    assert middle(one(tilt=1.0), 1) > middle(one(), 1) + 1 > middle(one(tilt=0.0), 1) + 2
    np.testing.assert_allclose(one(), one()[:, :, ::-1], atol=0.25)  # but for the shade
    cheeks = [(changed(one(width=w), one("hat", width=w)) > 0.2).sum() for w in (0.0, 1.0)]
    assert cheeks[1] > cheeks[0] + 8
    whites = [(one(eyes=e)[:, 10:20] > 0.9).all(axis=0).sum() for e in (0.0, 1.0)]
    assert whites[1] > whites[0]

    # the pupils are the darkest pixels of the eyes' rows
    def pupil(**free: Any) -> float:
        share = 0.7 - one(skin=1.0, **free)[2, 13:17]
        share = share.clip(0)
        return float((share * np.arange(32)).sum() / share.sum())

    assert pupil(gaze=1.0) - pupil(gaze=0.0) == pytest.approx(0.75, abs=0.3)
    wide = [one(apart=a)[2, 13:17, :16].min(axis=0).argmin() for a in (0.0, 1.0)]
    assert wide[1] < wide[0]
    reds = [(one(mouth=m)[0, 20:25] - one(mouth=m)[1, 20:25] > 0.35).sum() for m in (0.0, 1.0)]
    assert reds[1] > reds[0]


def test_a_block_at_a_time_changes_nothing() -> None:
    """A face among many is the face alone; none at all is allowed."""
    look = drawn_faces.looks(230, np.random.default_rng(3))
    together = drawn_faces.render(look)
    for i in (0, 99, 100, 229):
        alone = drawn_faces.render(Look(*(part[i : i + 1] for part in look)))
        assert (alone[0] == together[i]).all()
    assert drawn_faces.render(Look(*(part[:0] for part in look))).shape == (0, 3, 32, 32)
    with pytest.raises(ValueError, match=r"different lengths: \[229, 230\]"):
        drawn_faces.render(look._replace(gaze=look.gaze[1:]))


def test_attributes_are_drawn_by_their_shares_and_independently() -> None:
    """Binomial shares, and chi-square of every pair; everything else is even."""
    look = drawn_faces.looks(4_000, np.random.default_rng(5))
    has = look.has
    for column, share in zip(has.T, (0.5, 0.4, 0.3, 0.3, 0.5, 0.5), strict=True):
        assert scipy.stats.binomtest(int(column.sum()), 4_000, share).pvalue > 1e-3
    for i in range(6):
        for j in range(i):
            table = [[((has[:, i] == a) & (has[:, j] == b)).sum() for b in (0, 1)] for a in (0, 1)]
            assert scipy.stats.chi2_contingency(table).pvalue > 1e-3
    for part in look[1:12]:
        assert scipy.stats.kstest(part, "uniform").pvalue > 1e-3
    for part in (look.hat, look.shirt):
        assert scipy.stats.chisquare(np.bincount(part, minlength=4)).pvalue > 1e-3


@pytest.mark.parametrize(("split", "seed", "count"), [("train", 1, 10_000), ("test", 2, 4_000)])
def test_the_fixed_sets(split: sources.Split, seed: int, count: int) -> None:
    """Their faces are those of the seed, their labels' bits the attributes by hand."""
    found = drawn_faces.load(split)
    look = drawn_faces.looks(count, np.random.default_rng(seed))
    assert found.images.shape == (count, 3, 32, 32)
    assert found.images.dtype == torch.uint8
    expected = [sum(2**i for i, has in enumerate(row) if has) for row in look.has.tolist()]
    assert found.labels.tolist() == expected
    assert torch.equal(drawn_faces.attributes(found.labels), torch.from_numpy(look.has))
    some = drawn_faces.render(Look(*(part[-7:] for part in look)))
    assert torch.equal(found.images[-7:], torch.from_numpy(some))
    record = found.record
    assert record.checksum == drawn_faces.CHECKSUM[split]
    assert record.checksum == sources.checksum(found.images, found.labels)
    assert record.counts[split] == count
    assert (record.name, record.stand_in) == ("drawn faces", False)
    found.images.zero_()
    assert drawn_faces.load(split).images.float().mean() > 80  # nobody's copy is another's


def test_another_drawing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that draws other faces must not change a run unseen."""
    monkeypatch.setitem(drawn_faces.CHECKSUM, "test", "0" * 64)
    with pytest.raises(sources.WrongBytes, match=r"drawn faces test has checksum 47c9418a"):
        drawn_faces.load("test")
    with pytest.raises(ValueError, match="'train' or 'test', got 'validation'"):
        inspect.unwrap(drawn_faces.load)("validation")  # type: ignore[arg-type]
