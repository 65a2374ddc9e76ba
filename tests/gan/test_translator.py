"""Proof for litgen/gan/translator.py: the paths an image takes, layers by hand, bad input."""

import pytest
import torch
from torch import Tensor, nn

from litgen.gan.translator import Translator


def by_hand(net: Translator, x: Tensor) -> Tensor:
    """Return a three-stage translator's images from its weights, in evaluation mode."""
    conv, spread = nn.functional.conv2d, nn.functional.conv_transpose2d

    def normed(h: Tensor, norm: nn.Module) -> Tensor:
        assert isinstance(norm, nn.BatchNorm2d)
        mean, var = norm.running_mean, norm.running_var
        assert mean is not None
        assert var is not None
        shape = (1, -1, 1, 1)
        h = (h - mean.view(shape)) / (var.view(shape) + norm.eps).sqrt()
        return h * norm.weight.view(shape) + norm.bias.view(shape)

    def bent(h: Tensor) -> Tensor:
        return torch.where(h > 0, h, 0.2 * h)

    (_, a, _), (_, b, bn), (_, c, _) = (list(s) for s in net.down)  # type: ignore[arg-type]
    first = conv(x, a.weight, a.bias, 2, 1)
    second = normed(conv(bent(first), b.weight, None, 2, 1), bn)
    third = conv(bent(second), c.weight, c.bias, 2, 1)
    (_, p, pn, _), (_, q, qn, _), (_, r, _, _) = (list(s) for s in net.up)  # type: ignore[arg-type]
    h = normed(spread(third.relu(), p.weight, None, 2, 1), pn)
    h = torch.cat([h, second], dim=1) if net.skips else h
    h = normed(spread(h.relu(), q.weight, None, 2, 1), qn)
    h = torch.cat([h, first], dim=1) if net.skips else h
    return spread(h.relu(), r.weight, r.bias, 2, 1).tanh()


def lively(net: nn.Module) -> nn.Module:
    """Give all parameters and moments values that matter, in double precision."""
    generator = torch.Generator().manual_seed(3)
    for name, tensor in net.double().state_dict().items():
        if tensor.is_floating_point():
            drawn = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            tensor.copy_(0.5 + drawn.abs() if "var" in name else 0.4 * drawn)
    return net


@pytest.mark.parametrize("skips", [True, False])
def test_the_paths_by_hand(skips: bool) -> None:
    """eq:p2p-skip: each stage up reads what came up, then what the stage down of its size made."""
    net = lively(Translator(2, 3, (4, 5, 6), skips)).eval()
    assert isinstance(net, Translator)
    x = torch.randn(2, 2, 16, 24, dtype=torch.float64)
    found = net(x)
    assert found.shape == (2, 3, 16, 24)
    assert found.std() > 0.05
    torch.testing.assert_close(found, by_hand(net, x))


def test_without_skips_all_goes_through_the_coarsest_stage() -> None:
    """Cut there, nothing of the image arrives; with skips it does."""
    for skips in (True, False):
        net = lively(Translator(1, 1, (4, 4, 4), skips)).eval()
        x = torch.randn(1, 1, 16, 16, dtype=torch.float64, requires_grad=True)
        net.down[-1].register_forward_hook(lambda m, i, out: torch.zeros_like(out))  # type: ignore[operator, union-attr]
        (slope,) = torch.autograd.grad(net(x).sum(), x, allow_unused=True)
        arrives = slope is not None and bool(slope.any())
        assert arrives == skips


def test_layers_by_hand() -> None:
    """The paper's C64-C128-C256-C512 down and up: channels, norms, dropout in the coarse half."""
    net = Translator(3, 3, (64, 128, 256, 512), dropout=0.25)
    down = [stage[1] for stage in net.down]  # type: ignore[index]
    up = [stage[1] for stage in net.up]  # type: ignore[index]
    assert [(c.in_channels, c.out_channels) for c in down] == [
        (3, 64),
        (64, 128),
        (128, 256),
        (256, 512),
    ]
    assert [(c.in_channels, c.out_channels) for c in up] == [
        (512, 256),
        (512, 128),
        (256, 64),
        (128, 3),
    ]
    norms = [isinstance(stage[2], nn.BatchNorm2d) for stage in (*net.down, *net.up)]  # type: ignore[index]
    assert norms == [False, True, True, False, True, True, True, False]
    drops = [stage[3] for stage in net.up]  # type: ignore[index]
    assert [d.p for d in drops if isinstance(d, nn.Dropout)] == [0.25, 0.25]
    assert isinstance(drops[-1], nn.Tanh)
    assert {m.negative_slope for m in net.modules() if isinstance(m, nn.LeakyReLU)} == {0.2}
    assert [c.in_channels for c in (s[1] for s in Translator(3, 3, (4, 6), False).up)] == [6, 4]  # type: ignore[index]
    for layer in (*down, *up):
        assert (layer.kernel_size, layer.stride, layer.padding) == ((4, 4), (2, 2), (1, 1))
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_dropout_is_the_only_noise() -> None:
    """Two passes differ in training mode with dropout, and not without."""
    torch.manual_seed(0)
    x = torch.randn(3, 1, 16, 16)
    for dropout in (0.0, 0.5):
        net = Translator(1, 1, (8, 8, 8), dropout=dropout)
        assert torch.equal(net(x), net(x)) == (dropout == 0)


def test_what_cannot_be_is_refused() -> None:
    """One stage, all dropped, other channels, sides that cannot be halved."""
    for settings in (((4,), 0.5), ((4, 4), 1.0), ((4, 4), -0.1)):
        with pytest.raises(ValueError, match="two stages or more"):
            Translator(1, 1, settings[0], True, settings[1])
    net = Translator(2, 1, (4, 4))
    for shape in ((1, 1, 8, 8), (1, 2, 6, 8), (1, 2, 8, 10)):
        with pytest.raises(ValueError, match="2 channels and sides divisible by 4"):
            net(torch.zeros(shape))
