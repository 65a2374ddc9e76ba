"""Proof for litgen/vae/linear_plane.py: averages over nodes, exact evidence, and no way up."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from litgen.vae import alignment
from litgen.vae.linear_plane import LinearPlane, mean_bound, optimum
from tests import oracles

Draw = Callable[..., Tensor]


@pytest.fixture
def covariance(normal: Draw) -> Tensor:
    """Return a covariance of four pixels with four different eigenvalues."""
    axes = torch.linalg.qr(normal(4, 4)).Q
    return axes @ torch.diag(torch.tensor([5.0, 2.0, 0.4, 0.2]).double()) @ axes.T


def test_mean_bound_is_the_average_over_data_and_noise(normal: Draw, covariance: Tensor) -> None:
    """eq:evo-linear-bound: Gauss-Hermite nodes for x and for the noise, torch's distributions."""
    model = LinearPlane(normal(4, 2), normal(2, 4), normal(2) - 1, normal(1)[0])
    points, share = oracles.normal_nodes(4, 3)
    noise, noise_share = oracles.normal_nodes(2, 3)
    x = points @ torch.linalg.cholesky(covariance).T
    mean, sd = x @ model.encode.T, (model.log_var / 2).exp()
    z = mean[:, None] + sd * noise
    likelihood = Normal(z @ model.decode.T, model.log_scale.exp()).log_prob(x[:, None])
    prior = Normal(torch.zeros(2).double(), torch.ones(2).double())
    rate = kl_divergence(Normal(mean, sd), prior).sum(dim=1)
    expected = share @ (likelihood.sum(dim=-1) @ noise_share - rate)
    torch.testing.assert_close(mean_bound(covariance, model), expected)


def test_the_optimum_reaches_the_likelihood(covariance: Tensor) -> None:
    """eq:evo-linear-optimum: the bound there is the mean log-density of the model's Gaussian."""
    model = optimum(covariance, 2)
    law = MultivariateNormal(
        torch.zeros(4).double(),
        model.decode @ model.decode.T + torch.exp(2 * model.log_scale) * torch.eye(4).double(),
    )
    points, share = oracles.normal_nodes(4, 3)
    expected = share @ law.log_prob(points @ torch.linalg.cholesky(covariance).T)
    torch.testing.assert_close(mean_bound(covariance, model), expected)
    # what is known of the noise, the lengths and the codes
    assert torch.exp(2 * model.log_scale).item() == pytest.approx(0.3)
    squares = model.decode.square().sum(dim=0).tolist()
    assert squares == pytest.approx([4.7, 1.7])
    assert model.log_var.exp().tolist() == pytest.approx([0.06, 0.15])
    spread = (model.encode @ covariance @ model.encode.T).diagonal() + model.log_var.exp()
    assert spread.tolist() == pytest.approx([1.0, 1.0])


def test_there_is_no_way_up_from_the_optimum(normal: Draw, covariance: Tensor) -> None:
    """eq:evo-linear-optimum: no slope by autograd, and fifty random steps lead down."""
    model = LinearPlane(*(t.clone().requires_grad_() for t in optimum(covariance, 2)))
    best = mean_bound(covariance, model)
    for gradient in torch.autograd.grad(best, list(model)):
        assert gradient.abs().max() < 1e-12
    for _ in range(50):
        moved = LinearPlane(*(t.detach() + 0.05 * normal(*t.shape) for t in model))
        assert mean_bound(covariance, moved) < best


def test_a_turn_of_the_optimum_costs_its_price(covariance: Tensor) -> None:
    """eq:evo-turn: decoder and means turned together, the variances found anew by autograd."""
    model, angle = optimum(covariance, 2), 0.6
    turn = torch.tensor(
        [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
    ).double()
    log_var = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_var], max_iter=200, tolerance_grad=1e-13)

    def loss() -> Tensor:
        optimizer.zero_grad()
        turned = LinearPlane(model.decode @ turn, turn.T @ model.encode, log_var, model.log_scale)
        value = -mean_bound(covariance, turned)
        value.backward()
        return value

    optimizer.step(loss)
    lost = mean_bound(covariance, model) + loss()
    price = alignment.turn_price(torch.diag(torch.exp(-model.log_var)), turn)
    assert price > 0.02
    assert lost.item() == pytest.approx(price.item(), abs=1e-6)


@pytest.mark.parametrize("latent", [0, 4, 5])
def test_a_plane_must_leave_something_over(covariance: Tensor, latent: int) -> None:
    """The noise is the mean of the variances that are not coded."""
    with pytest.raises(ValueError, match=f"latent must be between 1 and 3, got {latent}"):
        optimum(covariance, latent)


def test_nothing_to_code_is_an_error() -> None:
    """White data have no principal plane; data without noise no finite scale."""
    for values in ([1.0, 1.0, 1.0], [2.0, 1.0, 0.0]):
        with pytest.raises(ValueError, match="must be above the noise, and that above 0"):
            optimum(torch.diag(torch.tensor(values).double()), 2)
