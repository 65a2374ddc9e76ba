"""Solutions of the exercises in book/gan/conditional.md, each with its proof."""

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Normal
from torch.nn.functional import softplus

from litgen.diffusion import guidance
from litgen.gan import conditional

Draw = Callable[..., Tensor]


def permutations_that_pass(log_p: Tensor, told: bool) -> list[tuple[int, ...]]:
    """Return the assignments of classes to rows that leave the best critic without a logit.

    log_p has a row log p(x|y) for each of equally frequent classes; an assignment gives the
    samples asked for class y the row of another class.
    """
    classes = len(log_p)
    law = torch.full((classes,), -math.log(classes), dtype=log_p.dtype)
    best = conditional.optimal_logits if told else conditional.blind_logits
    passed = []
    for order in itertools.permutations(range(classes)):
        logits = best(log_p, log_p[list(order)], law, law)
        if logits.abs().max() < 1e-9:
            passed.append(order)
    return passed


def test_a_blind_critic_accepts_every_permutation(normal: Draw) -> None:
    """eq:cgan-blind, eq:cgan-optimal: 24 games are won by any permutation, the told one by one."""
    log_p = torch.log_softmax(2 * normal(4, 6), dim=1)
    assert len(permutations_that_pass(log_p, told=False)) == 24
    assert permutations_that_pass(log_p, told=True) == [(0, 1, 2, 3)]
    log_p[2] = log_p[0]  # two classes that no critic could tell apart
    assert len(permutations_that_pass(log_p, told=True)) == 2


def worth_of_the_label(data: Tensor, samples: Tensor) -> Tensor:
    """Return E_m(x) of the divergence JS between p(y|x) and q(y|x), weighed by p(x) and q(x).

    data and samples are joint tables (classes, places) that sum to one. A fair coin says whether a
    pair is a datum; the result is what y says about the coin once x is known, in nats.
    """
    middle = (data + samples) / 2

    def surprise(table: Tensor) -> Tensor:
        """Return the sum of p(x, y) log p(y|x) / m(y|x)."""
        ratio = (table / table.sum(dim=0)) / (middle / middle.sum(dim=0))
        return (table * ratio.log()).sum()

    return (surprise(data) + surprise(samples)) / 2


def test_the_label_is_worth_the_difference_of_two_critics(normal: Draw) -> None:
    """eq:cgan-per-class, eq:cgan-blind: the values of both best critics, softplus by softplus."""
    log_p, log_q = (torch.log_softmax(normal(3, 5), dim=1) for _ in range(2))
    laws = [torch.log_softmax(normal(3), dim=0) for _ in range(2)]
    data, samples = (log_p + laws[0][:, None]).exp(), (log_q + laws[1][:, None]).exp()

    def divergence(logits: Tensor) -> Tensor:
        """Return log 2 minus half the loss of eq:cgan-game."""
        loss = (data * softplus(-logits)).sum() + (samples * softplus(logits)).sum()
        return math.log(2) - loss / 2

    told = divergence(conditional.optimal_logits(log_p, log_q, *laws))
    blind = divergence(conditional.blind_logits(log_p, log_q, *laws).expand(3, 5))
    worth = worth_of_the_label(data, samples)
    torch.testing.assert_close(worth, told - blind)
    assert worth > 0.01
    same = data / data.sum(dim=0) * samples.sum(dim=0)  # the same posterior, other places
    assert worth_of_the_label(data, same).abs() < 1e-12


def class_vectors(means: Tensor, sds: Tensor, other_means: Tensor, other_sds: Tensor) -> Tensor:
    """Return v_y for the features (1, x, x^2) that make a projection exact, up to a common b(x).

    Data are N(mean, sd^2) in each class, samples N(other mean, other sd^2), classes equally
    frequent on both sides.
    """

    def coefficients(mean: Tensor, sd: Tensor) -> Tensor:
        """Return those of log N(x; mean, sd^2) in 1, x and x^2."""
        precision = 1 / sd.square()
        constant = -sd.log() - mean.square() * precision / 2
        return torch.stack([constant, mean * precision, -precision / 2], dim=1)

    return coefficients(means, sds) - coefficients(other_means, other_sds)


def test_quadratic_features_are_enough_for_gaussians(normal: Draw) -> None:
    """eq:cgan-projection: with b = 0 the product is the exact logit, in every class."""
    means, others = normal(3), normal(3)
    sds, other_sds = normal(3).exp(), normal(3).exp()
    x = torch.linspace(-3, 3, 9, dtype=torch.float64)
    vectors = class_vectors(means, sds, others, other_sds)
    features = torch.stack([torch.ones_like(x), x, x.square()], dim=1)
    for c in range(3):
        exact = Normal(means[c], sds[c]).log_prob(x) - Normal(others[c], other_sds[c]).log_prob(x)
        own = vectors[c].expand(9, 3)
        torch.testing.assert_close(conditional.project(features, own, torch.zeros(9)), exact)
        assert exact.std() > 0.1


def same_as_guidance(log_p: Tensor, log_p_labels: Tensor, weight: float) -> Tensor:
    """Return log q(x|y) of an auxiliary classifier's weight, as guidance of scale 1 + weight."""
    joint = log_p + log_p_labels[:, None]
    log_x = torch.logsumexp(joint, dim=0).expand_as(joint)
    sharpened = guidance.tempered(log_x.flatten(), (joint - log_x).flatten(), 1 + weight)
    return torch.log_softmax(sharpened.view_as(joint), dim=1)


def test_the_auxiliary_classifier_is_guidance(normal: Draw) -> None:
    """eq:cgan-auxiliary: both laws on a table, at three weights."""
    log_p, law = torch.log_softmax(normal(3, 7), dim=1), torch.log_softmax(normal(3), dim=0)
    for weight in (0.0, 0.7, 4.0):
        expected = conditional.auxiliary_law(log_p, law, weight)
        torch.testing.assert_close(same_as_guidance(log_p, law, weight), expected)
    assert (expected - log_p).abs().max() > 0.5


def matching_aware_loss(real: Tensor, fake: Tensor, mismatched: Tensor) -> Tensor:
    """Return the critic's loss where data with wrong labels count as half of the fakes."""
    fakes = (softplus(fake).mean() + softplus(mismatched).mean()) / 2
    return softplus(-real).mean() + fakes


def matching_aware_optimum(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Return its best logits for equally frequent classes, wrong labels drawn evenly."""
    classes = len(log_p)
    p = log_p.exp()
    wrong = (p.sum(dim=0) - p) / (classes - 1)  # p(x|another class), averaged
    return log_p - ((log_q.exp() + wrong) / 2).log()


def test_a_matching_aware_critic_has_another_optimum(normal: Draw) -> None:
    """No slope is left in free logits; against a perfect generator they are not zero."""
    log_p, log_q = (torch.log_softmax(normal(3, 4), dim=1) for _ in range(2))
    logits = matching_aware_optimum(log_p, log_q).requires_grad_()
    p, q = log_p.exp() / 3, log_q.exp() / 3
    wrong = (p.sum(dim=0) - p) / 2
    loss = (p * softplus(-logits)).sum()
    loss = loss + ((q * softplus(logits)).sum() + (wrong * softplus(logits)).sum()) / 2
    (slope,) = torch.autograd.grad(loss, logits)
    assert slope.abs().max() < 1e-12
    counts = [(1_000 * part).round().long().flatten() for part in (p, q, wrong)]
    each = [torch.repeat_interleave(logits.detach().flatten(), count) for count in counts]
    assert abs(matching_aware_loss(*each).item() - loss.item()) < 0.01
    assert matching_aware_optimum(log_p, log_p).abs().max() > 0.1
