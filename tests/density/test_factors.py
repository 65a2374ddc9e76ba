"""Proof for litgen/density/factors.py; the chapter is book/density/mixture.md.

Judges: torch.distributions' low-rank Gaussian, dense conditioning, scikit-learn, autograd.
"""

from collections.abc import Callable

import pytest
import torch
from sklearn.decomposition import FactorAnalysis
from torch import Tensor
from torch.distributions import (
    Categorical,
    LowRankMultivariateNormal,
    MixtureSameFamily,
    MultivariateNormal,
)

from litgen.density import factors, mixture
from litgen.density.factors import Factors

Draw = Callable[..., Tensor]
DIMS, FACTORS = 5, 2


@pytest.fixture
def model(normal: Draw) -> Factors:
    """Three components of five dimensions with two factors each."""
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    variances = (0.5 * normal(3, DIMS)).exp()
    return Factors(weights, normal(3, DIMS), normal(3, DIMS, FACTORS), variances)


@pytest.fixture
def x(normal: Draw) -> Tensor:
    """Sixty correlated data."""
    return normal(60, DIMS) @ normal(DIMS, DIMS)


def judge(model: Factors) -> MixtureSameFamily:
    """Return the same mixture by torch.distributions."""
    parts = LowRankMultivariateNormal(model.means, model.loadings, model.variances)
    return MixtureSameFamily(Categorical(model.weights), parts)


def dense(model: Factors) -> Tensor:
    """Return the covariances, written out."""
    return torch.stack(
        [W @ W.T + torch.diag(psi) for W, psi in zip(model.loadings, model.variances, strict=True)]
    )


def test_log_prob_is_that_of_low_rank_gaussians(model: Factors, x: Tensor) -> None:
    """eq:mixture-factors-log-prob, eq:mixture-factors: by torch.distributions, and dense."""
    expected = judge(model).log_prob(x)
    assert expected.std() > 1
    torch.testing.assert_close(factors.log_prob(x, model), expected, rtol=1e-10, atol=1e-10)
    joint = factors.log_joint(x, model)
    for c, cov in enumerate(dense(model)):
        each = MultivariateNormal(model.means[c], cov).log_prob(x) + model.weights[c].log()
        torch.testing.assert_close(joint[:, c], each, rtol=1e-10, atol=1e-10)


def test_projections_give_the_law_of_the_factors(model: Factors, x: Tensor) -> None:
    """eq:mixture-factors-precision: mean and covariance of h given x by the Schur complement."""
    to_u, factor = factors.projections(model)
    for c, cov in enumerate(dense(model)):
        W = model.loadings[c]
        gain = W.T @ torch.linalg.inv(cov)
        covariance = torch.eye(FACTORS).double() - gain @ W
        torch.testing.assert_close(torch.linalg.inv(factor[c] @ factor[c].T), covariance)
        h = torch.linalg.inv(factor[c].T) @ to_u[c] @ (x - model.means[c]).T
        torch.testing.assert_close(h, gain @ (x - model.means[c]).T)


def test_refit_by_dense_matrices(model: Factors, x: Tensor, normal: Draw) -> None:
    """eq:mixture-factors-update: Ghahramani and Hinton's formulas with S written out."""
    share = torch.softmax(normal(60), dim=0)
    centred = x - share @ x
    S = (share[:, None] * centred).T @ centred
    to_u, factor = (part[1] for part in factors.projections(model))
    W = model.loadings[1]
    gain = W.T @ torch.linalg.inv(dense(model)[1])
    squared = torch.eye(FACTORS).double() - gain @ W + gain @ S @ gain.T
    expected = S @ gain.T @ torch.linalg.inv(squared)
    variances = (S - expected @ gain @ S).diagonal()
    assert (expected - W).abs().min() > 1e-3
    found = factors.refit(centred, share, to_u, factor)
    torch.testing.assert_close(found, (expected, variances))


def test_maximize_refits_each_component_on_its_share(model: Factors, x: Tensor) -> None:
    """eq:mixture-weights, eq:mixture-means, eq:mixture-factors-update: component by component."""
    q = judge(model)._component_distribution.log_prob(x[:, None]) + model.weights.log()
    q = torch.softmax(q, dim=1)
    found = factors.maximize(x, q, model)
    to_u, factor = factors.projections(model)
    for c in range(3):
        share = q[:, c] / q[:, c].sum()
        mean = sum(s * row for s, row in zip(share, x, strict=True))
        torch.testing.assert_close(found.weights[c], q[:, c].mean())
        torch.testing.assert_close(found.means[c], mean)
        loadings, variances = factors.refit(x - mean, share, to_u[c], factor[c])
        torch.testing.assert_close(found.loadings[c], loadings)
        torch.testing.assert_close(found.variances[c], variances)


def test_the_floor_clamps_and_adds_nothing(model: Factors, x: Tensor, normal: Draw) -> None:
    """eq:mixture-floor: variances above it stay as they are, those below are the floor."""
    q = torch.softmax(normal(60, 3), dim=1)
    free = factors.maximize(x, q, model).variances
    floor = free.median().item()
    found = factors.maximize(x, q, model, floor)
    assert (free > floor).any()
    assert (free < floor).any()
    torch.testing.assert_close(found.variances, free.clamp(min=floor))


@pytest.mark.parametrize("floor", [0.0, 0.8])
def test_the_likelihood_never_falls(model: Factors, x: Tensor, floor: float) -> None:
    """eq:mixture-monotone for partial M steps, also where the floor holds variances up."""
    begin = Factors(
        model.weights, model.means, model.loadings, model.variances.clamp(min=floor or 0.1)
    )
    floor = floor or 0.05
    steps = list(factors.em(x, begin, 25, floor))
    values = torch.stack([value for _, value in steps])
    assert values[-1] - values[0] > 0.1
    assert (values.diff() > -1e-12).all()
    assert steps[-1][0].variances.min() >= floor
    torch.testing.assert_close(judge(steps[-1][0]).log_prob(x).mean(), values[-1])


def test_em_stops_where_the_gradient_is_zero(model: Factors) -> None:
    """eq:mixture-factors-update: the likelihood's gradient by autograd at the end of EM."""
    apart = Factors(model.weights, 4 * model.means, model.loadings, model.variances)
    x, _ = factors.sample(apart, 600, torch.Generator().manual_seed(0))
    *_, (found, _) = factors.em(x, apart, 800)
    parameters = [found.weights.log(), found.means, found.loadings, found.variances.log()]
    parameters = [p.detach().requires_grad_() for p in parameters]
    weights = torch.softmax(parameters[0], dim=0)
    value = judge(Factors(weights, *parameters[1:3], parameters[3].exp())).log_prob(x).mean()
    for gradient in torch.autograd.grad(value, parameters):
        assert gradient.abs().max() < 1e-4


def test_factor_analysis_is_the_mixture_of_one(model: Factors) -> None:
    """What scikit-learn's FactorAnalysis has found, a step leaves where it is."""
    one = Factors(
        model.weights[:1] * 2, *(p[:1] for p in (model.means, model.loadings)), model.variances[:1]
    )
    x, _ = factors.sample(one, 500, torch.Generator().manual_seed(0))
    other = FactorAnalysis(FACTORS, tol=1e-5, max_iter=5_000, svd_method="lapack").fit(x.numpy())
    found = Factors(
        torch.ones(1, dtype=torch.float64),
        torch.from_numpy(other.mean_)[None],
        torch.from_numpy(other.components_.T.copy())[None],
        torch.from_numpy(other.noise_variance_)[None],
    )
    (after, value), *_ = factors.em(x, found, 1)
    assert value.item() == pytest.approx(other.score(x.numpy()), abs=1e-7)
    torch.testing.assert_close(after.loadings, found.loadings, rtol=0, atol=1e-4)
    torch.testing.assert_close(after.variances, found.variances, rtol=0, atol=1e-4)


def test_samples_have_the_components_moments(model: Factors) -> None:
    """eq:mixture-factors: covariances W W^T + diag(psi) within six errors."""
    x, z = factors.sample(model, 60_000, torch.Generator().manual_seed(0))
    for c, cov in enumerate(dense(model)):
        own, variance = x[z == c], cov.diagonal()
        assert abs(len(own) / len(x) - model.weights[c]) < 0.015
        assert ((own.mean(dim=0) - model.means[c]).abs() < 6 * (variance / len(own)).sqrt()).all()
        error = ((cov**2 + variance[:, None] * variance) / len(own)).sqrt()
        assert ((torch.cov(own.T) - cov).abs() < 6 * error).all()


def test_a_start_keeps_the_plain_mixture(x: Tensor, generator: torch.Generator) -> None:
    """Weights, means and variances stay; the factors explain a quarter of each variance."""
    plain = mixture.start(x, 4, generator, mixture.diagonal)
    found = factors.start(plain, 4, generator)
    for name in ("weights", "means"):
        torch.testing.assert_close(getattr(found, name), getattr(plain, name))
    torch.testing.assert_close(found.variances, plain.covariances)
    assert found.loadings.shape == (4, DIMS, 4)
    explained = found.loadings.square().sum(dim=2) / plain.covariances
    assert 0.15 < explained.mean() < 0.35
    assert explained.std() > 0.01


def test_a_collapsing_component_is_named(normal: Draw, model: Factors) -> None:
    """A component on one datum has no noise left; with a floor it stays."""
    x = torch.cat([normal(30, DIMS), torch.full((1, DIMS), 50.0, dtype=torch.float64)])
    means = model.means.clone()
    means[1] = 50.0
    begin = Factors(model.weights, means, model.loadings, model.variances)
    with pytest.raises(ValueError, match=r"component 1 has collapsed: .* Give a floor"):
        list(factors.em(x, begin, 100))
    *_, (found, value) = factors.em(x, begin, 20, floor=0.01)
    assert value.isfinite()
    assert (found.variances[1] == 0.01).all()


@pytest.mark.usefixtures("unchecked")
def test_what_does_not_fit_is_named(model: Factors, x: Tensor, generator: torch.Generator) -> None:
    """Loadings of other dimensions, noise of none, full covariances, no factors, NaN."""
    with pytest.raises(ValueError, match=r"loadings have shape \(3, 4, 2\), means \(3, 5\)"):
        Factors(model.weights, model.means, model.loadings[:, :4], model.variances)
    with pytest.raises(ValueError, match="variances must be positive, got 0"):
        Factors(model.weights, model.means, model.loadings, 0 * model.variances)
    full = mixture.start(x, 2, generator)
    with pytest.raises(ValueError, match="diagonal"):
        factors.start(full, 2, generator)
    plain = mixture.start(x, 2, generator, mixture.diagonal)
    for count in (0, DIMS):
        with pytest.raises(ValueError, match=f"factors must be 1 to 4, got {count}"):
            factors.start(plain, count, generator)
    with pytest.raises(ValueError, match="data have 3 dimensions, means 5"):
        factors.log_prob(x[:, :3], model)
    x[3, 1] = torch.nan
    with pytest.raises(ValueError, match="first in row 3"):
        list(factors.em(x, model, 1))
