"""Proof for litgen/data/faces.py: a small file in the real layout, and the real faces at hand."""

import hashlib
import inspect
import io
from pathlib import Path

import numpy as np
import pytest
import torch

from litgen.data import faces, packages, sources

VALUES = np.random.default_rng(0).integers(0, 511, (200, 25, 25)) / 510  # half of them halves


def npy(values: np.ndarray) -> bytes:
    """Return an array in numpy's file format."""
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put noise in the layout of the real file into LITGEN_DATA, and expect its checksums."""
    folder = tmp_path / "mine" / "faces"
    folder.mkdir(parents=True)
    content = npy(VALUES)
    (folder / faces.FILE).write_bytes(content)
    monkeypatch.setenv("LITGEN_DATA", str(folder.parent))
    sha256 = {faces.FILE: hashlib.sha256(content).hexdigest()}
    monkeypatch.setattr(faces, "FACES", packages.FileSet("faces", sha256, ()))
    for split in ("train", "test"):
        images = expected(split)
        labels = torch.zeros(len(images), dtype=torch.int64)
        monkeypatch.setitem(faces.CHECKSUM, split, sources.checksum(images, labels))
    return folder


def expected(split: str) -> torch.Tensor:
    """Return the images one by one: the first hundred, each fifth for testing, in 256 greys."""
    chosen = [i for i in range(100) if (i % 5 == 4) == (split == "test")]
    rows = [[[round(255 * float(v)) for v in row] for row in VALUES[i]] for i in chosen]
    return torch.tensor(rows, dtype=torch.uint8)[:, None]


@pytest.mark.parametrize(("split", "count"), [("train", 80), ("test", 20)])
def test_faces_are_the_first_hundred_in_256_greys(
    mine: Path, split: sources.Split, count: int
) -> None:
    """Places without a face are left out; every fifth face is a test face."""
    found = faces.load(split)
    assert found.images.shape == (count, 1, 25, 25)
    assert found.images.dtype == torch.uint8
    assert torch.equal(found.images, expected(split))
    assert torch.equal(found.labels, torch.zeros(count, dtype=torch.int64))
    record = found.record
    assert record.source == "files in LITGEN_DATA"
    assert record.checksum == faces.CHECKSUM[split]
    assert record.counts == {"train": 80, "test": 20}
    assert (record.name, record.stand_in) == ("LFW faces", False)
    assert "Labeled Faces in the Wild" in record.citation


def test_other_faces_are_refused(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the file's sha256 first, then by that of what was read from it."""
    monkeypatch.setitem(faces.CHECKSUM, "train", "0" * 64)
    with pytest.raises(sources.WrongBytes, match="faces train has checksum"):
        faces.load("train")
    faces.load("test")
    (mine / faces.FILE).write_bytes(npy(VALUES + 1))
    with pytest.raises(sources.WrongBytes, match=f"{faces.FILE} has sha256"):
        faces.load("test")


def test_a_pickle_is_not_opened(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A numpy file may hold a program; even one of the right sha256 is not run."""
    content = npy(np.array([{"a": 1}], dtype=object))
    (mine / faces.FILE).write_bytes(content)
    sha256 = {faces.FILE: hashlib.sha256(content).hexdigest()}
    monkeypatch.setattr(faces, "FACES", packages.FileSet("faces", sha256, ()))
    with pytest.raises(ValueError, match="allow_pickle"):
        faces.load("train")


def test_nothing_stands_in_for_faces() -> None:
    """Offline and with an empty cache the error says what would help; splits are checked."""
    with pytest.raises(sources.DataUnavailable, match=r"lfw_subset.npy into faces/"):
        faces.load("train", stand_in=True)
    with pytest.raises(ValueError, match="'train' or 'test', got 'validation'"):
        inspect.unwrap(faces.load)("validation")  # type: ignore[arg-type]


def test_the_installed_package_comes_before_the_download() -> None:
    """And the download is one pinned wheel."""
    assert [(o.name, o.local) for o in faces.FACES.origins] == [
        ("installed package skimage", True),
        ("PyPI package scikit-image 0.26.0", False),
    ]
    assert set(faces.FACES.sha256) == {"lfw_subset.npy"}


@pytest.mark.usefixtures("real_data")
@pytest.mark.parametrize(("split", "count"), [("train", 80), ("test", 20)])
def test_the_real_faces(split: sources.Split, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skipped where they are not at hand. Faces are alike from left to right, noise is not."""
    monkeypatch.setenv("LITGEN_OFFLINE", "1")
    try:
        found = faces.load(split)
    except sources.DataUnavailable as reason:
        pytest.skip(str(reason))
    assert found.images.shape == (count, 1, 25, 25)
    assert found.record.checksum == faces.CHECKSUM[split]
    mean = found.images.double().mean(dim=(0, 1))
    mirrored = torch.corrcoef(torch.stack([mean.flatten(), mean.flip(1).flatten()]))[0, 1]
    assert mirrored > 0.5
    assert found.images.double().std() > 30
