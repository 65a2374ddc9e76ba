"""Proof for litgen/vae/networks.py; the chapter is book/vae/elbo.md."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from litgen.vae.networks import VAE, ConvDecoder, ConvEncoder, DenseDecoder, DenseEncoder

SIDE, PIXELS, LATENT = 8, 64, 3
CHANNELS = 16  # two in each group: a group of one would cancel its convolution's bias
ENCODERS = [
    pytest.param(lambda: DenseEncoder(PIXELS, (11, 7), LATENT), id="dense"),
    pytest.param(lambda: ConvEncoder(SIDE, CHANNELS, LATENT), id="convolutional"),
]
DECODERS = [
    pytest.param(lambda: DenseDecoder(LATENT, (7, 11), PIXELS), id="dense"),
    pytest.param(lambda: ConvDecoder(LATENT, CHANNELS, SIDE), id="convolutional"),
]


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    """Return a network whose every parameter is random, the normalisations' included."""
    torch.manual_seed(0)
    net = build()
    for parameter in net.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, std=0.5)
    return net


def draw(*shape: int) -> Tensor:
    """Return seeded single-precision numbers in [0, 1)."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def relu(x: Tensor) -> Tensor:
    """Return the positive part."""
    return x.clamp(min=0)


def test_the_dense_encoder_written_out() -> None:
    """Affine maps and positive parts; the first half is the mean, the second log_var."""
    net = seeded(ENCODERS[0].values[0])
    w = list(net.parameters())
    assert [tuple(p.shape) for p in w[::2]] == [(11, 64), (7, 11), (6, 7)]
    x = draw(5, PIXELS)
    hidden = relu(relu(x @ w[0].T + w[1]) @ w[2].T + w[3])
    expected = hidden @ w[4].T + w[5]
    mean, log_var = net(x)
    assert expected.std(dim=0).min() > 1e-3
    torch.testing.assert_close(mean, expected[:, :3])
    torch.testing.assert_close(log_var, expected[:, 3:])


def test_the_dense_decoder_written_out() -> None:
    """Affine maps and positive parts, for samples and batch alike."""
    net = seeded(DECODERS[0].values[0])
    w = list(net.parameters())
    assert [tuple(p.shape) for p in w[::2]] == [(7, 3), (11, 7), (64, 11)]
    z = draw(2, 5, LATENT)
    expected = relu(relu(z @ w[0].T + w[1]) @ w[2].T + w[3]) @ w[4].T + w[5]
    assert expected.shape == (2, 5, 64)
    torch.testing.assert_close(net(z), expected)


def block(x: Tensor, weights: list[Tensor], stride: int = 1) -> Tensor:
    """Convolution, normalisation by eight groups, SiLU, from four of a network's parameters."""
    kernel, bias, gain, shift = (weights.pop(0) for _ in range(4))
    x = functional.conv2d(x, kernel, bias, stride=stride, padding=1)
    x = functional.group_norm(x, 8, gain, shift)
    return x * torch.sigmoid(x)


def test_the_convolutional_encoder_written_out() -> None:
    """Three blocks on rows of pixels, two of them halving; mean first, then log_var."""
    net = seeded(ENCODERS[1].values[0])
    w = list(net.parameters())
    assert [tuple(p.shape) for p in w if p.dim() == 4] == [
        (16, 1, 3, 3),
        (32, 16, 3, 3),
        (32, 32, 3, 3),
    ]
    x = draw(5, PIXELS)
    features = torch.stack([row.view(1, SIDE, SIDE) for row in x])
    features = block(block(block(features, w), w, stride=2), w, stride=2)
    assert features.shape == (5, 32, 2, 2)
    expected = features.reshape(5, 128) @ w[0].T + w[1]
    mean, log_var = net(x)
    assert expected.std(dim=0).min() > 1e-3
    torch.testing.assert_close(mean, expected[:, :3])
    torch.testing.assert_close(log_var, expected[:, 3:])


def test_the_convolutional_decoder_written_out() -> None:
    """Linear, block, every pixel doubled, block, doubled, one last convolution without norm."""
    net = seeded(DECODERS[1].values[0])
    w = list(net.parameters())
    z = draw(5, LATENT)
    x = (z @ w[0].T + w[1]).reshape(5, 32, 2, 2)
    w = w[2:]
    for channels in (32, 16):
        x = block(x, w)
        assert x.shape[1] == channels
        x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    expected = functional.conv2d(x, w[0], w[1], padding=1).reshape(5, PIXELS)
    assert expected.std() > 1e-2
    torch.testing.assert_close(net(z), expected)


@pytest.mark.parametrize("build", DECODERS)
def test_a_decoder_decodes_each_sample_alone(build: Callable[[], nn.Module]) -> None:
    """(samples, batch, latent) in, (samples, batch, pixels) out: the same as one by one."""
    net, z = seeded(build), draw(2, 5, LATENT)
    found = net(z)
    assert found.shape == (2, 5, PIXELS)
    assert found.std(dim=(0, 1)).min() > 1e-3
    for s in range(2):
        for n in range(5):
            torch.testing.assert_close(found[s, n], net(z[s, n : n + 1])[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("build", ENCODERS)
def test_an_encoder_encodes_each_image_alone(build: Callable[[], nn.Module]) -> None:
    """Two outputs of (batch, latent) that differ, and that depend on their own image only."""
    net, x = seeded(build), draw(5, PIXELS)
    mean, log_var = net(x)
    assert mean.shape == log_var.shape == (5, LATENT)
    assert (mean - log_var).abs().min() > 1e-4
    for n in range(5):
        alone = net(x[n : n + 1])
        torch.testing.assert_close(
            alone, (mean[n : n + 1], log_var[n : n + 1]), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("build", ENCODERS)
def test_both_moments_depend_on_every_pixel(build: Callable[[], nn.Module]) -> None:
    """No pixel is left out of either output."""
    net, x = seeded(build), draw(5, PIXELS).requires_grad_()
    for output in net(x):
        (gradient,) = torch.autograd.grad(output.square().sum(), x, retain_graph=True)
        assert (gradient.abs().amax(dim=0) > 0).all()


@pytest.mark.parametrize("build", DECODERS)
def test_every_pixel_depends_on_the_code(build: Callable[[], nn.Module]) -> None:
    """Each pixel's gradient in z is alive."""
    net = seeded(build)
    jacobian = torch.func.jacrev(lambda z: net(z[None])[0])(draw(LATENT))
    assert jacobian.shape == (PIXELS, LATENT)
    assert (jacobian.abs().amax(dim=1) > 0).all()
    assert (jacobian.abs().amax(dim=0) > 0).all()


@pytest.mark.parametrize("build", [*ENCODERS, *DECODERS])
def test_no_parameter_is_dead(build: Callable[[], nn.Module]) -> None:
    """A gradient reaches each tensor of parameters and is not zero everywhere."""
    net = seeded(build)
    width = LATENT if any(build is p.values[0] for p in DECODERS) else PIXELS
    outputs = net(draw(16, width))
    total = sum(o.square().sum() for o in (outputs if isinstance(outputs, tuple) else [outputs]))
    assert isinstance(total, Tensor)
    total.backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 1e-3, name


@pytest.mark.parametrize("build", [*ENCODERS, *DECODERS])
def test_outputs_are_single_precision_under_autocast(build: Callable[[], nn.Module]) -> None:
    """Losses are computed in float32, whatever the layers computed in."""
    net = seeded(build)
    width = LATENT if any(build is p.values[0] for p in DECODERS) else PIXELS
    with torch.autocast("cpu", torch.bfloat16):
        outputs = net(draw(5, width))
    for output in outputs if isinstance(outputs, tuple) else [outputs]:
        assert output.dtype == torch.float32


@pytest.mark.parametrize("side", [0, 2, 6, 27, -4])
def test_a_side_that_cannot_be_halved_twice_is_an_error(side: int) -> None:
    """Both networks say the number."""
    for build in (lambda: ConvEncoder(side, 8, LATENT), lambda: ConvDecoder(LATENT, 8, side)):
        with pytest.raises(ValueError, match=f"side must be a positive multiple of 4, got {side}"):
            build()


@pytest.mark.parametrize("side", [4, 28])
def test_the_mirror_fits(side: int) -> None:
    """What the encoder takes, the decoder gives back, at the smallest side and at MNIST's."""
    x = draw(2, side * side)
    mean, _ = ConvEncoder(side, 8, LATENT)(x)
    assert ConvDecoder(LATENT, 8, side)(mean).shape == x.shape


def test_a_vae_holds_both_under_their_names() -> None:
    """The stored weights are called encoder.* and decoder.*, and none is lost."""
    encoder, decoder = ENCODERS[0].values[0](), DECODERS[0].values[0]()
    vae = VAE(encoder, decoder)
    assert vae.encoder is encoder
    assert vae.decoder is decoder
    names = [f"encoder.{n}" for n in encoder.state_dict()]
    assert list(vae.state_dict()) == names + [f"decoder.{n}" for n in decoder.state_dict()]
