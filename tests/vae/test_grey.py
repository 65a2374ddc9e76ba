"""Proof for litgen/vae/grey.py; the chapter is book/vae/pitfalls.md.

The judges are quadrature of the definitions, scipy's normal law and torch.distributions.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor
from torch.distributions import Bernoulli, ContinuousBernoulli

from litgen.vae import grey
from tests import oracles

Draw = Callable[..., Tensor]
LOGITS = [-40.0, -7.0, -0.21, -0.19, -1e-3, 0.0, 1e-3, 0.15, 0.199, 0.201, 1.0, 5.0, 40.0]


def scalar(value: float) -> Tensor:
    """Return a double without axes."""
    return torch.tensor(value, dtype=torch.float64)


def tilted(logit: float) -> tuple[float, float]:
    """Return the integrals of e^(l x) and of x e^(l x) over [0, 1], by quadrature."""
    mass = oracles.integrate(lambda x: torch.exp(logit * x), 0.0, 1.0, nodes=40_001)
    moment = oracles.integrate(lambda x: x * torch.exp(logit * x), 0.0, 1.0, nodes=40_001)
    return mass.item(), moment.item()


# Cross-entropy of grey values -------------------------------------------------------------------


def test_cross_entropy_is_the_average_over_binary_images(normal: Draw) -> None:
    """eq:pit-as-if: log p of all 2^6 images b, weighted with the chance that x becomes b."""
    x = torch.rand(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    logits, images = 2 * normal(3, 6), oracles.all_binary(6)
    found = grey.as_if(x, logits)
    for row in range(3):
        chance = Bernoulli(x[row]).log_prob(images).sum(dim=1).exp()
        values = Bernoulli(logits=logits[row]).log_prob(images).sum(dim=1)
        torch.testing.assert_close(found[row], (chance * values).sum())
    assert found.std() > 0.1


@pytest.mark.parametrize("logit", LOGITS)
def test_the_normaliser_is_what_cross_entropy_lacks(logit: float) -> None:
    """eq:pit-normaliser: exp(-cross-entropy) of one grey pixel integrates to 1 / C."""
    x = torch.linspace(0, 1, 20_001, dtype=torch.float64)[:, None]
    values = grey.as_if(x, scalar(logit).expand(1)).exp()
    total = torch.trapezoid(values, x[:, 0])
    found = grey.log_normalizer(scalar(logit))
    assert found.item() == pytest.approx(-math.log(total.item()), abs=2e-6)
    closed = math.log(logit / math.tanh(logit / 2)) if logit else math.log(2)
    assert found.item() == pytest.approx(closed, rel=1e-9)
    assert found >= math.log(2) - 1e-12


# The continuous Bernoulli -----------------------------------------------------------------------


@pytest.mark.parametrize("logit", LOGITS)
def test_the_partition_is_its_integral(logit: float) -> None:
    """eq:pit-partition, on both sides of the place where series and formula meet."""
    mass, moment = tilted(logit)
    at = scalar(logit).requires_grad_()
    found = grey.log_partition(at)
    assert found.item() == pytest.approx(math.log(mass), abs=1e-7)
    (slope,) = torch.autograd.grad(found, at)
    assert slope.item() == pytest.approx(moment / mass, abs=1e-7)


def test_the_partition_is_exact_where_its_branches_meet() -> None:
    """eq:pit-partition in doubles by expm1, which is exact away from zero."""
    for logit in (0.19, 0.1999, 0.2001, 0.21, -0.1999, -0.2001, 3.0):
        expected = math.log(math.expm1(logit) / logit)
        assert grey.log_partition(scalar(logit)).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_partition_is_finite_everywhere(dtype: torch.dtype) -> None:
    """eq:pit-partition and its slope, which stays in [0, 1], from -1e4 to 1e4 and at 0."""
    logits = torch.tensor([-1e4, -88, -1e-8, 0, 1e-20, 1e-4, 90, 1e4], dtype=dtype)
    logits.requires_grad_()
    found = grey.log_partition(logits)
    (slope,) = torch.autograd.grad(found.sum(), logits)
    assert found.isfinite().all()
    assert ((slope >= 0) & (slope <= 1)).all()
    assert slope[3] == pytest.approx(0.5)
    assert grey.continuous_mean(logits).isfinite().all()
    (second,) = torch.autograd.grad(grey.continuous_mean(logits).sum(), logits)
    assert second.isfinite().all()


def test_the_density_is_torchs(normal: Draw) -> None:
    """eq:pit-continuous-bernoulli, summed over pixels, for logits that torch gets right."""
    x = torch.rand(5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    logits = 3 * normal(5, 7)
    logits = logits + 0.3 * logits.sign()  # near 0 torch itself uses a short series
    expected = ContinuousBernoulli(logits=logits).log_prob(x).sum(dim=1)
    assert expected.std() > 0.1
    torch.testing.assert_close(grey.continuous_bernoulli(x, logits), expected)


@pytest.mark.parametrize("logit", LOGITS)
def test_the_density_integrates_to_one_and_has_its_mean(logit: float) -> None:
    """eq:pit-continuous-bernoulli and eq:pit-mean, by quadrature."""
    x = torch.linspace(0, 1, 40_001, dtype=torch.float64)
    density = grey.continuous_bernoulli(x[:, None], scalar(logit).expand(1)).exp()
    assert torch.trapezoid(density, x).item() == pytest.approx(1, abs=1e-6)
    mean = grey.continuous_mean(scalar(logit)).item()
    assert torch.trapezoid(x * density, x).item() == pytest.approx(mean, abs=1e-6)
    if abs(logit) > 0.1:
        assert abs(mean - 1 / (1 + math.exp(-logit))) > 1e-3, "the mean is not s(l)"


def test_the_mean_has_no_step_where_its_branches_meet() -> None:
    """eq:pit-mean: 1 / (1 - e^-l) - 1 / l in doubles on both sides."""
    for logit in (0.19, 0.1999, 0.2001, -0.1999, -0.2001):
        expected = 1 / -math.expm1(-logit) - 1 / logit
        found = grey.continuous_mean(scalar(logit)).item()
        assert found - 0.5 == pytest.approx(expected - 0.5, rel=1e-10)


@pytest.mark.parametrize("logit", LOGITS)
def test_samples_invert_the_distribution_function(logit: float) -> None:
    """eq:pit-sample: the density's integral up to the sample is the uniform number."""
    uniform = torch.tensor([0.0, 0.01, 0.3, 0.5, 0.77, 0.999], dtype=torch.float64)
    x = grey.continuous_sample(scalar(logit).expand(6), uniform)
    assert ((x >= 0) & (x <= 1)).all()
    assert (x.diff() > 0).all()
    mass, _ = tilted(logit)
    for u, place in zip(uniform.tolist(), x.tolist(), strict=True):
        below = oracles.integrate(lambda t: torch.exp(logit * t), 0.0, place, nodes=40_001)
        assert below.item() / mass == pytest.approx(u, abs=1e-6)


def test_samples_are_finite_at_extremes() -> None:
    """eq:pit-sample in single precision, at 0 and next to 1, up to logits of 1e4."""
    logits = torch.tensor([-1e4, -90.0, -1e-9, 0.0, 1e-9, 90.0, 1e4])
    for u in (0.0, 1 - 2**-24):
        x = grey.continuous_sample(logits, torch.full((7,), u))
        assert ((x >= 0) & (x <= 1)).all()


# Whole values -----------------------------------------------------------------------------------


@pytest.mark.parametrize("logit", LOGITS)
def test_continuous_cells_are_integrals_of_the_density(logit: float) -> None:
    """eq:pit-cell: the density's integral over [v/256, (v+1)/256]; all 256 sum to one."""
    values = torch.arange(256, dtype=torch.float64)[:, None]
    found = grey.continuous_cells(values, scalar(logit).expand(256, 1))
    assert found.exp().sum().item() == pytest.approx(1, abs=1e-12)
    mass, _ = tilted(logit)
    for v in (0, 1, 100, 254, 255):
        cell = oracles.integrate(
            lambda x: torch.exp(logit * x - math.log(mass)), v / 256, (v + 1) / 256
        )
        assert found[v].item() == pytest.approx(math.log(cell.item()), abs=1e-6)


@pytest.mark.parametrize("mean", [0.5, 0.003, 0.998, -0.2, 1.3])
@pytest.mark.parametrize("log_scale", [-5.0, -3.0, -1.0, 1.5])
def test_gaussian_cells_are_scipys(mean: float, log_scale: float) -> None:
    """eq:pit-gaussian-cell: differences of the normal distribution function, tails outermost."""
    values = torch.arange(256, dtype=torch.float64)[:, None]
    found = grey.gaussian_cells(values, scalar(mean).expand(256, 1), scalar(log_scale))
    edges, law = np.arange(1, 256) / 256, scipy.stats.norm(mean, math.exp(log_scale))
    below = np.concatenate([[0.0], law.cdf(edges), [1.0]])
    above = np.concatenate([[1.0], law.sf(edges), [0.0]])
    expected = np.where(below[1:] < 0.5, np.diff(below), -np.diff(above))
    seen = expected > 1e-250
    assert seen.any()
    np.testing.assert_allclose(found.numpy()[seen], np.log(expected[seen]), rtol=1e-6, atol=1e-6)
    assert found.exp().sum().item() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("log_scale", [-7.0, -2.0, 0.0, 5.0])
def test_gaussian_cells_are_finite_in_single_precision(log_scale: float) -> None:
    """eq:pit-gaussian-cell and its gradients, also far from the mean."""
    values = torch.arange(256.0)[:, None]
    for at in (-1.0, 0.0, 0.5, 1.0, 2.0):
        mean = torch.full((256, 1), at, requires_grad=True)
        scale = torch.tensor(log_scale, requires_grad=True)
        found = grey.gaussian_cells(values, mean, scale)
        assert found.isfinite().all()
        assert (found <= 0).all()
        for gradient in torch.autograd.grad(found.sum(), [mean, scale]):
            assert gradient.isfinite().all()


def test_cells_sum_over_pixels_and_keep_samples_apart(normal: Draw) -> None:
    """eq:pit-cell, eq:pit-gaussian-cell, eq:pit-continuous-bernoulli: each pair on its own."""
    values = torch.randint(0, 256, (5, 7), generator=torch.Generator().manual_seed(0)).double()
    outputs = normal(4, 5, 7)
    likelihoods: list[Callable[[Tensor, Tensor], Tensor]] = [
        grey.continuous_cells,
        lambda v, m: grey.gaussian_cells(v, m, scalar(-0.5)),
        lambda v, m: grey.continuous_bernoulli(v / 255, m),
    ]
    for likelihood in likelihoods:
        found = likelihood(values, outputs)
        assert found.shape == (4, 5)
        for s in range(4):
            for n in range(5):
                one = [
                    likelihood(values[n, d].view(1), outputs[s, n, d].view(1)) for d in range(7)
                ]
                torch.testing.assert_close(found[s, n], torch.stack(one).sum())


def test_dequantised_values_fill_their_cells() -> None:
    """eq:pit-dequantize: (v + u) / 256, by hand, never 1 even where rounding would say so."""
    values = torch.tensor([[0.0, 7.0, 255.0]])
    found = grey.dequantize(values, torch.tensor([[0.0, 0.5, 0.25]]))
    torch.testing.assert_close(found, torch.tensor([[0.0, 7.5 / 256, 255.25 / 256]]))
    assert grey.dequantize(torch.tensor([[255.0]]), torch.tensor([[1 - 2**-24]])).item() < 1


@pytest.mark.parametrize("logit", [-30.0, 0.0, 4.0])
def test_the_dequantised_bound_is_below_the_cell(logit: float) -> None:
    """eq:pit-dequantize: averaged over the noise below log P(v), equal for a uniform density."""
    values = torch.tensor([[3.0, 200.0]], dtype=torch.float64)
    logits = scalar(logit).expand(1, 2)
    nodes = ((torch.arange(4_000, dtype=torch.float64) + 0.5) / 4_000)[:, None, None]
    x = grey.dequantize(values, nodes.expand(4_000, 1, 2))
    bound = grey.probability_bound(grey.continuous_bernoulli(x, logits), 2).mean()
    exact = grey.continuous_cells(values, logits)[0]
    if logit == 0:
        torch.testing.assert_close(bound, exact)
        assert bound.item() == pytest.approx(-2 * math.log(256))
    else:  # inside a cell a log-linear density of slope c loses c^2 / 24 at second order
        loss = 2 * (logit / 256) ** 2 / 24
        assert (exact - bound).item() == pytest.approx(loss, rel=1e-3)


# Bad input --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("unchecked")
def test_bad_images_are_named() -> None:
    """Other pixels, bytes for [0, 1], values above 255, noise above 1, no pixels."""
    seven, one = torch.zeros(5, 7), torch.zeros(5, 1)
    scale = torch.tensor(0.0)
    for call in (
        lambda: grey.continuous_bernoulli(seven, one),
        lambda: grey.continuous_cells(seven, one),
        lambda: grey.gaussian_cells(seven, one, scale),
    ):
        with pytest.raises(ValueError, match=r"shape \(5, 7\), the decoder's output \(5, 1\)"):
            call()
    with pytest.raises(ValueError, match=r"x must lie in \[0, 1\], found 0 to 3"):
        grey.continuous_bernoulli(torch.tensor([[0.0, 3.0]]), torch.zeros(1, 2))
    bad = torch.tensor([[0.0, 256.0]])
    for call in (
        lambda: grey.continuous_cells(bad, bad),
        lambda: grey.gaussian_cells(bad, bad, scale),
        lambda: grey.dequantize(bad, bad / 256),
    ):
        with pytest.raises(ValueError, match=r"values must lie in \[0, 255\], found 0 to 256"):
            call()
    with pytest.raises(ValueError, match=r"noise must lie in \[0, 1\], found -1 to -1"):
        grey.dequantize(one, one - 1)
    with pytest.raises(ValueError, match="found nan"):
        grey.continuous_cells(torch.full((1, 1), math.nan), torch.zeros(1, 1))
    with pytest.raises(ValueError, match="pixels must be positive, got 0"):
        grey.probability_bound(torch.zeros(3), 0)


def test_values_are_looked_at_on_the_cpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere the look would stall the device; a compiled graph it would cut; empty is fine."""
    far = torch.full((5, 7), 300.0, device="meta")
    assert grey.continuous_cells(far, far).shape == (5,)
    assert grey.continuous_cells(torch.zeros(0, 2), torch.zeros(0, 2)).shape == (0,)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert grey.continuous_cells(torch.full((5, 7), 300.0), torch.zeros(5, 7)).shape == (5,)
