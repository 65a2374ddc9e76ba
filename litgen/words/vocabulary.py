"""From text to numbered words: counts, which occurrences to keep, where negatives come from.

Chapter: book/words/skipgram.md.  Proof: tests/words/test_vocabulary.py.

Reference: Mikolov, Sutskever, Chen, Corrado & Dean, "Distributed Representations of Words and
    Phrases and their Compositionality" (2013), sections 2.2 and 2.3.

In the paper: f(w) frequency, t ``threshold``, U(w) unigram distribution, P_n(w) noise.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from litgen.shapes import Float, Int

__all__ = [
    "Corpus",
    "Vocabulary",
    "build",
    "draw",
    "encode",
    "keep_probability",
    "keep_probability_as_released",
    "noise_distribution",
    "subsample",
    "tokenize",
]

WORD = re.compile(r"[a-z]+(?:'[a-z]+)*")


class Corpus(NamedTuple):
    """A text as numbers, one document after the other."""

    tokens: Int[Tensor, " length"]  # a word's place in the vocabulary
    documents: Int[Tensor, " length"]  # which document it stands in, never falling


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Words from the most to the least frequent, and how often each was seen."""

    words: tuple[str, ...]
    counts: Int[Tensor, " words"]
    places: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.words) != len(self.counts):
            raise ValueError(f"{len(self.words)} words, but {len(self.counts)} counts")
        object.__setattr__(self, "places", {word: i for i, word in enumerate(self.words)})
        if len(self.places) != len(self.words):
            raise ValueError("a word occurs twice in the vocabulary")

    def __len__(self) -> int:
        return len(self.words)

    def place(self, word: str) -> int:
        """Return a word's number.

        Raises:
            ValueError: it is not in the vocabulary.
        """
        if word not in self.places:
            raise ValueError(f"{word!r} is not among the {len(self)} words of the vocabulary")
        return self.places[word]


def tokenize(text: str) -> list[str]:
    """Return the words of an English text in small letters; digits and signs only separate.

    An apostrophe between letters belongs to its word, be it typewritten or printed.
    """
    return WORD.findall(text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))


def build(documents: Iterable[Sequence[str]], min_count: int = 5) -> Vocabulary:
    """Count words and number those seen at least ``min_count`` times, frequent ones first.

    Words of one count stand in alphabetical order, so that the numbers are the same everywhere.

    Raises:
        ValueError: no word is frequent enough; an empty corpus has none.
    """
    counted: Counter[str] = Counter()
    for document in documents:
        counted.update(document)
    kept = sorted((-n, word) for word, n in counted.items() if n >= min_count)
    if not kept:
        raise ValueError(
            f"none of {len(counted)} different words occurs {min_count} times; "
            "the corpus is empty or too short"
        )
    return Vocabulary(tuple(w for _, w in kept), torch.tensor([-n for n, _ in kept]))


def encode(documents: Iterable[Sequence[str]], vocabulary: Vocabulary) -> Corpus:
    """Replace words by their numbers; words out of vocabulary are left out and close ranks."""
    known = vocabulary.places
    numbered = [torch.tensor([known[w] for w in d if w in known]) for d in documents]
    lengths = torch.tensor([len(d) for d in numbered], dtype=torch.int64)
    tokens = torch.cat([torch.zeros(0), *numbered]).long()
    return Corpus(tokens, torch.repeat_interleave(torch.arange(len(lengths)), lengths))


def noise_distribution(
    counts: Int[Tensor, " words"], power: float = 0.75
) -> Float[Tensor, " words"]:
    """Return the distribution of negatives, in double precision. Implements eq:sgns-noise.

    Args:
        counts: of each word.
        power: 1 gives the words' own distribution, 0 the uniform one.
    """
    raised = counts.double() ** power
    return raised / raised.sum()


def draw(
    distribution: Float[Tensor, " words"], count: int, generator: torch.Generator
) -> Int[Tensor, " count"]:
    """Draw words with replacement, by inverting the cumulative distribution."""
    cumulative = distribution.cumsum(0)
    uniform = torch.rand(
        count, generator=generator, dtype=cumulative.dtype, device=cumulative.device
    )
    found = torch.searchsorted(cumulative, uniform * cumulative[-1], right=True)
    return found.clamp_(max=len(distribution) - 1)


def keep_probability(
    counts: Int[Tensor, " words"], threshold: float = 1e-3
) -> Float[Tensor, " words"]:
    """Return with which probability an occurrence stays. Implements eq:sgns-subsampling.

    The paper's formula; see `keep_probability_as_released` for the one in the authors' program.

    Raises:
        ValueError: the threshold is not positive.
    """
    return ratio_to_frequency(counts, threshold).sqrt().clamp(max=1.0)


def keep_probability_as_released(
    counts: Int[Tensor, " words"], threshold: float = 1e-3
) -> Float[Tensor, " words"]:
    """Return the probability in word2vec.c and gensim. Implements eq:sgns-subsampling-released.

    Raises:
        ValueError: the threshold is not positive.
    """
    ratio = ratio_to_frequency(counts, threshold)
    return (ratio.sqrt() + ratio).clamp(max=1.0)


def ratio_to_frequency(counts: Int[Tensor, " words"], threshold: float) -> Float[Tensor, " words"]:
    """Return t / f(w) in double precision."""
    if not threshold > 0 or math.isinf(threshold):
        raise ValueError(f"the threshold is {threshold}, not a positive number")
    return threshold * counts.sum().double() / counts.double()


def subsample(corpus: Corpus, keep: Float[Tensor, " words"], generator: torch.Generator) -> Corpus:
    """Leave occurrences out at random, so that windows reach further. Draws one number each."""
    uniform = torch.rand(len(corpus.tokens), generator=generator, device=keep.device)
    stays = uniform < keep.float()[corpus.tokens]
    return Corpus(corpus.tokens[stays], corpus.documents[stays])
