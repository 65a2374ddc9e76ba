"""What a coarse map can know at best: true masks made coarse and enlarged again.

Chapter: book/segmentation/fcn.md.  Proof: tests/segmentation/test_ceiling.py.
Reference: Long, Shelhamer & Darrell, "Fully Convolutional Networks for Semantic Segmentation"
(2015), appendix A, upper bounds on IU.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from litgen.segmentation.upsampling import upsample
from litgen.shapes import Float, Int

__all__ = ["block_majority", "class_shares", "fitted_map", "interpolated", "subsampled"]


def class_shares(
    mask: Int[Tensor, "batch height width"], factor: int, classes: int
) -> Float[Tensor, "batch classes rows columns"]:
    """Return the share of each class in every block of ``factor`` by ``factor`` pixels.

    Implements eq:fcn-shares.

    Raises:
        ValueError: a size that is no multiple of the factor, or an unknown label.
    """
    if any(n % factor for n in mask.shape[1:]):
        raise ValueError(f"{tuple(mask.shape[1:])} pixels do not split into blocks of {factor}")
    if mask.min() < 0 or mask.max() >= classes:
        raise ValueError(f"labels must be 0..{classes - 1}, got {mask.min()}..{mask.max()}")
    return F.avg_pool2d(F.one_hot(mask.long(), classes).movedim(3, 1).float(), factor)


def block_majority(
    mask: Int[Tensor, "batch height width"], factor: int, classes: int
) -> Int[Tensor, "batch height width"]:
    """Give every block its most frequent class. Implements eq:fcn-ceiling.

    No map that is constant on blocks has a higher pixel accuracy. Ties go to the lower class.
    """
    return _enlarged(class_shares(mask, factor, classes).argmax(dim=1), factor)


def subsampled(
    mask: Int[Tensor, "batch height width"], factor: int
) -> Int[Tensor, "batch height width"]:
    """Give every block the class of the pixel in its middle, below and right of it if even."""
    return _enlarged(mask[:, factor // 2 :: factor, factor // 2 :: factor].long(), factor)


def interpolated(
    mask: Int[Tensor, "batch height width"], factor: int, classes: int
) -> Int[Tensor, "batch height width"]:
    """Enlarge the shares by tents, and take the largest: an FCN whose coarse map is perfect."""
    return upsample(class_shares(mask, factor, classes), factor).argmax(dim=1)


def fitted_map(
    mask: Int[Tensor, "batch height width"], factor: int, classes: int, steps: int = 60
) -> Float[Tensor, "batch classes rows columns"]:
    """Return coarse logits that were fitted to the masks themselves through the upsampling.

    It starts from the shares and lowers the pixels' cross-entropy with Adam; logits are free to
    overshoot, which shares are not. ``upsample`` enlarges it.
    """
    scores = (8 * class_shares(mask, factor, classes)).requires_grad_()
    optimizer = torch.optim.Adam([scores], lr=0.5)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(upsample(scores, factor), mask.long()).backward()
        optimizer.step()
    return scores.detach()


def _enlarged(
    blocks: Int[Tensor, "batch rows columns"], factor: int
) -> Int[Tensor, "batch height width"]:
    """Repeat every entry ``factor`` times in both directions."""
    return blocks.repeat_interleave(factor, dim=1).repeat_interleave(factor, dim=2)
