"""How well a map of classes follows the outlines: boundary F1, and scores in a band around them.

Chapter: book/segmentation/segnet.md.  Proof: tests/segmentation/test_boundary.py.
References: Csurka, Larlus & Perronnin, "What is a good evaluation measure for semantic
segmentation?" (2013), for the F1; Kohli, Ladicky & Torr, "Robust Higher Order Potentials for
Enforcing Label Consistency" (2009), for the band.
"""

import torch
from torch import Tensor, nn

from litgen.shapes import Bool, Float, Int, UInt8

__all__ = ["band", "boundary_f1", "near", "outlines"]


def outlines(
    labels: Int[Tensor, "images height width"] | UInt8[Tensor, "images height width"], classes: int
) -> Bool[Tensor, "images classes height width"]:
    """Mark each class's pixels that touch another class: up, down, left or right.

    Implements eq:segnet-outline. The image's frame is no outline.
    """
    edge = torch.zeros_like(labels, dtype=torch.bool)
    for dim in (1, 2):
        count = labels.shape[dim] - 1
        differ = labels.narrow(dim, 0, count) != labels.narrow(dim, 1, count)
        edge.narrow(dim, 0, count).logical_or_(differ)
        edge.narrow(dim, 1, count).logical_or_(differ)
    own = labels[:, None] == torch.arange(classes, device=labels.device).view(-1, 1, 1)
    return own & edge[:, None]


def near(marks: Bool[Tensor, "*batch height width"], distance: float) -> Bool[Tensor, "..."]:
    """Mark the pixels that lie within a Euclidean distance of a mark, in pixels.

    Raises:
        ValueError: a negative distance.
    """
    if distance < 0:
        raise ValueError(f"a distance cannot be negative: {distance}")
    reach, (height, width) = int(distance), marks.shape[-2:]
    padded = nn.functional.pad(marks, (reach, reach, reach, reach))
    found = torch.zeros_like(marks)
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            if down**2 + right**2 <= distance**2:
                rows = padded.narrow(-2, reach + down, height)
                found |= rows.narrow(-1, reach + right, width)
    return found


def boundary_f1(
    truth: Int[Tensor, "images height width"] | UInt8[Tensor, "images height width"],
    predicted: Int[Tensor, "images height width"] | UInt8[Tensor, "images height width"],
    classes: int,
    distance: float = 1.0,
) -> Float[Tensor, " images"]:
    """Return each image's mean, over the classes with an outline there, of the outlines' F1.

    Implements eq:segnet-boundary-f1. An image without any true outline gives nan.

    Args:
        truth: the true classes.
        predicted: those that were found.
        classes: how many there are.
        distance: in pixels, up to which an outline counts as met.

    Raises:
        ValueError: maps of different size.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"the maps differ: {tuple(truth.shape)}, {tuple(predicted.shape)}")
    true, found = outlines(truth, classes), outlines(predicted, classes)
    right = (found & near(true, distance)).sum(dim=(2, 3))
    met = (true & near(found, distance)).sum(dim=(2, 3))
    precision = right / found.sum(dim=(2, 3)).clamp(min=1)
    recall = met / true.sum(dim=(2, 3))  # nan for a class without an outline
    f1 = 2 * precision * recall / (precision + recall).clamp(min=1e-12)
    return f1.nanmean(dim=1)


def band(
    truth: Int[Tensor, "images height width"] | UInt8[Tensor, "images height width"],
    classes: int,
    distance: float,
) -> Bool[Tensor, "images height width"]:
    """Mark the pixels within a distance of any true outline: where outlines are decided."""
    return near(outlines(truth, classes).any(dim=1), distance)
