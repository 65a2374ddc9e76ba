"""Word vectors from the State of the Union addresses, judged by people's similarity scores.

Chapter: book/words/skipgram.md.  Proof: tests/recipes/test_words.py.

Reference: Mikolov, Sutskever, Chen, Corrado & Dean, "Distributed Representations of Words and
    Phrases and their Compositionality" (2013). The settings are the defaults of the authors'
    program and of gensim.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from litgen import checkpoints
from litgen.data import sotu, word_similarity
from litgen.runs import Run
from litgen.shapes import Float
from litgen.training import plain_products
from litgen.words import blocked, similarity, skipgram, vocabulary
from litgen.words.vocabulary import Corpus, Vocabulary

__all__ = [
    "CPU",
    "GPU",
    "Config",
    "Pairs",
    "Vectors",
    "data",
    "evaluate",
    "fit",
    "held_pairs",
    "restore",
    "sample",
    "start",
    "text",
    "train",
]

CONTEXTS = 1_000
"""Context vectors that a run keeps, those of the most frequent words."""


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        dims: of a vector.
        min_count: rarer words are left out of the text.
        threshold: frequency above which occurrences are left out at random.
        power: of the counts, for the negatives' distribution.
        window: words on either side at most.
        negatives: for each true pair.
        epochs: passes over the text.
        learning_rate: of the first step; it falls along a line to a 250th.
        size: centres in a block.
        together: blocks that share their negatives.
        shared: negatives that they draw.
        blocks: in one step.
    """

    dims: int = 100
    min_count: int = 5
    threshold: float = 1e-3
    power: float = 0.75
    window: int = 5
    negatives: int = 5
    epochs: int = 5
    learning_rate: float = 0.025
    size: int = 16
    together: int = 4
    shared: int = 16
    blocks: int = 32


CPU = Config()
GPU = Config()  # the text is the limit, not the machine: more passes or dimensions gain nothing


class Vectors(NamedTuple):
    """What is learned: two vectors a word, though a run keeps few of the contexts."""

    vocabulary: Vocabulary
    centres: Float[Tensor, "words dims"]
    contexts: Float[Tensor, "some dims"]


class Pairs(NamedTuple):
    """Some pairs of the text with negatives, the same at every moment of a training."""

    centre: Tensor
    context: Tensor
    negatives: Tensor


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train with shared negatives in blocks; return vectors, the loss and people's judgement."""
    vocab, corpus = text(config)
    corpus = Corpus(*(part.to(device) for part in corpus))
    pairs = held_pairs(config, vocab, corpus)
    losses: list[float] = []
    asked = {"next": 0.0}
    checkpoints.current().keep(losses=losses, asked=asked)
    vectors = start(config, vocab, seed, device)
    with plain_products(device):
        for now in fit(config, vectors, corpus, seed):
            if now >= asked["next"]:
                losses.append(mean_loss(vectors, pairs))
                asked["next"] += 0.02
    losses.append(mean_loss(vectors, pairs))
    return package(vectors, losses)


def fit(config: Config, vectors: Vectors, corpus: Corpus, seed: int) -> Iterator[float]:
    """Train vectors in place; yield after every step which part of the work is done.

    Raises:
        ValueError: an empty corpus, or settings without negatives or window.
    """
    counts = vectors.vocabulary.counts
    device = vectors.centres.device
    keep = vocabulary.keep_probability_as_released(counts, config.threshold).to(device)
    noise = vocabulary.noise_distribution(counts, config.power).to(device)
    generator = torch.Generator(device).manual_seed(seed)
    learned = {"centres": vectors.centres, "contexts": vectors.contexts}
    weights = nn.ParameterDict({k: nn.Parameter(v, False) for k, v in learned.items()})
    memory = checkpoints.current()
    memory.keep(vectors=weights, generator=generator)
    steps = blocked.epochs(
        vectors.centres,
        vectors.contexts,
        corpus,
        keep,
        noise,
        settings_of(config),
        config.epochs,
        generator,
        memory.turns(config.epochs),
    )
    with tqdm(total=100, desc="words", unit="%") as bar:
        for done in steps:
            bar.update(int(100 * done) - bar.n)
            yield done


def settings_of(config: Config) -> blocked.Settings:
    """Return the part of a config that cuts the text and sets the steps."""
    return blocked.Settings(
        window=config.window,
        negatives=config.negatives,
        size=config.size,
        together=config.together,
        shared=config.shared,
        blocks=config.blocks,
        learning_rate=config.learning_rate,
        last_learning_rate=config.learning_rate / 250,
    )


def start(config: Config, vocab: Vocabulary, seed: int, device: torch.device) -> Vectors:
    """Return small random centres and contexts of zeros, as word2vec begins."""
    generator = torch.Generator().manual_seed(seed)
    shape = len(vocab), config.dims
    centres = (torch.rand(shape, generator=generator) - 0.5) / config.dims
    return Vectors(vocab, centres.to(device), torch.zeros(shape, device=device))


def text(config: Config) -> tuple[Vocabulary, Corpus]:
    """Return the addresses' vocabulary and the addresses as numbers.

    Raises:
        ValueError: no word occurs ``min_count`` times.
    """
    documents = [vocabulary.tokenize(address) for address in sotu.load().texts]
    vocab = vocabulary.build(documents, config.min_count)
    return vocab, vocabulary.encode(documents, vocab)


def held_pairs(config: Config, vocab: Vocabulary, corpus: Corpus, count: int = 5_000) -> Pairs:
    """Draw pairs of neighbouring words and their negatives, to watch the loss on."""
    generator = torch.Generator().manual_seed(0)
    tokens = corpus.tokens
    at = torch.randint(len(tokens) - 1, (count,), generator=generator).to(tokens.device)
    noise = vocabulary.noise_distribution(vocab.counts, config.power)
    drawn = vocabulary.draw(noise, count * config.negatives, generator).to(tokens.device)
    return Pairs(tokens[at], tokens[at + 1], drawn.view(count, -1))


def mean_loss(vectors: Vectors, pairs: Pairs) -> float:
    """Return the loss of an average pair in nats."""
    contexts = vectors.contexts
    each = skipgram.loss(
        vectors.centres[pairs.centre], contexts[pairs.context], contexts[pairs.negatives]
    )
    return each.mean().item()


def measure(vectors: Vectors) -> dict[str, float]:
    """Return the agreement with people, the analogies solved, and what lacked a word."""
    found: dict[str, float] = {}
    for name in ("wordsim353", "simlex999"):
        judged = word_similarity.load_pairs(name)
        people = judged.pairs, judged.scores
        judgement = similarity.judge(vectors.centres.cpu(), vectors.vocabulary, *people)
        found |= {
            f"{name}_spearman": judgement.spearman,
            f"{name}_pairs": judgement.pairs,
            f"{name}_missing": judgement.missing,
        }
    sections = word_similarity.load_analogies().sections.values()
    questions = [question for section in sections for question in section]
    solved = similarity.analogies(vectors.centres.cpu(), vectors.vocabulary, questions)
    return found | {
        "analogies_accuracy": solved.accuracy,
        "analogies_asked": solved.asked,
        "analogies_missing": solved.missing,
    }


def package(vectors: Vectors, losses: Sequence[float]) -> Run:
    """Round the vectors to what is stored, judge them, and return the run."""
    vocab = vectors.vocabulary
    rounded = Vectors(vocab, *(v.half().float().cpu() for v in vectors[1:]))
    written = "\n".join(vocab.words).encode("ascii")
    records = [("sotu", split, sotu.load(split).record) for split in sotu.CHECKSUM]
    records += [
        ("word_similarity", split, word_similarity.load(split).record)
        for split in word_similarity.CHECKSUM
    ]
    return Run(
        tensors={
            "model.centres": rounded.centres.half(),
            "model.contexts": rounded.contexts[:CONTEXTS].half(),
            "model.words": torch.tensor(list(written), dtype=torch.uint8),
            "model.counts": vocab.counts,
        },
        metrics=measure(rounded) | {"words": len(vocab)},
        history={"loss_nats": list(losses)},
        data=[
            dataclasses.asdict(record) | {"name": name, "title": record.name, "split": split}
            for name, split, record in records
        ],
    )


def restore(run: Run) -> Vectors:
    """Return a run's vocabulary and vectors."""
    parts = run.part("model")
    words = bytes(parts["words"].tolist()).decode("ascii").split("\n")
    vocab = Vocabulary(tuple(words), parts["counts"])
    return Vectors(vocab, parts["centres"], parts["contexts"])


def sample(run: Run, count: int, generator: torch.Generator) -> Tensor:
    """Say that there is nothing to sample.

    Raises:
        ValueError: always; the model tells true pairs from noise and generates neither.
    """
    raise ValueError("word vectors cannot be sampled: they tell true pairs of words from noise")


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Judge a run's vectors anew."""
    return measure(restore(run)) | {"words": len(restore(run).vocabulary)}


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return ("sotu", "word_similarity")
