"""Scikit-learn's 1,797 handwritten digits of 8x8 pixels, embedded in its wheel.

Proof: tests/data/test_digits.py.
Reference: Alpaydin & Kaynak, "Optical Recognition of Handwritten Digits", UCI repository (1998).

They are a data set of their own (``load``), and the last resort of larger ones (``standing_in``).
"""

import importlib

import numpy as np
import torch
from torch import Tensor

from litgen.data.sources import (
    DataUnavailable,
    ImageSet,
    Record,
    Split,
    WrongBytes,
    check_split,
    checksum,
    one_line,
)
from litgen.shapes import Int, UInt8

__all__ = ["CHECKSUM", "load", "standing_in"]

CHECKSUM: dict[str, str] = {
    "train": "f018700008b1cc264cf78dbb9fd5b3cd7acef4824d29395aabf05b02cc64cd3c",
    "test": "0e3c100c1e2ad69e56fdbfdaa987ee6f8332eec591dc2a632949b6e936fec27a",
}
COUNTS = {"train": 1438, "test": 359}
SOURCE = "scikit-learn's wheel"
LICENCE = "CC BY 4.0 (UCI repository); scikit-learn's copy: BSD-3-Clause"
CITATION = (
    "Alpaydin & Kaynak (1998), Optical Recognition of Handwritten Digits, "
    "UCI Machine Learning Repository, doi:10.24432/C50P49"
)


def load(split: Split = "train", stand_in: bool = True) -> ImageSet:
    """Return the digits as (count, 1, 8, 8); every fifth one is in the test split.

    Args:
        split: "train" (1,438 digits) or "test" (359).
        stand_in: accepted so that all loaders are called alike; these digits are never replaced.

    Raises:
        DataUnavailable: scikit-learn is not installed.
    """
    check_split(split)
    intensities, labels = _of_split(split)
    images = _to_bytes(255 * intensities, 16)
    found = checksum(images, labels)
    if found != CHECKSUM[split]:
        raise WrongBytes(f"digits {split} has checksum {found}, expected {CHECKSUM[split]}")
    record = Record("8x8 digits", SOURCE, LICENCE, CITATION, found, COUNTS, stand_in=False)
    return ImageSet(images, labels, record)


def standing_in(name: str, split: Split, reason: DataUnavailable) -> ImageSet:
    """Return the digits enlarged to 28x28 in place of the set ``name``, and say so on stdout.

    Standard output on purpose: a chapter's build takes anything on stderr for an error.

    Args:
        name: the set that was asked for.
        split: "train" or "test".
        reason: why that set is not at hand.
    """
    try:
        intensities, labels = _of_split(split)
    except DataUnavailable as missing:
        raise DataUnavailable(f"{reason}; nothing can stand in: {missing}") from None
    enlarge = _enlarging_matrix()
    images = _to_bytes(255 * (enlarge @ intensities @ enlarge.T), 16 * 14 * 14)
    print(f"STAND-IN: enlarged 8x8 digits in place of {name}, because {reason}")
    title, source = f"8x8 digits standing in for {name}", f"{SOURCE}, enlarged to 28x28"
    found = checksum(images, labels)
    return ImageSet(
        images, labels, Record(title, source, LICENCE, CITATION, found, COUNTS, stand_in=True)
    )


def _of_split(split: Split) -> tuple[Int[np.ndarray, "count 8 8"], Int[Tensor, " count"]]:
    """Return intensities in 0..16 and labels."""
    try:
        digits = importlib.import_module("sklearn.datasets").load_digits()
    except ImportError as error:
        raise DataUnavailable(
            f"scikit-learn, which brings the 8x8 digits, cannot be imported ({one_line(error)}): "
            "install litgen[data]"
        ) from None
    is_test = np.arange(len(digits.target)) % 5 == 4
    chosen = is_test if split == "test" else ~is_test
    labels = torch.from_numpy(digits.target[chosen].astype(np.int64))
    return digits.images[chosen].astype(np.int64), labels


def _to_bytes(
    numerator: Int[np.ndarray, "count height width"], denominator: int
) -> UInt8[Tensor, "count 1 height width"]:
    """Divide, rounding half up, in integers: the same bytes on every machine."""
    rounded = (2 * numerator + denominator) // (2 * denominator)
    return torch.from_numpy(rounded.astype(np.uint8)[:, None])


def _enlarging_matrix() -> Int[np.ndarray, "28 8"]:
    """Return linear interpolation from 8 to 28 pixels, in fourteenths: each row sums to 14.

    Pixel i's centre lies at (i + 1/2) 8/28 - 1/2 = (4 i - 5) / 14 on the small grid.
    """
    place = np.clip(4 * np.arange(28) - 5, 0, 14 * 7)
    weights: Int[np.ndarray, "28 8"] = 14 - np.abs(place[:, None] - 14 * np.arange(8))
    return weights.clip(min=0)
