"""Proof for litgen/autoencoders/context_networks.py: loops, counted weights, gradients."""

import pytest
import torch

from litgen.autoencoders import context
from litgen.autoencoders.context_networks import (
    ChannelwiseLinear,
    ContextEncoder,
    PatchCritic,
    channelwise_parameters,
    dense_parameters,
)


def test_the_layer_is_one_matrix_a_map() -> None:
    """eq:ctx-channelwise, summed place by place; nothing crosses from one map to another."""
    torch.manual_seed(0)
    layer = ChannelwiseLinear(3, 2).double()
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(4, 3, 2, 2, dtype=torch.float64)
    found = layer(x)
    for b in range(4):
        for m in range(3):
            for to in range(4):
                value = layer.bias[m, to].item()
                for start in range(4):
                    value += layer.weight[m, to, start].item() * x[b, m].flatten()[start].item()
                assert found[b, m].flatten()[to].item() == pytest.approx(value, rel=1e-12)
    assert found.std() > 0.5
    for wrong in (torch.zeros(1, 2, 2, 2), torch.zeros(1, 3, 3, 3)):
        with pytest.raises(ValueError, match="3 maps of 4 places expected"):
            layer(wrong.double())


def test_it_starts_near_the_identity() -> None:
    """At first every place passes on its own value, changed by little."""
    torch.manual_seed(1)
    x = torch.randn(5, 8, 6, 6)
    gap = (ChannelwiseLinear(8, 6)(x) - x).square().mean() / x.square().mean()
    assert 0.001 < gap < 0.03


@pytest.mark.parametrize(("maps", "side"), [(3, 2), (5, 4)])
def test_parameters_are_counted(maps: int, side: int) -> None:
    """eq:ctx-channelwise-count and eq:ctx-dense-count are the sizes of the weights of layers."""
    assert channelwise_parameters(maps, side) == ChannelwiseLinear(maps, side).weight.numel()
    dense = torch.nn.Linear(maps * side**2, maps * side**2)
    assert dense_parameters(maps, side) == dense.weight.numel()


def reach(model: ContextEncoder, row: int, column: int) -> torch.Tensor:
    """Return which pixels of the input an output pixel depends on."""
    x = torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(0), requires_grad=True)
    (grad,) = torch.autograd.grad(model.eval()(x)[0, :, row, column].sum(), x)
    return (grad[0] != 0).any(dim=0)


def test_without_the_bridge_the_middle_of_the_hole_sees_no_context() -> None:
    """Gradients: at most 20 pixels wide without; with it every pixel reaches the middle."""
    torch.manual_seed(0)
    hole = context.square_hole(32, 8, 6, 20)
    alone = reach(ContextEncoder(bridge=False), 18, 16)
    assert bool(alone.any())
    assert not bool((alone & ~hole).any())
    rows, columns = alone.any(dim=1).nonzero()[:, 0], alone.any(dim=0).nonzero()[:, 0]
    assert max(len(rows), len(columns)) <= 20
    assert bool((reach(ContextEncoder(bridge=False), 9, 7) & ~hole).any())
    assert reach(ContextEncoder(bridge=True), 18, 16).float().mean() > 0.95


@pytest.mark.parametrize("side", [4, 12, 20, 32])
def test_every_size_that_can_be_quartered_keeps_its_shape(side: int) -> None:
    """Output as large as the input, colours in [-1, 1]; features are maps of a quarter."""
    model = ContextEncoder((3, 5), channels=2, side=side)
    x = torch.randn(2, 3, side, side)
    assert model(x).shape == (2, 2, side, side)
    assert model(x).abs().max() <= 1
    assert model.features(x).shape == (2, 5, side // 4, side // 4)


def test_sizes_that_do_not_fit_are_refused() -> None:
    """Sides that are no multiple of 4, too many widths, critics without stages."""
    for arguments in ({"side": 30}, {"widths": (4, 5, 6)}, {"widths": (4,)}):
        with pytest.raises(ValueError, match="two widths and a multiple of 4"):
            ContextEncoder(**arguments)
    for widths, side in (((), 24), ((4, 4, 4), 20)):
        with pytest.raises(ValueError, match="cannot be halved"):
            PatchCritic(widths, side=side)


def test_a_critic_judges_each_patch_alone() -> None:
    """One logit a patch, the same whoever stands beside it; all pixels count."""
    torch.manual_seed(0)
    critic = PatchCritic((4, 8), side=12)
    x = torch.randn(5, 3, 12, 12, requires_grad=True)
    logits = critic(x)
    assert logits.shape == (5,)
    torch.testing.assert_close(critic(x[:2]), logits[:2])
    (grad,) = torch.autograd.grad(logits[0], x)
    assert bool((grad[0] != 0).any(dim=0).all())
    assert bool((grad[1:] == 0).all())
