"""What sounds at a step, and what a voice may hear of it when its own note is taken away.

Chapter: book/music/deepbach.md.  Proof: tests/music/test_hearing.py.

Tokens of a voice with N notes: 0..N-1 begin a note, N holds what sounds. Symbols of a step:
2 * note + 1 where the note begins, 2 * note where it is held, 2N unknown, 2N + 1 outside the piece.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from litgen.shapes import Int

__all__ = ["ages", "context", "heard", "sounding"]


def ages(
    tokens: Int[Tensor, "chains voices steps"], notes: Sequence[int]
) -> Int[Tensor, "chains voices steps"]:
    """Return how many steps ago the note that sounds began; step + 1 if none has."""
    steps = torch.arange(tokens.shape[-1], device=tokens.device)
    hold = torch.tensor(list(notes), device=tokens.device)[:, None]
    begun = torch.where(tokens != hold, steps, -1)
    return steps - begun.cummax(dim=-1).values


def sounding(
    tokens: Int[Tensor, "chains voices steps"], notes: Sequence[int]
) -> Int[Tensor, "chains voices steps"]:
    """Return the note that sounds at every step, N where none has begun: eq:bach-heard.

    Raises:
        ValueError: a voice too many or too few, or a token beyond a voice's hold.
    """
    if tokens.shape[1] != len(notes):
        raise ValueError(f"{tokens.shape[1]} voices of tokens, {len(notes)} alphabets")
    hold = torch.tensor(list(notes), device=tokens.device)[:, None]
    if bool(((tokens < 0) | (tokens > hold)).any()):
        raise ValueError(f"tokens must lie in 0..{list(notes)}, voice by voice")
    steps = torch.arange(tokens.shape[-1], device=tokens.device)
    begun = steps - ages(tokens, notes)
    note = tokens.gather(-1, begun.clamp(min=0))
    return torch.where(begun < 0, hold, note)


def heard(
    tokens: Int[Tensor, "chains voices steps"], notes: Sequence[int]
) -> Int[Tensor, "chains voices steps"]:
    """Return the symbol of every step: 2 * note, plus 1 where it begins; 2N before the first."""
    hold = torch.tensor(list(notes), device=tokens.device)[:, None]
    note = sounding(tokens, notes)
    return 2 * note + (tokens != hold).long()


def context(
    tokens: Int[Tensor, "chains voices steps"],
    notes: Sequence[int],
    voice: int,
    at: Int[Tensor, "chains block"],
    offsets: Sequence[int],
) -> Int[Tensor, "chains block slots voices"]:
    """Return the symbols around places of a voice, with its own token there taken away.

    In the voice itself a step after the place is unknown (2N) as long as no note has begun in
    between: what sounds there would be the token that is asked for. Implements eq:bach-mask.

    Args:
        tokens: of all voices.
        notes: how many each alphabet has.
        voice: whose token is asked for.
        at: the places, in steps.
        offsets: steps relative to a place, one a slot.
    """
    chains, voices, steps = tokens.shape
    where = at[..., None] + torch.tensor(list(offsets), device=tokens.device)
    inside = (where >= 0) & (where < steps)
    index = where.clamp(0, steps - 1).flatten(1)
    spread = index[:, None].expand(-1, voices, -1)
    shape = chains, voices, *where.shape[1:]
    symbols = heard(tokens, notes).gather(-1, spread).view(shape)
    age = ages(tokens[:, voice : voice + 1], notes[voice : voice + 1])[:, 0]
    since = age.gather(1, index).view(where.shape)
    ahead = where - at[..., None]
    hidden = (ahead >= 0) & (since >= ahead)
    symbols[:, voice] = torch.where(hidden, 2 * notes[voice], symbols[:, voice])
    outside = torch.tensor([2 * n + 1 for n in notes], device=tokens.device)
    symbols = torch.where(inside[:, None], symbols, outside[:, None, None])
    return symbols.permute(0, 2, 3, 1)
