"""Proof for litgen/words/similarity.py: plain loops, scipy, and gensim on the same vectors."""

import math
from pathlib import Path

import pytest
import torch
from gensim.models import KeyedVectors
from scipy import stats
from torch import Tensor

from litgen.words import similarity
from litgen.words.vocabulary import Vocabulary

WORDS = tuple(["ape", "bee", "cat", "dog", "eel", "fox", "gnu", "hen", "ibis", "jay"])
VOCABULARY = Vocabulary(WORDS, torch.arange(20, 10, -1))


@pytest.fixture
def vectors(generator: torch.Generator) -> Tensor:
    """Return ten vectors of different lengths."""
    scale = torch.linspace(0.5, 4, 10)[:, None]
    return torch.randn(10, 4, generator=generator) * scale


@pytest.fixture
def peer(vectors: Tensor) -> KeyedVectors:
    """Return gensim's view of the same vectors."""
    keyed = KeyedVectors(4)
    keyed.add_vectors(list(WORDS), vectors.numpy())
    return keyed


def cosine(a: list[float], b: list[float]) -> float:
    """Return the cosine, number by number."""
    return sum(p * q for p, q in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


# cosines -----------------------------------------------------------------------------------------


def test_neighbours_are_sorted_by_cosine(vectors: Tensor, peer: KeyedVectors) -> None:
    """eq:sgns-cosine in a loop, and gensim's most_similar; the word itself is left out."""
    rows = vectors.tolist()
    expected = sorted((cosine(rows[3], rows[i]), WORDS[i]) for i in range(10) if i != 3)[::-1]
    found = similarity.neighbours(vectors, VOCABULARY, "dog", 4)
    assert [word for word, _ in found] == [word for _, word in expected[:4]]
    assert [value for _, value in found] == pytest.approx([c for c, _ in expected[:4]], abs=1e-6)
    theirs = peer.most_similar("dog", topn=4)
    assert [word for word, _ in found] == [word for word, _ in theirs]
    assert len(similarity.neighbours(vectors, VOCABULARY, "dog", 50)) == 9


def test_a_word_out_of_vocabulary_has_no_neighbours(vectors: Tensor) -> None:
    """The message names it."""
    with pytest.raises(ValueError, match="'unicorn' is not among the 10 words"):
        similarity.neighbours(vectors, VOCABULARY, "unicorn")


def test_length_one_and_zero() -> None:
    """eq:sgns-cosine: all lengths are one, and a vector of zeros stays, without nan."""
    unit = similarity.normalized(torch.tensor([[3.0, 4.0], [0.0, 0.0], [-1e-3, 0.0]]))
    torch.testing.assert_close(unit, torch.tensor([[0.6, 0.8], [0.0, 0.0], [-1.0, 0.0]]))


# analogies ---------------------------------------------------------------------------------------


def test_analogies_are_gensims(vectors: Tensor, peer: KeyedVectors) -> None:
    """eq:sgns-analogy: every question of three words that has an answer, against most_similar."""
    triples = [(0, 1, 2), (5, 3, 1), (9, 8, 0), (2, 7, 6), (4, 0, 9), (6, 1, 3)]
    unit = similarity.normalized(vectors)
    found = similarity.analogy(unit, torch.tensor(triples))
    for (a, b, c), answer in zip(triples, found.tolist(), strict=True):
        theirs = peer.most_similar(positive=[WORDS[b], WORDS[c]], negative=[WORDS[a]], topn=1)
        assert WORDS[answer] == theirs[0][0]
        assert answer not in (a, b, c)
    assert len(set(found.tolist())) > 1


def test_right_answers_are_counted(vectors: Tensor) -> None:
    """Asked, missing and right, also when only frequent words may be asked and answer."""
    right = [
        WORDS[i]
        for i in similarity.analogy(
            similarity.normalized(vectors), torch.tensor([[0, 1, 2], [5, 3, 1], [9, 8, 0]])
        ).tolist()
    ]
    questions = [
        ("ape", "bee", "cat", right[0]),
        ("fox", "dog", "bee", right[1]),
        ("jay", "ibis", "ape", "jay"),  # one of its own words is never the answer
        ("ape", "bee", "cat", "unicorn"),
        ("unicorn", "bee", "cat", "dog"),
    ]
    found = similarity.analogies(vectors, VOCABULARY, questions)
    assert found == similarity.Analogies(accuracy=2 / 3, asked=3, missing=2)
    few = similarity.analogies(vectors[:6], Vocabulary(WORDS[:6], torch.arange(6)), questions)
    assert similarity.analogies(vectors, VOCABULARY, questions, most_frequent=6) == few
    none = similarity.analogies(vectors, VOCABULARY, questions[3:])
    assert math.isnan(none.accuracy)
    assert (none.asked, none.missing) == (0, 2)


def test_gensim_counts_the_same_answers(
    vectors: Tensor, peer: KeyedVectors, tmp_path: Path
) -> None:
    """Its evaluate_word_analogies on a file of 60 questions, some out of vocabulary."""
    questions = [
        (
            WORDS[i % 10],
            WORDS[(i + 1 + i // 10) % 10],
            WORDS[(i * 3 + 2) % 10],
            WORDS[(7 * i) % 10],
        )
        for i in range(60)
    ]
    questions = [q for q in questions if len(set(q)) == 4] + [("ape", "bee", "cat", "unicorn")]
    lines = [": section", *(" ".join(q) for q in questions)]
    (tmp_path / "questions.txt").write_text("\n".join(lines) + "\n")
    _, sections = peer.evaluate_word_analogies(tmp_path / "questions.txt", case_insensitive=False)
    correct, incorrect = len(sections[-1]["correct"]), len(sections[-1]["incorrect"])
    found = similarity.analogies(vectors, VOCABULARY, questions)
    assert correct > 0
    assert found.asked == correct + incorrect == len(questions) - 1
    assert found.accuracy == correct / (correct + incorrect)


# agreement with people ---------------------------------------------------------------------------


def test_spearman_is_scipys(generator: torch.Generator) -> None:
    """eq:sgns-spearman without and with ties."""
    a, b = torch.randn(2, 50, generator=generator)
    b = b + a
    ties = torch.randint(4, (50,), generator=generator).float()
    for first, second in ((a, b), (a, -b), (a, ties), (ties, ties.roll(1))):
        expected = stats.spearmanr(first.numpy(), second.numpy()).statistic
        assert similarity.spearman(first, second) == pytest.approx(expected, abs=1e-12)
    assert similarity.spearman(a, a.exp()) == pytest.approx(1.0)  # only ranks count
    assert similarity.ranks(torch.tensor([3.0, 1.0, 3.0, 0.0])).tolist() == [3.5, 2.0, 3.5, 1.0]


def test_judges_agree_with_gensims(
    vectors: Tensor, peer: KeyedVectors, tmp_path: Path, generator: torch.Generator
) -> None:
    """Its evaluate_word_pairs on a file; pairs out of vocabulary are counted and left out."""
    pairs = [(WORDS[i], WORDS[j]) for i in range(10) for j in range(i) if (i + j) % 3]
    pairs.insert(4, ("ape", "unicorn"))
    pairs.insert(9, ("unicorn", "ape"))
    scores = torch.rand(len(pairs), generator=generator) * 10
    lines = [f"{a}\t{b}\t{s!r}" for (a, b), s in zip(pairs, scores.tolist(), strict=True)]
    (tmp_path / "pairs.tsv").write_text("\n".join(lines) + "\n")
    _, theirs, missing = peer.evaluate_word_pairs(tmp_path / "pairs.tsv", case_insensitive=False)
    found = similarity.judge(vectors, VOCABULARY, pairs, scores)
    assert found.spearman == pytest.approx(theirs.statistic, abs=1e-6)
    assert (found.pairs, found.missing) == (len(pairs) - 2, 2)
    assert missing == pytest.approx(100 * 2 / len(pairs))


def test_too_few_pairs_are_an_error(vectors: Tensor) -> None:
    """A correlation needs two; and every pair a score."""
    with pytest.raises(ValueError, match="only 1 of 2 pairs have both words"):
        similarity.judge(vectors, VOCABULARY, [("ape", "bee"), ("ape", "x")], torch.ones(2))
    with pytest.raises(ValueError, match="2 pairs, but 3 scores"):
        similarity.judge(vectors, VOCABULARY, [("ape", "bee"), ("ape", "cat")], torch.ones(3))


# the text file -----------------------------------------------------------------------------------


def test_gensim_reads_what_is_written(vectors: Tensor, tmp_path: Path) -> None:
    """Every word and every bit of every number."""
    similarity.save_text(tmp_path / "vectors.txt", vectors, VOCABULARY)
    theirs = KeyedVectors.load_word2vec_format(str(tmp_path / "vectors.txt"), binary=False)
    assert tuple(theirs.index_to_key) == WORDS
    torch.testing.assert_close(torch.from_numpy(theirs.vectors), vectors, rtol=0, atol=0)


def test_what_gensim_writes_is_read(vectors: Tensor, peer: KeyedVectors, tmp_path: Path) -> None:
    """The same from its side, and from our own."""
    peer.save_word2vec_format(str(tmp_path / "theirs.txt"), binary=False)
    similarity.save_text(tmp_path / "ours.txt", vectors, VOCABULARY)
    for name in ("theirs.txt", "ours.txt"):
        words, numbers = similarity.load_text(tmp_path / name)
        assert words == WORDS
        torch.testing.assert_close(numbers, vectors, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ape 1 2\n", "the first line is not 'words dims'"),
        ("2 3\nape 1 2 3\nbee 1 2\n", "line 3 has not 3 numbers"),
        ("3 2\nape 1 2\nbee 1 2\n", "3 words of 2 numbers expected"),
        ("1 2\nape 1 2\nbee 1 2\n", "1 words of 2 numbers expected"),
        ("\n", "the first line is not"),
        ("", "the first line is not"),
    ],
)
def test_a_broken_file_is_an_error(tmp_path: Path, text: str, said: str) -> None:
    """Cut short, uneven or no such file at all; the message names it."""
    (tmp_path / "bad.txt").write_text(text)
    with pytest.raises(ValueError, match=rf"bad\.txt: .*{said}"):
        similarity.load_text(tmp_path / "bad.txt")


def test_one_vector_a_word(vectors: Tensor, tmp_path: Path) -> None:
    """Nothing is written otherwise."""
    with pytest.raises(ValueError, match="9 vectors for 10 words"):
        similarity.save_text(tmp_path / "x.txt", vectors[:9], VOCABULARY)
    assert not (tmp_path / "x.txt").exists()
