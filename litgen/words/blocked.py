"""The same training as pair by pair, as a few matrix products: blocks of consecutive centre words.

Chapter: book/words/skipgram.md.  Proof: tests/words/test_blocked.py.
Reference: Ji, Satish, Li & Dubey, "Parallelizing Word2Vec in Shared and Distributed Memory"
    (2016), for negatives that several pairs share.

A block of ``size`` consecutive centres meets ``size + 2 window`` consecutive contexts, so their
inner products are one small matrix, in which the true pairs are a band along the diagonal. A few
blocks together share their negatives; each negative's weight makes up for their number.

What a step costs is its six products and, next, moving rows in and out of the two matrices. So
blocks are short (little outside the band), all rows come and go in one call for each matrix, and
every step writes into the same `Room`.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from litgen.shapes import Float, Int
from litgen.words.vocabulary import Corpus, draw, subsample

__all__ = [
    "Blocks",
    "Room",
    "Rows",
    "Settings",
    "band_of",
    "blocks_of",
    "epochs",
    "reaches",
    "room_for",
    "sides_of",
    "step",
]


class Settings(NamedTuple):
    """How a text is cut and how far a step goes.

    Attributes:
        window: words on either side at most; each centre draws 1..window.
        negatives: k, negatives for each true pair.
        size: centres in a block.
        together: blocks that share their negatives.
        shared: negatives that they draw; to a centre each counts for ``pairs * k / shared``.
        blocks: blocks in one step, a multiple of ``together``. All of a step's gradients are taken
            at one place: with too many, frequent words overshoot and training diverges.
        learning_rate: of the first step.
        last_learning_rate: of the last; it falls along a line.
    """

    window: int = 5
    negatives: int = 5
    size: int = 16
    together: int = 4
    shared: int = 16
    blocks: int = 32
    learning_rate: float = 0.025
    last_learning_rate: float = 1e-4


class Blocks(NamedTuple):
    """Some blocks of a text, ready for a step."""

    tokens: Int[Tensor, " positions"]  # blocks * size centres, and window more at both ends
    left: Int[Tensor, "blocks size"]  # contexts before each centre
    right: Int[Tensor, "blocks size"]  # contexts after it
    negatives: Int[Tensor, "groups shared"]  # the first blocks share the first row, and so on


class Rows(NamedTuple):
    """Vectors of one matrix that a step reads, or their gradients; three views of one memory."""

    flat: Float[Tensor, "rows dims"]
    blocks: Float[Tensor, "blocks some dims"]
    groups: Float[Tensor, "groups some dims"]


class Room(NamedTuple):
    """Where a step puts its results, so that the next one need not ask for memory."""

    centres: Rows  # blocks and groups are the same rows
    contexts: Rows  # first those of the blocks, then the groups' negatives
    by_centres: Rows
    by_contexts: Rows
    pull: Float[Tensor, "blocks size span"]
    push: Float[Tensor, "groups members shared"]
    sides: Float[Tensor, "2 reaches size span"]


def reaches(
    documents: Int[Tensor, " length"], window: int, generator: torch.Generator
) -> tuple[Int[Tensor, " length"], Int[Tensor, " length"]]:
    """Return how many words each centre sees to its left and right: 1..window, drawn for both
    sides at once, and never beyond its document.

    Raises:
        ValueError: the window is not positive.
    """
    if window < 1:
        raise ValueError(f"the window is {window}, it must be at least 1")
    length = len(documents)
    place = torch.arange(length, device=documents.device)
    reach = torch.randint(1, window + 1, (length,), generator=generator, device=documents.device)
    before = place - torch.searchsorted(documents, documents)
    after = torch.searchsorted(documents, documents, right=True) - 1 - place
    return torch.minimum(reach, before), torch.minimum(reach, after)


def blocks_of(
    corpus: Corpus, noise: Float[Tensor, " words"], settings: Settings, generator: torch.Generator
) -> Iterator[Blocks]:
    """Cut a text into steps, in its order; the last is filled up with centres that see nothing."""
    window, size, blocks = settings.window, settings.size, settings.blocks
    groups = blocks // settings.together
    left, right = reaches(corpus.documents, window, generator)
    fill = -len(left) % (blocks * size)
    pad = torch.nn.functional.pad
    tokens = pad(corpus.tokens, (window, window + fill))
    left, right = pad(left, (0, fill)), pad(right, (0, fill))
    steps = len(left) // (blocks * size)
    negatives = draw(noise, steps * groups * settings.shared, generator)
    yield from map(
        Blocks,
        tokens.unfold(0, blocks * size + 2 * window, blocks * size),
        left.view(steps, blocks, size),
        right.view(steps, blocks, size),
        negatives.view(steps, groups, settings.shared),
    )


def sides_of(window: int, size: int) -> Float[Tensor, "2 reaches size span"]:
    """Mark with 1, for reaches 0..window to the left and to the right, which of a block's
    size + 2 window contexts each of its centres sees."""
    offset = torch.arange(size + 2 * window) - window - torch.arange(size)[:, None]
    reach = torch.arange(window + 1)[:, None, None]
    left, right = (offset < 0) & (-offset <= reach), (offset > 0) & (offset <= reach)
    return torch.stack((left, right)).to(torch.get_default_dtype())


def band_of(
    left: Int[Tensor, "blocks size"],
    right: Int[Tensor, "blocks size"],
    sides: Float[Tensor, "2 reaches size span"],
) -> Float[Tensor, "blocks size span"]:
    """Mark with 1 which of a block's contexts each centre is paired with: looked up row by row."""
    _, reaches, size, span = sides.shape
    rows = sides.view(-1, span)
    place = torch.arange(size, device=left.device)
    before = rows.index_select(0, (left * size + place).view(-1))
    after = rows.index_select(0, ((right + reaches) * size + place).view(-1))
    return before.add_(after).view(-1, size, span)


def room_for(batch: Blocks, like: Float[Tensor, "words dims"]) -> Room:
    """Make room for steps on batches of one shape."""
    (count, size), (groups, shared) = batch.left.shape, batch.negatives.shape
    middle = count * size
    span, dims = size + len(batch.tokens) - middle, like.shape[1]

    def centres() -> Rows:
        flat = like.new_empty(middle, dims)
        return Rows(flat, flat.view(count, size, dims), flat.view(groups, -1, dims))

    def contexts() -> Rows:
        flat = like.new_empty(count * span + groups * shared, dims)
        near, negatives = flat[: count * span], flat[count * span :]
        return Rows(flat, near.view(count, span, dims), negatives.view(groups, shared, dims))

    pull = like.new_empty(count, size, span)
    push = like.new_empty(groups, middle // groups, shared)
    sides = sides_of((span - size) // 2, size).to(like)
    return Room(centres(), contexts(), centres(), contexts(), pull, push, sides)


def step(
    centres: Float[Tensor, "words dims"],
    contexts: Float[Tensor, "words dims"],
    batch: Blocks,
    k: int,
    learning_rate: float,
    room: Room | None = None,
) -> None:
    """Move both matrices, in place, down the summed gradient of all pairs of some blocks.

    Implements eq:sgns-gradient-v and eq:sgns-gradient-u with shared negatives, eq:sgns-shared.

    Args:
        centres: one vector a word.
        contexts: another.
        batch: the blocks.
        k: negatives that a true pair is worth.
        learning_rate: times the gradient is the step.
        room: of batches of this shape; made anew unless given.
    """
    v, u, by_v, by_u, pull, push, sides = room or room_for(batch, centres)
    window, span = sides.shape[1] - 1, sides.shape[3]
    middle = batch.tokens[window:-window]
    near = batch.tokens.unfold(0, span, span - 2 * window)
    around = torch.cat((near.reshape(-1), batch.negatives.view(-1)))
    torch.index_select(centres, 0, middle, out=v.flat)
    torch.index_select(contexts, 0, around, out=u.flat)

    band = band_of(batch.left, batch.right, sides)
    pairs = (batch.left + batch.right).view(*push.shape[:2], 1)
    torch.bmm(v.blocks, u.blocks.mT, out=pull).neg_().sigmoid_()  # 1 - s(u.v) for true pairs
    torch.bmm(v.groups, u.groups.mT, out=push).sigmoid_()
    pull.mul_(band.mul_(learning_rate))
    push.mul_(pairs * (-learning_rate * k / push.shape[2]))

    torch.bmm(pull, u.blocks, out=by_v.blocks)
    by_v.groups.baddbmm_(push, u.groups)
    torch.bmm(pull.mT, v.blocks, out=by_u.blocks)
    torch.bmm(push.mT, v.groups, out=by_u.groups)
    centres.index_add_(0, middle, by_v.flat)
    contexts.index_add_(0, around, by_u.flat)


def epochs(
    centres: Float[Tensor, "words dims"],
    contexts: Float[Tensor, "words dims"],
    corpus: Corpus,
    keep: Float[Tensor, " words"],
    noise: Float[Tensor, " words"],
    settings: Settings,
    count: int,
    generator: torch.Generator,
) -> Iterator[float]:
    """Train in place; yield after every step which part of the work is done, up to 1.

    Raises:
        ValueError: an empty corpus, no negatives, a window that is not positive, or blocks that
            are no multiple of those that share negatives.
    """
    if len(corpus.tokens) == 0:
        raise ValueError("the corpus is empty")
    if settings.negatives < 1:
        raise ValueError(f"{settings.negatives} negatives: without any, all vectors may agree")
    if settings.blocks % settings.together:
        raise ValueError(f"{settings.blocks} blocks cannot share negatives {settings.together}")
    fall = settings.learning_rate - settings.last_learning_rate
    room = None
    for epoch in range(count):
        kept = subsample(corpus, keep, generator)
        steps = -(-len(kept.tokens) // (settings.blocks * settings.size))
        for i, batch in enumerate(blocks_of(kept, noise, settings, generator)):
            done = (epoch + i / steps) / count
            rate = settings.learning_rate - fall * done
            room = room or room_for(batch, centres)
            step(centres, contexts, batch, settings.negatives, rate, room)
            yield (epoch + (i + 1) / steps) / count
