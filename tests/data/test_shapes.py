"""Proof for litgen/data/shapes.py: areas, centres and angles by hand, independence by counting."""

import inspect
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from litgen.data import shapes, sources

AREAS = (math.pi * 6.4 * 3.2, 11.2 * 5.6, 12 * 10 / 2)
"""At size 1: ellipse, rectangle, triangle."""


def one(*factors: float) -> Tensor:
    """Return the image of these five factors in [0, 1], without its channel."""
    return shapes.render(torch.tensor([factors], dtype=torch.float32))[0, 0].double() / 255


def moments(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the middle (x, y) and the covariance of an image's mass, in pixels."""
    axis = torch.arange(28, dtype=torch.float64) - 13.5
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    weight = image / image.sum()
    middle = torch.stack([(weight * x).sum(), (weight * y).sum()])
    offset = torch.stack([x - middle[0], y - middle[1]])
    return middle, torch.einsum("ihw,jhw,hw->ij", offset, offset, weight)


@pytest.mark.parametrize("kind", [0, 1, 2])
@pytest.mark.parametrize("scale", [0, 1.5, 3])
def test_a_shape_covers_its_area(kind: int, scale: float) -> None:
    """Ellipse, rectangle and triangle at 0.75 to 1.2 times the usual size, to 3 %."""
    size = 0.75 + 0.15 * scale
    for rotation in (0, 1.3, 4):
        found = one(kind, scale, rotation, 3.5, 3.5).sum().item()
        assert found == pytest.approx(AREAS[kind] * size**2, rel=0.03)


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_x_moves_to_the_right_and_y_down(kind: int) -> None:
    """1.8 pixels a level, from 6.3 left of (above) the middle."""
    centre = moments(one(kind, 1, 2, 3.5, 3.5))[0]
    assert centre.abs().max() < 0.05
    for x, y in ((2, 3.5), (3.5, 2), (5, 4)):
        found = moments(one(kind, 1, 2, x, y))[0]
        expected = torch.tensor([1.8 * (x - 3.5), 1.8 * (y - 3.5)], dtype=torch.float64)
        torch.testing.assert_close(found, expected, atol=0.06, rtol=0)


@pytest.mark.parametrize("kind", [0, 1])
def test_rotation_turns_the_long_axis_clockwise(kind: int) -> None:
    """By 2 atan(0.2 (level - 2)): the long axis of the mass points there."""
    for level in (0, 1, 2, 2.5, 4):
        covariance = moments(one(kind, 3, level, 3.5, 3.5))[1]
        angle = 0.5 * math.atan2(2 * covariance[0, 1], covariance[0, 0] - covariance[1, 1])
        assert angle == pytest.approx(2 * math.atan(0.2 * (level - 2)), abs=0.02)


def test_the_triangle_points_to_the_right_and_turns() -> None:
    """Its mass leans to the blunt side: the third moment along its axis is positive."""
    axis = torch.arange(28, dtype=torch.float64) - 13.5
    for level in (0, 2, 4):
        image = one(2, 3, level, 3.5, 3.5)
        angle = 2 * math.atan(0.2 * (level - 2))
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        along = math.cos(angle) * x + math.sin(angle) * y
        across = math.cos(angle) * y - math.sin(angle) * x
        weight = image / image.sum()
        along = along - (weight * along).sum()
        assert (weight * along**3).sum() > 5
        assert abs((weight * across**3).sum()) < 1


def test_edges_are_as_soft_as_a_pixel() -> None:
    """Half sides 5.6 and 2.8 end 0.6 and 0.8 into a pixel, whose grey they are."""
    image = one(1, 5 / 3, 2, 3.5, 3.5)
    assert image[13, 14:21].tolist() == pytest.approx([1, 1, 1, 1, 1, 0.6, 0], abs=0.004)
    assert image[13:18, 14].tolist() == pytest.approx([1, 1, 1, 0.8, 0], abs=0.004)
    for kind in (0, 1, 2):
        assert ((one(kind, 2, 1, 3, 3) > 0) & (one(kind, 2, 1, 3, 3) < 1)).sum() > 5


def test_the_grid_holds_every_combination_once() -> None:
    """3 * 4 * 5 * 8 * 8 rows, all different, the last factor fastest: exact independence."""
    found = shapes.grid()
    rows = [tuple(row) for row in found.tolist()]
    assert len(rows) == len(set(rows)) == math.prod((3, 4, 5, 8, 8))
    assert rows[:2] == [(0, 0, 0, 0, 0), (0, 0, 0, 0, 1)]
    assert rows[-1] == (2, 3, 4, 7, 7)
    assert shapes.LEVELS == (3, 4, 5, 8, 8)
    assert shapes.FACTORS == ("shape", "scale", "rotation", "x", "y")


def test_every_factor_changes_the_image() -> None:
    """A step of one level changes at least ten grey pixels' worth; the others stay the same."""
    base = [1.0, 1.0, 1.0, 3.0, 3.0]
    for i in range(5):
        moved = list(base)
        moved[i] += 1
        assert (one(*moved) - one(*base)).abs().sum() > 5
    assert torch.equal(one(*base), one(*base))


def test_a_block_at_a_time_changes_nothing() -> None:
    """An image among many is the image alone; none at all is allowed."""
    factors = shapes.grid()[::7].float()
    together = shapes.render(factors)
    for i in (0, 199, 200, len(factors) - 1):
        assert torch.equal(shapes.render(factors[i : i + 1])[0], together[i])
    assert shapes.render(factors[:0]).shape == (0, 1, 28, 28)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([3, 0, 0, 0, 0], r"shape must lie in 0\.\.2"),
        ([0, -0.1, 0, 0, 0], r"scale must lie in 0\.\.3"),
        ([0, 0, 0, 0, 7.01], r"y must lie in 0\.\.7"),
        ([0, float("nan"), 0, 0, 0], r"scale must lie in 0\.\.3"),
        ([0.5, 0, 0, 0, 0], "shape must be a whole number"),
    ],
)
def test_factors_outside_their_levels_are_refused(row: list[float], message: str) -> None:
    """The error names the factor and its range."""
    with pytest.raises(ValueError, match=message):
        shapes.render(torch.tensor([row], dtype=torch.float32))


def test_another_number_of_factors_is_refused(unchecked: None) -> None:
    """The error names the shape."""
    with pytest.raises(ValueError, match=r"factors have shape \(2, 4\), expected \(count, 5\)"):
        inspect.unwrap(shapes.render)(torch.zeros(2, 4))


def test_the_fixed_sets() -> None:
    """The grid in order; a test set between the levels; checksums, records, copies."""
    train, test = shapes.load("train"), shapes.load("test")
    assert torch.equal(train.factors, shapes.grid().float())
    assert torch.equal(train.images[::500], shapes.render(train.factors[::500]))
    assert test.images.shape == (1_000, 1, 28, 28)
    assert torch.equal(test.images[:9], shapes.render(test.factors[:9]))
    low, high = test.factors.aminmax(dim=0)
    assert (low >= 0).all()
    assert torch.allclose(high, torch.tensor([2.0, 3.0, 4.0, 7.0, 7.0]), atol=0.05)
    assert np.abs(np.corrcoef(test.factors.numpy().T) - np.eye(5)).max() < 0.12
    for split, found in (("train", train), ("test", test)):
        assert found.record.checksum == shapes.CHECKSUM[split]
        assert found.record.checksum == sources.checksum(found.images, found.factors)
        assert found.record.counts[split] == len(found.images)
        assert not found.record.stand_in
    assert train.describe() == "3,840 images 1x28x28"
    train.images.zero_()
    assert shapes.load("train").images.float().mean() > 10  # nobody's copy is another's


def test_another_drawing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that draws other shapes must not change a run unseen."""
    monkeypatch.setitem(shapes.CHECKSUM, "test", "0" * 64)
    with pytest.raises(sources.WrongBytes, match=r"shapes test has checksum 77ecb4de"):
        shapes.load("test")
    with pytest.raises(ValueError, match="'train' or 'test', got 'validation'"):
        inspect.unwrap(shapes.load)("validation")  # type: ignore[arg-type]
