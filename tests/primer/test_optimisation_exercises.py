"""Solutions of the exercises in book/primer/optimisation.md, and what proves them."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from litgen.primer import optimisation, quadratic

Draw = Callable[..., Tensor]


def first_step(gradient: Tensor, learning_rate: float) -> Tensor:
    """Return by how much Adam's first step moves, for eps = 0."""
    return -learning_rate * gradient.sign()


def variance_with_momentum(rate: float, momentum: float, curvature: float, noise: float) -> float:
    """Return the stationary variance of the heavy ball with gradients of noise variance."""
    top = rate * noise * (1 + momentum)
    return top / (curvature * (1 - momentum) * (2 * (1 + momentum) - rate * curvature))


def falling_rate(gradients: Tensor, curvature: float) -> Tensor:
    """Return where SGD ends that starts at 0, with learning rate 1 / (curvature step).

    The gradient at x in step t is curvature x plus entry t of ``gradients``.
    """
    x = torch.zeros_like(gradients[0])
    memory = optimisation.start(x)
    for step, noise in enumerate(gradients, start=1):
        rate = 1 / (curvature * step)
        x, memory = optimisation.gradient_descent(x, curvature * x + noise, memory, rate)
    return x


def warmed_cosine(step: int, steps: int, warm: int, highest: float) -> float:
    """Return a learning rate that climbs for ``warm`` steps, then falls to 0 on half a cosine."""
    if step < warm:
        return highest * (step + 1) / warm
    return highest * 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))


def test_first_step_of_adam(normal: Draw) -> None:
    """Exercise 1: the sign of the gradient, whatever its size and the betas."""
    gradient = normal(5) * torch.logspace(-6, 6, 5).double()
    x = torch.zeros(5).double()
    for beta1, beta2 in ((0.9, 0.999), (0.3, 0.5)):
        moved, _ = optimisation.adam(
            x, gradient, optimisation.start(x), 0.2, beta1, beta2, eps=0.0
        )
        torch.testing.assert_close(moved, first_step(gradient, 0.2))


def test_variance_with_momentum_solves_lyapunovs_equation() -> None:
    """Exercise 2: the covariance of (x, sum of gradients); without momentum eq:opt-floor."""
    for rate, momentum, curvature in ((0.1, 0.9, 2.0), (0.05, 0.5, 7.0), (0.3, 0.0, 1.0)):
        step = np.array([[1 - rate * curvature, -rate * momentum], [curvature, momentum]])
        push = np.array([-rate, 1.0])
        covariance = scipy.linalg.solve_discrete_lyapunov(step, 1.7 * np.outer(push, push))
        found = variance_with_momentum(rate, momentum, curvature, noise=1.7)
        assert math.isclose(found, covariance[0, 0], rel_tol=1e-9)
    floor = quadratic.stationary_variance(0.3, torch.tensor([1.0]).double(), 1.7)
    assert math.isclose(variance_with_momentum(0.3, 0.0, 1.0, 1.7), floor.item())


def test_a_falling_rate_averages(normal: Draw) -> None:
    """Exercise 3: the mean of all noise so far over minus the curvature; no floor is left."""
    noise = normal(400, 1000)
    found = falling_rate(noise, curvature=3.0)
    torch.testing.assert_close(found, -noise.mean(dim=0) / 3)
    assert abs(found.var().item() * 400 * 9 - 1) < 0.15


def test_warmed_cosine_has_the_shape_that_it_says() -> None:
    """Exercise 4: up in a line, down to nearly 0, torch's cosine in between."""
    rates = [warmed_cosine(step, 110, 10, 0.5) for step in range(110)]
    assert np.allclose(rates[:10], 0.05 * np.arange(1, 11))
    x = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([x], lr=0.5)
    schedule = partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=100)(optimizer)
    for rate in rates[10:]:
        assert math.isclose(rate, schedule.get_last_lr()[0], rel_tol=1e-6, abs_tol=1e-9)
        optimizer.step()
        schedule.step()
