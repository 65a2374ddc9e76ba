"""Proof for litgen/gan/field.py: central differences, the chain rule by hand, a linear critic."""

import pytest
import torch
from torch import Tensor, nn

from litgen.blocks import MLP
from litgen.gan import field, losses
from tests import oracles


def critic_and_points() -> tuple[nn.Module, Tensor]:
    """Return a smooth critic in doubles and points of the plane."""
    torch.manual_seed(0)
    critic = MLP([2, 8, 1], nn.Tanh).double()
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return critic, x


@pytest.mark.parametrize("loss", [losses.generator_loss, losses.saturating_loss])
def test_the_advice_is_minus_the_losss_gradient(loss: object) -> None:
    """eq:game-advice: central differences of each sample's own loss."""
    critic, x = critic_and_points()
    with torch.no_grad():
        expected = -oracles.central_difference(lambda at: loss(critic(at)).sum(), x)  # type: ignore[operator]
    found = field.advice(critic, x, loss)  # type: ignore[arg-type]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)
    assert found.std() > 0.01
    assert all(p.grad is None for p in critic.parameters())
    assert not x.requires_grad


def test_both_losses_send_a_sample_the_same_way() -> None:
    """eq:game-advice: a linear critic of slope w says (1 - D) w, or D w, at each place."""
    w, x = torch.tensor([0.6, -0.8]), torch.randn(5, 2, generator=torch.Generator().manual_seed(2))
    logits = x @ w
    usual = field.advice(lambda at: at @ w, x)
    slower = field.advice(lambda at: at @ w, x, losses.saturating_loss)
    torch.testing.assert_close(usual, torch.sigmoid(-logits)[:, None] * w)
    torch.testing.assert_close(slower, torch.sigmoid(logits)[:, None] * w)


def test_the_generator_learns_nothing_else() -> None:
    """eq:game-chain: its gradient is minus the mean of J^T advice, J by finite differences."""
    critic, _ = critic_and_points()
    torch.manual_seed(4)
    generator = MLP([3, 5, 2], nn.Tanh).double()
    z = torch.randn(7, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    losses.generator_loss(critic(generator(z))).mean().backward()
    weight = generator[0].weight
    with torch.no_grad():
        advice = field.advice(critic, generator(z))
        expected = torch.zeros_like(weight)
        for i in range(weight.shape[0]):
            for j in range(weight.shape[1]):
                kept, ends = weight[i, j].item(), []
                for shift in (1e-6, -1e-6):
                    weight[i, j] = kept + shift
                    ends.append(generator(z))
                weight[i, j] = kept
                expected[i, j] = -((ends[0] - ends[1]) / 2e-6 * advice).sum(dim=1).mean()
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, expected, rtol=1e-6, atol=1e-9)
    assert expected.std() > 1e-3


def test_places_are_centres_of_cells_from_the_top_row_on() -> None:
    """Two cells a side of the square from -2 to 2."""
    expected = torch.tensor([[-1.0, 1.0], [1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
    torch.testing.assert_close(field.places(2.0, 2), expected)
    assert field.places(1.5, 7).mean(dim=0).abs().max() < 1e-6


@pytest.mark.parametrize(("extent", "count"), [(0.0, 3), (-1.0, 3), (1.0, 0)])
def test_a_square_without_places_is_refused(extent: float, count: int) -> None:
    """Nothing would be drawn."""
    with pytest.raises(ValueError, match="no places"):
        field.places(extent, count)
