"""litgen/words/blocked.py against gensim: same text, same settings, three seeds each. Minutes."""

import dataclasses

import pytest
import torch
from gensim.models import Word2Vec
from torch import Tensor

from litgen.data import sotu, word_similarity
from litgen.data.sources import DataUnavailable
from litgen.recipes.words import addresses
from litgen.words import similarity, vocabulary

SEEDS = (1, 2, 3)


def gensims(config: addresses.Config, documents: list[list[str]], seed: int) -> Word2Vec:
    """Return gensim's model of a text; a sentence of its may have 10,000 words at most."""
    return Word2Vec(
        [d[i : i + 10_000] for d in documents for i in range(0, len(d), 10_000)],
        vector_size=config.dims,
        window=config.window,
        negative=config.negatives,
        min_count=config.min_count,
        sample=config.threshold,
        ns_exponent=config.power,
        alpha=config.learning_rate,
        epochs=config.epochs,
        sg=1,
        workers=1,
        seed=seed,
    )


def scores(vectors: Tensor, vocab: vocabulary.Vocabulary) -> dict[str, float]:
    """Return the rank correlation with people for both sets of pairs."""
    sets = {name: word_similarity.load_pairs(name) for name in ("wordsim353", "simlex999")}
    return {
        name: similarity.judge(vectors, vocab, s.pairs, s.scores).spearman
        for name, s in sets.items()
    }


@pytest.mark.slow
def test_vectors_are_as_good_as_gensims(real_data: None) -> None:
    """WordSim-353 and SimLex-999, means over three seeds: within 0.02 of gensim's, or better."""
    config = dataclasses.replace(addresses.CPU)
    try:
        documents = [vocabulary.tokenize(text) for text in sotu.load().texts]
    except DataUnavailable as reason:
        pytest.skip(str(reason))
    vocab, corpus = addresses.text(config)
    found: dict[str, dict[str, list[float]]] = {"ours": {}, "gensim": {}}
    for seed in SEEDS:
        vectors = addresses.start(config, vocab, seed, torch.device("cpu"))
        for _ in addresses.fit(config, vectors, corpus, seed):
            pass
        peer = torch.tensor(gensims(config, documents, seed).wv[list(vocab.words)])
        for who, matrix in (("ours", vectors.centres), ("gensim", peer)):
            for name, value in scores(matrix, vocab).items():
                found[who].setdefault(name, []).append(value)
    means = {w: {n: sum(v) / len(v) for n, v in each.items()} for w, each in found.items()}
    print(found, means)
    for name in ("wordsim353", "simlex999"):
        assert means["ours"][name] > 0.1
        assert means["ours"][name] > means["gensim"][name] - 0.02
