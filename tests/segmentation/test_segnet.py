"""Proof for litgen/segmentation/segnet.py: sizes, what is kept, and what the decoder may know."""

import itertools
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from litgen.segmentation import segnet, unpooling
from litgen.segmentation.segnet import Growth, SegNet

Draw = Callable[..., Tensor]
GROWTHS: tuple[Growth, ...] = get_args(Growth)


def network(growth: Growth, widths: tuple[int, ...] = (4, 6), depth: int = 1) -> SegNet:
    """Return a network in double precision whose normalisation does something."""
    torch.manual_seed(3)
    model = SegNet(3, 5, widths, growth, depth).double()
    model(torch.randn(4, 3, 11, 14, dtype=torch.float64))
    return model.eval()


@pytest.mark.parametrize("growth", GROWTHS)
def test_every_size_works(growth: Growth, normal: Draw) -> None:
    """From 1x1 on, odd or not: the map has the image's size and is finite."""
    model = network(growth, (4, 6, 5))
    for height, width in itertools.product((1, 2, 3, 5, 8, 13), (1, 4, 7, 10)):
        logits = model(normal(1, 3, height, width))
        assert logits.shape == (1, 5, height, width)
        assert logits.isfinite().all()
        assert logits.std() > 1e-3


def test_the_network_by_torch_layers(normal: Draw) -> None:
    """The same weights in PyTorch's pooling and unpooling give the same logits, by hand."""
    model, x = network("indices", (4, 6), depth=2), normal(2, 3, 7, 10)
    with torch.no_grad():
        first = model.down[0](x)
        a, where_a = nn.functional.max_pool2d(first, 2, ceil_mode=True, return_indices=True)
        second = model.down[1](a)
        b, where_b = nn.functional.max_pool2d(second, 2, ceil_mode=True, return_indices=True)
        up = nn.functional.max_unpool2d(b, where_b, 2, output_size=second.shape[2:])
        up = model.up[0](up)
        up = nn.functional.max_unpool2d(up, where_a, 2, output_size=first.shape[2:])
        expected = model.head(model.up[1](up))
        found = model(x)
    torch.testing.assert_close(found, expected)
    assert found.std() > 0.01
    assert [m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d)] == [
        *(3, 4, 4, 6),
        *(6, 4, 4, 4),
        4,
    ]


def test_a_stage_by_sums(normal: Draw) -> None:
    """Convolution without bias, normalisation with running moments, rectifier; twice."""
    torch.manual_seed(1)
    layers = segnet.stage(3, 4, 2).double()
    layers(normal(6, 3, 5, 7))  # running moments are no longer 0 and 1
    layers.eval()
    x = expected = normal(2, 3, 6, 5)
    for i in (0, 3):
        conv, norm = layers[i], layers[i + 1]
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        assert conv.bias is None
        expected = nn.functional.conv2d(expected, conv.weight, padding=1)
        moments = norm.running_mean, norm.running_var
        expected = nn.functional.batch_norm(expected, *moments, norm.weight, norm.bias)
        expected = expected.clamp(min=0)
    torch.testing.assert_close(layers(x), expected)
    assert expected.min() == 0 < expected.std()


def test_two_bits_an_index_change_nothing(normal: Draw) -> None:
    """eq:segnet-index-bytes: packed as in evaluation or whole as in training, the same logits."""
    model, x = network("indices"), normal(3, 3, 9, 10)
    packed = model(x)
    for layer in model.modules():  # the network trains, its normalisation does not
        layer.training = layer is model
    torch.testing.assert_close(model(x), packed, rtol=0, atol=0)
    kept = model.encode(x)[1]
    assert all(level.memory is not None and level.memory.dtype == torch.long for level in kept)


@pytest.mark.parametrize("growth", GROWTHS)
def test_what_is_kept_has_the_bytes_of_the_formula(growth: Growth, normal: Draw) -> None:
    """eq:segnet-index-bytes, eq:segnet-map-bytes: what lies in memory between the two halves."""
    model = network(growth, (4, 8)).float()
    kept = model.encode(normal(1, 3, 12, 18).float())[1]
    found = [0 if level.memory is None else level.memory.nbytes for level in kept]
    expected = {
        "indices": [unpooling.index_bytes(4, (12, 18)), unpooling.index_bytes(8, (6, 9))],
        "skip": [unpooling.feature_bytes(4, (12, 18)), unpooling.feature_bytes(8, (6, 9))],
    }
    assert found == expected.get(growth, [0, 0])
    assert [level.size for level in kept] == [(12, 18), (6, 9)]


def test_a_decoder_without_memory_sees_the_coarsest_map_alone(normal: Draw) -> None:
    """Isolated points that move inside their windows: only indices and skips tell."""
    still = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    still[:, :, ::2, ::2] = 1
    moved = torch.zeros_like(still)
    moved[:, :, 1::2, 1::2] = 1
    for growth in GROWTHS:
        model = SegNet(1, 2, (3,), growth).double().eval()
        model.down[0] = nn.Conv2d(1, 3, 1, bias=False).double()
        nn.init.ones_(model.down[0].weight)
        same = torch.equal(model(still), model(moved))
        assert same == (growth in ("bilinear", "transposed"))


def test_learned_doubling_begins_as_interpolation(normal: Draw) -> None:
    """eq:segnet-doubling: away from the frame it is PyTorch's bilinear interpolation."""
    layer, x = segnet.doubling(3).double(), normal(2, 3, 6, 7)
    found = layer(x)
    expected = nn.functional.interpolate(x, scale_factor=2.0, mode="bilinear")
    assert found.shape == expected.shape
    inner = slice(1, -1)
    torch.testing.assert_close(found[..., inner, inner], expected[..., inner, inner])


def test_a_skip_is_added_whole(normal: Draw) -> None:
    """Interpolated from below, plus the encoder's map before pooling."""
    model, x = network("skip", (4,)), normal(1, 3, 7, 6)
    with torch.no_grad():
        h = model.down[0](x)
        small = nn.functional.max_pool2d(h, 2, ceil_mode=True)
        grown = nn.functional.interpolate(small, (7, 6), mode="bilinear") + h
        torch.testing.assert_close(model(x), model.head(model.up[0](grown)))


@pytest.mark.usefixtures("unchecked")
def test_bad_settings_are_refused() -> None:
    """No widths, no depth, unknown growth, an image without pixels."""
    with pytest.raises(ValueError, match=r"need widths and a depth, got \(\) and 1"):
        SegNet(3, 5, ())
    with pytest.raises(ValueError, match=r"got \(4,\) and 0"):
        SegNet(3, 5, (4,), depth=0)
    with pytest.raises(
        ValueError, match=r"unknown growth 'nearest'; there are: indices, bilinear"
    ):
        SegNet(3, 5, (4,), "nearest")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"\(1, 3, 0, 6\) has no pixels"):
        network("indices")(torch.zeros(1, 3, 0, 6, dtype=torch.float64))
