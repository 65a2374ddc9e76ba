"""Proof for litgen/autoencoders/gaussian_fill.py: least squares, samples, densities."""

import pytest
import torch
from torch import Tensor

from litgen.autoencoders import context
from litgen.autoencoders.gaussian_fill import GaussianFill, smooth_covariance

HOLE = torch.tensor([False, True, False, True, True, False])


def known(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return a mean and a covariance of six dimensions."""
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    mean = torch.randn(6, generator=generator, dtype=torch.float64)
    return mean, root @ root.T + 0.3 * torch.eye(6, dtype=torch.float64)


def drawn(count: int, seed: int = 1) -> Tensor:
    """Return samples of that Gaussian."""
    mean, covariance = known()
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, 6, generator=generator, dtype=torch.float64)
    return mean + noise @ torch.linalg.cholesky(covariance).T


def test_the_conditional_is_the_ratio_of_two_densities() -> None:
    """eq:ctx-gain and eq:ctx-rest: log p(h | c) = log p(h, c) - log p(c), by torch."""
    mean, covariance = known()
    fill, x = GaussianFill.given(mean, covariance, HOLE), drawn(20)
    normal = torch.distributions.MultivariateNormal
    joint = normal(mean, covariance).log_prob(x)
    alone = normal(mean[~HOLE], covariance[~HOLE][:, ~HOLE]).log_prob(x[:, ~HOLE])
    conditional = normal(fill.best(x[:, ~HOLE]), fill.rest).log_prob(x[:, HOLE])
    torch.testing.assert_close(conditional, joint - alone)
    assert conditional.std() > 0.5


def test_the_best_fill_is_the_regression() -> None:
    """eq:ctx-best-fill: least squares on many samples finds the same fill and the same error."""
    mean, covariance = known()
    fill, x = GaussianFill.given(mean, covariance, HOLE), drawn(200_000)
    inputs = torch.cat([x[:, ~HOLE], torch.ones(len(x), 1, dtype=x.dtype)], dim=1)
    slope = torch.linalg.lstsq(inputs, x[:, HOLE]).solution
    torch.testing.assert_close(inputs[:9] @ slope, fill.best(x[:9, ~HOLE]), atol=0.03, rtol=0)
    error = (x[:, HOLE] - inputs @ slope).square().sum(dim=1).mean()
    torch.testing.assert_close(error, fill.error(), rtol=0.01, atol=0)


def test_the_loss_of_images_finds_the_best_fill() -> None:
    """eq:ctx-best-fill: at the gain the loss of the hole has almost no slope."""
    mean, covariance = known()
    fill, x = GaussianFill.given(mean, covariance, HOLE), drawn(40_000).view(-1, 1, 1, 6)
    weights = context.weights(HOLE.view(1, 6)).double()

    def measured(gain: Tensor) -> Tensor:
        guess = fill.mean_missing + (x[:, 0, 0][:, ~HOLE] - fill.mean_context) @ gain.T
        image = torch.zeros_like(x).masked_scatter(HOLE.view(1, 6).expand_as(x), guess)
        return context.reconstruction_loss(x, image, weights).mean()

    slopes = []
    for part in (1.0, 0.0):
        gain = (part * fill.gain).requires_grad_()
        loss = measured(gain)
        slopes.append(torch.autograd.grad(loss, gain)[0].abs().max())
        if part == 1:
            torch.testing.assert_close(loss.detach(), fill.error() / 3, rtol=0.02, atol=0)
    assert slopes[0] < 0.05 * slopes[1]


def test_a_sampler_has_the_spread_of_the_data_and_twice_the_error() -> None:
    """eq:ctx-sampler, eq:ctx-total-variance and eq:ctx-price, measured on samples."""
    mean, covariance = known()
    fill, x = GaussianFill.given(mean, covariance, HOLE), drawn(200_000)
    noise = torch.randn(len(x), 3, generator=torch.Generator().manual_seed(2), dtype=x.dtype)
    best, sample = fill.best(x[:, ~HOLE]), fill.sample(x[:, ~HOLE], noise)
    scale = float(fill.missing.abs().max())
    for found, expected in (
        (best.T.cov(), fill.explained()),
        (sample.T.cov(), covariance[HOLE][:, HOLE]),
        ((sample - best).T.cov(), fill.rest),
    ):
        torch.testing.assert_close(found, expected, atol=0.02 * scale, rtol=0)
    for amount, picture in ((0.0, best), (1.0, sample), (0.5, best + (sample - best) / 2)):
        error = (x[:, HOLE] - picture).square().sum(dim=1).mean()
        torch.testing.assert_close(error, fill.error(amount), rtol=0.01, atol=0)
    assert fill.error() < 0.95 * fill.missing.trace()
    torch.testing.assert_close(sample.mean(dim=0), mean[HOLE], atol=0.03 * scale, rtol=0)


@pytest.mark.usefixtures("unchecked")
def test_holes_that_leave_nothing_are_refused() -> None:
    """No context, no hole, or sizes that differ."""
    mean, covariance = known()
    for hole in (torch.ones_like(HOLE), torch.zeros_like(HOLE)):
        with pytest.raises(ValueError, match="something in it and something around it"):
            GaussianFill.given(mean, covariance, hole)
    with pytest.raises(ValueError, match="do not fit"):
        GaussianFill.given(mean, covariance, HOLE[:5])
    with pytest.raises(ValueError, match="do not fit"):
        GaussianFill.given(mean, covariance[:5], HOLE)


def test_the_covariance_falls_with_distance() -> None:
    """Entries by hand; positive definite; bad sizes are refused."""
    found = smooth_covariance(5, length=2.0, nugget=0.1)
    assert found[1, 1].item() == pytest.approx(1.1)
    assert found[0, 2].item() == pytest.approx(0.6065306597)
    assert found[4, 3].item() == pytest.approx(0.8824969026)
    assert torch.linalg.eigvalsh(found).min() > 0.09
    for arguments in ((0, 1.0, 0.1), (3, 0.0, 0.1), (3, 1.0, 0.0)):
        with pytest.raises(ValueError, match="must be positive"):
            smooth_covariance(*arguments)
