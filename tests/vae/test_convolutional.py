"""Proof for litgen/vae/convolutional.py: networks written out, counts by torch, shifts by hand."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from litgen.vae import convolutional
from litgen.vae.convolutional import StridedEncoder, TransposedDecoder
from tests import oracles

Draw = Callable[..., Tensor]
SIDE, PIXELS, LATENT, CHANNELS = 8, 64, 3, 4


def seeded(net: nn.Module) -> nn.Module:
    """Return a network whose biases are random too, in double precision."""
    torch.manual_seed(0)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    return net.double()


def relu(x: Tensor) -> Tensor:
    """Return the positive part."""
    return x.clamp(min=0)


def spread(image: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """Add a 4x4 kernel to the output at twice each pixel's place; one pixel is cut all around."""
    inputs, outputs = kernel.shape[:2]
    rows, columns = image.shape[1:]
    out = torch.zeros(outputs, 2 * rows + 2, 2 * columns + 2, dtype=image.dtype)
    for i, r, c in itertools.product(range(inputs), range(rows), range(columns)):
        out[:, 2 * r : 2 * r + 4, 2 * c : 2 * c + 4] += image[i, r, c] * kernel[i]
    return out[:, 1:-1, 1:-1] + bias[:, None, None]


def test_the_strided_encoder_written_out(normal: Draw) -> None:
    """Two convolutions by loops, positive parts, a matrix: mean first, then log_var."""
    net = seeded(StridedEncoder(SIDE, CHANNELS, LATENT))
    w = list(net.parameters())
    assert [tuple(p.shape) for p in w[::2]] == [(4, 1, 4, 4), (8, 4, 4, 4), (6, 32)]
    x = normal(3, PIXELS)
    rows = []
    for image in x:
        first = relu(oracles.convolve(image.view(1, SIDE, SIDE), w[0], w[1], 2, 1))
        second = relu(oracles.convolve(first, w[2], w[3], 2, 1))
        assert second.shape == (8, 2, 2)
        rows.append(second.flatten() @ w[4].T + w[5])
    expected = torch.stack(rows).float()
    assert expected.std(dim=0).min() > 1e-3
    mean, log_var = net(x)
    torch.testing.assert_close(mean, expected[:, :LATENT])
    torch.testing.assert_close(log_var, expected[:, LATENT:])


def test_the_transposed_decoder_written_out(normal: Draw) -> None:
    """A matrix, then kernels added at every pixel's double place; samples before the batch."""
    net = seeded(TransposedDecoder(LATENT, CHANNELS, SIDE))
    w = list(net.parameters())
    assert [tuple(p.shape) for p in w[::2]] == [(32, 3), (8, 4, 4, 4), (4, 1, 4, 4)]
    z = normal(2, 2, LATENT)
    found = net(z)
    assert found.shape == (2, 2, PIXELS)
    for s, n in itertools.product(range(2), range(2)):
        coarse = relu(z[s, n] @ w[0].T + w[1]).view(8, 2, 2)
        image = spread(relu(spread(coarse, w[2], w[3])), w[4], w[5])
        assert image.shape == (1, SIDE, SIDE)
        torch.testing.assert_close(found[s, n], image.flatten().float())
    assert found.std(dim=(0, 1)).min() > 1e-3


@pytest.mark.parametrize("side", [0, 3, 6, 30])
def test_a_side_must_be_a_multiple_of_four(side: int) -> None:
    """Said with the side that was given."""
    for build in (
        lambda: StridedEncoder(side, 4, 2),
        lambda: TransposedDecoder(2, 4, side),
    ):
        with pytest.raises(ValueError, match=f"positive multiple of 4, got {side}"):
            build()


@pytest.mark.parametrize(("inputs", "outputs", "kernel"), [(1, 8, 4), (5, 3, 2), (2, 7, 1)])
def test_parameters_are_those_of_torchs_layers(inputs: int, outputs: int, kernel: int) -> None:
    """eq:evo-parameters: the layers' own tensors counted, convolution and dense."""
    layer = nn.Conv2d(inputs, outputs, kernel)
    counted = sum(p.numel() for p in layer.parameters())
    assert convolutional.convolution_parameters(inputs, outputs, kernel) == counted
    dense = nn.Linear(inputs * 5 * 5, outputs * 3 * 3)
    counted = sum(p.numel() for p in dense.parameters())
    assert convolutional.dense_parameters(inputs, outputs, 5, 3) == counted


# translated --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("down", "right"), [(0, 0), (1, 0), (0, 2), (-1, 3), (2, -2), (4, 0), (0, -9)]
)
def test_a_pixel_moves_down_and_right(normal: Draw, down: int, right: int) -> None:
    """Every pixel one by one; what leaves is gone, zeros come in."""
    x = normal(2, 4, 5)
    expected = torch.zeros_like(x)
    for r, c in itertools.product(range(4), range(5)):
        if 0 <= r - down < 4 and 0 <= c - right < 5:
            expected[:, r, c] = x[:, r - down, c - right]
    torch.testing.assert_close(convolutional.translated(x, down, right), expected)


# equivariance_error ------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_a_convolution_is_equivariant_to_shifts_by_its_stride(normal: Draw, stride: int) -> None:
    """eq:evo-equivariance: zero for multiples of the stride, large in between."""
    kernel, x = normal(3, 1, 3, 3), normal(2, 1, 24, 24)

    def features(images: Tensor) -> Tensor:
        return functional.conv2d(images, kernel, stride=stride, padding=1).relu()

    for steps in (-2, -1, 1, 2):
        error = convolutional.equivariance_error(features, x, steps * stride, stride, border=3)
        assert error < 1e-12
    if stride > 1:
        assert convolutional.equivariance_error(features, x, 1, stride, border=3) > 0.3


def test_the_border_is_where_equivariance_ends(normal: Draw) -> None:
    """eq:evo-equivariance: without a border the zeros of the padding count."""
    kernel, x = normal(3, 1, 3, 3), normal(2, 1, 12, 12)

    def features(images: Tensor) -> Tensor:
        return functional.conv2d(images, kernel, padding=1)

    assert convolutional.equivariance_error(features, x, 1, 1, border=2) < 1e-12
    assert convolutional.equivariance_error(features, x, 1, 1) > 0.05


def test_the_error_by_hand() -> None:
    """eq:evo-equivariance: features 1 2 3 4 shifted are 0 1 2 3; the map doubles place 2."""
    x = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 1, 1, 4)
    gain = torch.tensor([1.0, 1.0, 2.0, 1.0])
    # before: 1 2 6 4, moved: 0 1 2 6; after: 0 1 4 3
    found = convolutional.equivariance_error(lambda images: images * gain, x, 1, 1)
    assert found.item() == pytest.approx(((4 + 9) / (1 + 4 + 36)) ** 0.5)
    # half a stride is compared with no step: 1 3 against 0 2
    found = convolutional.equivariance_error(lambda images: images[..., ::2], x, 1, 2)
    assert found.item() == pytest.approx((2 / 10) ** 0.5)
    # three of four pixels are compared with one step: 0 1 against 0 0
    found = convolutional.equivariance_error(lambda images: images[..., ::4], x, -1, 4)
    assert found.item() == pytest.approx(1.0)


def test_a_dense_layer_is_not_equivariant(normal: Draw) -> None:
    """eq:evo-equivariance: its weights differ from place to place."""
    weight, x = normal(64, 64), normal(2, 1, 8, 8)

    def features(images: Tensor) -> Tensor:
        return (images.flatten(1) @ weight).view(-1, 1, 8, 8)

    assert convolutional.equivariance_error(features, x, 1, 1, border=1) > 0.5


def test_a_border_that_leaves_nothing_is_an_error(normal: Draw) -> None:
    """The message gives the sizes."""
    with pytest.raises(ValueError, match="a border of 4 leaves nothing of 8 x 8 places"):
        convolutional.equivariance_error(lambda images: images, normal(1, 1, 8, 8), 1, 1, border=4)
