"""Proof for litgen/vae/surgery.py: quadrature, torch.distributions, every small batch."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from litgen.vae import surgery
from tests import oracles

Draw = Callable[..., Tensor]


@pytest.fixture
def codes(normal: Draw) -> tuple[Tensor, Tensor]:
    """Return means and log-variances of five posteriors of two latents, tied to each other."""
    line = torch.tensor([-1.5, -0.6, 0.1, 0.7, 1.6]).double()[:, None]
    mean = line * torch.tensor([1.0, 0.7]).double() + 0.2 * normal(5, 2)
    return mean + torch.tensor([0.3, -0.2]), 0.3 * normal(5, 2) - 0.8


def component(z: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """Return the density of each component at each z, (samples, components, latent)."""
    return Normal(mean, log_var.exp().sqrt()).log_prob(z[:, None]).exp()


def test_gaussian_parts_by_divergences(normal: Draw) -> None:
    """eq:beta-gaussian-surgery: each part as a divergence of torch.distributions."""
    weight, bias, root = 0.6 * normal(3, 4), normal(3), normal(4, 4)
    var, covariance = normal(3).exp(), root @ root.T
    found = surgery.gaussian_surgery(weight, bias, var, covariance)
    aggregate = MultivariateNormal(bias, weight @ covariance @ weight.T + var.diag())
    marginals = Normal(bias, aggregate.covariance_matrix.diagonal().sqrt())
    product = MultivariateNormal(bias, marginals.variance.diag())
    prior = Normal(torch.zeros(3).double(), torch.ones(3).double())
    total, bent = kl_divergence(aggregate, product), kl_divergence(marginals, prior).sum()
    mutual = aggregate.entropy() - Normal(bias, var.sqrt()).entropy().sum()
    assert min(total, bent, mutual) > 0.1
    torch.testing.assert_close(tuple(found), (mutual, total, bent))
    fields = ("mutual_information", "total_correlation", "dimension_wise_kl")
    assert found._fields == fields


def test_gaussian_parts_sum_to_the_mean_divergence(normal: Draw) -> None:
    """eq:beta-surgery: the three parts are KL(q(z|x) || p(z)) averaged over the data."""
    weight, bias, root = 0.6 * normal(3, 4), normal(3), normal(4, 4)
    var, covariance = normal(3).exp(), root @ root.T
    found = surgery.gaussian_surgery(weight, bias, var, covariance).rate
    second = (weight @ covariance @ weight.T).diagonal() + bias**2
    expected = 0.5 * (var + second - 1 - var.log()).sum()
    torch.testing.assert_close(found, expected)


def test_the_aggregate_is_a_weighted_sum(codes: tuple[Tensor, Tensor], normal: Draw) -> None:
    """eq:beta-aggregate: densities summed one by one, jointly and for each latent alone."""
    mean, log_var = codes
    z, weights = normal(7, 2), normal(7, 5)
    joint, alone = surgery.log_aggregate(z, mean, log_var, weights)
    density = component(z, mean, log_var)
    torch.testing.assert_close(joint.exp(), (weights.exp() * density.prod(dim=2)).sum(dim=1))
    expected = (weights.exp()[:, :, None] * density).sum(dim=1)
    torch.testing.assert_close(alone.exp(), expected)


def test_the_estimate_is_the_integral(codes: tuple[Tensor, Tensor]) -> None:
    """eq:beta-parts: averaged over noise, each part is its integral over the plane."""
    mean, log_var = codes

    def densities(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        each = component(z, mean, log_var)
        prior = Normal(0.0, 1.0).log_prob(z).exp().prod(dim=1)
        return each.prod(dim=2), each.mean(dim=1).prod(dim=1), prior

    def mutual(z: Tensor) -> Tensor:
        own, _, _ = densities(z)
        return (own * (own / own.mean(dim=1, keepdim=True)).log()).mean(dim=1).nan_to_num()

    def total(z: Tensor) -> Tensor:
        own, product, _ = densities(z)
        return own.mean(dim=1) * (own.mean(dim=1) / product).log()

    def bent(z: Tensor) -> Tensor:
        own, product, prior = densities(z)
        return own.mean(dim=1) * (product / prior).log()

    expected = [oracles.integrate_plane(f, extent=8, nodes=401) for f in (mutual, total, bent)]
    assert min(expected) > 0.05
    points, masses = oracles.normal_nodes(2, 24)
    weights = surgery.exhaustive_log_weights(5)
    found = torch.zeros(3).double()
    for point, mass in zip(points, masses, strict=True):
        parts = surgery.surgery(mean, log_var, point.expand(5, 2), weights)
        found += mass * torch.stack(list(parts))
    torch.testing.assert_close(found, torch.stack(expected).double(), atol=2e-3, rtol=0)


def test_the_estimate_meets_the_gaussian_answer(normal: Draw) -> None:
    """eq:beta-parts with 3,000 data against eq:beta-gaussian-surgery, to a few hundredths."""
    weight = torch.tensor([[0.8, 0.3], [0.2, -0.7]]).double()
    bias, var = torch.tensor([0.2, -0.4]).double(), torch.tensor([0.5, 0.7]).double()
    x = normal(3_000, 2)
    mean = x @ weight.T + bias
    log_var = var.log().expand(3_000, 2)
    found = surgery.surgery(mean, log_var, normal(3_000, 2), surgery.exhaustive_log_weights(3_000))
    exact = surgery.gaussian_surgery(weight, bias, var, torch.eye(2).double())
    for a, b in zip(found, exact, strict=True):
        assert a.item() == pytest.approx(b.item(), abs=0.05)
    torch.testing.assert_close(found.rate, sum(found[1:], found[0]))


def test_batch_weights_are_right_on_average_over_all_batches(normal: Draw) -> None:
    """eq:beta-minibatch: over all batches that hold a datum, the weighted density is q(z)."""
    mean, log_var, z = normal(6, 2), normal(6, 2) - 1, normal(1, 2)
    weights = surgery.minibatch_log_weights(3, 6).double()
    estimates = []
    for others in itertools.combinations(range(1, 6), 2):
        rows = torch.tensor([0, *others])
        joint, _ = surgery.log_aggregate(z, mean[rows], log_var[rows], weights[:1])
        estimates.append(joint.exp())
    whole = component(z, mean, log_var).prod(dim=2).mean(dim=1)
    assert torch.stack(estimates).std() > 0.01 * whole
    torch.testing.assert_close(torch.stack(estimates).mean(dim=0), whole, rtol=1e-6, atol=0)


def test_batch_weights_by_hand() -> None:
    """eq:beta-minibatch: 1/N for the own component, (N - 1) / (N (M - 1)) for each other."""
    found = surgery.minibatch_log_weights(3, 10).exp()
    expected = torch.full((3, 3), 9 / 20).fill_diagonal_(0.1)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(3))
    whole = surgery.minibatch_log_weights(10, 10).exp()
    torch.testing.assert_close(whole, torch.full((10, 10), 0.1))
    torch.testing.assert_close(surgery.exhaustive_log_weights(10).exp(), torch.full((1, 10), 0.1))


def test_separate_codes_say_which_datum() -> None:
    """eq:beta-parts: posteriors that never meet have log N of mutual information."""
    mean = 100 * torch.arange(8).double()[:, None]
    found = surgery.surgery(
        mean, torch.zeros(8, 1).double(), torch.ones(8, 1).double(),
        surgery.exhaustive_log_weights(8),
    )  # fmt: skip
    assert found.mutual_information.item() == pytest.approx(math.log(8), rel=1e-6)
    assert found.total_correlation.item() == 0


@pytest.mark.parametrize(("batch", "count"), [(1, 10), (0, 10), (11, 10)])
def test_a_batch_has_two_data_at_least(batch: int, count: int) -> None:
    """One datum alone says nothing of the others."""
    with pytest.raises(ValueError, match=f"a batch has 2 to {count} of {count} data, got {batch}"):
        surgery.minibatch_log_weights(batch, count)


def test_a_posterior_needs_variance() -> None:
    """The error shows the variances."""
    eye, zero = torch.eye(2), torch.zeros(2)
    with pytest.raises(ValueError, match=r"posterior_var must be positive, got \[1.0, 0.0\]"):
        surgery.gaussian_surgery(eye, zero, torch.tensor([1.0, 0.0]), eye)
