"""Proof for litgen/evaluation/coding.py: lengths from probabilities, codes by hand, prefixes."""

import itertools
import math
from fractions import Fraction

import pytest
import torch

from litgen.evaluation import coding

TABLES = [[1, 1], [3, 1], [5, 2, 1], [1, 0, 6, 2], [7], [1, 2**20]]


def probability(symbols: tuple[int, ...], counts: list[int]) -> Fraction:
    """Return a sequence's probability, exactly."""
    return math.prod((Fraction(counts[s], sum(counts)) for s in symbols), start=Fraction(1))


def sequences(counts: list[int], length: int) -> list[tuple[int, ...]]:
    """Return all sequences of positive probability."""
    possible = [s for s, count in enumerate(counts) if count]
    return list(itertools.product(possible, repeat=length))


@pytest.mark.parametrize("counts", TABLES)
@pytest.mark.parametrize("length", [0, 1, 4])
def test_a_code_is_less_than_two_bits_longer_than_the_probability_says(
    counts: list[int], length: int
) -> None:
    """eq:why-code-length for every sequence: -log2 P + 1 <= bits < -log2 P + 2, in fractions."""
    for symbols in sequences(counts, length):
        bits, p = len(coding.encode(symbols, counts)), probability(symbols, counts)
        assert p * 2 ** (bits - 1) >= 1
        assert p * 2 ** (bits - 2) < 1


@pytest.mark.parametrize("counts", TABLES)
def test_what_was_coded_is_decoded(counts: list[int]) -> None:
    """Every sequence of four symbols, and no symbol that has no probability."""
    for symbols in sequences(counts, 4):
        assert coding.decode(coding.encode(symbols, counts), 4, counts) == list(symbols)


@pytest.mark.parametrize("counts", TABLES)
def test_no_code_begins_another(counts: list[int]) -> None:
    """So that codes can be written one after the other, and Kraft's sum is at most one."""
    codes = sorted(coding.encode(symbols, counts) for symbols in sequences(counts, 3))
    assert not any(b.startswith(a) for a, b in itertools.pairwise(codes))
    assert sum(Fraction(1, 2 ** len(code)) for code in codes) <= 1


def test_codes_by_hand() -> None:
    """[0, 1/2), [1/2, 1), [1/2, 3/4) of the unit interval; the empty sequence is all of it."""
    assert coding.encode([0], [1, 1]) == "00"
    assert coding.encode([1], [1, 1]) == "10"
    assert coding.encode([1, 0], [1, 1]) == "100"
    assert coding.encode([1], [1, 3]) == "01"  # [1/4, 1) holds [1/4, 1/2)
    assert coding.encode([], [1, 1]) == "0"


def test_long_sequences_approach_the_entropy() -> None:
    """3,000 draws: bits per symbol near the entropy, and never below the sequence's own."""
    p = torch.tensor([0.7, 0.2, 0.05, 0.05], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    symbols = torch.multinomial(p, 3_000, replacement=True, generator=generator).tolist()
    counts = coding.whole_numbers(p)
    code = coding.encode(symbols, counts)
    entropy = -(p * p.log2()).sum().item()
    assert len(code) / 3_000 == pytest.approx(entropy, rel=0.05)
    own = -sum(math.log2(counts[s] / sum(counts)) for s in symbols)
    assert own < len(code) < own + 2
    assert coding.decode(code, 3_000, counts) == symbols


def test_a_wrong_table_costs_the_divergence() -> None:
    """The excess per symbol over the right table is KL(p || q) in bits, but for chance."""
    p, q = torch.tensor([0.5, 0.25, 0.25]), torch.tensor([0.2, 0.2, 0.6])
    symbols = [0] * 500 + [1] * 250 + [2] * 250
    right, wrong = (len(coding.encode(symbols, coding.whole_numbers(t))) for t in (p, q))
    assert (wrong - right) / 1000 == pytest.approx((p * (p / q).log2()).sum().item(), abs=0.003)


def test_whole_numbers_keep_proportions_and_leave_no_zero() -> None:
    """A sum of about the total; unnormalised input is normalised."""
    counts = coding.whole_numbers(torch.tensor([6.0, 2.0, 0.0]), total=1_000)
    assert counts == [751, 251, 1]
    for bad in ([0.5, -0.1], [0.0, 0.0], [math.inf, 1.0], [math.nan, 1.0]):
        with pytest.raises(ValueError, match="probabilities must be positive"):
            coding.whole_numbers(torch.tensor(bad))


def test_what_cannot_be_coded_is_refused() -> None:
    """A symbol outside the table, one of no probability, a code that is none."""
    for symbols in ([2], [-1], [0, 1]):
        with pytest.raises(ValueError, match="has no probability in a table of 2"):
            coding.encode(symbols, [1, 0])
    for code in ("1000000", "1111111"):  # right of the one interval that four symbols 0 can have
        assert coding.decode(code, 4, [1, 1]) != [0, 0, 0, 0]
    for code in ("", "012"):
        with pytest.raises(ValueError, match="a code is made of 0 and 1"):
            coding.decode(code, 1, [1, 1])
