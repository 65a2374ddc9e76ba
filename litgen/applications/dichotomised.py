"""The dichotomised Gaussian: spikes where a Gaussian process exceeds a threshold.

Chapter: book/applications/neurobiology.md.  Proof: tests/applications/test_dichotomised.py.
Reference: Macke, Berens, Ecker, Tolias & Bethge, "Generating Spike Trains with Specified
Correlation Coefficients" (2009).

The paper's gamma is ``threshold``, its Lambda ``latent``. Rates and covariances are asked for, and
nothing else.
"""

import math

import numpy as np
import torch
from torch import Tensor

from litgen.shapes import Float, UInt8

__all__ = ["both_exceed", "latent_correlation", "sample", "space_time", "thresholds"]

LIMIT = 0.999
"""Latent correlations beyond it are not looked for."""


def thresholds(rates: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return h with P(z < h) = rate for a standard normal z. Implements eq:spk-threshold."""
    found: Tensor = torch.special.ndtri(rates.double())
    return found


def both_exceed(
    first: Float[Tensor, "*shape"],
    second: Float[Tensor, "*shape"],
    correlation: Float[Tensor, "*shape"],
    nodes: int = 40,
) -> Float[Tensor, "*shape"]:
    """Return P(z_1 < first, z_2 < second) of two standard normals. Implements eq:spk-bivariate.

    The derivative in the correlation is the density at the corner; with the correlation written
    as a sine its integral is smooth, and Gauss-Legendre quadrature does it.
    """
    places, weights = (torch.from_numpy(v) for v in np.polynomial.legendre.leggauss(nodes))
    angle = correlation.double().asin()[..., None]
    theta = angle * (places + 1) / 2
    h, k = first.double()[..., None], second.double()[..., None]
    exponent = (h * h + k * k - 2 * h * k * theta.sin()) / (2 * theta.cos().square())
    area = (weights * (-exponent).exp()).sum(dim=-1) * angle[..., 0] / 2
    independent = torch.special.ndtr(h[..., 0]) * torch.special.ndtr(k[..., 0])
    both: Tensor = independent + area / (2 * math.pi)
    return both


def latent_correlation(
    first: Float[Tensor, "*shape"],
    second: Float[Tensor, "*shape"],
    both: Float[Tensor, "*shape"],
    steps: int = 40,
) -> Float[Tensor, "*shape"]:
    """Return the correlation at which two thresholded normals fire together this often.

    Implements eq:spk-latent by halving an interval: the probability grows with the correlation.
    What no correlation reaches gets the nearest one that is looked for, plus or minus 0.999.

    Args:
        first: threshold of the first.
        second: threshold of the second.
        both: probability to fire together.
        steps: halvings.
    """
    low, high = torch.full_like(both, -LIMIT), torch.full_like(both, LIMIT)
    for _ in range(steps):
        middle = (low + high) / 2
        less = both_exceed(first, second, middle) < both
        low, high = torch.where(less, middle, low), torch.where(less, high, middle)
    return (low + high) / 2


def space_time(
    rates: Float[Tensor, " neurons"], lag_covariances: Float[Tensor, "bins neurons neurons"]
) -> tuple[Float[Tensor, " size"], Float[Tensor, "size size"], float]:
    """Return thresholds and latent correlations of a whole trial, neuron by neuron and bin by bin.

    Latent correlations that were found pair by pair need not be a correlation matrix together:
    negative eigenvalues are cut, and the diagonal is brought back to one.

    Args:
        rates: of each neuron.
        lag_covariances: that are asked for, as `litgen.applications.spikes.lag_covariances` gives
            them, one lag for each bin of a trial.

    Returns:
        Thresholds, latent correlations, and the share of the eigenvalues' sum that was cut.
    """
    bins, neurons, _ = lag_covariances.shape
    h = thresholds(rates)
    both = lag_covariances + rates[:, None] * rates
    corner = h[:, None].expand(bins, neurons, neurons), h.expand(bins, neurons, neurons)
    found = latent_correlation(*corner, both)
    found[0].fill_diagonal_(1.0)
    at = torch.arange(bins)
    lag = at[None, :] - at[:, None]  # from the row's bin to the column's
    later, earlier = found[lag.clamp(min=0)], found[(-lag).clamp(min=0)].transpose(-1, -2)
    blocks = torch.where((lag >= 0)[..., None, None], later, earlier)  # bin, bin, neuron, neuron
    latent = blocks.permute(2, 0, 3, 1).reshape(neurons * bins, neurons * bins)
    values, vectors = torch.linalg.eigh(latent)
    kept = values.clamp(min=1e-9)
    repaired = (vectors * kept) @ vectors.T
    scale = repaired.diagonal().rsqrt()
    cut = (kept - values).sum() / values.abs().sum()
    return h.repeat_interleave(bins), scale[:, None] * repaired * scale, cut.item()


def sample(
    threshold: Float[Tensor, " size"],
    latent: Float[Tensor, "size size"],
    noise: Float[Tensor, "trials size"],
    bins: int,
) -> UInt8[Tensor, "trials neurons bins"]:
    """Return spikes where correlated normals lie below their thresholds. Implements eq:spk-dg.

    Args:
        threshold: of each neuron and bin.
        latent: correlations.
        noise: independent standard normals.
        bins: in a trial.

    Raises:
        ValueError: noise of another size.
    """
    if noise.shape[1:] != threshold.shape:
        raise ValueError(f"noise is {tuple(noise.shape)}, thresholds {tuple(threshold.shape)}")
    lower = torch.linalg.cholesky(latent)
    normal = noise.to(lower) @ lower.T
    spikes: Tensor = (normal < threshold).to(torch.uint8).view(len(noise), -1, bins)
    return spikes
