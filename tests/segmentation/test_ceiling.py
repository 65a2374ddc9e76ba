"""Proof for litgen/segmentation/ceiling.py: every block map of a tiny mask, and loops."""

import itertools

import pytest
import torch
from torch import Tensor

from litgen.segmentation import ceiling
from litgen.segmentation.upsampling import upsample


def masks(seed: int, side: int = 12, classes: int = 4) -> Tensor:
    """Return two masks in which neighbours are often alike."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, classes, (2, side // 3, side // 3), generator=draw)
    big = coarse.repeat_interleave(3, dim=1).repeat_interleave(3, dim=2)
    noise = torch.randint(0, classes, big.shape, generator=draw)
    return big.where(torch.rand(big.shape, generator=draw) < 0.8, noise)


def test_shares_are_counted() -> None:
    """eq:fcn-shares: block by block, class by class."""
    mask = masks(0)
    found = ceiling.class_shares(mask, 4, 4)
    for b, c, i, j in itertools.product(range(2), range(4), range(3), range(3)):
        block = mask[b, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4]
        assert found[b, c, i, j] == (block == c).float().mean()
    assert found.shape == (2, 4, 3, 3)


@pytest.mark.parametrize("seed", range(4))
def test_no_block_map_has_more_pixels_right(seed: int) -> None:
    """eq:fcn-ceiling: against all 81 maps of 2x2 blocks and three classes."""
    mask = masks(seed, side=6, classes=3)[:1]
    found = ceiling.block_majority(mask, 3, 3)
    best = 0
    for labels in itertools.product(range(3), repeat=4):
        blocks = torch.tensor(labels).view(1, 2, 2)
        spread = blocks.repeat_interleave(3, dim=1).repeat_interleave(3, dim=2)
        best = max(best, int((spread == mask).sum()))
    assert int((found == mask).sum()) == best
    assert found.unique().numel() > 1


def test_a_block_has_the_class_of_its_middle() -> None:
    """Pixel (f // 2, f // 2) of the block, repeated; factor 1 changes nothing."""
    mask = masks(1)
    for factor in (2, 3, 4):
        found = ceiling.subsampled(mask, factor)
        for i, j in itertools.product(range(12), repeat=2):
            top, left = i // factor * factor, j // factor * factor
            assert torch.equal(found[:, i, j], mask[:, top + factor // 2, left + factor // 2])
    for same in (ceiling.subsampled(mask, 1), ceiling.interpolated(mask, 1, 4)):
        assert torch.equal(same, mask)
    assert torch.equal(ceiling.block_majority(mask, 1, 4), mask)


def test_interpolated_shares_cut_a_straight_edge_where_it_is() -> None:
    """Between blocks the two classes meet half-way; an edge inside a block is rounded off."""
    mask = torch.zeros(1, 16, 16, dtype=torch.long)
    mask[:, :, 8:] = 1
    assert torch.equal(ceiling.interpolated(mask, 4, 2), mask)
    mask[:, :, 6:] = 1
    expected = torch.where((torch.arange(16) + 0.5) / 4 - 0.5 > 1, 1, 0)  # there shares are equal
    assert torch.equal(ceiling.interpolated(mask, 4, 2)[0, 5], expected)


def test_a_fitted_map_is_at_least_as_good() -> None:
    """On a disk, fitted logits have more pixels right than interpolated shares, and few wrong."""
    axis = torch.arange(24) + 0.5
    far = ((axis[:, None] - 11) ** 2 + (axis[None] - 13) ** 2).sqrt()
    mask = (far < 7.5).long()[None]
    fitted = upsample(ceiling.fitted_map(mask, 8, 2), 8).argmax(dim=1)
    right = [int((m == mask).sum()) for m in (fitted, ceiling.interpolated(mask, 8, 2))]
    assert right[0] > right[1]
    assert right[0] > 0.97 * 576


def test_sizes_and_labels_that_do_not_fit_are_refused() -> None:
    """The message names both."""
    with pytest.raises(ValueError, match=r"\(12, 12\) pixels do not split into blocks of 5"):
        ceiling.class_shares(masks(0), 5, 4)
    for one_side in (masks(0)[:, :10], masks(0)[:, :, :10]):
        with pytest.raises(ValueError, match=r"pixels do not split into blocks of 4"):
            ceiling.class_shares(one_side, 4, 4)
    with pytest.raises(ValueError, match=r"labels must be 0..2, got 0..3"):
        ceiling.block_majority(masks(0), 4, 3)
