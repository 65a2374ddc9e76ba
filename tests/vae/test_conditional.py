"""Proof for litgen/vae/conditional.py; the chapter is book/vae/conditional.md.

The judge is a Gaussian vector of which a part is given: all laws come from conditioning its
covariance block by block (oracles.JointGaussian), averages over noise from Gauss-Hermite nodes.
"""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from litgen.vae.conditional import (
    conditional_elbo,
    from_prior,
    log_conditional,
    log_weights,
    randomized_rank,
    reliability,
)
from tests import oracles

Draw = Callable[..., Tensor]
SCALE, GIVEN, REST, LATENT, BATCH = 0.6, 3, 4, 2, 5


class Case:
    """Five vectors whose first part is given, and p(z|y) and p(z|x, y), both diagonal."""

    def __init__(self, normal: Draw):
        sizes = torch.tensor([[1.4, 0.7], [0.9, 1.6]], dtype=torch.float64)
        parts = [
            torch.linalg.qr(normal(k, LATENT)).Q * s
            for k, s in zip((GIVEN, REST), sizes, strict=True)
        ]
        self.weight, self.bias = torch.cat(parts), normal(GIVEN + REST)
        joint = oracles.JointGaussian(self.weight, self.bias, SCALE)
        whole = joint.evidence().mean + normal(BATCH, GIVEN + REST)
        self.condition, self.x = whole[:, :GIVEN], whole[:, GIVEN:]
        seen = oracles.JointGaussian(parts[0], self.bias[:GIVEN], SCALE)
        self.conditional = joint.evidence().log_prob(whole) - seen.evidence().log_prob(
            self.condition
        )
        self.law, self.seen = joint.posterior(whole), seen.posterior(self.condition)
        self.mean = self.law.mean + 0.3 * normal(BATCH, LATENT)
        self.log_var = -1.1 + 0.4 * normal(BATCH, LATENT)
        assert self.conditional.std() > 0.1
        assert (self.seen.mean - self.law.mean).abs().min() > 1e-3

    def prior(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return p(z|y)."""
        assert condition is self.condition
        return self.seen.mean, self.seen.variance.log()

    def exact(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return p(z|x, y)."""
        assert x is self.x
        assert condition is self.condition
        return self.law.mean, self.law.variance.log()

    def wrong(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return a diagonal Gaussian that is not the posterior."""
        assert x is self.x
        assert condition is self.condition
        return self.mean, self.log_var

    def decode(self, z: Tensor, condition: Tensor) -> Tensor:
        """Return W_x z + b_x, with something that the condition adds and the bias takes away."""
        assert condition is self.condition
        return z @ self.weight[GIVEN:].T + self.bias[GIVEN:]

    @staticmethod
    def log_likelihood(x: Tensor, mean: Tensor) -> Tensor:
        """Return log N(x; mean, SCALE^2)."""
        return Normal(mean, SCALE).log_prob(x).sum(dim=-1)


@pytest.fixture
def case(normal: Draw) -> Case:
    """The known model."""
    return Case(normal)


def average_bound(
    case: Case, encoder: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
) -> Tensor:
    """Average the estimator over all noise, exactly."""
    points, weights = oracles.normal_nodes(LATENT)
    total = torch.zeros(BATCH, dtype=torch.float64)
    for noise, weight in zip(points, weights, strict=True):
        terms = conditional_elbo(
            *(case.x, case.condition, encoder, case.prior, case.decode, case.log_likelihood),
            noise.expand(BATCH, LATENT),
        )
        total = total + weight * terms.bound
    return total


def test_the_gap_is_the_divergence_from_the_posterior(case: Case) -> None:
    """eq:cvae-elbo: averaged over noise, the bound is log p(x|y) - KL(q || p(z|x, y))."""
    gap = kl_divergence(oracles.diagonal_normal(case.mean, case.log_var), case.law)
    assert gap.min() > 0.05
    torch.testing.assert_close(average_bound(case, case.wrong), case.conditional - gap)


def test_at_the_exact_posterior_the_bound_is_tight(case: Case) -> None:
    """eq:cvae-elbo: with q = p(z|x, y) its average is log p(x|y) itself."""
    torch.testing.assert_close(average_bound(case, case.exact), case.conditional)


def test_codes_from_the_prior_leave_the_information_in_x_as_the_gap(case: Case) -> None:
    """eq:cvae-hybrid: with q = p(z|y) no KL is paid and the gap is KL(p(z|y) || p(z|x, y))."""
    gap = kl_divergence(case.seen, case.law)
    assert gap.min() > 0.05
    found = average_bound(case, from_prior(case.prior))
    torch.testing.assert_close(found, case.conditional - gap)


def test_the_two_terms_by_torch_distributions(case: Case, normal: Draw) -> None:
    """eq:cvae-estimator: log p(x|z, y) at the z of this noise, and the divergence from p(z|y)."""
    noise = normal(BATCH, LATENT)
    terms = conditional_elbo(
        *(case.x, case.condition, case.wrong, case.prior, case.decode, case.log_likelihood), noise
    )
    q = Normal(case.mean, case.log_var.exp().sqrt())
    z = case.mean + q.scale * noise
    expected = Normal(z @ case.weight[GIVEN:].T + case.bias[GIVEN:], SCALE).log_prob(case.x)
    known = Normal(case.seen.mean, case.seen.variance.sqrt())
    assert (kl_divergence(q, known) - kl_divergence(known, q)).sum(dim=1).abs().min() > 0.01
    torch.testing.assert_close(terms.reconstruction, expected.sum(dim=1))
    torch.testing.assert_close(terms.kl, kl_divergence(q, known).sum(dim=1))


# Weights ----------------------------------------------------------------------------------------


def test_weights_of_the_exact_posterior_are_all_the_conditional(case: Case, normal: Draw) -> None:
    """eq:cvae-weights: p(x, z|y) / p(z|x, y) = p(x|y) at every z; no variance at all."""
    found = log_weights(
        *(case.x, case.condition, case.exact, case.prior, case.decode, case.log_likelihood),
        3 * normal(7, BATCH, LATENT),
    )
    torch.testing.assert_close(found, case.conditional.expand(7, BATCH))


def test_weights_are_joint_over_proposal(case: Case, normal: Draw) -> None:
    """eq:cvae-weights with a wrong proposal, term by term from torch.distributions."""
    noise = normal(7, BATCH, LATENT)
    found = log_weights(
        *(case.x, case.condition, case.wrong, case.prior, case.decode, case.log_likelihood), noise
    )
    z = case.mean + case.log_var.exp().sqrt() * noise
    x_law = Normal(z @ case.weight[GIVEN:].T + case.bias[GIVEN:], SCALE)
    expected = x_law.log_prob(case.x).sum(dim=-1) + case.seen.log_prob(z)
    expected = expected - oracles.diagonal_normal(case.mean, case.log_var).log_prob(z)
    assert expected.std(dim=0).min() > 0.05
    torch.testing.assert_close(found, expected)


def test_weights_from_the_prior_are_likelihoods_alone(case: Case, normal: Draw) -> None:
    """eq:cvae-monte-carlo: prior over proposal is 1, and z comes from p(z|y)."""
    noise = normal(7, BATCH, LATENT)
    found = log_weights(
        *(case.x, case.condition, from_prior(case.prior), case.prior, case.decode),
        *(case.log_likelihood, noise),
    )
    z = case.seen.mean + case.seen.variance.sqrt() * noise
    expected = Normal(z @ case.weight[GIVEN:].T + case.bias[GIVEN:], SCALE).log_prob(case.x)
    assert expected.std(dim=0).min() > 0.05
    torch.testing.assert_close(found, expected.sum(dim=-1))


@pytest.mark.parametrize("proposal", ["wrong", "prior"])
def test_many_codes_reach_the_conditional(
    case: Case, proposal: str, generator: torch.Generator
) -> None:
    """eq:cvae-importance and eq:cvae-monte-carlo: 40,000 codes give log p(x|y) to 0.05 nats."""
    chosen = case.wrong if proposal == "wrong" else from_prior(case.prior)
    found = log_conditional(
        *(case.x, case.condition, chosen, case.prior, case.decode, case.log_likelihood),
        *(40_000, generator),
    )
    torch.testing.assert_close(found, case.conditional, atol=0.05, rtol=0)


@pytest.mark.parametrize("chunk", [1, 3, 7, 20, None])
def test_chunks_change_nothing_but_memory(case: Case, chunk: int | None) -> None:
    """eq:cvae-importance: the log of the mean of exactly these weights, one after the other."""
    call = (case.x, case.condition, case.wrong, case.prior, case.decode, case.log_likelihood)
    found = log_conditional(*call, 7, torch.Generator().manual_seed(3), chunk)
    draw = torch.Generator().manual_seed(3)
    sizes = [min(chunk or 7, 7 - at) for at in range(0, 7, chunk or 7)]
    noise = [torch.randn(k, BATCH, LATENT, generator=draw, dtype=torch.float64) for k in sizes]
    weights = log_weights(*call, torch.cat(noise))
    expected = [oracles.log_mean_exp(weights[:, n].tolist()) for n in range(BATCH)]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_chunks_hold_about_a_thousand_examples(case: Case) -> None:
    """On a CPU; every code is asked for, and no gradient is kept."""
    sizes = []

    def decode(z: Tensor, condition: Tensor) -> Tensor:
        sizes.append(len(z))
        return case.decode(z, condition)

    mean = case.mean.clone().requires_grad_()
    found = log_conditional(
        *(case.x, case.condition, lambda *_: (mean, case.log_var), case.prior, decode),
        *(case.log_likelihood, 450, torch.Generator()),
    )
    assert sizes == [200, 200, 50]
    assert not found.requires_grad


@pytest.mark.parametrize(("samples", "chunk"), [(0, None), (5, 0), (-1, 2)])
def test_no_codes_are_an_error(case: Case, samples: int, chunk: int | None) -> None:
    """The message says both numbers."""
    with pytest.raises(ValueError, match="samples and chunk must be positive, got"):
        log_conditional(
            *(case.x, case.condition, case.wrong, case.prior, case.decode, case.log_likelihood),
            *(samples, torch.Generator(), chunk),
        )


@pytest.mark.usefixtures("unchecked")
def test_conditions_that_do_not_belong_to_the_examples(case: Case) -> None:
    """Each function says how many there are of both."""
    call = (case.x, case.condition[:4], case.wrong, case.prior, case.decode, case.log_likelihood)
    noise = torch.zeros(BATCH, LATENT, dtype=torch.float64)
    message = "5 examples, 4 conditions"
    with pytest.raises(ValueError, match=message):
        conditional_elbo(*call, noise)
    with pytest.raises(ValueError, match=message):
        log_weights(*call, noise[None])
    with pytest.raises(ValueError, match=message):
        log_conditional(*call, 3, torch.Generator())


# Calibration ------------------------------------------------------------------------------------


def test_ranks_by_hand() -> None:
    """eq:cvae-rank: what lies below, and a share of the ties and of the place itself."""
    drawn = torch.tensor([[1.0, 5.0, 2.0], [2.0, 5.0, 9.0], [3.0, 5.0, 9.0]])
    truth = torch.tensor([2.5, 5.0, 0.0])
    found = randomized_rank(truth, drawn, torch.tensor([0.5, 0.25, 0.5]))
    torch.testing.assert_close(found, torch.tensor([2.5 / 4, 1.0 / 4, 0.5 / 4]))


def test_ranks_of_the_exchangeable_are_uniform() -> None:
    """eq:cvae-rank: over all orders of values with ties, each quarter is hit equally often."""
    orders = torch.tensor(list(itertools.permutations([0.0, 1.0, 1.0, 4.0])))
    fine = (torch.arange(120) + 0.5) / 120
    ranks = [
        randomized_rank(orders[:, 0], orders[:, 1:].T, fine[i].expand(24)) for i in range(120)
    ]
    counts = torch.histc(torch.cat(ranks), bins=8, min=0, max=1)
    assert counts.tolist() == [24 * 120 / 8] * 8


def test_reliability_by_a_loop(generator: torch.Generator) -> None:
    """eq:cvae-reliability: mean probability and frequency of ones, bin by bin."""
    probability = torch.rand(500, generator=generator)
    probability[:3] = torch.tensor([0.0, 1.0, 0.25])
    probability = torch.where((probability > 0.5) & (probability < 0.75), 0.3, probability)
    happened = (torch.rand(500, generator=generator) < probability**2).float()
    said, frequency, events = reliability(probability, happened, bins=4)
    for b in range(4):
        inside = [
            (p, h)
            for p, h in zip(probability.tolist(), happened.tolist(), strict=True)
            if b / 4 <= p < (b + 1) / 4 or (b == 3 and p == 1)
        ]
        assert events[b] == len(inside)
        if inside:
            assert said[b].item() == pytest.approx(math.fsum(p for p, _ in inside) / len(inside))
            assert frequency[b].item() == pytest.approx(sum(h for _, h in inside) / len(inside))
    assert events.tolist()[2] == 0
    assert said[2] == frequency[2] == 0
    with pytest.raises(ValueError, match="bins must be positive, got 0"):
        reliability(probability, happened, bins=0)


@pytest.mark.usefixtures("unchecked")
def test_reliability_needs_an_outcome_for_each() -> None:
    """Broadcasting would count one outcome many times."""
    with pytest.raises(ValueError, match="3 probabilities, 1 outcomes"):
        reliability(torch.rand(3), torch.ones(1))


def test_the_judges_prior_is_not_the_standard_one(case: Case) -> None:
    """eq:cvae-estimator would not notice a KL from N(0, I) if p(z|y) were standard."""
    standard = MultivariateNormal(torch.zeros(LATENT).double(), torch.eye(LATENT).double())
    assert kl_divergence(case.seen, standard).min() > 0.1
