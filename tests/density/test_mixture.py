"""Proof for litgen/density/mixture.py; the chapter is book/density/mixture.md.

Judges: torch.distributions, scikit-learn, quadrature, autograd, and loops (oracles.mixture_step).
"""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

from litgen.density import mixture
from litgen.density.mixture import Mixture, diagonal, full
from tests import oracles

Draw = Callable[..., Tensor]
KINDS = pytest.mark.parametrize("spread", [full, diagonal], ids=["full", "diagonal"])


def some_mixture(normal: Draw, spread: Callable[..., Tensor] = full, dims: int = 2) -> Mixture:
    """Return three components that overlap, with nothing symmetric about them."""
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    root = normal(3, dims, dims)
    covariances = root @ root.mT + 0.3 * torch.eye(dims, dtype=torch.float64)
    if spread is diagonal:
        covariances = covariances.diagonal(dim1=1, dim2=2)
    return Mixture(weights, 1.5 * normal(3, dims), covariances)


def judge(model: Mixture) -> MixtureSameFamily:
    """Return the same mixture by torch.distributions."""
    if model.covariances.dim() == 3:
        parts = MultivariateNormal(model.means, model.covariances)
    else:
        parts = Independent(Normal(model.means, model.covariances.sqrt()), 1)
    return MixtureSameFamily(Categorical(model.weights), parts)


def matrices(model: Mixture) -> Tensor:
    """Return the covariances as matrices, whatever they are."""
    if model.covariances.dim() == 3:
        return model.covariances
    return torch.diag_embed(model.covariances)


def clusters(normal: Draw, count: int = 120) -> Tensor:
    """Return data in three overlapping heaps."""
    centres = torch.tensor([[0.0, 0.0], [3.0, 1.0], [-1.0, 3.0]], dtype=torch.float64)
    z = torch.arange(count) % 3
    return centres[z] + normal(count, 2) * torch.tensor([1.0, 0.6], dtype=torch.float64)


# The density ------------------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize("dims", [1, 2, 5])
def test_log_prob_is_that_of_torch_distributions(
    normal: Draw, spread: Callable[..., Tensor], dims: int
) -> None:
    """eq:mixture-density, eq:mixture-gaussian, eq:mixture-square: by MixtureSameFamily."""
    model = some_mixture(normal, spread, dims)
    x = 2 * normal(30, dims)
    expected = judge(model).log_prob(x)
    assert expected.std() > 0.3
    torch.testing.assert_close(mixture.log_prob(x, model), expected, rtol=1e-11, atol=1e-11)


@KINDS
def test_the_density_integrates_to_one(normal: Draw, spread: Callable[..., Tensor]) -> None:
    """eq:mixture-density by quadrature over the plane."""
    model = some_mixture(normal, spread)
    total = oracles.integrate_plane(lambda x: mixture.log_prob(x, model).exp(), 16.0, nodes=401)
    assert abs(total.item() - 1) < 1e-6


@KINDS
def test_log_joint_is_weight_times_density(normal: Draw, spread: Callable[..., Tensor]) -> None:
    """eq:mixture-latent: one component at a time, in the order of the weights."""
    model, x = some_mixture(normal, spread), normal(7, 2)
    found = mixture.log_joint(x, model)
    assert found.shape == (7, 3)
    for c, (mean, cov) in enumerate(zip(model.means, matrices(model), strict=True)):
        expected = MultivariateNormal(mean, cov).log_prob(x) + math.log([0.5, 0.3, 0.2][c])
        torch.testing.assert_close(found[:, c], expected)


@KINDS
def test_no_underflow_in_many_dimensions(normal: Draw, spread: Callable[..., Tensor]) -> None:
    """eq:mixture-density: each density is below the smallest double, their logarithm is not."""
    dims = 784 if spread is diagonal else 200
    means = normal(2, dims)
    spreads = torch.full((2, dims), 400.0, dtype=torch.float64)
    model = Mixture(
        torch.tensor([0.4, 0.6], dtype=torch.float64),
        means,
        spreads if spread is diagonal else torch.diag_embed(spreads),
    )
    x = 40 * normal(3, dims)
    found = mixture.log_prob(x, model)
    assert found.max() < -750
    assert (found.exp() == 0).all()
    torch.testing.assert_close(found, judge(model).log_prob(x))
    rows = mixture.expect(mixture.log_joint(x, model)).sum(dim=1)
    torch.testing.assert_close(rows, torch.ones_like(rows))


# The bound --------------------------------------------------------------------------------------


def test_the_gap_is_the_divergence_from_the_posterior(normal: Draw) -> None:
    """eq:mixture-bound: log p(x) minus KL(q || p(z|x)) for any q, also one with zeros."""
    model, x = some_mixture(normal), normal(6, 2)
    joint = mixture.log_joint(x, model)
    q = torch.softmax(normal(6, 3), dim=1)
    q[0] = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    posterior = (joint - judge(model).log_prob(x)[:, None]).exp()
    gap = torch.zeros(6, dtype=torch.float64)
    for i, c in itertools.product(range(6), range(3)):
        if q[i, c] > 0:
            gap[i] += q[i, c] * (q[i, c] / posterior[i, c]).log()
    assert gap.min() > 1e-3
    assert gap.max() > 0.1
    found = mixture.free_energy(joint, q)
    torch.testing.assert_close(found, judge(model).log_prob(x) - gap)


def test_the_e_step_closes_the_gap(normal: Draw) -> None:
    """eq:mixture-posterior: at the posterior the bound is log p(x) itself; rows sum to 1."""
    model, x = some_mixture(normal), normal(20, 2)
    joint = mixture.log_joint(x, model)
    posterior = mixture.expect(joint)
    assert posterior.std(dim=0).min() > 0.05
    torch.testing.assert_close(posterior.sum(dim=1), torch.ones(20, dtype=torch.float64))
    torch.testing.assert_close(mixture.free_energy(joint, posterior), judge(model).log_prob(x))


# EM ---------------------------------------------------------------------------------------------


@KINDS
def test_a_step_by_loops(normal: Draw, spread: Callable[..., Tensor]) -> None:
    """eq:mixture-posterior, eq:mixture-means and so on, one datum at a time."""
    model, x = some_mixture(normal, spread), clusters(normal, 15)
    posterior, *expected = oracles.mixture_step(x, model.weights, model.means, matrices(model))
    found = mixture.expect(mixture.log_joint(x, model))
    torch.testing.assert_close(found, posterior)
    new = mixture.maximize(x, found, spread)
    torch.testing.assert_close(new.weights, expected[0])
    torch.testing.assert_close(new.means, expected[1])
    assert (expected[1] - model.means).abs().min() > 1e-3
    if spread is full:
        torch.testing.assert_close(new.covariances, expected[2])
    else:
        torch.testing.assert_close(new.covariances, expected[2].diagonal(dim1=1, dim2=2))


@KINDS
def test_no_other_parameters_raise_the_bound(normal: Draw, spread: Callable[..., Tensor]) -> None:
    """eq:mixture-weights, eq:mixture-means, eq:mixture-covariances: the bound's highest point.

    And eq:mixture-variances. The bound's gradient by autograd, and the bound at nearby parameters.
    """
    x = clusters(normal, 40)
    q = torch.softmax(normal(40, 3), dim=1)
    best = mixture.maximize(x, q, spread)

    def bound(logits: Tensor, means: Tensor, covariances: Tensor) -> Tensor:
        log_joint = torch.log_softmax(logits, dim=0) + torch.stack(
            [
                MultivariateNormal(m, cov if spread is full else torch.diag(cov)).log_prob(x)
                for m, cov in zip(means, covariances, strict=True)
            ],
            dim=1,
        )
        return (q * log_joint).sum() / len(x)

    parameters = [p.clone().requires_grad_() for p in (best.weights.log(), best.means)]
    parameters.append(best.covariances.clone().requires_grad_())
    highest = bound(*parameters)
    for gradient in torch.autograd.grad(highest, parameters):
        assert gradient.abs().max() < 1e-10
    for _ in range(20):
        nudged = [p.detach() + 0.05 * normal(*p.shape) for p in parameters[:2]]
        scale = (
            (0.05 * normal(3, 1)).exp() if spread is diagonal else (0.05 * normal(3, 1, 1)).exp()
        )
        assert bound(*nudged, parameters[2].detach() * scale) < highest


@KINDS
def test_the_same_steps_as_scikit_learn(normal: Draw, spread: Callable[..., Tensor]) -> None:
    """Seven steps from one start: parameters and likelihood equal to 1e-10."""
    x = clusters(normal)
    begin = some_mixture(normal, spread)
    *_, (found, value) = mixture.em(x, begin, steps=7)
    precisions = torch.linalg.inv(matrices(begin))
    if spread is diagonal:
        precisions = precisions.diagonal(dim1=1, dim2=2)
    other = GaussianMixture(
        3,
        covariance_type="full" if spread is full else "diag",
        tol=0,
        reg_covar=0,
        max_iter=7,
        weights_init=begin.weights.numpy(),
        means_init=begin.means.numpy(),
        precisions_init=precisions.numpy(),
    )
    with pytest.warns(UserWarning, match="did not converge"):
        other.fit(x.numpy())
    close = {"rtol": 1e-10, "atol": 1e-10}
    torch.testing.assert_close(found.weights, torch.from_numpy(other.weights_), **close)
    torch.testing.assert_close(found.means, torch.from_numpy(other.means_), **close)
    torch.testing.assert_close(found.covariances, torch.from_numpy(other.covariances_), **close)
    assert value.item() == pytest.approx(other.score(x.numpy()), abs=1e-10)


@KINDS
@pytest.mark.parametrize("floor", [0.0, 0.5])
def test_the_likelihood_never_falls(
    normal: Draw, spread: Callable[..., Tensor], floor: float
) -> None:
    """eq:mixture-monotone: thirty steps, also where the floor holds variances up."""
    x, begin = clusters(normal), some_mixture(normal, spread)
    if floor:
        begin = mixture.start(x, 4, torch.Generator().manual_seed(0), spread, floor)
    values = torch.stack([value for _, value in mixture.em(x, begin, 30, floor)])
    assert values[-1] - values[0] > 0.01
    assert (values.diff() > -1e-12).all()


@KINDS
def test_em_stops_where_the_gradient_is_zero(normal: Draw, spread: Callable[..., Tensor]) -> None:
    """eq:mixture-gradient: at the end of EM autograd's gradient of log p(x) vanishes."""
    x = clusters(normal)
    *_, (model, _) = mixture.em(x, some_mixture(normal, spread), steps=500)
    parameters = [p.clone().requires_grad_() for p in (model.weights.log(), model.means)]
    parameters.append(model.covariances.clone().requires_grad_())
    weights = torch.softmax(parameters[0], dim=0)
    value = judge(Mixture(weights, *parameters[1:])).log_prob(x).mean()
    for gradient in torch.autograd.grad(value, parameters):
        assert gradient.abs().max() < 1e-6


def test_the_gradient_is_the_pull_of_the_responsibilities(normal: Draw) -> None:
    """eq:mixture-gradient: sum of q_ic times Sigma^-1 (x_i - mean), by autograd."""
    x, model = clusters(normal, 30), some_mixture(normal)
    q = mixture.expect(mixture.log_joint(x, model))
    means = model.means.clone().requires_grad_()
    value = judge(Mixture(model.weights, means, model.covariances)).log_prob(x).sum()
    (gradient,) = torch.autograd.grad(value, means)
    for c in range(3):
        precision = torch.linalg.inv(model.covariances[c])
        pull = sum(q[i, c] * precision @ (x[i] - model.means[c]) for i in range(30))
        torch.testing.assert_close(gradient[c], pull)


@KINDS
def test_one_component_is_sample_mean_and_covariance(
    normal: Draw, spread: Callable[..., Tensor]
) -> None:
    """eq:mixture-covariances: the closed form after a single step, divided by n."""
    x = clusters(normal)
    begin = mixture.start(x, 1, torch.Generator().manual_seed(0), spread)
    (found, value), *_ = mixture.em(x, begin, steps=1)
    expected = torch.cov(x.T, correction=0)
    torch.testing.assert_close(found.means[0], x.mean(dim=0))
    torch.testing.assert_close(
        matrices(found)[0], expected if spread is full else expected * torch.eye(2)
    )
    assert found.weights.tolist() == pytest.approx([1.0])
    law = MultivariateNormal(x.mean(dim=0), matrices(found)[0])
    torch.testing.assert_close(value, law.log_prob(x).mean())


def test_a_known_mixture_is_found_again(normal: Draw) -> None:
    """20,000 data: all parameters, up to the order of the components."""
    root = torch.tensor([[0.8, 0.0], [0.5, 0.3]], dtype=torch.float64)
    centres = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]], dtype=torch.float64)
    truth = Mixture(
        torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64),
        centres,
        torch.stack([root @ root.T, torch.eye(2).double(), 0.5 * torch.eye(2).double()]),
    )
    generator = torch.Generator().manual_seed(3)
    x, _ = mixture.sample(truth, 20_000, generator)
    found = mixture.fit(x, 3, generator, starts=3)
    order = torch.cdist(truth.means, found.means).argmin(dim=1)
    assert sorted(order.tolist()) == [0, 1, 2]
    torch.testing.assert_close(found.weights[order], truth.weights, rtol=0, atol=0.015)
    torch.testing.assert_close(found.means[order], truth.means, rtol=0, atol=0.05)
    torch.testing.assert_close(found.covariances[order], truth.covariances, rtol=0, atol=0.06)


def test_the_order_of_components_means_nothing(normal: Draw) -> None:
    """eq:mixture-density: six orders, one density; EM keeps the order it was given."""
    x, model = clusters(normal, 20), some_mixture(normal)
    expected = mixture.log_prob(x, model)
    (once, _), *_ = mixture.em(x, model, 1)
    for order in itertools.permutations(range(3)):
        index = list(order)
        other = Mixture(model.weights[index], model.means[index], model.covariances[index])
        torch.testing.assert_close(mixture.log_prob(x, other), expected)
        (moved, _), *_ = mixture.em(x, other, 1)
        torch.testing.assert_close(moved.means, once.means[index])


def test_single_precision_far_from_the_origin(normal: Draw) -> None:
    """Variances are taken about the new mean, not as a difference of large squares."""
    x = (1_000 + clusters(normal)).float()
    q = torch.softmax(normal(120, 3), dim=1).float()
    expected = mixture.maximize(x.double(), q.double(), diagonal).covariances
    found = mixture.maximize(x, q, diagonal).covariances
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=0)


# The floor, and collapse ------------------------------------------------------------------------


@KINDS
def test_the_floor_is_the_best_that_it_allows(normal: Draw, spread: Callable[..., Tensor]) -> None:
    """eq:mixture-floor: no covariance at or above the floor fits weighted data better."""
    floor, share = 0.6, torch.softmax(normal(50), dim=0)
    apart = normal(50, 3) @ torch.diag(torch.tensor([2.0, 0.7, 0.1])).double() @ normal(3, 3)
    scatter = (share[:, None] * apart).T @ apart

    def objective(cov: Tensor) -> Tensor:
        cov = cov if spread is full else torch.diag(cov)
        return -torch.logdet(cov) - torch.trace(torch.linalg.solve(cov, scatter))

    best = spread(apart, share, floor)
    eigenvalues = torch.linalg.eigvalsh(best) if spread is full else best.sort().values
    if spread is full:
        torch.testing.assert_close(eigenvalues, torch.linalg.eigvalsh(scatter).clamp(min=floor))
        assert eigenvalues[0] == pytest.approx(floor)
    else:
        torch.testing.assert_close(best, scatter.diagonal().clamp(min=floor))
    for _ in range(50):
        if spread is full:
            values, vectors = torch.linalg.eigh(best + 0.1 * (root := normal(3, 3)) + 0.1 * root.T)
            other = vectors * values.clamp(min=floor) @ vectors.T
        else:
            other = (best * (0.1 * normal(3)).exp()).clamp(min=floor)
        assert objective(other) <= objective(best) + 1e-12


@KINDS
def test_no_floor_leaves_the_covariance_alone(normal: Draw, spread: Callable[..., Tensor]) -> None:
    """eq:mixture-covariances: torch.cov with weights."""
    apart, counts = (
        normal(50, 3),
        torch.randint(1, 9, (50,), generator=torch.Generator().manual_seed(0)),
    )
    share = counts / counts.sum().double()
    apart = apart - share @ apart
    expected = torch.cov(apart.T, correction=0, fweights=counts)
    found = spread(apart, share)
    torch.testing.assert_close(found, expected if spread is full else expected.diagonal())


def lonely(normal: Draw) -> tuple[Tensor, Mixture]:
    """Return data with one far from all others, and a component that starts on it."""
    x = torch.cat([normal(30, 2), torch.tensor([[9.0, 9.0]], dtype=torch.float64)])
    means = torch.tensor([[0.0, 0.0], [9.0, 9.0]], dtype=torch.float64)
    eye = torch.eye(2, dtype=torch.float64)
    return x, Mixture(
        torch.tensor([0.5, 0.5], dtype=torch.float64), means, torch.stack([eye, eye])
    )


def test_a_collapsing_component_is_named(normal: Draw) -> None:
    """The likelihood has no bound: EM without a floor says which component, not NaN."""
    x, begin = lonely(normal)
    with pytest.raises(ValueError, match=r"component 1 has collapsed: .* Give a floor"):
        list(mixture.em(x, begin, 50))
    flat = Mixture(begin.weights, begin.means, torch.ones(2, 2, dtype=torch.float64))
    with pytest.raises(ValueError, match="component 1 has collapsed"):
        list(mixture.em(x, flat, 50))


def test_with_a_floor_it_stays_on_its_datum(normal: Draw) -> None:
    """The floor is the variance of a component with one datum, and the likelihood converges."""
    x, begin = lonely(normal)
    *_, (model, value) = mixture.em(x, begin, 50, floor=0.01)
    torch.testing.assert_close(model.means[1], x[-1])
    torch.testing.assert_close(model.covariances[1], 0.01 * torch.eye(2, dtype=torch.float64))
    assert model.weights[1].item() == pytest.approx(1 / 31)
    assert value.isfinite()


def test_data_without_spread_are_named() -> None:
    """A coordinate that never varies: the collapse is said before any number is made of it."""
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    x[:, 1] = 0.25
    for spread in (full, diagonal):
        with pytest.raises(ValueError, match="component 0 has collapsed"):
            mixture.maximize(x, torch.ones(20, 1), spread)


def test_a_component_on_a_slanted_line_has_collapsed(normal: Draw) -> None:
    """No variance in one direction, though every coordinate varies."""
    along = normal(20, 1) @ torch.tensor([[1.0, 1.0]], dtype=torch.float64)
    x = torch.cat([normal(20, 2), along])
    q = torch.zeros(40, 2, dtype=torch.float64)
    q[:20, 0] = q[20:, 1] = 1.0
    with pytest.raises(ValueError, match="component 1 has collapsed"):
        mixture.maximize(x, q)
    assert mixture.maximize(x, q, diagonal).covariances.min() > 0.1


def test_a_spread_below_rounding_is_none(normal: Draw) -> None:
    """Two data that differ by a ten-billionth: a variance, but nothing to build a density on."""
    x = normal(20, 1)
    x[1] = x[0] + 1e-10
    q = torch.zeros(20, 2, dtype=torch.float64)
    q[:2, 1] = q[2:, 0] = 1.0
    for spread in (full, diagonal):
        with pytest.raises(ValueError, match="component 1 has collapsed"):
            mixture.maximize(x, q, spread)


def test_a_component_without_data_is_named(normal: Draw) -> None:
    """A mean so far away that all responsibilities underflow."""
    x, model = clusters(normal), some_mixture(normal)
    means = model.means.clone()
    means[2] = 1e4
    with pytest.raises(ValueError, match="component 2 has lost all of its data"):
        list(mixture.em(x, Mixture(model.weights, means, model.covariances), 1, floor=1.0))


# Starts -----------------------------------------------------------------------------------------


def test_centres_are_drawn_by_their_squared_distance() -> None:
    """eq:mixture-spread: pairs of four points on a line, by chi-square against enumeration."""
    x = torch.tensor([[0.0], [1.0], [3.0], [7.0]], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    counts = torch.zeros(4, 4)
    for _ in range(2_000):
        a, b = mixture.spread_centres(x, 2, generator)[:, 0].tolist()
        counts[[0.0, 1.0, 3.0, 7.0].index(a), [0.0, 1.0, 3.0, 7.0].index(b)] += 1
    squares = (x - x.T).square()
    expected = 500 * squares / squares.sum(dim=1, keepdim=True)
    inside = expected > 0
    assert (counts[~inside] == 0).all()
    assert (
        (counts - expected)[inside].square() / expected[inside]
    ).sum() < 33  # 12 places, p 1e-3


def test_three_centres_use_the_nearest() -> None:
    """eq:mixture-spread: with two heaps and a far datum, all three are met nearly always."""
    x = torch.tensor([[0.0], [0.01], [100.0], [100.01], [200.0]], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    for _ in range(100):
        found = mixture.spread_centres(x, 3, generator)[:, 0].round().sort().values
        assert found.tolist() == [0.0, 100.0, 200.0]


@KINDS
def test_the_start_is_the_spread_about_the_nearest_centre(
    normal: Draw, spread: Callable[..., Tensor]
) -> None:
    """Equal weights, data as means, one covariance for all: loops over the data."""
    x = clusters(normal)
    found = mixture.start(x, 4, torch.Generator().manual_seed(1), spread)
    assert found.weights.tolist() == pytest.approx([0.25] * 4)
    total = torch.zeros(2, 2, dtype=torch.float64)
    for row in x:
        apart = min((row - mean for mean in found.means), key=lambda a: a.norm().item())
        total += torch.outer(apart, apart) / len(x)
    assert all((x == mean).all(dim=1).any() for mean in found.means)
    expected = total if spread is full else total.diagonal()
    for covariance in found.covariances:
        torch.testing.assert_close(covariance, expected)
    floored = mixture.start(x, 4, torch.Generator().manual_seed(1), spread, floor=5.0)
    torch.testing.assert_close(matrices(floored)[3], 5 * torch.eye(2, dtype=torch.float64))


def test_draws_come_from_the_generator_alone(normal: Draw) -> None:
    """The same generator gives the same start, another another; the global seed has no say."""
    x, state = clusters(normal), torch.get_rng_state()
    first, again, other = (
        mixture.fit(x, 3, torch.Generator().manual_seed(s), starts=1, steps=2).means
        for s in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(state, torch.get_rng_state())


def test_fit_keeps_the_best_start(normal: Draw) -> None:
    """As many runs of EM from the same generator, one by one: the highest is returned."""
    x = clusters(normal)
    best = mixture.fit(
        x, 5, torch.Generator().manual_seed(4), full, 0.05, starts=6, steps=9, tolerance=-1.0
    )
    found = mixture.log_prob(x, best)
    generator = torch.Generator().manual_seed(4)
    each = []
    for _ in range(6):
        *_, (_, value) = mixture.em(x, mixture.start(x, 5, generator, floor=0.05), 9, 0.05)
        each.append(value.item())
    assert max(each) - min(each) > 0.01
    assert max(each[1:]) > each[0]
    assert found.mean().item() == pytest.approx(max(each), abs=1e-12)


def test_fit_stops_where_little_is_gained(normal: Draw) -> None:
    """A run ends at the first step that gains less than the tolerance."""
    x = clusters(normal)
    found = mixture.fit(x, 3, torch.Generator().manual_seed(4), starts=1, tolerance=0.01)
    begin = mixture.start(x, 3, torch.Generator().manual_seed(4))
    runs = list(mixture.em(x, begin, 200))
    gains = [math.inf, *torch.stack([value for _, value in runs]).diff().tolist()]
    last = next(step for step, gain in enumerate(gains) if gain < 0.01)
    assert 1 < last < 100
    assert (runs[last][0].means - runs[last - 1][0].means).abs().max() > 1e-6
    torch.testing.assert_close(found.means, runs[last][0].means)


# Samples ----------------------------------------------------------------------------------------


@KINDS
def test_samples_have_the_components_moments(normal: Draw, spread: Callable[..., Tensor]) -> None:
    """eq:mixture-latent: frequencies, means, covariances of 60,000 draws within six errors."""
    model = some_mixture(normal, spread)
    x, z = mixture.sample(model, 60_000, torch.Generator().manual_seed(0))
    assert x.shape == (60_000, 2)
    for c, (weight, mean, cov) in enumerate(
        zip(model.weights, model.means, matrices(model), strict=True)
    ):
        own = x[z == c]
        share = len(own) / len(x)
        assert abs(share - weight) < 6 * (weight * (1 - weight) / len(x)).sqrt()
        variance = cov.diagonal()
        assert ((own.mean(dim=0) - mean).abs() < 6 * (variance / len(own)).sqrt()).all()
        error = ((cov**2 + variance[:, None] * variance) / len(own)).sqrt()
        assert ((torch.cov(own.T) - cov).abs() < 6 * error + 1e-9).all()


def test_as_many_samples_as_were_asked_for(normal: Draw, generator: torch.Generator) -> None:
    """None, one, and a clear error for fewer."""
    model = some_mixture(normal)
    for count in (0, 1, 5):
        x, z = mixture.sample(model, count, generator)
        assert x.shape == (count, 2)
        assert z.shape == (count,)
    with pytest.raises(ValueError, match="cannot draw -1 data"):
        mixture.sample(model, -1, generator)


# What is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_data_that_are_not_finite_are_named(normal: Draw, bad: float) -> None:
    """EM, starts and fits say the row."""
    x, generator = clusters(normal), torch.Generator().manual_seed(0)
    x[17, 1] = bad
    calls = (
        lambda: list(mixture.em(x, some_mixture(normal), 1)),
        lambda: mixture.start(x, 2, generator),
        lambda: mixture.fit(x, 2, generator),
        lambda: mixture.spread_centres(x, 2, generator),
    )
    for call in calls:
        with pytest.raises(ValueError, match="not finite, the first in row 17"):
            call()


@pytest.mark.parametrize("components", [0, -1, 6])
def test_the_number_of_components_is_checked(components: int) -> None:
    """None at all, and more than data."""
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(0)
    for call in (mixture.spread_centres, mixture.start, mixture.fit):
        with pytest.raises(ValueError, match=f"components must be 1 to 5, .* got {components}"):
            call(x, components, generator)


def test_more_components_than_different_data() -> None:
    """Copies of a datum are no second place to start from."""
    x = torch.tensor([[0.0, 1.0], [2.0, 3.0]]).repeat(4, 1)
    with pytest.raises(ValueError, match="3 components, but only 2 different data"):
        mixture.spread_centres(x, 3, torch.Generator().manual_seed(0))


def test_em_wants_no_more_components_than_data(normal: Draw) -> None:
    """Also where the start comes from elsewhere."""
    with pytest.raises(ValueError, match="components must be 1 to 2"):
        list(mixture.em(normal(2, 2), some_mixture(normal), 1))


@pytest.mark.usefixtures("unchecked")
def test_parameters_that_do_not_fit_are_named(normal: Draw) -> None:
    """Shapes, weights that are no distribution, data of other dimensions."""
    good = some_mixture(normal)
    shapes = (
        (good.weights[:2], good.means, good.covariances),
        (good.weights, good.means, good.covariances[:2]),
        (good.weights, good.means, good.covariances[:, :1]),
    )
    for parts in shapes:
        with pytest.raises(
            ValueError, match=r"weights have shape \(\d,\), means \(3, 2\), .* fit"
        ):
            Mixture(*parts)
    for weights in ([0.5, 0.5, 0.5], [1.2, -0.1, -0.1], [1.0, 0.0, 0.0], [math.nan, 0.5, 0.5]):
        with pytest.raises(ValueError, match="weights must be positive and sum to 1"):
            Mixture(torch.tensor(weights).double(), good.means, good.covariances)
    with pytest.raises(ValueError, match="data have 3 dimensions, means 2"):
        mixture.log_prob(normal(4, 3), good)


@pytest.mark.parametrize(("starts", "steps"), [(0, 5), (5, 0)])
def test_fit_needs_a_start_and_a_step(normal: Draw, starts: int, steps: int) -> None:
    """The error says both numbers."""
    with pytest.raises(ValueError, match=f"must be positive, got {starts} and {steps}"):
        mixture.fit(clusters(normal), 2, torch.Generator(), starts=starts, steps=steps)
