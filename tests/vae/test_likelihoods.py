"""Proof for litgen/vae/likelihoods.py; the chapter is book/vae/elbo.md."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Normal

from litgen.vae.likelihoods import (
    BernoulliLogProb,
    bernoulli,
    discretized_logistic,
    gaussian_pixels,
)
from tests import oracles

Draw = Callable[..., Tensor]


def scalar(value: float) -> Tensor:
    """Return a double without axes."""
    return torch.tensor(value, dtype=torch.float64)


def binary(normal: Draw, *shape: int) -> Tensor:
    """Return random 0/1 pixels."""
    return (normal(*shape) > 0).double()


# Bernoulli ------------------------------------------------------------------------------------


def test_bernoulli_is_the_sum_of_bernoulli_log_probs(normal: Draw) -> None:
    """eq:bernoulli-likelihood against torch.distributions."""
    x, logits = binary(normal, 5, 7), 3 * normal(5, 7)
    expected = Bernoulli(logits=logits).log_prob(x).sum(dim=1)
    assert expected.std() > 0.1
    torch.testing.assert_close(bernoulli(x, logits), expected)


def test_bernoulli_sums_to_one_over_all_images(normal: Draw) -> None:
    """eq:bernoulli-likelihood is a probability: the 2^8 images of 8 pixels."""
    total = bernoulli(oracles.all_binary(8), 2 * normal(8)).exp().sum()
    torch.testing.assert_close(total, scalar(1.0))


def test_bernoulli_of_a_certain_decoder_is_finite() -> None:
    """eq:bernoulli-likelihood: logits of +-100 cost 100 nats where wrong, 0 where right."""
    x = torch.tensor([[0.0], [1.0], [0.0], [1.0]])
    logits = torch.tensor([[100.0], [100.0], [-100.0], [-100.0]], requires_grad=True)
    found = bernoulli(x, logits)
    torch.testing.assert_close(found, torch.tensor([-100.0, 0.0, 0.0, -100.0]))
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    torch.testing.assert_close(gradient, torch.tensor([[-1.0], [0.0], [0.0], [1.0]]))
    assert bernoulli(x, torch.full_like(x, 1e4)).isfinite().all()


def test_bernoulli_has_the_gradient_x_minus_p(normal: Draw) -> None:
    """eq:bernoulli-likelihood: x - sigmoid(logits), also at 0 and for grey x."""
    logits = 3 * normal(5, 7)
    logits[:, :2] = 0
    logits.requires_grad_()
    x = torch.rand(5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weight = normal(5)
    (gradient,) = torch.autograd.grad((weight * bernoulli(x, logits)).sum(), logits)
    p = 1 / (1 + (-logits.detach()).exp())
    torch.testing.assert_close(gradient, weight[:, None] * (x - p))


def test_bernoulli_of_a_grey_pixel_is_the_average_cost(normal: Draw) -> None:
    """eq:bernoulli-likelihood, x log p + (1 - x) log(1 - p), by the logarithms themselves."""
    x = torch.rand(5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    logits = 3 * normal(5, 7)
    p = 1 / (1 + (-logits).exp())
    expected = (x * p.log() + (1 - x) * (1 - p).log()).sum(dim=1)
    torch.testing.assert_close(bernoulli(x, logits), expected)


# Gaussian -------------------------------------------------------------------------------------


def test_gaussian_pixels_take_a_standard_deviation(normal: Draw) -> None:
    """eq:gaussian-likelihood: exp(log_scale) is the judge's scale, not its variance."""
    x, mean, log_scale = normal(5, 7), normal(5, 7), scalar(-0.7)
    expected = Normal(mean, log_scale.exp()).log_prob(x).sum(dim=1)
    assert expected.std() > 0.1
    torch.testing.assert_close(gaussian_pixels(x, mean, log_scale), expected)


def test_gaussian_pixels_integrate_to_one(normal: Draw) -> None:
    """eq:gaussian-likelihood is a density over two pixels."""
    mean = normal(2)
    total = oracles.integrate_plane(lambda x: gaussian_pixels(x, mean, scalar(0.4)).exp(), 14.0)
    torch.testing.assert_close(total, scalar(1.0))


def test_the_best_scale_is_the_rms_residual(normal: Draw) -> None:
    """eq:gaussian-likelihood: its maximum in log_scale lies at the log of the rms residual."""
    x, mean = normal(5, 7), 0.3 * normal(5, 7)
    rms = math.sqrt(sum(r**2 for r in (x - mean).flatten().tolist()) / 35)
    best = scalar(math.log(rms)).requires_grad_()
    gaussian_pixels(x, mean, best).sum().backward()
    assert abs(best.grad.item()) < 1e-10
    top = gaussian_pixels(x, mean, best.detach()).sum()
    for step in (-0.1, 0.1):
        assert gaussian_pixels(x, mean, best.detach() + step).sum() < top - 0.1


# Discretised logistic -------------------------------------------------------------------------


@pytest.mark.parametrize("mean", [0.5, 0.003, 0.998, -0.2, 1.3])
@pytest.mark.parametrize("log_scale", [-5.5, -3.0, -1.0, 1.5])
def test_logistic_bins_are_scipys(mean: float, log_scale: float) -> None:
    """eq:discretized-logistic: each of the 256 values, against differences of scipy's cdf."""
    x = oracles.grey_levels().view(256, 1)
    found = discretized_logistic(x, scalar(mean).expand(256, 1), scalar(log_scale))
    expected = np.log(oracles.logistic_bins(mean, math.exp(log_scale)))
    assert expected.std() > 0.01
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("mean", [0.5, 0.1234, 0.0, 1.0, -3.0, 4.0])
@pytest.mark.parametrize("log_scale", [-20.0, -7.0, -3.0, 0.0, 3.0, 20.0])
def test_logistic_bins_sum_to_one(mean: float, log_scale: float) -> None:
    """eq:discretized-logistic is a probability over 256 values, at any scale and mean."""
    x = oracles.grey_levels().view(256, 1)
    total = discretized_logistic(x, scalar(mean).expand(256, 1), scalar(log_scale)).exp().sum()
    # a mean on the edge of a bin is rounded by 1e-16, which a scale of 2e-9 turns into 5e-8
    assert abs(total.item() - 1) < 2e-7


def test_logistic_sums_over_pixels(normal: Draw) -> None:
    """eq:discretized-logistic: an image's log-probability is the sum of its pixels' logs."""
    levels = torch.randint(0, 256, (5, 7), generator=torch.Generator().manual_seed(0))
    mean, log_scale = 0.5 + 0.3 * normal(5, 7), -2.0
    found = discretized_logistic(levels / 255.0, mean.float(), torch.tensor(log_scale))
    assert found.std() > 0.1
    for row in range(5):
        expected = sum(
            math.log(oracles.logistic_bins(mean[row, d].item(), math.exp(log_scale))[level])
            for d, level in enumerate(levels[row].tolist())
        )
        assert found[row].item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("log_scale", [-15.0, -7.0, 0.0, 7.0, 15.0])
def test_logistic_is_finite_in_single_precision(log_scale: float) -> None:
    """eq:discretized-logistic and its gradients, far from the mean and at extreme scales."""
    x = oracles.grey_levels().float().view(256, 1)
    for at in (-2.0, 0.0, 0.5, 1.0, 3.0):
        mean = torch.full((256, 1), at, requires_grad=True)
        scale = torch.tensor(log_scale, requires_grad=True)
        found = discretized_logistic(x, mean, scale)
        assert found.isfinite().all()
        assert (found <= 0).all()
        for gradient in torch.autograd.grad(found.sum(), [mean, scale]):
            assert gradient.isfinite().all()


def test_logistic_gradients_are_finite_differences(normal: Draw) -> None:
    """eq:discretized-logistic: gradients in mean and scale, first and last bin included."""
    x = torch.tensor([[0, 1, 254, 255, 100]], dtype=torch.float64) / 255
    mean = (x + 0.05 * normal(1, 5)).requires_grad_()
    log_scale = scalar(-3.5).requires_grad_()
    found = torch.autograd.grad(discretized_logistic(x, mean, log_scale).sum(), [mean, log_scale])
    at, scale = mean.detach(), log_scale.detach()
    by_mean = oracles.central_difference(lambda m: discretized_logistic(x, m, scale).sum(), at)
    by_scale = oracles.central_difference(lambda s: discretized_logistic(x, at, s).sum(), scale)
    assert by_mean.abs().min() > 1e-3
    torch.testing.assert_close(found, (by_mean, by_scale), rtol=1e-5, atol=1e-6)


# What the three have in common ----------------------------------------------------------------

LIKELIHOODS = [
    pytest.param(bernoulli, id="bernoulli"),
    pytest.param(lambda x, m: gaussian_pixels(x, m, scalar(-0.5)), id="gaussian"),
    pytest.param(lambda x, m: discretized_logistic(x, m, scalar(-0.5)), id="logistic"),
]
ON_THE_UNIT_INTERVAL = [LIKELIHOODS[0], LIKELIHOODS[2]]
LogLikelihood = Callable[[Tensor, Tensor], Tensor]


@pytest.mark.parametrize("log_likelihood", LIKELIHOODS)
def test_one_number_for_each_sample_and_example(
    normal: Draw, log_likelihood: LogLikelihood
) -> None:
    """x is (batch, pixels), the parameters (samples, batch, pixels): each pair on its own."""
    x, parameters = binary(normal, 5, 7), normal(4, 5, 7)
    found = log_likelihood(x, parameters)
    assert found.shape == (4, 5)
    assert found.std(dim=0).min() > 0.01
    assert found.std(dim=1).min() > 0.01
    for s in range(4):
        for n in range(5):
            alone = log_likelihood(x[n], parameters[s, n])
            assert alone.shape == ()
            torch.testing.assert_close(found[s, n], alone)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("log_likelihood", LIKELIHOODS)
@pytest.mark.parametrize("pixels", [1, 8])
def test_another_number_of_pixels_is_an_error(log_likelihood: LogLikelihood, pixels: int) -> None:
    """The message shows both shapes; one pixel would broadcast and be wrong."""
    with pytest.raises(ValueError, match="the last axis must hold the same pixels") as error:
        log_likelihood(torch.zeros(5, 7), torch.zeros(2, 5, pixels))
    assert f"x has shape (5, 7), the decoder's output (2, 5, {pixels})" in str(error.value)


@pytest.mark.parametrize("log_likelihood", ON_THE_UNIT_INTERVAL)
@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 255.0), (-0.5, 1.0), (-1.0, 1.0), (0.0, 1.001), (-1e-4, 0.5)]
)
def test_values_outside_the_unit_interval_are_an_error(
    log_likelihood: LogLikelihood, low: float, high: float
) -> None:
    """Bytes, or images scaled to [-1, 1], are said with the range that was found."""
    x = torch.full((5, 7), 0.25)
    x[2, 3], x[4, 1] = low, high
    with pytest.raises(ValueError, match=r"x must lie in \[0, 1\]") as error:
        log_likelihood(x, torch.zeros(5, 7))
    assert f"found values from {low:.4g} to {high:.4g}" in str(error.value)


@pytest.mark.parametrize("log_likelihood", ON_THE_UNIT_INTERVAL)
def test_nan_is_an_error(log_likelihood: LogLikelihood) -> None:
    """NaN lies in no interval."""
    x = torch.full((5, 7), 0.25)
    x[2, 3] = math.nan
    with pytest.raises(ValueError, match=r"x must lie in \[0, 1\], found values from nan"):
        log_likelihood(x, torch.zeros(5, 7))


@pytest.mark.parametrize("log_likelihood", ON_THE_UNIT_INTERVAL)
def test_the_whole_interval_and_an_empty_batch_are_accepted(
    log_likelihood: LogLikelihood,
) -> None:
    """0 and 1 belong to the interval; no examples give no numbers."""
    x = torch.tensor([[0.0, 1.0]])
    assert log_likelihood(x, torch.zeros(1, 2)).isfinite().all()
    assert log_likelihood(torch.zeros(0, 2), torch.zeros(0, 2)).shape == (0,)


@pytest.mark.parametrize("log_likelihood", ON_THE_UNIT_INTERVAL)
def test_values_are_looked_at_on_the_cpu_only(
    monkeypatch: pytest.MonkeyPatch, log_likelihood: LogLikelihood
) -> None:
    """Elsewhere the look would stall the device; a compiled graph it would cut."""
    far = torch.full((5, 7), 3.0, device="meta")
    if log_likelihood is bernoulli:
        assert log_likelihood(far, far).shape == (5,)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert log_likelihood(torch.full((5, 7), 3.0), torch.zeros(5, 7)).shape == (5,)


def test_bernoulli_gradients_are_finite_differences(normal: Draw) -> None:
    """eq:bernoulli-gradient, in x too, of second order too, and summed where x is shared."""
    x = (0.1 + 0.8 * torch.rand(2, 3, dtype=torch.float64)).requires_grad_()
    logits = (2 * normal(4, 2, 3)).requires_grad_()
    assert torch.autograd.gradcheck(bernoulli, (x, logits))
    assert torch.autograd.gradgradcheck(bernoulli, (x, logits))


def test_bernoulli_maps_over_a_batch(normal: Draw) -> None:
    """eq:bernoulli-gradient under torch.func: one Jacobian an example, x - s(l)."""
    x, logits = torch.rand(5, 3, dtype=torch.float64), normal(5, 3)
    gradient = torch.func.grad(
        lambda x, logits: BernoulliLogProb.apply(x, logits).sum(), argnums=1
    )
    torch.testing.assert_close(torch.func.vmap(gradient)(x, logits), x - 1 / (1 + (-logits).exp()))
