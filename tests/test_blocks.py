"""Proof for litgen/blocks.py."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from litgen.blocks import MLP, ConvBlock
from tests import oracles

Draw = Callable[..., Tensor]


def test_an_mlp_is_matrix_products_and_activations(normal: Draw) -> None:
    """Written out: three affine maps, the activation after the first two alone."""
    torch.manual_seed(0)
    net = MLP([3, 7, 5, 2]).double()
    w = [p.detach() for p in net.parameters()]
    assert [tuple(p.shape) for p in w] == [(7, 3), (7,), (5, 7), (5,), (2, 5), (2,)]
    x = normal(6, 3)
    hidden = (x @ w[0].T + w[1]).clamp(min=0)
    hidden = (hidden @ w[2].T + w[3]).clamp(min=0)
    expected = hidden @ w[4].T + w[5]
    assert expected.std(dim=0).min() > 0.01
    assert (expected < 0).any()
    torch.testing.assert_close(net(x), expected)


def test_an_mlp_takes_its_activation(normal: Draw) -> None:
    """The class that is given is the one that runs."""
    torch.manual_seed(0)
    net = MLP([3, 4, 2], nn.Tanh).double()
    w = [p.detach() for p in net.parameters()]
    x = normal(6, 3)
    hidden = 1 - 2 / ((2 * (x @ w[0].T + w[1])).exp() + 1)
    torch.testing.assert_close(net(x), hidden @ w[2].T + w[3])


def test_an_mlp_of_two_sizes_is_affine(normal: Draw) -> None:
    """No hidden layer: f(a) + f(b) = f(a + b) + f(0)."""
    torch.manual_seed(0)
    net = MLP([3, 2]).double()
    a, b = normal(6, 3), normal(6, 3)
    torch.testing.assert_close(net(a) + net(b), net(a + b) + net(torch.zeros_like(a)))


@pytest.mark.parametrize("sizes", [[], [3]])
def test_an_mlp_needs_two_sizes(sizes: list[int]) -> None:
    """The error shows the sizes."""
    with pytest.raises(
        ValueError, match=rf"input and an output size, got \[{', '.join(map(str, sizes))}\]"
    ):
        MLP(sizes)


@pytest.mark.parametrize(("outputs", "stride", "groups"), [(6, 1, 2), (4, 2, 8), (8, 2, 4)])
def test_a_conv_block_is_convolution_normalisation_silu(
    normal: Draw, outputs: int, stride: int, groups: int
) -> None:
    """Double loops over pixels and groups; as many groups as channels where there are fewer."""
    torch.manual_seed(0)
    block = ConvBlock(3, outputs, stride, groups).double()
    parameters = dict(block.named_parameters())
    for name, parameter in parameters.items():
        if name.startswith("norm"):
            nn.init.normal_(parameter)
    kernel, bias, gain, shift = (p.detach() for p in parameters.values())
    assert kernel.shape == (outputs, 3, 3, 3)
    x = normal(2, 3, 8, 6)
    for image, found in zip(x, block(x), strict=True):
        expected = oracles.convolve(image, kernel, bias, stride, padding=1)
        expected = oracles.group_norm(expected, min(groups, outputs), gain, shift)
        expected = expected / (1 + (-expected).exp())
        assert expected.shape == (outputs, 8 // stride, 6 // stride)
        assert expected.std() > 0.1
        torch.testing.assert_close(found, expected)


def test_a_conv_block_has_eight_groups_and_stride_one_unless_told() -> None:
    """The defaults: eight groups of statistics, the same height and width."""
    block = ConvBlock(1, 16)
    assert block(torch.zeros(1, 1, 5, 7)).shape == (1, 16, 5, 7)
    assert block.norm.num_groups == 8
