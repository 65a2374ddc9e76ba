"""Solutions of the exercises in book/density/kde.md, and what shows that they are right."""

import itertools
import math
from collections.abc import Callable

import pytest
import scipy.integrate
import torch
from torch import Tensor

from litgen.density import kde
from tests import oracles

Draw = Callable[..., Tensor]


def moments(data: Tensor, bandwidth: float) -> tuple[Tensor, Tensor]:
    """Return the mean and the covariance of the estimate."""
    centred = data - data.mean(dim=0)
    noise = bandwidth**2 * torch.eye(data.shape[1], dtype=data.dtype)
    return data.mean(dim=0), centred.T @ centred / len(data) + noise


def data_ratio(kernel: Callable[[float], float], half_width: float) -> float:
    """Return how many times the best kernel's data a kernel of variance 1 needs."""
    roughness, _ = scipy.integrate.quad(lambda u: kernel(u) ** 2, -half_width, half_width)
    return float(roughness / (3 / (5 * math.sqrt(5))))


def em_step(data: Tensor, bandwidth: float) -> float:
    """Return the next bandwidth: the root of the mean square distance to what explains a datum."""
    squares = torch.cdist(data, data).square()
    logits = (-squares / (2 * bandwidth**2)).fill_diagonal_(-math.inf)
    shares = torch.softmax(logits, dim=1)
    return math.sqrt((shares * squares).sum().item() / data.numel())


def denoise(x: Tensor, data: Tensor, bandwidth: float) -> Tensor:
    """Return x + h^2 grad log p(x) as what it is, an average of the data."""
    logits = -torch.cdist(x, data).square() / (2 * bandwidth**2)
    return torch.softmax(logits, dim=1) @ data


def scales_step(data: Tensor, bandwidths: Tensor) -> tuple[Tensor, float]:
    """Return the next bandwidth of each dimension, and the present leave-one-out likelihood."""
    count, dims = data.shape
    scaled = data / bandwidths
    logits = (-torch.cdist(scaled, scaled).square() / 2).fill_diagonal_(-math.inf)
    log_norm = math.log(count - 1) + dims / 2 * math.log(2 * math.pi) + bandwidths.log().sum()
    log_likelihood = (torch.logsumexp(logits, dim=1) - log_norm).mean().item()
    shares = torch.softmax(logits, dim=1)
    squares = (data**2).sum(dim=0) + (shares.sum(dim=0)[:, None] * data**2).sum(dim=0)
    return ((squares - 2 * (data * (shares @ data)).sum(dim=0)) / count).sqrt(), log_likelihood


def test_moments_by_quadrature(normal: Draw) -> None:
    """Mass, mean and covariance of the density in the plane."""
    data, bandwidth = normal(6, 2), 0.5
    mean, covariance = moments(data, bandwidth)

    def density(x: Tensor) -> Tensor:
        return kde.log_prob(x, data, bandwidth).exp()

    for i in range(2):
        first = oracles.integrate_plane(lambda x, i=i: density(x) * x[:, i], 7, 161)
        torch.testing.assert_close(mean[i], first)
        for j in range(2):
            second = oracles.integrate_plane(
                lambda x, i=i, j=j: density(x) * (x[:, i] - mean[i]) * (x[:, j] - mean[j]), 7, 161
            )
            torch.testing.assert_close(covariance[i, j], second)


def test_the_parabola_is_best_and_the_others_little_worse() -> None:
    """The ratios in closed form: 5 % for the Gaussian, 8 % for a box."""
    edge = math.sqrt(5)
    parabola = data_ratio(lambda u: 3 / (4 * edge) * (1 - u**2 / 5), edge)
    bell = data_ratio(lambda u: math.exp(-(u**2) / 2) / math.sqrt(2 * math.pi), 9)
    box = data_ratio(lambda u: 1 / (2 * math.sqrt(3)), math.sqrt(3))
    assert parabola == pytest.approx(1, abs=1e-9)
    assert bell == pytest.approx(5 * math.sqrt(5) / (6 * math.sqrt(math.pi)), abs=1e-9)
    assert bell == pytest.approx(1.05, abs=0.005)
    assert box == pytest.approx(1.08, abs=0.005)


def test_the_em_step_climbs_to_newtons_end(normal: Draw) -> None:
    """eq:kde-fixed-point: the likelihood never falls, and the top is the same."""
    data = normal(40, 2)
    bandwidth, values = 3.0, []
    for _ in range(300):
        values.append(kde.leave_one_out(data, bandwidth).log_likelihood)
        bandwidth = em_step(data, bandwidth)
    assert all(b >= a - 1e-12 for a, b in itertools.pairwise(values))
    assert values[-1] > values[0] + 0.1
    assert bandwidth == pytest.approx(kde.fit_bandwidth(data, tolerance=1e-8)[0], rel=1e-5)


def test_the_denoiser_follows_the_gradient(normal: Draw) -> None:
    """By autograd through log p; and a noisy datum in high dimension comes back clean."""
    data, x = normal(10, 3), normal(5, 3).requires_grad_()
    (gradient,) = torch.autograd.grad(kde.log_prob(x, data, 0.8).sum(), x)
    found = denoise(x.detach(), data, 0.8)
    assert found.std() > 0.1
    torch.testing.assert_close(found, (x + 0.8**2 * gradient).detach())
    high = normal(20, 300)
    torch.testing.assert_close(denoise(high + 0.5 * normal(20, 300), high, 0.5), high)


def test_each_dimension_finds_its_own_bandwidth(normal: Draw) -> None:
    """The likelihood never falls; columns scaled by 1, 10 and 0.1 end in those ratios."""
    scales = torch.tensor([1.0, 10.0, 0.1], dtype=torch.float64)
    data = normal(60, 3)
    common, _ = kde.fit_bandwidth(data)
    ends = []
    for each in (data, data * scales):
        bandwidths, values = torch.full((3,), common, dtype=torch.float64), []
        for _ in range(200):
            bandwidths, value = scales_step(each, bandwidths)
            values.append(value)
        assert all(b >= a - 1e-9 for a, b in itertools.pairwise(values))
        ends.append(bandwidths)
    torch.testing.assert_close(ends[1] / ends[0], scales, rtol=1e-3, atol=0)
    equal = scales_step(data, torch.full((3,), 0.7, dtype=torch.float64))[1]
    assert equal == pytest.approx(kde.leave_one_out(data, 0.7).log_likelihood, abs=1e-9)
