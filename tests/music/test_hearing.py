"""Proof for litgen/music/hearing.py: loops over steps that know nothing of tensors."""

import torch
from torch import Tensor

from litgen.music import hearing

SIZES = (4, 6)


def random_tokens(chains: int = 6, steps: int = 14, seed: int = 0) -> Tensor:
    """Return tokens of two voices, half of them holds, some chains beginning with one."""
    generator = torch.Generator().manual_seed(seed)
    both = []
    for size in SIZES:
        raw = torch.randint(1, size, (chains, steps), generator=generator)
        held = torch.rand(chains, steps, generator=generator) < 0.5
        both.append(torch.where(held, 0, raw))
    tokens = torch.stack(both, dim=1)
    tokens[0, :, :3] = 0
    return tokens


def by_loop(tokens: list[int]) -> list[tuple[int, int]]:
    """Return for each step the token that sounds and how long ago it began."""
    found, sounds, age = [], 0, 0
    for token in tokens:
        sounds, age = (token, 0) if token else (sounds, age + 1)
        found.append((sounds, age))
    return found


def test_what_sounds_is_the_last_token_begun() -> None:
    """eq:bach-heard, step by step; nothing is known before the first."""
    tokens = random_tokens()
    notes, ages = hearing.sounding(tokens), hearing.ages(tokens)
    symbols = hearing.heard(tokens)
    for chain in range(6):
        for v in range(2):
            row = tokens[chain, v].tolist()
            expected = by_loop(row)
            assert list(zip(notes[chain, v].tolist(), ages[chain, v].tolist(), strict=True)) == (
                expected
            )
            told = [2 * n + (x != 0) for (n, _), x in zip(expected, row, strict=True)]
            assert symbols[chain, v].tolist() == told
    assert symbols[0, 0, :3].tolist() == [0, 0, 0]
    assert ages[0, 0, :3].tolist() == [1, 2, 3]


def context_by_loop(row: Tensor, voice: int, t: int, offsets: list[int]) -> list[list[int]]:
    """Return symbols slot by slot, with the token at the place struck out."""
    slots = []
    for d in offsets:
        slot = []
        for v in range(2):
            tokens, s = row[v].tolist(), t + d
            if not 0 <= s < len(tokens):
                slot.append(1)
                continue
            begun = [u for u in range(s + 1) if tokens[u] and not (v == voice and u == t)]
            blind = v == voice and s >= t and not any(u > t for u in begun)
            if blind or not begun:
                slot.append(0)
            else:
                slot.append(2 * tokens[begun[-1]] + (begun[-1] == s))
        slots.append(slot)
    return slots


def test_a_context_hears_everything_but_the_place_itself() -> None:
    """eq:bach-mask, place by place and slot by slot, at the edges too."""
    tokens, offsets = random_tokens(), [-15, -3, -1, 0, 1, 2, 5]
    at = torch.stack(
        [torch.randperm(14, generator=torch.Generator().manual_seed(i)) for i in range(6)]
    )
    for voice in (0, 1):
        found = hearing.context(tokens, voice, at, offsets)
        assert found.shape == (6, 14, 7, 2)
        for chain in range(6):
            expected = [
                context_by_loop(tokens[chain], voice, t, offsets) for t in at[chain].tolist()
            ]
            assert found[chain].tolist() == expected


def test_no_token_is_heard_by_itself() -> None:
    """eq:bach-mask: every other token at the place leaves the context as it is."""
    tokens, offsets = random_tokens(seed=1), list(range(-14, 15))
    for voice, size in enumerate(SIZES):
        for t in range(14):
            at = torch.full((6, 1), t)
            seen = hearing.context(tokens, voice, at, offsets)
            for value in range(size):
                changed = tokens.clone()
                changed[:, voice, t] = value
                again = hearing.context(changed, voice, at, offsets)
                assert torch.equal(seen, again)


def test_all_other_tokens_are_heard() -> None:
    """eq:bach-mask: a change anywhere else in the window can be seen, notes and holds."""
    tokens = random_tokens(seed=1)
    at, offsets = torch.full((6, 1), 6), list(range(-14, 15))
    seen = hearing.context(tokens, 0, at, offsets)
    for voice, size in enumerate(SIZES):
        for t in range(14):
            if (voice, t) == (0, 6):
                continue
            changed = tokens.clone()
            changed[:, voice, t] = (changed[:, voice, t] + 1) % size
            again = hearing.context(changed, 0, at, offsets)
            assert (seen != again).flatten(1).any(dim=1).all(), (voice, t)
