"""What a network has to beat: tokens counted alone, and counted after what was heard before.

Chapter: book/music/deepbach.md.  Proof: tests/music/test_baselines.py.

The Markov table knows more than the last token: which note sounds, whether it has just begun, and
the place in the beat. A chain of tokens alone would mostly see that something was held.
"""

import torch
from torch import Tensor

from litgen.music.gibbs import draw
from litgen.music.hearing import OUTSIDE, heard
from litgen.shapes import Bool, Float, Int

__all__ = ["before", "chain", "log_table", "scores"]


def log_table(
    contexts: Int[Tensor, " pairs"],
    tokens: Int[Tensor, " count"],
    sizes: tuple[int, int],
    smoothing: float = 0.1,
) -> Float[Tensor, "contexts values"]:
    """Return log-probabilities of tokens in each context, from counts. Implements eq:bach-counts.

    Args:
        contexts: of every token, 0..sizes[0]-1; all 0 for a unigram.
        tokens: 0..sizes[1]-1.
        sizes: how many contexts and how many values there are.
        smoothing: added to every count.

    Raises:
        ValueError: contexts and tokens of different lengths, or a smoothing that is not positive.
    """
    if contexts.shape != tokens.shape:
        raise ValueError(f"{len(contexts)} contexts, {len(tokens)} tokens")
    if smoothing <= 0:
        raise ValueError(f"smoothing must be positive, got {smoothing}")
    flat = torch.bincount(contexts * sizes[1] + tokens, minlength=sizes[0] * sizes[1])
    counts = flat.view(sizes).double() + smoothing
    return (counts / counts.sum(dim=1, keepdim=True)).log()


def before(
    tokens: Int[Tensor, "*voices steps"], metre: Int[Tensor, " columns"], metres: int
) -> Int[Tensor, "*voices steps"]:
    """Return each token's context: the symbol heard one step before, and the step's metre.

    A symbol is what ``hearing.heard`` returns, ``hearing.OUTSIDE`` before the first step; the
    context is ``symbol * metres + metre``.
    """
    symbols = heard(tokens).roll(1, dims=-1)
    symbols[..., 0] = OUTSIDE
    return symbols * metres + metre


def chain(
    table: Float[Tensor, "contexts values"],
    metre: Int[Tensor, " columns"],
    metres: int,
    uniform: Float[Tensor, "chains steps"],
) -> Int[Tensor, "chains steps"]:
    """Draw tokens of one voice from left to right, each given the symbol before.

    Args:
        table: log-probabilities, contexts as ``before`` numbers them.
        metre: of every step.
        metres: positions that there are.
        uniform: a number in [0, 1) for each token.
    """
    symbol, drawn = torch.full((len(uniform),), OUTSIDE), []
    for t in range(uniform.shape[1]):
        token = draw(table[symbol * metres + metre[t]], uniform[:, t])
        symbol = torch.where(token == 0, symbol // 2 * 2, 2 * token + 1)
        drawn.append(token)
    return torch.stack(drawn, dim=1)


def scores(
    logits: Float[Tensor, "rows values"], tokens: Int[Tensor, " count"]
) -> dict[str, float]:
    """Return accuracies and the mean cross-entropy of predicted tokens: eq:bach-accuracy.

    ``token_accuracy`` is the share of all tokens that are the most probable ones,
    ``note_accuracy`` that among the tokens which are not 0, holds; ``nats`` is the mean of -log p.

    Raises:
        ValueError: numbers that do not fit, or holds alone.
    """
    if len(logits) != len(tokens):
        raise ValueError(f"{len(logits)} rows of logits, {len(tokens)} tokens")
    begins: Bool[Tensor, " count"] = tokens != 0
    if not bool(begins.any()):
        raise ValueError("no note begins among the tokens")
    right = (logits.argmax(dim=1) == tokens).double()
    nats = -logits.double().log_softmax(dim=1).gather(1, tokens[:, None])[:, 0]
    return {
        "token_accuracy": right.mean().item(),
        "note_accuracy": right[begins].mean().item(),
        "nats": nats.mean().item(),
    }
