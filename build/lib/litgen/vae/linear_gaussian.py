"""The VAE whose every quantity has a closed form: a linear decoder and Gaussian noise.

    z ~ N(0, I),   x | z ~ N(W z + b, sigma^2 I)

Chapter: book/vae/elbo.md.  Proof: tests/vae/test_linear_gaussian.py.
Reference: Tipping & Bishop, "Probabilistic principal component analysis" (1999), section 3.

Notation: W is ``weight``, b is ``bias``, sigma is ``scale``.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = ["LinearGaussian"]


@dataclass(frozen=True)
class LinearGaussian:
    """A generative model with exact evidence and exact posterior.

    Attributes:
        weight: W, (pixels, latent).
        bias: b, (pixels,).
        scale: sigma, the standard deviation of the noise, positive.

    Raises:
        ValueError: shapes that do not fit, or a scale that is not positive.
    """

    weight: Float[Tensor, "pixels latent"]
    bias: Float[Tensor, " pixels"]
    scale: float

    def __post_init__(self) -> None:
        """Check what the user gave."""
        if self.weight.dim() != 2 or self.bias.shape != self.weight.shape[:1]:
            raise ValueError(
                f"weight has shape {tuple(self.weight.shape)}, bias {tuple(self.bias.shape)}: "
                "expected (pixels, latent) and (pixels,)"
            )
        if not self.scale > 0:
            raise ValueError(f"scale must be positive, got {self.scale}")

    def decode(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch pixels"]:
        """Return the mean of x given z. Implements eq:linear-gaussian-model."""
        return z @ self.weight.T + self.bias

    def sample(
        self, z_noise: Float[Tensor, "batch latent"], x_noise: Float[Tensor, "batch pixels"]
    ) -> Float[Tensor, "batch pixels"]:
        """Turn standard normal noise into data. Implements eq:linear-gaussian-model."""
        return self.decode(z_noise) + self.scale * x_noise

    def log_evidence(self, x: Float[Tensor, "*batch pixels"]) -> Float[Tensor, "*batch"]:
        """Return log p(x) in nats, exactly. Implements eq:linear-gaussian-evidence."""
        eye = torch.eye(len(self.bias), dtype=x.dtype)
        factor = torch.linalg.cholesky(self.weight @ self.weight.T + self.scale**2 * eye)
        centred = (x - self.bias).unsqueeze(-1)
        whitened = torch.linalg.solve_triangular(factor, centred, upper=False).squeeze(-1)
        log_det = 2 * factor.diagonal().log().sum()
        constant = len(self.bias) * math.log(2 * math.pi)
        log_prob: Tensor = -0.5 * (constant + log_det + whitened.square().sum(dim=-1))
        return log_prob

    def posterior(
        self, x: Float[Tensor, "*batch pixels"]
    ) -> tuple[Float[Tensor, "*batch latent"], Float[Tensor, "latent latent"]]:
        """Return the mean and the covariance of p(z|x). Implements eq:linear-gaussian-posterior.

        The covariance is the same for every x.
        """
        eye = torch.eye(self.weight.shape[1], dtype=x.dtype)
        precision = eye + self.weight.T @ self.weight / self.scale**2
        covariance = torch.linalg.inv(precision)
        mean = (x - self.bias) @ self.weight @ covariance / self.scale**2
        return mean, covariance
