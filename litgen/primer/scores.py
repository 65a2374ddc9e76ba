"""How good a classifier is on examples that it was not trained on.

Chapter: book/primer/networks.md.  Proof: tests/primer/test_scores.py.
Reference: Guo, Pleiss, Sun & Weinberger, "On Calibration of Modern Neural Networks" (2017),
section 2, for the calibration error.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from litgen.shapes import Float, Int

__all__ = ["Reliability", "accuracy", "calibration_error", "confusion", "reliability"]


class Reliability(NamedTuple):
    """What a classifier promises and what it keeps, in bins of equal width of its confidence.

    Attributes:
        examples: in each bin, as a floating number.
        confidence: mean probability of the class that was said; 0 in an empty bin.
        accuracy: part of them that was right; 0 in an empty bin.
    """

    examples: Float[Tensor, " bins"]
    confidence: Float[Tensor, " bins"]
    accuracy: Float[Tensor, " bins"]


def accuracy(
    label: Int[Tensor, " batch"], logits: Float[Tensor, "batch classes"]
) -> Float[Tensor, ""]:
    """Return the part of examples whose largest logit is the label's. Implements eq:net-accuracy.

    Raises:
        ValueError: no examples, other numbers of labels and of rows, or logits that are NaN.
    """
    _check(label, logits)
    return (logits.argmax(dim=-1) == label).float().mean()


def confusion(
    label: Int[Tensor, " batch"], logits: Float[Tensor, "batch classes"]
) -> Int[Tensor, "classes classes"]:
    """Return how often each class (row) was said to be each class (column).

    Raises:
        ValueError: no examples, other numbers of labels and of rows, or logits that are NaN.
    """
    _check(label, logits)
    classes = logits.shape[-1]
    pairs = classes * label.long() + logits.argmax(dim=-1)
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def reliability(
    label: Int[Tensor, " batch"], logits: Float[Tensor, "batch classes"], bins: int = 15
) -> Reliability:
    """Compare confidence and accuracy bin by bin. Implements eq:net-reliability.

    Bin i holds confidences in (i / bins, (i + 1) / bins].

    Raises:
        ValueError: no bins, no examples, other numbers of labels and of rows, or NaN.
    """
    _check(label, logits)
    if bins < 1:
        raise ValueError(f"the number of bins must be positive, got {bins}")
    confidence, said = torch.softmax(logits, dim=-1).max(dim=-1)
    where = (confidence * bins).ceil().long().sub(1).clamp(0, bins - 1)
    count = torch.bincount(where, minlength=bins).to(confidence)
    sums = [
        torch.zeros_like(count).index_add(0, where, values)
        for values in (confidence, (said == label).to(confidence))
    ]
    return Reliability(count, *(total / count.clamp(min=1) for total in sums))


def calibration_error(found: Reliability) -> Float[Tensor, ""]:
    """Return the mean distance of accuracy from confidence. Implements eq:net-ece."""
    distance = (found.accuracy - found.confidence).abs()
    return (found.examples * distance).sum() / found.examples.sum()


def _check(label: Tensor, logits: Tensor) -> None:
    if len(label) != len(logits) or len(label) == 0:
        raise ValueError(f"{len(label)} labels do not fit {len(logits)} rows of logits")
    if logits.isnan().any():  # argmax would call NaN the largest
        raise ValueError("the logits hold values that are not numbers")
