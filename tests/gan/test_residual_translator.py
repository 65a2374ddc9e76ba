"""Proof for litgen/gan/residual_translator.py: sizes, what a translation depends on, its start."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from litgen.gan.residual_translator import ResidualBlock, ResidualTranslator
from tests import oracles

Normal = Callable[..., Tensor]


@pytest.mark.parametrize(
    ("halvings", "fold", "shape"),
    [(0, 1, (8, 12)), (2, 1, (8, 12)), (1, 2, (12, 8)), (0, 2, (6, 4))],
)
@pytest.mark.parametrize("shortcut", [False, True])
def test_size_stays_and_values_are_bounded(
    halvings: int, fold: int, shape: tuple[int, int], shortcut: bool, normal: Normal
) -> None:
    """Whatever the depth: as many channels, the same sides; without shortcut within [-1, 1]."""
    torch.manual_seed(0)
    net = ResidualTranslator(2, 4, halvings, 1, shortcut, fold).double()
    y = net(normal(3, 2, *shape))
    assert y.shape == (3, 2, *shape)
    assert shortcut or y.abs().max() <= 1
    assert y.std() > 0


def test_an_image_is_translated_by_itself(normal: Normal) -> None:
    """Jobs may share a pass: other images in the batch change nothing."""
    torch.manual_seed(0)
    net = ResidualTranslator(1, 4, 1, 1).double()
    x = normal(4, 1, 8, 8)
    together = net(x)
    for image, expected in zip(x.split(1), together, strict=True):
        torch.testing.assert_close(net(image)[0], expected)
    assert (together[0] - together[1]).abs().max() > 1e-3


def test_normalisation_takes_an_images_own_moments(normal: Normal) -> None:
    """After the first convolution each channel of each image has mean 0 and variance 1."""
    torch.manual_seed(0)
    net = ResidualTranslator(3, 4, 1, 1).double()
    h = net.layers[0](normal(2, 3, 8, 8))
    torch.testing.assert_close(h.mean(dim=(2, 3)), torch.zeros(2, 4).double())
    spread = h.var(dim=(2, 3), unbiased=False)
    assert (spread < 1).all()
    assert (spread > 0.9).all()


def test_edges_are_mirrored(normal: Normal) -> None:
    """The convolution is the plain one on an image with mirrored rows and columns around it."""
    torch.manual_seed(0)
    first = ResidualTranslator(2, 3, 0, 0).double().layers[0][0]
    x = normal(1, 2, 6, 7)
    rows = [3, 2, 1, *range(6), 4, 3, 2]
    columns = [3, 2, 1, *range(7), 5, 4, 3]
    around = x[0][:, rows][:, :, columns]
    expected = oracles.convolve(around, first.weight, torch.zeros(3).double(), 1, 0)
    torch.testing.assert_close(first(x)[0], expected)


def test_a_residual_block_adds(normal: Normal) -> None:
    """With its last gain at zero it leaves everything as it is; otherwise it adds its body."""
    torch.manual_seed(0)
    block = ResidualBlock(3).double()
    x = normal(2, 3, 5, 5)
    torch.testing.assert_close(block(x) - x, block.body(x))
    assert block.body(x).abs().max() > 0.1
    nn.init.zeros_(block.body[-1][1].weight)
    torch.testing.assert_close(block(x), x)


def test_the_shortcut_starts_near_the_image(normal: Normal) -> None:
    """With its last layer at zero the image itself comes out, without shortcut grey."""
    torch.manual_seed(0)
    x = 0.9 * normal(2, 1, 8, 8).tanh()
    for shortcut in (True, False):
        net = ResidualTranslator(1, 4, 1, 1, shortcut, 2).double()
        start = (net(x) - x).abs().mean().item()
        assert (0 < start < 0.05) == shortcut
        last = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)][-1]
        nn.init.zeros_(last.weight)
        torch.testing.assert_close(net(x), x if shortcut else torch.zeros_like(x))


def by_functions(net: ResidualTranslator, x: Tensor, halvings: int, blocks: int) -> Tensor:
    """Return what a network without fold or shortcut should make, from its bare numbers."""
    numbers = iter(net.parameters())

    def normalised(h: Tensor) -> Tensor:
        off = h - h.mean(dim=(2, 3), keepdim=True)
        h = off / (off.square().mean(dim=(2, 3), keepdim=True) + 1e-5).sqrt()
        return h * next(numbers)[:, None, None] + next(numbers)[:, None, None]

    def convolved(h: Tensor, kernel: int, stride: int = 1) -> Tensor:
        around = functional.pad(h, [kernel // 2] * 4, mode="reflect")
        return normalised(functional.conv2d(around, next(numbers), stride=stride))

    h = convolved(x, 7).relu()
    for _ in range(halvings):
        h = convolved(h, 3, 2).relu()
    for _ in range(blocks):
        h = h + convolved(convolved(h, 3).relu(), 3)
    for _ in range(halvings):
        h = h.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        h = functional.conv2d(h, next(numbers), next(numbers), padding=1)
        h = normalised(h).relu()
    h = functional.pad(h, [3] * 4, mode="reflect")
    h = functional.conv2d(h, next(numbers), next(numbers)).tanh()
    assert not list(numbers)
    return h


def test_layer_after_layer(normal: Normal) -> None:
    """The whole way by plain functions: widths double, normalised and rectified where they are."""
    net = ResidualTranslator(2, 3, 2, 2).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(0.3 * normal(*parameter.shape) + 0.1)
    x = normal(2, 2, 12, 16)
    torch.testing.assert_close(net(x), by_functions(net, x, 2, 2))
    widths = [p.shape[0] for p in net.parameters() if p.dim() == 4]
    assert widths == [3, 6, 12, 12, 12, 12, 12, 6, 3, 2]


def test_the_papers_translator() -> None:
    """Six blocks between two halvings, from 64 to 256 channels; no shortcut, no fold."""
    net = ResidualTranslator()
    blocks = [layer for layer in net.layers if isinstance(layer, ResidualBlock)]
    assert len(blocks) == 6
    assert {block.body[0][0].out_channels for block in blocks} == {256}
    assert net.layers[0][0].weight.shape == (64, 3, 7, 7)
    assert (net.channels, net.part, net.shortcut) == (3, 4, False)


def test_folding_puts_squares_into_channels_and_back() -> None:
    """The first layer sees four pixels as four channels, in rows."""
    net = ResidualTranslator(1, 4, 0, 0, False, 2)
    square = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    assert net.layers[0](square).flatten().tolist() == [1, 2, 3, 4]
    assert net.layers[-1](net.layers[0](square)).tolist() == square.tolist()
    assert net.layers[1][0].kernel_size == (3, 3)
    assert ResidualTranslator(1, 4, 0, 0).layers[0][0].kernel_size == (7, 7)


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named() -> None:
    """Channels, sides and settings that do not fit."""
    net = ResidualTranslator(3, 4, 1, 1, fold=2)
    for shape in ((1, 1, 8, 8), (1, 3, 8, 6)):
        with pytest.raises(ValueError, match=r"3 channels, sides divisible by 4, got shape \(1"):
            net(torch.zeros(shape))
    for wrong in ({"channels": 0}, {"width": 0}, {"halvings": -1}, {"blocks": -1}, {"fold": 0}):
        with pytest.raises(ValueError, match="a translator cannot have"):
            ResidualTranslator(**wrong)
