"""The linear VAE with a plane of codes: its bound without noise, and the plane it must find.

Chapter: book/vae/convolutional.md.  Proof: tests/vae/test_linear_plane.py.
References: Lucas, Tucker, Grosse & Norouzi, "Don't Blame the ELBO!" (2019), section 4; Tipping &
Bishop, "Probabilistic principal component analysis" (1999), for the optimum.

    x | z ~ N(W z, sigma^2 I),   q(z | x) = N(V x, diag(s^2)),   x centred with covariance C

Notation: W is ``decode``, V is ``encode``, log s^2 is ``log_var``, log sigma is ``log_scale``.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from litgen import gaussian
from litgen.shapes import Float

__all__ = ["LinearPlane", "mean_bound", "optimum"]


class LinearPlane(NamedTuple):
    """The weights of a linear VAE on centred data."""

    decode: Float[Tensor, "pixels latent"]
    encode: Float[Tensor, "latent pixels"]
    log_var: Float[Tensor, " latent"]
    log_scale: Float[Tensor, ""]


def mean_bound(
    covariance: Float[Tensor, "pixels pixels"], model: LinearPlane
) -> Float[Tensor, ""]:
    """Return the ELBO averaged over data and noise, exactly, in nats.

    Implements eq:evo-linear-bound. Quadratic functions of Gaussians average to traces: only the
    data's covariance enters.
    """
    w, v, log_var, log_scale = model
    variance = torch.exp(2 * log_scale)
    left = torch.eye(len(covariance), dtype=w.dtype) - w @ v
    squared = torch.trace(left @ covariance @ left.T) + (w.square() @ log_var.exp()).sum()
    pixels = len(covariance)
    reconstruction = -0.5 * (pixels * (gaussian.LOG_2_PI + 2 * log_scale) + squared / variance)
    spread = (v @ covariance @ v.T).diagonal()  # E mean_j^2
    return reconstruction - 0.5 * (log_var.exp() + spread - 1 - log_var).sum()


def optimum(covariance: Float[Tensor, "pixels pixels"], latent: int) -> LinearPlane:
    """Return the weights that maximise the bound. Implements eq:evo-linear-optimum.

    One axis of codes for each leading eigenvector; the noise is the mean of what is left over.
    Signs and the order of the axes are free.

    Raises:
        ValueError: not 1 <= latent < pixels, or an eigenvalue to be coded that is not above the
            noise.
    """
    pixels = len(covariance)
    if not 1 <= latent < pixels:
        raise ValueError(f"latent must be between 1 and {pixels - 1}, got {latent}")
    values, vectors = torch.linalg.eigh(covariance)
    values, axes = values.flip(0), vectors.flip(1)[:, :latent]
    noise = values[latent:].mean()
    kept = values[:latent]
    if not (kept > noise).all() or not noise > 0:
        raise ValueError("the leading variances must be above the noise, and that above 0")
    length = (kept - noise).sqrt()
    return LinearPlane(
        decode=axes * length,
        encode=(axes * (length / kept)).T,
        log_var=torch.log(noise / kept),
        log_scale=0.5 * torch.log(noise),
    )
