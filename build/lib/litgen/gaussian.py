"""Diagonal Gaussians: density, divergence and sampling, everything in nats.

Chapter: book/vae/elbo.md.  Proof: tests/test_gaussian.py.
Reference: Kingma & Welling, "Auto-Encoding Variational Bayes" (2014), section 3 and appendix B.

Notation: the paper's mu is ``mean``, log sigma^2 is ``log_var``, epsilon is ``noise``.
"""

import math

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = [
    "bits_per_dim",
    "kl_divergence",
    "kl_to_standard",
    "log_prob",
    "reparameterize",
    "standard_log_prob",
]

LOG_2_PI = math.log(2 * math.pi)


def log_prob(
    x: Float[Tensor, "*#batch dim"],
    mean: Float[Tensor, "*#batch dim"],
    log_var: Float[Tensor, "*#batch dim"],
) -> Float[Tensor, "*batch"]:
    """Return log N(x; mean, exp(log_var)) in nats, summed over the last axis.

    Implements eq:gaussian-log-prob.

    Raises:
        ValueError: the last axes differ in length.
    """
    _check_dims(x=x, mean=mean, log_var=log_var)
    squared = (x - mean).square() * torch.exp(-log_var)
    return -0.5 * (LOG_2_PI + log_var + squared).sum(dim=-1)


def standard_log_prob(z: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
    """Return log N(z; 0, I) in nats, summed over the last axis: the prior of every VAE here.

    Implements eq:gaussian-log-prob at mean 0 and variance 1.
    """
    return -0.5 * (LOG_2_PI + z.square()).sum(dim=-1)


def kl_to_standard(
    mean: Float[Tensor, "*batch dim"], log_var: Float[Tensor, "*batch dim"]
) -> Float[Tensor, "*batch"]:
    """Return KL(N(mean, exp(log_var)) || N(0, I)) in nats, summed over the last axis.

    Implements eq:gaussian-kl: never negative, and zero only at mean 0 and log_var 0.

    Raises:
        ValueError: the last axes differ in length.
    """
    _check_dims(mean=mean, log_var=log_var)
    return 0.5 * (log_var.exp() + mean.square() - 1 - log_var).sum(dim=-1)


def kl_divergence(
    mean: Float[Tensor, "*#batch dim"],
    log_var: Float[Tensor, "*#batch dim"],
    other_mean: Float[Tensor, "*#batch dim"],
    other_log_var: Float[Tensor, "*#batch dim"],
) -> Float[Tensor, "*batch"]:
    """Return KL(N(mean, exp(log_var)) || N(other_mean, exp(other_log_var))) in nats.

    Summed over the last axis. Implements eq:gaussian-kl-general.

    Raises:
        ValueError: the last axes differ in length.
    """
    _check_dims(mean=mean, log_var=log_var, other_mean=other_mean, other_log_var=other_log_var)
    log_ratio = other_log_var - log_var
    squared = (mean - other_mean).square() * torch.exp(-other_log_var)
    return 0.5 * (log_ratio + torch.exp(-log_ratio) + squared - 1).sum(dim=-1)


def reparameterize(
    mean: Float[Tensor, "*#batch dim"],
    log_var: Float[Tensor, "*#batch dim"],
    noise: Float[Tensor, "*#batch dim"],
) -> Float[Tensor, "*batch dim"]:
    """Turn standard normal noise into a sample of N(mean, exp(log_var)).

    Implements eq:reparameterization: gradients reach ``mean`` and ``log_var`` through the sample.

    Raises:
        ValueError: the last axes differ in length.
    """
    _check_dims(mean=mean, log_var=log_var, noise=noise)
    return mean + torch.exp(0.5 * log_var) * noise


def bits_per_dim(log_prob: Float[Tensor, "*batch"], dims: int) -> Float[Tensor, "*batch"]:
    """Turn a log-probability in nats into a code length in bits per dimension.

    Implements eq:bits-per-dim; smaller is better, the sign is turned.

    Raises:
        ValueError: ``dims`` is not positive.
    """
    if dims < 1:
        raise ValueError(f"dims must be positive, got {dims}")
    return -log_prob / (dims * math.log(2))


def _check_dims(**tensors: Tensor) -> None:
    """Broadcasting over the last axis would compute a number, and the wrong one."""
    sizes = {name: tensor.shape[-1] if tensor.dim() else 0 for name, tensor in tensors.items()}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} has {size}" for name, size in sizes.items())
        raise ValueError(f"last axes differ: {listed} entries")
