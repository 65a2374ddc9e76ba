"""Exact statistics of neurons that share a hidden Markov state and rest after a spike.

Chapter: book/applications/neurobiology.md.  Proof: tests/applications/test_hidden_chain.py.

Hidden state and last spikes of a few neurons together are a Markov chain with few states. All that
a page measures on samples is a sum over that chain. ``switch`` is the chapter's A, ``drive`` its
a_i(s), ``recovery`` its omega, ``joint`` its pi.
"""

from dataclasses import dataclass
from itertools import combinations, permutations

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = ["HiddenChain", "fano_from_lags", "noise_from_lags", "spiked", "stationary"]


@dataclass(frozen=True, eq=False)
class HiddenChain:
    """A model of spike trains, in double precision. Implements eq:spk-model.

    Without rest (recovery 1) it is eq:spk-cox, with a single hidden state eq:spk-renewal.

    Attributes:
        switch: probability from hidden state (row) to hidden state (column).
        drive: probability of each neuron to fire, by hidden state.
        recovery: what is left of it in the bin after a spike; 0 is an absolute refractory period,
            1 is none.

    Raises:
        ValueError: shapes that do not fit, or what is no probability.
    """

    switch: Float[Tensor, "states states"]
    drive: Float[Tensor, "neurons states"]
    recovery: float = 0.0

    def __post_init__(self) -> None:
        for name in ("switch", "drive"):
            given = torch.as_tensor(getattr(self, name), dtype=torch.float64)
            object.__setattr__(self, name, given)
        states = self.drive.shape[-1]
        if self.drive.dim() != 2 or self.switch.shape != (states, states):
            shapes = tuple(self.switch.shape), tuple(self.drive.shape)
            raise ValueError(f"switch and drive differ in their states: {shapes}")
        parts = self.switch.flatten(), self.drive.flatten(), torch.tensor([self.recovery])
        low = min(part.min().item() for part in parts)
        if low < 0 or max(part.max().item() for part in parts) > 1:
            raise ValueError("switch, drive and recovery must be probabilities")
        if not torch.allclose(self.switch.sum(dim=1), self.switch.new_ones(states)):
            raise ValueError(f"rows of switch sum to {self.switch.sum(dim=1).tolist()}, not to 1")
        exact = self.switch / self.switch.sum(dim=1, keepdim=True)
        object.__setattr__(self, "switch", exact)

    # a few neurons: a matrix --------------------------------------------------------------------

    def transition(
        self, drive: Float[Tensor, "batch some states"]
    ) -> Float[Tensor, "batch joint joint"]:
        """Return the chain of hidden state and last spikes. Implements eq:spk-chain.

        A joint state's number has the hidden state as its highest digit and the first neuron's
        spike as its next one.
        """
        batch, some, states = drive.shape
        matrix = self.switch.expand(batch, states, states)
        for i in range(some):  # every neuron appends a digit to the state before and after
            fires = drive[:, i]
            chance = torch.stack([fires, self.recovery * fires], dim=1)  # batch, last spike, state
            step = torch.stack([1 - chance, chance], dim=-1)  # batch, last, state, next
            inner = matrix.shape[1] // states
            matrix = torch.einsum(
                "bmsn,blsy->bmlsny",
                matrix.view(batch, states * inner, states, inner),
                step,
            ).reshape(batch, states * inner * 2, states * inner * 2)
        return matrix

    def rates(self) -> Float[Tensor, " neurons"]:
        """Return each neuron's probability to fire in a bin. Implements eq:spk-rate."""
        joint = stationary(self.transition(self.drive[:, None]))
        return (joint * spiked(joint.shape[1], 1)[0]).sum(dim=1)

    def lag_covariances(self, lags: int) -> Float[Tensor, "lags neurons neurons"]:
        """Return Cov(x_i(t), x_j(t + k)) for k = 0 .. lags - 1. Implements eq:spk-lag."""
        neurons = len(self.drive)
        found = torch.zeros(lags, neurons, neurons, dtype=torch.float64)
        alone = torch.arange(neurons)
        found[:, alone, alone] = self._products(self.drive[:, None], lags)
        if neurons > 1:
            i, j = torch.tensor(list(permutations(range(neurons), 2))).T
            found[:, i, j] = self._products(torch.stack([self.drive[i], self.drive[j]], 1), lags)
        mean = self.rates()
        return found - mean[:, None] * mean

    def _products(self, drive: Tensor, lags: int) -> Float[Tensor, "lags batch"]:
        """Return E[x(t) y(t + k)] of the first and the last neuron of each few."""
        matrix = self.transition(drive)
        joint = stationary(matrix)
        fired = spiked(joint.shape[1], drive.shape[1])
        weight = joint * fired[0]
        found = []
        for _ in range(lags):
            found.append((weight * fired[-1]).sum(dim=1))
            weight = (weight[:, None] @ matrix)[:, 0]
        return torch.stack(found)

    def interval_law(self, longest: int) -> Float[Tensor, "neurons longest"]:
        """Return the probability of the next spike after 1 .. longest bins.

        Implements eq:spk-intervals: what fires leaves, what does not goes on.
        """
        matrix = self.transition(self.drive[:, None])
        joint = stationary(matrix)
        fired = spiked(joint.shape[1], 1)[0]
        weight = joint * fired
        weight = weight / weight.sum(dim=1, keepdim=True)
        found = []
        for _ in range(longest):
            weight = (weight[:, None] @ matrix)[:, 0]
            found.append((weight * fired).sum(dim=1))
            weight = weight * (1 - fired)
        return torch.stack(found, dim=1)

    def triplets(self) -> Float[Tensor, "neurons neurons neurons"]:
        """Return third central moments of three different neurons. Implements eq:spk-triplet.

        Entries in which a neuron occurs twice are left at zero.
        """
        neurons = len(self.drive)
        three = torch.tensor(list(combinations(range(neurons), 3)))
        joint = stationary(self.transition(self.drive[three]))
        fired = spiked(joint.shape[1], 3)
        centred = fired - self.rates()[three][:, :, None]
        moments = (joint * centred.prod(dim=1)).sum(dim=1)
        found = torch.zeros(neurons, neurons, neurons, dtype=torch.float64)
        for order in permutations(range(3)):
            i, j, k = three[:, order].T
            found[i, j, k] = moments
        return found

    # all neurons at once ------------------------------------------------------------------------

    def advance(self, joint: Float[Tensor, "states patterns"]) -> Float[Tensor, "states patterns"]:
        """Move a law of hidden state and pattern by one bin, neuron by neuron.

        Implements eq:spk-advance. A pattern's number has the first neuron as its highest digit.
        """
        joint = self.switch.T @ joint
        for i, fires in enumerate(self.drive):
            parts = joint.view(len(joint), 2**i, 2, -1)
            chance = fires[:, None, None]
            fired = parts[:, :, 0] * chance + parts[:, :, 1] * (self.recovery * chance)
            joint = torch.stack([parts.sum(dim=2) - fired, fired], dim=2).flatten(1)
        return joint

    def pattern_law(self, tolerance: float = 1e-10) -> Float[Tensor, " patterns"]:
        """Return the probability of each of 2^neurons patterns of one bin.

        Implements eq:spk-advance, repeated until a step moves less than ``tolerance`` in all.

        Raises:
            ValueError: more than 20 neurons, or a chain that does not settle.
        """
        neurons = len(self.drive)
        if neurons > 20:
            raise ValueError(f"2^{neurons} patterns are too many; at most 20 neurons")
        each = stationary(self.transition(self.drive[:, None])).view(neurons, -1, 2)
        hidden = each[0].sum(dim=1)
        joint = hidden[:, None]
        for one in each:  # as if neurons were independent given the state: a good start
            given = one / hidden[:, None]
            joint = (joint[:, :, None] * given[:, None]).flatten(1)
        for _ in range(1_000):
            moved = self.advance(joint)
            if (moved - joint).abs().sum() < tolerance:
                return moved.sum(dim=0)
            joint = moved
        raise ValueError("the law of patterns has not settled after 1,000 steps")

    def population_law(self) -> Float[Tensor, " counts"]:
        """Return the probability that 0, 1, .. all neurons fire in the same bin.

        Implements eq:spk-population.
        """
        patterns = self.pattern_law()
        neurons = len(self.drive)
        counts = spiked(len(patterns), neurons).sum(dim=0).long()
        return torch.zeros(neurons + 1, dtype=torch.float64).index_add(0, counts, patterns)


def stationary(matrix: Float[Tensor, "batch joint joint"]) -> Float[Tensor, "batch joint"]:
    """Return the law that a chain's step leaves as it is. Implements eq:spk-stationary.

    The equations pi (P - I) = 0 are dependent: one of them gives way to sum(pi) = 1.
    """
    size = matrix.shape[-1]
    equations = matrix.transpose(1, 2) - torch.eye(size, dtype=matrix.dtype)
    equations[:, -1] = 1
    right = torch.zeros(len(matrix), size, dtype=matrix.dtype)
    right[:, -1] = 1
    law: Tensor = torch.linalg.solve(equations, right)
    return law


def spiked(states: int, neurons: int) -> Float[Tensor, "neurons states"]:
    """Return which neurons fired in each joint state: the digits of its number."""
    number = torch.arange(states)
    digits = [(number >> (neurons - 1 - i)) & 1 for i in range(neurons)]
    return torch.stack(digits).double()


def fano_from_lags(
    rates: Float[Tensor, " neurons"], lag_covariances: Float[Tensor, "bins neurons neurons"]
) -> Float[Tensor, " neurons"]:
    """Return Fano factors of counts in as many bins as there are lags.

    Implements eq:spk-fano-lags.
    """
    bins = len(lag_covariances)
    return _count_covariances(lag_covariances).diagonal() / (bins * rates)


def noise_from_lags(
    lag_covariances: Float[Tensor, "bins neurons neurons"],
) -> Float[Tensor, "neurons neurons"]:
    """Return correlations of counts in as many bins as there are lags. Implements eq:spk-noise."""
    covariance = _count_covariances(lag_covariances)
    scale = covariance.diagonal().sqrt()
    return covariance / (scale[:, None] * scale)


def _count_covariances(lag_covariances: Tensor) -> Float[Tensor, "neurons neurons"]:
    """Add up (bins - |k|) Cov(x_i(0), x_j(k)) over all lags, those before zero too."""
    bins = len(lag_covariances)
    weights = torch.arange(bins, 0, -1, dtype=lag_covariances.dtype)[:, None, None]
    weighted = (weights * lag_covariances).sum(dim=0)
    return weighted + weighted.T - bins * lag_covariances[0]
