"""Proof for litgen/music/hearing.py: loops over steps that know nothing of tensors."""

import pytest
import torch
from torch import Tensor

from litgen.music import hearing

NOTES = (3, 5)


def random_tokens(chains: int = 6, steps: int = 14, seed: int = 0) -> Tensor:
    """Return tokens of two voices, half of them holds, some chains beginning with one."""
    generator = torch.Generator().manual_seed(seed)
    both = []
    for notes in NOTES:
        raw = torch.randint(0, notes, (chains, steps), generator=generator)
        held = torch.rand(chains, steps, generator=generator) < 0.5
        both.append(torch.where(held, notes, raw))
    tokens = torch.stack(both, dim=1)
    tokens[0, :, :3] = torch.tensor(NOTES)[:, None]
    return tokens


def by_loop(tokens: list[int], notes: int) -> list[tuple[int, int]]:
    """Return for each step the note that sounds and how long ago it began."""
    found, note, age = [], notes, 0
    for t, token in enumerate(tokens):
        if token != notes:
            note, age = token, 0
        else:
            age = t + 1 if note == notes else age + 1
        found.append((note, age))
    return found


def test_what_sounds_is_the_last_note_begun() -> None:
    """eq:bach-heard, step by step; nothing sounds before the first note."""
    tokens = random_tokens()
    notes, ages = hearing.sounding(tokens, NOTES), hearing.ages(tokens, NOTES)
    symbols = hearing.heard(tokens, NOTES)
    for chain in range(6):
        for v, count in enumerate(NOTES):
            row = tokens[chain, v].tolist()
            expected = by_loop(row, count)
            assert list(zip(notes[chain, v].tolist(), ages[chain, v].tolist(), strict=True)) == (
                expected
            )
            told = [2 * n + (x != count) for (n, _), x in zip(expected, row, strict=True)]
            assert symbols[chain, v].tolist() == told
    assert symbols[0, 0, :3].tolist() == [6, 6, 6]


def context_by_loop(row: Tensor, voice: int, t: int, offsets: list[int]) -> list[list[int]]:
    """Return symbols slot by slot, with the token at the place struck out."""
    slots = []
    for d in offsets:
        slot = []
        for v, count in enumerate(NOTES):
            tokens, s = row[v].tolist(), t + d
            if not 0 <= s < len(tokens):
                slot.append(2 * count + 1)
                continue
            begun = [u for u in range(s + 1) if tokens[u] != count and not (v == voice and u == t)]
            blind = v == voice and s >= t and not any(u > t for u in begun)
            if blind or not begun:
                slot.append(2 * count)
            else:
                slot.append(2 * tokens[begun[-1]] + (begun[-1] == s))
        slots.append(slot)
    return slots


def test_a_context_hears_everything_but_the_place_itself() -> None:
    """eq:bach-mask, place by place and slot by slot, at the edges too."""
    tokens, offsets = random_tokens(), [-15, -3, -1, 0, 1, 2, 5]
    at = torch.stack([torch.randperm(14, generator=torch.Generator().manual_seed(i)) for i in range(6)])
    for voice in (0, 1):
        found = hearing.context(tokens, NOTES, voice, at, offsets)
        assert found.shape == (6, 14, 7, 2)
        for chain in range(6):
            expected = [context_by_loop(tokens[chain], voice, t, offsets) for t in at[chain].tolist()]
            assert found[chain].tolist() == expected


def test_no_token_is_heard_by_itself() -> None:
    """eq:bach-mask: every other token at the place leaves the context as it is."""
    tokens, offsets = random_tokens(seed=1), list(range(-14, 15))
    for voice, count in enumerate(NOTES):
        for t in range(14):
            at = torch.full((6, 1), t)
            seen = hearing.context(tokens, NOTES, voice, at, offsets)
            for value in range(count + 1):
                changed = tokens.clone()
                changed[:, voice, t] = value
                again = hearing.context(changed, NOTES, voice, at, offsets)
                assert torch.equal(seen, again)


def test_all_other_tokens_are_heard() -> None:
    """eq:bach-mask: a change anywhere else in the window can be seen, notes and holds."""
    tokens = random_tokens(seed=1)
    at, offsets = torch.full((6, 1), 6), list(range(-14, 15))
    seen = hearing.context(tokens, NOTES, 0, at, offsets)
    for voice, count in enumerate(NOTES):
        for t in range(14):
            if (voice, t) == (0, 6):
                continue
            changed = tokens.clone()
            changed[:, voice, t] = (changed[:, voice, t] + 1) % (count + 1)
            again = hearing.context(changed, NOTES, 0, at, offsets)
            assert (seen != again).flatten(1).any(dim=1).all(), (voice, t)


def test_tokens_beyond_an_alphabet_are_refused() -> None:
    """The errors name the alphabets."""
    tokens = random_tokens()
    with pytest.raises(ValueError, match="2 voices of tokens, 3 alphabets"):
        hearing.sounding(tokens, (3, 5, 4))
    tokens[0, 0, 0] = 4
    with pytest.raises(ValueError, match=r"tokens must lie in 0..\[3, 5\]"):
        hearing.sounding(tokens, NOTES)
    tokens[0, 0, 0] = -1
    with pytest.raises(ValueError, match="voice by voice"):
        hearing.heard(tokens, NOTES)
