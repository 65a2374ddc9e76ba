"""The map that gives one set of images another set's mean and covariance, and what it removes.

Chapter: book/applications/medical.md.  Proof: tests/applications/test_translation.py.
References: Cohen, Luck & Honari, "Distribution Matching Losses Can Hallucinate Features in Medical
Image Translation" (2018), for the danger; Olkin & Pukelsheim, "The distance between two random
vectors with given dispersion matrices" (1982), for the map.

Of all maps that turn one Gaussian into another, the one that moves points least is linear. It is
the simplest translator that matches distributions, and it can be computed without training.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = ["Translator", "fit_translator", "kept_share", "root"]


class Translator(NamedTuple):
    """An affine map.

    Attributes:
        source: mean of the points it is made for.
        target: mean of what it makes of them.
        matrix: symmetric, positive; acts on deviations.
    """

    source: Float[Tensor, " dims"]
    target: Float[Tensor, " dims"]
    matrix: Float[Tensor, "dims dims"]

    def __call__(self, x: Float[Tensor, "*batch dims"]) -> Float[Tensor, "*batch dims"]:
        """Return translated points. Implements eq:med-translate."""
        return self.target + (x - self.source) @ self.matrix


def root(matrix: Float[Tensor, "dims dims"]) -> Float[Tensor, "dims dims"]:
    """Return the symmetric positive square root of a symmetric positive matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    scaled: Tensor = (vectors * values.clamp_min(0).sqrt()) @ vectors.mT
    return scaled


def fit_translator(
    a: Float[Tensor, "n dims"], b: Float[Tensor, "m others"], ridge: float = 0.0
) -> Translator:
    """Return the optimal map between Gaussians fitted to two unpaired sets: eq:med-monge.

    Args:
        a: points of the source.
        b: points of the target; nothing says which belongs to which.
        ridge: added to both variances of every coordinate, in squared units of the points; more
            than 0 where there are fewer points than dimensions.

    Raises:
        ValueError: sets of different dimensions or with fewer than two points.
    """
    if a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"two sets of points, got {tuple(a.shape)} and {tuple(b.shape)}")
    noise = ridge * torch.eye(a.shape[1], dtype=a.dtype, device=a.device)
    first, second = (torch.cov(x.mT) + noise for x in (a, b))
    half = root(first)
    inverse = torch.linalg.inv(half)
    matrix = inverse @ root(half @ second @ half) @ inverse
    return Translator(a.mean(dim=0), b.mean(dim=0), (matrix + matrix.mT) / 2)


def kept_share(probability: float, contrast: float, noise: float) -> float:
    """Return how much of a feature's contrast is left where the target lacks it: eq:med-kept.

    One direction: its deviation is the contrast with the given probability, else nothing, plus
    noise; the target has the noise alone.

    Args:
        probability: of the feature in the source.
        contrast: of the feature.
        noise: standard deviation of everything else in this direction.

    Raises:
        ValueError: a probability outside [0, 1], or noise that is not positive.
    """
    if not 0 <= probability <= 1 or noise <= 0:
        raise ValueError(f"a probability and positive noise, got {probability} and {noise}")
    variance = probability * (1 - probability) * contrast**2
    return float(noise / (variance + noise**2) ** 0.5)
