"""A chorale as a grid of tokens: four voices, one token a step, a sign for a note that goes on.

Chapter: book/music/deepbach.md.  Proof: tests/music/test_encoding.py.
Reference: Hadjeres, Pachet & Nielsen, "DeepBach: a Steerable Model for Bach Chorales Generation"
(2017), section 2.1.

Notation: the paper's lists of tokens V_1 to V_4, one a voice, are the rows of ``Grid.tokens``,
soprano first; its sign __ is ``HOLD``; its subdivision list S is ``Grid.metre``, its fermata list
F is ``Grid.fermata``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from litgen.scores import Note, Score
from litgen.shapes import Bool, Int

__all__ = [
    "HOLD",
    "RANGES",
    "REST",
    "Alphabet",
    "Grid",
    "alphabet",
    "cut",
    "decode",
    "described",
    "encode",
    "padded",
    "room",
    "transposed",
]

HOLD = 0
"""The token of a step on which nothing begins: the note, or the rest, before it goes on."""
REST = 1
"""The token of a step on which a rest begins."""
RANGES = ((57, 81), (53, 74), (48, 69), (36, 64))
"""Lowest and highest pitch of each voice in the 365 chorales."""
SIXTEENTH = 2  # in 32nds
BEAT = 4  # in 16ths: a quarter


@dataclass(frozen=True)
class Alphabet:
    """A voice's tokens: 0 hold, 1 rest, then its pitches from ``low`` to ``high``.

    Attributes:
        low: lowest pitch.
        high: highest pitch.
    """

    low: int
    high: int

    @property
    def size(self) -> int:
        """Number of tokens that the voice may have."""
        return self.high - self.low + 3

    @property
    def outside(self) -> int:
        """Token of steps before the start and after the end: a model reads it, none writes it."""
        return self.size

    def token(self, pitch: int) -> int:
        """Return a pitch's token.

        Raises:
            ValueError: a pitch out of range.
        """
        if not self.low <= pitch <= self.high:
            raise ValueError(f"pitch {pitch} is not in {self.low}..{self.high}")
        return pitch - self.low + 2

    def pitch(self, token: int) -> int:
        """Return a token's pitch.

        Raises:
            ValueError: a token without pitch: hold, rest, or one of no voice.
        """
        if not 2 <= token < self.size:
            raise ValueError(f"token {token} is no pitch; pitches are 2..{self.size - 1}")
        return token + self.low - 2


@cache
def alphabet(voice: int) -> Alphabet:
    """Return the alphabet of voice 0 (soprano), 1, 2 or 3 (bass).

    Raises:
        ValueError: another voice.
    """
    if voice not in range(len(RANGES)):
        raise ValueError(f"voice must be 0 to {len(RANGES) - 1}, got {voice}")
    return Alphabet(*RANGES[voice])


@dataclass(frozen=True, eq=False)
class Grid:
    """A chorale on a grid.

    Attributes:
        tokens: each in the alphabet of its voice.
        metre: 16ths since the last beat, 0 to 3; a beat is a quarter.
        fermata: whether the soprano's note at this step is under a fermata.
        active: False where the grid is padded.
        bar: number of the step's bar, from 0; -1 where the grid is padded.
        unit: length of a step in 32nds: 2 (a 16th), or 1 for scores that have shorter notes.
        sharps: of the key signature.
    """

    tokens: Int[Tensor, "4 steps"]
    metre: Int[Tensor, " steps"]
    fermata: Bool[Tensor, " steps"]
    active: Bool[Tensor, " steps"]
    bar: Int[Tensor, " steps"]
    unit: int = SIXTEENTH
    sharps: int = 0


def encode(score: Score, unit: int | None = None) -> Grid:
    """Write a score of four voices onto a grid. Implements eq:music-grid.

    Args:
        score: soprano, alto, tenor, bass.
        unit: 32nds a step; unless given, 2 where all notes fit, and else 1.

    Raises:
        ValueError: not four voices, a pitch out of its voice's range, or notes between the steps;
            the message names score and voice.
    """
    if len(score.voices) != len(RANGES):
        raise ValueError(f"{score.name} has {len(score.voices)} voices, not {len(RANGES)}")
    times = [score.length, score.pickup, *score.bars]
    times += [t for voice in score.voices for note in voice for t in note[1:3]]
    if unit is None:
        unit = 1 if any(t % SIXTEENTH for t in times) else SIXTEENTH
    if unit not in (1, SIXTEENTH) or any(t % unit for t in times):
        raise ValueError(f"{score.name} does not fit steps of {unit} 32nds")
    steps = score.length // unit
    tokens = torch.full((len(RANGES), steps), HOLD)
    for voice, notes in enumerate(score.voices):
        tokens[voice] = torch.tensor(_row(notes, voice, steps, unit, score.name))
    fermata = torch.zeros(steps, dtype=torch.bool)
    for note in score.voices[0]:
        if note.fermata:
            fermata[note.start // unit : (note.start + note.duration) // unit] = True
    time = torch.arange(steps) * unit
    metre = (time - score.pickup) // SIXTEENTH % BEAT
    bar = torch.bucketize(time, torch.tensor(score.bars), right=True) - 1
    active = torch.ones(steps, dtype=torch.bool)
    return Grid(tokens, metre, fermata, active, bar, unit, score.sharps)


def _row(notes: Sequence[Note], voice: int, steps: int, unit: int, name: str) -> list[int]:
    """Return one voice's tokens."""
    row = [HOLD] * steps
    end = 0
    letters = alphabet(voice)
    for note in notes:
        start = note.start // unit
        if start < end or note.duration < unit or note.start + note.duration > steps * unit:
            raise ValueError(f"{name}, voice {voice}: notes overlap or leave the score")
        if start > end:
            row[end] = REST
        try:
            row[start] = letters.token(note.pitch)
        except ValueError as error:
            raise ValueError(f"{name}, voice {voice}, step {start}: {error}") from None
        end = start + note.duration // unit
    if end < steps:
        row[end] = REST
    return row


def decode(grid: Grid, name: str = "decoded") -> Score:
    """Read the notes off a grid, without its padding; the inverse of `encode`.

    A hold with nothing before it is silence. Of fermatas the soprano's come back.

    Raises:
        ValueError: a token that is in no alphabet; the message names voice and step.
    """
    kept = grid.active.nonzero().flatten()
    steps = len(kept)
    fermata = grid.fermata[kept].tolist()
    voices = []
    for voice, row in enumerate(grid.tokens[:, kept].tolist()):
        letters = alphabet(voice)
        begins = [i for i, token in enumerate(row) if token != HOLD] + [steps]
        notes = []
        for start, end in pairwise(begins):
            if row[start] == REST:
                continue
            try:
                pitch = letters.pitch(row[start])
            except ValueError as error:
                raise ValueError(f"voice {voice}, step {start}: {error}") from None
            held = voice == 0 and fermata[start]
            notes.append(Note(pitch, start * grid.unit, (end - start) * grid.unit, held))
        voices.append(tuple(notes))
    bar, metre = grid.bar[kept], grid.metre[kept]
    bars = tuple(grid.unit * int((bar == b).nonzero()[0]) for b in bar.unique().tolist())
    first = bars[1] if len(bars) > 1 else 0
    cut_short = (steps and int(metre[0])) or (len(bars) > 2 and first < bars[2] - bars[1])
    pickup = first if cut_short else 0
    return Score(name, tuple(voices), bars, pickup, steps * grid.unit, grid.sharps)


def room(grid: Grid) -> tuple[int, int]:
    """Return by how many semitones a grid can move down (0 or less) and up (0 or more).

    A grid without notes has no limits of its own: an octave each way.
    """
    down, up = -12, 12
    for voice, row in enumerate(grid.tokens):
        pitched = row[(row >= 2) & grid.active]
        if len(pitched):
            down = max(down, 2 - int(pitched.min()))
            up = min(up, alphabet(voice).size - 1 - int(pitched.max()))
    return down, up


def transposed(grid: Grid, semitones: int) -> Grid:
    """Return a grid moved up by semitones. Implements eq:music-transposed.

    Raises:
        ValueError: a voice would leave its range.
    """
    down, up = room(grid)
    if not down <= semitones <= up:
        raise ValueError(f"{semitones} semitones are not in {down}..{up}, the room of the grid")
    pitched = (grid.tokens >= 2) & grid.active
    sharps = (grid.sharps + 7 * semitones + 5) % 12 - 5
    sharps = grid.sharps if semitones == 0 else sharps
    return replace(grid, tokens=grid.tokens + semitones * pitched, sharps=sharps)


def padded(grid: Grid, before: int, after: int) -> Grid:
    """Put steps before the start and after the end, with the token ``Alphabet.outside``.

    The metre goes on counting into the padding; no fermata is there, and nothing is active.

    Raises:
        ValueError: a negative number of steps.
    """
    if before < 0 or after < 0:
        raise ValueError(f"cannot pad by {before} and {after} steps")
    steps = grid.tokens.shape[1]
    inside = slice(before, before + steps)
    outside = torch.tensor([[alphabet(voice).outside] for voice in range(len(RANGES))])
    tokens = outside.repeat(1, before + steps + after)
    tokens[:, inside] = grid.tokens
    fermata = torch.zeros(before + steps + after, dtype=torch.bool)
    active, bar = fermata.clone(), torch.full((len(fermata),), -1)
    fermata[inside], active[inside], bar[inside] = grid.fermata, grid.active, grid.bar
    start = int(grid.metre[0]) * SIXTEENTH if steps else 0
    time = start + (torch.arange(len(fermata)) - before) * grid.unit
    metre = time // SIXTEENTH % BEAT
    metre[inside] = grid.metre
    return replace(grid, tokens=tokens, metre=metre, fermata=fermata, active=active, bar=bar)


def cut(grid: Grid, start: int, stop: int) -> Grid:
    """Return the steps from ``start`` up to, but not including, ``stop``.

    A note that began earlier is lost: its holds stay, and are silence when decoded.

    Raises:
        ValueError: steps that the grid does not have.
    """
    if not 0 <= start < stop <= grid.tokens.shape[1]:
        raise ValueError(f"steps {start} to {stop} are not in 0 to {grid.tokens.shape[1]}")
    here = slice(start, stop)
    return replace(
        grid,
        tokens=grid.tokens[:, here],
        metre=grid.metre[here],
        fermata=grid.fermata[here],
        active=grid.active[here],
        bar=grid.bar[here],
    )


def described(grid: Grid, name: str) -> dict[str, Any]:
    """Return a grid for the book's page: lists of whole numbers, bars from 0, and its name.

    Raises:
        ValueError: a padded grid, or one whose steps are no 16ths.
    """
    if not bool(grid.active.all()) or grid.unit != SIXTEENTH:
        raise ValueError(f"{name} is padded, or its steps of {grid.unit} 32nds are no 16ths")
    rows = {"metre": grid.metre, "fermata": grid.fermata.int(), "bar": grid.bar - grid.bar.min()}
    tokens = {"name": name, "tokens": grid.tokens.tolist(), "sharps": grid.sharps}
    return tokens | {key: row.tolist() for key, row in rows.items()}
