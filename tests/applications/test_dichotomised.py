"""Proof for litgen/applications/dichotomised.py: scipy's normal distribution, and drawn spikes."""

import math

import numpy as np
import pytest
import scipy.stats
import torch

from litgen.applications import dichotomised, spikes
from litgen.applications.hidden_chain import HiddenChain

MODEL = HiddenChain(
    torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([[0.1, 0.6], [0.5, 0.2]]), recovery=0.8
)


def test_the_probability_below_two_thresholds_is_scipy_s() -> None:
    """Over signs and sizes of thresholds and correlation. Proves eq:spk-bivariate."""
    for h, k, r in [(-1.0, 0.3, 0.6), (0.5, -0.7, -0.8), (-1.5, -1.2, 0.97), (1.0, 0.2, 0.0)]:
        found = dichotomised.both_exceed(
            *(torch.tensor(v, dtype=torch.float64) for v in (h, k, r))
        )
        expected = scipy.stats.multivariate_normal([0, 0], [[1, r], [r, 1]]).cdf([h, k])
        assert found.item() == pytest.approx(expected, abs=2e-6)


def test_thresholds_and_correlations_are_found_again() -> None:
    """From rates and joint probabilities back. Proves eq:spk-threshold and eq:spk-latent."""
    rate = torch.tensor([0.1, 0.4, 0.8], dtype=torch.float64)
    np.testing.assert_allclose(dichotomised.thresholds(rate), scipy.stats.norm.ppf(rate))
    h = dichotomised.thresholds(rate)
    r = torch.tensor([0.7, -0.3, 0.05], dtype=torch.float64)
    both = dichotomised.both_exceed(h, h.roll(1), r)
    torch.testing.assert_close(dichotomised.latent_correlation(h, h.roll(1), both), r)
    often = torch.full_like(h, 0.95)  # more often than the rarer one fires at all
    top = dichotomised.latent_correlation(h, h.roll(1), often)
    torch.testing.assert_close(top, torch.full_like(h, 0.999))
    assert dichotomised.latent_correlation(h, h, torch.zeros_like(h)).max() < -0.9


def test_drawn_spikes_have_the_rates_and_covariances_that_were_asked_for() -> None:
    """All lags, both orders, within five standard errors. Proves eq:spk-dg."""
    bins, trials = 5, 40_000
    rates, lags = MODEL.rates(), MODEL.lag_covariances(bins)
    h, latent, cut = dichotomised.space_time(rates, lags)
    assert cut < 1e-6
    torch.testing.assert_close(latent.diagonal(), torch.ones(10, dtype=torch.float64))
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(trials, 10, generator=generator, dtype=torch.float64)
    drawn = dichotomised.sample(h, latent, noise, bins)
    assert drawn.shape == (trials, 2, bins)
    error = 5 * 0.5 / math.sqrt(trials)
    assert (spikes.rates(drawn) - rates).abs().max() < error
    found = spikes.lag_covariances(drawn, bins)
    assert (found - lags).abs().max() < error / 2
    assert (lags[1] - lags[1].T).abs().max() < 1e-6 + (lags[0] - lags[1]).abs().max()


def test_the_order_in_time_is_kept() -> None:
    """A follows B: the covariance at one bin is not that at minus one. Proves eq:spk-dg."""
    ring = torch.tensor([[0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.8, 0.1, 0.1]])
    drive = torch.tensor([[0.1, 0.6, 0.1], [0.1, 0.1, 0.6]])
    model = HiddenChain(ring, drive, recovery=1.0)
    lags = model.lag_covariances(4)
    h, latent, _ = dichotomised.space_time(model.rates(), lags)
    noise = torch.randn(40_000, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = spikes.lag_covariances(dichotomised.sample(h, latent, noise, 4), 4)
    assert lags[1, 0, 1] - lags[1, 1, 0] > 0.04
    torch.testing.assert_close(found, lags, atol=6e-3, rtol=0)


def test_what_no_gaussian_has_is_repaired_and_said() -> None:
    """A refractory period asks for a matrix with negative eigenvalues: they are cut."""
    model = HiddenChain(torch.ones(1, 1), torch.tensor([[0.9]]))
    _, latent, cut = dichotomised.space_time(model.rates(), model.lag_covariances(6))
    assert cut > 0.003
    assert torch.linalg.eigvalsh(latent).min() > 0
    torch.testing.assert_close(latent.diagonal(), torch.ones(6, dtype=torch.float64))


@pytest.mark.usefixtures("unchecked")
def test_noise_of_another_size_is_refused() -> None:
    """One number for each neuron and bin."""
    with pytest.raises(ValueError, match=r"noise is \(3, 4\), thresholds \(6,\)"):
        dichotomised.sample(torch.zeros(6), torch.eye(6), torch.zeros(3, 4), 3)
