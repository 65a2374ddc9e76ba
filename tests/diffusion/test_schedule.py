"""Proof for litgen/diffusion/schedule.py: products by hand, the papers' numbers."""

import math

import pytest
import torch

from litgen.diffusion import schedule
from litgen.diffusion.schedule import Schedule


def test_alpha_bar_is_the_running_product() -> None:
    """eq:alpha-bar: one factor after the other; entry 0 is 1, entry t has t factors."""
    betas = torch.tensor([0.3, 0.5, 0.9, 0.6], dtype=torch.float64)
    found = schedule.from_betas(betas)
    product = 1.0
    assert found.alpha_bar[0] == 1
    for t, beta in enumerate(betas.tolist(), start=1):
        product *= 1 - beta
        assert found.alpha_bar[t].item() == pytest.approx(product)
    assert found.steps == 4
    torch.testing.assert_close(found.betas, betas)


def test_linear_is_the_papers() -> None:
    """eq:schedule-linear: betas from 1e-4 to 0.02 in a thousand equal steps."""
    found = schedule.linear()
    assert found.steps == 1_000
    for t in (1, 2, 500, 1_000):
        expected = 1e-4 + (0.02 - 1e-4) * (t - 1) / 999
        assert found.betas[t - 1].item() == pytest.approx(expected, rel=1e-6)
    logs = sum(math.log1p(-(1e-4 + (0.02 - 1e-4) * k / 999)) for k in range(1_000))
    assert found.alpha_bar[-1].item() == pytest.approx(math.exp(logs))


def test_linear_with_fewer_steps_lets_as_much_noise_in() -> None:
    """eq:schedule-linear: 100 steps of ten times the size end at nearly the same level."""
    ratio = schedule.linear(100).alpha_bar[-1].log() / schedule.linear().alpha_bar[-1].log()
    assert 0.95 < ratio < 1.15


def test_cosine_is_the_formula() -> None:
    """eq:schedule-cosine: f(t) / f(0), except where the largest beta cuts."""
    found = schedule.cosine(50)

    def f(t: int) -> float:
        return math.cos((t / 50 + 0.008) / 1.008 * math.pi / 2) ** 2

    for t in range(50):
        assert found.alpha_bar[t].item() == pytest.approx(f(t) / f(0), abs=1e-12)
    assert found.betas[-1].item() == pytest.approx(0.999)


def test_at_picks_each_examples_time() -> None:
    """The value of time t for example n, shaped to multiply, in the data's precision."""
    found = schedule.from_betas(torch.tensor([0.5, 0.5, 0.9]))
    t = torch.tensor([0, 3, 1])
    values = found.at(t, torch.zeros(3, 2, 4, 4))
    assert values.shape == (3, 1, 1, 1)
    assert values.dtype == torch.float32
    torch.testing.assert_close(values.flatten(), torch.tensor([1.0, 0.025, 0.5]))


def test_bad_schedules(unchecked: None) -> None:
    """One that ends before noise, one that does not start at the data, one that does not fall."""
    with pytest.raises(ValueError, match="near noise"):
        schedule.from_betas(torch.full((10,), 0.01))
    with pytest.raises(ValueError, match="near noise"):
        schedule.linear(1_000, last=1e-3)
    with pytest.raises(ValueError, match="starts with 1"):
        Schedule(torch.tensor([0.9, 0.01]))
    with pytest.raises(ValueError, match="fall"):
        Schedule(torch.tensor([1.0, 0.5, 0.5, 0.01]))
    with pytest.raises(ValueError, match="fall"):
        Schedule(torch.tensor([1.0, 0.5, 0.0]))
    with pytest.raises(ValueError, match="fall"):
        Schedule(torch.tensor([1.0, math.nan, 0.01]))
    for beta in (0.0, 1.0, -0.1):
        with pytest.raises(ValueError, match="between 0 and 1"):
            schedule.from_betas(torch.tensor([0.9, beta]))


def test_times_out_of_range(unchecked: None) -> None:
    """Indexing with -1 would silently give the last time."""
    found = schedule.from_betas(torch.tensor([0.5, 0.9, 0.9]))
    for t in (-1, 4):
        with pytest.raises(ValueError, match=r"0\.\.3"):
            found.at(torch.tensor([1, t]), torch.zeros(2, 1))
