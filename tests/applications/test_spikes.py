"""Proof for litgen/applications/spikes.py: loops, numpy and scipy."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from litgen.applications import spikes


@pytest.fixture
def trains() -> Tensor:
    """Return 40 trials of 4 neurons in 9 bins, with unequal rates and a shared ups and downs."""
    generator = torch.Generator().manual_seed(3)
    level = torch.rand(40, 1, 1, generator=generator)
    chance = torch.tensor([0.2, 0.5, 0.7, 0.9])[:, None] * level
    return (torch.rand(40, 4, 9, generator=generator) < chance).to(torch.uint8)


def test_rates_and_fano_factors_are_those_of_numpy(trains: Tensor) -> None:
    """Unbiased variance over mean of the counts. Proves eq:spk-rate and eq:spk-fano."""
    x = trains.numpy().astype(float)
    counts = x.sum(2)
    fano = [np.var(counts[:, i], ddof=1) / np.mean(counts[:, i]) for i in range(4)]
    np.testing.assert_allclose(spikes.rates(trains).numpy(), x.mean((0, 2)))
    np.testing.assert_allclose(spikes.fano_factors(trains).numpy(), fano)
    assert np.ptp(fano) > 0.1


def test_a_bernoulli_population_has_a_fano_factor_of_one_less_its_rate() -> None:
    """Independent bins: 1 - r, within five standard errors. Proves eq:spk-fano."""
    rate = torch.tensor([0.1, 0.4, 0.8])
    generator = torch.Generator().manual_seed(0)
    drawn = torch.rand(20_000, 3, 16, generator=generator) < rate[:, None]
    error = 5 * math.sqrt(2 / 20_000)
    assert (spikes.fano_factors(drawn) - (1 - rate)).abs().max() < error


def test_count_correlations_are_those_of_scipy(trains: Tensor) -> None:
    """Pearson's correlation of the counts, pair by pair. Proves eq:spk-noise."""
    counts = trains.sum(2).numpy()
    found = spikes.count_correlations(trains)
    for i in range(4):
        for j in range(4):
            expected = scipy.stats.pearsonr(counts[:, i], counts[:, j]).statistic
            assert found[i, j].item() == pytest.approx(expected)
    assert found[0, 2] != pytest.approx(found[1, 2].item())


def test_lag_covariances_by_loops(trains: Tensor) -> None:
    """Every pair of bins k apart, the second neuron later. Proves eq:spk-lag."""
    x = trains.numpy().astype(float)
    mean = x.mean((0, 2))
    found = spikes.lag_covariances(trains, 4)
    for k in range(4):
        for i in range(4):
            for j in range(4):
                terms = [
                    (x[n, i, t] - mean[i]) * (x[n, j, t + k] - mean[j])
                    for n in range(40)
                    for t in range(9 - k)
                ]
                assert found[k, i, j].item() == pytest.approx(sum(terms) / len(terms))
    assert (found[1] - found[1].T).abs().max() > 1e-3


def test_intervals_by_loops(trains: Tensor) -> None:
    """The next spike after each spike that has enough bins behind it. Proves eq:spk-intervals."""
    longest = 4
    found = spikes.interval_law(trains, longest)
    for i in range(4):
        counts, starts = np.zeros(longest), 0
        for train in trains[:, i].tolist():
            for t in range(9 - longest):
                if train[t]:
                    starts += 1
                    later = [k for k in range(1, longest + 1) if train[t + k]]
                    if later:
                        counts[later[0] - 1] += 1
        np.testing.assert_allclose(found[i].numpy(), counts / starts)
    assert (found.sum(dim=1) < 1).all()


def test_how_many_fire_together(trains: Tensor) -> None:
    """A histogram of the sums over neurons. Proves eq:spk-population."""
    counts = trains.sum(1).flatten().tolist()
    expected = [counts.count(k) / len(counts) for k in range(5)]
    np.testing.assert_allclose(spikes.population_law(trains).numpy(), expected)
    few = torch.zeros(2, 6, 3, dtype=torch.uint8)
    assert spikes.population_law(few).tolist() == [1, 0, 0, 0, 0, 0, 0]


def test_triplets_by_loops(trains: Tensor) -> None:
    """Products of three centred neurons in the same bin. Proves eq:spk-triplet."""
    x = trains.numpy().astype(float)
    x = x - x.mean((0, 2))[:, None]
    found = spikes.triplets(trains)
    for i in range(4):
        for j in range(4):
            for k in range(4):
                expected = (x[:, i] * x[:, j] * x[:, k]).mean()
                assert found[i, j, k].item() == pytest.approx(expected)
    assert found[0, 1, 2].abs() > 1e-4


def test_the_error_is_a_root_mean_square() -> None:
    """By hand, over all entries and over chosen ones. Proves eq:spk-error."""
    found, truth = torch.tensor([1.0, 2.0, 5.0]), torch.tensor([1.0, 4.0, 1.0])
    assert spikes.root_mean_square(found, truth) == pytest.approx(math.sqrt(20 / 3))
    chosen = torch.tensor([True, True, False])
    assert spikes.root_mean_square(found, truth, chosen) == pytest.approx(math.sqrt(2))


def test_the_trials_that_tell_a_generator_apart() -> None:
    """The error of a mean, drawn many times. Proves eq:spk-trials."""
    assert spikes.trials_to_tell(0.2, 0.1, 1_000) == pytest.approx(250)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(400, 1_600, generator=generator, dtype=torch.float64)
    floor = drawn.mean(dim=1).square().mean().sqrt().item()
    enough = round(spikes.trials_to_tell(0.1, floor, 1_600))
    assert drawn[:, :enough].mean(dim=1).square().mean().sqrt().item() == pytest.approx(
        0.1, rel=0.2
    )


def test_variance_within_and_between_codes() -> None:
    """Together the variance of counts that are drawn. Proves eq:spk-total."""
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(3, 2, 6, generator=generator, dtype=torch.float64)
    within, between = spikes.count_variance_parts(p)
    for i in range(2):
        inner = [sum(v * (1 - v) for v in p[c, i].tolist()) for c in range(3)]
        outer = [sum(p[c, i].tolist()) for c in range(3)]
        assert within[i].item() == pytest.approx(np.mean(inner))
        assert between[i].item() == pytest.approx(np.var(outer, ddof=1))
    many = torch.rand(200_000, 1, 1, generator=generator) * torch.tensor([[0.3, 0.9, 0.5]])
    within, between = spikes.count_variance_parts(many)
    counts = (torch.rand(many.shape, generator=generator) < many).double().sum(dim=2)
    assert (within + between).item() == pytest.approx(counts.var().item(), rel=0.02)


@pytest.mark.usefixtures("unchecked")
def test_what_are_no_spikes_is_refused(trains: Tensor) -> None:
    """Probabilities, other shapes, single trials, lags that do not fit."""
    with pytest.raises(ValueError, match="probabilities have to be drawn from first"):
        spikes.rates(trains * 0.5)
    with pytest.raises(ValueError, match=r"shape \(trials, neurons, bins\), got \(4, 9\)"):
        spikes.rates(trains[0])
    with pytest.raises(ValueError, match="got \\(0, 4, 9\\)"):
        spikes.population_law(trains[:0])
    for function in (spikes.fano_factors, spikes.count_correlations):
        with pytest.raises(ValueError, match="at least 2 trials, got 1"):
            function(trains[:1])
    with pytest.raises(ValueError, match="1 to 9 lags fit into 9 bins, got 10"):
        spikes.lag_covariances(trains, 10)
    with pytest.raises(ValueError, match="lags fit"):
        spikes.interval_law(trains, 9)
    assert spikes.lag_covariances(trains, 9).shape == (9, 4, 4)
    assert spikes.interval_law(trains, 8).shape == (4, 8)
    with pytest.raises(ValueError, match=r"all must be positive, got 0\.0, 1\.0 and 5"):
        spikes.trials_to_tell(0.0, 1.0, 5)
    for wrong in (torch.zeros(1, 2, 3), torch.full((2, 2, 3), 1.5), torch.full((2, 2, 3), -0.1)):
        with pytest.raises(ValueError, match="probabilities of at least 2 codes"):
            spikes.count_variance_parts(wrong)
    with pytest.raises(ValueError, match=r"shapes differ: \(3,\) and \(2,\)"):
        spikes.root_mean_square(torch.zeros(3), torch.zeros(2))
