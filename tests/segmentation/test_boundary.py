"""Proof for litgen/segmentation/boundary.py: distances of all pairs, scipy, and cases by hand."""

import math

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch import Tensor

from litgen.segmentation import boundary
from tests import oracles


def blobs(seed: int, classes: int = 3, size: tuple[int, int] = (13, 9)) -> Tensor:
    """Return two maps of smooth regions, the second one like the first."""
    random = np.random.default_rng(seed)
    first = scipy.ndimage.gaussian_filter(random.standard_normal((classes, *size)), (0, 2, 2))
    second = first + 0.4 * scipy.ndimage.gaussian_filter(
        random.standard_normal((classes, *size)), (0, 2, 2)
    )
    return torch.from_numpy(np.stack([first.argmax(0), second.argmax(0)]))


@pytest.mark.parametrize("distance", [0.0, 1.0, 1.5, 2.0])
def test_boundary_f1_by_the_distances_of_all_pairs(distance: float) -> None:
    """eq:segnet-outline, eq:segnet-boundary-f1: maps of regions, classes absent from some."""
    found = []
    for seed in range(6):
        true, guess = blobs(seed, classes=3 + seed % 2)
        score = boundary.boundary_f1(true[None], guess[None], 4, distance).item()
        assert score == pytest.approx(
            oracles.outline_f1(true.numpy(), guess.numpy(), 4, distance), abs=1e-6
        )
        found.append(score)
    assert np.std(found) > 0.02


def test_precision_and_recall_are_not_swapped_for_one_class() -> None:
    """eq:segnet-boundary-f1: a found outline twice as long as the true one; F1 by hand."""
    true, guess = torch.zeros(2, 1, 9, 9, dtype=torch.long)
    true[0, :, 4] = 1
    guess[0, :, 4] = 1
    guess[0, 0:9, 0] = 1
    # class 1: precision 9/18, recall 1; class 0: columns 3 and 5 are true, 1, 3 and 5 found
    expected = (2 * 0.5 / 1.5 + 2 * (2 / 3) / (5 / 3)) / 2
    found = boundary.boundary_f1(true, guess, 2, 0.0)
    assert found.item() == pytest.approx(expected)
    assert boundary.boundary_f1(true, true, 2, 0.0).item() == 1


@pytest.mark.parametrize("distance", [0.0, 1.0, 1.4, 1.5, 2.5, 3.0])
def test_near_is_scipys_distance_transform(distance: float) -> None:
    """Euclidean, the limit included, up to the image's frame."""
    marks = torch.rand(11, 8, generator=torch.Generator().manual_seed(3)) < 0.04
    assert marks.any()
    expected = scipy.ndimage.distance_transform_edt(~marks.numpy()) <= distance
    assert np.array_equal(boundary.near(marks, distance).numpy(), expected)


def test_a_shift_within_the_tolerance_costs_nothing() -> None:
    """A disk moved by one pixel: perfect within one, not within none."""
    rows, columns = torch.meshgrid(torch.arange(20), torch.arange(20), indexing="ij")
    disk = ((rows - 10) ** 2 + (columns - 9) ** 2 < 30).long()[None]
    moved = disk.roll(1, dims=2)
    assert boundary.boundary_f1(disk, moved, 2, 1.0).item() == 1
    assert boundary.boundary_f1(disk, moved, 2, 0.0).item() < 0.7


def test_maps_without_outlines() -> None:
    """No true outline: nan; true ones and none found: 0; the frame is no outline."""
    flat, split = torch.zeros(2, 1, 5, 6, dtype=torch.long)
    split[0, :, 3:] = 1
    assert math.isnan(boundary.boundary_f1(flat, split, 2).item())
    assert boundary.boundary_f1(split, flat, 2).item() == 0
    marked = boundary.outlines(split, 2)
    assert marked[0, 0].nonzero()[:, 1].unique().tolist() == [2]
    assert marked[0, 1].nonzero()[:, 1].unique().tolist() == [3]
    band = boundary.band(split, 2, 1.0)
    assert band[0].any(dim=0).tolist() == [False, True, True, True, True, False]


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_refused() -> None:
    """Maps of different size, and negative distances."""
    maps = torch.zeros(1, 4, 4, dtype=torch.long)
    with pytest.raises(ValueError, match=r"the maps differ: \(1, 4, 4\), \(1, 4, 3\)"):
        boundary.boundary_f1(maps, maps[:, :, :3], 2)
    with pytest.raises(ValueError, match=r"cannot be negative: -1"):
        boundary.near(maps > 0, -1.0)
