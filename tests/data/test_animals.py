"""Proof for litgen/data/animals.py: a package made of a few pictures, opened by the same locks."""

import gzip
import hashlib
import inspect
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from litgen import cli
from litgen.data import animals, packages, sources


class Calls:
    """Something a pickle of arrays has no business with."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """Ask for a call when opened."""
        return (print, ("opened",))


def packed(thing: object) -> bytes:
    """Return a gzipped pickle."""
    return gzip.compress(pickle.dumps(thing), mtime=0)


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, pixels: object, labels: object) -> None:
    """Put files into LITGEN_DATA and let the loader expect just these bytes."""
    place = folder / "animals"
    place.mkdir(parents=True, exist_ok=True)
    sha256 = {}
    for name, thing in ((animals.PIXELS, pixels), (animals.LABELS, labels)):
        content = packed(thing)
        (place / name).write_bytes(content)
        sha256[name] = hashlib.sha256(content).hexdigest()
    monkeypatch.setenv("LITGEN_DATA", str(folder))
    monkeypatch.setattr(animals, "ANIMALS", packages.FileSet("animals", sha256, ()))
    monkeypatch.setattr(animals, "TRAINING", 2)


@pytest.fixture
def arrays() -> tuple[np.ndarray, np.ndarray]:
    """Return four pictures of each species, in mixed order; the last horse repeats the first."""
    random = np.random.default_rng(0)
    labels = np.tile(np.arange(10), 4)
    pixels = random.integers(0, 256, (40, 28, 28), dtype=np.uint8)
    pixels[37] = pixels[7]
    return pixels, labels


def test_the_split_and_what_is_left_out(
    arrays: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The first of each species are for training; a test picture is none of them to the pixel."""
    install(monkeypatch, tmp_path, *arrays)
    pixels, labels = (torch.from_numpy(array) for array in arrays)
    sums = {}
    for split in ("train", "test"):
        found = animals.divided(pixels.unsqueeze(1), labels, split)
        sums[split] = sources.checksum(*found)
    monkeypatch.setattr(animals, "CHECKSUM", sums)
    train, test = animals.load("train"), animals.load("test")
    assert train.labels.tolist() == [n for n in range(10) for _ in range(2)]
    assert test.labels.tolist() == [n for n in range(10) for _ in range(1 if n == 7 else 2)]
    assert torch.equal(train.images[14, 0], pixels[7])
    assert torch.equal(test.images[14, 0], pixels[27])
    assert train.describe() == "20 images 1x28x28"
    assert train.record.source == "files in LITGEN_DATA"
    assert not train.record.stand_in
    zebras = animals.one_class(train, "zebra")
    assert torch.equal(zebras[:, 0], pixels[[9, 19]])
    monkeypatch.setattr(animals, "CHECKSUM", sums | {"test": "another"})
    with pytest.raises(sources.WrongBytes, match="animals test has checksum"):
        animals.load("test")


def test_files_that_are_no_arrays_are_not_opened(
    arrays: tuple[np.ndarray, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Another file under the name, a pickle that calls, arrays of another shape."""
    install(monkeypatch, tmp_path, *arrays)
    (tmp_path / "animals" / animals.PIXELS).write_bytes(packed(Calls()))
    with pytest.raises(sources.WrongBytes, match=animals.PIXELS):
        animals.load("train")
    install(monkeypatch, tmp_path, Calls(), arrays[1])
    with pytest.raises(sources.WrongBytes, match=r"asks for builtins\.print"):
        animals.load("train")
    assert "opened" not in capsys.readouterr().out
    install(monkeypatch, tmp_path, arrays[0][:, :20], arrays[1])
    with pytest.raises(
        sources.WrongBytes, match=r"animal_data.* holds torch.uint8 \(40, 20, 28\)"
    ):
        animals.load("train")


def test_without_the_package_ellipses_stand_in(capsys: pytest.CaptureFixture[str]) -> None:
    """Labelled as such, species by species; the last has stripes. Or an error, if asked for."""
    found = animals.load("test")
    assert found.record.stand_in
    assert "standing in" in found.record.name
    assert "STAND-IN" in capsys.readouterr().out
    assert torch.bincount(found.labels).tolist() == [200] * 10
    horse, zebra = (animals.one_class(found, name) for name in ("horse", "zebra"))
    assert set(horse.unique().tolist()) == {0, 255}
    assert set(zebra.unique().tolist()) == {0, 60, 255}
    with pytest.raises(sources.DataUnavailable, match="animals is not at hand"):
        animals.load("train", stand_in=False)


def test_unknown_names() -> None:
    """A split, a species, a species without pictures."""
    with pytest.raises(ValueError, match="'train' or 'test', got 'valid'"):
        inspect.unwrap(animals.load)("valid")  # type: ignore[arg-type]
    herd = animals.load("test")
    with pytest.raises(ValueError, match="unknown animal 'unicorn'"):
        animals.one_class(herd, "unicorn")
    none = animals.AnimalSet(herd.images[:0], herd.labels[:0], herd.record)
    with pytest.raises(ValueError, match="has no image of class 'horse'"):
        animals.one_class(none, "horse")


def test_the_command_line_knows_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Asked for by name it looks for the package, and says where the files may be put."""
    assert cli.main(["data", "animals"]) == 2
    said = capsys.readouterr().err
    assert "put animal_data_version_3.gz, animal_label_version_3.gz into animals/" in said
