"""Statistics of spike trains: rates, Fano factors, correlations, intervals, counts, triplets.

Chapter: book/applications/neurobiology.md.  Proof: tests/applications/test_spikes.py.
References: Churchland et al., "Stimulus onset quenches neural variability" (2010), for the Fano
factor across trials; Schneidman, Berry, Segev & Bialek, "Weak pairwise correlations imply strongly
correlated network states in a neural population" (2006), for how many neurons fire together.

All functions take spikes, 0 or 1, of shape (trials, neurons, bins), pool bins (the trains are
taken to be stationary), and return double precision. The paper's x_i(t) is ``spikes[:, i, t]``.
"""

import torch
from torch import Tensor

from litgen.shapes import Bool, Float, UInt8

__all__ = [
    "count_correlations",
    "count_variance_parts",
    "fano_factors",
    "interval_law",
    "lag_covariances",
    "population_law",
    "rates",
    "root_mean_square",
    "trials_to_tell",
    "triplets",
]

Spikes = (
    UInt8[Tensor, "trials neurons bins"]
    | Bool[Tensor, "trials neurons bins"]
    | Float[Tensor, "trials neurons bins"]
)


def rates(spikes: Spikes) -> Float[Tensor, " neurons"]:
    """Return each neuron's probability to fire in a bin. Implements eq:spk-rate.

    Raises:
        ValueError: no trials, or values other than 0 and 1 (in all functions of this module).
    """
    return _checked(spikes).mean(dim=(0, 2))


def fano_factors(spikes: Spikes) -> Float[Tensor, " neurons"]:
    """Return variance over mean of each neuron's count in a trial. Implements eq:spk-fano.

    The variance is the unbiased one, over trials. 1 for a Poisson process; 1 - rate for
    independent bins. A neuron that never fires has no Fano factor: not a number.

    Raises:
        ValueError: fewer than two trials.
    """
    counts = _counts(spikes)
    return counts.var(dim=0) / counts.mean(dim=0)


def count_correlations(spikes: Spikes) -> Float[Tensor, "neurons neurons"]:
    """Return the correlation over trials of two neurons' counts. Implements eq:spk-noise.

    Raises:
        ValueError: fewer than two trials.
    """
    counts = _counts(spikes)
    centred = counts - counts.mean(dim=0)
    covariance = centred.T @ centred
    scale = covariance.diagonal().sqrt()
    return covariance / (scale[:, None] * scale)


def lag_covariances(spikes: Spikes, lags: int) -> Float[Tensor, "lags neurons neurons"]:
    """Return Cov(x_i(t), x_j(t + k)) for k = 0 .. lags - 1. Implements eq:spk-lag.

    Entry [k, i, j]: neuron j is looked at k bins after neuron i. [0] holds the covariances in the
    same bin, [:, i, i] autocovariances.

    Raises:
        ValueError: as many lags as there are bins, or none.
    """
    x = _checked(spikes)
    _check_lags(lags, x.shape[2])
    x = x - x.mean(dim=(0, 2))[:, None]
    bins = x.shape[2]
    found = []
    for k in range(lags):
        early, late = x[:, :, : bins - k], x[:, :, k:]
        products = torch.einsum("nit,njt->ij", early, late)
        found.append(products / (len(x) * (bins - k)))
    return torch.stack(found)


def interval_law(spikes: Spikes, longest: int) -> Float[Tensor, "neurons longest"]:
    """Return the probability that the next spike is 1, 2, .. longest bins after a spike.

    Implements eq:spk-intervals. Counted from spikes that have ``longest`` bins after them: to take
    all intervals that fit into a trial would favour short ones. The rest, up to 1, is longer.

    Raises:
        ValueError: as many lags as there are bins, or none.
    """
    x = _checked(spikes).bool()
    bins = x.shape[2]
    _check_lags(longest + 1, bins)
    waiting = x[:, :, : bins - longest].clone()
    starts = waiting.sum(dim=(0, 2)).double()
    found = []
    for k in range(1, longest + 1):
        now = x[:, :, k : bins - longest + k]
        found.append((waiting & now).sum(dim=(0, 2)) / starts)
        waiting &= ~now
    return torch.stack(found, dim=1)


def population_law(spikes: Spikes) -> Float[Tensor, " counts"]:
    """Return the probability that 0, 1, .. all neurons fire in the same bin.

    Implements eq:spk-population.
    """
    x = _checked(spikes)
    counts = x.sum(dim=1).long().flatten()
    return torch.bincount(counts, minlength=x.shape[1] + 1).double() / len(counts)


def triplets(spikes: Spikes) -> Float[Tensor, "neurons neurons neurons"]:
    """Return the third central moment of three neurons in the same bin. Implements eq:spk-triplet.

    Zero where three neurons are independent, or any one of them of the other two.
    """
    x = _checked(spikes)
    x = (x - x.mean(dim=(0, 2))[:, None]).transpose(1, 2).flatten(0, 1)
    return torch.stack([(x * x[:, [i]]).T @ x for i in range(x.shape[1])]) / len(x)


def root_mean_square(
    found: Float[Tensor, "*shape"],
    truth: Float[Tensor, "*shape"],
    chosen: Bool[Tensor, "*shape"] | None = None,
) -> float:
    """Return the root mean square difference of a statistic from its exact value.

    Implements eq:spk-error. Divided by that of fresh trials of the model it says how many times
    worse than chance a generator is.

    Args:
        found: measured.
        truth: exact.
        chosen: which entries count; all if None.

    Raises:
        ValueError: other shapes.
    """
    if found.shape != truth.shape or (chosen is not None and chosen.shape != truth.shape):
        raise ValueError(f"shapes differ: {tuple(found.shape)} and {tuple(truth.shape)}")
    difference = (found - truth).double()
    difference = difference if chosen is None else difference[chosen]
    return difference.square().mean().sqrt().item()


def trials_to_tell(error: float, floor: float, trials: int) -> float:
    """Return how many trials have a sampling error as large as a generator's error.

    Implements eq:spk-trials: with fewer of them nobody can tell the generator from the model by
    this statistic.

    Args:
        error: of the generator, root mean square.
        floor: of that many fresh trials of the model.
        trials: that the floor was measured on.

    Raises:
        ValueError: what is not positive.
    """
    if not (error > 0 and floor > 0 and trials > 0):
        raise ValueError(f"all must be positive, got {error}, {floor} and {trials}")
    return trials * (floor / error) ** 2


def count_variance_parts(
    probabilities: Float[Tensor, "codes neurons bins"],
) -> tuple[Float[Tensor, " neurons"], Float[Tensor, " neurons"]]:
    """Return the count's variance within a code, and between codes. Implements eq:spk-total.

    Bins are independent given the code. Divided by the mean count, the two add up to the Fano
    factor.

    Args:
        probabilities: of a spike, for many codes.

    Raises:
        ValueError: fewer than two codes, or what is no probability.
    """
    p = probabilities.double()
    if len(p) < 2 or p.min() < 0 or p.max() > 1:
        raise ValueError(f"probabilities of at least 2 codes, got {tuple(p.shape)}")
    return (p * (1 - p)).sum(dim=2).mean(dim=0), p.sum(dim=2).var(dim=0)


def _checked(spikes: Tensor) -> Tensor:
    """Return spikes in double precision, after a look at shape and values."""
    if spikes.dim() != 3 or spikes.numel() == 0:
        raise ValueError(f"spikes have shape (trials, neurons, bins), got {tuple(spikes.shape)}")
    if not ((spikes == 0) | (spikes == 1)).all():
        raise ValueError("spikes must be 0 or 1; probabilities have to be drawn from first")
    return spikes.double()


def _counts(spikes: Tensor) -> Tensor:
    """Return each trial's spikes by neuron."""
    counts = _checked(spikes).sum(dim=2)
    if len(counts) < 2:
        raise ValueError(f"variances need at least 2 trials, got {len(counts)}")
    return counts


def _check_lags(lags: int, bins: int) -> None:
    if not 1 <= lags <= bins:
        raise ValueError(f"1 to {bins} lags fit into {bins} bins, got {lags}")
