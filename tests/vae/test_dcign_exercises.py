"""Solutions of the exercises in book/vae/dcign.md, and what shows that they are right."""

import math

import pytest
import torch
from torch import Tensor

from litgen.vae.clamped import clamp
from litgen.vae.equivariance import r_squared


def through_the_mean(grad: Tensor, active: Tensor) -> Tensor:
    """Return the gradient that the clamp itself would hand back, without the paper's change."""
    return torch.where(active, grad, grad.mean(dim=0, keepdim=True))


def noisy_r_squared(variance: float, noise: float) -> float:
    """Return the R^2 of a factor of this variance, told by a latent with noise of that sd."""
    return variance / (variance + noise**2)


def equal_opposites(codes: Tensor) -> int:
    """Return a place of an even number on a circle whose code meets that of the opposite place.

    Between it and the next place the difference of the two changes its sign.
    """
    half = len(codes) // 2
    difference = codes - codes.roll(-half)
    turns = (difference * difference.roll(-1) <= 0).nonzero()
    return int(turns[0])


def test_the_clamps_own_gradient_is_the_mean_of_what_comes_from_above() -> None:
    """By autograd through the mean; the paper's gradient is another one."""
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(6, 3, generator=generator, dtype=torch.float64).requires_grad_()
    grad = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    active = torch.tensor([False, True, False])
    clamped = torch.where(active, codes, codes.mean(dim=0, keepdim=True))
    (expected,) = torch.autograd.grad(clamped, codes, grad)
    torch.testing.assert_close(through_the_mean(grad, active), expected)
    (papers,) = torch.autograd.grad(clamp(codes, active, 1.0), codes, grad)
    assert (papers - expected)[:, 0].abs().max() > 0.01


def test_noise_costs_as_much_r_squared_as_it_adds_variance() -> None:
    """Simulated: a factor even in [-1, 1] has variance 1/3."""
    generator = torch.Generator().manual_seed(1)
    factor = torch.rand(200_000, 1, generator=generator) * 2 - 1
    for noise in (0.1, 0.3, 1.0):
        codes = 3 * factor - 1 + 3 * noise * torch.randn(200_000, 1, generator=generator)
        assert r_squared(codes, factor).item() == pytest.approx(
            noisy_r_squared(1 / 3, noise), abs=0.005
        )


def test_on_a_circle_two_opposite_places_share_their_code() -> None:
    """For any continuous code: random waves, refined until both places agree."""
    generator = torch.Generator().manual_seed(2)
    for count, allowed in ((100, 1.0), (10_000, 0.01)):
        angle = torch.arange(count, dtype=torch.float64) * (2 * math.pi / count)
        for _ in range(5):
            waves = torch.randn(3, 2, generator=generator).double()
            codes = sum(
                w[0] * (k * angle).sin() + w[1] * (k * angle).cos() for k, w in enumerate(waves, 1)
            )
            place = equal_opposites(codes)
            opposite = (place + count // 2) % count
            assert abs(codes[place] - codes[opposite]) < allowed
            assert codes.std() > 0.3
