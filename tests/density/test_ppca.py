"""Proof for litgen/density/ppca.py: full Gaussians, autograd, loops and scikit-learn judge."""

import dataclasses
import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from litgen.density import ppca
from litgen.density.pca import PrincipalAxes, principal_angles, principal_axes
from litgen.density.ppca import PPCA
from tests import oracles

Draw = Callable[..., Tensor]
NOISE_VAR = 0.49


@pytest.fixture
def model(normal: Draw) -> PPCA:
    """Five dimensions, two latents whose columns are not orthogonal."""
    return PPCA(normal(5), normal(5, 2), torch.tensor(NOISE_VAR, dtype=torch.float64))


@pytest.fixture
def data(normal: Draw) -> Tensor:
    """Thirty correlated data in six dimensions, far from the origin."""
    return normal(30, 6) @ normal(6, 6) + 3 + normal(6)


def judge_of(model: PPCA) -> oracles.JointGaussian:
    """Return the joint law of z and x."""
    return oracles.JointGaussian(model.weight, model.mean, model.noise_var.sqrt().item())


def full(mean: Tensor, weight: Tensor, noise_var: Tensor) -> MultivariateNormal:
    """Return the marginal with its covariance written out."""
    eye = torch.eye(len(mean), dtype=mean.dtype)
    return MultivariateNormal(mean, weight @ weight.T + noise_var * eye)


def mean_log_prob(model: PPCA, x: Tensor) -> float:
    """Return the judge's mean log-likelihood in nats."""
    return full(model.mean, model.weight, model.noise_var).log_prob(x).mean().item()


# the model --------------------------------------------------------------------------------------


def test_decode_and_sample_are_the_two_steps_of_the_model(model: PPCA, normal: Draw) -> None:
    """eq:ppca-model: W z + mu by a double loop; by the law of x given z the noise comes back."""
    z, noise = normal(3, 4, 2), normal(3, 4, 5)
    means = model.decode(z)
    for index in itertools.product(range(3), range(4), range(5)):
        s, n, d = index
        expected = sum(model.weight[d, k] * z[s, n, k] for k in range(2)) + model.mean[d]
        torch.testing.assert_close(means[index], expected)
    law = Normal(means, math.sqrt(NOISE_VAR))
    torch.testing.assert_close(law.cdf(model.sample(z, noise)), Normal(0.0, 1.0).cdf(noise))


def test_samples_have_the_marginals_moments(model: PPCA, normal: Draw) -> None:
    """eq:ppca-marginal: 100,000 samples, mean and covariance, within six standard errors."""
    count = 100_000
    x = model.sample(normal(count, 2), normal(count, 5))
    law = full(model.mean, model.weight, model.noise_var)
    variance = law.covariance_matrix.diagonal()
    assert ((x.mean(dim=0) - law.mean).abs() < 6 * (variance / count).sqrt()).all()
    error = ((law.covariance_matrix**2 + variance[:, None] * variance) / count).sqrt()
    assert ((torch.cov(x.T) - law.covariance_matrix).abs() < 6 * error).all()


@pytest.mark.parametrize("latent", [0, 1, 3, 6])
def test_log_prob_is_that_of_the_full_gaussian(normal: Draw, latent: int) -> None:
    """eq:ppca-log-prob: torch's MultivariateNormal with all of W W^T + sigma^2 I."""
    noise_var = torch.tensor(0.3, dtype=torch.float64)
    model, x = PPCA(normal(6), normal(6, latent), noise_var), normal(4, 5, 6)
    expected = full(model.mean, model.weight, noise_var).log_prob(x)
    assert expected.std() > 0.5
    torch.testing.assert_close(model.log_prob(x), expected, rtol=1e-10, atol=1e-10)


def test_log_prob_is_the_integral_over_the_codes(model: PPCA, normal: Draw) -> None:
    """eq:ppca-marginal by its definition: the integral of p(x|z) p(z) over the plane of codes."""
    for x in normal(3, 5):

        def integrand(z: Tensor, x: Tensor = x) -> Tensor:
            mean = z @ model.weight.T + model.mean
            likelihood = Normal(mean, math.sqrt(NOISE_VAR)).log_prob(x).sum(dim=1)
            return (likelihood + Normal(0.0, 1.0).log_prob(z).sum(dim=1)).exp()

        expected = oracles.integrate_plane(integrand, 9.0, nodes=601).log()
        torch.testing.assert_close(model.log_prob(x), expected, rtol=1e-8, atol=1e-8)


def test_log_prob_keeps_its_digits_where_the_noise_is_small(normal: Draw) -> None:
    """eq:ppca-log-prob: sigma^2 = 1e-12; orthogonal columns give the answer axis by axis."""
    basis = torch.linalg.qr(normal(5, 5)).Q
    noise_var = torch.tensor(1e-12, dtype=torch.float64)
    scales = torch.tensor([3.0, 2.0], dtype=torch.float64)
    model = PPCA(torch.zeros(5, dtype=torch.float64), basis[:, :2] * scales, noise_var)
    variances = torch.cat([scales.square() + noise_var, noise_var.expand(3)])
    coordinates = normal(4, 5) * variances.sqrt()
    expected = Normal(0.0, variances.sqrt()).log_prob(coordinates).sum(dim=1)
    torch.testing.assert_close(
        model.log_prob(coordinates @ basis.T), expected, rtol=1e-7, atol=1e-7
    )
    single = PPCA(*(value.float() for value in dataclasses.astuple(model)))
    assert single.log_prob(coordinates.float() @ basis.T.float()).isfinite().all()


def test_woodbury_and_the_determinant_lemma(model: PPCA) -> None:
    """eq:ppca-woodbury, eq:ppca-determinant, eq:ppca-inner: against inverse and slogdet of C."""
    w, m = model.weight, model.inner_matrix()
    eye = torch.eye(5, dtype=torch.float64)
    covariance = w @ w.T + NOISE_VAR * eye
    small = (eye - w @ torch.linalg.inv(m) @ w.T) / NOISE_VAR
    torch.testing.assert_close(small, torch.linalg.inv(covariance))
    expected = torch.linalg.slogdet(covariance).logabsdet
    torch.testing.assert_close(m.logdet() + 3 * math.log(NOISE_VAR), expected)
    assert m.shape == (2, 2)


def test_posterior_is_the_conditional_of_the_joint(model: PPCA, normal: Draw) -> None:
    """eq:ppca-posterior: the Schur complement of the joint covariance of (z, x)."""
    x = normal(4, 5)
    expected = judge_of(model).posterior(x)
    mean, covariance = model.posterior(x)
    assert covariance[0, 1].abs() > 0.01
    torch.testing.assert_close(mean, expected.mean)
    torch.testing.assert_close(covariance.expand(4, 2, 2), expected.covariance_matrix)
    torch.testing.assert_close(model.posterior(x.view(2, 2, 5))[0], mean.view(2, 2, 2))


def test_rotated_codes_change_no_likelihood(model: PPCA, normal: Draw) -> None:
    """eq:ppca-rotation: W R has the same density for an orthogonal R, not for another matrix."""
    x, turn = normal(4, 5), torch.linalg.qr(normal(2, 2)).Q
    turned = dataclasses.replace(model, weight=model.weight @ turn)
    assert (turned.weight - model.weight).abs().max() > 0.1
    torch.testing.assert_close(turned.log_prob(x), model.log_prob(x))
    torch.testing.assert_close(turned.reconstruct(x), model.reconstruct(x))
    bent = dataclasses.replace(model, weight=model.weight @ normal(2, 2))
    assert (bent.log_prob(x) - model.log_prob(x)).abs().min() > 1e-3


# maximum likelihood -----------------------------------------------------------------------------


@pytest.mark.parametrize("latent", [0, 1, 3, 5])
def test_the_gradient_of_the_likelihood_is_zero_at_the_closed_form(
    data: Tensor, latent: int
) -> None:
    """eq:ppca-weight, eq:ppca-noise: autograd through torch's full Gaussian."""
    fitted = ppca.fit(data, latent)
    parts = [p.clone().requires_grad_() for p in (fitted.mean, fitted.weight, fitted.noise_var)]
    gradients = torch.autograd.grad(full(*parts).log_prob(data).mean(), parts)
    assert max(g.abs().max() for g in gradients if g.numel()) < 1e-9
    elsewhere = [p.detach() * 1.1 for p in parts]
    for p in elsewhere:
        p.requires_grad_()
    slopes = torch.autograd.grad(full(*elsewhere).log_prob(data).mean(), elsewhere)
    assert min(g.abs().max() for g in slopes if g.numel()) > 1e-3


def test_the_closed_form_is_numpys_eigendecomposition(data: Tensor) -> None:
    """eq:ppca-weight, eq:ppca-noise: lambda - sigma^2 along each of numpy's eigenvectors."""
    values, vectors = np.linalg.eigh(np.cov(data.numpy().T, bias=True))
    fitted = ppca.fit(data, 2)
    noise_var = values[:4].sum() / 4
    assert fitted.noise_var.item() == pytest.approx(noise_var, rel=1e-10)
    gram = sum((values[i] - noise_var) * np.outer(vectors[:, i], vectors[:, i]) for i in (4, 5))
    np.testing.assert_allclose(fitted.weight @ fitted.weight.T, gram, atol=1e-9)
    np.testing.assert_allclose(fitted.mean, data.numpy().mean(axis=0), atol=1e-12)
    inner = fitted.weight.T @ fitted.weight
    assert inner[0, 1].abs() < 1e-9
    assert inner[0, 0] > inner[1, 1]


def test_nothing_near_or_far_is_likelier(data: Tensor, normal: Draw) -> None:
    """eq:ppca-optimum is a maximum: 200 other parameters near it and 200 far from it."""
    fitted = ppca.fit(data, 2)
    best = mean_log_prob(fitted, data)
    for step in itertools.chain([0.01] * 200, [1.0] * 200):
        other = PPCA(
            fitted.mean + step * normal(6),
            fitted.weight + step * normal(6, 2),
            fitted.noise_var * torch.exp(step * normal()),
        )
        assert mean_log_prob(other, data) < best


@pytest.mark.parametrize("latent", [0, 1, 3, 5])
def test_the_highest_likelihood_is_known_from_the_eigenvalues(data: Tensor, latent: int) -> None:
    """eq:ppca-optimum: the full Gaussian's mean log-probability of the training data."""
    fitted = ppca.fit(data, latent)
    found = ppca.highest_log_prob(principal_axes(data), latent)
    assert found.item() == pytest.approx(mean_log_prob(fitted, data), abs=1e-9)


def test_all_but_one_latent_is_the_full_gaussian(data: Tensor) -> None:
    """eq:ppca-marginal with D - 1 latents: the sample covariance itself."""
    fitted = ppca.fit(data, 5)
    covariance = fitted.weight @ fitted.weight.T + fitted.noise_var * torch.eye(6)
    torch.testing.assert_close(covariance, torch.cov(data.T, correction=0))


@pytest.mark.parametrize("latent", [1, 3])
def test_density_and_noise_are_scikit_learns(data: Tensor, normal: Draw, latent: int) -> None:
    """eq:ppca-log-prob, eq:ppca-noise: PCA.score_samples, which divides by N - 1."""
    judge = PCA(n_components=latent, svd_solver="full").fit(data.numpy())
    axes, fresh = principal_axes(data), normal(9, 6) + 3
    unbiased = dataclasses.replace(axes, variances=axes.variances * 30 / 29)
    fitted = ppca.maximum_likelihood(unbiased, latent)
    np.testing.assert_allclose(fitted.noise_var, judge.noise_variance_, rtol=1e-10)
    for x in (data, fresh):
        np.testing.assert_allclose(fitted.log_prob(x), judge.score_samples(x.numpy()), atol=1e-8)
    assert ppca.fit(data, latent).log_prob(data).mean() > judge.score(data.numpy()) + 1e-5


def test_fewer_data_than_dimensions(normal: Draw) -> None:
    """eq:ppca-noise: the eigenvalues that are zero count; scikit-learn leaves them out."""
    x = normal(8, 20) + 1
    values = np.linalg.eigvalsh(np.cov(x.numpy().T, bias=True))[::-1]
    fitted = ppca.fit(x, 3)
    assert fitted.noise_var.item() == pytest.approx(values[3:].sum() / 17, rel=1e-9)
    parts = [p.clone().requires_grad_() for p in (fitted.mean, fitted.weight, fitted.noise_var)]
    gradients = torch.autograd.grad(full(*parts).log_prob(x).mean(), parts)
    assert max(g.abs().max() for g in gradients) < 1e-9
    judge = PCA(n_components=3, svd_solver="full").fit(x.numpy())
    assert judge.noise_variance_ == pytest.approx(values[3:8].sum() / 5 * 8 / 7)
    assert fitted.log_prob(x).mean() > judge.score(x.numpy()) + 0.5


def test_known_parameters_come_back(normal: Draw) -> None:
    """From 100,000 draws: subspace, noise and expected likelihood of the model that drew."""
    columns = torch.linalg.qr(normal(10, 3)).Q * torch.tensor([3.0, 2.0, 1.0])
    truth = PPCA(normal(10), columns, torch.tensor(0.25, dtype=torch.float64))
    fitted = ppca.fit(truth.sample(normal(100_000, 3), normal(100_000, 10)), 3)
    assert principal_angles(truth.weight, fitted.weight).max() < 0.01
    assert fitted.noise_var.item() == pytest.approx(0.25, rel=6 * math.sqrt(2 / 700_000))
    fresh = truth.sample(normal(20_000, 3), normal(20_000, 10))
    loss = (truth.log_prob(fresh) - fitted.log_prob(fresh)).mean().item()
    assert 0 < loss < 0.002  # about half a nat for each of 38 parameters, divided by 100,000


def test_little_noise_gives_the_projection_of_pca(data: Tensor) -> None:
    """eq:ppca-shrinkage: factors 1 - sigma^2 / lambda, and in the limit PCA's reconstruction."""
    axes = principal_axes(data)
    fitted = ppca.maximum_likelihood(axes, 2)
    centred = data - axes.mean
    expected = torch.zeros_like(data)
    for k in range(2):
        u = axes.directions[:, k]
        factor = 1 - fitted.noise_var / axes.variances[k]
        assert 0.05 < factor < 0.995
        expected += factor * (centred @ u)[:, None] * u
    torch.testing.assert_close(fitted.reconstruct(data), expected + axes.mean)
    quiet = dataclasses.replace(fitted, noise_var=torch.tensor(1e-13, dtype=torch.float64))
    torch.testing.assert_close(quiet.reconstruct(data), axes.reconstruct(data, 2))
    assert (fitted.reconstruct(data) - axes.reconstruct(data, 2)).abs().max() > 0.01


def test_equal_eigenvalues_leave_no_direction() -> None:
    """eq:ppca-weight where lambda = sigma^2: a zero column, not the root of a negative number."""
    eye = torch.eye(4, dtype=torch.float64)
    above = torch.tensor([1.0, 1.0, 1 + 1e-15, 1.0], dtype=torch.float64)
    fitted = ppca.maximum_likelihood(PrincipalAxes(torch.zeros(4).double(), eye, above), 2)
    assert fitted.weight.abs().max() < 1e-7
    assert fitted.noise_var.item() == pytest.approx(1)


# saddle points ----------------------------------------------------------------------------------


def test_other_eigenvectors_are_saddle_points(data: Tensor) -> None:
    """eq:ppca-stationary: zero gradient, and uphill in the plane of the two directions.

    A kept direction is turned towards a discarded one with a larger eigenvalue.
    """
    axes = principal_axes(data)
    saddle = ppca.stationary_point(axes, [0, 2])
    parts = [p.clone().requires_grad_() for p in (saddle.mean, saddle.weight, saddle.noise_var)]
    gradients = torch.autograd.grad(full(*parts).log_prob(data).mean(), parts)
    assert max(g.abs().max() for g in gradients) < 1e-9
    nudged = saddle.weight.clone()
    nudged[:, 1] += 0.1 * axes.directions[:, 1]
    higher = mean_log_prob(dataclasses.replace(saddle, weight=nudged), data)
    assert higher > mean_log_prob(saddle, data)
    down = saddle.weight.clone()
    down[:, 1] += 0.1 * axes.directions[:, 5]
    assert mean_log_prob(dataclasses.replace(saddle, weight=down), data) < mean_log_prob(
        saddle, data
    )


def test_the_best_of_all_choices_are_the_largest(data: Tensor) -> None:
    """eq:ppca-optimum: every pair of eigenvectors, judged by the full Gaussian."""
    axes, found = principal_axes(data), {}
    for pair in itertools.combinations(range(6), 2):
        if axes.variances[pair[1]] > np.delete(axes.variances.numpy(), pair).mean():
            found[pair] = mean_log_prob(ppca.stationary_point(axes, pair), data)
        else:
            with pytest.raises(ValueError, match="an eigenvalue is below the mean of the others"):
                ppca.stationary_point(axes, pair)
    assert 2 < len(found) < 15
    assert max(found, key=lambda pair: found[pair]) == (0, 1)


# EM ---------------------------------------------------------------------------------------------


def test_an_em_step_is_the_papers_sums(data: Tensor, normal: Draw) -> None:
    """eq:ppca-e-step, eq:ppca-m-step: expectations and sums datum by datum, by another hand."""
    start = PPCA(data.mean(dim=0), normal(6, 2), torch.tensor(0.8, dtype=torch.float64))
    weight, noise_var = oracles.ppca_em_by_sums(data, start.weight, 0.8)
    found = ppca.em_step(start, data)
    torch.testing.assert_close(found.weight, weight)
    assert found.noise_var.item() == pytest.approx(noise_var, rel=1e-10)


def test_an_em_step_raises_the_expected_joint_likelihood_to_its_top(
    data: Tensor, normal: Draw
) -> None:
    """eq:ppca-expected: zero gradient of E log p(x, z), by Gauss-Hermite nodes under q."""
    start = PPCA(data.mean(dim=0), normal(6, 2), torch.tensor(0.8, dtype=torch.float64))
    posterior = judge_of(start).posterior(data)
    nodes, weights = oracles.normal_nodes(2, 4)
    z = posterior.mean + (nodes @ posterior.scale_tril[0].T)[:, None]
    after = ppca.em_step(start, data)
    parts = [p.clone().requires_grad_() for p in (after.mean, after.weight, after.noise_var)]
    mean, weight, noise_var = parts
    joint = Normal(z @ weight.T + mean, noise_var.sqrt()).log_prob(data).sum(dim=-1)
    expected = (weights[:, None] * joint).sum(dim=0).mean()
    gradients = torch.autograd.grad(expected, (weight, noise_var))
    assert max(g.abs().max() for g in gradients) < 1e-9


def test_em_never_lowers_the_likelihood_and_ends_at_the_closed_form(normal: Draw) -> None:
    """eq:ppca-em-rises: from four starts, to covariance and likelihood of the eigenvectors."""
    data = normal(30, 6) @ torch.linalg.qr(normal(6, 6)).Q * torch.tensor([4, 3, 1, 0.8, 1, 0.7])
    best = ppca.fit(data, 2)
    expected = best.weight @ best.weight.T
    for _ in range(4):
        models = list(ppca.em(data, normal(6, 2), 150))
        values = [mean_log_prob(model, data) for model in models[:40]]
        assert values[0] < values[-1] - 0.1
        assert min(b - a for a, b in itertools.pairwise(values)) > -1e-10
        last = models[-1]
        assert mean_log_prob(last, data) == pytest.approx(mean_log_prob(best, data), abs=1e-9)
        torch.testing.assert_close(last.weight @ last.weight.T, expected, rtol=1e-6, atol=1e-6)
        assert last.noise_var.item() == pytest.approx(best.noise_var.item(), rel=1e-7)


def test_the_closed_form_is_a_fixed_point_of_em(data: Tensor) -> None:
    """eq:ppca-m-step: not only the density stays, the very weight does; a saddle stays too."""
    for point in (ppca.fit(data, 3), ppca.stationary_point(principal_axes(data), [0, 2])):
        after = ppca.em_step(point, data)
        torch.testing.assert_close(after.weight, point.weight)
        torch.testing.assert_close(after.noise_var, point.noise_var)


def test_em_puts_the_mean_where_it_belongs(data: Tensor, normal: Draw) -> None:
    """A start with another mean: the sample mean after one step, and no lower likelihood."""
    start = PPCA(normal(6), normal(6, 2), torch.tensor(2.0, dtype=torch.float64))
    after = ppca.em_step(start, data)
    torch.testing.assert_close(after.mean, data.mean(dim=0))
    assert mean_log_prob(after, data) > mean_log_prob(start, data)


def test_em_starts_from_the_given_weight_and_the_mean_variance(data: Tensor, normal: Draw) -> None:
    """The first step is em_step from there; the generator yields as many models as asked."""
    weight = normal(6, 2)
    noise_var = torch.tensor(np.var(data.numpy(), axis=0).mean())
    first = ppca.em_step(PPCA(data.mean(dim=0), weight, noise_var), data)
    models = list(ppca.em(data, weight, 3))
    assert len(models) == 3
    torch.testing.assert_close(models[0].weight, first.weight)
    torch.testing.assert_close(models[1].weight, ppca.em_step(first, data).weight)


# errors -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("latent", [-1, 6, 7])
def test_too_many_latents_for_the_dimensions(data: Tensor, latent: int) -> None:
    """With as many latents as dimensions the noise would be zero."""
    with pytest.raises(ValueError, match=f"from 0 to 5 in 6 dimensions, got {latent}"):
        ppca.fit(data, latent)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_too_many_latents_for_the_data(normal: Draw, dtype: torch.dtype) -> None:
    """Five data vary in four directions; three latents can be had, four leave no noise."""
    x = (normal(5, 20) + 3).to(dtype)
    assert ppca.fit(x, 3).noise_var > 0.01
    for latent in (4, 5, 19):
        with pytest.raises(ValueError, match=f"vary in 4 directions: {latent} latents leave no"):
            ppca.fit(x, latent)
    flat = torch.cat([normal(9, 2), torch.full((9, 2), 0.1, dtype=torch.float64)], dim=1)
    with pytest.raises(ValueError, match="vary in 2 directions: 2 latents leave no noise"):
        ppca.fit(flat, 2)
    with pytest.raises(ValueError, match="vary in 0 directions: 0 latents leave no noise"):
        ppca.fit(torch.ones(4, 3), 0)


def test_a_variance_of_a_billionth_squared_is_noise_enough() -> None:
    """Eight digits below rounding of the covariance, but not below that of the data."""
    x = torch.tensor([[1, 1e-9], [1, -1e-9], [-1, 1e-9], [-1, -1e-9]], dtype=torch.float64)
    assert ppca.fit(x, 1).noise_var.item() == pytest.approx(1e-18, rel=1e-6)


@pytest.mark.usefixtures("unchecked")
def test_bad_data_are_errors_of_every_fit(normal: Draw) -> None:
    """One datum, a vector, a value that is not finite: in closed form, in a step and in EM."""
    model = PPCA(normal(3), normal(3, 1), torch.tensor(1.0, dtype=torch.float64))
    holed = normal(4, 3)
    holed[2, 1] = math.nan
    for x, message in (
        (normal(1, 3), r"at least 2 data .* got \(1, 3\)"),
        (normal(3), r"at least 2 data .* got \(3,\)"),
        (holed, "1 of the data's 12 values are not finite"),
    ):
        for call in (
            lambda x=x: ppca.fit(x, 1),
            lambda x=x: ppca.em_step(model, x),
            lambda x=x: list(ppca.em(x, model.weight, 1)),
        ):
            with pytest.raises(ValueError, match=message):
                call()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "shapes", [((3,), (2, 2), ()), ((3,), (3,), ()), ((3, 1), (3, 1), ()), ((3,), (3, 2), (1,))]
)
def test_parameters_that_do_not_fit_are_named(shapes: tuple[tuple[int, ...], ...]) -> None:
    """The error lists the three shapes."""
    with pytest.raises(ValueError, match="do not fit") as error:
        PPCA(*(torch.ones(shape) for shape in shapes))
    assert str(shapes) in str(error.value)


@pytest.mark.parametrize("noise_var", [0.0, -1.0, math.nan, math.inf])
def test_the_noise_must_be_positive(noise_var: float) -> None:
    """The error names the number; NaN and infinity are not positive numbers."""
    with pytest.raises(ValueError, match=f"noise_var must be positive, got {noise_var}"):
        PPCA(torch.zeros(3), torch.zeros(3, 1), torch.tensor(noise_var))


def test_data_of_other_dimensions_are_an_error(model: PPCA, normal: Draw) -> None:
    """Broadcasting one column over five would give a number."""
    for call in (model.log_prob, model.posterior, model.reconstruct):
        with pytest.raises(ValueError, match="x has 1 dimensions, the model 5"):
            call(normal(4, 1))
