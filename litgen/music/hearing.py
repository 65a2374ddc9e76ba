"""What sounds at a step, and what a voice may hear of it when its own token is taken away.

Chapter: book/music/deepbach.md.  Proof: tests/music/test_hearing.py.

Tokens are those of litgen/music/encoding.py: 0 holds, 1 begins a rest, the others begin a note.
A symbol says what sounds at a step: 2 * token where it is held, 2 * token + 1 where it begins, 0
where it is unknown, 1 outside the piece.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from litgen.shapes import Int

__all__ = ["OUTSIDE", "UNKNOWN", "ages", "context", "heard", "sounding"]

UNKNOWN, OUTSIDE = 0, 1


def ages(tokens: Int[Tensor, "*voices steps"]) -> Int[Tensor, "*voices steps"]:
    """Return how many steps ago what sounds began; step + 1 where nothing has begun yet."""
    steps = torch.arange(tokens.shape[-1], device=tokens.device)
    begun = torch.where(tokens != 0, steps, -1)
    return steps - begun.cummax(dim=-1).values


def sounding(tokens: Int[Tensor, "*voices steps"]) -> Int[Tensor, "*voices steps"]:
    """Return the last token begun at every step, 0 where none has. Implements eq:bach-heard."""
    begun = torch.arange(tokens.shape[-1], device=tokens.device) - ages(tokens)
    return torch.where(begun < 0, 0, tokens.gather(-1, begun.clamp(min=0)))


def heard(tokens: Int[Tensor, "*voices steps"]) -> Int[Tensor, "*voices steps"]:
    """Return the symbol of every step."""
    return 2 * sounding(tokens) + (tokens != 0)


def context(
    tokens: Int[Tensor, "chains voices steps"],
    voice: int,
    at: Int[Tensor, "chains block"],
    offsets: Sequence[int],
) -> Int[Tensor, "chains block slots voices"]:
    """Return the symbols around places of a voice, with its own token there taken away.

    In the voice itself a step after the place is unknown as long as nothing has begun in
    between: what sounds there would be the token that is asked for. Implements eq:bach-mask.

    Args:
        tokens: of all voices.
        voice: whose token is asked for.
        at: the places, in steps.
        offsets: steps relative to a place, one a slot.
    """
    _, voices, steps = tokens.shape
    ahead = torch.tensor(list(offsets), device=tokens.device)
    where = at[..., None] + ahead
    inside = (where >= 0) & (where < steps)
    index = where.clamp(0, steps - 1).flatten(1)
    spread = index[:, None].expand(-1, voices, -1)
    symbols = heard(tokens).gather(-1, spread).view(len(tokens), voices, *where.shape[1:])
    since = ages(tokens[:, voice]).gather(1, index).view(where.shape)
    hidden = (ahead >= 0) & (since >= ahead)
    symbols[:, voice] = torch.where(hidden, UNKNOWN, symbols[:, voice])
    symbols = torch.where(inside[:, None], symbols, OUTSIDE)
    return symbols.permute(0, 2, 3, 1)
