"""Proof for litgen/vae/elbo.py; the chapter is book/vae/elbo.md.

The judge is the linear-Gaussian model: evidence and posterior come from conditioning its joint law
(oracles.JointGaussian), averages over noise from Gauss-Hermite nodes, which are exact here.
"""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from litgen.vae.elbo import (
    Elbo,
    elbo,
    importance_log_weights,
    importance_weighted_bound,
    log_evidence,
    score_function_surrogate,
)
from tests import oracles

Draw = Callable[..., Tensor]
SCALE, PIXELS, LATENT, BATCH = 0.6, 4, 2, 5


class Case:
    """A model, five images, and two encoders: a wrong one and the exact posterior."""

    def __init__(self, normal: Draw, orthogonal: bool):
        weight = normal(PIXELS, LATENT)
        if orthogonal:  # then, and only then, the posterior is a diagonal Gaussian
            weight = torch.linalg.qr(weight).Q * torch.tensor([1.7, 0.8], dtype=torch.float64)
        self.weight, self.bias = weight, normal(PIXELS)
        self.joint = oracles.JointGaussian(weight, self.bias, SCALE)
        self.x = self.joint.evidence().mean + normal(BATCH, PIXELS)
        self.evidence = self.joint.evidence().log_prob(self.x)
        self.posterior = self.joint.posterior(self.x)
        self.mean = self.posterior.mean + 0.3 * normal(BATCH, LATENT)
        self.log_var = -0.7 + 0.4 * normal(BATCH, LATENT)
        assert self.evidence.std() > 0.1

    def wrong(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return a diagonal Gaussian that is not the posterior."""
        assert x is self.x
        return self.mean, self.log_var

    def exact(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the posterior's mean and the log of its variances."""
        assert x is self.x
        return self.posterior.mean, self.posterior.variance.log()

    def decode(self, z: Tensor) -> Tensor:
        """Return W z + b."""
        return z @ self.weight.T + self.bias

    @staticmethod
    def log_likelihood(x: Tensor, mean: Tensor) -> Tensor:
        """Return log N(x; mean, SCALE^2)."""
        return Normal(mean, SCALE).log_prob(x).sum(dim=-1)


@pytest.fixture
def case(normal: Draw) -> Case:
    """Any weight: the posterior is correlated, and no diagonal q can be exact."""
    return Case(normal, orthogonal=False)


@pytest.fixture
def solvable(normal: Draw) -> Case:
    """Orthogonal columns: a diagonal q can be exact."""
    return Case(normal, orthogonal=True)


def average_bound(case: Case, encoder: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Tensor:
    """Average the estimator over all noise, exactly."""
    points, weights = oracles.normal_nodes(LATENT)
    total = torch.zeros(BATCH, dtype=torch.float64)
    for noise, weight in zip(points, weights, strict=True):
        terms = elbo(
            case.x, encoder, case.decode, case.log_likelihood, noise.expand(BATCH, LATENT)
        )
        total = total + weight * terms.bound
    return total


# The bound ------------------------------------------------------------------------------------


def test_the_bound_is_reconstruction_minus_kl(normal: Draw) -> None:
    """eq:elbo, sign by sign."""
    reconstruction, kl = normal(5), normal(5)
    expected = torch.tensor([a - b for a, b in zip(reconstruction, kl, strict=True)])
    torch.testing.assert_close(
        Elbo(reconstruction, kl).bound, expected.double(), rtol=0, atol=1e-7
    )
    assert Elbo._fields == ("reconstruction", "kl")


def test_the_two_terms_by_torch_distributions(case: Case, normal: Draw) -> None:
    """eq:elbo-estimator: log p(x|z) at the z of this noise, and the registered divergence."""
    noise = normal(BATCH, LATENT)
    terms = elbo(case.x, case.wrong, case.decode, case.log_likelihood, noise)
    q = Normal(case.mean, case.log_var.exp().sqrt())
    z = q.icdf(Normal(0.0, 1.0).cdf(noise))
    expected = Normal(z @ case.weight.T + case.bias, SCALE).log_prob(case.x).sum(dim=1)
    prior = Normal(torch.zeros_like(z), torch.ones_like(z))
    assert expected.std() > 0.1
    torch.testing.assert_close(terms.reconstruction, expected)
    torch.testing.assert_close(terms.kl, kl_divergence(q, prior).sum(dim=1))


@pytest.mark.parametrize("which", ["case", "solvable"])
def test_the_gap_is_the_divergence_from_the_posterior(
    which: str, request: pytest.FixtureRequest
) -> None:
    """eq:elbo: averaged over noise, ELBO = log p(x) - KL(q || p(z|x)), for a q that is wrong."""
    case = request.getfixturevalue(which)
    q = oracles.diagonal_normal(case.mean, case.log_var)
    gap = kl_divergence(q, case.posterior)
    assert gap.min() > 0.05
    assert (gap - kl_divergence(case.posterior, q)).abs().max() > 0.05
    torch.testing.assert_close(average_bound(case, case.wrong), case.evidence - gap)


def test_at_the_exact_posterior_the_bound_is_tight(solvable: Case) -> None:
    """eq:elbo: with q = p(z|x) its average is log p(x) itself."""
    torch.testing.assert_close(average_bound(solvable, solvable.exact), solvable.evidence)


def test_a_correlated_posterior_keeps_a_diagonal_q_below(case: Case) -> None:
    """eq:elbo: the posterior's own variances leave a gap where its covariance is not diagonal."""
    gap = case.evidence - average_bound(case, case.exact)
    q = oracles.diagonal_normal(*case.exact(case.x))
    assert gap.min() > 1e-3
    torch.testing.assert_close(gap, kl_divergence(q, case.posterior))


def test_the_reparameterized_gradient_is_that_of_the_gap(case: Case) -> None:
    """eq:elbo-estimator: averaged over noise, its gradient in q is that of -KL(q || p(z|x))."""
    case.mean.requires_grad_()
    case.log_var.requires_grad_()
    found = torch.autograd.grad(average_bound(case, case.wrong).sum(), [case.mean, case.log_var])
    law = case.posterior
    precision = law.precision_matrix
    offset = (case.mean - law.mean).detach()
    variance = case.log_var.detach().exp()
    by_mean = -torch.einsum("bij,bj->bi", precision, offset)
    by_log_var = -0.5 * (precision.diagonal(dim1=1, dim2=2) * variance - 1)
    assert by_mean.std() > 0.1
    assert by_log_var.std() > 0.1
    torch.testing.assert_close(found, (by_mean, by_log_var))


# Importance weights ---------------------------------------------------------------------------


def test_weights_of_the_exact_posterior_are_all_the_evidence(solvable: Case, normal: Draw) -> None:
    """eq:importance-weights: p(x, z) / p(z|x) = p(x) at every z; no variance at all."""
    weights = importance_log_weights(
        solvable.x,
        solvable.exact,
        solvable.decode,
        solvable.log_likelihood,
        3 * normal(7, BATCH, LATENT),
    )
    torch.testing.assert_close(weights, solvable.evidence.expand(7, BATCH))


def test_weights_are_joint_over_proposal(case: Case, normal: Draw) -> None:
    """eq:importance-weights: log p(z, x) of the joint Gaussian minus log q(z|x)."""
    noise = normal(7, BATCH, LATENT)
    found = importance_log_weights(case.x, case.wrong, case.decode, case.log_likelihood, noise)
    z = case.mean + case.log_var.exp().sqrt() * noise
    joint = case.joint.joint.log_prob(torch.cat([z, case.x.expand(7, BATCH, PIXELS)], dim=-1))
    expected = joint - oracles.diagonal_normal(case.mean, case.log_var).log_prob(z)
    assert expected.std(dim=0).min() > 0.05
    torch.testing.assert_close(found, expected)


def test_one_weight_is_its_own_bound(normal: Draw) -> None:
    """eq:importance-bound with one sample: nothing is averaged."""
    weights = normal(1, BATCH)
    torch.testing.assert_close(importance_weighted_bound(weights), weights[0])


def test_the_bound_is_the_log_of_the_average_weight(normal: Draw) -> None:
    """eq:importance-bound summed one by one, at weights whose exponentials leave the doubles."""
    weights = 3 * normal(9, BATCH) + torch.tensor([0.0, -2000.0, 3000.0, 5.0, -90.0]).double()
    found = importance_weighted_bound(weights)
    expected = [oracles.log_mean_exp(weights[:, n].tolist()) for n in range(BATCH)]
    assert found.shape == (BATCH,)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_more_samples_never_lower_the_average_bound(case: Case, normal: Draw) -> None:
    """eq:importance-bound, ELBO <= L_5 <= L_50 <= log p(x): the same weights in larger groups."""
    noise = normal(5000, BATCH, LATENT)
    weights = importance_log_weights(case.x, case.wrong, case.decode, case.log_likelihood, noise)
    bounds = []
    for k in (1, 5, 50, 5000):
        groups = [importance_weighted_bound(group) for group in weights.split(k)]
        bounds.append(torch.stack(groups).mean(dim=0))
    for lower, higher in itertools.pairwise(bounds):
        assert (higher > lower + 1e-4).all()
    torch.testing.assert_close(bounds[0], average_bound(case, case.wrong), rtol=0, atol=0.1)
    assert (bounds[-1] - case.evidence).abs().max() < 0.1
    assert (case.evidence - bounds[0]).min() > 0.05


# log p(x) by many samples ---------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 7, 20, 1000])
def test_log_evidence_is_the_log_mean_of_all_weights(case: Case, chunk: int) -> None:
    """eq:importance-bound over 20 samples, whatever the chunk: none lost, none counted twice."""
    shapes: list[tuple[int, ...]] = []

    def decode(z: Tensor) -> Tensor:
        shapes.append(tuple(z.shape))
        return case.decode(z)

    found = log_evidence(
        case.x,
        case.wrong,
        decode,
        case.log_likelihood,
        samples=20,
        generator=torch.Generator().manual_seed(3),
        chunk=chunk,
    )
    sizes = {1: [1] * 20, 7: [7, 7, 6], 20: [20], 1000: [20]}[chunk]
    assert shapes == [(size, BATCH, LATENT) for size in sizes]
    same = torch.Generator().manual_seed(3)
    noise = torch.cat([torch.randn(*s, generator=same, dtype=torch.float64) for s in shapes])
    z = case.mean + case.log_var.exp().sqrt() * noise
    joint = case.joint.joint.log_prob(torch.cat([z, case.x.expand(20, BATCH, PIXELS)], dim=-1))
    weights = joint - oracles.diagonal_normal(case.mean, case.log_var).log_prob(z)
    expected = [oracles.log_mean_exp(weights[:, n].tolist()) for n in range(BATCH)]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_log_evidence_is_exact_at_the_posterior(
    solvable: Case, generator: torch.Generator
) -> None:
    """eq:importance-bound: with q = p(z|x) any number of samples gives log p(x)."""
    for samples in (1, 3, 101):
        found = log_evidence(
            solvable.x,
            solvable.exact,
            solvable.decode,
            solvable.log_likelihood,
            samples,
            generator,
            chunk=10,
        )
        torch.testing.assert_close(found, solvable.evidence)


def test_log_evidence_converges(case: Case, generator: torch.Generator) -> None:
    """eq:importance-bound: 20,000 samples of a wrong q come within six standard errors."""
    samples = 20_000
    arguments = (case.x, case.wrong, case.decode, case.log_likelihood)
    found = log_evidence(*arguments, samples, generator, chunk=4000)
    noise = torch.randn(
        samples, BATCH, LATENT, generator=torch.Generator().manual_seed(99), dtype=torch.float64
    )
    ratio = (importance_log_weights(*arguments, noise) - case.evidence).exp()
    error = ratio.std(dim=0) / math.sqrt(samples)
    assert error.max() < 0.05
    assert ((found - case.evidence).abs() < 6 * error).all()


def test_log_evidence_looks_once_at_the_encoder_and_keeps_no_graph(
    generator: torch.Generator,
) -> None:
    """Weights that require gradients leave none behind; 1,000 images together unless told."""
    torch.manual_seed(0)
    encoder, decoder = nn.Linear(PIXELS, LATENT), nn.Linear(LATENT, PIXELS)
    chunk = 1_000 // BATCH
    calls: list[int] = []
    graphs: list[bool] = []

    def encode(x: Tensor) -> tuple[Tensor, Tensor]:
        calls.append(len(x))
        return encoder(x), encoder(x)

    def log_likelihood(x: Tensor, mean: Tensor) -> Tensor:
        graphs.append(mean.requires_grad)
        calls.append(len(mean))
        return -(x - mean).square().sum(dim=-1)

    x = torch.ones(BATCH, PIXELS)
    found = log_evidence(x, encode, decoder, log_likelihood, 2 * chunk + 3, generator)
    assert calls == [BATCH, chunk, chunk, 3]
    assert graphs == [False] * 3
    assert not found.requires_grad


def test_log_evidence_draws_from_the_generator_alone(case: Case) -> None:
    """The same generator gives the same number, another one another, and the global seed none."""

    def estimate(seed: int) -> Tensor:
        arguments = (case.x, case.wrong, case.decode, case.log_likelihood, 10)
        return log_evidence(*arguments, torch.Generator().manual_seed(seed))

    state = torch.get_rng_state()
    torch.testing.assert_close(estimate(1), estimate(1), rtol=0, atol=0)
    assert (estimate(1) != estimate(2)).all()
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(("samples", "chunk"), [(0, 50), (-1, 50), (5, 0), (5, -2)])
def test_log_evidence_needs_samples(
    case: Case, generator: torch.Generator, samples: int, chunk: int
) -> None:
    """The error names both numbers."""
    with pytest.raises(ValueError, match=f"must be positive, got {samples} and {chunk}"):
        log_evidence(
            case.x, case.wrong, case.decode, case.log_likelihood, samples, generator, chunk
        )


# The score-function estimator -----------------------------------------------------------------


def cubic(z: Tensor) -> Tensor:
    """Return a polynomial that mixes the two coordinates: 2 a + a^2 - a b + b^3 / 3 + 1."""
    a, b = z.unbind(dim=-1)
    return 2 * a + a**2 - a * b + b**3 / 3 + 1


def cubic_average_gradient(mean: Tensor, log_var: Tensor) -> tuple[Tensor, Tensor]:
    """Differentiate E f = 2 m + m^2 + v - m n + (n^3 + 3 n w) / 3 + 1 by hand.

    q is N((m, n), (v, w)). In the variances dE/dv = 1 and dE/dw = n; in their logs v and n w.
    """
    m, n = mean.unbind(dim=-1)
    v, w = log_var.exp().unbind(dim=-1)
    by_mean = torch.stack([2 + 2 * m - n, -m + n**2 + w], dim=-1)
    return by_mean, torch.stack([v, n * w], dim=-1)


@pytest.fixture
def moments(normal: Draw) -> tuple[Tensor, Tensor]:
    """Return the mean and log-variance of q, whose gradients are sought."""
    return normal(3, 2).requires_grad_(), (0.5 * normal(3, 2)).requires_grad_()


def test_the_score_function_gradient_is_unbiased(moments: tuple[Tensor, Tensor]) -> None:
    """eq:score-function-gradient: averaged over q exactly, it is the gradient of E f."""
    mean, log_var = moments
    points, weights = oracles.normal_nodes(2)
    z = (mean + log_var.exp().sqrt() * points[:, None, :]).detach()
    surrogate = score_function_surrogate(cubic(z), z, mean, log_var)
    assert surrogate.shape == (len(points), 3)
    found = torch.autograd.grad((weights[:, None] * surrogate).sum(), [mean, log_var])
    expected = cubic_average_gradient(mean.detach(), log_var.detach())
    assert expected[0].std() > 0.1
    assert expected[1].std() > 0.1
    torch.testing.assert_close(found, expected)


def test_each_score_is_value_times_the_gradient_of_log_q(
    moments: tuple[Tensor, Tensor], normal: Draw
) -> None:
    """eq:score-function-gradient by hand: value times (z - m) / v and ((z - m)^2 / v - 1) / 2."""
    mean, log_var = moments
    value, z = normal(7, 3), normal(7, 3, 2)
    surrogate = score_function_surrogate(value, z, mean, log_var)
    found = torch.autograd.grad(surrogate.sum(), [mean, log_var])
    variance, offset = log_var.detach().exp(), z - mean.detach()
    by_mean = (value[..., None] * offset / variance).sum(dim=0)
    by_log_var = (value[..., None] * (offset**2 / variance - 1) / 2).sum(dim=0)
    torch.testing.assert_close(found, (by_mean, by_log_var))


def test_no_gradient_flows_through_value_or_z(
    moments: tuple[Tensor, Tensor], normal: Draw
) -> None:
    """eq:score-function-gradient: z drawn by reparameterisation changes nothing."""
    mean, log_var = moments
    z = mean + (0.5 * log_var).exp() * normal(7, 3, 2)
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    value = weight * cubic(z)
    found = torch.autograd.grad(
        score_function_surrogate(value, z, mean, log_var).sum(),
        [mean, log_var, z, weight],
        allow_unused=True,
    )
    kept = score_function_surrogate(value.detach(), z.detach(), mean, log_var)
    assert found[2:] == (None, None)
    torch.testing.assert_close(found[:2], torch.autograd.grad(kept.sum(), [mean, log_var]))


def test_both_estimators_agree_and_one_is_quieter(moments: tuple[Tensor, Tensor]) -> None:
    """eq:score-function-gradient and eq:reparameterization: one mean, far smaller variance."""
    mean, log_var = (m[:1].detach() for m in moments)
    count = 20_000
    noise = torch.randn(count, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    m = mean.expand(count, 2).clone().requires_grad_()
    lv = log_var.expand(count, 2).clone().requires_grad_()
    z = m + (0.5 * lv).exp() * noise
    pathwise = torch.cat(torch.autograd.grad(cubic(z).sum(), [m, lv], retain_graph=True), dim=1)
    surrogate = score_function_surrogate(cubic(z)[None], z[None], m, lv)
    score = torch.cat(torch.autograd.grad(surrogate.sum(), [m, lv]), dim=1)
    expected = torch.cat(cubic_average_gradient(mean, log_var), dim=1)[0]
    for estimates in (pathwise, score):
        error = estimates.std(dim=0) / math.sqrt(count)
        assert ((estimates.mean(dim=0) - expected).abs() < 6 * error).all()
    assert (score.var(dim=0) > 2 * pathwise.var(dim=0)).all()
    assert score.var(dim=0).sum() > 5 * pathwise.var(dim=0).sum()
