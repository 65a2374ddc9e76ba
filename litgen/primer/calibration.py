"""How good a classifier's answers and its probabilities are.

Chapter: book/primer/convolution.md.  Proof: tests/primer/test_calibration.py.
Reference: Guo, Pleiss, Sun & Weinberger, "On Calibration of Modern Neural Networks" (2017).
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from litgen.shapes import Float, Int

__all__ = [
    "Reliability",
    "calibration_error",
    "confusion_matrix",
    "expected_calibration_error",
    "fit_temperature",
    "reliability",
]


class Reliability(NamedTuple):
    """A reliability diagram: one entry a bin of confidence; empty bins hold zeros."""

    confidence: Float[Tensor, " bins"]
    accuracy: Float[Tensor, " bins"]
    images: Int[Tensor, " bins"]


def confusion_matrix(
    predicted: Int[Tensor, " images"], labels: Int[Tensor, " images"], classes: int
) -> Int[Tensor, "classes classes"]:
    """Count images by true class (row) and predicted class (column). eq:conv-confusion.

    Raises:
        ValueError: a class outside 0..classes-1.
    """
    for name, values in (("predicted", predicted), ("labels", labels)):
        if len(values) and not 0 <= int(values.min()) <= int(values.max()) < classes:
            raise ValueError(f"{name} lie outside the classes 0..{classes - 1}")
    pairs = labels.long() * classes + predicted.long()
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def reliability(
    probabilities: Float[Tensor, "images classes"], labels: Int[Tensor, " images"], bins: int = 10
) -> Reliability:
    """Return each bin's mean confidence, accuracy and images; bins of equal width, up to 1.

    A bin holds its upper edge and not its lower one.

    Raises:
        ValueError: no bins.
    """
    if bins < 1:
        raise ValueError(f"bins must be positive, got {bins}")
    confidence, predicted = probabilities.max(dim=1)
    where = (confidence * bins).ceil().long().sub(1).clamp(0, bins - 1)
    count = torch.bincount(where, minlength=bins)
    right = (predicted == labels).to(confidence.dtype)
    totals = [torch.zeros_like(confidence[:1].expand(bins)) for _ in range(2)]
    sums = [t.index_add(0, where, v) for t, v in zip(totals, (confidence, right), strict=True)]
    some = count.clamp_min(1)
    return Reliability(sums[0] / some, sums[1] / some, count)


def calibration_error(found: Reliability) -> Float[Tensor, ""]:
    """Return the mean distance of accuracy from confidence. Implements eq:net-ece."""
    distance = (found.accuracy - found.confidence).abs()
    return (found.images * distance).sum() / found.images.sum()


def expected_calibration_error(
    probabilities: Float[Tensor, "images classes"], labels: Int[Tensor, " images"], bins: int = 10
) -> float:
    """Return the mean distance between confidence and accuracy, bins weighed by their images.

    Implements eq:conv-ece.
    """
    return calibration_error(reliability(probabilities, labels, bins)).item()


def fit_temperature(
    logits: Float[Tensor, "images classes"], labels: Int[Tensor, " images"], steps: int = 60
) -> float:
    """Return the temperature that makes the softmax of logits / temperature likeliest.

    Implements eq:conv-temperature, by bisection: the cross-entropy is convex in 1 / temperature,
    which is looked for between 1/100 and 100.

    Raises:
        ValueError: no images.
    """
    if len(logits) == 0:
        raise ValueError("a temperature cannot be fitted to no images")
    low, high = -2.0, 2.0
    own = logits.gather(1, labels.long()[:, None]).squeeze(1)
    for _ in range(steps):
        middle = (low + high) / 2
        weights = F.softmax(logits * 10**middle, dim=1)
        slope = ((weights * logits).sum(dim=1) - own).mean().item()
        low, high = (low, middle) if slope > 0 else (middle, high)
    return float(10 ** -((low + high) / 2))
