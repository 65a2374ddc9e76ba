"""Describe images by the book's own classifier, and compare two sets in that description.

Chapter: book/evaluation/metrics.md.  Proof: tests/evaluation/test_features.py.
References: Heusel et al. (2017), for the distance; Kynkaanniemi et al. (2019) and Naeem et al.
(2020), for the shares.

The literature's numbers are taken in features of the Inception network, which knows photographs.
These are taken in the 128 features of `litgen.classifier.Classifier`, trained on the very digits
or clothes: numbers compare inside the book, and never with the literature's.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from litgen.classifier import SIDE, Classifier
from litgen.evaluation import manifolds
from litgen.evaluation.frechet import frechet_distance
from litgen.evaluation.inception_score import inception_score
from litgen.evaluation.kernel import kernel_distance
from litgen.shapes import Float

__all__ = ["Described", "Judgement", "describe", "judge"]


class Described(NamedTuple):
    """A set of images as a classifier sees them.

    Attributes:
        features: what the last layer sees.
        logits: what it says.
    """

    features: Float[Tensor, "images 128"]
    logits: Float[Tensor, "images classes"]


class Judgement(NamedTuple):
    """Samples against data, in the features of one classifier.

    Attributes:
        frechet: squared Fréchet distance of the features.
        kernel: squared kernel distance of the features.
        score: exp of the mean divergence of p(y|x) from p(y), by this classifier.
        precision: share of samples near data.
        recall: share of data near samples.
        density: data's balls around a sample, over k.
        coverage: share of data with a sample in their own ball.
    """

    frechet: float
    kernel: float
    score: float
    precision: float
    recall: float
    density: float
    coverage: float


@torch.no_grad()
def describe(
    classifier: Classifier, images: Float[Tensor, "images 1 28 28"], batch_size: int = 500
) -> Described:
    """Return features and logits of images with grey values in [0, 1].

    Raises:
        ValueError: another shape; values outside [0, 1] or not finite; no images; a classifier in
            training mode, whose features depend on the images beside.
    """
    if images.shape[1:] != (1, SIDE, SIDE) or not len(images):
        raise ValueError(f"images of shape (1, {SIDE}, {SIDE}), got {tuple(images.shape)}")
    low, high = images.aminmax()
    if not (low >= 0 and high <= 1):
        raise ValueError(f"grey values must be in [0, 1], got {low:.3g} to {high:.3g}")
    if classifier.training:
        raise ValueError("the classifier is in training mode: call eval()")
    features = torch.cat([classifier.features(part) for part in images.split(batch_size)])
    return Described(features, classifier.head(features))


def judge(data: Described, samples: Described, k: int = 5) -> Judgement:
    """Return all metrics of samples against data, equally many of both.

    Raises:
        ValueError: sets of different sizes, since the Fréchet distance would not compare.
    """
    if data.features.shape != samples.features.shape:
        shapes = [tuple(part.features.shape) for part in (data, samples)]
        raise ValueError(f"as many data as samples are needed, got {shapes[0]} and {shapes[1]}")
    shares = manifolds.compare(data.features, samples.features, k)
    return Judgement(
        frechet=frechet_distance(data.features, samples.features).item(),
        kernel=kernel_distance(data.features, samples.features).item(),
        score=inception_score(samples.logits).item(),
        **shares._asdict(),
    )
