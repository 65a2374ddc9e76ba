"""The conditional VAE whose every quantity is known: a linear-Gaussian vector, partly observed.

    z ~ N(0, I),   (y, x) | z ~ N(W z + b, sigma^2 I),   y is given

Chapter: book/vae/conditional.md.  Proof: tests/vae/test_partly_observed.py.

Notation: the rows of W that belong to y are W_y, those of x are W_x; y is ``condition``.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from litgen.shapes import Float
from litgen.vae.linear_gaussian import LinearGaussian

__all__ = ["PartlyObserved"]


@dataclass(frozen=True)
class PartlyObserved:
    """A linear-Gaussian model whose first coordinates are given.

    Attributes:
        model: of all coordinates.
        given: how many coordinates are the condition; at least one, and one is left.

    Raises:
        ValueError: nothing is given, or nothing is left.
    """

    model: LinearGaussian
    given: int

    def __post_init__(self) -> None:
        """Check what the user gave."""
        if not 1 <= self.given < len(self.model.bias):
            raise ValueError(
                f"between 1 and {len(self.model.bias) - 1} coordinates can be given, "
                f"got {self.given}"
            )

    def prior(
        self, condition: Float[Tensor, "*batch given"]
    ) -> tuple[Float[Tensor, "*batch latent"], Float[Tensor, "latent latent"]]:
        """Return mean and covariance of p(z|y). Implements eq:cvae-known-prior."""
        m, k = self.model, self.given
        return LinearGaussian(m.weight[:k], m.bias[:k], m.scale).posterior(condition)

    def posterior(
        self, x: Float[Tensor, "*batch rest"], condition: Float[Tensor, "*batch given"]
    ) -> tuple[Float[Tensor, "*batch latent"], Float[Tensor, "latent latent"]]:
        """Return mean and covariance of p(z|x, y). Implements eq:cvae-known-posterior."""
        return self.model.posterior(torch.cat([condition, x], dim=-1))

    def decode(
        self, z: Float[Tensor, "*batch latent"], condition: Tensor | None = None
    ) -> Float[Tensor, "*batch rest"]:
        """Return the mean of x given z; once z is known, y says nothing more."""
        return self.model.decode(z)[..., self.given :]

    def log_conditional(
        self, x: Float[Tensor, "*batch rest"], condition: Float[Tensor, "*batch given"]
    ) -> Float[Tensor, "*batch"]:
        """Return log p(x|y) in nats, exactly. Implements eq:cvae-known-conditional."""
        m, rest = self.model, self.model.weight[self.given :]
        code, spread = self.prior(condition)
        eye = torch.eye(len(rest), dtype=x.dtype)
        factor = torch.linalg.cholesky(rest @ spread @ rest.T + m.scale**2 * eye)
        centred = (x - self.decode(code)).unsqueeze(-1)
        whitened = torch.linalg.solve_triangular(factor, centred, upper=False).squeeze(-1)
        log_det = 2 * factor.diagonal().log().sum()
        constant = len(rest) * math.log(2 * math.pi)
        log_prob: Tensor = -0.5 * (constant + log_det + whitened.square().sum(dim=-1))
        return log_prob
