"""Proof for litgen/unet.py: the judges of tests/oracles.py, gradients as paths, counted shapes."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from litgen.unet import Attention, GrowingConv, ResidualBlock, UNet, groups, sinusoidal
from tests import oracles

Draw = Callable[..., Tensor]


def shaken(module: nn.Module, size: float = 0.3) -> nn.Module:
    """Give every parameter a random value: what starts at zero would hide mistakes."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(size * torch.randn(parameter.shape, generator=generator))
    return module.double()


def test_sinusoidal_is_the_formula() -> None:
    """eq:unet-time: sines then cosines of t / 10000^(k / (half - 1))."""
    found = sinusoidal(torch.tensor([0, 3, 700]), 8)
    for row, t in enumerate((0, 3, 700)):
        for k in range(4):
            angle = t * 10_000 ** (-k / 3)
            assert found[row, k].item() == pytest.approx(math.sin(angle), abs=1e-4)
            assert found[row, 4 + k].item() == pytest.approx(math.cos(angle), abs=1e-4)


@pytest.mark.parametrize(("inputs", "outputs", "condition"), [(4, 4, 0), (4, 8, 3)])
def test_residual_block_is_its_layers_by_hand(
    inputs: int, outputs: int, condition: int, normal: Draw
) -> None:
    """Norm, SiLU, convolution, the condition's shift, norm, SiLU, convolution, plus the skip."""
    block = shaken(ResidualBlock(inputs, outputs, condition))
    assert isinstance(block, ResidualBlock)
    x = normal(2, inputs, 4, 4)
    told = normal(2, condition) if condition else None
    found = block(x, told)

    def silu(v: Tensor) -> Tensor:
        return v / (1 + torch.exp(-v))

    for n in range(2):
        h = silu(oracles.group_norm(x[n], 2, block.norm1.weight, block.norm1.bias))
        assert block.conv1.bias is not None
        assert block.conv2.bias is not None
        h = oracles.convolve(h, block.conv1.weight, block.conv1.bias, 1, 1)
        if told is not None and block.condition is not None:
            h = h + (block.condition.weight @ told[n] + block.condition.bias)[:, None, None]
        h = silu(
            oracles.group_norm(
                h, outputs // 2 if outputs == 4 else 4, block.norm2.weight, block.norm2.bias
            )
        )
        h = oracles.convolve(h, block.conv2.weight, block.conv2.bias, 1, 1)
        skip = x[n]
        if isinstance(block.skip, nn.Conv2d):
            assert block.skip.bias is not None
            skip = oracles.convolve(x[n], block.skip.weight, block.skip.bias, 1, 0)
        torch.testing.assert_close(found[n], h + skip)


@pytest.mark.parametrize(
    ("channels", "expected"), [(4, 2), (6, 2), (8, 4), (24, 4), (32, 8), (48, 8)]
)
def test_no_channel_is_normalised_alone(channels: int, expected: int) -> None:
    """At least two channels a group, so a condition that shifts a channel is not taken out."""
    assert groups(channels) == expected
    assert channels % expected == 0
    assert channels // expected >= 2


def test_attention_is_the_softmax_average_of_the_values(normal: Draw) -> None:
    """Place by place, with a loop over the places that are attended to."""
    layer = shaken(Attention(4))
    assert isinstance(layer, Attention)
    x = normal(1, 4, 2, 3)
    h = oracles.group_norm(x[0], 2, layer.norm.weight, layer.norm.bias).flatten(1)
    assert layer.qkv.bias is not None
    assert layer.out.bias is not None
    q, k, v = (layer.qkv.weight[:, :, 0, 0] @ h + layer.qkv.bias[:, None]).chunk(3)
    expected = torch.zeros(4, 6, dtype=torch.float64)
    for i in range(6):
        weights = torch.stack([(q[:, i] * k[:, j]).sum() / 2 for j in range(6)]).softmax(0)
        mixed = sum(weights[j] * v[:, j] for j in range(6))
        expected[:, i] = layer.out.weight[:, :, 0, 0] @ mixed + layer.out.bias
    torch.testing.assert_close(layer(x)[0], x[0] + expected.view(4, 2, 3))


def test_growing_conv_is_upsampling_then_convolving(normal: Draw) -> None:
    """Each pixel copied to a 2x2 block, then convolved, by a loop; and the same gradients."""
    layer = shaken(GrowingConv(3))
    assert isinstance(layer, GrowingConv)
    assert layer.bias is not None
    x = normal(2, 3, 3, 4).requires_grad_()
    found = layer(x)
    for n in range(2):
        copied = x[n].repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
        expected = oracles.convolve(copied, layer.weight, layer.bias, 1, 1)
        torch.testing.assert_close(found[n], expected)
    apart = nn.functional.conv2d(
        nn.functional.interpolate(x, scale_factor=2.0), layer.weight, layer.bias, padding=1
    )
    weigh = normal(*found.shape)
    leaves = [x, layer.weight, layer.bias]
    for ours, theirs in zip(
        torch.autograd.grad((found * weigh).sum(), leaves),
        torch.autograd.grad((apart * weigh).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_attention_follows_each_block_of_its_levels(normal: Draw) -> None:
    """Level 1 of 3, two blocks: twice down and three times up, and none elsewhere."""
    net = shaken(UNet(1, 1, (4, 6, 8), blocks=2, attention_at=[1]), 0.2)
    assert isinstance(net, UNet)
    down, up = ([isinstance(mix, Attention) for mix in m] for m in (net.mix_down, net.mix_up))
    assert down == [False, False, True, True, False, False]
    assert up == [False, False, False, True, True, True, False, False, False]
    assert all(m.norm.num_channels == 6 for m in net.modules() if isinstance(m, Attention))
    net(normal(1, 1, 8, 8)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


@pytest.mark.parametrize("skips", [True, False])
@pytest.mark.parametrize("attention", [True, False])
def test_output_has_the_inputs_size(skips: bool, attention: bool, normal: Draw) -> None:
    """For sizes that differ and are only just divisible."""
    net = shaken(UNet(2, 3, (4, 8, 8), attention=attention, skips=skips), 0.2)
    found = net(normal(2, 2, 8, 12))
    assert found.shape == (2, 3, 8, 12)
    assert found.std() > 0.01


def test_a_new_network_says_zero(normal: Draw) -> None:
    """Its last weights are zero, so training starts from "no noise"; only the bias is left."""
    net = UNet(1, 1, (8, 8)).double()
    first, other = (net(normal(1, 1, 4, 4)) for _ in range(2))
    torch.testing.assert_close(first, other)


def test_without_skips_everything_goes_through_the_bottleneck(normal: Draw) -> None:
    """Cut the middle: then no output depends on the input, unless there are skips."""
    for skips, expected in ((True, True), (False, False)):
        net = shaken(UNet(1, 1, (4, 4), skips=skips), 0.3)
        assert isinstance(net, UNet)
        net.middle[1].register_forward_hook(lambda _m, _i, out: torch.zeros_like(out))
        x = normal(1, 1, 4, 4).requires_grad_()
        out = net(x)
        reached = out.requires_grad and torch.autograd.grad(out.sum(), x, allow_unused=True)[0]
        assert (reached is not None and bool((reached != 0).any())) == expected


def test_every_skip_is_used_once(normal: Draw) -> None:
    """Each feature map of the way down is stacked onto the way up, in reverse order."""
    net = shaken(UNet(1, 1, (4, 6, 8), blocks=2), 0.2)
    assert isinstance(net, UNet)
    ins = [block.norm1.num_channels for block in net.up if isinstance(block, ResidualBlock)]
    assert ins == [8 + 8, 8 + 8, 8 + 6, 8 + 6, 6 + 6, 6 + 4, 6 + 4, 4 + 4, 4 + 4]
    assert len(net.down) == 6
    net(normal(1, 1, 8, 8)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_time_and_class_change_the_output(normal: Draw) -> None:
    """Each example has its own; class "none" is one past the last."""
    net = shaken(UNet(1, 1, (4, 4), time=True, classes=3), 0.3)
    x = normal(1, 1, 4, 4).expand(4, 1, 4, 4)
    t, labels = torch.tensor([5, 6, 5, 5]), torch.tensor([1, 1, 2, 3])
    out = net(x, t, labels)
    for other in (1, 2, 3):
        assert (out[0] - out[other]).abs().max() > 1e-3
    alone = net(x[2:3], t[2:3], labels[2:3])
    torch.testing.assert_close(alone[0], out[2])


def test_bad_input(unchecked: None) -> None:
    """What is missing, what is too much, what does not divide."""
    with pytest.raises(ValueError, match="widths"):
        UNet(1, 1, ())
    with pytest.raises(ValueError, match="even"):
        sinusoidal(torch.tensor([1]), 5)
    with pytest.raises(ValueError, match=r"levels 0\.\.1"):
        UNet(1, 1, (4, 4), attention_at=[2])
    plain, timed = UNet(1, 1, (4, 4)), UNet(1, 1, (4, 4), time=True, classes=2)
    x, t = torch.zeros(1, 1, 4, 4), torch.tensor([1])
    with pytest.raises(ValueError, match="exactly"):
        plain(x, t)
    with pytest.raises(ValueError, match="exactly"):
        timed(x, t)
    with pytest.raises(ValueError, match=r"0\.\.2"):
        timed(x, t, torch.tensor([3]))
    with pytest.raises(ValueError, match="multiples of 2"):
        plain(torch.zeros(1, 1, 5, 4))
    with pytest.raises(ValueError, match="condition"):
        ResidualBlock(4, 4, 3)(torch.zeros(1, 4, 2, 2))
