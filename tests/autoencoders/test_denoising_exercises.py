"""Solutions of the exercises in book/autoencoders/denoising.md, and what shows them right."""

import itertools
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from litgen.autoencoders import denoising

SCALE = 0.6


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Return seeded standard normal numbers in double precision."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def ridge_denoiser(x: Tensor, scale: float) -> Tensor:
    """Return the matrix A that minimises the mean of |x_i - A (x_i + scale noise)|^2 over both."""
    squares = x.T @ x
    penalty = len(x) * scale**2 * torch.eye(x.shape[1], dtype=x.dtype)
    return torch.linalg.solve(squares + penalty, squares).T


def from_pairs(y: Tensor, target: Tensor) -> Tensor:
    """Return the matrix A of the least squares fit of target on y: target is about A y."""
    return torch.linalg.lstsq(y, target).solution.T


def estimated_error(denoise: denoising.Denoise, y: Tensor, scale: float) -> Tensor:
    """Return Stein's estimate of |D(y) - x|^2 for each y; the clean x is not asked for."""
    trace = denoising.posterior_covariance(denoise, y, scale).diagonal(dim1=1, dim2=2).sum(dim=1)
    return (denoise(y) - y).square().sum(dim=1) - y.shape[1] * scale**2 + 2 * trace


def filled_in(x: Tensor, seen: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """Return x with its unseen entries replaced by their mean given the seen ones."""
    rest = ~seen
    gap = torch.linalg.solve(covariance[seen][:, seen], (x - mean)[:, seen].T)
    filled = x.clone()
    filled[:, rest] = mean[rest] + (covariance[rest][:, seen] @ gap).T
    return filled


def descended(
    denoise: Callable[[Tensor, float], Tensor], y: Tensor, levels: Sequence[float]
) -> Tensor:
    """Return where noisy points end that keep, at each lower level, only that share of noise."""
    for level, lower in itertools.pairwise(levels):
        answer = denoise(y, level)
        y = answer + lower / level * (y - answer)
    return y


def test_noise_in_a_linear_autoencoder_is_a_ridge_penalty() -> None:
    """The gradient of the penalised loss is zero there, and it is Wiener's filter of the data."""
    x = normal(40, 3, seed=1) * torch.tensor([2.0, 1.0, 0.3])
    found = ridge_denoiser(x, SCALE).requires_grad_()
    loss = (x - x @ found.T).square().sum() + len(x) * SCALE**2 * found.square().sum()
    (slope,) = torch.autograd.grad(loss, found)
    torch.testing.assert_close(slope, torch.zeros_like(slope), atol=1e-9, rtol=0)
    y, zero = normal(5, 3, seed=2), torch.zeros(3).double()
    expected = denoising.wiener(y, zero, x.T @ x / len(x), SCALE)
    torch.testing.assert_close(y @ found.detach().T, expected)
    assert (expected - y).abs().max() > 0.1


def test_a_noisy_target_with_noise_of_its_own_does_no_harm() -> None:
    """A second noisy copy teaches what the clean datum teaches; the same copy, the identity."""
    x = normal(200_000, 3, seed=3) @ normal(3, 3, seed=4)
    first, second = (x + SCALE * normal(200_000, 3, seed=seed) for seed in (5, 6))
    taught = from_pairs(first, x)
    torch.testing.assert_close(from_pairs(first, second), taught, atol=0.01, rtol=0)
    torch.testing.assert_close(from_pairs(first, first), torch.eye(3).double())
    torch.testing.assert_close(taught, ridge_denoiser(x, SCALE), atol=0.01, rtol=0)
    assert (taught - torch.eye(3)).abs().max() > 0.1


def test_steins_estimate_is_right_on_average() -> None:
    """For the best denoiser, and for one that is wrong on purpose."""
    points = normal(5, 2, seed=7)
    which = torch.randint(5, (60_000,), generator=torch.Generator().manual_seed(8))
    x = points[which]
    y = denoising.noisy(x, normal(60_000, 2, seed=9), SCALE)
    for denoise in (
        lambda at: denoising.posterior_mean(at, points, SCALE),
        lambda at: at - 0.4 * at.square(),
    ):
        estimate = estimated_error(denoise, y, SCALE).mean()
        truth = denoising.squared_error(x, denoise(y)).mean()
        assert truth > 0.05
        torch.testing.assert_close(estimate, truth, rtol=0.04, atol=0)


def test_filling_in_is_the_mode_of_the_joint_density() -> None:
    """The log-density's slope is zero along unseen entries, and seen ones stay."""
    root = normal(4, 4, seed=10)
    mean, covariance = normal(4, seed=11), root @ root.T
    seen = torch.tensor([True, False, True, False])
    x = normal(3, 4, seed=12)
    found = filled_in(x, seen, mean, covariance).requires_grad_()
    (slope,) = torch.autograd.grad(
        MultivariateNormal(mean, covariance).log_prob(found).sum(), found
    )
    torch.testing.assert_close(slope[:, ~seen], torch.zeros(3, 2).double(), atol=1e-8, rtol=0)
    torch.testing.assert_close(found[:, seen], x[:, seen])
    assert (found - x)[:, ~seen].abs().min() > 1e-3


@pytest.mark.parametrize(("steps", "error"), [(20, 0.2), (400, 0.01)])
def test_falling_levels_keep_the_datas_spread(steps: int, error: float) -> None:
    """From far out to no noise: Gaussian data's standard deviation is what comes out."""
    spread = torch.tensor([[1.5**2]], dtype=torch.float64)
    zero = torch.zeros(1).double()
    levels = torch.logspace(2, -3, steps).tolist()
    y = (levels[0] ** 2 + 1.5**2) ** 0.5 * torch.ones(1, 1).double()  # one sd out
    end = descended(lambda at, level: denoising.wiener(at, zero, spread, level), y, levels)
    assert abs(end.item() / 1.5 - 1) < error
    walk = denoising.climb(lambda at: denoising.wiener(at, zero, spread, 1.0), y)
    for _ in range(60):
        at = next(walk)
    assert at.abs().item() < 1e-3  # at one level all of the spread is lost
