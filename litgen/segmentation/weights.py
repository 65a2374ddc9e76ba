"""How much each pixel counts: classes in balance, and the ground between two cells above all.

Chapter: book/segmentation/unet.md.  Proof: tests/segmentation/test_weights.py.
Reference: Ronneberger, Fischer & Brox (2015), section 3; the exact distances are those of
Felzenszwalb & Huttenlocher (2012), computed without their linear-time envelope.

    paper       here
    d1, d2      two_nearest: distance to the nearest and to the second nearest cell, in pixels
    w_c         balance
    w_0, sigma  height, sigma
    w           weight_map
    E           energy, a mean over pixels where the paper's is a sum
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from litgen.shapes import Bool, Float, Int

__all__ = ["balance", "border", "distances", "energy", "two_nearest", "weight_map"]


def distances(inside: Bool[Tensor, "*batch height width"]) -> Float[Tensor, "*batch height width"]:
    """Return each pixel's distance to the nearest pixel of a set, between middles, in pixels.

    Zero in the set; infinite everywhere where the set is empty. Exact: the square of the distance
    is a minimum over rows of a minimum over columns. Implements eq:unet-distance.
    """
    far = torch.tensor(torch.inf)  # whole numbers in single precision: exact to sides of 2,048
    cost = torch.where(inside, far.new_zeros(()), far)
    height, width = inside.shape[-2:]
    within_rows = _lowest(cost, _squares(width))
    squared = _lowest(within_rows.mT.contiguous(), _squares(height)).mT
    return squared.contiguous().double().sqrt()


def _squares(count: int) -> Float[Tensor, "count count"]:
    """Return the squared distances of pixels on a line."""
    axis = torch.arange(count, dtype=torch.float32)
    return (axis[:, None] - axis).square()


def _lowest(
    cost: Float[Tensor, "*batch lines count"], squares: Float[Tensor, "count count"]
) -> Float[Tensor, "*batch lines count"]:
    """Return for each place on a line the lowest sum of a cost and a squared distance."""
    lines = cost.flatten(0, -2).split(512)  # what lies in memory at once
    found = [(part[:, None, :] + squares).amin(dim=-1) for part in lines]
    return torch.cat(found).reshape(cost.shape)


def two_nearest(
    cells: Int[Tensor, "height width"],
) -> tuple[Float[Tensor, "height width"], Float[Tensor, "height width"]]:
    """Return the distances to the nearest and to the second nearest cell; infinite without one.

    Args:
        cells: 0 for the ground, any other whole number for a cell.

    Raises:
        ValueError: cells of another shape, or numbers that are not whole or are negative.
    """
    check_cells(cells)
    labels = cells.unique()
    first = second = torch.full(cells.shape, torch.inf, dtype=torch.float64)
    for label in labels[labels > 0]:
        each = distances(cells == label)
        second = torch.minimum(second, torch.maximum(first, each))
        first = torch.minimum(first, each)
    return first, second


def check_cells(cells: Tensor) -> None:
    """Raise ValueError unless these are whole numbers from 0 on, one a pixel."""
    if cells.ndim != 2 or cells.is_floating_point() or cells.is_complex():
        raise ValueError(
            f"cells are whole numbers (height, width), got {cells.dtype} {tuple(cells.shape)}"
        )
    if cells.numel() and int(cells.min()) < 0:
        raise ValueError(f"cells are numbered from 0, the ground; got {int(cells.min())}")


def border(
    cells: Int[Tensor, "height width"], height: float = 10.0, sigma: float = 5.0
) -> Float[Tensor, "height width"]:
    """Return the weight of the ground between two cells, zero in cells: eq:unet-border.

    Args:
        cells: 0 for the ground, any other whole number for a cell; none touches another.
        height: of the weight where two cells meet.
        sigma: in pixels; a gap of this width in all has 0.61 of the height.

    Raises:
        ValueError: sigma is not positive, or cells are not whole numbers of two dimensions.
    """
    if sigma <= 0:
        raise ValueError(f"sigma must be positive, got {sigma}")
    first, second = two_nearest(cells)
    near = height * torch.exp(-(first + second).square() / (2 * sigma**2))
    return torch.where(cells > 0, near.new_zeros(()), near)


def balance(
    labels: Int[Tensor, "*batch height width"], classes: int = 2
) -> Float[Tensor, "*batch height width"]:
    """Return weights that give every class that is there the same sum: eq:unet-balance.

    Their mean is 1. Over a batch, frequencies are those of all its images together.

    Raises:
        ValueError: a label that is no class.
    """
    if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(
            f"labels lie between 0 and {classes - 1}, got {int(labels.min())} to "
            f"{int(labels.max())}"
        )
    counts = torch.bincount(labels.flatten().long(), minlength=classes).double()
    there = (counts > 0).sum()
    return (labels.numel() / (there * counts.clamp(min=1)))[labels.long()]


def weight_map(
    cells: Int[Tensor, "height width"], height: float = 10.0, sigma: float = 5.0
) -> Float[Tensor, "height width"]:
    """Return balance of ground and cells plus the weight of borders. Implements eq:unet-weight."""
    return balance((cells > 0).long()) + border(cells, height, sigma)


def energy(
    logits: Float[Tensor, "batch classes height width"],
    labels: Int[Tensor, "batch height width"],
    weights: Float[Tensor, "batch height width"],
) -> Float[Tensor, " batch"]:
    """Return the weighted cross-entropy of each image, to be lowered, in nats a pixel.

    A mean over pixels, not divided by the sum of the weights. Implements eq:unet-energy.

    Raises:
        ValueError: labels or weights of another size than the logits, or a label without a logit.
    """
    size = (len(logits), *logits.shape[2:])
    if labels.shape != size or weights.shape != size:
        raise ValueError(
            f"logits are {tuple(logits.shape)}, labels {tuple(labels.shape)}, weights "
            f"{tuple(weights.shape)}: sizes differ"
        )
    if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < logits.shape[1]:
        raise ValueError(f"labels are not all between 0 and {logits.shape[1] - 1}")
    nats = F.cross_entropy(logits, labels.long(), reduction="none")
    return (weights * nats).mean(dim=(1, 2))
