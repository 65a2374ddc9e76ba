"""Proof for litgen/data/pets.py: a tiny tree of files in the official format."""

import inspect
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from litgen import cli
from litgen.data import pets, sources

NAMES = {"trainval": ["Bombay_1", "beagle_12", "Siamese_3"], "test": ["pug_7"]}


def photograph(colour: int) -> Image.Image:
    """Return 60x40 pixels: the middle 40x40 has one colour, darker on its right; white beside."""
    pixels = np.full((40, 60, 3), 255, np.uint8)
    pixels[:, 10:30] = colour, 30, 200 - colour
    pixels[:, 30:50] = colour // 2, 15, 100 - colour // 2
    return Image.fromarray(pixels)


def trimap() -> Image.Image:
    """Return a pet (1) on the left half of the middle, an outline (3) of 4 pixels, ground (2)."""
    labels = np.full((40, 60), 2, np.uint8)
    labels[:, 10:30] = 1
    labels[:, 30:34] = 3
    return Image.fromarray(labels)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write four photographs, their maps and the two lists, as torchvision reads them."""
    pytest.importorskip("torchvision.datasets")
    folder = tmp_path / "mine" / "oxford-iiit-pet"
    (folder / "images").mkdir(parents=True)
    (folder / "annotations" / "trimaps").mkdir(parents=True)
    for part, names in NAMES.items():
        for i, name in enumerate(names):
            photograph(40 + 50 * i).save(folder / "images" / f"{name}.jpg", format="PNG")
            trimap().save(folder / "annotations" / "trimaps" / f"{name}.png")
        lines = "".join(f"{name} {i + 1} 1 {i + 1}\n" for i, name in enumerate(names))
        (folder / "annotations" / f"{part}.txt").write_text(lines)
    monkeypatch.setenv("LITGEN_DATA", str(folder.parent))
    return folder


@pytest.mark.parametrize(("split", "part"), [("train", "trainval"), ("test", "test")])
def test_photographs_and_their_maps(tree: Path, split: sources.Split, part: str) -> None:
    """The square middle of each; 1 becomes the pet, 2 the ground, 3 is open, and none is mixed."""
    found = pets.load(split, side=20)
    assert found.images.shape == (len(NAMES[part]), 3, 20, 20)
    for i, (image, classes) in enumerate(zip(found.images, found.classes, strict=True)):
        assert (image[0, :, 1:9].int() - (40 + 50 * i)).abs().max() <= 1
        assert (image[2, :, 12:19].int() - (100 - (40 + 50 * i) // 2)).abs().max() <= 1
        expected = [1] * 10 + [pets.UNKNOWN] * 2 + [0] * 8
        assert classes.tolist() == [expected] * 20
    record = found.record
    assert record.checksum == sources.checksum(found.images, found.classes)
    assert (record.name, record.source) == ("Oxford-IIIT Pet", "official files (torchvision)")
    assert not record.stand_in
    assert found.describe() == f"{len(NAMES[part])} images 3x20x20"


def test_no_label_is_mixed_of_two(tree: Path) -> None:
    """Labels at random: each block of 2x2 has that of one pixel, below and right of its middle."""
    labels = np.random.default_rng(3).integers(1, 4, (40, 60)).astype(np.uint8)
    Image.fromarray(labels).save(tree / "annotations" / "trimaps" / "pug_7.png")
    found = pets.load("test", side=20).classes[0].numpy()
    value = np.array([255, 1, 0, pets.UNKNOWN])
    assert np.array_equal(found, value[labels[1::2, 11:50:2]])


def test_side_and_limit(tree: Path) -> None:
    """The first photographs only; more than there are is all."""
    assert pets.load("train", side=8, limit=2).images.shape == (2, 3, 8, 8)
    assert len(pets.load("train", limit=100).images) == 3
    for wrong in ({"side": 0}, {"limit": 0}):
        with pytest.raises(ValueError, match="side and limit must be positive"):
            pets.load("train", **wrong)
    with pytest.raises(ValueError, match="'train' or 'test', got 'valid'"):
        inspect.unwrap(pets.load)("valid")  # type: ignore[arg-type]


def test_masks_that_do_not_fit_are_named(tree: Path) -> None:
    """A label beyond the three, colours, another size, a file cut short: which and why."""
    path = tree / "annotations" / "trimaps" / "beagle_12.png"
    labels = np.asarray(trimap()).copy()
    labels[3, 5] = 4
    Image.fromarray(labels).save(path)
    with pytest.raises(sources.WrongBytes, match=r"photograph 1 of .*trainval: .*holds \[4\]"):
        pets.load("train")
    trimap().crop((0, 0, 59, 40)).save(path)
    with pytest.raises(sources.WrongBytes, match="60 by 40 pixels, its map 59 by 40"):
        pets.load("train")
    trimap().convert("RGB").save(path)
    with pytest.raises(sources.WrongBytes, match="colours"):
        pets.load("train")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(sources.WrongBytes, match="photograph 1"):
        pets.load("train")
    (tree / "annotations" / "test.txt").unlink()
    with pytest.raises(sources.DataUnavailable, match=r"pets cannot be had: .*test.txt"):
        pets.load("test")


def test_offline_nothing_is_fetched_and_nothing_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says where the files belong; online torchvision would be asked to download."""
    with pytest.raises(sources.DataUnavailable, match=r"folder oxford-iiit-pet of .*scenes"):
        pets.load("train", stand_in=True)
    asked = []

    class Refusing:
        """Stands in for torchvision's class."""

        def __init__(self, root: Path, download: bool, **options: object):
            asked.append((root, download))
            raise RuntimeError("no such\nserver")

    monkeypatch.setattr("torchvision.datasets.OxfordIIITPet", Refusing)
    monkeypatch.delenv("LITGEN_OFFLINE")
    with pytest.raises(sources.DataUnavailable, match="cannot be had: no such server"):
        pets.load("train")
    assert asked == [(sources.cache_folder() / "data", True)]


def test_the_command_line_knows_it(
    tree: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Asked for by name."""
    caplog.set_level(logging.INFO, "litgen")  # the command line sets it; this sets it back
    assert cli.main(["data", "pets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["pets", "train"], ["pets", "test"]]
    assert "3 images 3x64x64" in lines[0]
