"""Fashion-MNIST: 70,000 pictures of clothes and shoes, in MNIST's sizes and file format.

Proof: tests/data/test_fashion_mnist.py.
Reference: Xiao, Rasul & Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
Learning Algorithms" (2017).
"""

from functools import partial
from pathlib import Path

from litgen.data import digits, sources

__all__ = ["CHECKSUM", "CLASSES", "load"]

CHECKSUM: dict[str, str] = {
    "train": "53c0414da46fa33e3fdaa2e03a5b912e15d673d2e025b6faee9f42a207c453e6",
    "test": "ca4b2543cf3ca38171bd71fd3b0cc6697db496698f92e96db83b8c030f837ff7",
}
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
COUNTS = {"train": 60_000, "test": 10_000}
LICENCE = "MIT"
CITATION = (
    "Xiao, Rasul & Vollgraf (2017), Fashion-MNIST: a Novel Image Dataset for Benchmarking "
    "Machine Learning Algorithms, arXiv:1708.07747"
)
PACKAGE = "dataset-fashion-mnist"
INSTALLED = Path("/usr/share/datasets/fashion-mnist")


def load(split: sources.Split = "train", stand_in: bool = True) -> sources.ImageSet:
    """Return Fashion-MNIST's images as (count, 1, 28, 28) bytes, with labels and provenance.

    Args:
        split: "train" (60,000 images) or "test" (10,000).
        stand_in: where the set cannot be had, return enlarged 8x8 digits, labelled as a stand-in.

    Raises:
        WrongBytes: a file in LITGEN_DATA is not what its name says.
        DataUnavailable: nothing has the data, and no stand-in is wanted or at hand.
    """
    sources.check_split(split)
    try:
        return sources.load_idx(FASHION_MNIST, split)
    except sources.DataUnavailable as reason:
        if not stand_in:
            raise
        return digits.standing_in("Fashion-MNIST", split, reason)


def _from_apt(folder: Path) -> Path:
    """Unpack the Debian package, which keeps the four packed files where `INSTALLED` says."""
    unpacked = sources.apt_unpack(PACKAGE, folder)
    return unpacked / INSTALLED.relative_to(INSTALLED.anchor)


FASHION_MNIST = sources.IdxSet(
    name="Fashion-MNIST",
    licence=LICENCE,
    citation=CITATION,
    counts=COUNTS,
    checksum=CHECKSUM,
    sources=(
        sources.Source(
            "official files (torchvision)", partial(sources.torchvision_files, "FashionMNIST")
        ),
        sources.Source(f"Debian package {PACKAGE}", _from_apt),
    ),
    installed=INSTALLED,
)
