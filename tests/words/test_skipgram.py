"""Proof for litgen/words/skipgram.py: plain loops, autograd, and optima found by minimising."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from litgen.words import skipgram
from tests import oracles

Draw = Callable[..., Tensor]
WORDS, DIMS = 5, 4


def random_pairs(normal: Draw, words: int = WORDS) -> Tensor:
    """Return symmetric counts of pairs, all of them positive and different."""
    half = normal(words, words).exp() * 10
    return half + half.T


def random_noise(normal: Draw, words: int = WORDS) -> Tensor:
    """Return a distribution over words."""
    return torch.softmax(normal(words), dim=0)


# the loss and its gradient -----------------------------------------------------------------------


def test_loss_is_the_double_loop(normal: Draw) -> None:
    """eq:sgns-loss with math.log, one pair and one negative after the other."""
    centre, context, negatives = normal(6, DIMS), normal(6, DIMS), normal(6, 3, DIMS)
    found = skipgram.loss(centre, context, negatives)
    expected = [
        oracles.negative_sampling_loss(c.tolist(), o.tolist(), n.tolist())
        for c, o, n in zip(centre, context, negatives, strict=True)
    ]
    assert found.shape == (6,)
    assert found.std() > 0.1
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_gradient_is_autograds(normal: Draw) -> None:
    """eq:sgns-gradient-v, eq:sgns-gradient-u and eq:sgns-gradient-n for a batch of pairs."""
    arguments = [normal(6, DIMS), normal(6, DIMS), normal(6, 3, DIMS)]
    for argument in arguments:
        argument.requires_grad_()
    expected = torch.autograd.grad(skipgram.loss(*arguments).sum(), arguments)
    found = skipgram.gradient(*(a.detach() for a in arguments))
    for ours, theirs in zip(found, expected, strict=True):
        assert theirs.std() > 0.1
        torch.testing.assert_close(ours, theirs)


def test_gradient_is_the_loops_slope(normal: Draw) -> None:
    """eq:sgns-gradient-v by central differences of the plain loop, which share nothing with it."""
    centre, context, negatives = normal(DIMS), normal(DIMS), normal(3, DIMS)

    def slow(v: Tensor) -> Tensor:
        value = oracles.negative_sampling_loss(v.tolist(), context.tolist(), negatives.tolist())
        return torch.tensor(value, dtype=torch.float64)

    found = skipgram.gradient(centre, context, negatives).centre
    torch.testing.assert_close(found, oracles.central_difference(slow, centre), rtol=1e-6, atol=0)


def test_loss_and_gradient_survive_large_products() -> None:
    """The loss grows along a line and the gradient stays finite, where exp overflows."""
    one = torch.tensor([40.0, 0.0], dtype=torch.float64)
    far = skipgram.loss(one, -one, one[None])
    assert far.item() == pytest.approx(2 * 1600)
    assert skipgram.loss(one, one, -one[None]).item() == 0.0
    assert all(part.isfinite().all() for part in skipgram.gradient(one, -one, one[None]))


@pytest.mark.parametrize("name", ["loss", "gradient"])
def test_a_pair_without_negatives_is_an_error(normal: Draw, name: str) -> None:
    """With k = 0 the loss falls to 0 by growing all vectors in one direction."""
    with pytest.raises(ValueError, match="k is 0"):
        getattr(skipgram, name)(normal(2, DIMS), normal(2, DIMS), normal(2, 0, DIMS))


def test_softmax_over_all_words(normal: Draw) -> None:
    """eq:sgns-softmax: minus the log of exp over the sum of exp, word by word."""
    centre, contexts, true = normal(3, DIMS), normal(WORDS, DIMS), torch.tensor([4, 0, 2])
    found = skipgram.full_softmax_loss(centre, contexts, true)
    for i in range(3):
        scores = [
            math.exp(sum(a * b for a, b in zip(centre[i].tolist(), u, strict=True)))
            for u in contexts.tolist()
        ]
        assert found[i].item() == pytest.approx(-math.log(scores[true[i]] / math.fsum(scores)))


# noise-contrastive estimation --------------------------------------------------------------------


def test_nce_logit_is_bayes_rule(normal: Draw) -> None:
    """eq:sgns-nce-posterior: of k + 1 words, one is from the data; which share of an o is it?"""
    model, noise = random_noise(normal), random_noise(normal)
    for k in (1, 3):
        found = torch.sigmoid(skipgram.nce_logit(model.log(), noise, k))
        for o in range(WORDS):
            from_data, from_noise = model[o].item() / (k + 1), k * noise[o].item() / (k + 1)
            assert found[o].item() == pytest.approx(from_data / (from_data + from_noise))
    with pytest.raises(ValueError, match="k is 0"):
        skipgram.nce_logit(model.log(), noise, 0)


def test_nce_loss_is_the_classifiers_log_loss(normal: Draw) -> None:
    """eq:sgns-nce, with the posterior probabilities written out."""
    model, noise, k = random_noise(normal), random_noise(normal), 3
    true, drawn = 1, [0, 4, 4]
    found = skipgram.nce_loss(model[true].log(), noise[true], model[drawn].log(), noise[drawn])

    def posterior(o: int) -> float:
        return model[o].item() / (model[o].item() + k * noise[o].item())

    expected = -math.log(posterior(true)) - sum(math.log(1 - posterior(o)) for o in drawn)
    assert found.item() == pytest.approx(expected)


def test_nce_finds_a_normalised_model_by_itself(normal: Draw) -> None:
    """eq:sgns-nce: free scores that minimise its expectation are log p_data; nothing is summed."""
    data, noise, k = random_noise(normal), random_noise(normal), 2
    score = torch.zeros(WORDS, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [score],
        max_iter=200,
        tolerance_grad=1e-12,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        tuples = torch.tensor(list(itertools.product(range(WORDS), repeat=k)))
        chance = noise[tuples].prod(dim=1)
        each = skipgram.nce_loss(
            score[:, None].expand(-1, len(tuples)),
            noise[:, None].expand(-1, len(tuples)),
            score[tuples].expand(WORDS, -1, -1),
            noise[tuples].expand(WORDS, -1, -1),
        )
        value = (data[:, None] * chance * each).sum()
        value.backward()
        return value

    optimizer.step(closure)
    torch.testing.assert_close(score.detach().exp(), data, rtol=1e-5, atol=0)


def test_negative_sampling_is_nce_with_a_shifted_score(normal: Draw) -> None:
    """eq:sgns-from-nce: score = u.v + log(k P_n) turns one loss into the other."""
    centre, contexts, noise, k = normal(DIMS), normal(WORDS, DIMS), random_noise(normal), 3
    true, drawn = 2, [1, 1, 3]
    score = contexts @ centre + (k * noise).log()
    nce = skipgram.nce_loss(score[true], noise[true], score[drawn], noise[drawn])
    torch.testing.assert_close(skipgram.loss(centre, contexts[true], contexts[drawn]), nce)


# the optimum -------------------------------------------------------------------------------------

TEXT = torch.tensor([0, 1, 2, 0, 1, 0, 0, 2, 3, 1, 4, 0, 3, 3, 1, 2, 4, 0, 4, 2, 2, 1])


@pytest.mark.parametrize("window", [1, 2, 3, 30])
def test_pairs_are_counted_by_a_double_loop(window: int) -> None:
    """eq:sgns-window: over all reaches, also with a window longer than the text."""
    expected = torch.zeros(6, 6, dtype=torch.float64)
    for i, c in enumerate(TEXT.tolist()):
        for j, o in enumerate(TEXT.tolist()):
            for reach in range(1, window + 1):
                if i != j and abs(i - j) <= reach:
                    expected[c, o] += 1 / window
    torch.testing.assert_close(skipgram.count_pairs(TEXT, 6, window), expected)


def test_no_text_and_no_window_are_errors() -> None:
    """Each is said."""
    with pytest.raises(ValueError, match="the corpus is empty"):
        skipgram.count_pairs(TEXT[:0], 5, 2)
    with pytest.raises(ValueError, match="the window is 0"):
        skipgram.count_pairs(TEXT, 5, 0)
    assert skipgram.count_pairs(TEXT[:1], 5, 2).sum() == 0


def test_pmi_is_the_double_loop(normal: Draw) -> None:
    """eq:sgns-pmi from the counts' own sums; 0 for independent words; -inf where never."""
    pairs = random_pairs(normal)
    pairs[1, 3] = pairs[3, 1] = 0
    total = math.fsum(pairs.flatten().tolist())
    found = skipgram.pmi(pairs)
    for c in range(WORDS):
        for o in range(WORDS):
            joint = pairs[c, o].item() / total
            alone = [math.fsum(pairs[i].tolist()) / total for i in (c, o)]
            expected = math.log(joint / (alone[0] * alone[1])) if joint else -math.inf
            assert found[c, o].item() == pytest.approx(expected)
    independent = random_noise(normal)[:, None] * random_noise(normal)
    torch.testing.assert_close(skipgram.pmi(independent), torch.zeros(WORDS, WORDS).double())


def test_expected_loss_is_the_average_over_all_draws(normal: Draw) -> None:
    """eq:sgns-expected: every pair, every tuple of negatives, each with its probability."""
    pairs, noise, k = random_pairs(normal), random_noise(normal), 2
    v, u = normal(WORDS, DIMS), normal(WORDS, DIMS)
    total = 0.0
    for c, o in itertools.product(range(WORDS), repeat=2):
        for drawn in itertools.product(range(WORDS), repeat=k):
            chance = (pairs[c, o] / pairs.sum()).item() * math.prod(noise[list(drawn)].tolist())
            total += chance * oracles.negative_sampling_loss(
                v[c].tolist(), u[o].tolist(), u[list(drawn)].tolist()
            )
    assert skipgram.expected_loss(v @ u.T, pairs, noise, k).item() == pytest.approx(total)


def minimised(pairs: Tensor, noise: Tensor, k: int) -> Tensor:
    """Return the inner products after minimising over full-rank vectors, in double precision."""
    generator = torch.Generator().manual_seed(3)
    words = len(pairs)
    both = 0.3 * torch.randn(2, words, words, generator=generator, dtype=torch.float64)
    both.requires_grad_()
    optimizer = torch.optim.LBFGS(
        [both],
        max_iter=500,
        max_eval=1_000,
        tolerance_grad=1e-13,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = skipgram.expected_loss(both[0] @ both[1].T, pairs, noise, k)
        value.backward()
        return value

    optimizer.step(closure)
    return (both[0] @ both[1].T).detach()


@pytest.mark.parametrize("k", [1, 5])
def test_the_optimum_is_the_shifted_pmi(k: int) -> None:
    """eq:sgns-optimum: minimise over vectors; their inner products are PMI - log k."""
    text = torch.randint(4, (300,), generator=torch.Generator().manual_seed(1))
    text = torch.where(torch.arange(300) % 3 == 0, text.clamp(max=2), text)
    text[1:] = torch.where(torch.arange(299) % 2 == 0, text[:-1], text[1:])
    pairs = skipgram.count_pairs(text, 4, window=1)
    assert (pairs > 0).all()
    by_hand = torch.zeros(4, 4, dtype=torch.float64)
    for c, o in itertools.product(range(4), repeat=2):
        share = (pairs[c, o] * pairs.sum() / (pairs[c].sum() * pairs[:, o].sum())).item()
        by_hand[c, o] = math.log(share) - math.log(k)
    assert by_hand.std() > 0.3
    own = pairs.sum(0) / pairs.sum()
    torch.testing.assert_close(skipgram.shifted_pmi(pairs, own, k), by_hand)
    torch.testing.assert_close(minimised(pairs, own, k), by_hand, rtol=0, atol=1e-4)


def test_a_pair_that_never_occurs_has_no_finite_optimum(normal: Draw) -> None:
    """eq:sgns-optimum is minus infinity there: the slope stays positive, wherever one stands."""
    pairs = random_pairs(normal)
    pairs[1, 4] = pairs[4, 1] = 0
    noise, k, occurs = random_noise(normal), 2, pairs > 0
    best = skipgram.shifted_pmi(pairs, noise, k)
    assert (best[~occurs] == -math.inf).all()
    for value in (-8.0, 0.0, 8.0):
        products = torch.where(occurs, best, value).requires_grad_()
        value_there = skipgram.expected_loss(products, pairs, noise, k)
        slope = torch.autograd.grad(value_there, products)[0]
        torch.testing.assert_close(slope[occurs], torch.zeros(23).double(), rtol=0, atol=1e-12)
        assert (slope[~occurs] > 1e-8).all()


def test_another_noise_moves_the_optimum(normal: Draw) -> None:
    """eq:sgns-optimum with noise that is not the words' own: log p(o|c) - log(k P_n(o))."""
    pairs, noise, k = random_pairs(normal), random_noise(normal), 3
    expected = torch.zeros(WORDS, WORDS, dtype=torch.float64)
    for c, o in itertools.product(range(WORDS), repeat=2):
        given = (pairs[c, o] / pairs[c].sum()).item()
        expected[c, o] = math.log(given / (k * noise[o].item()))
    torch.testing.assert_close(skipgram.shifted_pmi(pairs, noise, k), expected)
    torch.testing.assert_close(minimised(pairs, noise, k), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["shifted_pmi", "expected_loss"])
def test_no_negatives_have_no_optimum(normal: Draw, name: str) -> None:
    """k = 0 is an error wherever k is an argument."""
    pairs, noise = random_pairs(normal), random_noise(normal)
    arguments = [pairs, noise] if name == "shifted_pmi" else [pairs, pairs, noise]
    with pytest.raises(ValueError, match="k is 0"):
        getattr(skipgram, name)(*arguments, 0)


def test_factors_are_the_best_of_their_rank(normal: Draw) -> None:
    """eq:sgns-factors: exact at full rank; below it, what is missing are the small values."""
    products = normal(6, 6)
    v, u = skipgram.factors(products, 6)
    torch.testing.assert_close(v @ u.T, products)
    values = torch.linalg.eigvalsh(products.T @ products).flip(0)  # squares, largest first
    v, u = skipgram.factors(products, 2)
    assert v.shape == u.shape == (6, 2)
    missing = (v @ u.T - products).square().sum()
    torch.testing.assert_close(missing, values[2:].sum())
    torch.testing.assert_close(v.T @ v, u.T @ u)  # shared evenly
