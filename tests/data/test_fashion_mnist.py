"""Proof for litgen/data/fashion_mnist.py: a fake Debian package, and the real set at hand."""

import dataclasses
import gzip
import hashlib
import inspect
import os
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from litgen.data import fashion_mnist, sources

NAMES = [file.name for pair in sources.IDX_FILES["Fashion-MNIST"].values() for file in pair]
POSIX = pytest.mark.skipif(os.name != "posix", reason="needs a shebang")

GENERATOR = np.random.default_rng(0)
IMAGES = {s: GENERATOR.integers(0, 256, (n, 28, 28)) for s, n in (("train", 6), ("test", 4))}
LABELS = {s: GENERATOR.integers(0, 10, (n,)) for s, n in (("train", 6), ("test", 4))}


def md5(content: bytes) -> str:
    """Return the md5 as the tables keep it."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user with an empty cache and no torchvision, and a tiny set packed in `user`/packed."""
    monkeypatch.delenv("LITGEN_DATA", raising=False)
    monkeypatch.delenv("LITGEN_OFFLINE", raising=False)
    monkeypatch.setenv("LITGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    (tmp_path / "packed").mkdir()
    files = []
    for split in ("train", "test"):
        images, labels = IMAGES[split], LABELS[split]
        plain = (
            struct.pack(">4I", 2051, len(images), 28, 28) + bytes(images.flatten().tolist()),
            struct.pack(">2I", 2049, len(labels)) + bytes(labels.tolist()),
        )
        for content in plain:
            name, packed = NAMES[len(files)], gzip.compress(content)
            files.append(sources.IdxFile(name, md5(content), ("0" * 32, md5(packed))))
            (tmp_path / "packed" / f"{name}.gz").write_bytes(packed)
        tensors = torch.tensor(images, dtype=torch.uint8)[:, None], torch.tensor(labels)
        monkeypatch.setitem(fashion_mnist.CHECKSUM, split, sources.checksum(*tensors))
    table = {"train": (files[0], files[1]), "test": (files[2], files[3])}
    monkeypatch.setitem(sources.IDX_FILES, "Fashion-MNIST", table)
    return tmp_path


def put_on_path(user: Path, monkeypatch: pytest.MonkeyPatch, **scripts: str) -> None:
    """Make these shell scripts the first programs on PATH; each notes how it was called."""
    (user / "bin").mkdir()
    for name, script in scripts.items():
        program = user / "bin" / name.replace("_", "-")
        program.write_text(f'#!/bin/sh\necho "$0 $@" >> "{user}/calls"\n{script}\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{user / 'bin'}{os.pathsep}/bin{os.pathsep}/usr/bin")


def assert_tiny(image_set: sources.ImageSet, split: str) -> None:
    """Compare with the arrays that the tiny files were written from."""
    expected = torch.tensor(IMAGES[split], dtype=torch.uint8)[:, None]
    torch.testing.assert_close(image_set.images, expected, rtol=0, atol=0)
    torch.testing.assert_close(image_set.labels, torch.tensor(LABELS[split]), rtol=0, atol=0)


@POSIX
def test_the_debian_package_is_downloaded_and_unpacked(
    user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """apt-get leaves an archive; dpkg-deb -x ARCHIVE FOLDER unpacks it without installing."""
    put_on_path(
        user,
        monkeypatch,
        apt_get="touch dataset-fashion-mnist_1_all.deb",
        dpkg_deb=f'test -f "$2" && mkdir -p "$3/usr/share/datasets" && '
        f'cp -r "{user}/packed" "$3/usr/share/datasets/fashion-mnist"',
    )
    for split in ("train", "test"):
        image_set = fashion_mnist.load(split)
        assert_tiny(image_set, split)
        assert image_set.record.source == "Debian package dataset-fashion-mnist"
        assert image_set.record.name == "Fashion-MNIST"
        assert not image_set.record.stand_in
    calls = (user / "calls").read_text().splitlines()
    assert len(calls) == 2
    assert calls[0].endswith("apt-get download dataset-fashion-mnist")
    assert "dpkg-deb -x" in calls[1]


@POSIX
def test_apt_without_its_lists_gets_the_hint(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """litgen does not run `apt-get update` for the user, so it says that it may be needed."""
    failure = "echo 'E: Unable to locate package' >&2; exit 100"
    put_on_path(user, monkeypatch, apt_get=failure, dpkg_deb="exit 1")
    with pytest.raises(sources.DataUnavailable, match=r"Unable to locate.*apt-get update"):
        fashion_mnist.load(stand_in=False)


@POSIX
def test_an_installed_package_needs_no_command(
    user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is read where it lies, offline too."""
    where = Path("/usr/share/datasets/fashion-mnist")
    assert fashion_mnist.FASHION_MNIST.installed == where
    put_on_path(user, monkeypatch, apt_get="exit 1", dpkg_deb="exit 1")
    monkeypatch.setenv("LITGEN_OFFLINE", "1")
    here = dataclasses.replace(fashion_mnist.FASHION_MNIST, installed=user / "packed")
    monkeypatch.setattr(fashion_mnist, "FASHION_MNIST", here)
    assert_tiny(fashion_mnist.load("test", stand_in=False), "test")
    assert not (user / "calls").exists()
    assert not (user / "cache").exists()
    damaged = user / "packed" / f"{NAMES[3]}.gz"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(sources.DataUnavailable, match=f"installed package: .*{NAMES[3]}"):
        fashion_mnist.load("test", stand_in=False)


def test_the_stand_in_says_that_digits_are_no_clothes(
    user: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The record and the printed line both name what was asked for and what was given."""
    pytest.importorskip("sklearn")
    monkeypatch.setenv("LITGEN_OFFLINE", "1")
    record = fashion_mnist.load("train").record
    assert record.stand_in
    assert record.name == "8x8 digits standing in for Fashion-MNIST"
    assert "Fashion-MNIST" in capfd.readouterr().out


def test_unknown_split_names_the_choices() -> None:
    """Without the tests' own type checks, as a user meets it."""
    with pytest.raises(ValueError, match="'train' or 'test', got 'validation'"):
        inspect.unwrap(fashion_mnist.load)("validation")  # type: ignore[arg-type]


@pytest.mark.usefixtures("real_data")
@pytest.mark.parametrize("split", ["train", "test"])
def test_the_real_set(split: sources.Split, monkeypatch: pytest.MonkeyPatch) -> None:
    """The paper's counts, and the mean and deviation by which everyone normalises the set."""
    monkeypatch.setenv("LITGEN_OFFLINE", "1")
    try:
        image_set = fashion_mnist.load(split, stand_in=False)
    except sources.DataUnavailable as reason:
        pytest.skip(str(reason))
    images, labels, record = image_set.images, image_set.labels, image_set.record
    count = {"train": 60_000, "test": 10_000}
    assert images.shape == (count[split], 1, 28, 28)
    assert images.dtype == torch.uint8
    assert labels.bincount().tolist() == 10 * [count[split] // 10]
    assert record.checksum == fashion_mnist.CHECKSUM[split] == sources.checksum(images, labels)
    assert record.counts == count
    assert record.stand_in is False
    first = {"train": [9, 0, 0, 3, 0], "test": [9, 2, 1, 1, 6]}
    assert labels[:5].tolist() == first[split]
    assert fashion_mnist.CLASSES[int(labels[0])] == "Ankle boot"
    if split == "train":
        assert round(float(images.float().mean()) / 255, 4) == 0.2860
        assert round(float(images.float().std()) / 255, 4) == 0.3530
