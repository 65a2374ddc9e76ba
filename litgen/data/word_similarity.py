"""What people say about pairs of words, and analogies: the usual judges of word vectors.

Proof: tests/data/test_word_similarity.py.

References: Finkelstein et al., "Placing Search in Context: The Concept Revisited" (2002) for
    WordSim-353; Hill, Reichart & Korhonen, "SimLex-999" (2015); Mikolov, Chen, Corrado & Dean,
    "Efficient Estimation of Word Representations in Vector Space" (2013) for the analogies.

All three are files in gensim's wheel. Words are put into small letters.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from litgen.data import packages
from litgen.data.sources import Record, WrongBytes, checksum
from litgen.shapes import Float

__all__ = ["CHECKSUM", "AnalogySet", "PairSet", "load", "load_analogies", "load_pairs"]

CHECKSUM: dict[str, str] = {
    "wordsim353": "66dbc09c4696881807361100d34f90ec605026946860c29af285f744c6dd3309",
    "simlex999": "3318a371a584f79327d1c2f2323feec8b2ab5524fdd5758a9d7472128af1691d",
    "analogies": "2266d0466c9b20b5b8fc165b859902076a0896d2fd38c1dc28caf9e5d02b5bd0",
}
COUNTS = {"wordsim353": 353, "simlex999": 999, "analogies": 19_544}
TITLES = {"wordsim353": "WordSim-353", "simlex999": "SimLex-999", "analogies": "Google analogies"}
LICENCE = "free to use with citation; gensim's copies: LGPL-2.1"
CITATIONS = {
    "wordsim353": "Finkelstein et al. (2002), Placing Search in Context: The Concept Revisited, "
    "ACM Transactions on Information Systems 20(1)",
    "simlex999": "Hill, Reichart & Korhonen (2015), SimLex-999: Evaluating Semantic Models With "
    "(Genuine) Similarity Estimation, Computational Linguistics 41(4)",
    "analogies": "Mikolov, Chen, Corrado & Dean (2013), Efficient Estimation of Word "
    "Representations in Vector Space, arXiv:1301.3781",
}
FILES = {
    "wordsim353": "wordsim353.tsv",
    "simlex999": "simlex999.txt",
    "analogies": "questions-words.txt",
}
FOLDER = "test/test_data"
JUDGES = packages.FileSet(
    name="word_similarity",
    sha256={
        "wordsim353.tsv": "f92a022fc2537793a15bc3a8c162ebcd74990e033a228bb6388cb71e4c0b1e1d",
        "simlex999.txt": "d5e0501971478a511430ee880bd0121e94ac701ba86d90544d83e6d2ba3db05d",
        "questions-words.txt": "8c29b3332afc46f3fb8be04cb5297bf96f39aa7131272dff57869b4485b22a36",
    },
    origins=(
        packages.in_installed("gensim", {file: f"{FOLDER}/{file}" for file in FILES.values()}),
        packages.in_wheel(
            "gensim==4.4.0", {file: f"gensim/{FOLDER}/{file}" for file in FILES.values()}
        ),
    ),
)


@dataclass(frozen=True, eq=False)
class PairSet:
    """Pairs of words, how similar people found them, and where that came from."""

    pairs: tuple[tuple[str, str], ...]
    scores: Float[Tensor, " pairs"]  # 0..10, the mean of the people who were asked
    record: Record

    def describe(self) -> str:
        """Return how much there is, for a line of the command line."""
        return f"{len(self.pairs):,} pairs of words"


@dataclass(frozen=True, eq=False)
class AnalogySet:
    """Questions "a is to b as c is to d", by kind, and where they came from."""

    sections: dict[str, tuple[tuple[str, str, str, str], ...]]
    record: Record

    def describe(self) -> str:
        """Return how much there is, for a line of the command line."""
        count = sum(map(len, self.sections.values()))
        return f"{count:,} analogies in {len(self.sections)} sections"


def load(split: str = "wordsim353", stand_in: bool = True) -> PairSet | AnalogySet:
    """Return one of the three sets: "wordsim353", "simlex999" or "analogies".

    Args:
        split: which.
        stand_in: accepted so that all loaders are called alike; nothing stands in for people.

    Raises:
        ValueError: another name.
        WrongBytes: a file in LITGEN_DATA is not what its name says.
        DataUnavailable: nothing has the files.
    """
    return load_analogies() if split == "analogies" else load_pairs(split)


def load_pairs(name: str) -> PairSet:
    """Return "wordsim353" or "simlex999". Raises as `load` does."""
    if name not in CHECKSUM or name == "analogies":
        raise ValueError(f"the sets are {', '.join(CHECKSUM)}; got {name!r}")
    lines, record = _lines(name)
    rows = [line.lower().split("\t") for line in lines if not line.startswith("#")]
    pairs = tuple((first.strip(), second.strip()) for first, second, _ in rows)
    return PairSet(pairs, torch.tensor([float(score) for *_, score in rows]), record)


def load_analogies() -> AnalogySet:
    """Return the 19,544 questions of 14 kinds. Raises as `load` does."""
    lines, record = _lines("analogies")
    sections: dict[str, list[tuple[str, str, str, str]]] = {}
    for line in lines:
        if line.startswith(":"):
            current = sections.setdefault(line[1:].strip(), [])
        else:
            a, b, c, d = line.lower().split()
            current.append((a, b, c, d))
    return AnalogySet({name: tuple(rows) for name, rows in sections.items()}, record)


def _lines(name: str) -> tuple[list[str], Record]:
    """Return a verified file's lines that are not empty, and their record."""
    contents, source = packages.read(JUDGES)
    content = contents[FILES[name]]
    found = checksum(torch.from_numpy(np.frombuffer(content, dtype=np.uint8).copy()))
    if found != CHECKSUM[name]:
        raise WrongBytes(f"{name} has checksum {found}, expected {CHECKSUM[name]}")
    lines = [line for line in content.decode("utf-8").splitlines() if line.strip()]
    about = TITLES[name], source, LICENCE, CITATIONS[name], found, COUNTS
    return lines, Record(*about, stand_in=False)
