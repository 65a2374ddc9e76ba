"""How much of a sample stands in the training set: the longest run of chords, in any key.

Chapter: book/music/deepbach.md.  Proof: tests/music/test_copying.py.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from litgen.music.encoding import RANGES
from litgen.music.hearing import sounding
from litgen.shapes import Int

__all__ = ["chords", "longest_run"]


def chords(tokens: Int[Tensor, "4 steps"]) -> Int[Tensor, "steps 4"]:
    """Return each step's chord in no key: three intervals, and the bass's move to it.

    Intervals are those of soprano, alto and tenor above the bass, in semitones. A silent voice
    counts as one below its range, so that silence matches silence in one key only.
    The first step's move is 0. Unchanged by transposition: eq:bach-chords.
    """
    lows = torch.tensor([low for low, _ in RANGES])[:, None]
    pitch = sounding(tokens).clamp(min=1) - 2 + lows
    bass = pitch[3]
    return torch.stack(
        [*(voice - bass for voice in pitch[:3]), bass.diff(prepend=bass[:1])], dim=1
    )


def longest_run(tokens: Int[Tensor, "4 steps"], corpus: Iterable[Int[Tensor, "4 length"]]) -> int:
    """Return over how many steps in a row a piece has the chords of some other: eq:bach-run.

    The first step of a run may be reached from anywhere: its move is not compared.

    Args:
        tokens: the piece.
        corpus: others.
    """
    mine, best = chords(tokens), 0
    for other in corpus:
        theirs = chords(other)
        same = (mine[:, None, :3] == theirs[None, :, :3]).all(dim=2)
        moved = same & (mine[:, None, 3] == theirs[None, :, 3])
        run = same[0].long()
        best = max(best, int(run.max()))
        for i in range(1, len(mine)):
            before = torch.cat([run.new_zeros(1), run[:-1]])
            run = torch.where(moved[i], before + 1, same[i].long())
            best = max(best, int(run.max()))
    return best
