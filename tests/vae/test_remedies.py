"""Proof for litgen/vae/remedies.py: sums by hand, gradients, schedules step by step."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from litgen.vae import remedies

Draw = Callable[..., Tensor]


@pytest.fixture
def codes(normal: Draw) -> tuple[Tensor, Tensor]:
    """Return a batch of 6 with a busy, a modest and a quiet latent."""
    scale = torch.tensor([2.5, 0.6, 0.01]).double()
    return scale * normal(6, 3), scale * (normal(6, 3) - 0.5)


def test_free_bits_by_sums(codes: tuple[Tensor, Tensor]) -> None:
    """eq:beta-free-bits: the batch is averaged before the maximum, latents are summed after it."""
    mean, log_var = codes
    prior = Normal(torch.zeros(3).double(), torch.ones(3).double())
    each = kl_divergence(Normal(mean, log_var.exp().sqrt()), prior)
    for floor in (0.0, 0.1, 0.5, 50.0):
        averages = [sum(each[:, j].tolist()) / 6 for j in range(3)]
        expected = sum(max(floor, average) for average in averages)
        found = remedies.free_bits(mean, log_var, floor)
        assert found.item() == pytest.approx(expected, rel=1e-9)
    mixed = each.mean(dim=0)
    assert (each[:, 1] < mixed[1]).any()
    assert mixed[0] > 0.3 > 0.1 > mixed[2]


def test_below_the_floor_there_is_no_gradient(codes: tuple[Tensor, Tensor]) -> None:
    """eq:beta-free-bits: a latent below the floor is left alone, one above it pays in full."""
    mean, log_var = (part.clone().requires_grad_() for part in codes)
    remedies.free_bits(mean, log_var, 0.05).backward()
    assert mean.grad is not None
    assert log_var.grad is not None
    assert (mean.grad[:, 2] == 0).all()
    assert (log_var.grad[:, 2] == 0).all()
    torch.testing.assert_close(mean.grad[:, :2], codes[0][:, :2] / 6)


def test_the_warm_up_rises_evenly_and_stays() -> None:
    """eq:beta-warm-up: 0 at the start, half way at half the ramp, beta from its end on."""
    found = [remedies.warm_up(turn, 8, 3.0) for turn in (0, 2, 4, 8, 9, 1_000)]
    assert found == pytest.approx([0, 0.75, 1.5, 3, 3, 3])
    assert remedies.warm_up(4, 8) == 0.5


def test_cycles_start_again() -> None:
    """eq:beta-cyclical: the rise takes its share of each period, then the weight stays."""
    found = [remedies.cyclical(turn, 8, 0.5, 2.0) for turn in range(17)]
    cycle = [0, 0.5, 1, 1.5, 2, 2, 2, 2]
    assert found == pytest.approx([*cycle, *cycle, 0])
    assert [remedies.cyclical(t, 4, 1.0) for t in range(5)] == pytest.approx(
        [0, 0.25, 0.5, 0.75, 0]
    )


def test_active_latents_are_counted() -> None:
    """Mean KL above a tenth: a mean of 0.5 has 0.125 nats, one of 0.4 has 0.08."""
    mean = torch.tensor([[0.5, 0.4, 3.0, 0.0]]).expand(5, 4)
    assert remedies.active_dimensions(mean, torch.zeros(5, 4)) == 2
    assert remedies.active_dimensions(mean, torch.zeros(5, 4), least=0.07) == 3


def test_bad_settings_are_refused() -> None:
    """Each error names what was given."""
    with pytest.raises(ValueError, match=r"floor must be 0 or more, got -0\.1"):
        remedies.free_bits(torch.zeros(2, 1), torch.zeros(2, 1), -0.1)
    for turn, ramp, beta in ((-1, 4, 1.0), (0, 0, 1.0), (0, 4, -1.0)):
        with pytest.raises(ValueError, match=f"turn {turn}, ramp {ramp} and beta {beta}"):
            remedies.warm_up(turn, ramp, beta)
    for turn, period, share, beta in ((-1, 4, 0.5, 1.0), (0, 0, 0.5, 1.0), (0, 4, 0.0, 1.0)):
        with pytest.raises(ValueError, match=f"turn {turn}, period {period}, share {share}"):
            remedies.cyclical(turn, period, share, beta)
    for share, beta in ((1.1, 1.0), (math.nan, 1.0), (0.5, -1.0)):
        with pytest.raises(ValueError, match="must be 0 or more"):
            remedies.cyclical(1, 4, share, beta)
