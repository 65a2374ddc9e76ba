"""Solutions of the exercises in book/applications/neurobiology.md, and their tests."""

import pytest
import torch
from torch import Tensor

from litgen.applications import spikes
from litgen.applications.hidden_chain import HiddenChain, fano_from_lags
from litgen.applications.spike_networks import straight_through
from litgen.data import spikes as drawn_spikes


def shuffled_trials(trains: Tensor, generator: torch.Generator) -> Tensor:
    """Give each neuron the trials in an order of its own."""
    orders = [torch.randperm(len(trains), generator=generator) for _ in range(trains.shape[1])]
    return torch.stack([trains[order, i] for i, order in enumerate(orders)], dim=1)


def with_rest(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Draw bin by bin, and leave out what would follow a spike; gradients go past the draw."""
    bins: list[Tensor] = []
    for t in range(probabilities.shape[-1]):
        chance = probabilities[..., t]
        if bins:
            chance = chance * (1 - bins[-1].detach())
        bins.append(straight_through(chance, uniform[..., t]))
    return torch.stack(bins, dim=-1)


def fano_of_windows(model: HiddenChain, windows: list[int]) -> Tensor:
    """Return the Fano factors of counts in longer and longer windows, one row a window."""
    rates, lags = model.rates(), model.lag_covariances(max(windows))
    return torch.stack([fano_from_lags(rates, lags[:bins]) for bins in windows])


def unmoved_by_time(trains: Tensor) -> dict[str, float]:
    """Return how far each statistic moves where every trial is turned round in time."""
    turned = trains.flip(2)
    lags = spikes.lag_covariances(trains, 8), spikes.lag_covariances(turned, 8)
    return {
        "rates": spikes.root_mean_square(spikes.rates(turned), spikes.rates(trains)),
        "Fano factors": spikes.root_mean_square(
            spikes.fano_factors(turned), spikes.fano_factors(trains)
        ),
        "triplets": spikes.root_mean_square(spikes.triplets(turned), spikes.triplets(trains)),
        "same bin": spikes.root_mean_square(lags[1][0], lags[0][0]),
        "later bins": spikes.root_mean_square(lags[1][1:], lags[0][1:]),
        "later bins, exchanged": spikes.root_mean_square(lags[1][1:], lags[0][1:].mT),
    }


@pytest.fixture
def trains() -> Tensor:
    """Return 1,000 trials of the drawn set."""
    return drawn_spikes.load("test").spikes[:1_000]


def test_shuffling_trials_takes_what_neurons_share(trains: Tensor) -> None:
    """Rates, Fano factors and intervals are untouched; correlations are chance."""
    shuffled = shuffled_trials(trains, torch.Generator().manual_seed(0))
    for f in (spikes.rates, spikes.fano_factors, lambda x: spikes.interval_law(x, 8)):
        torch.testing.assert_close(f(shuffled), f(trains))
    off = ~torch.eye(8, dtype=torch.bool)
    before, after = (
        spikes.count_correlations(trains)[off],
        spikes.count_correlations(shuffled)[off],
    )
    assert before.abs().max() > 0.3 > 5 / 1_000**0.5 > after.abs().max()


def test_a_spike_is_never_followed_by_one() -> None:
    """The rate is that of a renewal process, p / (1 + p) in the long run; slopes are handed on."""
    p = torch.full((4_000, 1, 24), 0.6, requires_grad=True)
    uniform = torch.rand(p.shape, generator=torch.Generator().manual_seed(0))
    found = with_rest(p, uniform)
    assert set(found.detach().unique().tolist()) == {0.0, 1.0}
    assert not (found[..., 1:] * found[..., :-1]).detach().any()
    assert found[..., 12:].mean().item() == pytest.approx(0.375, abs=0.01)
    found.sum().backward()
    assert p.grad is not None
    resting = found[..., :-1].detach() == 1
    assert (p.grad[..., 1:][resting] == 0).all()
    assert (p.grad[..., 1:][~resting] == 1).all()


def test_fano_factors_grow_with_the_window() -> None:
    """One bin: 1 - rate. Long windows: rising, to a limit."""
    model = HiddenChain(torch.tensor(drawn_spikes.SWITCH), torch.tensor(drawn_spikes.DRIVE))
    found = fano_of_windows(model, [1, 32, 400, 800])
    torch.testing.assert_close(found[0], 1 - model.rates())
    assert (found[1] > found[0])[:6].all()
    assert (found[3] / found[2] - 1).abs().max() < 0.05


def test_what_time_s_direction_moves(trains: Tensor) -> None:
    """Only the order of two neurons knows it."""
    moved = unmoved_by_time(trains)
    assert moved.pop("later bins") > 1e-3
    assert max(moved.values()) < 1e-12
