"""What drawn data sets share: blocks that stay in the processor's cache, and the known checksum.

Proof: tests/data/test_drawing.py.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
from torch import Tensor

from litgen.data.sources import Record, Split, WrongBytes, checksum

__all__ = ["blocks", "equal_lengths", "per_image", "verified"]

Parts = TypeVar("Parts", bound=tuple[np.ndarray, ...])  # a NamedTuple of arrays


def equal_lengths(parts: Sequence[np.ndarray], whose: str) -> int:
    """Return how many rows all parts have.

    Raises:
        ValueError: parts that differ in length; ``whose`` they are is said.
    """
    lengths = {len(part) for part in parts}
    if len(lengths) != 1:
        raise ValueError(f"the parts of {whose} have different lengths: {sorted(lengths)}")
    return lengths.pop()


def blocks(parts: Parts, size: int, whose: str) -> Iterator[Parts]:
    """Yield the rows of all parts, ``size`` at a time; the last may be fewer.

    Raises:
        ValueError: parts that differ in length.
    """
    for start in range(0, equal_lengths(parts, whose), size):
        yield type(parts)(*(part[start : start + size] for part in parts))


def per_image(values: np.ndarray) -> np.ndarray:
    """Give one number an image the axes of an image: (count,) to (count, 1, 1)."""
    return values[:, None, None]


def verified(
    drawn: Sequence[Tensor],
    title: str,
    module: str,
    split: Split,
    expected: Mapping[str, str],
    counts: Mapping[str, int],
) -> Record:
    """Return the record of what a module of litgen.data has drawn.

    Args:
        drawn: what the checksum is of, in this order.
        title: what it is, for record and error.
        module: the name of the module that drew it.
        split: which part of the data.
        expected: the checksum of each split.
        counts: how many examples each split has.

    Raises:
        WrongBytes: this machine draws something else than all others.
    """
    found = checksum(*drawn)
    if found != expected[split]:
        raise WrongBytes(f"{title} {split} has checksum {found}, expected {expected[split]}")
    about = title, f"drawn by {module}", "CC0-1.0", "this book"
    return Record(*about, found, dict(counts), stand_in=False)
