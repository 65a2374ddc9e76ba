"""Complete a vessel from a sherd: exactly where the model is Gaussian, by its codes where not.

Chapter: book/applications/archaeology.md.  Proof: tests/applications/test_sherds.py.
References: Murray, Adams & MacKay, "Elliptical slice sampling" (2010); Tipping & Bishop,
"Probabilistic principal component analysis" (1999), for the linear case.

Notation: a vessel x has a part x_s that is seen (``values`` at ``seen``) and one that is missing;
codes z are standard normal, clean profiles are G(z), the potter's hand has standard deviation
sigma, ``scale``. All logarithms are natural.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from litgen.shapes import Bool, Float, Int

__all__ = [
    "Completions",
    "Gaussian",
    "class_posterior",
    "coins_log_prob",
    "complete",
    "effective_count",
    "fitted",
    "hand_log_prob",
    "nearest",
    "resampled",
    "slice_move",
]


class Gaussian(NamedTuple):
    """A multivariate normal distribution.

    Attributes:
        mean: (dims,), or one a row of a batch.
        covariance: (dims, dims), the same for the whole batch.
    """

    mean: Float[Tensor, "... dims"]
    covariance: Float[Tensor, "dims dims"]

    def given(
        self, values: Float[Tensor, "*batch shown"], seen: Bool[Tensor, " dims"]
    ) -> "Gaussian":
        """Return the law of the missing dimensions. Implements eq:pot-conditional.

        Raises:
            ValueError: values that do not fit what is seen, or nothing that is missing.
        """
        self._check(values, seen)
        if seen.all():
            raise ValueError("nothing is missing")
        cross = self.covariance[~seen][:, seen]
        gain = torch.linalg.solve(self.covariance[seen][:, seen], cross.T).T
        mean = self.mean[~seen] + (values - self.mean[seen]) @ gain.T
        left = self.covariance[~seen][:, ~seen] - gain @ cross.T
        return Gaussian(mean, (left + left.T) / 2)

    def log_evidence(
        self, values: Float[Tensor, "*batch shown"], seen: Bool[Tensor, " dims"]
    ) -> Float[Tensor, "*batch"]:
        """Return log p(x_s) in nats. Implements eq:pot-evidence.

        Raises:
            ValueError: values that do not fit what is seen.
        """
        self._check(values, seen)
        factor = torch.linalg.cholesky(self.covariance[seen][:, seen])
        off = (values - self.mean[seen]).unsqueeze(-1)
        white = torch.linalg.solve_triangular(factor, off, upper=False).squeeze(-1)
        constant = values.shape[-1] * math.log(2 * math.pi)
        half_log_det = factor.diagonal().log().sum()
        log_prob: Tensor = -0.5 * (white.square().sum(-1) + constant) - half_log_det
        return log_prob

    def sample(self, noise: Float[Tensor, "*samples dims"]) -> Float[Tensor, "*samples dims"]:
        """Turn standard normal noise into samples."""
        off: Tensor = noise @ torch.linalg.cholesky(self.covariance).T
        return self.mean + off

    def _check(self, values: Tensor, seen: Tensor) -> None:
        """Broadcasting a wrong number of values would compute something."""
        shown = int(seen.sum())
        if seen.shape != self.mean.shape or not shown or values.shape[-1] != shown:
            raise ValueError(
                f"{shown} of {len(seen)} dimensions seen, {values.shape[-1]} values, "
                f"a mean of shape {tuple(self.mean.shape)}"
            )


def fitted(x: Float[Tensor, "count dims"], noise_var: float = 0.0) -> Gaussian:
    """Return the Gaussian with the mean and the covariance of the data.

    Args:
        x: vessels, at least two.
        noise_var: added to every variance, for measurements noisier than the data.

    Raises:
        ValueError: fewer than two data, or a negative variance.
    """
    if len(x) < 2 or noise_var < 0:
        raise ValueError(f"two data and noise of at least 0, got {len(x)} and {noise_var}")
    off = x - x.mean(dim=0)
    eye = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    return Gaussian(x.mean(dim=0), off.T @ off / len(x) + noise_var * eye)


def hand_log_prob(
    values: Float[Tensor, "*#batch shown"], clean: Float[Tensor, "*#batch shown"], scale: float
) -> Float[Tensor, "*batch"]:
    """Return log p(x_s | z) in nats: normal about the clean radii. Implements eq:pot-hand.

    Raises:
        ValueError: a scale that is not positive, or last axes that differ.
    """
    if not scale > 0:
        raise ValueError(f"scale must be positive, got {scale}")
    if values.shape[-1] != clean.shape[-1]:
        raise ValueError(f"{values.shape[-1]} values seen, {clean.shape[-1]} clean radii")
    squares = ((values - clean) / scale).square().sum(dim=-1)
    return -0.5 * squares - values.shape[-1] * math.log(scale * math.sqrt(2 * math.pi))


def coins_log_prob(off: Int[Tensor, "*batch shown"], coins: int) -> Float[Tensor, "*batch"]:
    """Return the log-probability that heads less the half are so many, summed over the last axis.

    Implements eq:pot-coins: minus infinity for more heads than coins.

    Raises:
        ValueError: an odd number of coins, which has no whole half.
    """
    if coins < 2 or coins % 2:
        raise ValueError(f"coins must be even, got {coins}")
    heads = torch.arange(coins + 1, dtype=torch.double)
    ways = math.lgamma(coins + 1) - torch.lgamma(heads + 1) - torch.lgamma(coins - heads + 1)
    table = ways - coins * math.log(2)
    table = torch.cat([torch.tensor([-math.inf]), table, torch.tensor([-math.inf])])
    place = (off + coins // 2 + 1).clamp(0, coins + 2)
    return table.to(off.device)[place].sum(dim=-1)


def effective_count(log_weights: Float[Tensor, "*batch bank"]) -> Float[Tensor, "*batch"]:
    """Return how many equal weights would be worth as much. Implements eq:pot-effective."""
    shares = torch.softmax(log_weights, dim=-1)
    return 1 / shares.square().sum(dim=-1)


def resampled(
    log_weights: Float[Tensor, "batch bank"], count: int, generator: torch.Generator
) -> Int[Tensor, "count batch"]:
    """Draw members of a bank by their weights, with replacement. Implements eq:pot-weights.

    Raises:
        ValueError: a row whose weights are all zero: the bank cannot have made that sherd.
    """
    lost = torch.isneginf(log_weights).all(dim=-1).nonzero().flatten().tolist()
    if lost:
        raise ValueError(f"no member of the bank can have made sherds {lost}")
    shares = torch.softmax(log_weights.double(), dim=-1)
    return torch.multinomial(shares, count, replacement=True, generator=generator).T


def class_posterior(
    log_weights: Float[Tensor, "batch bank"], labels: Int[Tensor, " bank"], classes: int
) -> Float[Tensor, "batch classes"]:
    """Return p(class | sherd) from a bank that has every class. Implements eq:pot-class.

    Each class is given the mean weight of its own members, so that classes are equally common
    beforehand however often the bank has them.

    Raises:
        ValueError: a class that is not in the bank.
    """
    counts = torch.bincount(labels, minlength=classes)
    if len(counts) > classes or (counts == 0).any():
        raise ValueError(f"the bank has {counts.tolist()} members of {classes} classes")
    means = [
        torch.logsumexp(log_weights[:, labels == c], dim=1) - math.log(counts[c])
        for c in range(classes)
    ]
    return torch.softmax(torch.stack(means, dim=1), dim=1)


def slice_move(
    z: Float[Tensor, "*batch latent"],
    log_likelihood: Callable[[Tensor], Tensor],
    generator: torch.Generator,
    tries: int = 60,
) -> Float[Tensor, "*batch latent"]:
    """Move codes so that their posterior stays as it is. Implements eq:pot-slice.

    One step of elliptical slice sampling for each code: on the ellipse through the code and a
    fresh draw from the prior, places are tried, ever nearer to the code, until one is likely
    enough. Codes that found none after ``tries`` stay.
    """

    def uniform() -> Tensor:
        return torch.rand(z.shape[:-1], generator=generator, dtype=z.dtype)

    other = torch.randn(z.shape, generator=generator, dtype=z.dtype)
    level = log_likelihood(z) + uniform().log()
    angle = 2 * math.pi * uniform()
    low, high = angle - 2 * math.pi, angle
    moved, left = z, torch.ones_like(level, dtype=torch.bool)
    for _ in range(tries):
        tried = z * angle.cos()[..., None] + other * angle.sin()[..., None]
        good = left & (log_likelihood(tried) > level)
        moved = torch.where(good[..., None], tried, moved)
        left = left & ~good
        if not left.any():
            break
        low, high = torch.where(angle < 0, angle, low), torch.where(angle < 0, high, angle)
        angle = low + (high - low) * uniform()
    return moved


class Completions(NamedTuple):
    """What may have been the vessel of each sherd.

    Attributes:
        z: codes.
        labels: classes.
        clean: vessels without the potter's hand, all dimensions of them.
        log_weights: of the bank from which the codes were drawn first.
    """

    z: Float[Tensor, "count batch latent"]
    labels: Int[Tensor, "count batch"]
    clean: Float[Tensor, "count batch dims"]
    log_weights: Float[Tensor, "batch bank"]


@torch.no_grad()
def complete(
    values: Float[Tensor, "batch shown"],
    seen: Bool[Tensor, " dims"],
    generate: Callable[[Tensor, Tensor], Tensor],
    log_likelihood: Callable[[Tensor, Tensor], Tensor],
    bank: tuple[Float[Tensor, "bank latent"], Int[Tensor, " bank"]],
    generator: torch.Generator,
    count: int = 40,
    moves: int = 10,
    log_prior: Float[Tensor, "#batch bank"] | None = None,
) -> Completions:
    """Draw completions from the posterior, given that a known generator made the vessels.

    Implements eq:pot-posterior: members of a bank are drawn by their weights, which decides on
    the class, and then moved by elliptical slice sampling within it.

    Args:
        values: what each sherd shows.
        seen: where, the same for the whole batch.
        generate: maps codes and classes to clean vessels.
        log_likelihood: maps values and clean values to log p(x_s | z).
        bank: codes from their prior, and classes.
        generator: of all draws.
        count: completions of each sherd.
        moves: of each code after it was drawn.
        log_prior: added to the weights, where classes are not equally likely beforehand.

    Raises:
        ValueError: as `resampled`.
    """
    codes, labels = bank
    clean = generate(codes, labels)[:, seen]
    rows = [log_likelihood(v[:, None], clean) for v in values.split(16)]  # memory
    log_weights = torch.cat(rows) + (0 if log_prior is None else log_prior)
    chosen = resampled(log_weights, count, generator)
    z, kinds = codes[chosen], labels[chosen]
    for _ in range(moves):
        z = slice_move(
            z, lambda at: log_likelihood(values, generate(at, kinds)[..., seen]), generator
        )
    return Completions(z, kinds, generate(z, kinds), log_weights)


def nearest(
    values: Float[Tensor, "batch shown"],
    seen: Bool[Tensor, " dims"],
    known: Float[Tensor, "known dims"],
) -> Int[Tensor, " batch"]:
    """Return the complete vessel that agrees best with each sherd, by squared error."""
    return torch.cdist(values, known[:, seen]).argmin(dim=1)
