"""Proof for litgen/data/celeba.py: a tiny tree of files in the official format."""

import inspect
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from litgen import cli
from litgen.data import celeba, sources

COUNT = 6
PARTS = [0, 0, 1, 2, 0, 2]
"""The official partition's numbers: 0 is for training, 1 for validation, 2 for testing."""


def colour(i: int) -> tuple[int, int, int]:
    """Return the colour of the middle of photograph i."""
    return 20 + 30 * i, 200 - 20 * i, 90


def photograph(i: int) -> Image.Image:
    """Return 178x218 pixels: white, but for the 148x148 in the middle; its left is darker."""
    pixels = np.full((218, 178, 3), 255, np.uint8)
    pixels[35:183, 15:163] = colour(i)
    pixels[35:183, 15:89] //= 2
    return Image.fromarray(pixels)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write six photographs and the five text files, as torchvision reads them."""
    torchvision = pytest.importorskip("torchvision.datasets")
    folder = tmp_path / "mine" / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    names = [f"{i + 1:06}.jpg" for i in range(COUNT)]
    for i, name in enumerate(names):
        photograph(i).save(folder / "img_align_celeba" / name, format="PNG")  # exact colours
    signs = np.where(np.random.default_rng(0).random((COUNT, 40)) < 0.5, -1, 1)
    rows = [
        f"{name} " + " ".join(f"{s:2d}" for s in row)
        for name, row in zip(names, signs, strict=True)
    ]
    lines = [str(COUNT), " ".join(celeba.ATTRIBUTES) + " ", *rows]
    (folder / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    parts = [f"{name} {part}" for name, part in zip(names, PARTS, strict=True)]
    (folder / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")
    (folder / "identity_CelebA.txt").write_text("".join(f"{name} {7}\n" for name in names))
    for file, columns in (("list_bbox_celeba.txt", 4), ("list_landmarks_align_celeba.txt", 10)):
        head = f"{COUNT}\n" + " ".join("abcdefghij"[:columns]) + "\n"
        body = "".join(f"{name} " + " ".join(["1"] * columns) + "\n" for name in names)
        (folder / file).write_text(head + body)
    monkeypatch.setenv("LITGEN_DATA", str(folder.parent))
    monkeypatch.setattr(torchvision.CelebA, "file_list", [])  # the tree is not the official one
    return folder


@pytest.mark.parametrize(("split", "chosen"), [("train", [0, 1, 4]), ("test", [3, 5])])
def test_photographs_and_attributes(tree: Path, split: sources.Split, chosen: list[int]) -> None:
    """The split's own photographs, only their middle; bits are the file's plus and minus ones."""
    found = celeba.load(split)
    assert found.images.shape == (len(chosen), 3, 32, 32)
    for image, i in zip(found.images, chosen, strict=True):
        for channel, value in enumerate(colour(i)):
            assert (image[channel, 1:-1, 18:-1].float() - value).abs().max() <= 6
            assert (image[channel, 1:-1, 1:14].float() - value // 2).abs().max() <= 6
    lines = (tree / "list_attr_celeba.txt").read_text().splitlines()[2:]
    signs = [[int(s) for s in lines[i].split()[1:]] for i in chosen]
    assert found.labels.tolist() == [
        sum(2**b for b, s in enumerate(row) if s > 0) for row in signs
    ]
    has = celeba.attributes(found.labels)
    assert has.tolist() == [[s > 0 for s in row] for row in signs]
    assert len(celeba.ATTRIBUTES) == has.shape[1] == 40
    assert celeba.ATTRIBUTES[15] == "Eyeglasses"
    assert celeba.ATTRIBUTES[31] == "Smiling"
    record = found.record
    assert record.checksum == sources.checksum(found.images, found.labels)
    assert (record.name, record.source) == ("CelebA", "official files (torchvision)")
    assert not record.stand_in


def test_side_and_limit(tree: Path) -> None:
    """Another size, and the first photographs only; more than there are is all."""
    found = celeba.load("train", side=16, limit=2)
    assert found.images.shape == (2, 3, 16, 16)
    assert torch.equal(found.labels, celeba.load("train").labels[:2])
    assert len(celeba.load("train", limit=100).images) == 3
    for wrong in ({"side": 0}, {"limit": 0}):
        with pytest.raises(ValueError, match="side and limit must be positive"):
            celeba.load("train", **wrong)
    with pytest.raises(ValueError, match="'train' or 'test', got 'valid'"):
        inspect.unwrap(celeba.load)("valid")  # type: ignore[arg-type]


def test_a_broken_tree_is_said_to_be_one(tree: Path) -> None:
    """In one line, without a download."""
    (tree / "list_attr_celeba.txt").unlink()
    with pytest.raises(sources.DataUnavailable, match=r"CelebA cannot be had: .*list_attr_celeba"):
        celeba.load("train")


def test_offline_nothing_is_fetched_and_nothing_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says where the files belong; online torchvision would be asked to download."""
    with pytest.raises(sources.DataUnavailable, match=r"folder celeba of .*drawn_faces"):
        celeba.load("train", stand_in=True)
    asked = []

    class Refusing:
        """Stands in for torchvision's class."""

        def __init__(self, root: Path, download: bool, **options: object):
            asked.append((root, download))
            raise RuntimeError("no such\nserver")

    monkeypatch.setattr("torchvision.datasets.CelebA", Refusing)
    monkeypatch.delenv("LITGEN_OFFLINE")
    with pytest.raises(sources.DataUnavailable, match="cannot be had: no such server"):
        celeba.load("train")
    assert asked == [(sources.cache_folder() / "data", True)]


def test_the_command_line_knows_it(
    tree: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Asked for by name; it is not among the sets that are fetched without being named."""
    caplog.set_level(logging.INFO, "litgen")  # the command line sets it; this sets it back
    assert cli.main(["data", "celeba"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["celeba", "train"], ["celeba", "test"]]
    assert "3 images 3x32x32" in lines[0]
