"""Solutions of the exercises of book/segmentation/fcn.md, and their proof."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from litgen.segmentation import scores, sliding
from litgen.segmentation.fcn import SIDE, classifier
from litgen.segmentation.upsampling import bilinear_kernel, margin, upsample


def normalised(x: Tensor, factor: int) -> Tensor:
    """Divide by the sum of the tents that reach a pixel: interpolation up to the border."""
    return upsample(x, factor) / upsample(torch.ones_like(x[:1, :1]), factor)


@pytest.mark.parametrize("factor", [2, 3, 8])
def test_normalised_tents_interpolate_everywhere(factor: int) -> None:
    """Equal to torch's interpolation, border included."""
    x = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).double()
    expected = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    torch.testing.assert_close(normalised(x, factor), expected, rtol=0, atol=1e-13)


def shift_and_stitch(net: Callable[[Tensor], Tensor], x: Tensor, stride: int) -> Tensor:
    """Run a coarse network once for every shift below its stride, and interlace what it says."""
    rows = [
        torch.stack([net(x[:, :, i:, j:]) for j in range(stride)], dim=-1) for i in range(stride)
    ]
    every = torch.stack(rows, dim=-3)  # batch, classes, rows, shift down, columns, shift right
    return every.flatten(4, 5).flatten(2, 3)


def test_shift_and_stitch_is_the_classifier_at_every_pixel() -> None:
    """All windows, one pixel apart: the same as asking about each of them."""
    torch.manual_seed(0)
    named = classifier((2, 2, 2), 3, 3).double().eval().requires_grad_(False)
    x = torch.randn(1, 3, SIDE + 31, SIDE + 31).double()
    net = sliding.convolutionalized(named, SIDE)
    found = shift_and_stitch(net, x, 16)
    corner = x[:, :, : SIDE + 19, : SIDE + 2]
    expected = sliding.slide(named, corner, SIDE, 1)
    assert found.shape == (1, 3, 32, 32)
    torch.testing.assert_close(found[:, :, :20, :3], expected, rtol=0, atol=1e-12)


def work_ratio(net: nn.Sequential, side: int, windows: int) -> float:
    """Return how many times more windows one by one multiply than one pass over them all."""
    whole = sliding.convolutionalized(net, side)
    stride = int(sliding.grid_after(whole).jump)
    size = side + stride * (windows - 1)
    alone = sliding.multiplications(net, side, side) * windows**2
    return alone / sliding.multiplications(whole, size, size)


def test_the_work_ratio_grows_from_one() -> None:
    """One window is one pass; the limit is each layer's own overlap, below (46 / 16)^2."""
    net = classifier((16, 32, 64), 128, 5)
    ratios = [work_ratio(net, SIDE, n) for n in (1, 2, 4, 16, 64)]
    assert ratios[0] == 1
    assert ratios == sorted(ratios)
    assert 4 < ratios[-1] < (SIDE / 16) ** 2


def random_kernel_of_constants(factor: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw a kernel that keeps constants: every pixel's taps are shares that add up to one."""
    taps = len(bilinear_kernel(factor))
    kernel = torch.rand(taps, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for r in range(factor):
        kernel[r::factor] /= kernel[r::factor].sum()
    x = torch.arange(6, dtype=torch.float64)[None, None]
    ramp = F.conv_transpose1d(x, kernel[None, None], stride=factor, padding=margin(factor))
    return kernel, ramp[0, 0]


def test_constants_are_kept_by_many_kernels_and_ramps_by_one() -> None:
    """A random kernel that keeps constants bends a ramp; the tent keeps both."""
    kernel, ramp = random_kernel_of_constants(4, 0)
    ones = F.conv_transpose1d(
        torch.ones(1, 1, 6, dtype=torch.float64), kernel[None, None], stride=4, padding=2
    )[0, 0]
    torch.testing.assert_close(ones[2:-2], torch.ones(20, dtype=torch.float64))
    assert (ramp[2:-2].diff() - 0.25).abs().max() > 0.05
    straight = upsample(torch.arange(6, dtype=torch.float64).expand(1, 1, 6, 6), 4)[0, 0, 8]
    torch.testing.assert_close(straight[2:-2].diff(), torch.full((19,), 0.25).double())


def gain_of_a_blank_class(counts: Tensor, absent: float) -> float:
    """Return the mean IoU when a class that neither map has is counted as ``absent``."""
    return scores.class_ious(counts).nan_to_num(absent).mean().item()


def test_an_absent_class_is_worth_what_convention_says() -> None:
    """Four classes, one in neither map: three answers from the same counts."""
    counts = torch.tensor([[8, 2, 0, 0], [1, 5, 0, 0], [0, 1, 3, 0], [0, 0, 0, 0]])
    ious = [8 / 11, 5 / 9, 3 / 4]
    assert scores.mean_iou(counts) == pytest.approx(sum(ious) / 3)
    assert gain_of_a_blank_class(counts, 0) == pytest.approx(sum(ious) / 4)
    assert gain_of_a_blank_class(counts, 1) == pytest.approx((sum(ious) + 1) / 4)
