"""The solutions of the exercises in book/words/skipgram.md, and what proves them.

About litgen/words/skipgram.py.
"""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from litgen.words import similarity, skipgram
from litgen.words.chain import Chain

Draw = Callable[..., Tensor]


# solutions ---------------------------------------------------------------------------------------


def loss_at_the_optimum(pairs: Tensor) -> Tensor:
    """Return the smallest expected loss for k = 1 and the words' own distribution as noise."""
    joint = pairs / pairs.sum()
    apart = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
    middle = (joint + apart) / 2
    divergences = [torch.special.xlogy(p, p / middle).sum() for p in (joint, apart)]
    return 2 * math.log(2) - (divergences[0] + divergences[1])  # log 4 - 2 JSD


def reshaped(v: Tensor, u: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return other vectors of the same loss: V A and U A^-T."""
    return v @ matrix, u @ torch.linalg.inv(matrix).T


def nce_gradient(score: Tensor, data: Tensor, noise: Tensor, k: int) -> Tensor:
    """Return the expected gradient of the NCE loss by the scores of all words."""
    from_data = torch.sigmoid(skipgram.nce_logit(score, noise, k))
    return -data * (1 - from_data) + k * noise * from_data


def positive_pmi_vectors(pairs: Tensor, dims: int) -> Tensor:
    """Return vectors from counts alone: the best factors of max(PMI, 0)."""
    return skipgram.factors(skipgram.pmi(pairs).clamp(min=0), dims)[0]


# proofs ------------------------------------------------------------------------------------------


def random_pairs(normal: Draw) -> Tensor:
    """Return symmetric counts of pairs."""
    half = normal(6, 6).exp()
    return half + half.T


def test_the_smallest_loss_is_a_divergence(normal: Draw) -> None:
    """eq:sgns-expected at eq:sgns-optimum is log 4 - 2 JSD, and nothing lies below."""
    pairs = random_pairs(normal)
    noise = pairs.sum(0) / pairs.sum()
    best = skipgram.shifted_pmi(pairs, noise, 1)
    smallest = loss_at_the_optimum(pairs)
    torch.testing.assert_close(skipgram.expected_loss(best, pairs, noise, 1), smallest)
    for _ in range(20):
        moved = best + 0.1 * normal(6, 6)
        assert skipgram.expected_loss(moved, pairs, noise, 1) > smallest
    assert smallest < math.log(4) - 0.05


def test_the_loss_does_not_see_a_change_of_basis(normal: Draw) -> None:
    """eq:sgns-loss stays for every invertible A; cosines stay for rotations only."""
    v, u, matrix = normal(5, 3), normal(5, 3), normal(3, 3)
    rotation = torch.linalg.qr(matrix).Q
    negatives = torch.tensor([[1, 2], [0, 4], [3, 3], [2, 1], [4, 0]])
    before = skipgram.loss(v, u, u[negatives])
    for change, same in ((matrix, False), (rotation, True)):
        v2, u2 = reshaped(v, u, change)
        torch.testing.assert_close(skipgram.loss(v2, u2, u2[negatives]), before)
        cosines = [similarity.normalized(w) @ similarity.normalized(w).T for w in (v, v2)]
        assert torch.allclose(*cosines) == same


def test_many_noise_words_give_the_softmax_gradient(normal: Draw) -> None:
    """eq:sgns-nce: as k grows, the gradient becomes p_model - p_data; the error falls as 1 / k."""
    score, noise = torch.log_softmax(normal(6), 0), torch.softmax(normal(6), 0)
    data = torch.softmax(normal(6), 0)
    softmax = score.clone().requires_grad_()
    true = -(data * torch.log_softmax(softmax, 0)).sum()
    expected = torch.autograd.grad(true, softmax)[0]
    errors = [
        (nce_gradient(score, data, noise, k) - expected).abs().max().item()
        for k in (10, 100, 1_000, 10_000)
    ]
    assert errors[0] > 1e-3
    for larger, smaller in itertools.pairwise(errors):
        assert larger / smaller == pytest.approx(10, rel=0.5)


def test_counts_alone_find_topics() -> None:
    """eq:sgns-pmi and eq:sgns-factors: two groups of words that seldom meet lie apart."""
    within = torch.full((3, 3), 0.3, dtype=torch.float64)
    between = torch.full((3, 3), 1 / 30, dtype=torch.float64)
    rows = torch.cat([torch.cat([within, between], 1), torch.cat([between, within], 1)])
    pairs = Chain(rows / rows.sum(1, keepdim=True)).pairs(1)
    unit = similarity.normalized(positive_pmi_vectors(pairs, 2))
    cosine = unit @ unit.T
    assert cosine[:3, :3].min() > 0.99
    assert cosine[3:, 3:].min() > 0.99
    assert cosine[:3, 3:].max() < 0.1
