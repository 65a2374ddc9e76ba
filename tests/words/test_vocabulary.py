"""Proof for litgen/words/vocabulary.py: hand-counted texts, chi-squared, gensim's own tables."""

import math
from collections import Counter

import pytest
import torch
from gensim.models import Word2Vec
from scipy import stats

from litgen.words import vocabulary
from litgen.words.vocabulary import Vocabulary

TEXT = [
    ["the", "cat", "saw", "the", "dog"],
    [],
    ["a", "dog", "saw", "the", "rare", "cat"],
    ["unseen"],
]
COUNTS = torch.tensor([4000, 900, 900, 250, 60, 13, 6])


# words -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The cat; the DOG.", ["the", "cat", "the", "dog"]),
        ("don't 'quote' the dogs' bone", ["don't", "quote", "the", "dogs", "bone"]),
        (
            "America\N{RIGHT SINGLE QUOTATION MARK}s 2,000 co-workers",
            ["america's", "co", "workers"],
        ),
        ("1789 -- !", []),
        ("", []),
    ],
)
def test_words_are_letters(text: str, words: list[str]) -> None:
    """Small letters; digits and signs separate; an apostrophe inside a word stays."""
    assert vocabulary.tokenize(text) == words


def test_frequent_words_come_first() -> None:
    """Sorted by count, then by the alphabet; rare ones are gone."""
    found = vocabulary.build(TEXT, min_count=2)
    assert found.words == ("the", "cat", "dog", "saw")
    assert found.counts.tolist() == [3, 2, 2, 2]
    assert [found.place(word) for word in found.words] == [0, 1, 2, 3]
    assert len(found) == 4
    assert len(vocabulary.build(TEXT, min_count=1)) == 7


def test_a_text_becomes_numbers() -> None:
    """Unknown words close ranks; every number knows its document, also after an empty one."""
    found = vocabulary.encode(TEXT, vocabulary.build(TEXT, min_count=2))
    assert found.tokens.tolist() == [0, 1, 3, 0, 2, 2, 3, 0, 1]
    assert found.documents.tolist() == [0] * 5 + [2] * 4
    assert found.tokens.dtype == found.documents.dtype == torch.int64


def test_a_text_of_unknown_words_is_empty() -> None:
    """No tokens, whole numbers nevertheless."""
    found = vocabulary.encode([["x"], []], vocabulary.build(TEXT, min_count=2))
    assert found.tokens.shape == found.documents.shape == (0,)
    assert found.tokens.dtype == torch.int64
    assert vocabulary.encode([], vocabulary.build(TEXT, min_count=2)).tokens.shape == (0,)


@pytest.mark.parametrize("documents", [[], [[]], [["a", "b"]]])
def test_a_corpus_without_frequent_words_is_an_error(documents: list[list[str]]) -> None:
    """An empty corpus too; the message says how many words there were."""
    different = len({word for d in documents for word in d})
    with pytest.raises(ValueError, match=f"none of {different} different words occurs 5 times"):
        vocabulary.build(documents)


def test_a_word_out_of_vocabulary_is_an_error() -> None:
    """The message names it."""
    with pytest.raises(ValueError, match="'zebra' is not among the 4 words"):
        vocabulary.build(TEXT, min_count=2).place("zebra")


def test_a_vocabulary_is_one_count_a_word() -> None:
    """Neither too few nor twice."""
    with pytest.raises(ValueError, match="2 words, but 3 counts"):
        Vocabulary(("a", "b"), torch.tensor([1, 2, 3]))
    with pytest.raises(ValueError, match="a word occurs twice"):
        Vocabulary(("a", "a"), torch.tensor([2, 1]))


# noise -------------------------------------------------------------------------------------------


def test_noise_is_the_count_to_the_three_quarters() -> None:
    """eq:sgns-noise word by word, and the powers 1 and 0."""
    raised = [math.exp(0.75 * math.log(n)) for n in COUNTS.tolist()]
    expected = torch.tensor([r / math.fsum(raised) for r in raised], dtype=torch.float64)
    torch.testing.assert_close(vocabulary.noise_distribution(COUNTS), expected)
    own = vocabulary.noise_distribution(COUNTS, power=1.0)
    torch.testing.assert_close(own, COUNTS / COUNTS.sum().double())
    torch.testing.assert_close(
        vocabulary.noise_distribution(COUNTS, power=0.0), torch.full((7,), 1 / 7).double()
    )


def test_drawn_words_follow_the_noise(generator: torch.Generator) -> None:
    """eq:sgns-noise: a chi-squared test of 200,000 draws, which the plain counts fail."""
    noise = vocabulary.noise_distribution(COUNTS)
    drawn = vocabulary.draw(noise, 200_000, generator)
    seen = torch.bincount(drawn, minlength=7).double().numpy()
    assert stats.chisquare(seen, 200_000 * noise.numpy()).pvalue > 1e-3
    wrong = vocabulary.noise_distribution(COUNTS, power=0.72).numpy()
    assert stats.chisquare(seen, 200_000 * wrong).pvalue < 1e-6


def test_a_word_that_is_never_noise_is_never_drawn(generator: torch.Generator) -> None:
    """At either end and in the middle of the cumulative distribution."""
    drawn = vocabulary.draw(torch.tensor([0.0, 0.5, 0.0, 0.5, 0.0]), 5_000, generator)
    assert set(drawn.tolist()) == {1, 3}


def test_a_draw_on_a_step_of_the_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uniform numbers may be 0 and may hit a step exactly: never a word without probability."""
    exact = torch.tensor([0.0, 0.5, 0.25])
    monkeypatch.setattr(torch, "rand", lambda *_, **__: exact)
    drawn = vocabulary.draw(torch.tensor([0.0, 0.5, 0.0, 0.5, 0.0]), 3, torch.Generator())
    assert drawn.tolist() == [1, 3, 1]


# subsampling -------------------------------------------------------------------------------------


def test_the_papers_subsampling() -> None:
    """eq:sgns-subsampling: discarded with probability 1 - sqrt(t / f), never below 0."""
    keep = vocabulary.keep_probability(COUNTS, threshold=0.01)
    total = sum(COUNTS.tolist())
    for n, probability in zip(COUNTS.tolist(), keep.tolist(), strict=True):
        discarded = max(0.0, 1 - math.sqrt(0.01 / (n / total)))
        assert probability == pytest.approx(1 - discarded, rel=1e-12)
    assert 0 < keep.min() < keep.median() < keep.max() == 1


def test_the_released_subsampling() -> None:
    """eq:sgns-subsampling-released as word2vec.c writes it, (sqrt(f/t) + 1) t/f."""
    keep = vocabulary.keep_probability_as_released(COUNTS, threshold=0.01)
    share = 0.01 * sum(COUNTS.tolist())
    for n, probability in zip(COUNTS.tolist(), keep.tolist(), strict=True):
        assert probability == pytest.approx(
            min(1.0, (math.sqrt(n / share) + 1) * share / n), rel=1e-12
        )
    assert 0 < keep.min() < keep.median() < keep.max() == 1


def test_gensim_keeps_and_draws_alike() -> None:
    """Its tables, read off a real model, hold the same probabilities."""
    words = [f"w{i}" for i in range(len(COUNTS))]
    frequencies = dict(zip(words, COUNTS.tolist(), strict=True))
    model = Word2Vec(sample=0.05, min_count=1, ns_exponent=0.75, vector_size=1)
    model.build_vocab_from_freq(frequencies)
    places = [model.wv.key_to_index[w] for w in words]
    kept = torch.tensor([model.wv.get_vecattr(w, "sample_int") / 2**32 for w in words]).double()
    ours = vocabulary.keep_probability_as_released(COUNTS, threshold=0.05)
    torch.testing.assert_close(kept, ours, rtol=0, atol=1e-6)
    steps = torch.from_numpy(model.cum_table.astype("float64")) / (2**31 - 1)
    noise = torch.diff(steps, prepend=steps.new_zeros(1))[places]
    torch.testing.assert_close(noise, vocabulary.noise_distribution(COUNTS), rtol=0, atol=1e-6)


def test_occurrences_stay_at_their_probability(generator: torch.Generator) -> None:
    """Each word's share among 300,000; order and documents stay with the tokens."""
    tokens = torch.randint(3, (300_000,), generator=generator)
    corpus = vocabulary.Corpus(tokens, torch.arange(300_000))
    keep = torch.tensor([0.1, 0.65, 1.0], dtype=torch.float64)
    stays = vocabulary.subsample(corpus, keep, generator)
    torch.testing.assert_close(stays.tokens, tokens[stays.documents], rtol=0, atol=0)
    assert (stays.documents.diff() > 0).all()
    before, after = (Counter(t.tolist()) for t in (tokens, stays.tokens))
    for word, probability in enumerate(keep.tolist()):
        test = stats.binomtest(after[word], before[word], probability)
        assert test.pvalue > 1e-3
    again = vocabulary.subsample(corpus, keep, generator)
    assert len(again.tokens) != len(stays.tokens) or not again.tokens.equal(stays.tokens)


@pytest.mark.parametrize("threshold", [0.0, -1e-3, math.inf, math.nan])
def test_a_threshold_is_positive(threshold: float) -> None:
    """Both formulas divide by its root."""
    for formula in (vocabulary.keep_probability, vocabulary.keep_probability_as_released):
        with pytest.raises(ValueError, match="the threshold is"):
            formula(COUNTS, threshold)
