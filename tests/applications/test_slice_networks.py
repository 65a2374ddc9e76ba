"""Proof for litgen/applications/slice_networks.py: copies that are networks of their own."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from litgen.applications import slice_networks
from litgen.applications.slice_networks import SliceCritic, SliceNet


def one_of(net: nn.Module, alone: nn.Module, k: int, copies: int) -> None:
    """Give a network of one copy the weights of copy k, whose channels stand together."""
    own = net.state_dict()
    for name, value in alone.state_dict().items():
        whole = own[name]
        same = whole.shape == value.shape and whole.dim() == 0
        value.copy_(whole if same else whole.chunk(copies)[k])


@pytest.mark.parametrize("kind", ["net", "critic"])
def test_copies_are_networks_of_their_own(kind: str) -> None:
    """Each copy's answer and gradient are those of a network alone with its weights."""
    torch.manual_seed(0)
    copies, inputs = 3, 2
    build = (
        (lambda n: SliceNet(n, inputs, 5, 4))
        if kind == "net"
        else (lambda n: SliceCritic(n, inputs, 4))
    )
    net = build(copies).double()
    x = torch.randn(4, copies, inputs, 16, 16, dtype=torch.float64, requires_grad=True)
    answer = net(x)
    (found,) = torch.autograd.grad(answer.square().sum(), x)
    for k in range(copies):
        alone = build(1).double()
        one_of(net, alone, k, copies)
        own = x[:, k : k + 1].detach().requires_grad_()
        single = alone(own)
        torch.testing.assert_close(answer[:, k : k + 1], single)
        (expected,) = torch.autograd.grad(single.square().sum(), own)
        torch.testing.assert_close(found[:, k : k + 1], expected)
        assert single.std() > 0.01


def normed(x: Tensor, block: nn.Sequential) -> Tensor:
    """Convolve, give channels mean 0 and variance 1, apply gain and bias, cut at zero."""
    (weight,) = block[0].parameters()
    h = functional.conv2d(x, weight, padding=1)
    off = h - h.mean(dim=(0, 2, 3), keepdim=True)
    off = off / (off.square().mean(dim=(0, 2, 3), keepdim=True) + 1e-5).sqrt()
    gain, bias = block[1].parameters()
    return (gain[:, None, None] * off + bias[:, None, None]).clamp_min(0)


def blocks_to_channels(x: Tensor) -> Tensor:
    """Return the four pixels of each two by two block as channels, rows first."""
    return torch.stack([x[..., a::2, b::2] for a in (0, 1) for b in (0, 1)], dim=2).flatten(1, 2)


def test_one_network_layer_after_layer() -> None:
    """Blocks of pixels, two levels, the greatest of four, nearest neighbours, the skip added."""
    torch.manual_seed(3)
    net = SliceNet(1, 2, 3, 4).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    x = torch.randn(5, 1, 2, 16, 12, dtype=torch.float64)
    h = blocks_to_channels(x[:, 0])
    for block in net.down:
        h = normed(h, block)
    low = torch.stack([h[..., a::2, b::2] for a in (0, 1) for b in (0, 1)]).amax(dim=0)
    for block in net.below:
        low = normed(low, block)
    low = torch.einsum("oi,nihw->nohw", net.up.weight[..., 0, 0], low) + net.up.bias[:, None, None]
    h = normed(h + low.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3), net.join)
    h = torch.einsum("oi,nihw->nohw", net.head.weight[..., 0, 0], h) + net.head.bias[:, None, None]
    torch.testing.assert_close(blocks_to_channels(net(x)[:, 0]), h)


def test_one_critic_layer_after_layer() -> None:
    """Three convolutions with biases, between them a rectifier that leaks a fifth."""
    torch.manual_seed(4)
    critic = SliceCritic(1, 2, 4).double()
    x = torch.randn(3, 1, 2, 16, 12, dtype=torch.float64)
    h = blocks_to_channels(x[:, 0])
    for k, stride in ((0, 1), (2, 2), (4, 1)):
        h = functional.conv2d(
            h, critic.body[k].weight, critic.body[k].bias, stride=stride, padding=1
        )
        h = torch.where(h > 0, h, 0.2 * h) if k < 4 else h
    torch.testing.assert_close(critic(x), h)


def test_widths_as_they_come() -> None:
    """Sixteen channels on the upper level of both, twice as many below."""
    net, critic = SliceNet(2, 1, 3), SliceCritic(2, 1)
    assert net.down[0][0].out_channels == critic.body[0].out_channels == 2 * 16
    assert net.below[1][0].out_channels == critic.body[2].out_channels == 2 * 32


def test_a_pixel_is_answered_where_it_is() -> None:
    """The answer's place moves with the image's, in steps of four pixels; the skip is there."""
    torch.manual_seed(1)
    net = SliceNet(1, 1, 2, 4).double().eval()
    x = torch.zeros(1, 1, 1, 32, 32, dtype=torch.float64)
    spots = [x.clone() for _ in range(2)]
    spots[0][..., 12, 16], spots[1][..., 16, 20] = 3, 3
    empty, first, second = (net(each)[0, 0] for each in (x, *spots))
    changed = (first - empty).abs().sum(dim=0)
    torch.testing.assert_close(
        (first - empty)[:, 8:24, 8:24], (second - empty)[:, 12:28, 12:28], atol=1e-9, rtol=1e-6
    )
    assert changed.argmax() // 32 in range(10, 16)
    with torch.no_grad():
        net.up.weight.zero_()
    assert (net(spots[0]) - net(x)).abs().max() > 1e-4, "nothing goes across"


def test_a_critics_logit_sees_18_pixels() -> None:
    """Read off the gradient of one logit in the middle."""
    torch.manual_seed(2)
    critic = SliceCritic(2, 3, 4).double()
    x = torch.randn(1, 2, 3, 64, 64, dtype=torch.float64, requires_grad=True)
    logits = critic(x)
    assert logits.shape == (1, 2, 16, 16)
    (slope,) = torch.autograd.grad(logits[0, 1, 8, 8], x)
    assert slope[0, 0].abs().sum() == 0
    rows = slope[0, 1].abs().sum(dim=(0, 1)).nonzero()
    assert rows.max() - rows.min() + 1 == 18


def test_channels_of_a_copy_stand_together() -> None:
    """Both directions, and the order."""
    x = torch.arange(2 * 3 * 4 * 5 * 6.0).view(2, 3, 4, 5, 6)
    flat = slice_networks.together(x)
    assert flat.shape == (2, 12, 5, 6)
    torch.testing.assert_close(flat[:, 4:8], x[:, 1])
    torch.testing.assert_close(slice_networks.apart(flat, 3), x)


def test_one_channel_a_class() -> None:
    """As torch's own, for one map and for many."""
    tissue = torch.randint(0, 4, (2, 3, 5, 6), generator=torch.Generator().manual_seed(0))
    expected: Tensor = nn.functional.one_hot(tissue, 4).movedim(-1, -3).float()
    torch.testing.assert_close(slice_networks.one_hot(tissue, 4), expected)


def test_bad_input_is_named() -> None:
    """Images for other networks, sides that cannot be halved twice, channels left over."""
    net = SliceNet(2, 1, 3, 4)
    for shape in ((1, 3, 1, 8, 8), (1, 2, 2, 8, 8), (1, 2, 1, 6, 8), (1, 2, 1, 8, 6)):
        with pytest.raises(ValueError, match="2 copies, 1 channels"):
            net(torch.zeros(shape))
    with pytest.raises(ValueError, match="7 channels for 2 copies"):
        slice_networks.apart(torch.zeros(1, 7, 2, 2), 2)
