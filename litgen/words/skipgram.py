"""Skip-gram with negative sampling: its loss, its gradient by hand, and the optimum of both.

Chapter: book/words/skipgram.md.  Proof: tests/words/test_skipgram.py.

References: Mikolov, Sutskever, Chen, Corrado & Dean, "Distributed Representations of Words and
    Phrases and their Compositionality" (2013); Gutmann & Hyvarinen, "Noise-Contrastive Estimation
    of Unnormalized Statistical Models" (2012); Levy & Goldberg, "Neural Word Embedding as Implicit
    Matrix Factorization" (2014).

In the papers: v_c ``centre``, u_o ``context``, u_i ``negatives``, k ``negatives per pair``,
s the logistic function, #(c, o) ``pairs``.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from litgen.shapes import Float, Int

__all__ = [
    "Gradient",
    "count_pairs",
    "expected_loss",
    "factors",
    "full_softmax_loss",
    "gradient",
    "loss",
    "nce_logit",
    "nce_loss",
    "pmi",
    "shifted_pmi",
]


class Gradient(NamedTuple):
    """The derivatives of `loss` with respect to its three arguments."""

    centre: Float[Tensor, "*batch dims"]
    context: Float[Tensor, "*batch dims"]
    negatives: Float[Tensor, "*batch k dims"]


def full_softmax_loss(
    centre: Float[Tensor, "*batch dims"],
    contexts: Float[Tensor, "words dims"],
    true: Int[Tensor, "*batch"],
) -> Float[Tensor, "*batch"]:
    """Return -log p(o | c) in nats for a softmax over all words. Implements eq:sgns-softmax."""
    logits = centre @ contexts.T
    picked = logits.gather(-1, true[..., None]).squeeze(-1)
    return torch.logsumexp(logits, dim=-1) - picked


def nce_logit(
    score: Float[Tensor, "*batch"], noise: Float[Tensor, "*batch"], k: int
) -> Float[Tensor, "*batch"]:
    """Return the log-odds that a word came from the data and not from the noise.

    Implements eq:sgns-nce-posterior.

    Args:
        score: log p(o | c) of the model; any number, if the model need not be normalised.
        noise: P_n(o) of the same words.
        k: noise words for each true one.

    Raises:
        ValueError: k is not positive.
    """
    _check_k(k)
    return score - noise.log() - math.log(k)


def nce_loss(
    score: Float[Tensor, "*batch"],
    noise: Float[Tensor, "*batch"],
    scores_of_noise: Float[Tensor, "*batch k"],
    noise_of_noise: Float[Tensor, "*batch k"],
) -> Float[Tensor, "*batch"]:
    """Return the loss of noise-contrastive estimation in nats. Implements eq:sgns-nce.

    Args:
        score: the model's log p of the true word.
        noise: P_n of the true word.
        scores_of_noise: the model's log p of k words drawn from the noise.
        noise_of_noise: P_n of those words.
    """
    k = scores_of_noise.shape[-1]
    from_data = F.logsigmoid(nce_logit(score, noise, k))
    from_noise = F.logsigmoid(-nce_logit(scores_of_noise, noise_of_noise, k))
    return -from_data - from_noise.sum(dim=-1)


def loss(
    centre: Float[Tensor, "*batch dims"],
    context: Float[Tensor, "*batch dims"],
    negatives: Float[Tensor, "*batch k dims"],
) -> Float[Tensor, "*batch"]:
    """Return -log s(u_o.v_c) - sum_i log s(-u_i.v_c) in nats, to be lowered.

    Implements eq:sgns-loss. It is `nce_loss` of a score that contains the noise, eq:sgns-from-nce.

    Raises:
        ValueError: there are no negatives.
    """
    _check_k(negatives.shape[-2])
    true = (context * centre).sum(dim=-1)
    false = (negatives * centre[..., None, :]).sum(dim=-1)
    return -F.logsigmoid(true) - F.logsigmoid(-false).sum(dim=-1)


def gradient(
    centre: Float[Tensor, "*batch dims"],
    context: Float[Tensor, "*batch dims"],
    negatives: Float[Tensor, "*batch k dims"],
) -> Gradient:
    """Return the gradient of `loss`, by hand.

    Implements eq:sgns-gradient-v, eq:sgns-gradient-u and eq:sgns-gradient-n.

    Raises:
        ValueError: there are no negatives.
    """
    _check_k(negatives.shape[-2])
    pull = torch.sigmoid((context * centre).sum(dim=-1, keepdim=True)) - 1
    push = torch.sigmoid((negatives * centre[..., None, :]).sum(dim=-1, keepdim=True))
    return Gradient(
        centre=pull * context + (push * negatives).sum(dim=-2),
        context=pull * centre,
        negatives=push * centre[..., None, :],
    )


def count_pairs(
    tokens: Int[Tensor, " length"], words: int, window: int
) -> Float[Tensor, "words words"]:
    """Count how often word o is a context of word c when every centre draws a reach 1..window.

    Returns the expected count #(c, o): a pair ``distance`` apart counts as the chance that the
    reach covers it, eq:sgns-window. A text shorter than the window is no error.

    Raises:
        ValueError: an empty text, or a window that is not positive.
    """
    if len(tokens) == 0:
        raise ValueError("the corpus is empty")
    if window < 1:
        raise ValueError(f"the window is {window}, it must be at least 1")
    found = torch.zeros(words * words, dtype=torch.float64)
    for distance in range(1, min(window, len(tokens) - 1) + 1):
        pair = tokens[:-distance] * words + tokens[distance:]
        seen = torch.bincount(pair, minlength=words * words)
        found += seen * ((window - distance + 1) / window)
    one_way = found.view(words, words)
    return one_way + one_way.T


def pmi(pairs: Float[Tensor, "words words"]) -> Float[Tensor, "words words"]:
    """Return log p(c, o) / (p(c) p(o)) in nats, minus infinity where a pair never occurs.

    Implements eq:sgns-pmi.
    """
    joint = pairs / pairs.sum()
    return joint.log() - joint.sum(1, keepdim=True).log() - joint.sum(0, keepdim=True).log()


def shifted_pmi(
    pairs: Float[Tensor, "words words"], noise: Float[Tensor, " words"], k: int
) -> Float[Tensor, "words words"]:
    """Return the inner products at which `expected_loss` is smallest. Implements eq:sgns-optimum.

    With the contexts' own distribution as noise it is `pmi` minus log k.

    Raises:
        ValueError: k is not positive.
    """
    _check_k(k)
    conditional = pairs / pairs.sum(1, keepdim=True)
    return conditional.log() - noise.log() - math.log(k)


def expected_loss(
    products: Float[Tensor, "words words"],
    pairs: Float[Tensor, "words words"],
    noise: Float[Tensor, " words"],
    k: int,
) -> Float[Tensor, ""]:
    """Return the loss of an average pair when negatives are averaged, not drawn, in nats.

    Implements eq:sgns-expected.

    Args:
        products: u_o.v_c, a row for each centre c.
        pairs: how often each pair occurs; any positive multiple.
        noise: the negatives' distribution.
        k: negatives for each pair.

    Raises:
        ValueError: k is not positive.
    """
    _check_k(k)
    joint = pairs / pairs.sum()
    true = (joint * F.logsigmoid(products)).sum()
    false = (joint.sum(1, keepdim=True) * noise * F.logsigmoid(-products)).sum()
    return -true - k * false


def factors(
    products: Float[Tensor, "words words"], dims: int
) -> tuple[Float[Tensor, "words dims"], Float[Tensor, "words dims"]]:
    """Split a matrix into centres V and contexts U with V U^T as near as ``dims`` allow.

    Implements eq:sgns-factors: the singular values' roots go to both sides.
    """
    left, values, right = torch.linalg.svd(products, full_matrices=False)
    root = values[:dims].sqrt()
    return left[:, :dims] * root, right[:dims].T * root


def _check_k(k: int) -> None:
    """Raise ValueError unless there is at least one negative."""
    if k < 1:
        raise ValueError(f"k is {k}: without negatives every loss falls to 0 by growing vectors")
