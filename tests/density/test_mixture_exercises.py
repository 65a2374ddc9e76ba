"""Solutions of the exercises in book/density/mixture.md, and what shows that they are right."""

import math

import pytest
import torch
from scipy import integrate
from torch import Tensor
from torch.distributions import MultivariateNormal

from litgen.density import mixture
from litgen.density.mixture import Mixture


def heaps(seed: int = 0) -> tuple[Tensor, Mixture]:
    """Return data from three Gaussians, and a mixture to start from."""
    generator = torch.Generator().manual_seed(seed)
    means = torch.tensor([[0.0, 0.0], [3.0, 0.0], [1.0, 3.0]], dtype=torch.float64)
    root = torch.tensor([[0.7, 0.0], [0.4, 0.5]], dtype=torch.float64)
    truth = Mixture(torch.tensor([0.5, 0.3, 0.2]).double(), means, (root @ root.T).repeat(3, 1, 1))
    x, _ = mixture.sample(truth, 150, generator)
    return x, mixture.start(x, 3, generator)


def soft_k_means_step(x: Tensor, means: Tensor, sigma: float) -> Tensor:
    """Return new means after a step of EM with equal weights and covariances sigma^2 I."""
    components, dims = means.shape
    weights = torch.full((components,), 1 / components, dtype=x.dtype)
    variances = torch.full((components, dims), sigma**2, dtype=x.dtype)
    joint = mixture.log_joint(x, Mixture(weights, means, variances))
    return mixture.moments(x, mixture.expect(joint))[1]


def growth_on_a_datum(dims: int, count: int, variance: float) -> float:
    """Return the log of a component's share of its own datum's density, in nats."""
    return -0.5 * dims * math.log(2 * math.pi * variance) - math.log(count)


def half_step(x: Tensor, model: Mixture) -> Mixture:
    """Return the mixture after an E step and half of the M step for the means."""
    posterior = mixture.expect(mixture.log_joint(x, model))
    _, means = mixture.moments(x, posterior)
    return Mixture(model.weights, (model.means + means) / 2, model.covariances)


def conditional_mean(model: Mixture, seen: Tensor) -> Tensor:
    """Return E[b | a] for data x = (a, b), given the first coordinates a."""
    k = seen.shape[1]
    first = Mixture(model.weights, model.means[:, :k], model.covariances[:, :k, :k])
    weights = mixture.expect(mixture.log_joint(seen, first))
    gain = model.covariances[:, k:, :k] @ torch.linalg.inv(model.covariances[:, :k, :k])
    offset = seen[:, None] - model.means[:, :k]
    means = model.means[:, k:] + torch.einsum("cba,nca->ncb", gain, offset)
    return (weights[:, :, None] * means).sum(dim=1)


def test_soft_k_means_becomes_lloyds_step() -> None:
    """Exercise 1, eq:mixture-kmeans: means of the nearest data, by loops; wide ones differ."""
    x, begin = heaps()
    nearest = [min(range(3), key=lambda c: (row - begin.means[c]).norm().item()) for row in x]
    expected = torch.stack(
        [
            torch.stack([row for row, n in zip(x, nearest, strict=True) if n == c]).mean(dim=0)
            for c in range(3)
        ]
    )
    torch.testing.assert_close(soft_k_means_step(x, begin.means, 1e-3), expected)
    assert (soft_k_means_step(x, begin.means, 1.0) - expected).abs().max() > 0.05


def test_the_likelihood_grows_by_half_the_dimensions_a_nat() -> None:
    """Exercise 2: the difference of two variances, and the true likelihood of such a mixture."""
    x, begin = heaps()
    eye = torch.eye(2, dtype=torch.float64)
    values = []
    for variance in (1e-6, 1e-9):
        means = torch.cat([begin.means, x[:1]])
        weights = torch.cat([begin.weights * (1 - 1 / 150), torch.tensor([1 / 150]).double()])
        covariances = torch.cat([begin.covariances, variance * eye[None]])
        model = Mixture(weights / weights.sum(), means, covariances)
        values.append(mixture.log_prob(x, model).sum().item())
    expected = growth_on_a_datum(2, 150, 1e-9) - growth_on_a_datum(2, 150, 1e-6)
    assert values[1] - values[0] == pytest.approx(expected, abs=1e-2)
    assert expected == pytest.approx(math.log(1e3))


def test_half_a_step_never_lowers_the_likelihood() -> None:
    """Exercise 3, eq:mixture-monotone: sixty half steps, and they arrive."""
    x, model = heaps()
    values = []
    for _ in range(60):
        model = half_step(x, model)
        values.append(mixture.log_prob(x, model).mean())
    assert values[-1] - values[0] > 0.01
    assert (torch.stack(values).diff() > -1e-12).all()


def test_the_conditional_mean_is_the_integral() -> None:
    """Exercise 4: the ratio of two integrals over the missing coordinate."""
    _, model = heaps()
    covariances = model.covariances * torch.tensor([1.0, 0.7, 1.4]).double()[:, None, None]
    model = Mixture(model.weights, model.means, covariances)
    laws = [
        MultivariateNormal(m, cov) for m, cov in zip(model.means, model.covariances, strict=True)
    ]

    def density(b: float, a: float) -> float:
        x = torch.tensor([a, b], dtype=torch.float64)
        terms = zip(model.weights, laws, strict=True)
        return sum((w * law.log_prob(x).exp()).item() for w, law in terms)

    for a in (0.3, 2.0):
        total = integrate.quad(density, -15, 15, args=(a,), points=[0, 3])[0]
        first = integrate.quad(lambda b, a=a: b * density(b, a), -15, 15, points=[0, 3])[0]
        found = conditional_mean(model, torch.tensor([[a]], dtype=torch.float64))
        assert found.item() == pytest.approx(first / total, abs=1e-6)
