"""Proof for litgen/gan/stability.py: cross-entropy of torch, tables solved by Newton, autograd."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from litgen.gan import losses, stability

P = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
Q = torch.tensor([0.05, 0.25, 0.1, 0.6], dtype=torch.float64)
TARGETS = [(0.9, 0.0), (0.8, 0.1), (1.0, 0.0), (0.7, 0.3)]


@pytest.mark.parametrize(("real_target", "fake_target"), TARGETS)
def test_the_loss_is_torchs_cross_entropy(real_target: float, fake_target: float) -> None:
    """eq:stable-smooth: two means over batches of different size; targets 1 and 0 are the game."""
    generator = torch.Generator().manual_seed(0)
    real = 2 * torch.randn(7, generator=generator, dtype=torch.float64)
    fake = 2 * torch.randn(4, generator=generator, dtype=torch.float64)
    expected = cross_entropy(real, torch.full_like(real, real_target))
    expected = expected + cross_entropy(fake, torch.full_like(fake, fake_target))
    found = stability.smoothed_loss(real, fake, real_target, fake_target)
    torch.testing.assert_close(found, expected)
    plain = stability.smoothed_loss(real, fake, 1.0)
    torch.testing.assert_close(plain, losses.discriminator_loss(real, fake))
    torch.testing.assert_close(
        stability.smoothed_loss(real, fake), stability.smoothed_loss(real, fake, 0.9, 0.0)
    )


def best_on_a_table(real_target: float, fake_target: float) -> Tensor:
    """Return the logits at which the loss over four places is lowest, by Newton's method."""
    logits = torch.zeros(4, dtype=torch.float64)
    wanted = P * real_target + Q * fake_target
    for _ in range(60):  # loss: -wanted log d - (p + q - wanted) log(1 - d), place by place
        d = torch.sigmoid(logits)
        logits = logits - ((P + Q) * d - wanted) / ((P + Q) * d * (1 - d)).clamp(min=1e-3)
    return logits


@pytest.mark.parametrize(("real_target", "fake_target"), TARGETS)
def test_the_best_critic_says_alpha_p_plus_beta_q_over_p_plus_q(
    real_target: float, fake_target: float
) -> None:
    """eq:stable-smooth-best: Newton on a table of four places, and the formula of the paper."""
    found = stability.smoothed_optimum(P.log(), Q.log(), real_target, fake_target)
    torch.testing.assert_close(found, best_on_a_table(real_target, fake_target))
    said = (real_target * P + fake_target * Q) / (P + Q)
    torch.testing.assert_close(torch.sigmoid(found), said)
    places = [torch.repeat_interleave(torch.arange(4), (1_000 * w).round().long()) for w in (P, Q)]
    lowest = stability.smoothed_loss(found[places[0]], found[places[1]], real_target, fake_target)
    generator = torch.Generator().manual_seed(1)
    for _ in range(10):
        other = found + 0.5 * torch.randn(4, generator=generator, dtype=torch.float64)
        loss = stability.smoothed_loss(
            other[places[0]], other[places[1]], real_target, fake_target
        )
        assert loss > lowest


def test_one_sided_smoothing_never_says_more_than_its_target() -> None:
    """Where p = q the critic says alpha / 2; where there are data alone, alpha, and not 1."""
    same = stability.smoothed_optimum(P.log(), P.log())
    torch.testing.assert_close(torch.sigmoid(same), torch.full_like(same, 0.45))
    far = stability.smoothed_optimum(torch.tensor([0.0]), torch.tensor([-200.0]))
    assert torch.sigmoid(far).item() == pytest.approx(0.9)


@pytest.mark.parametrize(("real_target", "fake_target"), TARGETS)
def test_the_slope_is_autograds(real_target: float, fake_target: float) -> None:
    """eq:stable-smooth-slope: the best logit, differentiated in log p - log q."""
    ratio = torch.linspace(-6, 6, 13, dtype=torch.float64, requires_grad=True)
    best = stability.smoothed_optimum(ratio, torch.zeros(13).double(), real_target, fake_target)
    (expected,) = torch.autograd.grad(best.sum(), ratio)
    found = stability.smoothed_slope(ratio.detach(), real_target, fake_target)
    torch.testing.assert_close(found, expected)


def test_a_bad_sample_feels_one_sided_smoothing_alone() -> None:
    """Where q is a million times p, the slope is 1 one-sided and nothing two-sided."""
    bad = torch.tensor(-13.8, dtype=torch.float64)
    assert stability.smoothed_slope(bad, 0.9, 0.0).item() == pytest.approx(1, abs=1e-5)
    assert stability.smoothed_slope(bad, 0.9, 0.1).item() < 1e-4
    assert stability.smoothed_slope(bad, 1.0, 0.0).item() == 1
    assert stability.smoothed_slope(-bad, 0.9, 0.0).item() < 1e-4
    near = torch.tensor([-0.4, 0.0, 1.3])
    usual = stability.smoothed_slope(near)
    torch.testing.assert_close(usual, stability.smoothed_slope(near, 0.9, 0.0))


def test_targets_without_a_preference_are_refused() -> None:
    """Data must be labelled higher than samples, both as probabilities; no empty batches."""
    some, none = torch.zeros(3), torch.zeros(0)
    for real_target, fake_target in ((0.5, 0.5), (0.2, 0.6), (1.1, 0.0), (0.9, -0.1)):
        with pytest.raises(ValueError, match="targets must be"):
            stability.smoothed_loss(some, some, real_target, fake_target)
        with pytest.raises(ValueError, match="targets must be"):
            stability.smoothed_optimum(some, some, real_target, fake_target)
        with pytest.raises(ValueError, match="targets must be"):
            stability.smoothed_slope(some, real_target, fake_target)
    with pytest.raises(ValueError, match="3 real and 0 fake"):
        stability.smoothed_loss(some, none)
    with pytest.raises(ValueError, match="0 real and 3 fake"):
        stability.smoothed_loss(none, some)
