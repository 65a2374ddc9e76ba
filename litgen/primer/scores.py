"""How good a classifier is on examples that it was not trained on.

Chapter: book/primer/networks.md.  Proof: tests/primer/test_scores.py.
Reference: Guo, Pleiss, Sun & Weinberger, "On Calibration of Modern Neural Networks" (2017),
section 2, for the calibration error.
"""

import torch
from torch import Tensor

from litgen.primer import calibration
from litgen.primer.calibration import Reliability, calibration_error
from litgen.shapes import Float, Int

__all__ = ["Reliability", "accuracy", "calibration_error", "confusion", "reliability"]


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
    return calibration.confusion_matrix(logits.argmax(dim=-1), label, logits.shape[-1])


def reliability(
    label: Int[Tensor, " batch"], logits: Float[Tensor, "batch classes"], bins: int = 15
) -> Reliability:
    """Compare confidence and accuracy bin by bin. Implements eq:net-reliability.

    Bin i holds confidences in (i / bins, (i + 1) / bins].

    Raises:
        ValueError: no bins, no examples, other numbers of labels and of rows, or NaN.
    """
    _check(label, logits)
    return calibration.reliability(torch.softmax(logits, dim=-1), label, bins)


def _check(label: Tensor, logits: Tensor) -> None:
    if len(label) != len(logits) or len(label) == 0:
        raise ValueError(f"{len(label)} labels do not fit {len(logits)} rows of logits")
    if logits.isnan().any():  # argmax would call NaN the largest
        raise ValueError("the logits hold values that are not numbers")
