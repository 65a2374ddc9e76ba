"""Probabilistic PCA: a Gaussian with a few free directions and the same noise in all others.

    z ~ N(0, I),   x | z ~ N(W z + mu, sigma^2 I)

Chapter: book/density/ppca.md.  Proof: tests/density/test_ppca.py.
Reference: Tipping & Bishop, "Probabilistic principal component analysis" (1999).

Notation: mu is ``mean``, W is ``weight``, sigma^2 is ``noise_var``, the eigenvalues lambda of the
sample covariance are ``variances``.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from litgen.density.pca import PrincipalAxes, check_data, principal_axes
from litgen.shapes import Float

__all__ = [
    "PPCA",
    "em",
    "em_step",
    "fit",
    "highest_log_prob",
    "maximum_likelihood",
    "stationary_point",
]


@dataclass(frozen=True, eq=False)
class PPCA:
    """A linear latent variable model with exact density and posterior.

    No method forms a matrix of dims x dims.

    Attributes:
        mean: mu, (dims,).
        weight: W, (dims, latent); latent may be 0.
        noise_var: sigma^2, one positive number.

    Raises:
        ValueError: shapes that do not fit, or a variance that is not positive.
    """

    mean: Float[Tensor, " dims"]
    weight: Float[Tensor, "dims latent"]
    noise_var: Float[Tensor, ""]

    def __post_init__(self) -> None:
        """Check what the user gave."""
        shapes = tuple(self.mean.shape), tuple(self.weight.shape), tuple(self.noise_var.shape)
        if self.weight.dim() != 2 or shapes[0] != shapes[1][:1] or shapes[2]:
            raise ValueError(f"mean, weight, noise_var have shapes {shapes}: they do not fit")
        if not 0 < self.noise_var < math.inf:
            raise ValueError(f"noise_var must be positive, got {self.noise_var.item()}")

    def decode(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch dims"]:
        """Return the mean of x given z. Implements eq:ppca-model."""
        return z @ self.weight.T + self.mean

    def sample(
        self, z_noise: Float[Tensor, "*batch latent"], x_noise: Float[Tensor, "*batch dims"]
    ) -> Float[Tensor, "*batch dims"]:
        """Turn standard normal noise into data. Implements eq:ppca-model."""
        return self.decode(z_noise) + self.noise_var.sqrt() * x_noise

    def posterior(
        self, x: Float[Tensor, "*batch dims"]
    ) -> tuple[Float[Tensor, "*batch latent"], Float[Tensor, "latent latent"]]:
        """Return the mean and the covariance of p(z|x). Implements eq:ppca-posterior.

        The covariance is the same for every x.

        Raises:
            ValueError: x has other dimensions than the model.
        """
        if x.shape[-1] != len(self.mean):
            raise ValueError(f"x has {x.shape[-1]} dimensions, the model {len(self.mean)}")
        inverse = torch.linalg.inv(self.inner_matrix())
        return (x - self.mean) @ self.weight @ inverse, self.noise_var * inverse

    def log_prob(self, x: Float[Tensor, "*batch dims"]) -> Float[Tensor, "*batch"]:
        """Return log p(x) in nats, one number per datum. Implements eq:ppca-log-prob.

        A sum of squares where Woodbury's identity has a difference: nothing cancels.

        Raises:
            ValueError: x has other dimensions than the model.
        """
        dims, latent = self.weight.shape
        z, _ = self.posterior(x)
        error = (x - self.decode(z)).square().sum(dim=-1)
        log_det = torch.logdet(self.inner_matrix()) + (dims - latent) * self.noise_var.log()
        squares = error / self.noise_var + z.square().sum(dim=-1)
        return -0.5 * (dims * math.log(2 * math.pi) + log_det + squares)

    def reconstruct(self, x: Float[Tensor, "*batch dims"]) -> Float[Tensor, "*batch dims"]:
        """Return the decoded posterior mean. Implements eq:ppca-shrinkage."""
        return self.decode(self.posterior(x)[0])

    def inner_matrix(self) -> Float[Tensor, "latent latent"]:
        """Return M = W^T W + sigma^2 I. Implements eq:ppca-inner."""
        weight = self.weight
        eye = torch.eye(weight.shape[1], dtype=weight.dtype, device=weight.device)
        return weight.T @ weight + self.noise_var * eye


def fit(x: Float[Tensor, "count dims"], latent: int) -> PPCA:
    """Return the model of the largest likelihood.

    Raises:
        ValueError: fewer than two data, a value that is not finite, or too many latents.
    """
    return maximum_likelihood(principal_axes(x), latent)


def maximum_likelihood(axes: PrincipalAxes, latent: int) -> PPCA:
    """Return the model of the largest likelihood. Implements eq:ppca-weight and eq:ppca-noise.

    Its rotation is the one with orthogonal columns in W, R = I.

    Raises:
        ValueError: a number of latents that leaves no noise, or none.
    """
    dims = len(axes.mean)
    if not 0 <= latent < dims:
        raise ValueError(f"latent must be from 0 to {dims - 1} in {dims} dimensions, got {latent}")
    rounding = (dims * torch.finfo(axes.variances.dtype).eps) ** 2  # of a singular value, squared
    rank = int((axes.variances > rounding * axes.variances[0]).sum())
    if latent >= rank:
        raise ValueError(f"the data vary in {rank} directions: {latent} latents leave no noise")
    return stationary_point(axes, range(latent))


def stationary_point(axes: PrincipalAxes, kept: Sequence[int]) -> PPCA:
    """Return the model whose weight spans the chosen eigenvectors.

    Implements eq:ppca-weight and eq:ppca-noise. There the gradient of the likelihood is zero;
    only the choice of the largest eigenvalues is a maximum.

    Raises:
        ValueError: an eigenvalue below the noise, or no noise.
    """
    chosen = torch.zeros(len(axes.variances), dtype=torch.bool)
    chosen[list(kept)] = True
    noise_var = axes.variances[~chosen].sum() / (len(axes.mean) - len(kept))
    signal = axes.variances[list(kept)] - noise_var
    if (signal < -1e-6 * noise_var).any():
        raise ValueError(f"directions {list(kept)}: an eigenvalue is below the mean of the others")
    scale = signal.clamp(min=0).sqrt()  # of equal eigenvalues one may be lower by rounding
    return PPCA(axes.mean, axes.directions[:, list(kept)] * scale, noise_var)


def highest_log_prob(axes: PrincipalAxes, latent: int) -> Float[Tensor, ""]:
    """Return the mean of log p(x) over the training data at the maximum, in nats.

    Implements eq:ppca-optimum, by the eigenvalues alone.

    Raises:
        ValueError: as `maximum_likelihood`.
    """
    dims = len(axes.mean)
    noise_var = maximum_likelihood(axes, latent).noise_var
    log_det = axes.variances[:latent].log().sum() + (dims - latent) * noise_var.log()
    return -0.5 * (dims * math.log(2 * math.pi) + log_det + dims)


def em_step(model: PPCA, x: Float[Tensor, "count dims"]) -> PPCA:
    """Return the model after one E and one M step; its likelihood is never lower.

    Implements eq:ppca-e-step and eq:ppca-m-step. The mean is set to that of the data first.

    Raises:
        ValueError: fewer than two data, a value that is not finite, or other dimensions.
    """
    check_data(x)
    model = dataclasses.replace(model, mean=x.mean(dim=0))
    codes, covariance = model.posterior(x)
    centred = x - model.mean
    second = codes.T @ codes / len(x) + covariance  # mean of E[z z^T]
    cross = centred.T @ codes / len(x)  # mean of (x - mu) E[z]^T
    weight = torch.linalg.solve(second, cross, left=False)
    spread = centred.square().sum() / len(x) - (cross * weight).sum()
    return PPCA(model.mean, weight, spread / len(model.mean))


def em(
    x: Float[Tensor, "count dims"], weight: Float[Tensor, "dims latent"], steps: int
) -> Iterator[PPCA]:
    """Yield the model after each of some steps from a first weight.

    The first noise is the mean variance of a dimension.

    Raises:
        ValueError: as `em_step`.
    """
    check_data(x)
    model = PPCA(x.mean(dim=0), weight, x.var(dim=0, correction=0).mean())
    for _ in range(steps):
        model = em_step(model, x)
        yield model
