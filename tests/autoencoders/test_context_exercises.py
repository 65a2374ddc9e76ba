"""Solutions of the exercises in book/autoencoders/context.md, and what shows them right."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from litgen.autoencoders import context
from litgen.autoencoders.context_networks import ChannelwiseLinear


def band_share(predicted: int, overlap: int, factor: float = 10.0) -> float:
    """Return the part of the loss's weights that lies on the band, for a square prediction."""
    hole = (predicted - 2 * overlap) ** 2
    band = factor * (predicted**2 - hole)
    return band / (band + hole)


def errors_of_three_fills(correlation: float) -> tuple[float, float, float]:
    """Return the squared error of the best fill, of the stretched one and of the sampler.

    One missing number and one seen, both of variance 1; the stretched fill is the seen number.
    """
    best = 1 - correlation**2
    return best, 2 * (1 - correlation), 2 * best


def as_grouped_convolution(layer: ChannelwiseLinear, x: Tensor) -> Tensor:
    """Return what a channel-wise layer returns, by one convolution in as many groups as maps."""
    maps, places, _ = layer.weight.shape
    side = x.shape[-1]
    kernels = layer.weight.reshape(maps * places, 1, side, side)
    return F.conv2d(x, kernels, layer.bias.flatten(), groups=maps).view(x.shape)


def best_constants(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the constants with the least mean squared and the least mean absolute error."""
    return values.mean(), values.median()


@pytest.mark.parametrize(("predicted", "overlap"), [(24, 2), (64, 4), (9, 1)])
def test_the_share_of_the_band_is_counted(predicted: int, overlap: int) -> None:
    """The same from the weights themselves: three quarters in the released code."""
    side = predicted + 2
    hole = context.square_hole(side, 1 + overlap, 1 + overlap, predicted - 2 * overlap)
    weights = context.weights(hole, overlap)
    expected = weights[weights == 10].sum() / weights.sum()
    assert band_share(predicted, overlap) == pytest.approx(expected.item())
    assert band_share(64, 4) == pytest.approx(0.754, abs=1e-3)


@pytest.mark.parametrize("correlation", [0.2, 0.6, 0.95])
def test_errors_of_three_fills(correlation: float) -> None:
    """Measured on many pairs; the stretched fill lies between the other two."""
    generator = torch.Generator().manual_seed(0)
    seen, own, noise = torch.randn(3, 400_000, generator=generator, dtype=torch.float64)
    rest = (1 - correlation**2) ** 0.5
    missing = correlation * seen + rest * own
    fills = (correlation * seen, seen, correlation * seen + rest * noise)
    expected = errors_of_three_fills(correlation)
    for fill, error in zip(fills, expected, strict=True):
        assert (missing - fill).square().mean().item() == pytest.approx(error, rel=0.01)
    assert fills[1].var().item() == pytest.approx(1, rel=0.01)
    assert expected[0] < expected[1] < expected[2]


def test_a_channelwise_layer_is_a_grouped_convolution() -> None:
    """Random weights and bias, the same maps to rounding."""
    torch.manual_seed(0)
    layer = ChannelwiseLinear(5, 4).double()
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(3, 5, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(as_grouped_convolution(layer, x), layer(x))
    assert layer(x).std() > 1


def test_best_constants_by_trying_all() -> None:
    """A pixel that is 1 in 30 % of all faces and -1 in the others, on a fine grid of constants."""
    values = torch.tensor([1.0] * 30 + [-1.0] * 70)
    grid = torch.linspace(-1, 1, 2001)
    gaps = grid[:, None] - values
    squared, absolute = best_constants(values)
    assert grid[gaps.square().mean(dim=1).argmin()].item() == pytest.approx(
        squared.item(), abs=1e-3
    )
    assert grid[gaps.abs().mean(dim=1).argmin()].item() == pytest.approx(absolute.item(), abs=1e-3)
    assert squared.item() == pytest.approx(-0.4)
    assert absolute == -1
