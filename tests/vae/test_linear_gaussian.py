"""Proof for litgen/vae/linear_gaussian.py: what judges others is judged first."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from litgen.vae.linear_gaussian import LinearGaussian
from tests import oracles

Draw = Callable[..., Tensor]
SCALE = 0.6


@pytest.fixture
def model(normal: Draw) -> LinearGaussian:
    """Three pixels, two latents, random weights: no symmetry that a mistake could hide behind."""
    return LinearGaussian(normal(3, 2), normal(3), SCALE)


def joint_of(model: LinearGaussian) -> oracles.JointGaussian:
    """Return the judge."""
    return oracles.JointGaussian(model.weight, model.bias, model.scale)


def test_decode_is_the_affine_map(model: LinearGaussian, normal: Draw) -> None:
    """eq:linear-gaussian-model: W z + b by a double loop, with samples before the batch."""
    z = normal(4, 5, 2)
    found = model.decode(z)
    assert found.shape == (4, 5, 3)
    for s in range(4):
        for n in range(5):
            for d in range(3):
                expected = sum(model.weight[d, k] * z[s, n, k] for k in range(2)) + model.bias[d]
                torch.testing.assert_close(found[s, n, d], expected)


def test_sample_is_decoded_code_plus_scaled_noise(model: LinearGaussian, normal: Draw) -> None:
    """eq:linear-gaussian-model: by the judge's law of x given z, the noise comes back."""
    z_noise, x_noise = normal(5, 2), normal(5, 3)
    x = model.sample(z_noise, x_noise)
    law = Normal(z_noise @ model.weight.T + model.bias, SCALE)
    torch.testing.assert_close(law.cdf(x), Normal(0.0, 1.0).cdf(x_noise))


def test_samples_have_the_evidences_moments(model: LinearGaussian) -> None:
    """eq:linear-gaussian-evidence: 100,000 samples, mean and covariance, within six errors."""
    count, generator = 100_000, torch.Generator().manual_seed(0)
    z_noise, x_noise = (
        torch.randn(count, k, generator=generator, dtype=torch.float64) for k in (2, 3)
    )
    x = model.sample(z_noise, x_noise)
    law = joint_of(model).evidence()
    variance = law.covariance_matrix.diagonal()
    assert ((x.mean(dim=0) - law.mean).abs() < 6 * (variance / count).sqrt()).all()
    # the variance of a sample covariance is (s_ij^2 + s_ii s_jj) / n
    error = ((law.covariance_matrix**2 + variance[:, None] * variance) / count).sqrt()
    assert ((torch.cov(x.T) - law.covariance_matrix).abs() < 6 * error).all()


def test_log_evidence_is_the_marginal_of_the_joint(model: LinearGaussian, normal: Draw) -> None:
    """eq:linear-gaussian-evidence: the x block of the joint Gaussian, by torch.distributions."""
    x = normal(4, 5, 3)
    expected = joint_of(model).evidence().log_prob(x)
    assert expected.std() > 0.1
    torch.testing.assert_close(model.log_evidence(x), expected)


def test_log_evidence_is_the_integral_over_the_codes(model: LinearGaussian, normal: Draw) -> None:
    """eq:linear-gaussian-evidence by its definition: the integral of p(x|z) p(z) over z."""
    for x in normal(3, 3):

        def integrand(z: Tensor, x: Tensor = x) -> Tensor:
            mean = z @ model.weight.T + model.bias
            likelihood = Normal(mean, SCALE).log_prob(x).sum(dim=1)
            return (likelihood + Normal(0.0, 1.0).log_prob(z).sum(dim=1)).exp()

        expected = oracles.integrate_plane(integrand, 9.0, nodes=601).log()
        torch.testing.assert_close(model.log_evidence(x), expected, rtol=1e-8, atol=1e-8)


def test_the_evidence_integrates_to_one(normal: Draw) -> None:
    """eq:linear-gaussian-evidence is a density: two pixels, one latent."""
    model = LinearGaussian(normal(2, 1), normal(2), SCALE)
    total = oracles.integrate_plane(lambda x: model.log_evidence(x).exp(), 15.0, nodes=801)
    assert abs(total.item() - 1) < 1e-8


def test_posterior_is_the_conditional_of_the_joint(model: LinearGaussian, normal: Draw) -> None:
    """eq:linear-gaussian-posterior: the Schur complement of the joint covariance."""
    x = normal(5, 3)
    expected = joint_of(model).posterior(x)
    mean, covariance = model.posterior(x)
    assert covariance.shape == (2, 2)
    assert covariance[0, 1].abs() > 0.01
    assert expected.mean.std(dim=0).min() > 0.1
    torch.testing.assert_close(mean, expected.mean)
    torch.testing.assert_close(covariance.expand(5, 2, 2), expected.covariance_matrix)
    torch.testing.assert_close(model.posterior(x.view(5, 1, 3))[0], mean.view(5, 1, 2))


def test_bayes_rule_holds_at_every_code(model: LinearGaussian, normal: Draw) -> None:
    """eq:linear-gaussian-posterior: log p(z|x) + log p(x) = log p(x|z) + log p(z)."""
    x, z = normal(5, 3), normal(5, 2)
    mean, covariance = model.posterior(x)
    posterior = torch.distributions.MultivariateNormal(mean, covariance).log_prob(z)
    likelihood = Normal(z @ model.weight.T + model.bias, SCALE).log_prob(x).sum(dim=1)
    prior = Normal(0.0, 1.0).log_prob(z).sum(dim=1)
    torch.testing.assert_close(posterior + model.log_evidence(x), likelihood + prior)


def test_one_latent_and_one_pixel_by_hand() -> None:
    """eq:linear-gaussian-posterior: W = 2, b = 1, sigma = 1/2, x = 3: precision 17, mean 16/17."""
    two, one = torch.tensor([[2.0]], dtype=torch.float64), torch.tensor([1.0], dtype=torch.float64)
    model, x = LinearGaussian(two, one, 0.5), torch.tensor([3.0], dtype=torch.float64)
    mean, covariance = model.posterior(x)
    assert mean.item() == pytest.approx(16 / 17)
    assert covariance.item() == pytest.approx(1 / 17)
    expected = -0.5 * (math.log(2 * math.pi * 4.25) + 4 / 4.25)
    assert model.log_evidence(x).item() == pytest.approx(expected)


@pytest.mark.usefixtures("unchecked")
def test_shapes_that_do_not_fit_are_named() -> None:
    """A bias of another length, a weight that is no matrix, a bias that is none."""
    for weight, bias in [((3, 2), (2,)), ((3,), (3,)), ((3, 2), (3, 1)), ((3, 2, 1), (3,))]:
        with pytest.raises(ValueError, match="expected") as error:
            LinearGaussian(torch.zeros(weight), torch.zeros(bias), 1.0)
        assert f"weight has shape {weight}, bias {bias}" in str(error.value)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan])
def test_the_scale_must_be_positive(scale: float) -> None:
    """The error names the number; NaN is not positive."""
    with pytest.raises(ValueError, match=f"scale must be positive, got {scale}"):
        LinearGaussian(torch.zeros(3, 2), torch.zeros(3), scale)
