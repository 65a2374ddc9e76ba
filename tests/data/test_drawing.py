"""Proof for litgen/data/drawing.py: blocks put together are the whole; other bytes are refused."""

from typing import NamedTuple

import numpy as np
import pytest
import torch

from litgen.data import drawing
from litgen.data.sources import Record, WrongBytes, checksum


class Pair(NamedTuple):
    """Two parts."""

    a: np.ndarray
    b: np.ndarray


def pair(count: int) -> Pair:
    """Return rows that can be told apart."""
    return Pair(np.arange(count), 10 * np.arange(2 * count).reshape(count, 2))


@pytest.mark.parametrize("count", [0, 1, 3, 4, 7])
def test_blocks_put_together_are_the_whole(count: int) -> None:
    """Rows stay together and in order; no block is larger than asked, none is empty."""
    whole = pair(count)
    found = list(drawing.blocks(whole, 3, "pairs"))
    assert [len(part.a) for part in found] == [3] * (count // 3) + [count % 3] * (count % 3 > 0)
    assert all(isinstance(part, Pair) for part in found)
    for k in range(2):
        rows = [row for part in found for row in part[k].tolist()]
        assert rows == whole[k].tolist()


def test_parts_of_different_lengths_are_refused() -> None:
    """The error says whose parts, and how long they are."""
    bad = Pair(np.zeros(3), np.zeros((4, 2)))
    for call in (drawing.equal_lengths, lambda *a: list(drawing.blocks(a[0], 2, a[1]))):
        with pytest.raises(ValueError, match=r"parts of pairs have different lengths: \[3, 4\]"):
            call(bad, "pairs")
    assert drawing.equal_lengths(pair(5), "pairs") == 5


def test_one_number_an_image_meets_pixels() -> None:
    """Image k gets number k everywhere."""
    values = np.array([2.0, 5.0])
    assert (np.zeros((2, 3, 4)) + drawing.per_image(values))[1].tolist() == [[5.0] * 4] * 3


def test_other_bytes_are_refused_and_the_record_is_whole() -> None:
    """All tensors count, in their order; the error names title, split and both checksums."""
    first, second = torch.arange(3), torch.arange(4) + 7
    right = checksum(first, second)
    expected, counts = {"train": "0", "test": right}, {"train": 1, "test": 3}
    record = drawing.verified((first, second), "things", "litgen.x", "test", expected, counts)
    assert record == Record(
        "things", "drawn by litgen.x", "CC0-1.0", "this book", right, counts, stand_in=False
    )
    for drawn in ((second, first), (first,), (first, second + 1)):
        with pytest.raises(WrongBytes, match=f"things test has checksum .*expected {right}"):
            drawing.verified(drawn, "things", "litgen.x", "test", expected, counts)
    with pytest.raises(WrongBytes, match="things train"):
        drawing.verified((first, second), "things", "litgen.x", "train", expected, counts)
