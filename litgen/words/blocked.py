"""The same training as pair by pair, as a few matrix products: blocks of consecutive centre words.

Chapter: book/words/skipgram.md.  Proof: tests/words/test_blocked.py.
Reference: Ji, Satish, Li & Dubey, "Parallelizing Word2Vec in Shared and Distributed Memory"
    (2016), for negatives that several pairs share.

A block of ``size`` consecutive centres meets ``size + 2 window`` consecutive contexts, so their
inner products are one small matrix, in which the true pairs are a band along the diagonal. All
centres of a block share their negatives; each negative's weight makes up for their number.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from litgen.shapes import Bool, Float, Int
from litgen.words.vocabulary import Corpus, draw, subsample

__all__ = ["Blocks", "Settings", "band_of", "blocks_of", "epochs", "reaches", "step"]


class Settings(NamedTuple):
    """How a text is cut and how far a step goes.

    Attributes:
        window: words on either side at most; each centre draws 1..window.
        negatives: k, negatives for each true pair.
        size: centres in a block.
        shared: negatives that a block draws; each counts for ``pairs * k / shared``.
        blocks: blocks in one step.
        learning_rate: of the first step.
        last_learning_rate: of the last; it falls along a line.
    """

    window: int = 5
    negatives: int = 5
    size: int = 32
    shared: int = 64
    blocks: int = 32
    learning_rate: float = 0.025
    last_learning_rate: float = 1e-4


class Blocks(NamedTuple):
    """Some blocks of a text, ready for a step."""

    tokens: Int[Tensor, " positions"]  # blocks * size centres, and window more at both ends
    left: Int[Tensor, "blocks size"]  # contexts before each centre
    right: Int[Tensor, "blocks size"]  # contexts after it
    negatives: Int[Tensor, "blocks shared"]


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
    window, size = settings.window, settings.size
    left, right = reaches(corpus.documents, window, generator)
    fill = -len(left) % (settings.blocks * size)
    pad = torch.nn.functional.pad
    tokens = pad(corpus.tokens, (window, window + fill))
    left, right = pad(left, (0, fill)).view(-1, size), pad(right, (0, fill)).view(-1, size)
    negatives = draw(noise, len(left) * settings.shared, generator).view(-1, settings.shared)
    for first in range(0, len(left), settings.blocks):
        part = slice(first, first + settings.blocks)
        here = tokens[first * size : (first + settings.blocks) * size + 2 * window]
        yield Blocks(here, left[part], right[part], negatives[part])


def band_of(
    left: Int[Tensor, "blocks size"], right: Int[Tensor, "blocks size"], window: int
) -> Bool[Tensor, "blocks size span"]:
    """Say which of a block's size + 2 window contexts each centre is paired with."""
    size = left.shape[1]
    centre = torch.arange(size, device=left.device)[:, None]
    offset = torch.arange(size + 2 * window, device=left.device) - window - centre
    within = (offset >= -left[..., None]) & (offset <= right[..., None])
    return within & (offset != 0)


def step(
    centres: Float[Tensor, "words dims"],
    contexts: Float[Tensor, "words dims"],
    batch: Blocks,
    k: int,
    learning_rate: float,
) -> None:
    """Move both matrices, in place, down the summed gradient of all pairs of some blocks.

    Implements eq:sgns-gradient-v and eq:sgns-gradient-u with shared negatives, eq:sgns-shared.
    """
    count, size = batch.left.shape
    window = (len(batch.tokens) - count * size) // 2
    dims = centres.shape[1]
    middle = batch.tokens[window : window + count * size]
    v = centres[middle].view(count, size, dims)
    u = contexts[batch.tokens].as_strided((count, size + 2 * window, dims), (size * dims, dims, 1))
    n = contexts[batch.negatives]
    band = band_of(batch.left, batch.right, window).to(v.dtype)
    weight = band.sum(dim=2, keepdim=True) * (k / n.shape[1])
    pull = band * torch.bmm(v, u.mT).neg_().sigmoid_()  # 1 - s(u.v) for true pairs
    push = weight * torch.bmm(v, n.mT).sigmoid_()
    by_v = torch.bmm(pull, u) - torch.bmm(push, n)
    by_u = torch.bmm(pull.mT, v)
    by_n = torch.bmm(push.mT, v)
    centres.index_add_(0, middle, by_v.view(-1, dims), alpha=learning_rate)
    at = batch.tokens.unfold(0, size + 2 * window, size).reshape(-1)
    contexts.index_add_(0, at, by_u.view(-1, dims), alpha=learning_rate)
    contexts.index_add_(0, batch.negatives.view(-1), by_n.view(-1, dims), alpha=-learning_rate)


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
        ValueError: an empty corpus, no negatives, or a window that is not positive.
    """
    if len(corpus.tokens) == 0:
        raise ValueError("the corpus is empty")
    if settings.negatives < 1:
        raise ValueError(f"{settings.negatives} negatives: without any, all vectors may agree")
    fall = settings.learning_rate - settings.last_learning_rate
    for epoch in range(count):
        kept = subsample(corpus, keep, generator)
        steps = -(-len(kept.tokens) // (settings.blocks * settings.size))
        for i, batch in enumerate(blocks_of(kept, noise, settings, generator)):
            done = (epoch + i / steps) / count
            rate = settings.learning_rate - fall * done
            step(centres, contexts, batch, settings.negatives, rate)
            yield (epoch + (i + 1) / steps) / count
