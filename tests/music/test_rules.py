"""Proof for litgen/music/rules.py: chords by hand, and music21's voice leading beside it."""

import itertools
import warnings
from dataclasses import replace
from typing import Any

import pytest
import torch

from litgen.data import chorales, sources
from litgen.music import encoding, rules
from litgen.music.encoding import HOLD, REST, Grid, encode
from litgen.music.rules import FIFTH, OCTAVE, SILENT, Counts
from litgen.scores import Note, Score


def lines(*voices: list[int]) -> Grid:
    """Return a grid of quarters; 0 rests, a negative number goes on. Voices from the soprano."""
    rows: list[tuple[Note, ...]] = []
    for voice in (*voices, *([[]] * (4 - len(voices)))):
        notes: list[Note] = []
        for i, pitch in enumerate(voice):
            if pitch > 0:
                notes.append(Note(pitch, 8 * i, 8))
            elif pitch < 0:
                notes[-1] = notes[-1]._replace(duration=notes[-1].duration + 8)
        rows.append(tuple(notes))
    return encode(Score("x", tuple(rows), (0,), 0, 8 * max(map(len, voices)), 0))


@pytest.mark.parametrize(
    ("upper", "lower", "interval", "steps"),
    [
        ([67, 69], [60, 62], FIFTH, [4]),
        ([67, 65], [60, 58], FIFTH, [4]),  # down
        ([67, 74], [60, 55], FIFTH, []),  # fifth to twelfth in contrary motion
        ([67, 76], [60, 57], FIFTH, []),
        ([67, 81], [60, 62], FIFTH, [4]),  # a fifth, then a twelfth, both up
        ([67, 67], [60, 60], FIFTH, []),  # repeated
        ([67, 69], [60, 61], FIFTH, []),  # a minor sixth
        ([67, 68], [60, 62], FIFTH, []),  # a diminished fifth
        ([65, 67], [60, 62], FIFTH, []),  # fourths
        ([62, 64], [67, 69], FIFTH, []),  # a fourth is no fifth upside down
        ([60, 62], [67, 69], FIFTH, [4]),  # crossed voices, still fifths
        ([67, 0, 69], [60, 0, 62], FIFTH, []),  # a rest between
        ([67, 69], [60, -1], FIFTH, []),  # one voice only
        ([67, 69, 71], [60, -1, 64], FIFTH, []),  # a sixth between
        ([67, 71, 69], [60, -1, 62], FIFTH, []),
        ([72, 74, 76], [60, 62, 64], OCTAVE, [4, 8]),
        ([72, 62], [60, 62], OCTAVE, []),  # octave to unison in contrary motion
        ([74, 62], [62, 62], OCTAVE, []),
        ([72, 69], [72, 69], OCTAVE, [4]),  # unisons
        ([72, 74], [60, 61], OCTAVE, []),
        ([67, 69], [60, 62], OCTAVE, []),
        ([72, 74], [60, 62], FIFTH, []),
    ],
)
def test_two_voices(upper: list[int], lower: list[int], interval: int, steps: list[int]) -> None:
    """eq:music-parallel: equal perfect intervals, both voices moving the same way."""
    grid = lines(upper, lower)
    assert rules.parallels(grid, interval) == [(step, 0, 1) for step in steps]


def test_every_pair_of_voices_is_looked_at() -> None:
    """The pair is named, upper voice first."""
    silent: list[int] = [0, 0]
    for upper, lower in itertools.combinations(range(4), 2):
        voices = [silent] * 4
        voices[upper], voices[lower] = [62, 64], [62, 64]
        assert rules.parallels(lines(*voices), OCTAVE) == [(4, upper, lower)]


def test_successive_moments_are_those_of_the_pair() -> None:
    """A third voice's note between does not hide a parallel; a passing note of the pair's does."""
    score = Score(
        "x",
        (
            (Note(67, 0, 8), Note(69, 8, 8)),
            (Note(60, 0, 8), Note(62, 8, 8)),
            (Note(50, 0, 4), Note(52, 4, 12)),
            (),
        ),
        (0,),
        0,
        16,
        0,
    )
    assert rules.parallels(encode(score), FIFTH) == [(4, 0, 1)]
    passing = replace(
        score, voices=((Note(67, 0, 6), Note(68, 6, 2), Note(69, 8, 8)), *score.voices[1:])
    )
    assert rules.parallels(encode(passing), FIFTH) == []
    offbeat = replace(
        score,
        voices=((Note(67, 0, 8), Note(69, 8, 8)), (Note(60, 0, 10), Note(62, 10, 6)), (), ()),
    )
    assert (
        rules.parallels(encode(offbeat), FIFTH) == []
    )  # first a sixth, then the fifth: one moved


def test_what_sounds() -> None:
    """A held note, a rest, and a hold before the first note."""
    grid = lines([60, -1, 0, 62], [0, 57, 0, 0])
    pitch, begins = rules.sounding(grid)
    assert pitch[0].tolist() == [60] * 8 + [SILENT] * 4 + [62] * 4
    assert pitch[1].tolist() == [SILENT] * 4 + [57] * 4 + [SILENT] * 8
    assert (pitch[2:] == SILENT).all()
    assert begins[0].nonzero().flatten().tolist() == [0, 8, 12]
    grid.tokens[0, 0] = HOLD
    grid.tokens[1, 0] = REST
    pitch, _ = rules.sounding(grid)
    assert pitch[0].tolist() == [SILENT] * 12 + [62] * 4
    padded = encoding.padded(grid, 5, 3)
    for ours, theirs in zip(rules.sounding(padded), rules.sounding(grid), strict=True):
        assert torch.equal(ours, theirs)


def test_crossings() -> None:
    """Neighbours only, steps that are equal are none, nor are rests."""
    grid = lines([60, 60, 60, 60], [62, 60, 0, 59], [48, 61, 66, 0], [50, 50, 50, 50])
    found = rules.crossings(grid)
    assert found[:, ::4].tolist() == [
        [True, False, False, False],
        [False, True, False, False],
        [True, False, False, False],
    ]
    assert found.sum() == 12


def test_counts() -> None:
    """By hand, for a bar of four voices; and the sums."""
    grid = lines([72, 74, 76, 76], [67, 69, -1, 72], [60, 62, 0, 67], [48, 50, 60, 60])
    found = rules.count(grid)
    # soprano, tenor and bass move in octaves once each pair; alto with tenor and bass in fifths
    assert found == Counts(fifths=2, octaves=3, crossings=0, notes=14, steps=16)
    assert found.per_hundred() == pytest.approx(
        {"fifths": 200 / 14, "octaves": 300 / 14, "crossings": 0}
    )
    crossed = rules.count(lines([60, -1], [62, -1], [64, -1], [62, -1]))
    assert crossed == Counts(0, 0, 16, 4, 8)
    assert crossed.per_hundred()["crossings"] == 200
    assert rules.total(iter([found, crossed])) == Counts(2, 3, 16, 18, 24)
    assert rules.total([]) == Counts(0, 0, 0, 0, 0)
    for empty in (Counts(0, 0, 0, 0, 4), Counts(0, 0, 0, 4, 0)):
        with pytest.raises(ValueError, match="there are no notes to count parallels by"):
            empty.per_hundred()
    for interval in (-1, 12):
        with pytest.raises(
            ValueError, match=f"interval must be 0 to 11 semitones, got {interval}"
        ):
            rules.parallels(grid, interval)


def test_ranges() -> None:
    """The limits themselves are allowed."""
    voices = (
        (Note(57, 0, 8), Note(81, 8, 8), Note(82, 16, 8)),
        (Note(52, 0, 8), Note(53, 8, 8)),
        (Note(69, 0, 8), Note(70, 8, 8)),
        (Note(36, 0, 8), Note(35, 8, 8), Note(64, 16, 8)),
    )
    found = rules.outside_range(Score("x", voices, (0,), 0, 24, 0))
    assert found == [(0, voices[0][2]), (1, voices[1][0]), (2, voices[2][1]), (3, voices[3][1])]
    with pytest.raises(ValueError, match="x has 1 voices, not 4"):
        rules.outside_range(Score("x", voices[:1], (0,), 0, 24, 0))


def real() -> list[Grid]:
    """Return the test chorales' grids."""
    try:
        return [encode(s) for s in chorales.load("test", stand_in=False).scores]
    except sources.DataUnavailable as reason:
        pytest.skip(str(reason))


@pytest.mark.usefixtures("real_data")
def test_rules_do_not_know_the_key() -> None:
    """Moved up or down as far as there is room, a chorale breaks the same rules."""
    broken = 0
    for grid in real()[:12]:
        found = rules.count(grid)
        broken += found.crossings
        for k in encoding.room(grid):
            assert rules.count(encoding.transposed(grid, k)) == found
    assert broken > 0


@pytest.mark.usefixtures("real_data")
def test_music21_finds_the_same_parallels() -> None:
    """In random chords, where parallels abound, and in four chorales; compound ones aside."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        music21 = pytest.importorskip("music21")
        draw = torch.Generator().manual_seed(3)
        scale = torch.tensor([0, 2, 4, 5, 7, 9, 11])
        grids = real()[:2]
        for _ in range(3):
            steps = torch.randint(0, 7, (4, 80), generator=draw)
            low = torch.tensor([60, 55, 50, 40])[:, None]
            grids.append(lines(*(low + 5 + scale[steps] % 12).clamp(max=64).tolist()))
            grids.append(lines(*(scale[steps] + torch.tensor([60, 55, 48, 48])[:, None]).tolist()))
        counts = {FIFTH: 0, OCTAVE: 0}
        for grid in grids:
            pitch, begins = rules.sounding(grid)
            for upper, lower in itertools.combinations(range(4), 2):
                for interval in (FIFTH, OCTAVE):
                    ours = {
                        s
                        for s, a, b in rules.parallels(grid, interval)
                        if (a, b) == (upper, lower)
                    }
                    theirs = judged(music21, pitch, begins, upper, lower, interval)
                    assert ours == theirs
                    counts[interval] += len(ours)
        assert min(counts.values()) > 10


def judged(
    music21: Any, pitch: Any, begins: Any, upper: int, lower: int, interval: int
) -> set[int]:
    """Return the steps at which music21 finds a parallel of two voices."""
    at = (begins[upper] | begins[lower]).nonzero().flatten().tolist()
    found = set()
    for before, after in itertools.pairwise(at):
        four = [
            int(pitch[v, t])
            for v, t in ((upper, before), (upper, after), (lower, before), (lower, after))
        ]
        if SILENT in four:
            continue
        if (four[0] - four[2]) * (four[1] - four[3]) < 0 or four[0] < four[2] or four[1] < four[3]:
            four = [*four[2:], *four[:2]]  # music21 wants the upper voice first
        if four[0] < four[2] or four[1] < four[3]:
            continue
        notes = [music21.note.Note(p) for p in four]
        moving = music21.voiceLeading.VoiceLeadingQuartet(*notes)
        wanted = {FIFTH: ("P5",), OCTAVE: ("P1", "P8")}[interval]
        simple = [music21.interval.Interval(notes[i + 2], notes[i]).semiSimpleName for i in (0, 1)]
        together = moving.similarMotion() or moving.parallelMotion()
        if together and four[0] != four[1] and all(name in wanted for name in simple):
            found.add(after)
    return found
