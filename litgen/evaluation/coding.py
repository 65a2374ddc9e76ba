"""Arithmetic coding: turn a sequence into about as many bits as its probability says, and back.

Chapter: book/start/why_generative.md.  Proof: tests/evaluation/test_coding.py.
Reference: Cover & Thomas, "Elements of Information Theory" (2006), chapters 5 and 13.

Probabilities are whole numbers (``counts``) over their sum, so that coder and decoder compute
exactly the same intervals; Python's integers are as long as they have to be.
"""

import bisect
import itertools
from collections.abc import Sequence

from torch import Tensor

from litgen.shapes import Float

__all__ = ["decode", "encode", "whole_numbers"]


def encode(symbols: Sequence[int], counts: Sequence[int]) -> str:
    """Return the code of a sequence as a string of 0 and 1. Implements eq:why-code-length.

    Each symbol narrows an interval of [0, 1) to the part that its probability buys; the code is
    the shortest binary fraction of which every continuation stays inside the last interval.

    Args:
        symbols: indices into ``counts``.
        counts: each symbol's probability times their sum.

    Raises:
        ValueError: a symbol of probability zero, or one that is not in the table.
    """
    starts, total = _starts(counts)
    low, width, whole = 0, 1, 1  # the interval [low, low + width) / whole
    for symbol in symbols:
        if not 0 <= symbol < len(counts) or counts[symbol] == 0:
            raise ValueError(f"symbol {symbol} has no probability in a table of {len(counts)}")
        low = low * total + width * starts[symbol]
        width *= counts[symbol]
        whole *= total
    length = (-(-whole // width) - 1).bit_length() + 1  # of -log2(width / whole), rounded up
    first = -(-(low << length) // whole)
    return format(first, f"0{length}b")


def decode(code: str, length: int, counts: Sequence[int]) -> list[int]:
    """Return the sequence of ``length`` symbols that `encode` turned into ``code``.

    Raises:
        ValueError: the code is not one of 0 and 1, or no code of such a sequence.
    """
    if not code or set(code) - set("01"):
        raise ValueError("a code is made of 0 and 1")
    starts, total = _starts(counts)
    ends = [start + count for start, count in zip(starts, counts, strict=True)]
    value, shift = int(code, 2), len(code)
    low, width, whole = 0, 1, 1
    symbols = []
    for _ in range(length):
        whole *= total
        place = ((value * whole >> shift) - low * total) // width
        if not 0 <= place < total:
            raise ValueError(f"the code is none of {length} symbols of this table")
        symbol = bisect.bisect_right(ends, place)
        low = low * total + width * starts[symbol]
        width *= counts[symbol]
        symbols.append(symbol)
    return symbols


def whole_numbers(probabilities: Float[Tensor, " symbols"], total: int = 2**24) -> list[int]:
    """Return probabilities as whole numbers of about this sum, none of them zero.

    Raises:
        ValueError: a negative probability, or a sum that is not positive and finite.
    """
    mass = probabilities.double().sum()
    if not (mass.isfinite() and mass > 0 and (probabilities >= 0).all()):
        raise ValueError(f"probabilities must be positive, their sum is {mass.item()}")
    return [int(p) + 1 for p in (probabilities.double() / mass * total).tolist()]


def _starts(counts: Sequence[int]) -> tuple[list[int], int]:
    """Return where each symbol's part of the interval begins, and the whole's length."""
    ends = list(itertools.accumulate(counts))
    return [0, *ends[:-1]], ends[-1]
