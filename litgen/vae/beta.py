"""A bound in which the code's price is weighted, and its exact optimum on Gaussian data.

Chapter: book/vae/beta.md.  Proof: tests/vae/test_beta.py.
References: Higgins et al., "beta-VAE: Learning Basic Visual Concepts with a Constrained
Variational Framework" (2017); Alemi et al., "Fixing a Broken ELBO" (2018), for rate and
distortion.

Notation: R is ``rate``, the mean KL(q(z|x) || p(z)); D is ``distortion``, the mean of
-log p(x|z); lambda_j is an entry of ``variances``, sigma^2 is ``noise_var``.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from litgen import gaussian
from litgen.shapes import Float
from litgen.vae.elbo import Elbo

__all__ = [
    "LinearOptimum",
    "linear_optimum",
    "rate_by_dimension",
    "shannon_rate",
    "weighted_bound",
]


def weighted_bound(terms: Elbo, beta: float) -> Float[Tensor, " batch"]:
    """Return reconstruction minus beta times the KL, in nats per example; larger is better.

    Implements eq:beta-bound. ``beta`` 1 is the bound on log p(x); above 1 it is a looser bound,
    below 1 no bound at all; 0 is an autoencoder with a noisy code.

    Raises:
        ValueError: ``beta`` is below 0 or no finite number: codes would be paid for being long.
    """
    if not 0 <= beta < math.inf:
        raise ValueError(f"beta must be 0 or more and finite, got {beta}")
    return terms.reconstruction - beta * terms.kl


def rate_by_dimension(
    mean: Float[Tensor, "*batch latent"], log_var: Float[Tensor, "*batch latent"]
) -> Float[Tensor, "*batch latent"]:
    """Return the KL of each latent dimension in nats; their sum over the last axis is the rate.

    Implements eq:beta-rate-by-dimension.
    """
    return gaussian.kl_to_standard(mean[..., None], log_var[..., None])


class LinearOptimum(NamedTuple):
    """The best linear beta-VAE of Gaussian data, one entry a principal direction.

    Attributes:
        posterior_var: variance of q(z_j|x); 1 where the direction is switched off.
        gain: what the encoder multiplies the coordinate by to get the mean of z_j.
        weight: what the decoder multiplies z_j by to get the coordinate back.
        squared_error: mean squared error that remains, sample of z included.
        rate: KL in nats.
    """

    posterior_var: Float[Tensor, " directions"]
    gain: Float[Tensor, " directions"]
    weight: Float[Tensor, " directions"]
    squared_error: Float[Tensor, " directions"]
    rate: Float[Tensor, " directions"]

    def distortion(self, noise_var: float) -> Float[Tensor, ""]:
        """Return the mean of -log p(x|z) in nats. Implements eq:beta-linear-distortion."""
        dims = len(self.squared_error)
        constant = 0.5 * dims * math.log(2 * math.pi * noise_var)
        return constant + self.squared_error.sum() / (2 * noise_var)


def linear_optimum(
    variances: Float[Tensor, " directions"], noise_var: float, beta: float
) -> LinearOptimum:
    """Maximise the weighted bound over linear encoders and decoders of centred Gaussian data.

    Implements eq:beta-linear-optimum: a direction is kept while its variance exceeds beta times
    the noise's, and what is kept is known up to an error of exactly that.

    Args:
        variances: of the data along their principal directions, noise included; positive.
        noise_var: sigma^2, the variance of the likelihood p(x|z), fixed.
        beta: weight of the KL, positive.

    Raises:
        ValueError: a variance, ``noise_var`` or ``beta`` that is not positive.
    """
    if not (noise_var > 0 and beta > 0 and bool((variances > 0).all())):
        raise ValueError(
            f"variances, noise_var and beta must be positive, got noise_var {noise_var}, "
            f"beta {beta} and variances from {variances.min().item():.4g}"
        )
    posterior_var = (beta * noise_var / variances).clamp(max=1)
    gain = ((1 - posterior_var) / variances).sqrt()
    return LinearOptimum(
        posterior_var=posterior_var,
        gain=gain,
        weight=gain * variances,
        squared_error=variances * posterior_var,
        rate=-0.5 * posterior_var.log(),
    )


def shannon_rate(
    variances: Float[Tensor, " directions"], squared_error: float
) -> Float[Tensor, ""]:
    """Return the least rate in nats at which Gaussian data can be kept to a squared error.

    Implements eq:beta-shannon by bisection for the water level; 0 where the error allowed is the
    data's whole variance or more. Source: Cover & Thomas, "Elements of Information Theory",
    chapter 10.

    Raises:
        ValueError: a variance or ``squared_error`` that is not positive.
    """
    if not (squared_error > 0 and bool((variances > 0).all())):
        raise ValueError(f"variances and squared_error must be positive, got {squared_error}")
    low, high = torch.zeros_like(variances[0]), variances.max()
    for _ in range(100):
        level = (low + high) / 2
        if variances.clamp(max=level).sum() < squared_error:
            low = level
        else:
            high = level
    rate: Tensor = 0.5 * (variances / variances.clamp(max=high)).log().sum()
    return rate
