"""Weights that give rare classes their say: median frequency balancing.

Chapter: book/segmentation/segnet.md.  Proof: tests/segmentation/test_balance.py.
References: Eigen & Fergus, "Predicting Depth, Surface Normals and Semantic Labels with a Common
Multi-Scale Convolutional Architecture" (2015), for the weights; Badrinarayanan, Kendall &
Cipolla (2017), section 3.2.

The paper's letters: f_c is the frequency of class c, alpha_c its weight.
"""

import torch
from torch import Tensor, nn

from litgen.shapes import Float, Int, UInt8

__all__ = ["balanced_cross_entropy", "frequencies", "median_weights"]


def frequencies(
    labels: Int[Tensor, "images height width"] | UInt8[Tensor, "images height width"], classes: int
) -> Float[Tensor, " classes"]:
    """Return each class's share of the pixels of those images that show it.

    Implements eq:segnet-frequency.

    Raises:
        ValueError: labels that are no class, or a class that no image shows.
    """
    flat = labels.flatten(1).long()
    if flat.numel() and not 0 <= int(flat.min()) <= int(flat.max()) < classes:
        raise ValueError(
            f"labels reach from {int(flat.min())} to {int(flat.max())}, classes are "
            f"0..{classes - 1}"
        )
    counts = torch.stack([(flat == c).sum(dim=1) for c in range(classes)], dim=1)
    shown = (counts > 0).sum(dim=0) * flat.shape[1]
    absent = (shown == 0).nonzero().flatten().tolist()
    if absent:
        raise ValueError(f"no image shows the classes {absent}: they have no frequency")
    return counts.sum(dim=0) / shown


def median_weights(frequency: Float[Tensor, " classes"]) -> Float[Tensor, " classes"]:
    """Return the median frequency over each class's own. Implements eq:segnet-weight.

    Of an even number of classes the median is the mean of the middle two.
    """
    return frequency.quantile(0.5) / frequency


def balanced_cross_entropy(
    logits: Float[Tensor, "images classes height width"],
    labels: Int[Tensor, "images height width"] | UInt8[Tensor, "images height width"],
    weights: Float[Tensor, " classes"],
) -> Float[Tensor, " images"]:
    """Return the weighted -log probability of the true classes, a mean over an image's pixels.

    Implements eq:segnet-loss, in nats, to be lowered. The sum of the weights does not divide it:
    an image of rare classes counts more.

    Raises:
        ValueError: labels of another size than the map, or weights of another number of classes.
    """
    if logits.shape[2:] != labels.shape[1:] or len(logits) != len(labels):
        raise ValueError(f"logits are {tuple(logits.shape)}, labels {tuple(labels.shape)}")
    if len(weights) != logits.shape[1]:
        raise ValueError(f"{len(weights)} weights for {logits.shape[1]} classes")
    each = nn.functional.cross_entropy(logits, labels.long(), weights, reduction="none")
    return each.flatten(1).mean(dim=1)
