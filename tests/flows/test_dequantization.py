"""Proof for litgen/flows/dequantization.py: a table of probabilities, quadrature, autograd."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Beta, Independent, Normal, SigmoidTransform
from torch.distributions.transformed_distribution import TransformedDistribution

from litgen.flows import dequantization
from tests import oracles

Draw = Callable[..., Tensor]
LAW = Beta(torch.tensor(2.0).double(), torch.tensor(3.0).double())  # a density on [0, 1]


def exact_levels() -> Tensor:
    """Return the probability that LAW gives to each of the 256 cells, by its own integral."""
    edges = torch.arange(257, dtype=torch.float64) / 256
    cdf = 6 * edges**2 - 8 * edges**3 + 3 * edges**4  # integral of 12 x (1 - x)^2
    return cdf.diff()


def test_uniform_stays_in_its_cell() -> None:
    """eq:dequantize-uniform: (v + u) / 256, never 1, and the value can be read off again."""
    values = torch.arange(256, dtype=torch.uint8).repeat(3, 1)
    largest = 1 - torch.finfo(torch.float32).eps / 2
    noise = torch.tensor([0.0, 0.25, largest])[:, None].expand(3, 256)
    x = dequantization.uniform(values, noise)
    torch.testing.assert_close(x[1], (torch.arange(256) + 0.25) / 256)
    assert (x >= 0).all()
    assert (x < 1).all()
    assert torch.equal((x[:2] * 256).floor().to(torch.uint8), values[:2])


def test_bound_is_a_bound_and_the_gap_is_jensens() -> None:
    """eq:dequantize-bound: E log p(x) - log 256 is below the log of the cell's probability."""
    u = (torch.arange(2_000, dtype=torch.float64) + 0.5) / 2_000
    values = torch.arange(256)[:, None]
    x = (values + u) / 256
    log_density = LAW.log_prob(x)
    bound = dequantization.image_log_prob(log_density.flatten(), 1).view(x.shape).mean(dim=1)
    exact = exact_levels().log()
    assert (bound <= exact + 1e-9).all()
    assert (exact - bound)[0] > 0.01  # steep there, so the bound is loose
    torch.testing.assert_close(bound[60:200], exact[60:200], rtol=0, atol=1e-4)


@pytest.mark.parametrize("levels", [2, 8])
def test_other_numbers_of_levels(levels: int) -> None:
    """eq:dequantize-uniform, eq:dequantize-bound: cells of 1/levels, judged by the integral."""
    values = torch.arange(levels, dtype=torch.uint8)[:, None].expand(levels, 5_000)
    u = (torch.arange(5_000, dtype=torch.float64) + 0.5) / 5_000
    x = dequantization.uniform(values, u.expand(levels, 5_000), levels)
    torch.testing.assert_close(x, (values.double() + u) / levels)
    density = LAW.log_prob(x)
    exact = oracles.integrate(
        lambda t: torch.stack(
            [LAW.log_prob((v + t).clamp(1e-9) / levels).exp() / levels for v in range(levels)], 1
        ),
        0,
        1 - 1e-9,
    )
    every = dequantization.image_log_prob(density.flatten(), 1, levels).view(levels, -1)
    torch.testing.assert_close(every.exp().mean(dim=1), exact, rtol=1e-4, atol=1e-7)
    assert (every.mean(dim=1) < exact.log()).all()
    some = torch.tensor([0.3, -1.0])
    torch.testing.assert_close(
        dequantization.variational_bound(some, torch.tensor([0.5, 0.25]), 3, levels),
        torch.tensor([-0.2, -1.25]) - 3 * math.log(levels),
    )


def test_bound_is_exact_for_the_uniform_density() -> None:
    """eq:dequantize-bound: log 1 - log 256 a pixel; three pixels take three times as much."""
    found = dequantization.image_log_prob(torch.zeros(2, dtype=torch.float64), 3)
    torch.testing.assert_close(found, torch.full((2,), -3 * math.log(256)).double())


def test_variational_bound_is_tight_for_the_best_noise() -> None:
    """eq:dequantize-variational: with q(u|v) = p(v + u) / p(v) every draw gives log p(v)."""
    u = torch.linspace(0.05, 0.95, 7, dtype=torch.float64)
    value = 30
    log_density = LAW.log_prob((value + u) / 256)
    exact = exact_levels()[value].log()
    noise_log_prob = log_density - math.log(256) - exact
    assert noise_log_prob.std() > 0.001
    found = dequantization.variational_bound(log_density, noise_log_prob, 1)
    torch.testing.assert_close(found, exact.expand(7))


def test_variational_bound_with_uniform_noise_is_the_uniform_one() -> None:
    """eq:dequantize-variational with log q = 0."""
    log_density = torch.tensor([0.3, -2.0])
    torch.testing.assert_close(
        dequantization.variational_bound(log_density, torch.zeros(2), 5),
        dequantization.image_log_prob(log_density, 5),
    )


def test_logit_noise_is_a_logistic_normal_law(normal: Draw) -> None:
    """eq:dequantize-noise: by torch's transformed distribution, summed over an image."""
    mean, log_scale = normal(4, 1, 2, 3), 0.5 * normal(4, 1, 2, 3)
    u, log_q = dequantization.logit_noise(mean, log_scale, normal(4, 1, 2, 3))
    law = TransformedDistribution(Normal(mean, log_scale.exp()), [SigmoidTransform()])
    expected = Independent(law, 3).log_prob(u)
    assert expected.std() > 0.1
    torch.testing.assert_close(log_q, expected)
    u, _ = dequantization.logit_noise(mean, log_scale, torch.zeros(4, 1, 2, 3).double())
    torch.testing.assert_close(u, 1 / (1 + (-mean).exp()))


def test_logit_noise_integrates_to_one() -> None:
    """eq:dequantize-noise: the density of u over (0, 1), by the trapezoid rule."""
    u = torch.linspace(1e-5, 1 - 1e-5, 20_001, dtype=torch.float64)
    mean, log_scale = torch.tensor(0.4).double(), torch.tensor(-0.3).double()
    noise = ((u / (1 - u)).log() - mean) / log_scale.exp()
    again, log_q = dequantization.logit_noise(
        mean.expand(len(u), 1), log_scale.expand(len(u), 1), noise[:, None]
    )
    torch.testing.assert_close(again[:, 0], u)
    area = torch.trapezoid(log_q.exp(), u)
    torch.testing.assert_close(area, torch.ones_like(area), rtol=0, atol=1e-6)


def test_learned_noise_lies_between_uniform_noise_and_the_truth(normal: Draw) -> None:
    """eq:dequantize-variational: raised by gradients, for the steep first of 8 levels."""
    exact = LAW.log_prob(torch.linspace(1e-9, 1 / 8, 100_001).double()).exp().mean().log()
    exact = exact - math.log(8)
    even = (torch.arange(2_000, dtype=torch.float64)[:, None] + 0.5) / 2_000
    plain = dequantization.image_log_prob(LAW.log_prob(even[:, 0] / 8), 1, 8).mean()
    noise = math.sqrt(2) * torch.erfinv(2 * even - 1)
    parameters = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([parameters], lr=0.05)
    for _ in range(200):
        mean, log_scale = parameters.expand(2_000, 2).split(1, dim=1)
        u, log_q = dequantization.logit_noise(mean, log_scale, noise)
        bound = dequantization.variational_bound(LAW.log_prob(u[:, 0] / 8), log_q, 1, 8).mean()
        optimizer.zero_grad()
        (-bound).backward()
        optimizer.step()
    assert plain + 0.1 < bound < exact + 1e-6
    assert exact - bound < 0.02


def test_logit_is_the_formula_and_its_determinant_autograds(normal: Draw) -> None:
    """eq:logit-transform: logit(margin + (1 - 2 margin) x), and autograd's diagonal Jacobian."""
    x = torch.sigmoid(normal(4, 1, 2, 3)).requires_grad_()
    y, log_det = dequantization.to_logit(x, 0.07)
    inner = 0.07 + 0.86 * x
    torch.testing.assert_close(y, torch.log(inner / (1 - inner)))
    slopes = torch.autograd.grad(y.sum(), x)[0]
    expected = slopes.log().flatten(1).sum(dim=1)
    assert expected.std() > 0.1
    torch.testing.assert_close(log_det, expected)


def test_logit_keeps_a_density_a_density() -> None:
    """eq:logit-transform: p(y) = p(x) / |dy/dx| integrates to one over the interval of y."""
    y = torch.linspace(-math.log(19), math.log(19), 20_001, dtype=torch.float64)
    x = dequantization.from_logit(y[:, None]).clamp(1e-12, 1 - 1e-12)
    again, log_det = dequantization.to_logit(x)
    torch.testing.assert_close(again[1:-1, 0], y[1:-1])
    density = (LAW.log_prob(x[:, 0]) - log_det).exp()
    area = torch.trapezoid(density, y)
    torch.testing.assert_close(area, torch.ones_like(area), rtol=0, atol=1e-5)


def test_from_logit_cuts_off_what_is_outside() -> None:
    """A sample may land beyond the squeezed range; a picture may not."""
    y = torch.tensor([[-50.0, 0.0, 50.0]])
    assert dequantization.from_logit(y).tolist() == [[0.0, 0.5, 1.0]]


def test_discrete_probabilities_by_quadrature() -> None:
    """The exact table that judges above is itself the integral over each cell."""
    cells = exact_levels()
    third = oracles.integrate(lambda x: LAW.log_prob(x).exp(), 30 / 256, 31 / 256)
    torch.testing.assert_close(cells[30], third)
    torch.testing.assert_close(cells.sum(), torch.ones_like(cells.sum()))


def test_bad_input(unchecked: None) -> None:
    """Data outside the range, noise outside [0, 1), margins that squeeze nothing."""
    inside, outside = torch.tensor([[0.5]]), torch.tensor([[1.5]])
    values = torch.zeros(1, 1, dtype=torch.uint8)
    with pytest.raises(ValueError, match="outside \\[0, 1\\]"):
        dequantization.to_logit(outside)
    with pytest.raises(ValueError, match="outside \\[0, 1\\]"):
        dequantization.to_logit(torch.tensor([[math.nan]]))
    with pytest.raises(ValueError, match="noise"):
        dequantization.uniform(values, torch.ones(1, 1))
    with pytest.raises(ValueError, match="noise"):
        dequantization.uniform(values, -torch.ones(1, 1))
    with pytest.raises(ValueError, match="a value of 8 is none of 8 levels"):
        dequantization.uniform(values + 8, torch.zeros(1, 1), 8)
    for margin in (0.0, 0.5, -1.0):
        with pytest.raises(ValueError, match="margin"):
            dequantization.to_logit(inside, margin)
        with pytest.raises(ValueError, match="margin"):
            dequantization.from_logit(inside, margin)
