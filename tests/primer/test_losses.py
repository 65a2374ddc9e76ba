"""Proof for litgen/primer/losses.py; the chapter is book/primer/networks.md.

The judges are torch.distributions, torch.nn.functional, sums over all outcomes and quadrature.
"""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Laplace, Normal

from litgen.primer import losses
from tests import oracles

Draw = Callable[..., Tensor]


@pytest.mark.parametrize("shared", [True, False])
def test_gaussian_is_minus_the_normal_log_prob(shared: bool, normal: Draw) -> None:
    """eq:net-gaussian with one scale, or one for each entry; summed over the last axis."""
    x, mean, log_scale = normal(6, 3), normal(6, 3), 0.4 * normal(6, 1 if shared else 3)
    found = losses.gaussian(x, mean, log_scale)
    expected = -Normal(mean, log_scale.exp()).log_prob(x).sum(dim=1)
    assert found.std() > 0.1
    torch.testing.assert_close(found, expected)


def test_squared_error_is_a_gaussian_with_variance_one_half(normal: Draw) -> None:
    """eq:net-gaussian at scale sqrt(1/2): the squared error and a constant; F.mse_loss by mean."""
    x, mean = normal(6, 3), normal(6, 3)
    error = losses.squared_error(x, mean)
    half = Normal(mean, 0.5**0.5)
    constant = Normal(torch.zeros(3).double(), 0.5**0.5).log_prob(torch.zeros(3)).sum()
    torch.testing.assert_close(-half.log_prob(x).sum(dim=1) + constant, error)
    torch.testing.assert_close(error.mean() / 3, F.mse_loss(mean, x))


@pytest.mark.parametrize("shared", [True, False])
def test_laplace_is_minus_the_laplace_log_prob(shared: bool, normal: Draw) -> None:
    """eq:net-laplace; at scale 1 the absolute error and log 2."""
    x, median, log_scale = normal(6, 3), normal(6, 3), 0.4 * normal(6, 1 if shared else 3)
    found = losses.laplace(x, median, log_scale)
    assert found.std() > 0.1
    torch.testing.assert_close(found, -Laplace(median, log_scale.exp()).log_prob(x).sum(dim=1))
    error = losses.absolute_error(x, median)
    one = Laplace(median, torch.ones(1).double())
    torch.testing.assert_close(error, -one.log_prob(x).sum(dim=1) - 3 * torch.tensor(2.0).log())
    torch.testing.assert_close(error.mean() / 3, F.l1_loss(median, x))


@pytest.mark.parametrize("loss", [losses.gaussian, losses.laplace])
def test_densities_integrate_to_one(loss: Callable[..., Tensor]) -> None:
    """eq:net-gaussian and eq:net-laplace: e to the minus loss is a density."""

    def density(x: Tensor) -> Tensor:
        mean = torch.full_like(x[:, None], 0.3)
        return torch.exp(-loss(x[:, None], mean, torch.tensor([[-0.4]]).double()))

    area = oracles.integrate(density, -30, 30, nodes=60_001)
    torch.testing.assert_close(area, torch.ones_like(area), rtol=1e-5, atol=0)


def test_best_scale_is_the_likeliest(normal: Draw) -> None:
    """eq:net-scale: no other scale on a fine grid has a smaller loss; every entry counts alike."""
    x, mean = normal(20, 3) * torch.tensor([1.0, 2.0, 3.0]), normal(20, 3)
    best = losses.best_scale(x, mean)

    def mean_loss(scale: Tensor) -> Tensor:
        return losses.gaussian(x, mean, scale.log().view(1, 1)).mean()

    grid = torch.linspace(0.5, 2, 301).double() * best
    found = torch.stack([mean_loss(scale) for scale in grid])
    assert mean_loss(best) <= found.min()
    assert found.max() > mean_loss(best) + 1
    torch.testing.assert_close(best.square(), F.mse_loss(mean, x))


def test_bernoulli_is_minus_log_probability(normal: Draw) -> None:
    """eq:net-bernoulli; over all outcomes the probabilities sum to one; torch's loss by mean."""
    logits = 2 * normal(1, 4)
    coins = oracles.all_binary(4)
    found = losses.bernoulli(coins, logits.expand(16, 4))
    expected = -Bernoulli(logits=logits).log_prob(coins).sum(dim=1)
    assert found.std() > 0.5
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.exp(-found).sum(), torch.tensor(1.0).double())
    theirs = F.binary_cross_entropy_with_logits(logits.expand(16, 4), coins)
    torch.testing.assert_close(found.mean() / 4, theirs)


def test_bernoulli_stays_finite() -> None:
    """eq:net-bernoulli where the logarithm of a sigmoid is minus infinity."""
    logits = torch.tensor([[-800.0], [800.0], [-800.0]])
    coins = torch.tensor([[1.0], [0.0], [0.0]])
    assert losses.bernoulli(coins, logits).tolist() == [800, 800, 0]


def test_categorical_is_minus_log_probability(normal: Draw) -> None:
    """eq:net-categorical; torch's cross-entropy; a probability for each class, one in sum."""
    logits, label = 2 * normal(3, 5, 4), torch.arange(15).view(3, 5) % 4
    found = losses.categorical(label, logits)
    assert found.std() > 0.5
    torch.testing.assert_close(found, -Categorical(logits=logits).log_prob(label))
    flat = F.cross_entropy(logits.view(15, 4), label.view(15))
    torch.testing.assert_close(found.mean(), flat)
    each = [losses.categorical(torch.full((3, 5), c), logits) for c in range(4)]
    total = torch.exp(-torch.stack(each)).sum(dim=0)
    torch.testing.assert_close(total, torch.ones_like(total))


def test_categorical_does_not_see_a_common_constant(normal: Draw) -> None:
    """eq:net-categorical: logits of 1000 are as good as logits of 0; 32-bit labels do."""
    logits, label = normal(5, 4), torch.arange(5) % 4
    expected = losses.categorical(label, logits)
    torch.testing.assert_close(losses.categorical(label.int(), logits + 1000), expected)


def test_categorical_with_two_classes_is_a_coin(normal: Draw) -> None:
    """eq:net-categorical against eq:net-bernoulli: the logit is the difference of the two."""
    logits, label = normal(6, 2), torch.arange(6) % 2
    coin = losses.bernoulli(label[:, None].double(), logits[:, 1:] - logits[:, :1])
    torch.testing.assert_close(losses.categorical(label, logits), coin)


def test_gradients_are_prediction_minus_truth(normal: Draw) -> None:
    """eq:net-residual: the same form for the three of them, by autograd."""
    x, output = normal(5, 4), normal(5, 4).requires_grad_()
    (slope,) = torch.autograd.grad(losses.gaussian(x, output, x.new_zeros(1, 1)).sum(), output)
    torch.testing.assert_close(slope, (output - x).detach())
    coins = (x > 0).double()
    (slope,) = torch.autograd.grad(losses.bernoulli(coins, output).sum(), output)
    torch.testing.assert_close(slope, (output.sigmoid() - coins).detach())
    label = torch.arange(5) % 4
    (slope,) = torch.autograd.grad(losses.categorical(label, output).sum(), output)
    torch.testing.assert_close(slope, (output.softmax(1) - F.one_hot(label, 4)).detach())


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "loss",
    [
        losses.squared_error,
        losses.absolute_error,
        losses.best_scale,
        losses.bernoulli,
        lambda x, mean: losses.gaussian(x, mean, torch.zeros(1)),
        lambda x, mean: losses.laplace(x, mean, torch.zeros(1)),
    ],
)
def test_losses_refuse_to_broadcast(loss: Callable[..., Tensor]) -> None:
    """(batch,) against (batch, 1) would become (batch, batch)."""
    with pytest.raises(ValueError, match=r"x has shape \(5,\), the network's output \(5, 1\)"):
        loss(torch.ones(5), torch.ones(5, 1))


@pytest.mark.usefixtures("unchecked")
def test_losses_refuse_what_is_no_datum() -> None:
    """Labels that are no class, another number of labels, coins that are none, no data."""
    logits = torch.zeros(3, 4)
    with pytest.raises(ValueError, match="from 0 to 4, there are 4 classes"):
        losses.categorical(torch.tensor([0, 4, 1]), logits)
    with pytest.raises(ValueError, match="from -1 to 1, there are 4 classes"):
        losses.categorical(torch.tensor([0, -1, 1]), logits)
    with pytest.raises(ValueError, match=r"labels \(2,\) do not fit logits \(3, 4\)"):
        losses.categorical(torch.tensor([0, 1]), logits)
    for wrong in (1.5, -0.5, float("nan")):
        with pytest.raises(ValueError, match="no coins"):
            losses.bernoulli(torch.full((2, 3), wrong), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="no data"):
        losses.best_scale(torch.zeros(0, 3), torch.zeros(0, 3))
