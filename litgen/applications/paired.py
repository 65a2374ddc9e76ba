"""Whether two ways of training differ, judged by a few seeds that both were given.

Chapter: book/applications/medical.md.  Proof: tests/applications/test_paired.py.
References: Student, "The probable error of a mean" (1908); Fisher, "The Design of Experiments"
(1935), for flipping signs.
"""

import itertools
import math
from typing import NamedTuple

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = ["Interval", "paired_interval", "sign_flip_p", "smallest_p", "student_quantile"]


class Interval(NamedTuple):
    """Where a mean difference lies.

    Attributes:
        mean: of the differences.
        low: lower end.
        high: upper end.
    """

    mean: float
    low: float
    high: float

    def apart_from_zero(self) -> bool:
        """Return whether zero lies outside."""
        return self.low > 0 or self.high < 0


def student_quantile(probability: float, freedom: int) -> float:
    """Return the t below which a Student variable lies with a probability: eq:med-student.

    With t = sqrt(freedom) tan(angle) the density is proportional to cos(angle)^(freedom - 1); its
    integral is inverted on a table of angles.

    Raises:
        ValueError: a probability outside (0, 1), or no freedom.
    """
    if not 0 < probability < 1 or freedom < 1:
        raise ValueError(f"a probability in (0, 1) and freedom, got {probability} and {freedom}")
    angle = torch.linspace(-math.pi / 2, math.pi / 2, 200_001, dtype=torch.float64)
    below = torch.cumulative_trapezoid(angle.cos().clamp_min(0) ** (freedom - 1), angle)
    wanted = probability * below[-1]
    i = int(torch.searchsorted(below, wanted))  # below[i] is the integral up to angle[i + 1]
    start = below[i - 1] if i else torch.zeros_like(wanted)
    found = angle[i] + (angle[i + 1] - angle[i]) * (wanted - start) / (below[i] - start)
    return math.sqrt(freedom) * math.tan(found.item())


def paired_interval(
    differences: Float[Tensor, " seeds"], confidence: float = 0.95, comparisons: int = 1
) -> Interval:
    """Return Student's interval of the mean difference: eq:med-interval.

    Args:
        differences: of the scores of two ways, one a seed; the seed chose data and first weights
            of both.
        confidence: that all of the comparisons' intervals hold at once.
        comparisons: looked at together; the allowed error is divided among them (Bonferroni),
            eq:med-bonferroni.

    Raises:
        ValueError: fewer than two differences, or no comparison.
    """
    count = len(differences)
    if count < 2 or comparisons < 1:
        raise ValueError(f"at least 2 differences and 1 comparison, got {count}, {comparisons}")
    values = differences.double()
    mean, error = values.mean().item(), values.std().item() / math.sqrt(count)
    half = error * student_quantile(1 - (1 - confidence) / (2 * comparisons), count - 1)
    return Interval(mean, mean - half, mean + half)


def sign_flip_p(differences: Float[Tensor, " seeds"]) -> float:
    """Return the exact two-sided p-value by flipping signs: eq:med-flips.

    If both ways were alike, every difference might as well have the other sign: the share of all
    sign patterns whose mean is at least as far from zero as the one that was found.

    Raises:
        ValueError: no differences, or more than twenty.
    """
    count = len(differences)
    if not 1 <= count <= 20:
        raise ValueError(f"from 1 to 20 differences, got {count}")
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=count)), dtype=torch.float64)
    sums = (signs @ differences.double()).abs()
    found = differences.double().sum().abs()
    return (sums >= found * (1 - 1e-12)).double().mean().item()


def smallest_p(seeds: int) -> float:
    """Return the least p-value that flipping signs can give: eq:med-smallest.

    Raises:
        ValueError: no seed.
    """
    if seeds < 1:
        raise ValueError(f"at least one seed, got {seeds}")
    return 2.0 ** (1 - seeds)
