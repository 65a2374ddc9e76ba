"""Proof for litgen/music/copying.py: loops over pairs of places, and pieces moved by hand."""

import torch
from torch import Tensor

from litgen.music import copying
from litgen.music.encoding import RANGES


def random_piece(steps: int, seed: int) -> Tensor:
    """Return four voices of few pitches, so that chords come back; the first step has notes."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(5, 7, (4, steps), generator=generator)
    tokens[torch.rand(4, steps, generator=generator) < 0.8] = 0
    tokens[:, 0] = 6
    return tokens


def pitches(tokens: Tensor) -> list[list[int]]:
    """Return what sounds at each step, voice by voice, by a loop."""
    steps: list[list[int]] = []
    for t in range(tokens.shape[1]):
        now = [
            int(x) - 2 + RANGES[v][0] if x else steps[-1][v] for v, x in enumerate(tokens[:, t])
        ]
        steps.append(now)
    return steps


def longest_by_loop(a: Tensor, b: Tensor) -> int:
    """Try every pair of places and every length."""
    first, second, best = pitches(a), pitches(b), 0
    for i in range(len(first)):
        for j in range(len(second)):
            apart = first[i][0] - second[j][0]
            length = 0
            while (
                i + length < len(first)
                and j + length < len(second)
                and all(
                    x - y == apart
                    for x, y in zip(first[i + length], second[j + length], strict=True)
                )
            ):
                length += 1
            best = max(best, length)
    return best


def test_the_longest_run_in_any_key() -> None:
    """eq:bach-run against all pairs of places; the best of several pieces."""
    lengths = []
    for seed in range(8):
        a, b, c = (random_piece(20, 3 * seed + k) for k in range(3))
        lengths.append(copying.longest_run(a, [b]))
        assert lengths[-1] == longest_by_loop(a, b)
        both = copying.longest_run(a, [b, c])
        assert both == max(longest_by_loop(a, b), longest_by_loop(a, c))
    assert len(set(lengths)) > 1
    assert copying.longest_run(a[:, :1], [a]) == 1
    assert copying.longest_run(a, []) == 0


def test_a_piece_copies_itself_in_another_key() -> None:
    """eq:bach-chords: transposed, and cut out of the middle."""
    a = random_piece(30, 0)
    moved = torch.where(a > 1, a + 3, a)
    assert copying.longest_run(a, [moved]) == 30
    assert torch.equal(copying.chords(a), copying.chords(moved))
    one, other = (torch.tensor([[6, step]] * 4) for step in (8, 9))
    assert copying.longest_run(one, [other]) == 1  # the chords are alike, the bass moves elsewhere
    middle = moved[:, 5:25].clone()
    sounds = torch.tensor(pitches(moved)[5]) - torch.tensor([low for low, _ in RANGES]) + 2
    middle[:, 0] = sounds
    assert copying.longest_run(middle, [a]) == 20


def test_chords_by_hand() -> None:
    """Intervals above the bass, and the bass's steps."""
    lows = [low for low, _ in RANGES]
    tokens = torch.tensor(
        [
            [72 - lows[0] + 2, 0, 74 - lows[0] + 2],
            [64 - lows[1] + 2, 65 - lows[1] + 2, 0],
            [55 - lows[2] + 2, 0, 0],
            [48 - lows[3] + 2, 0, 43 - lows[3] + 2],
        ]
    )
    assert copying.chords(tokens).tolist() == [[24, 16, 7, 0], [24, 17, 7, 0], [31, 22, 12, -5]]


def test_silence_is_a_pitch_below_the_range() -> None:
    """eq:bach-chords: a rest, and what has not begun, match themselves in the same key alone."""
    notes = torch.tensor([[9, 0, 9], [9, 0, 9], [9, 1, 9], [9, 0, 9]])
    lows = [low for low, _ in RANGES]
    pitch, silent = [low + 7 for low in lows], lows[2] - 1
    found = copying.chords(notes)
    assert found[1].tolist() == [pitch[0] - pitch[3], pitch[1] - pitch[3], silent - pitch[3], 0]
    unbegun = notes.clone()
    unbegun[2, 0] = 0
    assert copying.chords(unbegun)[0].tolist() == found[1].tolist()
    moved = torch.where(notes > 1, notes + 3, notes)
    assert copying.longest_run(notes, [notes]) == 3
    assert copying.longest_run(notes, [moved]) == 1
