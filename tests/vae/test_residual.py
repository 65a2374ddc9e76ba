"""Proof for litgen/vae/residual.py: the networks written out with torch's functions."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from litgen.vae.residual import ResidualBlock, ResidualDecoder, ResidualEncoder

Draw = Callable[..., Tensor]
SIDE, PIXELS, LATENT, CHANNELS = 8, 64, 3, 4


def silu(x: Tensor) -> Tensor:
    """Return x s(x)."""
    return x / (1 + torch.exp(-x))


def seeded(net: nn.Module) -> nn.Module:
    """Return a network with random parameters, in double precision."""
    torch.manual_seed(0)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    return net.double()


def block(x: Tensor, w: list[Tensor]) -> Tensor:
    """Take four parameters of a list and apply a residual block."""
    first, first_bias, second, second_bias = (w.pop(0) for _ in range(4))
    h = functional.conv2d(silu(x), first, first_bias, padding=1)
    return x + functional.conv2d(silu(h), second, second_bias, padding=1)


def test_a_block_adds_its_branch(normal: Draw) -> None:
    """eq:evo-residual: by torch's convolutions, from the block's four tensors."""
    net, x = seeded(ResidualBlock(CHANNELS)), normal(2, CHANNELS, 5, 6)
    expected = block(x, list(net.parameters()))
    assert (expected - x).std() > 0.1
    torch.testing.assert_close(net(x), expected)


def test_a_new_block_is_the_identity_up_to_its_bias(normal: Draw) -> None:
    """eq:evo-residual: the branch's last kernel is zero, its bias alone is added."""
    net, x = ResidualBlock(CHANNELS).double(), normal(2, CHANNELS, 5, 6)
    torch.testing.assert_close(net(x), x + net.second.bias[:, None, None])
    assert net.first.weight.abs().max() > 0


@pytest.mark.parametrize("blocks", [0, 1, 2])
def test_the_encoder_written_out(normal: Draw, blocks: int) -> None:
    """Halve, blocks, SiLU, halve, blocks, SiLU, a matrix: mean first, then log_var."""
    net = seeded(ResidualEncoder(SIDE, CHANNELS, blocks, LATENT))
    w, x = list(net.parameters()), normal(5, PIXELS)
    assert w[0].shape == (CHANNELS, 1, 4, 4)
    h = functional.conv2d(x.view(5, 1, SIDE, SIDE), w.pop(0), w.pop(0), stride=2, padding=1)
    for _ in range(blocks):
        h = block(h, w)
    h = functional.conv2d(silu(h), w.pop(0), w.pop(0), stride=2, padding=1)
    for _ in range(blocks):
        h = block(h, w)
    expected = (silu(h).reshape(5, 8 * 4) @ w[0].T + w[1]).float()
    assert len(w) == 2
    assert expected.std(dim=0).min() > 1e-3
    mean, log_var = net(x)
    torch.testing.assert_close(mean, expected[:, :LATENT])
    torch.testing.assert_close(log_var, expected[:, LATENT:])


@pytest.mark.parametrize("blocks", [0, 2])
def test_the_decoder_written_out(normal: Draw, blocks: int) -> None:
    """A matrix, blocks, SiLU, double, blocks, SiLU, double; samples before the batch."""
    net = seeded(ResidualDecoder(LATENT, CHANNELS, blocks, SIDE))
    w, z = list(net.parameters()), normal(2, 5, LATENT)
    h = (z.reshape(10, LATENT) @ w.pop(0).T + w.pop(0)).view(10, 8, 2, 2)
    for _ in range(blocks):
        h = block(h, w)
    h = functional.conv_transpose2d(silu(h), w.pop(0), w.pop(0), stride=2, padding=1)
    for _ in range(blocks):
        h = block(h, w)
    h = functional.conv_transpose2d(silu(h), w.pop(0), w.pop(0), stride=2, padding=1)
    assert w == []
    expected = h.reshape(2, 5, PIXELS).float()
    assert expected.std(dim=(0, 1)).min() > 1e-3
    torch.testing.assert_close(net(z), expected)


@pytest.mark.parametrize("side", [0, 6])
def test_what_does_not_fit_is_said(side: int) -> None:
    """A side that cannot be halved twice, a negative number of blocks."""
    for build in (ResidualEncoder, ResidualDecoder):
        with pytest.raises(ValueError, match=f"positive multiple of 4, got {side}"):
            build(*((side, 4, 1, 2) if build is ResidualEncoder else (2, 4, 1, side)))
        with pytest.raises(ValueError, match="blocks must not be negative, got -1"):
            build(*((8, 4, -1, 2) if build is ResidualEncoder else (2, 4, -1, 8)))
