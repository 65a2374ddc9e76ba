"""Proof for litgen/words/chain.py: powers of the matrix, enumerated texts, and long samples."""

import itertools
import math

import pytest
import torch

from litgen.words import skipgram
from litgen.words.chain import Chain

ROWS = [[0.1, 0.6, 0.3], [0.5, 0.2, 0.3], [0.05, 0.15, 0.8]]
CHAIN = Chain(torch.tensor(ROWS, dtype=torch.float64))


def test_stationary_is_where_many_steps_lead() -> None:
    """eq:sgns-stationary: every row of a high power of the matrix."""
    far = torch.linalg.matrix_power(CHAIN.transition, 200)
    for row in far:
        torch.testing.assert_close(CHAIN.stationary(), row)
    assert far[0].std() > 0.1


def test_pairs_are_enumerated() -> None:
    """eq:sgns-chain-pairs: all texts of seven words, their middle as centre, all three reaches."""
    pi = CHAIN.stationary().tolist()
    expected = torch.zeros(3, 3, dtype=torch.float64)
    for text in itertools.product(range(3), repeat=7):
        chance = pi[text[0]] * math.prod(ROWS[a][b] for a, b in itertools.pairwise(text))
        for reach in (1, 2, 3):
            for offset in [*range(-reach, 0), *range(1, reach + 1)]:
                expected[text[3], text[3 + offset]] += chance
    found = CHAIN.pairs(window=3)
    torch.testing.assert_close(found, expected / expected.sum())
    assert (found - CHAIN.pairs(window=1)).abs().max() > 0.01
    with pytest.raises(ValueError, match="the window is 0"):
        CHAIN.pairs(0)


def test_a_long_text_has_these_pairs(generator: torch.Generator) -> None:
    """eq:sgns-window counted in a sample against eq:sgns-chain-pairs: the two agree."""
    corpus = CHAIN.sample(20, 20_000, generator)
    assert corpus.tokens.shape == corpus.documents.shape == (400_000,)
    assert corpus.documents[[0, 19_999, 20_000, -1]].tolist() == [0, 0, 1, 19]
    counted = skipgram.count_pairs(corpus.tokens, 3, window=2)
    torch.testing.assert_close(counted / counted.sum(), CHAIN.pairs(2), rtol=0, atol=2e-3)
    first = corpus.tokens.view(20, -1)[:, 0]
    assert len(set(first.tolist())) == 3  # documents do not all begin alike


def test_documents_begin_in_the_stationary_distribution(generator: torch.Generator) -> None:
    """Not with the words in equal shares."""
    first = CHAIN.sample(50_000, 1, generator).tokens
    share = torch.bincount(first, minlength=3) / 50_000
    torch.testing.assert_close(share.double(), CHAIN.stationary(), rtol=0, atol=0.01)


@pytest.mark.parametrize("row", [[0.5, 0.4, 0.0], [-0.1, 0.6, 0.5]])
def test_rows_are_distributions(row: list[float]) -> None:
    """Anything else is an error."""
    with pytest.raises(ValueError, match="every row of the transition matrix"):
        Chain(torch.tensor([row, *ROWS[1:]]))
