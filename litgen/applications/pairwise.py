"""Pairwise maximum entropy: the least that rates and pairs in the same bin say about patterns.

Chapter: book/applications/neurobiology.md.  Proof: tests/applications/test_pairwise.py.
Reference: Schneidman, Berry, Segev & Bialek, "Weak pairwise correlations imply strongly correlated
network states in a neural population" (2006).

All 2^n patterns are enumerated, so that nothing is sampled. The paper's h_i and J_ij are the
parameters' first and later entries.
"""

from itertools import combinations

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = ["features", "fit", "patterns"]


def patterns(neurons: int) -> Float[Tensor, "patterns neurons"]:
    """Return all patterns of one bin; the first neuron is the highest digit of the number.

    Raises:
        ValueError: more than 14 neurons.
    """
    if not 1 <= neurons <= 14:
        raise ValueError(f"1 to 14 neurons can be enumerated, got {neurons}")
    number = torch.arange(2**neurons)
    return torch.stack([(number >> i) & 1 for i in reversed(range(neurons))], dim=1).double()


def features(neurons: int) -> Float[Tensor, "patterns features"]:
    """Return of each pattern who fires, and which pairs fire together."""
    each = patterns(neurons)
    pairs = [each[:, i] * each[:, j] for i, j in combinations(range(neurons), 2)]
    return torch.cat([each, *(pair[:, None] for pair in pairs)], dim=1)


def fit(
    wanted: Float[Tensor, " features"], neurons: int, steps: int = 30
) -> Float[Tensor, " patterns"]:
    """Return the law of patterns with these means of `features`, and the most entropy.

    Implements eq:spk-maxent by Newton's method: the gradient of the log-normaliser is the mean of
    the features, its Hessian their covariance. Steps are halved while they overshoot.

    Args:
        wanted: probabilities to fire, and to fire together, pair by pair.
        neurons: how many.
        steps: of Newton's method at most.

    Raises:
        ValueError: another number of features, or means that no law has.
    """
    table = features(neurons)
    if wanted.shape != table.shape[1:]:
        raise ValueError(f"{neurons} neurons have {table.shape[1]} features, got {len(wanted)}")
    wanted = wanted.double()
    weight = torch.zeros_like(wanted)

    def objective(weight: Tensor) -> Tensor:
        return torch.logsumexp(table @ weight, dim=0) - weight @ wanted

    for _ in range(steps):
        law = (table @ weight).softmax(dim=0)
        mean = law @ table
        gap = wanted - mean
        if gap.abs().max() < 1e-12:
            return law
        centred = table - mean
        hessian = centred.T @ (law[:, None] * centred)
        step = torch.linalg.lstsq(hessian, gap[:, None], driver="gelsd").solution[:, 0]
        size, slope = 1.0, -(gap @ step)
        while objective(weight + size * step) > objective(weight) + 0.25 * size * slope:
            size /= 2
            if size < 1e-8:
                break
        weight = weight + size * step
    law = (table @ weight).softmax(dim=0)
    if (law @ table - wanted).abs().max() > 1e-8:
        raise ValueError("Newton's method has not arrived: no law has these means")
    return law
