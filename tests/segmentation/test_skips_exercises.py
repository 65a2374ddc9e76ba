"""Solutions of the exercises in book/segmentation/skips.md, and what shows that they are right."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from litgen.segmentation import paths
from litgen.segmentation.skips import SkipNet, layer_gradients
from tests import oracles


def count_walks(levels: int, blocks: int) -> float:
    """Return how many walks lead through a U with both kinds of skips."""
    stage = 2.0**blocks
    below = stage ** (2 * levels + 1)
    return below + sum(stage ** (2 * level + 2) for level in range(levels))


def growth(gain: float, blocks: int) -> float:
    """Return by what a residual chain multiplies mean squares, if each block gains gain/blocks."""
    return paths.chain(gain / blocks, blocks, short=True)


def soft_dice_loss(p: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return 1 minus twice the shared mass over the sum of both, and its slope in p."""
    shared, both = (p * y).sum(), p.sum() + y.sum()
    return 1 - 2 * shared / both, -2 * y / both + 2 * shared / both**2


def mean_slope_if_dropped(slope: float, blocks: int, kept: float) -> float:
    """Return the mean slope of a chain whose blocks are each kept with a probability."""
    return (1 + kept * slope) ** blocks


def weights_of_joins(width: int, levels: int) -> tuple[int, int]:
    """Return how many weights the joins of a U have: by sum, and by concatenation and 3x3."""
    return 0, levels * (9 * 2 * width * width + width)


@pytest.mark.parametrize(("levels", "blocks"), [(1, 1), (2, 2), (3, 1), (3, 4)])
def test_walks_are_counted(levels: int, blocks: int) -> None:
    """Against the drawn graph; each block is gone through or past."""
    expected = oracles.walks_of_a_u(1.0, levels, blocks, long=True, short=True)[0]
    assert count_walks(levels, blocks) == expected
    assert paths.u_profile(1.0, levels, blocks, True, True)[0].item() == expected
    assert count_walks(3, 4) == 285_278_464


def test_a_share_of_the_gain_each_keeps_it_bounded() -> None:
    """It grows to e and no further; without the share it doubles with every block."""
    values = [growth(1.0, n) for n in (1, 4, 28, 1_000)]
    assert values == sorted(values)
    assert values[-1] < math.e < values[-1] * 1.001
    assert paths.chain(1.0, 28, short=True) == 2**28
    x, pull = torch.randn(2, 1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    growths = []
    for gain in (1.0, 1 / 12):
        torch.manual_seed(1)
        model = SkipNet(16, 1, 4, long=False, short=True, norm=False, gain=gain)
        squares = [g.square().sum().item() for g in layer_gradients(model, x, pull)]
        growths.append(squares[0] / squares[-1])
    assert growths[1] < 6 < 100 < growths[0]


def test_the_slope_of_soft_dice() -> None:
    """Autograd; and the value where everything is called a cell."""
    draw = torch.Generator().manual_seed(0)
    p = torch.rand(5, 7, generator=draw, dtype=torch.float64).requires_grad_()
    y = (torch.rand(5, 7, generator=draw) < 0.4).double()
    value, slope = soft_dice_loss(p, y)
    torch.testing.assert_close(slope, torch.autograd.grad(value, p)[0])
    share = y.mean().item()
    everything = soft_dice_loss(torch.ones_like(y), y)[0].item()
    assert everything == pytest.approx(1 - 2 * share / (1 + share))


def test_dropped_blocks_shorten_the_chain() -> None:
    """All 2^7 choices of blocks to keep, weighted by their probability."""
    slope, blocks, kept = 0.6, 7, 0.8
    expected = 0.0
    for choice in itertools.product([0, 1], repeat=blocks):
        taken = sum(choice)
        chance = kept**taken * (1 - kept) ** (blocks - taken)
        expected += chance * (1 + slope) ** taken
    assert mean_slope_if_dropped(slope, blocks, kept) == pytest.approx(expected)


def test_joins_by_concatenation_cost_weights() -> None:
    """Counted on the layers themselves."""
    layers = [nn.Conv2d(2 * 8, 8, 3, padding=1) for _ in range(3)]
    counted = sum(p.numel() for layer in layers for p in layer.parameters())
    assert weights_of_joins(8, 3) == (0, counted)
    sizes = {
        sum(p.numel() for p in SkipNet(8, 3, 2, long=long).parameters()) for long in (True, False)
    }
    assert len(sizes) == 1
