"""Proof for litgen/data/word_similarity.py: gensim's files, its own reading of them, bad ones."""

from pathlib import Path

import pytest
from gensim.test.utils import datapath

from litgen.data import word_similarity
from litgen.data.sources import DataUnavailable, WrongBytes


@pytest.mark.parametrize(("name", "count"), [("wordsim353", 353), ("simlex999", 999)])
def test_pairs_are_those_of_the_file(name: str, count: int) -> None:
    """Row by row: two words in small letters and the mean of what people said."""
    found = word_similarity.load_pairs(name)
    rows = [
        line.rstrip("\n").split("\t")
        for line in Path(datapath(word_similarity.FILES[name])).read_text("utf8").splitlines()
        if line.strip() and not line.startswith("#")
    ]
    assert len(found.pairs) == len(rows) == count == word_similarity.COUNTS[name]
    for pair, score, row in zip(found.pairs, found.scores.tolist(), rows, strict=True):
        assert [*pair] == [row[0].lower(), row[1].lower()]
        assert score == pytest.approx(float(row[2]))
    assert 0 <= found.scores.min() < found.scores.max() <= 10
    assert found.record.source == "installed package gensim"
    assert found.describe() == f"{count} pairs of words"


def test_known_pairs_and_questions() -> None:
    """What anybody can look up: a tiger is a tiger; Athens is to Greece as Baghdad to Iraq."""
    judged = word_similarity.load_pairs("wordsim353")
    assert judged.scores[judged.pairs.index(("tiger", "tiger"))] == 10
    questions = word_similarity.load_analogies()
    assert questions.sections["capital-common-countries"][0] == (
        *("athens", "greece"),
        *("baghdad", "iraq"),
    )
    assert len(questions.sections) == 14
    assert sum(map(len, questions.sections.values())) == word_similarity.COUNTS["analogies"]
    assert questions.describe() == "19,544 analogies in 14 sections"
    assert questions.record.name == "Google analogies"


def test_load_serves_the_command_line() -> None:
    """Every split has a checksum and a citation of its own."""
    records = [word_similarity.load(split).record for split in word_similarity.CHECKSUM]
    assert [r.checksum for r in records] == list(word_similarity.CHECKSUM.values())
    assert len({r.citation for r in records}) == 3
    assert len({r.name for r in records}) == 3


@pytest.mark.parametrize("name", ["train", "", "WordSim353"])
def test_another_name_is_an_error(name: str) -> None:
    """The message lists the sets."""
    with pytest.raises(ValueError, match="the sets are wordsim353, simlex999, analogies; got"):
        word_similarity.load(name)
    with pytest.raises(ValueError, match="got 'analogies'"):
        word_similarity.load_pairs("analogies")


def test_wrong_content_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's file of that name, and a reading whose checksum is not the recorded one."""
    monkeypatch.setitem(word_similarity.CHECKSUM, "simlex999", "0" * 64)
    with pytest.raises(WrongBytes, match="simlex999 has checksum"):
        word_similarity.load("simlex999")
    monkeypatch.setenv("LITGEN_DATA", str(tmp_path))
    (tmp_path / "word_similarity").mkdir()
    for file in word_similarity.FILES.values():
        (tmp_path / "word_similarity" / file).write_text("love\tsex\t6.77\n")
    with pytest.raises(WrongBytes, match=r"wordsim353\.tsv has sha256"):
        word_similarity.load("wordsim353")


def test_without_gensim_and_network_it_says_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package that ships the files is named."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataUnavailable, match=r"installed package gensim.*PyPI package gensim 4"):
        word_similarity.load()
