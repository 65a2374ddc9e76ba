"""Proof for litgen/vae/aggregate.py: torch's mixtures, divergences in closed form, brute force."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    kl_divergence,
)

from litgen.vae import aggregate
from litgen.vae.aggregate import Grid

Draw = Callable[..., Tensor]


def test_log_density_is_torchs_mixture(normal: Draw) -> None:
    """eq:evo-aggregate: equal weights, diagonal components; chunks change nothing."""
    mean, log_var, z = normal(6, 2), normal(6, 2), normal(11, 2)
    parts = Independent(Normal(mean, torch.exp(log_var).sqrt()), 1)
    expected = MixtureSameFamily(Categorical(torch.ones(6).double()), parts).log_prob(z)
    assert expected.std() > 0.1
    for chunk in (1, 4, 2000):
        torch.testing.assert_close(aggregate.log_density(z, mean, log_var, chunk), expected)


def test_a_grid_lies_as_on_a_page() -> None:
    """Middles of cells, the largest second coordinate first; the cells fill the square."""
    points, cell = Grid.square(3.0, 4)
    assert cell == pytest.approx(2.25)
    assert len(points) * cell == pytest.approx(36)
    assert points[0].tolist() == pytest.approx([-2.25, 2.25])
    assert points[1].tolist() == pytest.approx([-0.75, 2.25])
    assert points[-1].tolist() == pytest.approx([2.25, -2.25])
    for extent, side in ((0.0, 4), (1.0, 0), (math.nan, 3)):
        with pytest.raises(ValueError, match="a grid needs a positive extent and side"):
            Grid.square(extent, side)


def test_grid_kl_of_two_gaussians(normal: Draw) -> None:
    """eq:evo-grid-kl: torch's closed form for full covariances, in the right direction."""
    points, cell = Grid.square(8.0, 400)
    points = points.double()
    q = MultivariateNormal(
        torch.tensor([0.4, -0.3]).double(), torch.tensor([[0.6, 0.2], [0.2, 0.3]]).double()
    )
    p = MultivariateNormal(torch.zeros(2).double(), torch.eye(2).double())
    expected = kl_divergence(q, p).item()
    assert abs(expected - kl_divergence(p, q).item()) > 0.1
    found = aggregate.grid_kl(q.log_prob(points), p.log_prob(points), cell)
    assert found.item() == pytest.approx(expected, abs=1e-4)


def test_grid_kl_takes_places_without_mass() -> None:
    """Nothing times minus infinity is nothing."""
    log_q = torch.tensor([0.0, -math.inf])
    found = aggregate.grid_kl(log_q, torch.tensor([-2.0, -1.0]), 1.0)
    assert found.item() == pytest.approx(2.0)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_mass_off_the_grid_is_an_error(factor: float) -> None:
    """The message gives the mass that is there."""
    log_q = torch.full((4,), math.log(factor / 4))
    with pytest.raises(ValueError, match=f"q has mass {factor:.3f} on the grid"):
        aggregate.grid_kl(log_q, log_q, 1.0)


def test_second_moment_is_that_of_samples() -> None:
    """eq:evo-moment: many codes drawn from the aggregated posterior, squared and averaged."""
    generator = torch.Generator().manual_seed(3)
    mean, log_var = (torch.randn(3, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    noise = torch.randn(200_000, 3, 2, generator=generator, dtype=torch.float64)
    z = Normal(mean, (log_var / 2).exp()).loc + (log_var / 2).exp() * noise
    found = aggregate.second_moment(mean, log_var)
    torch.testing.assert_close(found, (z * z).mean(dim=(0, 1)), rtol=0.01, atol=0)


def test_rescaled_kl_is_torchs_divergence(normal: Draw) -> None:
    """eq:evo-rescaled: torch's KL between the scaled codes' law and the prior."""
    mean, log_var, scale = normal(4, 2), normal(4, 2), torch.tensor([0.5, 3.0]).double()
    q = Normal(scale * mean, scale * torch.exp(log_var / 2))
    prior = Normal(torch.zeros(2).double(), torch.ones(2).double())
    expected = kl_divergence(q, prior).sum(dim=1).mean()
    torch.testing.assert_close(aggregate.rescaled_kl(mean, log_var, scale), expected)


def test_the_price_is_what_the_best_scale_saves(normal: Draw) -> None:
    """eq:evo-scale: by trying thousands of scales in each dimension."""
    mean, log_var = 1.5 * normal(5, 2), normal(5, 2) - 1
    tried = torch.logspace(-1.5, 1.5, 1501, dtype=torch.float64)
    ones = torch.ones(2, dtype=torch.float64)
    now = aggregate.rescaled_kl(mean, log_var, ones)
    best = [
        min(
            aggregate.rescaled_kl(mean[:, j : j + 1], log_var[:, j : j + 1], s[None]).item()
            for s in tried
        )
        for j in range(2)
    ]
    saved = now.item() - sum(best)
    moment = aggregate.second_moment(mean, log_var)
    assert saved > 0.05
    assert (moment - 1).abs().min() > 0.05
    assert aggregate.price_of_scale(moment).item() == pytest.approx(saved, abs=1e-4)
    assert aggregate.price_of_scale(ones).item() == 0
