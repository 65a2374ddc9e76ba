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

from collections.abc import Iterable, Iterator
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
    "band_table",
    "blocks_of",
    "cut",
    "epochs",
    "reaches",
    "room_for",
    "step",
]


AHEAD = 64
"""Steps that are prepared at once."""


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
    """Some blocks of a text, ready for a step, by `cut`.

    The first four say what there is, the others where a step finds it.
    """

    tokens: Int[Tensor, " positions"]  # blocks * size centres, and window more at both ends
    left: Int[Tensor, "blocks size"]  # contexts before each centre
    right: Int[Tensor, "blocks size"]  # contexts after it
    negatives: Int[Tensor, "groups shared"]  # the first blocks share the first row, and so on
    middle: Int[Tensor, " centres"]  # tokens without both ends
    around: Int[Tensor, " rows"]  # the contexts, block by block, then the negatives
    seen: Int[Tensor, " centres"]  # each centre's row in the band table
    pairs: Int[Tensor, "groups members 1"]  # how many contexts each centre has


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
    band: Float[Tensor, "blocks size span"]
    table: Float[Tensor, "rows span"]


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
    _, lengths = torch.unique_consecutive(documents, return_counts=True)
    ends = lengths.cumsum(0)
    before = place - (ends - lengths).repeat_interleave(lengths)
    after = ends.repeat_interleave(lengths) - 1 - place
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
    parts = (
        tokens.unfold(0, blocks * size + 2 * window, blocks * size),
        left.view(steps, blocks, size),
        right.view(steps, blocks, size),
        negatives.view(steps, groups, settings.shared),
    )
    for some in zip(*(part.split(AHEAD) for part in parts), strict=True):
        yield from map(Blocks, *cut(*some))


def cut(
    tokens: Int[Tensor, "steps positions"],
    left: Int[Tensor, "steps blocks size"],
    right: Int[Tensor, "steps blocks size"],
    negatives: Int[Tensor, "steps groups shared"],
) -> Blocks:
    """Find for many steps at once what each of them needs: `Blocks` with one more dimension."""
    steps, count, size = left.shape
    window = (tokens.shape[1] - count * size) // 2
    near = tokens.unfold(1, size + 2 * window, size).reshape(steps, -1)
    place = torch.arange(size, device=left.device)
    return Blocks(
        tokens,
        left,
        right,
        negatives,
        middle=tokens[:, window : window + count * size],
        around=torch.cat((near, negatives.reshape(steps, -1)), dim=1),
        seen=((left * (window + 1) + right) * size + place).view(steps, -1),
        pairs=(left + right).view(steps, negatives.shape[1], -1, 1),
    )


def band_table(window: int, size: int) -> Float[Tensor, "rows span"]:
    """Mark with 1 which of its block's size + 2 window contexts a centre is paired with.

    There is a row for each reach to the left, 0..window, to the right and place in the block, in
    that order, so that a step finds its band by looking rows up.
    """
    offset = torch.arange(size + 2 * window) - window - torch.arange(size)[:, None]
    reach = torch.arange(window + 1)[:, None, None]
    left, right = (offset < 0) & (-offset <= reach), (offset > 0) & (offset <= reach)
    band = left[:, None] | right
    return band.view(-1, size + 2 * window).to(torch.get_default_dtype())


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
    table = band_table((span - size) // 2, size).to(like)
    rows = centres(), contexts(), centres(), contexts()
    return Room(*rows, pull, push, torch.empty_like(pull), table)


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
    v, u, by_v, by_u, pull, push, band, table = room or room_for(batch, centres)
    torch.index_select(centres, 0, batch.middle, out=v.flat)
    torch.index_select(contexts, 0, batch.around, out=u.flat)
    torch.index_select(table, 0, batch.seen, out=band.view(-1, table.shape[1]))

    torch.bmm(v.blocks, u.blocks.mT, out=pull).neg_().sigmoid_()  # 1 - s(u.v) for true pairs
    torch.bmm(v.groups, u.groups.mT, out=push).sigmoid_()
    pull.mul_(band.mul_(learning_rate))
    push.mul_(batch.pairs * (-learning_rate * k / push.shape[2]))

    torch.bmm(pull, u.blocks, out=by_v.blocks)
    by_v.groups.baddbmm_(push, u.groups)
    torch.bmm(pull.mT, v.blocks, out=by_u.blocks)
    torch.bmm(push.mT, v.groups, out=by_u.groups)
    centres.index_add_(0, batch.middle, by_v.flat)
    contexts.index_add_(0, batch.around, by_u.flat)


def epochs(
    centres: Float[Tensor, "words dims"],
    contexts: Float[Tensor, "words dims"],
    corpus: Corpus,
    keep: Float[Tensor, " words"],
    noise: Float[Tensor, " words"],
    settings: Settings,
    count: int,
    generator: torch.Generator,
    chosen: Iterable[int] | None = None,
) -> Iterator[float]:
    """Train in place; yield after every step which part of the work is done, up to 1.

    ``chosen`` are the epochs to take, as `litgen.checkpoints.Memory.turns` gives them to a
    training that may be interrupted; all ``count`` of them unless given.

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
    for epoch in range(count) if chosen is None else chosen:
        kept = subsample(corpus, keep, generator)
        steps = -(-len(kept.tokens) // (settings.blocks * settings.size))
        for i, batch in enumerate(blocks_of(kept, noise, settings, generator)):
            done = (epoch + i / steps) / count
            rate = settings.learning_rate - fall * done
            room = room or room_for(batch, centres)
            step(centres, contexts, batch, settings.negatives, rate, room)
            yield (epoch + (i + 1) / steps) / count
