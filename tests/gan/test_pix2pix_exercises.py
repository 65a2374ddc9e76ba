"""Solutions of the exercises in book/gan/pix2pix.md, and their proofs."""

import math

import pytest
import torch
from torch import Tensor

from litgen.gan import one_pixel
from litgen.gan.patch import PatchCritic, geometry, receptive_field


def halvings_for(side: int) -> int:
    """Return the least number of halvings, at least one, that shows a logit so many pixels."""
    return max(1, math.ceil(math.log2((side + 2) / 9)))


@pytest.mark.parametrize("side", [2, 16, 17, 34, 35, 70, 71, 142, 286])
def test_halvings(side: int) -> None:
    """Enough, and one fewer is not enough; 30 by 30 logits of 256 pixels with three."""
    found = halvings_for(side)
    assert receptive_field(geometry(PatchCritic(1, 1, found))) >= side
    if found > 1:
        assert receptive_field(geometry(PatchCritic(1, 1, found - 1))) < side
    assert PatchCritic(1, 1, 3)(torch.zeros(1, 1, 256, 256)).shape == (1, 30, 30)


def ways(optimizer: type[torch.optim.Optimizer], factor: float, steps: int = 20) -> Tensor:
    """Return where a weight is after each step down a hill whose height is multiplied."""
    weight = torch.tensor([2.0, -1.0], dtype=torch.float64, requires_grad=True)
    mover = optimizer([weight], 0.05)  # type: ignore[call-arg]
    places = []
    for _ in range(steps):
        mover.zero_grad()
        (factor * (weight**4).sum()).backward()
        mover.step()
        places.append(weight.detach().clone())
    return torch.stack(places)


def test_half_a_loss() -> None:
    """Adam goes the same way; plain descent does not."""
    whole, half = (ways(torch.optim.Adam, factor) for factor in (1.0, 0.5))
    torch.testing.assert_close(whole, half, rtol=1e-6, atol=1e-6)
    assert whole.std() > 0
    first, second = (ways(torch.optim.SGD, factor) for factor in (0.1, 0.05))
    assert (first - second).abs().max() > 0.1


def switching_weight(values: Tensor, chances: Tensor) -> float:
    """Return the weight at which median and mode cost the same."""
    divergences = one_pixel.point_divergences(chances)
    costs = one_pixel.absolute_costs(values, chances)
    mode = int(chances.argmax())
    median = int((values == one_pixel.median_value(values, chances)).nonzero()[0])
    gap = 2 * (divergences[median] - divergences[mode])
    return (gap / (costs[mode] - costs[median])).item()


def test_the_switch() -> None:
    """Just below it the best of all answers is the mode, just above it the median."""
    values = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
    chances = torch.tensor([0.45, 0.2, 0.35], dtype=torch.float64)
    found = switching_weight(values, chances)
    divergences = one_pixel.point_divergences(chances)
    costs = one_pixel.absolute_costs(values, chances)
    for weight, best in ((0.99 * found, -1.0), (1.01 * found, 0.0)):
        assert values[(2 * divergences + weight * costs).argmin()] == best


def expected_square(values: Tensor, chances: Tensor, law: Tensor) -> Tensor:
    """Return the mean squared difference of independent draws, from means and variances."""
    means = [(values * p).sum() for p in (chances, law)]
    variances = [((values - m) ** 2 * p).sum() for m, p in zip(means, (chances, law), strict=True)]
    return variances[0] + variances[1] + (means[0] - means[1]) ** 2


def test_expected_square() -> None:
    """The same as the mean over all pairs."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(5, generator=generator, dtype=torch.float64)
    p, q = torch.rand(2, 5, generator=generator, dtype=torch.float64)
    p, q = p / p.sum(), q / q.sum()
    expected = (q * one_pixel.squared_costs(values, p)).sum()
    torch.testing.assert_close(expected_square(values, p, q), expected)
