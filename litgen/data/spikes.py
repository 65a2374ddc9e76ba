"""Drawn spike trains of 8 neurons in 32 bins, from a model whose statistics are known exactly.

Proof: tests/data/test_spikes.py.

No animal was recorded. A hidden state that all neurons share goes round a ring: rest, first group,
second group, rest. In each bin a neuron fires with a probability that depends on that state; it
never fires in two bins in a row (refractory period). Given the hidden state neurons know nothing
of one another. ``litgen/applications/hidden_chain.py`` computes rates, Fano factors, correlations
and more of this model without drawing.

Uniform numbers are compared with sums of constants in double precision, which all machines do
alike: they draw the same trains, byte for byte.
"""

import functools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from litgen.data.drawing import verified
from litgen.data.sources import Record, Split, check_split
from litgen.shapes import Float, UInt8

__all__ = ["BINS", "CHECKSUM", "DRIVE", "NEURONS", "SWITCH", "SpikeSet", "draw", "load"]

NEURONS, BINS = 8, 32
WARM_UP = 128
"""Bins that are drawn and thrown away, until nothing is left of how the state began."""
SWITCH = ((0.95, 0.04, 0.01), (0.01, 0.90, 0.09), (0.09, 0.01, 0.90))
"""From which hidden state (row) to which (column): rest, first group, second group."""
DRIVE = (
    *((0.03, 0.35, 0.06), (0.04, 0.50, 0.05), (0.05, 0.60, 0.04)),
    *((0.04, 0.05, 0.35), (0.03, 0.06, 0.50), (0.06, 0.04, 0.60)),
    *((0.35, 0.10, 0.08), (0.20, 0.20, 0.20)),
)
"""Probability to fire in each hidden state, one row a neuron: two groups of three, one that the
groups silence, one that the hidden state leaves alone."""
CHECKSUM: dict[str, str] = {
    "train": "f2eb50d682477dd3a9aa4d6b3990393811e46501043a3448311ad2ebc4dc9d10",
    "test": "68e9081a545052bdb99846632f61a21878eaeef8c8665ca4f1a137dba7c290a8",
}
COUNTS = {"train": 8_000, "test": 8_000}
SEEDS = {"train": 1, "test": 2}


@dataclass(frozen=True, eq=False)
class SpikeSet:
    """Spike trains, 1 where a neuron fired, the hidden states, and where they came from.

    Attributes:
        spikes: 0 or 1.
        states: 0 for rest, 1 and 2 for the group that is active; no model is to see them.
        record: what they are.
    """

    spikes: UInt8[Tensor, "trials neurons bins"]
    states: UInt8[Tensor, "trials bins"]
    record: Record

    def describe(self) -> str:
        """Return how much there is, for a line of the command line."""
        trials, neurons, bins = self.spikes.shape
        return f"{trials:,} trials of {neurons} neurons in {bins} bins"


def draw(
    trials: int,
    random: np.random.Generator,
    bins: int = BINS,
    switch: Float[np.ndarray, "states states"] | None = None,
    drive: Float[np.ndarray, "neurons states"] | None = None,
    recovery: float = 0.0,
) -> tuple[UInt8[np.ndarray, "trials neurons bins"], UInt8[np.ndarray, "trials bins"]]:
    """Draw spike trains and hidden states, each trial a stretch of a process without beginning.

    Implements eq:spk-model.

    Args:
        trials: how many.
        random: draws one number a state and one a neuron, bin by bin.
        bins: in a trial.
        switch: probabilities from state (row) to state (column); this module's if None.
        drive: probability to fire, by neuron and state; this module's if None.
        recovery: what is left of that probability right after a spike; 0 forbids a second one.

    Raises:
        ValueError: probabilities outside [0, 1], rows that do not sum to one, or shapes that do
            not fit.
    """
    chances = np.asarray(SWITCH if switch is None else switch, np.float64)
    firing = np.asarray(DRIVE if drive is None else drive, np.float64)
    _check(chances, firing, recovery)
    limits = np.cumsum(chances, axis=1)[:, :-1]
    state = np.zeros(trials, np.int64)
    spiked = np.zeros((trials, len(firing)), bool)
    spikes = np.zeros((trials, len(firing), bins), np.uint8)
    states = np.zeros((trials, bins), np.uint8)
    for at in range(-WARM_UP, bins):
        state = (random.random(trials)[:, None] >= limits[state]).sum(axis=1)
        chance = firing.T[state]
        chance = np.where(spiked, recovery * chance, chance)
        spiked = random.random(chance.shape) < chance
        if at >= 0:
            spikes[:, :, at], states[:, at] = spiked, state
    return spikes, states


def _check(switch: np.ndarray, drive: np.ndarray, recovery: float) -> None:
    """Raise ValueError for what is no model."""
    if switch.ndim != 2 or drive.ndim != 2 or switch.shape != (drive.shape[1],) * 2:
        raise ValueError(f"switch {switch.shape} and drive {drive.shape} differ in their states")
    for name, part in (("switch", switch), ("drive", drive), ("recovery", np.asarray(recovery))):
        if not ((part >= 0) & (part <= 1)).all():
            raise ValueError(f"{name} must hold probabilities, got {part.min()} to {part.max()}")
    if not np.allclose(switch.sum(axis=1), 1):
        raise ValueError(f"rows of switch must sum to 1, got {switch.sum(axis=1).tolist()}")


def load(split: Split = "train", stand_in: bool = True) -> SpikeSet:
    """Return the drawn spike trains and their hidden states.

    Args:
        split: "train" or "test", 8,000 trials each.
        stand_in: accepted so that all loaders are called alike; the set is never replaced.

    Raises:
        WrongBytes: this machine draws other trains than all others.
    """
    check_split(split)
    spikes, states = _drawn(split)
    record = verified((spikes, states), "drawn spike trains", __name__, split, CHECKSUM, COUNTS)
    return SpikeSet(spikes.clone(), states.clone(), record)


@functools.cache
def _drawn(split: Split) -> tuple[Tensor, Tensor]:
    """Return trains and states; one drawing serves a whole session."""
    drawn = draw(COUNTS[split], np.random.default_rng(SEEDS[split]))
    return torch.from_numpy(drawn[0]), torch.from_numpy(drawn[1])
