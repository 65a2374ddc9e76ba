"""Solutions of the exercises of book/flows/coupling.md, and what proves them."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from litgen.blocks import MLP
from litgen.flows.coupling import CouplingFlow, change_of_variables
from litgen.recipes.flows import moons
from tests import oracles

Draw = Callable[..., Tensor]


def nice_log_prob(x: Tensor, shift: Callable[[Tensor], Tensor], log_scales: Tensor) -> Tensor:
    """Return log p(x) of one additive coupling in the plane and a final scaling."""
    moved = x[:, 1:] + shift(x[:, :1])
    z = torch.cat([x[:, :1], moved], dim=1) * log_scales.exp()
    return change_of_variables(z, log_scales.sum().expand(len(x)))


def test_nice_is_a_density_and_without_scales_never_above_the_peak() -> None:
    """Area one; with scales zero, at most 1 / (2 pi) everywhere."""
    torch.manual_seed(0)
    shift = MLP([1, 8, 1]).double()
    log_scales = torch.tensor([0.4, -0.2], dtype=torch.float64)
    with torch.no_grad():
        area = oracles.integrate_plane(
            lambda x: nice_log_prob(x, shift, log_scales).exp(), 14.0, 601
        )
        x = 2 * torch.randn(1_000, 2, generator=torch.Generator().manual_seed(0)).double()
        plain = nice_log_prob(x, shift, torch.zeros(2).double())
    torch.testing.assert_close(area, torch.ones_like(area), rtol=0, atol=1e-5)
    assert plain.max() <= -math.log(2 * math.pi)
    assert plain.max() > -math.log(2 * math.pi) - 0.2


def exponential_log_prob(x: Tensor, rate: float) -> Tensor:
    """Return the log-density of an exponential variable, by its map to the normal law."""
    x = x.detach().requires_grad_()
    z = torch.special.ndtri(1 - torch.exp(-rate * x))
    slope = torch.autograd.grad(z.sum(), x)[0]
    return change_of_variables(z.detach()[:, None], slope.log())


def test_the_map_to_the_normal_law_gives_the_exponential_density() -> None:
    """log rate - rate x, in double precision."""
    x = torch.linspace(0.1, 4, 20, dtype=torch.float64)
    torch.testing.assert_close(exponential_log_prob(x, 1.5), math.log(1.5) - 1.5 * x)


def dependencies(dims: int, couplings: int) -> Tensor:
    """Return which coordinates of x (columns) each coordinate of z (rows) depends on."""
    torch.manual_seed(0)
    flow = CouplingFlow(dims, couplings, [32]).double()
    x = torch.randn(16, dims, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda v: flow(v)[0]))(x)
    return (jacobian.abs() > 1e-12).any(dim=0)


def test_three_couplings_mix_everything() -> None:
    """Two leave the half that moved first without its own coordinates; three do not."""
    assert not dependencies(6, 1).all()
    assert not dependencies(6, 2).all()
    assert dependencies(6, 2)[:3].all()
    assert dependencies(6, 3).all()


def depth_against_width(couplings: int, hidden: int, turns: int) -> tuple[float, int]:
    """Return the negative log-likelihood (nats a point) of a short fit, and the parameters."""
    points = moons.comparison.train_points()
    config = moons.Config(couplings=couplings, hidden=(hidden, hidden), turns=turns)
    *_, now = moons.fit(config, points, seed=0)
    with torch.no_grad():
        nll = -now.model.log_prob(moons.comparison.moons.load("test").points).mean().item()
    return nll, sum(p.numel() for p in now.model.parameters())


@pytest.mark.slow
def test_depth_beats_width() -> None:
    """About 10,000 parameters each, 800 steps."""
    shallow, many = depth_against_width(2, 66, 800)
    deep, few = depth_against_width(8, 32, 800)
    assert 0.8 < many / few < 1.25
    assert deep < shallow - 0.05
