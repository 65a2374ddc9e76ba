"""Proof for litgen/applications/hidden_chain.py: every path by itself, closed forms."""

from itertools import permutations

import numpy as np
import pytest
import torch
from torch import Tensor

from litgen.applications import hidden_chain
from litgen.applications.hidden_chain import HiddenChain
from tests import oracles

SWITCH = np.array([[0.7, 0.3], [0.15, 0.85]])
DRIVE = np.array([[0.1, 0.6], [0.5, 0.2], [0.3, 0.7]])
BINS = 3


@pytest.fixture(scope="module", params=[0.0, 0.35])
def both(request: pytest.FixtureRequest) -> tuple[HiddenChain, Tensor, Tensor]:
    """Return a model, all its trains and their probabilities; two recoveries."""
    trains, p = oracles.enumerated_trains(SWITCH, DRIVE, request.param, BINS)
    model = HiddenChain(torch.tensor(SWITCH), torch.tensor(DRIVE), request.param)
    assert p.sum().item() == pytest.approx(1)
    return model, trains, p


Both = tuple[HiddenChain, Tensor, Tensor]


def test_rates_are_sums_over_paths(both: Both) -> None:
    """The same in every bin. Proves eq:spk-rate and eq:spk-stationary."""
    model, trains, p = both
    each = torch.einsum("p,pnt->tn", p, trains)
    torch.testing.assert_close(each, model.rates().expand(BINS, 3))


def test_lag_covariances_are_sums_over_paths(both: Both) -> None:
    """The second neuron later, one neuron with itself too. Proves eq:spk-lag and eq:spk-chain."""
    model, trains, p = both
    found = model.lag_covariances(BINS)
    centred = trains - model.rates()[:, None]
    for k in range(BINS):
        expected = torch.einsum("p,pi,pj->ij", p, centred[:, :, 0], centred[:, :, k])
        torch.testing.assert_close(found[k], expected)
    assert (found[1] - found[1].T).abs().max() > 1e-3


def test_fano_factors_and_count_correlations_are_sums_over_paths(both: Both) -> None:
    """Variances of the counts themselves. Proves eq:spk-fano-lags and eq:spk-noise."""
    model, trains, p = both
    counts = trains.sum(dim=2)
    mean = p @ counts
    covariance = (counts - mean).T @ (p[:, None] * (counts - mean))
    lags = model.lag_covariances(BINS)
    found = hidden_chain.fano_from_lags(model.rates(), lags)
    torch.testing.assert_close(found, covariance.diagonal() / mean)
    scale = covariance.diagonal().sqrt()
    torch.testing.assert_close(
        hidden_chain.noise_from_lags(lags), covariance / (scale[:, None] * scale)
    )


def test_intervals_are_sums_over_paths(both: Both) -> None:
    """A spike in the first bin, and the next one k bins later. Proves eq:spk-intervals."""
    model, trains, p = both
    found = model.interval_law(2)
    for i in range(3):
        first = trains[:, i, 0] == 1
        start = p[first].sum()
        one = first & (trains[:, i, 1] == 1)
        two = first & (trains[:, i, 1] == 0) & (trains[:, i, 2] == 1)
        torch.testing.assert_close(found[i], torch.stack([p[one].sum(), p[two].sum()]) / start)


def test_triplets_and_patterns_are_sums_over_paths(both: Both) -> None:
    """Of one bin, in any order. Proves eq:spk-triplet, eq:spk-population and eq:spk-advance."""
    model, trains, p = both
    bin_ = trains[:, :, 1]
    moment = (p * (bin_ - model.rates()).prod(dim=1)).sum()
    found = model.triplets()
    for order in permutations(range(3)):
        torch.testing.assert_close(found[order], moment)
    assert (found != 0).sum() == 6
    number = (bin_ @ torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64)).long()
    law = torch.zeros(8, dtype=torch.float64).index_add(0, number, p)
    torch.testing.assert_close(model.pattern_law(), law, atol=1e-9, rtol=0)
    counts = torch.zeros(4, dtype=torch.float64).index_add(0, bin_.sum(dim=1).long(), p)
    torch.testing.assert_close(model.population_law(), counts, atol=1e-9, rtol=0)


def test_without_a_refractory_period_all_is_known_by_hand() -> None:
    """A Cox process with two states: rates, and covariances that fall off.

    Proves eq:spk-cox.
    """
    model = HiddenChain(torch.tensor(SWITCH), torch.tensor(DRIVE), recovery=1.0)
    active = 0.3 / 0.45
    rate = (1 - active) * DRIVE[:, 0] + active * DRIVE[:, 1]
    np.testing.assert_allclose(model.rates().numpy(), rate)
    found = model.lag_covariances(5).numpy()
    difference = DRIVE[:, 1] - DRIVE[:, 0]
    for k in range(5):
        expected = active * (1 - active) * 0.55**k * np.outer(difference, difference)
        if k == 0:
            np.fill_diagonal(expected, rate * (1 - rate))
        np.testing.assert_allclose(found[k], expected, atol=1e-12)


def test_one_state_with_rest_is_a_renewal_process() -> None:
    """Rate, intervals, and the Fano factor of long counts. Proves eq:spk-renewal."""
    a = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    model = HiddenChain(torch.ones(1, 1), a[:, None])
    torch.testing.assert_close(model.rates(), a / (1 + a))
    k = torch.arange(1, 7)
    expected = torch.where(k == 1, 0.0, a[:, None] * (1 - a[:, None]) ** (k - 2))
    torch.testing.assert_close(model.interval_law(6), expected)
    fano = hidden_chain.fano_from_lags(model.rates(), model.lag_covariances(4_000))
    mean, variance = 1 + 1 / a, (1 - a) / a**2  # of an interval
    torch.testing.assert_close(fano, variance / mean**2, atol=2e-3, rtol=0)
    assert model.lag_covariances(2)[0, 0, 1].abs() < 1e-12


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_model_is_refused() -> None:
    """Shapes, probabilities, rows, too many neurons."""
    fine = torch.tensor(SWITCH), torch.tensor(DRIVE)
    with pytest.raises(ValueError, match=r"differ in their states: \(\(2, 2\), \(3, 1\)\)"):
        HiddenChain(fine[0], fine[1][:, :1])
    with pytest.raises(ValueError, match="must be probabilities"):
        HiddenChain(fine[0], -fine[1])
    with pytest.raises(ValueError, match="must be probabilities"):
        HiddenChain(*fine, recovery=1.1)
    with pytest.raises(ValueError, match=r"rows of switch sum to \[0.5, 0.5\]"):
        HiddenChain(fine[0] / 2, fine[1])
    with pytest.raises(ValueError, match=r"2\^21 patterns are too many"):
        HiddenChain(fine[0], torch.full((21, 2), 0.5)).pattern_law()
