"""Proof for litgen/recipes/words/addresses.py: a tiny text, slow loops, and the store of runs."""

import contextlib
import dataclasses
import math
import time
from pathlib import Path

import pytest
import torch

from litgen import checkpoints, runs
from litgen.data import sotu, word_similarity
from litgen.data.sotu import TextSet
from litgen.data.sources import Record
from litgen.recipes.words import addresses
from litgen.words import blocked, similarity, vocabulary
from tests import oracles

CPU = torch.device("cpu")
TINY = addresses.Config(
    dims=6, min_count=2, epochs=2, size=8, together=2, shared=8, blocks=2, window=3
)
RECORD = Record("tiny text", "nowhere", "none", "nobody", "0" * 64, {"train": 3}, stand_in=False)


@pytest.fixture(autouse=True)
def texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Three documents from the words that people were asked about."""
    pairs = word_similarity.load_pairs("wordsim353").pairs[:8]
    pairs += word_similarity.load_pairs("simlex999").pairs[:4]
    words = sorted({word for pair in pairs for word in pair})
    words += ["athens", "greece", "baghdad", "iraq"]
    order = torch.Generator().manual_seed(2)
    documents = [
        " ".join(words[i] for i in torch.randint(len(words), (n,), generator=order).tolist())
        for n in (300, 40, 90)
    ]
    documents[1] += " once"
    monkeypatch.setattr(sotu, "load", lambda split="train": TextSet(tuple(documents), RECORD))
    return documents


def test_the_text_becomes_numbers(texts: list[str]) -> None:
    """Documents in their order; a word that occurs once is left out."""
    vocab, corpus = addresses.text(TINY)
    known = [[w for w in text.split() if w != "once"] for text in texts]
    assert "once" not in vocab.places
    assert [vocab.words[i] for i in corpus.tokens.tolist()] == [w for d in known for w in d]
    assert torch.bincount(corpus.documents).tolist() == [len(d) for d in known]


def test_the_start_is_word2vecs() -> None:
    """Centres between -1/2d and 1/2d, contexts zero, another seed another start."""
    vocab, _ = addresses.text(TINY)
    first, second = (addresses.start(TINY, vocab, seed, CPU) for seed in (0, 1))
    assert first.centres.shape == (len(vocab), 6)
    assert 0.07 < first.centres.abs().max() <= 1 / 12
    assert first.centres.min() < 0 < first.centres.max()
    assert not first.contexts.any()
    assert not first.centres.equal(second.centres)


def test_a_fit_is_blocked_training_with_the_configs_settings() -> None:
    """Kept as gensim keeps, noise by the config's power, every setting handed on."""
    config = dataclasses.replace(
        TINY,
        threshold=0.02,
        power=0.5,
        negatives=3,
        learning_rate=0.1,
        size=4,
        together=1,
        shared=6,
    )
    vocab, corpus = addresses.text(config)
    vectors = addresses.start(config, vocab, 3, CPU)
    done = list(addresses.fit(config, vectors, corpus, seed=3))
    again = addresses.start(config, vocab, 3, CPU)
    settings = blocked.Settings(3, 3, 4, 1, 6, 2, 0.1, 0.1 / 250)
    expected = blocked.epochs(
        again.centres,
        again.contexts,
        corpus,
        vocabulary.keep_probability_as_released(vocab.counts, 0.02),
        vocabulary.noise_distribution(vocab.counts, 0.5),
        settings,
        2,
        torch.Generator().manual_seed(3),
    )
    assert list(expected) == done
    assert done[-1] == pytest.approx(1)
    torch.testing.assert_close(vectors.centres, again.centres, rtol=0, atol=0)
    torch.testing.assert_close(vectors.contexts, again.contexts, rtol=0, atol=0)
    assert (vectors.centres - addresses.start(config, vocab, 3, CPU).centres).abs().max() > 0.01


def test_the_defaults_are_word2vecs() -> None:
    """Those of the authors' program, and of gensim, for skip-gram."""
    c = addresses.CPU
    assert (c.dims, c.window, c.negatives, c.min_count) == (100, 5, 5, 5)
    assert (c.threshold, c.power, c.learning_rate, c.epochs) == (1e-3, 0.75, 0.025, 5)


def test_held_pairs_stand_side_by_side() -> None:
    """Adjacent words with k negatives each; the mean loss is that of a plain loop."""
    vocab, corpus = addresses.text(TINY)
    pairs = addresses.held_pairs(TINY, vocab, corpus, count=40)
    adjacent = set(zip(corpus.tokens[:-1].tolist(), corpus.tokens[1:].tolist(), strict=True))
    assert set(zip(pairs.centre.tolist(), pairs.context.tolist(), strict=True)) <= adjacent
    assert pairs.negatives.shape == (40, 5)
    vectors = addresses.start(TINY, vocab, 0, CPU)
    assert addresses.mean_loss(vectors, pairs) == pytest.approx(6 * math.log(2), rel=1e-5)
    for _ in addresses.fit(TINY, vectors, corpus, 0):
        pass
    v, u = vectors.centres, vectors.contexts
    each = [
        oracles.negative_sampling_loss(v[c].tolist(), u[o].tolist(), u[n].tolist())
        for c, o, n in zip(pairs.centre, pairs.context, pairs.negatives, strict=True)
    ]
    assert addresses.mean_loss(vectors, pairs) == pytest.approx(sum(each) / 40, rel=1e-5)


def test_a_training_goes_on_at_the_next_pass_over_the_text(tmp_path: Path) -> None:
    """Stopped after every pass, it ends with the vectors and the curve of one never stopped."""
    config = dataclasses.replace(TINY, epochs=4)
    whole = addresses.train(config, 1, CPU)
    for _ in range(9):
        memory = checkpoints.Memory(tmp_path / "one.pt", time.monotonic() - 1)
        with checkpoints.opened(memory), contextlib.suppress(checkpoints.OutOfTime):
            broken = addresses.train(config, 1, CPU)
            break
    assert memory.resumed == config.epochs - 1
    torch.testing.assert_close(broken.tensors, whole.tensors, rtol=0, atol=0)
    assert (broken.metrics, broken.history) == (whole.metrics, whole.history)


def test_a_run_holds_vectors_judgement_and_curve() -> None:
    """Rounded to half precision before they are judged; every set of people is on record."""
    run = addresses.train(TINY, seed=0, device=CPU)
    vectors = addresses.restore(run)
    vocab, _ = addresses.text(TINY)
    assert vectors.vocabulary.words == vocab.words
    torch.testing.assert_close(vectors.vocabulary.counts, vocab.counts)
    people = word_similarity.load_pairs("wordsim353")
    judged = similarity.judge(vectors.centres, vocab, people.pairs, people.scores)
    assert run.metrics["wordsim353_spearman"] == judged.spearman
    assert run.metrics["wordsim353_pairs"] == judged.pairs >= 8
    assert run.metrics["wordsim353_missing"] == 353 - judged.pairs
    assert run.metrics["simlex999_pairs"] + run.metrics["simlex999_missing"] == 999
    questions = [q for part in word_similarity.load_analogies().sections.values() for q in part]
    known = sum(all(word in vocab.places for word in question) for question in questions)
    assert run.metrics["analogies_asked"] == known >= 2  # Athens and Baghdad, there and back
    assert run.metrics["analogies_missing"] == 19_544 - known
    assert run.metrics["words"] == len(vocab)
    assert run.history["loss_nats"][0] == pytest.approx(6 * math.log(2), rel=1e-3)
    assert {(r["name"], r["split"]) for r in run.data} == {
        ("sotu", "train"),
        *(("word_similarity", split) for split in word_similarity.CHECKSUM),
    }
    assert addresses.data(TINY) == ("sotu", "word_similarity")


def test_what_is_judged_is_what_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors are rounded to half precision first, to the last bit."""
    judged: list[addresses.Vectors] = []
    monkeypatch.setattr(
        addresses, "measure", lambda vectors: judged.append(vectors) or {"score": 0.5}
    )
    run = addresses.train(TINY, seed=0, device=CPU)
    stored = addresses.restore(run)
    torch.testing.assert_close(judged[0].centres, stored.centres, rtol=0, atol=0)
    contexts = judged[0].contexts[: addresses.CONTEXTS]
    torch.testing.assert_close(contexts, stored.contexts, rtol=0, atol=0)


def test_a_run_survives_the_store(tmp_path: Path) -> None:
    """Vectors, words and counts come back as they were; measuring anew gives the same."""
    run = runs.train("words/addresses", "cpu", config=TINY)
    runs.save(run, tmp_path / "run.safetensors")
    back = runs.load(tmp_path / "run.safetensors")
    before, after = addresses.restore(run), addresses.restore(back)
    assert before.vocabulary.words == after.vocabulary.words
    torch.testing.assert_close(before.centres, after.centres, rtol=0, atol=0)
    torch.testing.assert_close(before.contexts, after.contexts, rtol=0, atol=0)
    assert addresses.evaluate(back, CPU) == pytest.approx(run.metrics, nan_ok=True)


def test_the_real_run_fits_into_the_store() -> None:
    """11,157 words by 100 in half precision and 1,000 contexts stay below the limit."""
    size = 2 * addresses.CPU.dims * (11_157 + addresses.CONTEXTS) + 11_157 * 18
    assert size < runs.LIMIT
    run = addresses.train(dataclasses.replace(TINY, epochs=1), seed=0, device=CPU)
    assert run.tensors["model.contexts"].shape[0] <= addresses.CONTEXTS


def test_vectors_cannot_be_sampled() -> None:
    """Said in a line."""
    run = addresses.train(dataclasses.replace(TINY, epochs=1), seed=0, device=CPU)
    with pytest.raises(ValueError, match="word vectors cannot be sampled"):
        addresses.sample(run, 3, torch.Generator())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"negatives": 0}, "0 negatives"),
        ({"window": 0}, "the window is 0"),
        ({"min_count": 999}, "none of 25 different words"),
    ],
)
def test_bad_configs_are_errors(change: dict[str, int], said: str) -> None:
    """They come from where the user entered."""
    with pytest.raises(ValueError, match=said):
        addresses.train(dataclasses.replace(TINY, **change), seed=0, device=CPU)
