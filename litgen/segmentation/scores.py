"""How well a map of classes agrees with the truth: the four scores of dense prediction.

Chapter: book/segmentation/fcn.md.  Proof: tests/segmentation/test_scores.py.
Reference: Long, Shelhamer & Darrell, "Fully Convolutional Networks for Semantic Segmentation"
(2015), section 5.

All four are computed from counts, which may be added up over batches first: a score of a data set
is not the mean of the scores of its images.
"""

import torch
from torch import Tensor

from litgen.shapes import Float, Int, UInt8

__all__ = [
    "class_accuracies",
    "class_ious",
    "confusion",
    "frequency_weighted_iou",
    "mean_accuracy",
    "mean_iou",
    "pixel_accuracy",
]


def confusion(
    truth: Int[Tensor, "..."] | UInt8[Tensor, "..."],
    predicted: Int[Tensor, "..."] | UInt8[Tensor, "..."],
    classes: int,
    ignored: int | None = None,
) -> Int[Tensor, "classes classes"]:
    """Count pixels of class i (row) that were called j (column). Implements eq:seg-confusion.

    Args:
        truth: classes 0..classes - 1, of any shape.
        predicted: as many, of the same shape.
        classes: how many there are.
        ignored: a label of the truth whose pixels do not count, such as 255 for "void".

    Raises:
        ValueError: maps of different size, labels that are no class, or no pixel that counts.
    """
    if truth.shape != predicted.shape:
        raise ValueError(
            f"the true map has shape {tuple(truth.shape)}, the predicted one "
            f"{tuple(predicted.shape)}"
        )
    if classes < 1:
        raise ValueError(f"there must be at least one class, got {classes}")
    truth, predicted = truth.reshape(-1).long(), predicted.reshape(-1).long()
    if ignored is not None:
        counted = truth != ignored
        truth, predicted = truth[counted], predicted[counted]
    if not len(truth):
        raise ValueError("no pixel counts: the maps are empty, or all of them is ignored")
    for name, labels in (("true", truth), ("predicted", predicted)):
        unknown = labels[(labels < 0) | (labels >= classes)].unique().tolist()
        if unknown:
            raise ValueError(f"the {name} map has labels {unknown[:5]} outside 0..{classes - 1}")
    counts = torch.bincount(truth * classes + predicted, minlength=classes**2)
    return counts.view(classes, classes)


def pixel_accuracy(counts: Int[Tensor, "classes classes"]) -> float:
    """Return the share of pixels whose class is right. Implements eq:seg-pixel-accuracy."""
    return (counts.diagonal().sum() / counts.sum()).item()


def class_accuracies(counts: Int[Tensor, "classes classes"]) -> Float[Tensor, " classes"]:
    """Return each class's share of pixels found; nan for a class that the truth lacks."""
    return counts.diagonal() / counts.sum(dim=1)


def mean_accuracy(counts: Int[Tensor, "classes classes"]) -> float:
    """Return the mean over classes that the truth has. Implements eq:seg-mean-accuracy."""
    return class_accuracies(counts).nanmean().item()


def class_ious(counts: Int[Tensor, "classes classes"]) -> Float[Tensor, " classes"]:
    """Return each class's intersection over union. Implements eq:seg-iou.

    A class that neither map has gives nan; one that only the prediction has gives 0.
    """
    right = counts.diagonal()
    return right / (counts.sum(dim=0) + counts.sum(dim=1) - right)


def mean_iou(counts: Int[Tensor, "classes classes"]) -> float:
    """Return the mean over classes that either map has. Implements eq:seg-mean-iou."""
    return class_ious(counts).nanmean().item()


def frequency_weighted_iou(counts: Int[Tensor, "classes classes"]) -> float:
    """Return the mean weighted by the classes' pixels. Implements eq:seg-weighted-iou."""
    return (class_ious(counts).nan_to_num() * counts.sum(dim=1) / counts.sum()).sum().item()
