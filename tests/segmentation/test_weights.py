"""Proof for litgen/segmentation/weights.py: distances by brute force, weights one by one."""

import math

import pytest
import scipy.ndimage
import torch
from torch import Tensor

from litgen.segmentation import weights
from tests import oracles

SIZES = [(7, 11), (1, 9), (9, 1), (16, 16)]


def scattered(height: int, width: int, seed: int = 0, kinds: int = 4) -> Tensor:
    """Return cells of single pixels on a ground that is three quarters of the image."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(1, kinds + 1, (height, width), generator=generator)
    return labels * (torch.rand(height, width, generator=generator) < 0.25)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_distances_are_those_of_every_pair_of_pixels(height: int, width: int) -> None:
    """eq:unet-distance: the smallest of all distances, one pair after the other; scipy agrees."""
    inside = scattered(height, width) > 0
    found = weights.distances(inside)
    brute = oracles.distances_by_pairs(inside)
    torch.testing.assert_close(found, brute, rtol=0, atol=1e-12)
    judge = scipy.ndimage.distance_transform_edt(~inside.numpy())
    torch.testing.assert_close(found, torch.from_numpy(judge), rtol=0, atol=1e-12)
    assert found.unique().numel() > 2


def test_distances_of_many_masks_and_of_none() -> None:
    """Masks of a batch do not meet; nothing is near an empty one; a full one is all zero."""
    masks = torch.stack([scattered(40, 30, seed) > 0 for seed in range(20)])
    each = torch.stack([weights.distances(mask) for mask in masks])
    torch.testing.assert_close(weights.distances(masks), each, rtol=0, atol=0)
    torch.testing.assert_close(
        weights.distances(masks.view(4, 5, 40, 30)), each.view(4, 5, 40, 30)
    )
    empty = torch.zeros(3, 4, dtype=torch.bool)
    assert bool(weights.distances(empty).isinf().all())
    assert not weights.distances(~empty).any()


def test_far_distances_are_exact() -> None:
    """Squares of whole numbers up to two million: no rounding before the root."""
    inside = torch.zeros(3, 1500, dtype=torch.bool)
    inside[0, 0] = True
    expected = math.sqrt(1499**2 + 2**2)
    assert weights.distances(inside)[2, 1499].item() == pytest.approx(expected, rel=1e-15)


def test_two_nearest_cells_are_found_among_all() -> None:
    """eq:unet-border's d1 and d2: sorted distances to each cell, by brute force."""
    cells = scattered(9, 12, seed=3)
    cells[cells == 2] = 40  # numbers need not be consecutive
    each = [oracles.distances_by_pairs(cells == k) for k in (1, 3, 4, 40)]
    expected = torch.stack(each).sort(dim=0).values
    first, second = weights.two_nearest(cells)
    torch.testing.assert_close(first, expected[0])
    torch.testing.assert_close(second, expected[1])
    assert bool((second >= first).all())
    assert bool((second > first).any())


def test_the_border_s_weight_by_hand() -> None:
    """eq:unet-border on a line: two cells, a gap of three pixels between; zero in cells."""
    cells = torch.tensor([[0, 1, 1, 0, 0, 0, 2, 0]])
    found = weights.border(cells, height=7.0, sigma=2.0)[0]
    sums = {0: 1 + 6, 3: 1 + 3, 4: 2 + 2, 5: 3 + 1, 7: 1 + 5}
    for place in range(8):
        expected = 7 * math.exp(-(sums[place] ** 2) / (2 * 4)) if place in sums else 0.0
        assert found[place].item() == pytest.approx(expected, rel=1e-12), place


def test_one_cell_has_no_border_and_nearer_cells_have_a_heavier_one() -> None:
    """Without a second cell nothing is added; the weight falls with the gap; height is linear."""
    one = torch.zeros(8, 8, dtype=torch.long)
    one[2:4, 2:4] = 5
    assert not weights.border(one).any()
    assert not weights.border(torch.zeros(4, 4, dtype=torch.long)).any()
    peaks = []
    for gap in (1, 2, 4, 8):
        line = torch.zeros(1, gap + 2, dtype=torch.long)
        line[0, 0], line[0, -1] = 1, 2
        peaks.append(weights.border(line, 10.0, 5.0).max().item())
        torch.testing.assert_close(weights.border(line, 20.0), 2 * weights.border(line, 10.0))
    assert peaks == sorted(peaks, reverse=True)
    assert peaks[3] == pytest.approx(10 * math.exp(-(9**2) / 50))


def test_a_gap_of_sigma_has_three_fifths_of_the_height() -> None:
    """d1 + d2 = sigma: exp(-1/2)."""
    line = torch.tensor([[1, 0, 0, 2]])
    assert weights.border(line, 1.0, 3.0).max().item() == pytest.approx(math.exp(-0.5))


def test_balanced_classes_weigh_the_same() -> None:
    """eq:unet-balance: equal sums for the classes that are there, and mean one."""
    labels = scattered(12, 15, seed=5, kinds=3)
    labels[labels == 2] = 0
    for classes in (4, 7):
        found = weights.balance(labels, classes)
        sums = [found[labels == k].sum().item() for k in (0, 1, 3)]
        assert sums == pytest.approx([60.0] * 3)
        assert found.mean().item() == pytest.approx(1.0)
    pair = torch.stack([labels, 0 * labels])  # together, not one by one
    share = (pair == 1).sum().item() / pair.numel()
    assert weights.balance(pair, 4)[0][labels == 1][0].item() == pytest.approx(1 / (3 * share))
    assert bool((weights.balance(torch.zeros(2, 2, dtype=torch.long)) == 1).all())


def test_the_map_is_balance_plus_border() -> None:
    """eq:unet-weight, pixel by pixel with the formula written out."""
    cells = scattered(8, 9, seed=8, kinds=3)
    each = [oracles.distances_by_pairs(cells == k) for k in (1, 2, 3)]
    first, second = torch.stack(each).sort(dim=0).values[:2]
    found = weights.weight_map(cells, height=6.0, sigma=2.5)
    share = (cells > 0).double().mean().item()
    for y in range(8):
        for x in range(9):
            if cells[y, x] > 0:
                expected = 1 / (2 * share)
            else:
                d = (first[y, x] + second[y, x]).item()
                expected = 1 / (2 * (1 - share)) + 6 * math.exp(-(d**2) / (2 * 2.5**2))
            assert found[y, x].item() == pytest.approx(expected)


def test_the_energy_is_a_sum_over_pixels_written_out() -> None:
    """eq:unet-energy: weight times minus the log of the softmax at the true class, a mean each."""
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 3, (2, 4, 5), generator=generator)
    importance = torch.rand(2, 4, 5, generator=generator, dtype=torch.float64) * 3
    found = weights.energy(logits, labels, importance)
    for i in range(2):
        total = 0.0
        for y in range(4):
            for x in range(5):
                exps = [math.exp(v) for v in logits[i, :, y, x].tolist()]
                p = exps[int(labels[i, y, x])] / sum(exps)
                total -= importance[i, y, x].item() * math.log(p)
        assert found[i].item() == pytest.approx(total / 20)
    assert found[0] != found[1]


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_refused() -> None:
    """Each error names the thing and the shapes or numbers."""
    cells = scattered(4, 5)
    with pytest.raises(ValueError, match=r"whole numbers \(height, width\), got torch.float32"):
        weights.two_nearest(cells.float())
    with pytest.raises(ValueError, match=r"got torch.int64 \(1, 4, 5\)"):
        weights.border(cells[None])
    with pytest.raises(ValueError, match="numbered from 0, the ground; got -3"):
        weights.border(torch.full((2, 2), -3))
    with pytest.raises(ValueError, match="sigma must be positive, got 0"):
        weights.border(cells, sigma=0)
    with pytest.raises(ValueError, match="between 0 and 1, got 0 to 4"):
        weights.balance(cells, 2)
    with pytest.raises(ValueError, match="between 0 and 1, got -1 to 0"):
        weights.balance(torch.tensor([[0, -1]]), 2)
    logits = torch.zeros(1, 2, 4, 5)
    with pytest.raises(ValueError, match=r"labels \(1, 5, 4\)"):
        weights.energy(logits, torch.zeros(1, 5, 4, dtype=torch.long), torch.ones(1, 4, 5))
    with pytest.raises(ValueError, match=r"weights \(4, 5\)"):
        weights.energy(logits, cells[None], torch.ones(4, 5))
    with pytest.raises(ValueError, match="not all between 0 and 1"):
        weights.energy(logits, cells[None], torch.ones(1, 4, 5))
