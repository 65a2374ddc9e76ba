"""Mixtures of factor analysers: covariances of many dimensions with few parameters.

    z ~ weights,   y ~ N(0, I),   x | z = c, y ~ N(means[c] + loadings[c] y, diag(variances[c]))

Chapter: book/density/mixture.md.  Proof: tests/density/test_factors.py.
References: Ghahramani & Hinton, "The EM algorithm for mixtures of factor analyzers" (1996);
Richardson & Weiss, "On GANs and GMMs" (2018).

Notation: mu is ``means``, W ``loadings``, v ``variances``; the covariance of component c is
W_c W_c^T + diag(v_c). Everything is in nats.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from litgen.density import mixture
from litgen.shapes import Float, Int

__all__ = [
    "Factors",
    "em",
    "log_joint",
    "log_prob",
    "maximize",
    "projections",
    "refit",
    "sample",
    "start",
]


@dataclass(frozen=True, eq=False)
class Factors:
    """The parameters of a mixture of factor analysers.

    Attributes:
        weights: how often each component is drawn; their sum is 1.
        means: the components' centres.
        loadings: what each hidden factor adds to x.
        variances: of the noise of each coordinate, positive.

    Raises:
        ValueError: shapes that do not fit, or a variance that is not positive.
    """

    weights: Float[Tensor, " components"]
    means: Float[Tensor, "components dims"]
    loadings: Float[Tensor, "components dims factors"]
    variances: Float[Tensor, "components dims"]

    def __post_init__(self) -> None:
        """Check what the user gave."""
        mixture.Mixture(self.weights, self.means, self.variances)
        if self.loadings.shape[:2] != self.means.shape:
            raise ValueError(
                f"loadings have shape {tuple(self.loadings.shape)}, means "
                f"{tuple(self.means.shape)}: they do not fit"
            )
        if not self.variances.min() > 0:
            raise ValueError(f"variances must be positive, got {self.variances.min().item()}")


def projections(
    model: Factors,
) -> tuple[Float[Tensor, "components factors dims"], Float[Tensor, "components factors factors"]]:
    """Return A = L^-1 W^T diag(1 / v) and L of each component.

    Implements eq:mixture-factors-precision: L L^T is the precision of y given x.
    """
    scaled = model.loadings / model.variances[:, :, None]
    eye = torch.eye(scaled.shape[2], dtype=scaled.dtype, device=scaled.device)
    factor = torch.linalg.cholesky(eye + model.loadings.mT @ scaled)
    return torch.linalg.solve_triangular(factor, scaled.mT, upper=False), factor


def log_joint(x: Float[Tensor, "batch dims"], model: Factors) -> Float[Tensor, "batch components"]:
    """Return log p(x, z = c) in nats for every component c.

    Implements eq:mixture-factors-log-prob. No matrix larger than factors by factors is inverted;
    give doubles where variances are small.

    Raises:
        ValueError: data of other dimensions than the model's.
    """
    if x.shape[1] != model.means.shape[1]:
        raise ValueError(f"data have {x.shape[1]} dimensions, means {model.means.shape[1]}")
    to_u, factor = projections(model)
    u = torch.einsum("nd,cqd->ncq", x, to_u) - torch.einsum("cd,cqd->cq", model.means, to_u)
    log_det = factor.diagonal(dim1=1, dim2=2).log().sum(dim=1)
    without = mixture.diagonal_log_prob(x, model.means, model.variances)
    return model.weights.log() + without - log_det + 0.5 * u.square().sum(dim=2)


def log_prob(x: Float[Tensor, "batch dims"], model: Factors) -> Float[Tensor, " batch"]:
    """Return log p(x) in nats, one number a datum. Implements eq:mixture-density."""
    return torch.logsumexp(log_joint(x, model), dim=1)


def refit(
    centred: Float[Tensor, "batch dims"],
    share: Float[Tensor, " batch"],
    to_u: Float[Tensor, "factors dims"],
    factor: Float[Tensor, "factors factors"],
) -> tuple[Float[Tensor, "dims factors"], Float[Tensor, " dims"]]:
    """Take one step of factor analysis on weighted data. Implements eq:mixture-factors-update.

    ``share`` sums to 1. The data's covariance S is never formed, only S times a thin matrix.
    """
    weighted = share[:, None] * centred
    y = torch.linalg.solve_triangular(factor.T, (centred @ to_u.T).T, upper=True)  # E[y | x]
    crossed = (y @ weighted).T  # E[(x - mean) y^T]
    squared = torch.cholesky_inverse(factor) + share * y @ y.T  # E[y y^T]
    loadings = torch.linalg.solve(squared, crossed.T).T
    return loadings, (weighted * centred).sum(dim=0) - (loadings * crossed).sum(dim=1)


def maximize(
    x: Float[Tensor, "batch dims"],
    posterior: Float[Tensor, "batch components"],
    model: Factors,
    floor: float = 0.0,
) -> Factors:
    """Return better parameters for this assignment: the M step, which needs the old loadings.

    Raises:
        ValueError: a component that has lost its data, or its noise; the message names it.
    """
    weights, means = mixture.moments(x, posterior)
    shares = (posterior / (len(x) * weights)).T
    loadings, variances = [], []
    eps = torch.finfo(x.dtype).eps
    least = eps * x.var(dim=0, correction=0).max()
    for c, parts in enumerate(zip(means, shares, *projections(model), strict=True)):
        mean, share, to_u, factor = parts
        own = share > eps**2  # rounding loses the others
        W, v = refit(x[own] - mean, share[own], to_u, factor)
        v = v.clamp(min=floor)
        if not v.min() > least:
            raise ValueError(
                f"component {c} has collapsed: a coordinate has no noise left, and the "
                "likelihood no bound. Give a floor, or fewer components"
            )
        loadings.append(W)
        variances.append(v)
    return Factors(weights, means, torch.stack(loadings), torch.stack(variances))


def em(
    x: Float[Tensor, "batch dims"], model: Factors, steps: int, floor: float = 0.0
) -> Iterator[tuple[Factors, Float[Tensor, ""]]]:
    """Yield after every step the model and its mean log-likelihood, which never falls.

    Raises:
        ValueError: data that are not finite, or a component that loses its data or its noise.
    """
    mixture.check_data(x, len(model.means))
    joint = log_joint(x, model)
    for _ in range(steps):
        model = maximize(x, mixture.expect(joint), model, floor)
        joint = log_joint(x, model)
        yield model, torch.logsumexp(joint, dim=1).mean()


def start(plain: mixture.Mixture, factors: int, generator: torch.Generator) -> Factors:
    """Add random factors to a mixture with variances, half as wide as these.

    Raises:
        ValueError: a mixture with full covariances, or a number of factors that does not fit.
    """
    components, dims = plain.means.shape
    if plain.covariances.dim() != 2:
        raise ValueError("factors are added to a mixture with diagonal covariances")
    if not 1 <= factors < dims:
        raise ValueError(f"factors must be 1 to {dims - 1}, got {factors}")
    like = plain.means
    shape = components, dims, factors
    noise = torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)
    loadings = noise * (plain.covariances[:, :, None] / (4 * factors)).sqrt()
    return Factors(plain.weights, plain.means, loadings, plain.covariances)


def sample(
    model: Factors, count: int, generator: torch.Generator
) -> tuple[Float[Tensor, "count dims"], Int[Tensor, " count"]]:
    """Draw a component for each datum, its factors, then x. Implements eq:mixture-factors."""
    plain = mixture.Mixture(model.weights, model.means, model.variances)
    x, z = mixture.sample(plain, count, generator)
    shape = count, model.loadings.shape[2], 1
    y = torch.randn(shape, generator=generator, dtype=x.dtype, device=x.device)
    return x + (model.loadings[z] @ y).squeeze(2), z
