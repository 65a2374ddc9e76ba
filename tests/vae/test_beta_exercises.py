"""Solutions of the exercises of book/vae/beta.md, tested."""

import math

import pytest
import torch
from torch import Tensor

from litgen.vae import beta, surgery


def disguise_gap(variances: Tensor, noise_var: float, weight: float) -> float:
    """Return the largest difference between a beta-VAE and a VAE with beta times the noise."""
    weighted = beta.linear_optimum(variances, noise_var, weight)
    disguised = beta.linear_optimum(variances, weight * noise_var, 1.0)
    return max((a - b).abs().max().item() for a, b in zip(weighted, disguised, strict=True))


def largest_beta(variances: Tensor, noise_var: float, directions: int) -> float:
    """Return the weight up to which a linear beta-VAE keeps so many directions."""
    return variances.sort(descending=True).values[directions - 1].item() / noise_var


def most_information(count: int) -> float:
    """Return the mutual information of a code whose posteriors lie far apart."""
    mean = 50.0 * torch.arange(count).double()[:, None]
    noise = torch.randn(count, 1, generator=torch.Generator().manual_seed(0)).double()
    weights = surgery.exhaustive_log_weights(count)
    return surgery.surgery(mean, torch.zeros_like(mean), noise, weights).mutual_information.item()


def test_beta_is_a_noise_variance_in_disguise() -> None:
    """The same maps, rates and errors."""
    variances = torch.tensor([5.0, 1.0, 0.3]).double()
    for weight in (0.5, 3.0, 20.0):
        assert disguise_gap(variances, 0.2, weight) < 1e-12


def test_the_largest_beta_switches() -> None:
    """Just below it the direction is kept, just above it is not."""
    variances = torch.tensor([1.0, 5.0, 0.3]).double()
    for directions in (1, 2, 3):
        edge = largest_beta(variances, 0.2, directions)
        for factor, expected in ((0.999, directions), (1.001, directions - 1)):
            found = beta.linear_optimum(variances, 0.2, factor * edge).rate
            assert int((found > 0).sum()) == expected


def test_the_most_information_is_log_n() -> None:
    """To six digits for 30 data."""
    assert most_information(30) == pytest.approx(math.log(30), rel=1e-6)
