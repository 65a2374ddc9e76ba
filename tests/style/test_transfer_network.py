"""Proof for litgen/style/transfer_network.py: a network rebuilt by hand, gradients, borders."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from litgen.style import transfer_network
from litgen.style.transfer_network import TransferNetwork, field

Normal = Callable[..., Tensor]


def network(**more: object) -> TransferNetwork:
    """Return a small seeded network in double precision."""
    torch.manual_seed(3)
    return TransferNetwork((4, 5, 6), 2, 5, **more).double()  # type: ignore[arg-type]


def style_of(net: TransferNetwork, normal: Normal, count: int = 1) -> Tensor:
    """Return random styles around the plain one."""
    return net.plain().double() + 0.3 * normal(count, net.style_numbers)


def test_it_is_the_papers_network_layer_by_layer(normal: Normal) -> None:
    """eq:arb-network: the same sums with torch's functions alone, gains and biases in order."""
    net = network()
    x, style = torch.rand(2, 3, 20, 24, dtype=torch.float64), style_of(net, normal, 2)
    at = 0

    def norm(h: Tensor) -> Tensor:
        nonlocal at
        c = h.shape[1]
        gain, bias = style[:, at : at + c], style[:, at + c : at + 2 * c]
        at += 2 * c
        return F.instance_norm(h) * gain[:, :, None, None] + bias[:, :, None, None]

    def conv(h: Tensor, layer: torch.nn.Module, stride: int = 1) -> Tensor:
        weight, bias = layer.weight, layer.bias
        padded = F.pad(h, [weight.shape[2] // 2] * 4, mode="reflect")  # type: ignore[operator,arg-type]
        return F.conv2d(padded, weight, bias, stride)  # type: ignore[arg-type]

    h = norm(conv(x - 0.5, net.down[0])).relu()
    h = norm(conv(h, net.down[1], 2)).relu()
    h = norm(conv(h, net.down[2], 2)).relu()
    for i in (0, 2):
        g = norm(conv(h, net.blocks[i])).relu()
        h = h + norm(conv(g, net.blocks[i + 1]))
    for up in net.up:
        h = h.repeat_interleave(2, 2).repeat_interleave(2, 3)
        h = norm(conv(h, up[1])).relu()  # type: ignore[index]
    expected = torch.sigmoid(conv(h, net.last))
    assert at == net.style_numbers == 2 * sum(net.channels)
    found = net(x, style)
    torch.testing.assert_close(found, expected)
    assert found.std() > 0.01
    assert net.channels == (4, 5, 6, 6, 6, 6, 6, 5, 4)


def test_the_plain_style_is_the_norm_alone(normal: Normal) -> None:
    """Gains 1, biases 0, channel counts in their places; one row serves all pictures."""
    net = network()
    plain = net.plain()
    assert plain[:4].tolist() == [1] * 4
    assert plain[4:8].tolist() == [0] * 4
    assert plain.sum() == sum(net.channels)
    x = torch.rand(2, 3, 16, 16, dtype=torch.float64)
    style = style_of(net, normal)
    torch.testing.assert_close(net(x, style), net(x, style.repeat(2, 1)))
    torch.testing.assert_close(net(x, style)[:1], net(x[:1], style))
    coarse = net.float()(x.float(), style)  # a style in double serves a network in float32
    assert coarse.dtype == torch.float32
    torch.testing.assert_close(coarse, net(x.float(), style.float()))


def test_defaults() -> None:
    """Channels, kernels, padding and the norm that the chapter names."""
    net = TransferNetwork()
    assert net.channels == (16, 24, *[24] * 6, 16)
    assert net.last.kernel_size == (5, 5)
    assert net.last.padding_mode == "reflect"
    assert net.divisor == 2
    assert (net.norm, net.upsampling) == ("instance", "nearest")


@pytest.mark.parametrize("widths", [(3, 4), (2, 3, 4)])
@pytest.mark.parametrize("place", [40, 41, 42, 43])
def test_the_field_is_read_off_gradients(
    widths: tuple[int, ...], place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """eq:arb-field: norms aside, exactly these rows move a row of the result; with them, all."""
    torch.manual_seed(0)
    net = TransferNetwork(widths, 1, 5).double()
    x = torch.rand(1, 3, 96, 96, dtype=torch.float64, requires_grad=True)
    style = net.plain()[None].double()

    def seen() -> list[int]:
        # positive weights and a smooth rectifier: no path is cut, none cancels
        (slope,) = torch.autograd.grad(net(x, style)[0, 0, place].sum(), x)
        return torch.nonzero(slope[0].abs().sum((0, 2))).flatten().tolist()

    assert seen() == list(range(96))
    monkeypatch.setattr(net, "_normed", lambda h, part: h)
    monkeypatch.setattr(Tensor, "relu", lambda self: self)
    for parameter in net.parameters():
        parameter.data.abs_()
    net.last.weight.data *= 1e-3
    low, high = field(net, place)
    assert seen() == list(range(low, high + 1))


def test_batch_norm_mixes_pictures(normal: Normal) -> None:
    """What goes wrong: with moments over the batch one picture's contrast moves another's."""
    for norm, mixed in (("instance", False), ("batch", True)):
        net = network(norm=norm)
        style = style_of(net, normal)
        x = torch.rand(2, 3, 16, 16, dtype=torch.float64)
        other = torch.cat([x[:1], x[1:] * 0.2])
        moved = (net(x, style)[0] - net(other, style)[0]).abs().max()
        assert (moved > 1e-3) == mixed
    alone = network(norm="batch")(x[:1], style)
    torch.testing.assert_close(alone, network()(x[:1], style), rtol=1e-4, atol=1e-4)


def test_zero_padding_shows_at_the_border() -> None:
    """What goes wrong: a grey picture has an edge of its own; reflected borders have none."""
    grey = torch.full((1, 3, 32, 32), 0.9).double()
    spread = {}
    for padding in ("reflect", "zeros"):
        net = network(padding=padding)
        net.norm = "none"  # type: ignore[assignment]
        h = net.down[0](grey - 0.5)
        spread[padding] = (h - h[..., 16:17, 16:17]).abs().max().item()
    assert spread["reflect"] < 1e-9
    assert spread["zeros"] > 0.01


def test_transposed_convolutions_make_a_checkerboard() -> None:
    """What goes wrong: constant features come out in a 2x2 pattern, enlarged ones constant."""
    flat = torch.ones(1, 6, 8, 8).double()
    for upsampling, even in (("nearest", True), ("transposed", False)):
        out = network(upsampling=upsampling).up[0](flat)[..., 2:-2, 2:-2]
        assert out.shape[2:] == (12, 12)
        assert (out.std((2, 3)).max() < 1e-9) == even


@pytest.mark.usefixtures("unchecked")
def test_pictures_and_styles_that_do_not_fit() -> None:
    """Grey, see-through, tiny, huge, odd sides; styles of other lengths and counts."""
    net = TransferNetwork((2, 3, 4), 1)
    style = net.plain()[None]
    for channels, word in ((1, "grey"), (4, "transparency"), (2, "pictures of 2")):
        with pytest.raises(ValueError, match=rf"red, green and blue; got .*{word}"):
            net(torch.rand(1, channels, 16, 16), style)
    for shape in ((12, 16), (16, 4100)):
        with pytest.raises(ValueError, match=r"sides must be 16 to 4096 pixels, got"):
            net(torch.rand(1, 3, *shape), style)
    assert net(torch.rand(1, 3, 16, 4096), style).shape == (1, 3, 16, 4096)
    with pytest.raises(ValueError, match="sides must be divisible by 4, got 18x16"):
        net(torch.rand(1, 3, 18, 16), style)
    with pytest.raises(ValueError, match="sides must be divisible by 4, got 16x18"):
        net(torch.rand(1, 3, 16, 18), style)
    x = torch.rand(3, 3, 16, 16)
    for wrong in (style[:, :-1], style.repeat(2, 1)):
        with pytest.raises(ValueError, match=rf"a style has {net.style_numbers} numbers"):
            net(x, wrong)
    with pytest.raises(ValueError, match="two widths or more are needed, got"):
        TransferNetwork((4,))
    with pytest.raises(ValueError, match=r"two widths or more are needed, got \(4, 0\)"):
        TransferNetwork((4, 0))
    with pytest.raises(ValueError, match="the kernel's side must be odd, got 4"):
        TransferNetwork(kernel=4)
    assert (transfer_network.LEAST, transfer_network.MOST) == (16, 4096)


def test_the_steps_for_the_page_are_the_network(normal: Normal) -> None:
    """eq:arb-network: an interpreter of a few lines, given the steps, paints alike."""
    net = network()
    style = style_of(net, normal)
    x = torch.rand(1, 3, 16, 20, dtype=torch.float64)
    listed, weights = transfer_network.steps(net)
    h, at, kept = x - 0.5, 0, x
    for step in listed:
        if step["type"] == "conv":
            shape = step["outputs"], step["inputs"], step["kernel"], step["kernel"]
            end = step["offset"] + shape[0] * shape[1] * shape[2] ** 2
            kernel = weights[step["offset"] : end].view(shape)
            padded = F.pad(h, [step["kernel"] // 2] * 4, mode="reflect")
            h = F.conv2d(padded, kernel, weights[end : end + shape[0]], step["stride"])
        elif step["type"] == "norm":
            c = h.shape[1]
            gain, bias = style[0, at : at + c], style[0, at + c : at + 2 * c]
            h, at = F.instance_norm(h, weight=gain, bias=bias), at + 2 * c
        elif step["type"] == "relu":
            h = h.relu()
        elif step["type"] == "larger":
            h = F.interpolate(h, scale_factor=2)
        elif step["type"] == "keep":
            kept = h
        else:
            assert step["type"] == "add"
            h = h + kept
    torch.testing.assert_close(h.sigmoid(), net(x, style))
    assert len(weights) == sum(p.numel() for p in net.parameters())
    for change in ({"norm": "batch"}, {"padding": "zeros"}, {"upsampling": "transposed"}):
        with pytest.raises(ValueError, match="the page knows the papers' network only, not"):
            transfer_network.steps(network(**change))
