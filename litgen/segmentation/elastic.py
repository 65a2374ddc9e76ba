"""Bend an image and its mask alike: random vectors on a coarse grid, smooth in between.

Chapter: book/segmentation/unet.md.  Proof: tests/segmentation/test_elastic.py.
Reference: Ronneberger, Fischer & Brox (2015), section 3.1; Keys (1981) for the cubic.

A field says for each pixel of the result how far away its value is taken from: down first, then
right, in pixels. What lies outside is mirrored at the outermost pixels.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from litgen.shapes import Float, Int

__all__ = ["deform", "field", "warp", "warp_labels"]


def field(
    vectors: Float[Tensor, "batch 2 rows columns"], height: int, width: int
) -> Float[Tensor, "batch 2 height width"]:
    """Return a displacement for each pixel from vectors on a coarse grid: eq:unet-field.

    The grid's corners lie on those of the image. Between them cubic convolution, with Keys's
    parameter -0.75 as in PyTorch; the outermost vectors go on beyond the border.

    Args:
        vectors: down and right, in pixels; the paper draws 3 by 3 of them, standard deviation 10.
        height: of the image, in pixels.
        width: of the image, in pixels.

    Raises:
        ValueError: vectors of another shape.
    """
    if vectors.ndim != 4 or vectors.shape[1] != 2:
        raise ValueError(f"vectors are (batch, 2, rows, columns), got {tuple(vectors.shape)}")
    size = (height, width)
    return F.interpolate(vectors, size, mode="bicubic", align_corners=True)


def warp(
    images: Float[Tensor, "batch channels height width"],
    displaced: Float[Tensor, "batch 2 height width"],
) -> Float[Tensor, "batch channels height width"]:
    """Take each value from where the field points, mixed of four neighbours: eq:unet-warp.

    Raises:
        ValueError: images and field of different size.
    """
    return _sampled(images, displaced, "bilinear")


def warp_labels(
    labels: Int[Tensor, "batch height width"], displaced: Float[Tensor, "batch 2 height width"]
) -> Int[Tensor, "batch height width"]:
    """Take each label from the pixel that the field points nearest to; labels are never mixed.

    Raises:
        ValueError: labels and field of different size, or labels above 2^24, which single
            precision cannot tell apart.
    """
    if labels.numel() and int(labels.max()) > 2**24:
        raise ValueError(f"labels may not exceed {2**24}, got {int(labels.max())}")
    moved = _sampled(labels[:, None].to(displaced.dtype), displaced, "nearest")
    return moved[:, 0].round().to(labels.dtype)


def deform(
    images: Float[Tensor, "batch channels height width"],
    labels: Int[Tensor, "batch height width"],
    vectors: Float[Tensor, "batch 2 rows columns"],
) -> tuple[Float[Tensor, "batch channels height width"], Int[Tensor, "batch height width"]]:
    """Bend images and their labels by the same field.

    Raises:
        ValueError: images, labels and vectors that do not belong together.
    """
    if images.shape[0] != len(labels) or images.shape[2:] != labels.shape[1:]:
        raise ValueError(f"images are {tuple(images.shape)}, labels {tuple(labels.shape)}")
    displaced = field(vectors, images.shape[2], images.shape[3])
    return warp(images, displaced), warp_labels(labels, displaced)


def _sampled(values: Tensor, displaced: Tensor, mode: Literal["bilinear", "nearest"]) -> Tensor:
    """Read values at displaced places."""
    height, width = values.shape[2:]
    if displaced.shape != (len(values), 2, height, width):
        raise ValueError(f"values are {tuple(values.shape)}, the field {tuple(displaced.shape)}")
    down = torch.arange(height, dtype=displaced.dtype, device=displaced.device)[:, None]
    right = torch.arange(width, dtype=displaced.dtype, device=displaced.device)
    y, x = down + displaced[:, 0], right + displaced[:, 1]
    # grid_sample counts from -1, the first pixel's middle, to 1, the last one's
    scale = torch.tensor([max(width - 1, 1), max(height - 1, 1)]).to(displaced)
    places = 2 * torch.stack([x, y], dim=-1) / scale - 1
    return F.grid_sample(values, places, mode, padding_mode="reflection", align_corners=True)
