"""Proof for litgen/data/spikes.py: frequencies against probabilities, checksums, errors."""

import numpy as np
import pytest
import torch

from litgen.data import sources, spikes

SWITCH = np.array([[0.7, 0.3], [0.2, 0.8]])
DRIVE = np.array([[0.1, 0.6], [0.5, 0.2]])


def test_frequencies_are_the_model_s() -> None:
    """Switches, firing after silence and after a spike. Proves eq:spk-model."""
    drawn, states = spikes.draw(4_000, np.random.default_rng(3), 30, SWITCH, DRIVE, recovery=0.4)
    before, after = states[:, :-1], states[:, 1:]
    for s in (0, 1):
        counts = (before == s).sum()
        found = (after[before == s] == 1).mean()
        assert abs(found - SWITCH[s, 1]) < 5 * 0.5 / counts**0.5
        for i in range(2):
            silent = (drawn[:, i, :-1] == 0) & (after == s)
            resting = (drawn[:, i, :-1] == 1) & (after == s)
            fired = drawn[:, i, 1:]
            assert abs(fired[silent].mean() - DRIVE[i, s]) < 5 * 0.5 / silent.sum() ** 0.5
            assert abs(fired[resting].mean() - 0.4 * DRIVE[i, s]) < 5 * 0.5 / resting.sum() ** 0.5


def test_trials_start_in_the_long_run_s_law() -> None:
    """The first bin is like the last: hidden states, and spikes."""
    drawn, states = spikes.draw(20_000, np.random.default_rng(4), 12, SWITCH, DRIVE)
    assert states[:, 0].mean() == pytest.approx(0.6, abs=0.02)  # 0.3 / (0.3 + 0.2)
    assert abs(drawn[:, :, 0].mean(0) - drawn[:, :, -1].mean(0)).max() < 0.02


def test_given_the_state_neurons_are_independent() -> None:
    """Without a refractory period covariances within one hidden state vanish."""
    drawn, states = spikes.draw(4_000, np.random.default_rng(5), 20, SWITCH, DRIVE, recovery=1.0)
    for s in (0, 1):
        fired = drawn.transpose(1, 0, 2)[:, states == s].astype(float)
        assert abs(np.corrcoef(fired)[0, 1]) < 5 / fired.shape[1] ** 0.5


@pytest.mark.usefixtures("unchecked")
def test_the_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes, checksums that hold on every machine, no spike after a spike, copies, errors."""
    train, test = spikes.load("train"), spikes.load("test")
    assert train.spikes.shape == test.spikes.shape == (8_000, 8, 32)
    assert train.describe() == "8,000 trials of 8 neurons in 32 bins"
    assert train.record.checksum == spikes.CHECKSUM["train"] != test.record.checksum
    assert not train.record.stand_in
    assert not (train.spikes[:, :, 1:] & train.spikes[:, :, :-1]).any()
    assert (train.spikes != test.spikes).any()
    train.spikes.zero_()
    assert spikes.load("train").spikes.any()
    assert set(test.states.unique().tolist()) == {0, 1, 2}
    assert torch.tensor(spikes.SWITCH).sum(dim=1) == pytest.approx(torch.ones(3))
    with pytest.raises(ValueError, match="split"):
        spikes.load("validation")  # type: ignore[arg-type]
    monkeypatch.setitem(spikes.CHECKSUM, "test", "another")
    with pytest.raises(sources.WrongBytes, match="drawn spike trains test has checksum"):
        spikes.load("test")


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_model_is_refused() -> None:
    """Shapes, probabilities, rows."""
    random = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"switch \(2, 2\) and drive \(2, 3\) differ"):
        spikes.draw(3, random, 4, SWITCH, np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"drive must hold probabilities, got -0\.1 to 0\.6"):
        spikes.draw(3, random, 4, SWITCH, np.array([[-0.1, 0.6]]))
    with pytest.raises(ValueError, match="recovery must hold"):
        spikes.draw(3, random, 4, SWITCH, DRIVE, recovery=1.5)
    with pytest.raises(ValueError, match="rows of switch must sum to 1"):
        spikes.draw(3, random, 4, SWITCH / 2, DRIVE)
