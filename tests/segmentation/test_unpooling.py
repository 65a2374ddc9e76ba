"""Proof for litgen/segmentation/unpooling.py: loops over windows, and autograd of max pooling."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from litgen.segmentation import unpooling
from tests import oracles

Draw = Callable[..., Tensor]
WINDOWS = [(2, 2), (2, 3), (3, 1), (1, 1)]
SIZES = [(h, w) for h, w in itertools.product((1, 2, 3, 5, 6, 9), (1, 2, 4, 7, 8))]


def selection(places: Tensor, pixels: int) -> Tensor:
    """Return the matrix with one 1 a row, at the place of that window's maximum."""
    return torch.eye(pixels, dtype=torch.float64)[places.flatten()]


@pytest.mark.parametrize("window", WINDOWS)
def test_pooling_and_places_by_loops(normal: Draw, window: tuple[int, int]) -> None:
    """eq:segnet-pool: every size from 1x1 on, odd ones included; maxima and where they are."""
    for height, width in SIZES:
        x = normal(2, 3, height, width)
        maxima, places = unpooling.pool(x, window)
        for image, channel in itertools.product(range(2), range(3)):
            expected = oracles.pooled_by_loops(x[image, channel], window)
            torch.testing.assert_close(maxima[image, channel], expected[0], rtol=0, atol=0)
            assert torch.equal(places[image, channel], expected[1])
        assert maxima.shape[2:] == unpooling.windows((height, width), window)


def test_of_equal_values_the_first_counts() -> None:
    """eq:segnet-pool: in reading order, in both layouts of memory and both precisions."""
    x = torch.tensor([[0.0, 2, 1, 1], [2, 2, 1, 1], [0, 0, 3, 0], [0, 0, 0, 3]]).expand(2, 9, 4, 4)
    for layout in (torch.contiguous_format, torch.channels_last):
        for dtype in (torch.float32, torch.bfloat16):
            laid = x.to(dtype).contiguous(memory_format=layout)
            places = unpooling.pool(laid).places
            assert places[1, 4].tolist() == [[1, 2], [8, 10]]


@pytest.mark.parametrize("window", WINDOWS)
def test_unpooling_is_the_transposed_selection(normal: Draw, window: tuple[int, int]) -> None:
    """eq:segnet-selection, eq:segnet-unpool, eq:segnet-orthonormal, eq:segnet-mask."""
    for size in SIZES:
        x = normal(1, 1, *size)
        maxima, places = unpooling.pool(x, window)
        s = selection(oracles.pooled_by_loops(x[0, 0], window)[1], math.prod(size))
        y = normal(*maxima.shape)
        raised = unpooling.unpool(y, places, size)
        torch.testing.assert_close(raised.flatten(), s.T @ y.flatten(), rtol=0, atol=0)
        torch.testing.assert_close(s @ x.flatten(), maxima.flatten(), rtol=0, atol=0)
        assert torch.equal(s @ s.T, torch.eye(len(s), dtype=torch.float64))
        back = unpooling.unpool(maxima, places, size)
        kept = back != 0
        assert kept.sum() == maxima.numel()
        assert torch.equal(back[kept], x[kept])
        torch.testing.assert_close(raised.square().sum(), y.square().sum())


def test_the_two_maps_are_adjoint(normal: Draw) -> None:
    """eq:segnet-adjoint: <S v, y> = <v, S' y> for any v and y, S read off another image x."""
    for size in ((7, 10), (8, 8), (5, 1)):
        x, v = normal(2, 2, 3, *size)
        maxima, places = unpooling.pool(x)
        y = normal(*maxima.shape)
        read = v.flatten(2).gather(2, places.flatten(2)).view(maxima.shape)
        left = (read * y).sum(dim=(2, 3))
        assert left.std() > 0.1
        torch.testing.assert_close(left, (v * unpooling.unpool(y, places, size)).sum(dim=(2, 3)))


def test_unpooling_is_what_backpropagation_through_pooling_does(normal: Draw) -> None:
    """eq:segnet-backward: the judge is autograd of PyTorch's max pooling; and the other way."""
    for size in ((6, 8), (7, 5)):
        x = normal(2, 3, *size).requires_grad_()
        out = nn.functional.max_pool2d(x, 2, ceil_mode=True)
        above = normal(*out.shape)
        gradient = torch.autograd.grad((out * above).sum(), x)[0]
        places = unpooling.pool(x.detach()).places
        torch.testing.assert_close(unpooling.unpool(above, places, size), gradient)
        y = normal(*out.shape).requires_grad_()
        weights = normal(2, 3, *size)
        found = torch.autograd.grad((unpooling.unpool(y, places, size) * weights).sum(), y)[0]
        read = weights.flatten(2).gather(2, places.flatten(2)).view_as(found)
        torch.testing.assert_close(found, read)


def test_when_pooling_undoes_unpooling(normal: Draw) -> None:
    """eq:segnet-return: max(y, 0) comes back, y itself from windows of one pixel; any indices.

    The places come back exactly where y is positive, or the window has one pixel.
    """
    for size in SIZES:
        places = unpooling.pool(normal(2, 3, *size)).places
        y = normal(*places.shape)
        again = unpooling.pool(unpooling.unpool(y, places, size))
        rows, columns = unpooling.windows(size)
        pixels = torch.full((rows, columns), 4)
        pixels[size[0] // 2 :] //= 2
        pixels[:, size[1] // 2 :] //= 2
        alone = (pixels == 1).expand_as(y)
        torch.testing.assert_close(again.maxima, torch.where(alone, y, y.clamp(min=0)))
        returned = again.places == places
        first = unpooling.slots_of(places, size[1]) == 0
        assert returned[(y > 0) | alone].all()
        assert not returned[(y < 0) & ~alone & ~first].any()


@pytest.mark.parametrize("window", WINDOWS)
def test_slots_and_places_by_loops(window: tuple[int, int]) -> None:
    """eq:segnet-slot: every pixel of a map as the place of its window's maximum."""
    height, width = 2 * window[0] + 1, 3 * window[1]
    rows, columns = unpooling.windows((height, width), window)
    for row, column in itertools.product(range(height), range(width)):
        x = torch.zeros(1, 1, height, width)
        x[0, 0, row, column] = 1
        places = unpooling.pool(x, window).places
        slots = unpooling.slots_of(places, width, window)
        i, j = row // window[0], column // window[1]
        expected = (row - i * window[0]) * window[1] + column - j * window[1]
        assert slots[0, 0, i, j] == expected
        assert slots.sum() == expected  # elsewhere the first of equal zeros
        assert torch.equal(unpooling.places_of(slots, width, window), places)
        assert slots.shape[2:] == (rows, columns)


def test_two_bits_hold_an_index(generator: torch.Generator) -> None:
    """eq:segnet-index-bytes: packed and unpacked for every count; the bytes by hand."""
    for count in range(1, 10):
        shape = (1, 1, 1, count)
        slots = torch.randint(0, 4, shape, generator=generator, dtype=torch.uint8)
        content = unpooling.packed(slots)
        assert torch.equal(unpooling.unpacked(content, shape), slots)
        assert len(content) == math.ceil(count / 4) == unpooling.index_bytes(count, (2, 2))
    assert unpooling.packed(torch.tensor([3, 0, 2, 1], dtype=torch.uint8)).tolist() == [0b01100011]


def test_bytes_are_those_of_tensors_and_of_the_paper() -> None:
    """eq:segnet-index-bytes, eq:segnet-map-bytes: section 3.1's three numbers."""
    size = (180, 240)
    assert unpooling.feature_bytes(64, size) == pytest.approx(11e6, rel=0.01)
    assert unpooling.feature_bytes(11, size) == pytest.approx(1.9e6, rel=0.01)
    assert unpooling.index_bytes(64, size) == pytest.approx(0.17e6, rel=0.02)
    assert unpooling.feature_bytes(64, size) == 64 * unpooling.index_bytes(64, size)
    for size in ((9, 6), (7, 13), (1, 1)):
        x = torch.zeros(1, 5, *size)
        places = unpooling.pool(x).places
        slots = unpooling.slots_of(places, size[1])
        assert unpooling.index_bytes(5, size) == unpooling.packed(slots).nbytes
        assert unpooling.index_bytes(5, size, bits=8) == slots.nbytes
        assert unpooling.index_bytes(5, size, bits=64) == places.nbytes
        assert unpooling.feature_bytes(5, size) == x.nbytes
        assert unpooling.feature_bytes(5, size, bits=16) == x.bfloat16().nbytes
    wide = unpooling.pool(torch.zeros(1, 3, 6, 7), (3, 2)).places
    assert unpooling.index_bytes(3, (6, 7), 64, (3, 2)) == wide.nbytes


def test_an_image_of_points_is_known_by_its_indices_alone(generator: torch.Generator) -> None:
    """eq:segnet-points: 3/16 is missed by the best guess without places, nothing with."""
    corner = torch.randint(0, 4, (500, 1, 6, 6), generator=generator, dtype=torch.uint8)
    places = unpooling.places_of(corner, 12)
    x = unpooling.unpool(torch.ones(500, 1, 6, 6), places, (12, 12))
    maxima, found = unpooling.pool(x)
    assert torch.equal(maxima, torch.ones_like(maxima))
    assert torch.equal(unpooling.unpool(maxima, found, (12, 12)), x)
    best = x.mean(dim=0)  # of everything that depends on the pooled maps, which are all equal
    assert (x - best).square().mean().item() == pytest.approx(3 / 16, rel=0.01)
    assert (x - 0.25).square().mean().item() == pytest.approx(3 / 16, abs=1e-6)


@pytest.mark.usefixtures("unchecked")
def test_what_does_not_fit_is_refused() -> None:
    """The message names the shapes."""
    x = torch.rand(1, 1, 6, 6)
    maxima, places = unpooling.pool(x)
    with pytest.raises(ValueError, match=r"another layer"):
        unpooling.unpool(maxima, places, (4, 4))
    with pytest.raises(ValueError, match=r"another layer"):
        unpooling.unpool(maxima, places - 1 - places.min(), (6, 6))
    with pytest.raises(ValueError, match=r"to 36, a map of 6x6 has 0 to 35"):
        unpooling.unpool(maxima, places + 36 - places.max(), (6, 6))  # one too far
    with pytest.raises(ValueError, match=r"\(1, 1, 2, 2\) values cannot go to \(1, 1, 3, 3\)"):
        unpooling.unpool(maxima[:, :, :2, :2], places, (6, 6))
    with pytest.raises(ValueError, match=r"cannot cut a map of \(0, 6\)"):
        unpooling.pool(x[:, :, :0])
    with pytest.raises(ValueError, match=r"windows of \(0, 2\)"):
        unpooling.pool(x, (0, 2))
    with pytest.raises(ValueError, match=r"9 slots of two bits do not fill 2 bytes"):
        unpooling.unpacked(torch.zeros(2, dtype=torch.uint8), (1, 1, 3, 3))
