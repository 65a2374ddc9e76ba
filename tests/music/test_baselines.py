"""Proof for litgen/music/baselines.py: counts by a loop, scores by hand, scipy's chi-squared."""

import collections
import math

import pytest
import torch

from litgen.music import baselines
from tests.music.test_gibbs import p_value
from tests.music.test_hearing import by_loop, random_tokens


def test_tables_are_smoothed_counts() -> None:
    """eq:bach-counts, cell by cell; a context never met is uniform."""
    generator = torch.Generator().manual_seed(0)
    contexts = torch.randint(0, 3, (50,), generator=generator)
    tokens = torch.randint(0, 4, (50,), generator=generator)
    pairs = collections.Counter(zip(contexts.tolist(), tokens.tolist(), strict=True))
    for smoothing in (0.1, 2.0):
        found = baselines.log_table(contexts, tokens, (4, 5), smoothing)
        assert found.shape == (4, 5)
        for c in range(4):
            total = sum(pairs[c, x] for x in range(5)) + 5 * smoothing
            for x in range(5):
                expected = math.log((pairs[c, x] + smoothing) / total)
                assert found[c, x].item() == pytest.approx(expected)
    default = baselines.log_table(contexts, tokens, (4, 5))
    torch.testing.assert_close(default, baselines.log_table(contexts, tokens, (4, 5), 0.1))


def test_a_context_is_what_sounded_and_where_in_the_beat() -> None:
    """The symbol one step before, by a loop; outside at the first step."""
    tokens = random_tokens()[2]
    metre = (torch.arange(14) + 3) % 6
    found = baselines.before(tokens, metre, 6)
    for v in range(2):
        row = tokens[v].tolist()
        told = [2 * n + (x != 0) for (n, _), x in zip(by_loop(row), row, strict=True)]
        symbols = [1, *told[:-1]]
        expected = [6 * s + m for s, m in zip(symbols, metre.tolist(), strict=True)]
        assert found[v].tolist() == expected


def test_a_chain_follows_its_table() -> None:
    """Pairs of contexts and tokens in drawn chains have the table's law, context by context."""
    generator = torch.Generator().manual_seed(0)
    metres = 3
    table = torch.randn(18, 3, generator=generator, dtype=torch.float64).log_softmax(1)
    metre = torch.arange(9) % metres
    uniform = torch.rand(4_000, 9, generator=generator, dtype=torch.float64)
    drawn = baselines.chain(table, metre, metres, uniform)
    assert drawn.shape == (4_000, 9)
    contexts = baselines.before(drawn, metre, metres)
    met = 0
    for c in range(18):
        seen = drawn[contexts == c]
        if len(seen) > 500:
            met += 1
            counts = torch.bincount(seen, minlength=3)
            assert p_value(counts, table[c].exp()) > 1e-3, c
    assert met > 10


def test_scores_by_hand() -> None:
    """eq:bach-accuracy: four places, one of them held (token 0)."""
    law = torch.tensor(
        [[0.2, 0.5, 0.3], [0.7, 0.1, 0.2], [0.1, 0.4, 0.5], [0.6, 0.2, 0.2]], dtype=torch.float64
    )
    found = baselines.scores(law.log() + 3, torch.tensor([1, 0, 1, 2]))
    assert found["token_accuracy"] == pytest.approx(2 / 4)
    assert found["note_accuracy"] == pytest.approx(1 / 3)
    expected = -(math.log(0.5) + math.log(0.7) + math.log(0.4) + math.log(0.2)) / 4
    assert found["nats"] == pytest.approx(expected)
    assert set(found) == {"token_accuracy", "note_accuracy", "nats"}


def test_numbers_that_do_not_fit_are_refused() -> None:
    """The errors count."""
    tokens = torch.tensor([0, 1])
    with pytest.raises(ValueError, match="3 contexts, 2 tokens"):
        baselines.log_table(torch.zeros(3, dtype=torch.long), tokens, (1, 2))
    for wrong in (0.0, -1.0):
        with pytest.raises(ValueError, match="smoothing must be positive"):
            baselines.log_table(tokens, tokens, (2, 2), wrong)
    with pytest.raises(ValueError, match="3 rows of logits, 2 tokens"):
        baselines.scores(torch.zeros(3, 2), tokens)
    with pytest.raises(ValueError, match="no note begins"):
        baselines.scores(torch.zeros(2, 2), torch.tensor([0, 0]))
