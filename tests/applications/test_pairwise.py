"""Proof for litgen/applications/pairwise.py: means that are met, and scipy's maximum entropy."""

import itertools

import numpy as np
import pytest
import scipy.optimize
import torch

from litgen.applications import pairwise


@pytest.fixture
def law() -> torch.Tensor:
    """Return a law of the patterns of three neurons with a triplet of its own."""
    return torch.tensor([8, 3, 2, 4, 1, 2, 5, 9], dtype=torch.float64) / 34


def test_features_by_hand() -> None:
    """Three neurons: who fires, then the pairs 12, 13, 23; the first is the highest digit."""
    table = pairwise.features(3)
    assert table.shape == (8, 6)
    for number, row in enumerate(itertools.product([0, 1], repeat=3)):
        a, b, c = row
        assert table[number].tolist() == [a, b, c, a * b, a * c, b * c]


def test_no_law_with_these_means_has_more_entropy(law: torch.Tensor) -> None:
    """scipy's search over all laws ends at the same one. Proves eq:spk-maxent."""
    table = pairwise.features(3)
    wanted = law @ table
    found = pairwise.fit(wanted, 3)
    torch.testing.assert_close(found @ table, wanted)
    constraints = [
        {"type": "eq", "fun": lambda p: p.sum() - 1},
        {"type": "eq", "fun": lambda p: p @ table.numpy() - wanted.numpy()},
    ]
    best = scipy.optimize.minimize(
        lambda p: (p * np.log(p)).sum(),
        law.numpy(),
        bounds=[(1e-6, 1)] * 8,
        constraints=constraints,
        options={"ftol": 1e-14, "maxiter": 500},
    )
    np.testing.assert_allclose(found.numpy(), best.x, atol=1e-5)
    assert (found - law).abs().max() > 0.01


def test_independent_neurons_stay_independent() -> None:
    """Pairs that are products of rates: a product law. Proves eq:spk-maxent."""
    rate = torch.tensor([0.1, 0.6, 0.4, 0.03], dtype=torch.float64)
    pairs = torch.stack([rate[i] * rate[j] for i, j in itertools.combinations(range(4), 2)])
    found = pairwise.fit(torch.cat([rate, pairs]), 4)
    each = pairwise.patterns(4)
    torch.testing.assert_close(found, torch.where(each == 1, rate, 1 - rate).prod(dim=1))


@pytest.mark.usefixtures("unchecked")
def test_what_no_law_has_is_refused() -> None:
    """Other counts of means, impossible means, too many neurons."""
    with pytest.raises(ValueError, match="3 neurons have 6 features, got 5"):
        pairwise.fit(torch.full((5,), 0.1), 3)
    with pytest.raises(ValueError, match="no law has these means"):
        pairwise.fit(torch.tensor([0.1, 0.1, 0.5]), 2)
    with pytest.raises(ValueError, match="1 to 14 neurons can be enumerated, got 15"):
        pairwise.patterns(15)
