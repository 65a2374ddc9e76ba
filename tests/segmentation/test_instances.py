"""Proof for litgen/segmentation/instances.py: pieces by a walk, matches by sets of pixels."""

import itertools

import pytest
import torch
from torch import Tensor

from litgen.segmentation import instances
from tests import oracles


def noise(count: int, height: int, width: int, share: float, seed: int = 0) -> Tensor:
    """Return random masks."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, height, width, generator=generator) < share


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.6, 0.8, 1.0])
def test_pieces_are_those_of_a_walk(share: float) -> None:
    """eq:unet-pieces: the same sets of pixels as a search from neighbour to neighbour."""
    masks = noise(3, 13, 17, share)
    numbered = instances.components(masks)
    for mask, numbers in zip(masks, numbered, strict=True):
        expected = oracles.flooded(mask)
        assert int(numbers.max()) == len(expected)
        assert {0, *numbers.unique().tolist()} == set(range(len(expected) + 1))
        for piece in expected:
            values = {int(numbers[y, x]) for y, x in piece}
            assert len(values) == 1
            assert int((numbers == values.pop()).sum()) == len(piece)
        assert torch.equal(numbers > 0, mask)


def test_corners_do_not_join_and_a_spiral_is_one_piece() -> None:
    """Neighbours lie along rows and columns; however long the way."""
    corners = torch.tensor([[[1, 0, 1], [0, 1, 0], [1, 0, 1]]], dtype=torch.bool)
    assert int(instances.components(corners).max()) == 5
    spiral = torch.tensor(
        [[[1, 1, 1, 1, 1], [0, 0, 0, 0, 1], [1, 1, 1, 0, 1], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]]],
        dtype=torch.bool,
    )
    assert int(instances.components(spiral).max()) == 1


def judged(cells: Tensor, pieces: Tensor, least: int = 1) -> instances.Found:
    """Match by sets of pixels, every cell with every piece."""

    def sets(labels: Tensor) -> list[set[int]]:
        flat = labels.flatten().tolist()
        each = [{i for i, v in enumerate(flat) if v == k} for k in set(flat) - {0}]
        return [one for one in each if len(one) >= least]

    truth, found = sets(cells), sets(pieces)
    pairs = itertools.product(truth, found)
    matches = sum(len(a & b) / len(a | b) > 0.5 for a, b in pairs)
    return instances.Found(len(truth), len(found), matches)


@pytest.mark.parametrize("least", [1, 3])
def test_matches_are_those_of_sets(least: int) -> None:
    """eq:unet-match: on random maps that agree in about half of their pixels."""
    counts = []
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        cells = torch.randint(0, 7, (6, 6), generator=generator) * 3
        pieces = torch.randint(0, 7, (6, 6), generator=generator)
        pieces = torch.where(noise(1, 6, 6, 0.8, seed)[0], cells + 1 - (cells == 0).long(), pieces)
        found = instances.matched(cells, pieces, least)
        assert found == judged(cells, pieces, least)
        counts.append(found.matches)
    assert len(set(counts)) > 2


def test_half_is_not_enough_and_two_merged_cells_are_not_found() -> None:
    """More than half of the union; a piece over two like cells shares just half with each."""
    cells = torch.tensor([[1, 1, 2, 2, 0]])
    assert instances.matched(cells, torch.tensor([[1, 1, 1, 1, 0]])) == (2, 1, 0)
    assert instances.matched(cells, torch.tensor([[7, 7, 0, 3, 3]])) == (2, 2, 1)
    assert instances.matched(cells, torch.tensor([[1, 0, 2, 2, 2]])) == (2, 2, 1)
    assert instances.matched(cells, cells) == (2, 2, 2)
    assert instances.matched(cells, 0 * cells) == (2, 0, 0)
    assert instances.matched(0 * cells, cells) == (0, 2, 0)


@pytest.mark.usefixtures("unchecked")
def test_maps_of_other_size_are_refused() -> None:
    """The message has both shapes."""
    with pytest.raises(ValueError, match=r"cells are \(2, 3\), pieces \(3, 2\)"):
        instances.matched(torch.zeros(2, 3).long(), torch.zeros(3, 2).long())
