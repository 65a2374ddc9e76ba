"""Mixtures of Gaussians, and EM, which fits them: every step in closed form, never a step back.

    z ~ weights,   x | z = c ~ N(means[c], covariances[c])

Chapter: book/density/mixture.md.  Proof: tests/density/test_mixture.py.
References: Dempster, Laird & Rubin, "Maximum likelihood from incomplete data via the EM algorithm"
(1977); Neal & Hinton, "A view of the EM algorithm" (1998).

Notation: pi is ``weights``, mu ``means``, Sigma ``covariances``, the responsibilities q_ic are
``posterior``, the smallest variance allowed is ``floor``. Everything is in nats.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from litgen.shapes import Float, Int

__all__ = [
    "Mixture",
    "check_data",
    "diagonal",
    "diagonal_log_prob",
    "em",
    "expect",
    "fit",
    "free_energy",
    "full",
    "full_log_prob",
    "log_joint",
    "log_prob",
    "maximize",
    "moments",
    "sample",
    "spread_centres",
    "start",
]

LOG_2_PI = math.log(2 * math.pi)
Spread = Callable[[Tensor, Tensor, float], Tensor]


@dataclass(frozen=True, eq=False)
class Mixture:
    """The parameters of a mixture.

    Attributes:
        weights: how often each component is drawn; positive, their sum is 1.
        means: the components' centres.
        covariances: matrices, or vectors of variances where no coordinate covaries with another.

    Raises:
        ValueError: shapes that do not fit, or weights that are no distribution.
    """

    weights: Float[Tensor, " components"]
    means: Float[Tensor, "components dims"]
    covariances: Float[Tensor, "components dims dims"] | Float[Tensor, "components dims"]

    def __post_init__(self) -> None:
        """Check what the user gave."""
        components, dims = self.means.shape
        shapes = (components, dims), (components, dims, dims)
        if self.weights.shape != (components,) or self.covariances.shape not in shapes:
            raise ValueError(
                f"weights have shape {tuple(self.weights.shape)}, means "
                f"{tuple(self.means.shape)}, covariances {tuple(self.covariances.shape)}: "
                "they do not fit"
            )
        if not (self.weights > 0).all() or abs(self.weights.sum().item() - 1) > 1e-4:
            raise ValueError(
                f"weights must be positive and sum to 1, got {self.weights.tolist()[:8]}"
            )


def full_log_prob(
    x: Float[Tensor, "batch dims"], mean: Float[Tensor, " dims"], cov: Float[Tensor, "dims dims"]
) -> Float[Tensor, " batch"]:
    """Return log N(x; mean, cov) in nats. Implements eq:mixture-gaussian."""
    factor = torch.linalg.cholesky(cov)
    whitened = torch.linalg.solve_triangular(factor, (x - mean).T, upper=False)
    log_det = 2 * factor.diagonal().log().sum()
    log_prob: Tensor = -0.5 * (LOG_2_PI * len(mean) + log_det + whitened.square().sum(dim=0))
    return log_prob


def diagonal_log_prob(
    x: Float[Tensor, "batch dims"],
    means: Float[Tensor, "components dims"],
    variances: Float[Tensor, "components dims"],
) -> Float[Tensor, "batch components"]:
    """Return log N(x; mean, diag(variances)) in nats for all components.

    Implements eq:mixture-square. Three matrix products are many times faster than a loop; the
    price is that large terms cancel. Where variances are small, give doubles.
    """
    precisions = 1 / variances
    squares = x.square() @ precisions.T - 2 * x @ (means * precisions).T
    squares = squares + (means.square() * precisions).sum(dim=1)
    return -0.5 * (LOG_2_PI * x.shape[1] + variances.log().sum(dim=1) + squares)


def log_joint(
    x: Float[Tensor, "batch dims"], mixture: Mixture
) -> Float[Tensor, "batch components"]:
    """Return log p(x, z = c) in nats for every component c. Implements eq:mixture-latent.

    Raises:
        ValueError: data of other dimensions than the mixture's.
    """
    if x.shape[1] != mixture.means.shape[1]:
        raise ValueError(f"data have {x.shape[1]} dimensions, means {mixture.means.shape[1]}")
    if mixture.covariances.dim() == 2:
        log_likelihood = diagonal_log_prob(x, mixture.means, mixture.covariances)
    else:
        each = zip(mixture.means, mixture.covariances, strict=True)
        log_likelihood = torch.stack([full_log_prob(x, mean, cov) for mean, cov in each], dim=1)
    return mixture.weights.log() + log_likelihood


def log_prob(x: Float[Tensor, "batch dims"], mixture: Mixture) -> Float[Tensor, " batch"]:
    """Return log p(x) in nats, one number a datum. Implements eq:mixture-density.

    The sum is taken by log-sum-exp: in many dimensions every summand underflows.
    """
    return torch.logsumexp(log_joint(x, mixture), dim=1)


def expect(
    joint: Float[Tensor, "batch components"],
) -> Float[Tensor, "batch components"]:
    """Return p(z = c | x) from `log_joint`: the E step. Implements eq:mixture-posterior.

    Each row sums to 1.
    """
    return torch.softmax(joint, dim=1)


def free_energy(
    joint: Float[Tensor, "batch components"], posterior: Float[Tensor, "batch components"]
) -> Float[Tensor, " batch"]:
    """Return the bound on log p(x) for any assignment, in nats. Implements eq:mixture-bound.

    Equal to log p(x) where ``posterior`` is what `expect` returns, and smaller anywhere else.
    """
    return (posterior * joint - torch.xlogy(posterior, posterior)).sum(dim=1)


def moments(
    x: Float[Tensor, "batch dims"], posterior: Float[Tensor, "batch components"]
) -> tuple[Float[Tensor, " components"], Float[Tensor, "components dims"]]:
    """Return the best weights and means. Implements eq:mixture-weights and eq:mixture-means.

    Raises:
        ValueError: a component to which no datum is assigned any more; the message names it.
    """
    counts = posterior.sum(dim=0)
    empty = (counts <= len(x) * torch.finfo(x.dtype).eps).nonzero()
    if len(empty):
        raise ValueError(f"component {empty[0].item()} has lost all of its data")
    return counts / len(x), posterior.T @ x / counts[:, None]


def full(
    centred: Float[Tensor, "batch dims"], share: Float[Tensor, " batch"], floor: float = 0.0
) -> Float[Tensor, "dims dims"]:
    """Return the best covariance of which no direction has less variance than ``floor``.

    Implements eq:mixture-covariances and eq:mixture-floor; ``share`` sums to 1.
    """
    cov = (share[:, None] * centred).T @ centred
    if floor == 0:
        return cov
    values, vectors = torch.linalg.eigh(cov)
    raised: Tensor = vectors * values.clamp(min=floor) @ vectors.T
    return raised


def diagonal(
    centred: Float[Tensor, "batch dims"], share: Float[Tensor, " batch"], floor: float = 0.0
) -> Float[Tensor, " dims"]:
    """Return the best variances, none smaller than ``floor``.

    Implements eq:mixture-variances and eq:mixture-floor; ``share`` sums to 1.
    """
    return (share @ centred.square()).clamp(min=floor)


def maximize(
    x: Float[Tensor, "batch dims"],
    posterior: Float[Tensor, "batch components"],
    covariance: Spread = full,
    floor: float = 0.0,
) -> Mixture:
    """Return the mixture that maximises the bound for this assignment: the M step.

    Args:
        x: data.
        posterior: responsibilities, each row sums to 1.
        covariance: `full` or `diagonal`.
        floor: the smallest variance allowed; with 0, a collapsing component is an error.

    Raises:
        ValueError: a component that has lost its data, or its spread; the message names it.
    """
    weights, means = moments(x, posterior)
    eps, spreads = torch.finfo(x.dtype).eps, []
    for mean, share in zip(means, (posterior / (len(x) * weights)).T, strict=True):
        own = share > eps**2  # rounding loses the others; in many dimensions they are most
        spreads.append(covariance(x[own] - mean, share[own], floor))
    least = eps * x.var(dim=0, correction=0).max()
    for c, spread in enumerate(spreads):
        variances = torch.linalg.eigvalsh(spread) if spread.dim() == 2 else spread
        if not variances.min() > least:
            raise ValueError(
                f"component {c} has collapsed: it has no spread left in some direction, and its "
                "likelihood no bound. Give a floor, or fewer components"
            )
    return Mixture(weights, means, torch.stack(spreads))


def em(
    x: Float[Tensor, "batch dims"], mixture: Mixture, steps: int, floor: float = 0.0
) -> Iterator[tuple[Mixture, Float[Tensor, ""]]]:
    """Yield after every step the mixture and its mean log-likelihood, which never falls.

    Implements eq:mixture-monotone.

    Raises:
        ValueError: data that are not finite, or a component that collapses while floor is 0.
    """
    check_data(x, len(mixture.means))
    covariance = full if mixture.covariances.dim() == 3 else diagonal
    joint = log_joint(x, mixture)
    for _ in range(steps):
        mixture = maximize(x, expect(joint), covariance, floor)
        joint = log_joint(x, mixture)
        yield mixture, torch.logsumexp(joint, dim=1).mean()


def spread_centres(
    x: Float[Tensor, "batch dims"], components: int, generator: torch.Generator
) -> Float[Tensor, "components dims"]:
    """Draw data far from each other to start from. Implements eq:mixture-spread (k-means++).

    Raises:
        ValueError: no components, fewer different data than components, or data not finite.
    """
    check_data(x, components)
    chosen = [int(torch.randint(len(x), (1,), generator=generator, device=x.device))]
    squares = torch.full_like(x[:, 0], torch.inf)
    for _ in range(components - 1):
        squares = torch.minimum(squares, (x - x[chosen[-1]]).square().sum(dim=1))
        if not squares.max() > 0:
            raise ValueError(f"{components} components, but only {len(chosen)} different data")
        chosen.append(int(torch.multinomial(squares, 1, generator=generator)))
    return x[chosen]


def start(
    x: Float[Tensor, "batch dims"],
    components: int,
    generator: torch.Generator,
    covariance: Spread = full,
    floor: float = 0.0,
) -> Mixture:
    """Return equal weights, drawn centres, and one covariance: that of data about their centre.

    Raises:
        ValueError: no components, fewer different data than components, or data not finite.
    """
    centres = spread_centres(x, components, generator)
    nearest = torch.cdist(x, centres).argmin(dim=1)
    share = torch.full_like(x[:, 0], 1 / len(x))
    spread = covariance(x - centres[nearest], share, floor)
    weights = torch.full_like(centres[:, 0], 1 / components)
    return Mixture(weights, centres, spread.expand(components, *spread.shape).clone())


def fit(
    x: Float[Tensor, "batch dims"],
    components: int,
    generator: torch.Generator,
    covariance: Spread = full,
    floor: float = 0.0,
    starts: int = 5,
    steps: int = 200,
    tolerance: float = 1e-5,
) -> Mixture:
    """Return the best of several runs of EM, each stopped where a step gains little.

    Args:
        x: data.
        components: how many.
        generator: draws the starts.
        covariance: `full` or `diagonal`.
        floor: the smallest variance allowed.
        starts: runs of EM.
        steps: of a run, at most.
        tolerance: nats per datum; a run ends when a step gains less.

    Raises:
        ValueError: as `start` and `em` say, or no starts or steps.
    """
    if starts < 1 or steps < 1:
        raise ValueError(f"starts and steps must be positive, got {starts} and {steps}")
    runs = []
    for _ in range(starts):
        before, begin = -math.inf, start(x, components, generator, covariance, floor)
        for mixture, value in em(x, begin, steps, floor):
            reached = value.item(), mixture
            if reached[0] - before < tolerance:
                break
            before = reached[0]
        runs.append(reached)
    return max(runs, key=lambda reached: reached[0])[1]


def sample(
    mixture: Mixture, count: int, generator: torch.Generator
) -> tuple[Float[Tensor, "count dims"], Int[Tensor, " count"]]:
    """Draw a component for each datum, then the datum; return both. Implements eq:mixture-latent.

    Raises:
        ValueError: a negative count.
    """
    if count < 0:
        raise ValueError(f"cannot draw {count} data")
    means, spreads = mixture.means, mixture.covariances
    z = torch.multinomial(mixture.weights, max(count, 1), replacement=True, generator=generator)
    noise = torch.randn(
        len(z), means.shape[1], generator=generator, dtype=means.dtype, device=means.device
    )
    if spreads.dim() == 3:
        moved = (torch.linalg.cholesky(spreads)[z] @ noise[:, :, None]).squeeze(2)
    else:
        moved = spreads[z].sqrt() * noise
    return (means[z] + moved)[:count], z[:count]


def check_data(x: Float[Tensor, "batch dims"], components: int) -> None:
    """Refuse what no mixture can be fitted to.

    Raises:
        ValueError: a number that is not finite, no components, or more components than data.
    """
    if not x.isfinite().all():
        row = int((~x.isfinite()).any(dim=1).nonzero()[0])
        raise ValueError(f"data hold numbers that are not finite, the first in row {row}")
    if not 1 <= components <= len(x):
        raise ValueError(f"components must be 1 to {len(x)}, as many as data; got {components}")
