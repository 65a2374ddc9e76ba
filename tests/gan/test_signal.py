"""Proof for litgen/gan/signal.py: torch's layers on ones, and averages over random weights."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from litgen.gan import signal

LAYERS = [(7, 4, 2, 1), (8, 3, 2, 1), (5, 5, 1, 2), (6, 3, 3, 0), (9, 2, 1, 0)]


@pytest.mark.parametrize(("count", "kernel", "stride", "padding"), LAYERS)
def test_reach_is_where_a_single_input_goes(
    count: int, kernel: int, stride: int, padding: int
) -> None:
    """eq:dcgan-reach, for both kinds, against torch's layers with a kernel of ones."""
    ones = torch.ones(1, 1, kernel)
    inputs = torch.eye(count)[:, None]
    forth = F.conv1d(inputs, ones, stride=stride, padding=padding)[:, 0].T
    back = F.conv_transpose1d(inputs, ones, stride=stride, padding=padding)[:, 0].T
    assert torch.equal(signal.reach(count, kernel, stride, padding), forth)
    assert torch.equal(signal.reach(count, kernel, stride, padding, transposed=True), back)


@pytest.mark.parametrize(("count", "kernel", "stride", "padding"), LAYERS)
def test_overlap_counts_the_inputs_that_meet(
    count: int, kernel: int, stride: int, padding: int
) -> None:
    """eq:dcgan-overlap: a transposed convolution of ones; even away from the border only where
    the stride divides the kernel."""
    ones = torch.ones(1, 1, count)
    expected = F.conv_transpose1d(ones, torch.ones(1, 1, kernel), stride=stride, padding=padding)
    found = signal.overlap(count, kernel, stride, padding)
    assert torch.equal(found, expected[0, 0])
    inner = found[kernel : len(found) - kernel]
    if len(inner) >= stride:
        assert (len(set(inner.tolist())) == 1) == (kernel % stride == 0)


def test_overlap_of_kernels_four_and_three() -> None:
    """By hand: two everywhere but at the border; one and two in turn."""
    assert signal.overlap(4, 4, 2, 1).tolist() == [1, 2, 2, 2, 2, 2, 2, 1]
    assert signal.overlap(4, 3, 2, 1).tolist() == [1, 2, 1, 2, 1, 2, 1]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(4, 2, 1), (3, 2, 1), (3, 1, 0)])
def test_squares_after_random_weights(
    transposed: bool, kernel: int, stride: int, padding: int
) -> None:
    """eq:dcgan-square: the average over thousands of draws of all weights, pixel by pixel."""
    generator = torch.Generator().manual_seed(1)
    draws, channels, scale = 4_000, 3, 0.3
    x = 0.5 + torch.rand(6, 5, generator=generator, dtype=torch.float64)
    signs = torch.randn(channels, 6, 5, generator=generator, dtype=torch.float64).sign()
    shape = (channels, draws) if transposed else (draws, channels)
    weight = scale * torch.randn(*shape, kernel, kernel, generator=generator).double()
    layer = F.conv_transpose2d if transposed else F.conv2d
    measured = layer((x * signs)[None], weight, stride=stride, padding=padding)[0]
    formula = signal.after_transposed if transposed else signal.after_convolution
    expected = formula(x.square(), channels, kernel, stride, padding, scale)
    assert expected.shape == measured.shape[1:]
    torch.testing.assert_close(measured.square().mean(dim=0), expected, rtol=0.12, atol=0)
    ratio = measured.square().mean(dim=0) / expected
    assert ratio.mean().item() == pytest.approx(1, abs=0.02)
    assert expected.std() > 0


@pytest.mark.parametrize("slope", [0.0, 0.2, 0.5])
def test_squares_after_a_rectifier(slope: float) -> None:
    """eq:dcgan-rectified: numbers of which each also comes with the other sign."""
    x = torch.rand(50, 2, dtype=torch.float64) + 0.1
    both = F.leaky_relu(torch.cat([x, -x]), slope).square().view(2, 50, 2).mean(dim=0)
    torch.testing.assert_close(signal.after_rectifier(x.square(), slope), both)


def deep(depth: int, width: int, generator: torch.Generator) -> Tensor:
    """Return the mean square of a critic's last units over draws of all its weights."""
    squares = []
    for _ in range(600):
        h = torch.ones(1, width, 8, 8, dtype=torch.float64)
        for _ in range(depth):
            shape = (width, width, 3, 3)
            weight = 0.02 * torch.randn(*shape, generator=generator, dtype=torch.float64)
            h = F.leaky_relu(F.conv2d(h, weight, padding=1), 0.2)
        squares.append(h.square().mean(dim=(0, 1)))
    return torch.stack(squares).mean(dim=0)


def test_layers_after_layers(generator: torch.Generator) -> None:
    """A stack with rectifiers, borders included: exact in the mean at any width, here 24."""
    expected = torch.ones(8, 8, dtype=torch.float64)
    for _ in range(2):
        expected = signal.after_rectifier(signal.after_convolution(expected, 24, 3, 1, 1), 0.2)
    found = deep(2, 24, generator)
    torch.testing.assert_close(found, expected, rtol=0.25, atol=0)
    assert (found / expected).mean().item() == pytest.approx(1, abs=0.06)
    assert expected.max() > 1.5 * expected.min()


def test_layers_without_outputs_are_named() -> None:
    """A kernel that does not fit, and no inputs."""
    with pytest.raises(ValueError, match="2 inputs give -1 outputs"):
        signal.reach(2, 4, 1, 0)
    with pytest.raises(ValueError, match="0 inputs"):
        signal.overlap(0, 4, 2, 1)
