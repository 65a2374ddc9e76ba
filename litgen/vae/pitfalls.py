"""The slips of VAE losses as functions that run, and what each of them optimises.

Chapter: book/vae/pitfalls.md.  Proof: tests/vae/test_pitfalls.py.
References: Higgins et al., "beta-VAE" (2017), for the weight; Tipping & Bishop (1999) for the
linear model's optimum; Roeder, Wu & Duvenaud, "Sticking the landing" (2017), for the sampled KL;
Rybkin, Daniilidis & Levine, "Simple and effective VAE training with calibrated decoders" (2021).

Notation: D is ``pixels``, d is ``latent``, B is ``batch``, beta the weight of the KL, lambda_j the
data's ``variances`` along their principal axes, sigma^2 the likelihood's ``noise_var``.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from litgen import gaussian
from litgen.shapes import Float

__all__ = [
    "LOSSES",
    "LinearOptimum",
    "Loss",
    "absorbed_scale",
    "accidental_beta",
    "at_best_scale",
    "best_scale",
    "decoded_spread",
    "hard_coded",
    "implied_scale",
    "linear_excess",
    "linear_optimum",
    "mean_everywhere",
    "mean_over_latents",
    "mean_over_pixels",
    "no_half",
    "sampled_kl",
    "sampled_kl_variance",
    "sum_over_batch",
    "summed",
]

Loss = Callable[[Tensor, Tensor], Tensor]
"""From log p(x_j|z), (batch, pixels), and KLs, (batch, latent), to the one number lowered."""


def summed(
    log_probs: Float[Tensor, "batch pixels"], kls: Float[Tensor, "batch latent"]
) -> Float[Tensor, ""]:
    """Return the negative ELBO: sums over pixels and latents, the mean over examples. Correct."""
    return (kls.sum(dim=1) - log_probs.sum(dim=1)).mean()


def mean_over_pixels(
    log_probs: Float[Tensor, "batch pixels"], kls: Float[Tensor, "batch latent"]
) -> Float[Tensor, ""]:
    """Average the likelihood over pixels, as losses do unless told: beta is D."""
    return kls.sum(dim=1).mean() - log_probs.mean()


def mean_everywhere(
    log_probs: Float[Tensor, "batch pixels"], kls: Float[Tensor, "batch latent"]
) -> Float[Tensor, ""]:
    """Average the likelihood over pixels and the KL over latents: beta is D / d."""
    return kls.mean() - log_probs.mean()


def mean_over_latents(
    log_probs: Float[Tensor, "batch pixels"], kls: Float[Tensor, "batch latent"]
) -> Float[Tensor, ""]:
    """Average the KL over batch and latents, summed over nothing: beta is 1 / d."""
    return kls.mean() - log_probs.sum(dim=1).mean()


def sum_over_batch(
    log_probs: Float[Tensor, "batch pixels"], kls: Float[Tensor, "batch latent"]
) -> Float[Tensor, ""]:
    """Average the likelihood over everything, sum the KL over everything: beta is B D."""
    return kls.sum() - log_probs.mean()


def hard_coded(
    log_probs: Float[Tensor, "batch pixels"], kls: Float[Tensor, "batch latent"]
) -> Float[Tensor, ""]:
    """Undo the mean over pixels by 784, whatever the image: beta is D / 784."""
    return kls.sum(dim=1).mean() - 784 * log_probs.mean()


def no_half(
    log_probs: Float[Tensor, "batch pixels"], kls: Float[Tensor, "batch latent"]
) -> Float[Tensor, ""]:
    """Forget the 1/2 in front of the KL's sum: beta is 2."""
    return 2 * kls.sum(dim=1).mean() - log_probs.sum(dim=1).mean()


LOSSES: dict[str, Loss] = {
    "sums, mean over the batch": summed,
    "no 1/2 in the KL": no_half,
    "784 written in": hard_coded,
    "KL averaged over latents": mean_over_latents,
    "means everywhere": mean_everywhere,
    "likelihood averaged over pixels": mean_over_pixels,
    "KL summed over the batch": sum_over_batch,
}
"""The right loss, and its misreadings, in the order of this module's chapter."""


def accidental_beta(loss: Loss, batch: int, pixels: int, latent: int) -> float:
    """Return the beta of the beta-VAE that has the same minimisers. Implements eq:pit-beta.

    Read off the loss itself: what a nat of KL costs, over what a nat of likelihood earns.

    Raises:
        ValueError: a size that is not positive, or a loss that ignores the likelihood.
    """
    if min(batch, pixels, latent) < 1:
        raise ValueError(f"sizes must be positive, got {batch}, {pixels} and {latent}")
    log_probs = torch.zeros(batch, pixels, dtype=torch.float64, requires_grad=True)
    kls = torch.zeros(batch, latent, dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():
        value = loss(log_probs, kls)
    earned, paid = torch.autograd.grad(value, [log_probs, kls], allow_unused=True)
    if earned is None or paid is None or not earned[0, 0] < 0:
        raise ValueError("the loss must fall with the likelihood and depend on the KL")
    return float(paid[0, 0] / -earned[0, 0])


def absorbed_scale(scale: float, beta: float) -> float:
    """Return the noise scale with which plain VAE training has the same optimum.

    Implements eq:pit-absorb: for a Gaussian of fixed scale a weight beta is a variance beta times
    as large.

    Raises:
        ValueError: scale or beta is not positive.
    """
    if not (scale > 0 and beta > 0):
        raise ValueError(f"scale and beta must be positive, got {scale} and {beta}")
    return math.sqrt(beta) * scale


class LinearOptimum(NamedTuple):
    """What training a linear VAE on a weighted loss ends at, along each principal axis.

    Attributes:
        gain: squared length of the decoder's column; 0 where the latent has collapsed.
        price: mean KL of the latent, in nats.
    """

    gain: Float[Tensor, " axes"]
    price: Float[Tensor, " axes"]


def linear_optimum(
    variances: Float[Tensor, " axes"], noise_var: float, beta: float
) -> LinearOptimum:
    """Return the optimum of a linear beta-VAE. Implements eq:pit-threshold and eq:pit-price.

    An axis whose variance is below beta times noise_var carries nothing.

    Args:
        variances: of the data along principal axes, as many as latents or fewer; positive.
        noise_var: of the Gaussian likelihood, fixed.
        beta: weight of the KL.

    Raises:
        ValueError: beta or a variance is not positive.
    """
    if not (beta > 0 and noise_var > 0 and bool((variances > 0).all())):
        raise ValueError(f"beta and variances must be positive, got {beta} and {noise_var}")
    floor = beta * noise_var
    return LinearOptimum(
        gain=(variances - floor).clamp(min=0),
        price=0.5 * torch.log(variances / floor).clamp(min=0),
    )


def linear_excess(
    variances: Float[Tensor, " axes"], noise_var: float, beta: float
) -> Float[Tensor, ""]:
    """Return how many nats a datum the decoder of that optimum loses. Implements eq:pit-excess.

    The divergence of the data's Gaussian from the trained model's: zero for beta = 1.
    """
    model = linear_optimum(variances, noise_var, beta).gain + noise_var
    return 0.5 * (torch.log(model / variances) + variances / model - 1).sum()


def implied_scale(weight: float) -> float:
    """Return the sd of the Gaussian that a weighted squared error stands for.

    Implements eq:pit-squared: ``weight`` times the sum over pixels of (x - m)^2.

    Raises:
        ValueError: weight is not positive.
    """
    if not weight > 0:
        raise ValueError(f"weight must be positive, got {weight}")
    return 1 / math.sqrt(2 * weight)


def best_scale(x: Float[Tensor, "*batch"], mean: Float[Tensor, "*batch"]) -> Float[Tensor, ""]:
    """Return the scale that maximises the Gaussian likelihood of all pixels together.

    Implements eq:pit-best-scale: the root of the mean squared residual.

    Raises:
        ValueError: x and mean differ in shape.
    """
    if x.shape != mean.shape:
        raise ValueError(f"x has shape {tuple(x.shape)}, mean {tuple(mean.shape)}")
    return (x - mean).square().mean().sqrt()


def at_best_scale(residual: Float[Tensor, "*batch"], pixels: int) -> Float[Tensor, "*batch"]:
    """Return the Gaussian log-density at the best scale, in nats. Implements eq:pit-collapse.

    It has no upper bound: every halving of the residual adds ``pixels`` times log 2.

    Args:
        residual: root of the mean squared residual, positive.
        pixels: that share the scale.
    """
    return -0.5 * pixels * (math.log(2 * math.pi) + 1 + 2 * torch.log(residual))


def decoded_spread(
    weight: Float[Tensor, "pixels latent"], covariance: Float[Tensor, "latent latent"]
) -> Float[Tensor, ""]:
    """Return the squared error that decoding a sampled code adds to decoding its mean.

    Implements eq:pit-spread: the trace of W S W', summed over pixels.
    """
    return torch.einsum("pi,ij,pj->", weight, covariance, weight)


def sampled_kl(
    z: Float[Tensor, "*#batch latent"],
    mean: Float[Tensor, "*#batch latent"],
    log_var: Float[Tensor, "*#batch latent"],
) -> Float[Tensor, "*batch"]:
    """Return log q(z|x) - log p(z), whose average over z from q is the KL.

    Implements eq:pit-sampled-kl; a single value may be negative.
    """
    return gaussian.log_prob(z, mean, log_var) - gaussian.standard_log_prob(z)


def sampled_kl_variance(
    mean: Float[Tensor, "*batch latent"], log_var: Float[Tensor, "*batch latent"]
) -> Float[Tensor, "*batch"]:
    """Return the variance of the sampled KL over z. Implements eq:pit-sampled-variance."""
    variance = log_var.exp()
    return (0.5 * (variance - 1).square() + mean.square() * variance).sum(dim=-1)
