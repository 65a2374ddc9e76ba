"""Proof for litgen/segmentation/paths.py: walks counted one by one, and autograd."""

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from litgen.segmentation import paths
from tests import oracles

SLOPES = [0.4, -0.7, 1.3]


def through(h: Tensor, slope: float, layers: int, short: bool) -> Tensor:
    """Send a number through layers that multiply it."""
    for _ in range(layers):
        h = slope * h + h if short else slope * h
    return h


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("slope", SLOPES)
def test_a_chain_multiplies_its_slopes(slope: float, short: bool) -> None:
    """eq:skips-chain and eq:skips-short: autograd through as many layers, from none to seven."""
    for layers in range(8):
        h = torch.tensor(1.7, dtype=torch.float64, requires_grad=True)
        (expected,) = torch.autograd.grad(through(h, slope, layers, short), h)
        assert paths.chain(slope, layers, short) == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("slope", SLOPES)
def test_paths_are_counted_one_by_one(slope: float) -> None:
    """eq:skips-paths: all 2^6 choices of going through a layer or past it, by their length."""
    expected = [0.0] * 7
    for choice in itertools.product([False, True], repeat=6):
        expected[sum(choice)] += math.prod(slope if taken else 1.0 for taken in choice)
    found = paths.path_terms(slope, 6)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))
    assert found.sum().item() == pytest.approx(paths.chain(slope, 6, short=True), rel=1e-12)
    assert paths.path_terms(1.0, 6).tolist() == [1, 6, 15, 20, 15, 6, 1]


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize(("levels", "blocks"), [(1, 1), (2, 3), (3, 2), (4, 1)])
def test_a_u_has_the_slopes_of_all_its_walks(
    levels: int, blocks: int, long: bool, short: bool
) -> None:
    """eq:skips-u: the sum over every walk through a drawn graph, from each layer to the last."""
    for slope in SLOPES:
        expected = oracles.walks_of_a_u(slope, levels, blocks, long, short)
        assert len(expected) == (2 * levels + 1) * blocks + 1
        found = paths.u_profile(slope, levels, blocks, long, short)
        torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_a_convolution_multiplies_mean_squares_by_its_gain(generator: torch.Generator) -> None:
    """eq:skips-gain: autograd through a round image, half of its units on, averaged over draws."""
    weight = 0.3 * torch.randn(6, 6, 3, 3, generator=generator, dtype=torch.float64)
    weight[2] *= 3
    x = torch.randn(40, 6, 12, 12, generator=generator, dtype=torch.float64).requires_grad_()
    y = F.conv2d(F.pad(x.relu(), (1, 1, 1, 1), mode="circular"), weight)
    pull = torch.randn(y.shape, generator=generator, dtype=torch.float64)
    (back,) = torch.autograd.grad(y, x, pull)
    measured = (back.square().mean() / pull.square().mean()).item()
    assert paths.convolution_gain(weight) == pytest.approx(measured, rel=0.03)


def test_the_start_of_pytorch_has_a_gain_of_one_sixth() -> None:
    """eq:skips-gain for weights that are uniform within one over the root of the fan-in."""
    torch.manual_seed(0)
    weight = torch.nn.Conv2d(64, 64, 3).weight.detach()
    assert paths.convolution_gain(weight) == pytest.approx(1 / 6, rel=0.02)
    torch.nn.init.kaiming_normal_(weight)
    assert paths.convolution_gain(weight) == pytest.approx(1, rel=0.02)


def test_impossible_sizes_are_refused() -> None:
    """By their numbers."""
    with pytest.raises(ValueError, match="-1 layers"):
        paths.chain(0.5, -1, short=True)
    for levels, blocks in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match=f"got {levels} and {blocks}"):
            paths.u_profile(0.5, levels, blocks, long=True, short=True)
