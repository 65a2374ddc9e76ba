"""Solutions of the exercises in book/segmentation/segnet.md, and what shows that they hold."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from litgen.segmentation import unpooling


def edge_from(column: int, side: int = 8) -> tuple[Tensor, Tensor]:
    """Return the pooled map and the slots of an image that is 1 from this column on."""
    x = (torch.arange(side) >= column).float().expand(1, 1, side, side)
    maxima, places = unpooling.pool(x)
    return maxima, unpooling.slots_of(places, side)


def spread_by_the_corner(y: Tensor, kernel: Tensor) -> Tensor:
    """Return unpooling to upper left corners and a 3x3 convolution, as one transposed layer."""
    turned = kernel.flip(2, 3).transpose(0, 1)
    return nn.functional.conv_transpose2d(y, turned, stride=2, padding=1, output_padding=1)


def overlaps(x: Tensor, window: int, stride: int) -> Tensor:
    """Return S S' of max pooling on a line, whose windows may share pixels."""
    places = nn.functional.max_pool1d(x, window, stride, return_indices=True)[1].flatten()
    selection = torch.eye(x.shape[-1])[places]
    return selection @ selection.T


def best_rule(joint: Tensor, balanced: bool) -> Tensor:
    """Return for each x the class to name, given p(x, c): for most pixels, or for most of each."""
    return (joint / joint.sum(dim=0) if balanced else joint).argmax(dim=1)


def slot_entropy(slots: Tensor) -> float:
    """Return the entropy of slots in bits: what an index takes on average, coded well."""
    share = torch.bincount(slots.flatten().long()).double() / slots.numel()
    return -(share * share.clamp(min=1e-300).log2()).sum().item()


def test_an_edge_moved_inside_a_window_is_told_by_its_slots() -> None:
    """Equal pooled maps, unlike slots; a window farther both differ."""
    even, odd = edge_from(4), edge_from(5)
    assert torch.equal(even[0], odd[0])
    assert even[1][0, 0, :, 2].tolist() == [0] * 4
    assert odd[1][0, 0, :, 2].tolist() == [1] * 4
    assert not torch.equal(even[0], edge_from(6)[0])


def test_a_fixed_corner_and_a_convolution_are_a_transposed_convolution() -> None:
    """The judge writes the zeros out."""
    draw = torch.Generator().manual_seed(1)
    y = torch.randn(2, 3, 4, 5, generator=draw, dtype=torch.float64)
    kernel = torch.randn(4, 3, 3, 3, generator=draw, dtype=torch.float64)
    sparse = torch.zeros(2, 3, 8, 10, dtype=torch.float64)
    sparse[:, :, ::2, ::2] = y
    expected = nn.functional.conv2d(sparse, kernel, padding=1)
    torch.testing.assert_close(spread_by_the_corner(y, kernel), expected)
    corner = torch.zeros(y.shape, dtype=torch.uint8)
    again = unpooling.unpool(y, unpooling.places_of(corner, 10), (8, 10))
    assert torch.equal(again, sparse)


def test_windows_that_share_pixels_share_maxima() -> None:
    """Off the diagonal S S' is 1 where two windows have one maximum; apart it is the identity."""
    x = torch.tensor([[[0.0, 1, 5, 2, 0]]])
    assert overlaps(x, 3, 2).tolist() == [[1, 1], [1, 1]]
    assert torch.equal(overlaps(x[..., :4], 2, 2), torch.eye(2))


def test_the_balanced_rule_maximises_the_mean_accuracy() -> None:
    """eq:segnet-best-rule: against all 81 rules on four values of x and three classes."""
    draw = torch.Generator().manual_seed(5)
    differ = 0
    for _ in range(20):
        joint = torch.rand(4, 3, generator=draw) ** 3 * torch.tensor([8.0, 2.0, 0.5])
        joint /= joint.sum()

        def accuracies(rule: tuple[int, ...], joint: Tensor = joint) -> tuple[float, float]:
            right = torch.zeros(3)
            for x, c in enumerate(rule):
                right[c] += joint[x, c]
            return right.sum().item(), (right / joint.sum(dim=0)).mean().item()

        rules = [accuracies(rule) for rule in itertools.product(range(3), repeat=4)]
        plain, fair = (tuple(best_rule(joint, b).tolist()) for b in (False, True))
        assert accuracies(plain)[0] == pytest.approx(max(r[0] for r in rules))
        assert accuracies(fair)[1] == pytest.approx(max(r[1] for r in rules))
        differ += plain != fair
    assert differ > 5


def test_slots_take_two_bits_at_most() -> None:
    """All alike: none; all four equally often: two; in between by hand."""
    assert slot_entropy(torch.arange(8) % 4) == pytest.approx(2)
    assert slot_entropy(torch.zeros(8)) == pytest.approx(0)
    expected = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    assert slot_entropy(torch.tensor([3, 3, 3, 1])) == pytest.approx(expected)
