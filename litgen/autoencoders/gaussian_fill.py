"""Filling a hole where the answer is known: data that are jointly Gaussian.

Chapter: book/autoencoders/context.md.  Proof: tests/autoencoders/test_gaussian_fill.py.
References: Bishop, "Pattern Recognition and Machine Learning" (2006), section 2.3.1, for the
conditional; Blau & Michaeli, "The Perception-Distortion Tradeoff" (2018), for what sampling costs.

Notation: h are the missing entries, c the context; Sigma_hc is the block of the covariance with
the rows of h and the columns of c.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from litgen.shapes import Bool, Float

__all__ = ["GaussianFill", "smooth_covariance"]


@dataclass(frozen=True)
class GaussianFill:
    """The conditional distribution of a Gaussian's missing entries.

    Attributes:
        mean_missing: their mean.
        mean_context: the mean of the others.
        gain: Sigma_hc Sigma_cc^-1, eq:ctx-gain.
        rest: covariance that the context leaves, eq:ctx-rest.
        missing: covariance of the missing entries before anything is seen.
    """

    mean_missing: Float[Tensor, " missing"]
    mean_context: Float[Tensor, " seen"]
    gain: Float[Tensor, "missing seen"]
    rest: Float[Tensor, "missing missing"]
    missing: Float[Tensor, "missing missing"]

    @classmethod
    def given(
        cls,
        mean: Float[Tensor, " dims"],
        covariance: Float[Tensor, "dims dims"],
        hole: Bool[Tensor, " dims"],
    ) -> "GaussianFill":
        """Return the conditional. Implements eq:ctx-gain and eq:ctx-rest.

        Raises:
            ValueError: sizes that do not fit, or a hole that is empty or everything.
        """
        if covariance.shape != (len(mean), len(mean)) or hole.shape != mean.shape:
            shapes = [tuple(part.shape) for part in (mean, covariance, hole)]
            raise ValueError(f"mean, covariance and hole do not fit: {shapes}")
        if bool(hole.all()) or not bool(hole.any()):
            raise ValueError("a hole needs something in it and something around it")
        across, seen = covariance[hole][:, ~hole], covariance[~hole][:, ~hole]
        gain = torch.linalg.solve(seen, across.T).T
        missing = covariance[hole][:, hole]
        return cls(mean[hole], mean[~hole], gain, missing - gain @ across.T, missing)

    def best(self, context: Float[Tensor, "count seen"]) -> Float[Tensor, "count missing"]:
        """Return the fill with the least squared error. Implements eq:ctx-best-fill."""
        fill: Tensor = self.mean_missing + (context - self.mean_context) @ self.gain.T
        return fill

    def sample(
        self, context: Float[Tensor, "count seen"], noise: Float[Tensor, "count missing"]
    ) -> Float[Tensor, "count missing"]:
        """Return the best fill plus what cannot be known, given standard noise. eq:ctx-sampler."""
        open_part: Tensor = noise @ torch.linalg.cholesky(self.rest).T
        return self.best(context) + open_part

    def explained(self) -> Float[Tensor, "missing missing"]:
        """Return the covariance of the best fill over contexts. Implements eq:ctx-total-variance.

        With ``rest`` it adds up to ``missing``.
        """
        return self.missing - self.rest

    def error(self, amount: float = 0.0) -> Float[Tensor, ""]:
        """Return the expected squared error summed over the hole. Implements eq:ctx-price.

        Args:
            amount: how much of the sampler's noise is added: 0 is the best fill, 1 the sampler.
        """
        error: Tensor = (1 + amount**2) * self.rest.trace()
        return error


def smooth_covariance(count: int, length: float, nugget: float = 0.01) -> Float[Tensor, "n n"]:
    """Return exp(-(i - j)^2 / (2 length^2)) plus ``nugget`` on the diagonal, in double precision.

    Raises:
        ValueError: no entries, or a length or nugget that is not positive.
    """
    if count < 1 or length <= 0 or nugget <= 0:
        raise ValueError(f"count, length and nugget must be positive: {count}, {length}, {nugget}")
    place = torch.arange(count, dtype=torch.float64)
    gap = place[:, None] - place
    return torch.exp(-0.5 * (gap / length) ** 2) + nugget * torch.eye(count, dtype=torch.float64)
