"""Solutions of the exercises in book/applications/archaeology.md, tested."""

import math

import pytest
import torch
from torch import Tensor

from litgen.applications import vessels
from litgen.applications.sherds import Gaussian


def draws(seed: int) -> torch.Generator:
    """Return a seeded generator."""
    return torch.Generator().manual_seed(seed)


def plain_coverage(count: int, level: float) -> float:
    """Return how much plain quantiles of ``count`` completions cover, of a law that is right."""
    return level * (count - 1) / (count + 1)


def test_plain_quantiles_cover_less() -> None:
    """Of uniform truths and completions, by simulation; the book's interval keeps its promise."""
    for count in (11, 41):  # whole places
        samples = torch.rand(count, 40_000, generator=draws(1), dtype=torch.double)
        truth = torch.rand(40_000, generator=draws(2), dtype=torch.double)
        ends = samples.quantile(torch.tensor([0.1, 0.9], dtype=torch.double), dim=0)
        found = ((ends[0] <= truth) & (truth <= ends[1])).double().mean().item()
        assert found == pytest.approx(plain_coverage(count, 0.8), abs=0.01)
        assert vessels.coverage(samples, truth, 0.8).item() == pytest.approx(0.8, abs=0.01)
    assert [round(plain_coverage(n, 0.9), 3) for n in (10, 39, 1000)] == [0.736, 0.855, 0.898]


def excess_volume(tall: float, variance: float) -> float:
    """Return mean volume minus the volume of the mean, for independent radii."""
    return math.pi * tall * 2 / 3 * variance


def test_the_mean_volume_exceeds_the_volume_of_the_mean() -> None:
    """By simulation of rough cylinders, of two radii."""
    for middle in (0.6, 0.9):
        noise = torch.randn(40_000, 8, generator=draws(3), dtype=torch.double)
        radii = middle + 0.2 * noise
        found = vessels.volume(radii, torch.full((40_000,), 1.5, dtype=torch.double)).mean()
        level = torch.full((8,), middle, dtype=torch.double)
        mean = vessels.volume(level, torch.tensor(1.5, dtype=torch.double))
        assert (found - mean).item() == pytest.approx(excess_volume(1.5, 0.04), rel=0.05)


def next_radius(law: Gaussian) -> int:
    """Return the dimension whose measurement leaves the smallest total variance."""
    gain = law.covariance.square().sum(dim=1) / law.covariance.diagonal()
    return int(gain.argmax())


def test_the_next_radius_by_trying_all() -> None:
    """The total variance that is left, for each choice, by the conditional."""
    for seed in range(5):
        root = torch.randn(6, 6, generator=draws(seed), dtype=torch.double)
        law = Gaussian(torch.zeros(6, dtype=torch.double), root @ root.T)
        left = []
        for i in range(6):
            seen = torch.arange(6) == i
            left.append(law.given(torch.zeros(1, 1).double(), seen).covariance.trace().item())
        assert next_radius(law) == left.index(min(left))


def place_posterior(law: Gaussian, values: Tensor) -> Tensor:
    """Return the probability of each place of a run of radii, all equally likely beforehand."""
    shown, dims = len(values), len(law.mean)
    log_probs = []
    for first in range(dims - shown + 1):
        seen = torch.zeros(dims, dtype=torch.bool)
        seen[first : first + shown] = True
        log_probs.append(law.log_evidence(values, seen))
    return torch.stack(log_probs).softmax(dim=0)


def test_places_have_the_frequencies_they_are_given() -> None:
    """Of sherds from random places, those said to be 60 to 95 % likely are right as often."""
    root = torch.randn(7, 7, generator=draws(4), dtype=torch.double)
    mean = 2 * torch.randn(7, generator=draws(5), dtype=torch.double)
    law = Gaussian(mean, root @ root.T / 4 + 0.1 * torch.eye(7).double())
    whole = law.sample(torch.randn(500, 7, generator=draws(6), dtype=torch.double))
    places = torch.randint(0, 5, (500,), generator=draws(7))
    said, right = [], []
    for vessel, first in zip(whole, places.tolist(), strict=True):
        chances = place_posterior(law, vessel[first : first + 3])
        assert chances.sum().item() == pytest.approx(1)
        said.append(chances[first])
        right.append(chances)
    every = torch.stack(right)
    hit = torch.nn.functional.one_hot(places, 5).bool()
    band = (every > 0.6) & (every < 0.95)
    assert band.sum() > 100
    assert hit[band].double().mean().item() == pytest.approx(every[band].mean().item(), abs=0.09)
