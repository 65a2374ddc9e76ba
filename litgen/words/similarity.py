"""What word vectors are asked: neighbours, analogies, agreement with people; and their text file.

Chapter: book/words/skipgram.md.  Proof: tests/words/test_similarity.py.

References: Mikolov, Chen, Corrado & Dean, "Efficient Estimation of Word Representations in Vector
    Space" (2013), for the analogies; Levy & Goldberg, "Linguistic Regularities in Sparse and
    Explicit Word Representations" (2014), for the name 3CosAdd.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from litgen.shapes import Float, Int
from litgen.words.vocabulary import Vocabulary

__all__ = [
    "Analogies",
    "Judgement",
    "analogies",
    "analogy",
    "judge",
    "load_text",
    "neighbours",
    "normalized",
    "ranks",
    "save_text",
    "spearman",
]


class Judgement(NamedTuple):
    """How well cosines agree with people."""

    spearman: float  # rank correlation over the pairs that have both words
    pairs: int  # how many those are
    missing: int  # pairs with a word out of vocabulary


class Analogies(NamedTuple):
    """How many analogies were solved."""

    accuracy: float  # right answers among the questions that were asked
    asked: int
    missing: int  # questions with a word out of vocabulary, which were not asked


def normalized(vectors: Float[Tensor, "words dims"]) -> Float[Tensor, "words dims"]:
    """Return vectors of length one, so that inner products are cosines. Implements eq:sgns-cosine.

    A vector of zeros stays one.
    """
    length: Tensor = vectors.norm(dim=1, keepdim=True)
    return vectors / length.clamp(min=torch.finfo(vectors.dtype).tiny)


def neighbours(
    vectors: Float[Tensor, "words dims"], vocabulary: Vocabulary, word: str, count: int = 10
) -> list[tuple[str, float]]:
    """Return the words with the largest cosine to a word, itself left out, nearest first.

    Raises:
        ValueError: the word is out of vocabulary.
    """
    place = vocabulary.place(word)
    unit = normalized(vectors)
    cosine = unit @ unit[place]
    cosine[place] = -torch.inf
    best = cosine.topk(min(count, len(vocabulary) - 1))
    return [
        (vocabulary.words[i], value)
        for i, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def analogy(
    unit: Float[Tensor, "words dims"], questions: Int[Tensor, "questions 3"]
) -> Int[Tensor, " questions"]:
    """Answer "a is to b as c is to ?" by the word nearest to b - a + c.

    Implements eq:sgns-analogy.

    Args:
        unit: vectors of length one.
        questions: the places of a, b and c, which are never the answer.
    """
    a, b, c = unit[questions].unbind(dim=1)
    cosine = (b - a + c) @ unit.T
    return cosine.scatter_(1, questions, -torch.inf).argmax(dim=1)


def analogies(
    vectors: Float[Tensor, "words dims"],
    vocabulary: Vocabulary,
    questions: Iterable[Sequence[str]],
    most_frequent: int | None = None,
) -> Analogies:
    """Ask all questions (a, b, c, d) whose words are among the most frequent ones.

    Args:
        vectors: of every word.
        vocabulary: of the vectors.
        questions: four words each, d the right answer.
        most_frequent: only so many words are asked and may answer; all of them unless given.
    """
    limit = most_frequent or len(vocabulary)
    places = [[vocabulary.places.get(word, limit) for word in q] for q in questions]
    asked = [row for row in places if max(row) < limit]
    known = torch.tensor(asked, dtype=torch.int64).view(-1, 4)
    unit = normalized(vectors[:limit])
    right = sum(int((analogy(unit, part[:, :3]) == part[:, 3]).sum()) for part in known.split(512))
    accuracy = right / len(asked) if asked else float("nan")
    return Analogies(accuracy, len(asked), len(places) - len(asked))


def judge(
    vectors: Float[Tensor, "words dims"],
    vocabulary: Vocabulary,
    pairs: Sequence[tuple[str, str]],
    scores: Float[Tensor, " pairs"],
) -> Judgement:
    """Compare cosines with people's scores, over the pairs whose two words have a vector.

    Raises:
        ValueError: fewer than two such pairs, or not one score a pair.
    """
    if len(pairs) != len(scores):
        raise ValueError(f"{len(pairs)} pairs, but {len(scores)} scores")
    places = vocabulary.places
    known = [i for i, (a, b) in enumerate(pairs) if a in places and b in places]
    if len(known) < 2:
        raise ValueError(f"only {len(known)} of {len(pairs)} pairs have both words")
    unit = normalized(vectors)
    first, second = (torch.tensor([places[pairs[i][side]] for i in known]) for side in (0, 1))
    cosine = (unit[first] * unit[second]).sum(dim=1)
    agreement = spearman(cosine, scores[known].to(cosine.device))
    return Judgement(agreement, len(known), len(pairs) - len(known))


def spearman(a: Float[Tensor, " count"], b: Float[Tensor, " count"]) -> float:
    """Return the correlation of the ranks of two lists. Implements eq:sgns-spearman.

    Not a number where all values of a list are equal.
    """
    first, second = (ranks(v) - ranks(v).mean() for v in (a, b))
    return float((first @ second) / (first.norm() * second.norm()))


def ranks(values: Float[Tensor, " count"]) -> Float[Tensor, " count"]:
    """Return each value's rank, 1 for the smallest; equal values share the mean of their ranks."""
    _, group, sizes = torch.unique(values, return_inverse=True, return_counts=True)
    middle: Tensor = sizes.cumsum(0).double() - (sizes - 1) / 2
    return middle[group]


def save_text(path: Path, vectors: Float[Tensor, "words dims"], vocabulary: Vocabulary) -> None:
    """Write word2vec's text format: a line with both sizes, then a word and its numbers a line.

    Other programs read it, gensim's ``KeyedVectors.load_word2vec_format`` among them.

    Raises:
        ValueError: not one vector a word.
    """
    if len(vectors) != len(vocabulary):
        raise ValueError(f"{len(vectors)} vectors for {len(vocabulary)} words")
    rows = zip(vocabulary.words, vectors.float().tolist(), strict=True)
    lines = [f"{len(vectors)} {vectors.shape[1]}"]
    lines += [" ".join([word, *(f"{number:.9g}" for number in row)]) for word, row in rows]
    path.write_text("\n".join(lines) + "\n", "utf-8", newline="\n")


def load_text(path: Path) -> tuple[tuple[str, ...], Float[Tensor, "words dims"]]:
    """Read word2vec's text format: the words in their order, and their vectors.

    Raises:
        ValueError: the first line is not two sizes, or the rest does not fit it.
    """
    first, *rest = path.read_text("utf-8").splitlines() or [""]
    sizes = first.split()
    if len(sizes) != 2 or not all(size.isdigit() for size in sizes):
        raise ValueError(f"{path.name}: the first line is not 'words dims': {first[:40]!r}")
    count, dims = map(int, sizes)
    rows = [line.split() for line in rest if line.strip()]
    wrong = next((i for i, row in enumerate(rows) if len(row) != dims + 1), None)
    if wrong is not None or len(rows) != count:
        where = f"line {wrong + 2} has not {dims} numbers" if wrong is not None else "a wrong end"
        raise ValueError(f"{path.name}: {count} words of {dims} numbers expected, {where}")
    numbers = torch.tensor([[float(number) for number in row[1:]] for row in rows])
    return tuple(row[0] for row in rows), numbers
