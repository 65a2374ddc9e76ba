"""Rules of four-part writing, counted: parallel fifths and octaves, crossed voices, ranges.

Chapter: book/music/deepbach.md.  Proof: tests/music/test_rules.py.
Reference: Fux, "Gradus ad Parnassum" (1725), as taught since; Bach keeps to them nearly always.

What is counted can be read off a grid: which pitch sounds in each voice at each step, and where a
note or a rest begins.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from litgen.music.encoding import HOLD, RANGES, REST, Grid
from litgen.scores import Note, Score
from litgen.shapes import Bool, Int

__all__ = [
    "FIFTH",
    "OCTAVE",
    "SILENT",
    "Counts",
    "count",
    "crossings",
    "outside_range",
    "parallels",
    "sounding",
    "total",
]

SILENT = -1
"""In place of a pitch."""
FIFTH = 7
OCTAVE = 0
"""Intervals in semitones, octaves left out."""


@dataclass(frozen=True)
class Counts:
    """How often rules are broken, and in how much music.

    Attributes:
        fifths: pairs of voices in parallel fifths.
        octaves: the same for octaves and unisons.
        crossings: steps on which a voice is above its upper neighbour, for each pair.
        notes: in all voices.
        steps: of the grid.
    """

    fifths: int
    octaves: int
    crossings: int
    notes: int
    steps: int

    def per_hundred(self) -> dict[str, float]:
        """Return parallels per 100 notes and crossings per 100 steps.

        Raises:
            ValueError: no notes.
        """
        if not self.notes or not self.steps:
            raise ValueError("there are no notes to count parallels by")
        return {
            "fifths": 100 * self.fifths / self.notes,
            "octaves": 100 * self.octaves / self.notes,
            "crossings": 100 * self.crossings / self.steps,
        }


def sounding(grid: Grid) -> tuple[Int[Tensor, "4 steps"], Bool[Tensor, "4 steps"]]:
    """Return the pitch that sounds in each voice at each active step, and where tokens begin.

    Where nothing sounds the pitch is ``SILENT``; a rest begins too.
    """
    tokens = grid.tokens[:, grid.active]
    begins = tokens != HOLD
    steps = torch.arange(tokens.shape[1]).expand_as(tokens)
    since = torch.where(begins, steps, -1).cummax(dim=1).values  # where what sounds began
    last = torch.where(since >= 0, tokens.gather(1, since.clamp(min=0)), REST)
    lows = torch.tensor([[low] for low, _ in RANGES])
    return torch.where(last > REST, last - 2 + lows, SILENT), begins


def parallels(grid: Grid, interval: int) -> list[tuple[int, int, int]]:
    """Find two voices that move in one direction from an interval to the same one.

    Two successive moments are compared at which either voice begins a note; octaves within
    the interval do not count, so a twelfth after a fifth is a parallel. A voice that repeats its
    note, or rests, does not move. Implements eq:music-parallel.

    Args:
        grid: the music.
        interval: in semitones: ``FIFTH`` or ``OCTAVE``.

    Returns:
        step of arrival, upper voice, lower voice; in the order of the voices, then of time.

    Raises:
        ValueError: an interval that is none of 0 to 11.
    """
    if not 0 <= interval < 12:
        raise ValueError(f"interval must be 0 to 11 semitones, got {interval}")
    pitch, begins = sounding(grid)
    found = []
    for upper, lower in combinations(range(len(RANGES)), 2):
        at = (begins[upper] | begins[lower]).nonzero().flatten()
        pair = pitch[[upper, lower]][:, at]
        apart = (pair[0] - pair[1]).abs() % 12 == interval
        sounds = (pair != SILENT).all(dim=0)
        moved = (pair[:, 1:] - pair[:, :-1]).sign()
        both = (apart & sounds)[1:] & (apart & sounds)[:-1] & (moved[0] * moved[1] > 0)
        found += [(step, upper, lower) for step in at[1:][both].tolist()]
    return found


def crossings(grid: Grid) -> Bool[Tensor, "3 steps"]:
    """Return where a voice is above its upper neighbour: alto, tenor, bass at each active step."""
    pitch, _ = sounding(grid)
    both = (pitch[1:] != SILENT) & (pitch[:-1] != SILENT)
    return both & (pitch[1:] > pitch[:-1])


def outside_range(score: Score) -> list[tuple[int, Note]]:
    """Return the notes that are too low or too high for their voice, with the voice's number.

    Raises:
        ValueError: not four voices.
    """
    if len(score.voices) != len(RANGES):
        raise ValueError(f"{score.name} has {len(score.voices)} voices, not {len(RANGES)}")
    return [
        (voice, note)
        for voice, (low, high) in enumerate(RANGES)
        for note in score.voices[voice]
        if not low <= note.pitch <= high
    ]


def count(grid: Grid) -> Counts:
    """Count broken rules, notes and steps of one piece."""
    pitch, begins = sounding(grid)
    return Counts(
        fifths=len(parallels(grid, FIFTH)),
        octaves=len(parallels(grid, OCTAVE)),
        crossings=int(crossings(grid).sum()),
        notes=int((begins & (pitch != SILENT)).sum()),
        steps=pitch.shape[1],
    )


def total(counts: Iterable[Counts]) -> Counts:
    """Return the sums over several pieces."""
    counts = list(counts)
    names = Counts.__dataclass_fields__
    return Counts(**{name: sum(getattr(one, name) for one in counts) for name in names})
