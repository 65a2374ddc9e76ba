"""Proof for litgen/data/cmp_facades.py: a tiny tree of files in the official format."""

import inspect
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from litgen.data import cmp_facades, sources

NAMES = {"base": ["cmp_b0001", "cmp_b0002", "cmp_b0003"], "extended": ["cmp_x0001"]}


def write(folder: Path, name: str, level: int, size: tuple[int, int] = (40, 60)) -> None:
    """Write a photograph, grey on the left and dark on the right, and a plan with labels."""
    width, height = size
    pixels = np.full((height, width, 3), level, np.uint8)
    pixels[:, width // 2 :] = 10, 20, 30
    Image.fromarray(pixels).save(folder / f"{name}.jpg", quality=95)
    labels = np.full((height, width), 2, np.uint8)
    labels[:, width // 2 :] = 12
    labels[height // 2 :] = 1
    plan = Image.fromarray(labels).convert("P")
    plan.putdata(labels.ravel().tolist())
    plan.putpalette([(37 * i) % 256 for i in range(768)])
    plan.save(folder / f"{name}.png")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write four pairs as the archives have them, in the user's folder."""
    for part, names in NAMES.items():
        folder = tmp_path / "cmp-facades" / part
        folder.mkdir(parents=True)
        for i, name in enumerate(names):
            write(folder, name, 60 + 50 * i)
            (folder / f"{name}.xml").write_text("<object></object>")
    monkeypatch.setenv("LITGEN_DATA", str(tmp_path))
    return tmp_path / "cmp-facades"


def test_photographs_and_plans(tree: Path) -> None:
    """Pairs by name, in order; labels count from 0; no class is blended, nothing is mirrored."""
    found = cmp_facades.load("train", side=20)
    assert found.images.shape == (3, 3, 20, 20)
    for i, (image, classes) in enumerate(zip(found.images, found.classes, strict=True)):
        assert (image[:, :, 1:8].int() - (60 + 50 * i)).abs().max() <= 4
        assert (image[2, :, 12:19].int() - 30).abs().max() <= 8
        assert classes[:10].tolist() == [[1] * 10 + [11] * 10] * 10
        assert classes[10:].unique().tolist() == [0]
    assert found.record.checksum == sources.checksum(found.images, found.classes)
    assert not found.record.stand_in
    assert found.record.counts == {"train": 378, "test": 228}
    assert found.describe() == "3 images 3x20x20"
    assert len(cmp_facades.load("train", limit=2).images) == 2
    assert cmp_facades.load("test").images.shape == (1, 3, 64, 64)
    assert cmp_facades.CLASSES[0] == "background"
    assert len(cmp_facades.CLASSES) == 12


def test_files_without_a_partner_are_named(tree: Path) -> None:
    """A photograph without a plan, and the other way round."""
    (tree / "base" / "cmp_b0002.png").unlink()
    with pytest.raises(sources.WrongBytes, match=r"base/cmp_b0002.jpg has no partner cmp_b0002.p"):
        cmp_facades.load("train")
    (tree / "base" / "cmp_b0002.jpg").unlink()
    assert len(cmp_facades.load("train").images) == 2
    (tree / "extended" / "cmp_x0001.jpg").unlink()
    with pytest.raises(sources.WrongBytes, match=r"extended/cmp_x0001.png has no partner"):
        cmp_facades.load("test")


def test_the_first_odd_file_is_named(tree: Path) -> None:
    """By name, where several lack a partner."""
    for number in (1, 3):
        (tree / "base" / f"cmp_b000{number}.png").unlink()
    with pytest.raises(sources.WrongBytes, match=r"base/cmp_b0001.jpg has no partner"):
        cmp_facades.load("train")


def test_classes_of_a_plan_without_a_palette_are_not_blended(tree: Path) -> None:
    """Between class 2 and class 12 there is no class 7, however the sides divide."""
    path = tree / "extended" / "cmp_x0001.png"
    with Image.open(path) as plan:
        labels = np.asarray(plan)
    Image.fromarray(labels).save(path)
    found = cmp_facades.load("test", side=17).classes
    assert set(found.unique().tolist()) == {0, 1, 11}


def test_a_persons_own_files_come_first(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before those in the cache, which are read where there are no others."""
    cached = tree.parent / "cache" / "data" / "cmp-facades" / "extended"
    cached.mkdir(parents=True)
    write(cached, "cmp_x0001", 200)
    monkeypatch.setenv("LITGEN_CACHE", str(tree.parent / "cache"))
    assert abs(int(cmp_facades.load("test").images[0, 0, 5, 5]) - 60) < 5
    (tree / "extended").rename(tree / "elsewhere")
    assert abs(int(cmp_facades.load("test").images[0, 0, 5, 5]) - 200) < 5


def test_pairs_of_two_sizes_are_named(tree: Path) -> None:
    """Both files and both sizes."""
    write(tree / "extended", "cmp_x0002", 50)
    Image.new("RGB", (30, 60)).save(tree / "extended" / "cmp_x0002.jpg")
    with pytest.raises(sources.WrongBytes, match=r"x0002.jpg has 30 by 60 pixels, .*40 by 60"):
        cmp_facades.load("test")


def test_wrong_plans_and_broken_files_are_named(tree: Path) -> None:
    """Labels that there are not, colours, bytes that are no picture, a photograph cut off."""
    folder = tree / "extended"
    for labels in (0, 13):
        Image.fromarray(np.full((60, 40), labels, np.uint8)).save(folder / "cmp_x0001.png")
        with pytest.raises(sources.WrongBytes, match=rf"x0001.png holds labels {labels} to"):
            cmp_facades.load("test")
    Image.new("RGB", (40, 60)).save(folder / "cmp_x0001.png")
    with pytest.raises(sources.WrongBytes, match=r"x0001.png holds colours"):
        cmp_facades.load("test")
    (folder / "cmp_x0001.png").write_bytes(b"no picture")
    with pytest.raises(sources.WrongBytes, match=r"x0001.png cannot be read"):
        cmp_facades.load("test")
    write(folder, "cmp_x0001", 90)
    whole = (folder / "cmp_x0001.jpg").read_bytes()
    (folder / "cmp_x0001.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(sources.WrongBytes, match=r"x0001.jpg cannot be read"):
        cmp_facades.load("test")


def test_without_files_the_error_says_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address, the folder, and what needs no files; an empty folder; bad arguments."""
    monkeypatch.setenv("LITGEN_DATA", str(tmp_path))
    monkeypatch.setenv("LITGEN_CACHE", str(tmp_path / "cache"))
    with pytest.raises(sources.DataUnavailable, match=r"cmp-facades/base.*CMP_facade_DB_base.zip"):
        cmp_facades.load("train")
    (tmp_path / "cache" / "data" / "cmp-facades" / "base").mkdir(parents=True)
    with pytest.raises(sources.DataUnavailable, match="no photographs"):
        cmp_facades.load("train")
    for arguments in ({"side": 0}, {"limit": 0}):
        with pytest.raises(ValueError, match="must be positive"):
            cmp_facades.load("train", **arguments)
    with pytest.raises(ValueError, match="'train' or 'test'"):
        inspect.unwrap(cmp_facades.load)("validation")  # type: ignore[arg-type]
