"""Proof for litgen/segmentation/elastic.py: known fields, Keys's kernel, scipy's sampling."""

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch import Tensor

from litgen.segmentation import elastic
from tests import oracles


def picture(height: int = 12, width: int = 15, count: int = 2) -> Tensor:
    """Return random images of two channels."""
    generator = torch.Generator().manual_seed(4)
    return torch.rand(count, 2, height, width, generator=generator, dtype=torch.float64)


def drawn(*shape: int, scale: float = 1.0) -> Tensor:
    """Return normal numbers."""
    generator = torch.Generator().manual_seed(9)
    return scale * torch.randn(shape, generator=generator, dtype=torch.float64)


def labels_of(count: int, height: int, width: int) -> Tensor:
    """Return random labels from 0 to 200."""
    generator = torch.Generator().manual_seed(2)
    return torch.randint(0, 201, (count, height, width), generator=generator)


def test_the_field_is_bicubic() -> None:
    """eq:unet-field: each of its numbers by the sixteen products of Keys's kernel."""
    vectors = drawn(2, 2, 3, 4)
    found = elastic.field(vectors, 9, 16)
    assert found.shape == (2, 2, 9, 16)
    for i, axis, y, x in ((0, 0, 0, 0), (0, 1, 3, 5), (1, 0, 8, 15), (1, 1, 5, 11), (0, 0, 7, 2)):
        expected = oracles.bicubic(vectors[i, axis], y * 2 / 8, x * 3 / 15)
        assert found[i, axis, y, x].item() == pytest.approx(expected, abs=1e-12)


def test_the_field_goes_through_its_vectors_and_keeps_constants() -> None:
    """At the coarse grid's places it is what was drawn; equal vectors give one displacement."""
    vectors = drawn(1, 2, 3, 3)
    found = elastic.field(vectors, 9, 17)
    torch.testing.assert_close(found[:, :, ::4, ::8], vectors)
    same = torch.tensor([2.0, -3.0], dtype=torch.float64).view(1, 2, 1, 1).expand(1, 2, 3, 3)
    constant = elastic.field(same, 7, 6)
    torch.testing.assert_close(constant[0, 0], torch.full((7, 6), 2.0, dtype=torch.float64))
    torch.testing.assert_close(constant[0, 1], torch.full((7, 6), -3.0, dtype=torch.float64))


def test_no_displacement_changes_nothing() -> None:
    """Vectors of zero give image and labels back."""
    x, labels = picture(), labels_of(2, 12, 15)
    bent, moved = elastic.deform(x, labels, torch.zeros(2, 2, 3, 3, dtype=torch.float64))
    torch.testing.assert_close(bent, x)
    assert torch.equal(moved, labels)


def test_a_constant_displacement_is_a_shift() -> None:
    """eq:unet-warp: values come from below and from the left, mirrored at the border's pixels."""
    x, labels = picture(), labels_of(2, 12, 15)
    vectors = torch.tensor([3.0, -2.0], dtype=torch.float64).view(1, 2, 1, 1).expand(2, 2, 3, 3)
    bent, moved = elastic.deform(x, labels, vectors)
    torch.testing.assert_close(bent[..., :9, 2:], x[..., 3:, :13])
    assert torch.equal(moved[:, :9, 2:], labels[:, 3:, :13])
    torch.testing.assert_close(bent[..., 9, 2:], x[..., 10, :13])  # row 12 is row 10 in the mirror
    torch.testing.assert_close(bent[..., :9, 0], x[..., 3:, 2])


def test_a_known_field_stretches() -> None:
    """Displacements that grow along the rows take values from twice as far out."""
    ramp = torch.arange(15.0, dtype=torch.float64).expand(1, 1, 5, 15)
    displaced = torch.zeros(1, 2, 5, 15, dtype=torch.float64)
    displaced[:, 1] = 0.5 * (torch.arange(15) - 7)
    found = elastic.warp(ramp, displaced)[0, 0, 2]
    inside = torch.arange(3, 12)
    torch.testing.assert_close(found[3:12], 7 + 1.5 * (inside - 7).double())


def test_sampling_is_that_of_scipy() -> None:
    """eq:unet-warp: bilinear and nearest, mirrored beyond the border, at many random places."""
    x, labels = picture(), labels_of(2, 12, 15)
    displaced = drawn(2, 2, 12, 15, scale=4.0)
    found, moved = elastic.warp(x, displaced), elastic.warp_labels(labels, displaced)
    grid = np.stack(np.meshgrid(np.arange(12), np.arange(15), indexing="ij"))
    for i in range(2):
        places = grid + displaced[i].numpy()
        for channel in range(2):
            judge = scipy.ndimage.map_coordinates(
                x[i, channel].numpy(), places, order=1, mode="mirror"
            )
            torch.testing.assert_close(found[i, channel], torch.from_numpy(judge))
        judge = scipy.ndimage.map_coordinates(labels[i].numpy(), places, order=0, mode="mirror")
        assert torch.equal(moved[i], torch.from_numpy(judge))


def test_image_and_labels_move_alike() -> None:
    """An image that shows its own labels still does so wherever four neighbours agree."""
    blocks = labels_of(1, 4, 5).repeat_interleave(8, 1).repeat_interleave(8, 2)
    x = blocks[:, None].double()
    bent, moved = elastic.deform(x, blocks, drawn(1, 2, 3, 3, scale=2.5))
    same = (bent[:, 0] - moved).abs() < 1e-6
    assert same.double().mean() > 0.6
    assert not torch.equal(moved, blocks)
    assert set(moved.unique().tolist()) <= set(blocks.unique().tolist())


def test_labels_are_never_mixed() -> None:
    """Only labels that were there, of the type that they had; a mean of 3 and 7 is no cell."""
    labels = torch.tensor([[[3, 7], [3, 7]]], dtype=torch.int16).repeat(1, 4, 4)
    displaced = drawn(1, 2, 8, 8, scale=3.0)
    found = elastic.warp_labels(labels, displaced)
    assert found.dtype == torch.int16
    assert set(found.unique().tolist()) == {3, 7}


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_refused() -> None:
    """Each error names the shapes."""
    x, labels = picture(), labels_of(2, 12, 15)
    with pytest.raises(ValueError, match=r"vectors are \(batch, 2, rows, columns\), got \(2, 3"):
        elastic.field(torch.zeros(2, 3, 3, 3), 5, 5)
    with pytest.raises(ValueError, match=r"images are .*, labels \(2, 15, 12\)"):
        elastic.deform(x, labels.mT, drawn(2, 2, 3, 3))
    with pytest.raises(ValueError, match=r"the field \(1, 2, 12, 15\)"):
        elastic.warp(x, drawn(1, 2, 12, 15))
    with pytest.raises(ValueError, match="may not exceed 16777216"):
        elastic.warp_labels(labels + 2**25, drawn(2, 2, 12, 15))
