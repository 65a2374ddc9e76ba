"""Solutions of the exercises in book/density/ppca.md, and what shows that they are right."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from litgen.density import ppca
from litgen.density.pca import principal_angles, principal_axes
from litgen.density.ppca import PPCA

Draw = Callable[..., Tensor]


def free_parameters(dims: int, latent: int) -> int:
    """Count what a fit chooses: mean, noise, and W up to a rotation of the codes."""
    return dims + 1 + dims * latent - latent * (latent - 1) // 2


def zero_noise_step(centred: Tensor, weight: Tensor) -> Tensor:
    """Return the weight after one EM step in the limit of no noise: two least squares."""
    codes = torch.linalg.lstsq(weight, centred.T).solution.T
    return torch.linalg.lstsq(codes, centred).solution.T


def denoising_errors(model: PPCA) -> tuple[Tensor, Tensor]:
    """Return the expected squared errors of the signal W z + mu: posterior mean, projection."""
    latent = model.weight.shape[1]
    shrunk = model.posterior(model.mean)[1]
    return (model.weight @ shrunk @ model.weight.T).trace(), latent * model.noise_var


def most_probable_class(models: list[PPCA], log_prior: Tensor, x: Tensor) -> Tensor:
    """Return the class of each datum by Bayes' rule, one fitted model a class."""
    joint = torch.stack([model.log_prob(x) for model in models], dim=-1) + log_prior
    return joint.argmax(dim=-1)


def seen_step(model: PPCA, x: Tensor, seen: Tensor) -> tuple[PPCA, Tensor]:
    """Return the model after an EM step on the seen entries (0 or 1), and the filled data."""
    latent = model.weight.shape[1]
    inner = torch.einsum("nd,di,dj->nij", seen, model.weight, model.weight)
    inner = inner + model.noise_var * torch.eye(latent, dtype=x.dtype)
    pull = ((x - model.mean) * seen) @ model.weight
    codes = torch.linalg.solve(inner, pull)
    ones = torch.ones(len(x), 1, dtype=x.dtype)
    longer = torch.cat([codes, ones], dim=1)  # the mean is the weight of a constant code
    second = longer[:, :, None] * longer[:, None]
    second[:, :latent, :latent] += model.noise_var * torch.linalg.inv(inner)
    left = torch.einsum("nd,nd,ni->di", seen, x, longer)
    right = torch.einsum("nd,nij->dij", seen, second)
    rows = torch.linalg.solve(right, left)
    spread = (seen * x.square()).sum() - (rows * left).sum()
    filled = torch.where(seen.bool(), x, model.decode(codes))
    return PPCA(rows[:, -1], rows[:, :-1], spread / seen.sum()), filled


# what shows that they are right ------------------------------------------------------------------


@pytest.mark.parametrize(("dims", "latent"), [(4, 1), (5, 2), (5, 3)])
def test_the_parameters_are_as_many_as_the_directions_in_which_the_density_moves(
    normal: Draw, dims: int, latent: int
) -> None:
    """The rank of the Jacobian of mean and covariance."""

    def law(mean: Tensor, weight: Tensor, noise_var: Tensor) -> Tensor:
        eye = torch.eye(dims, dtype=torch.float64)
        return torch.cat([mean, (weight @ weight.T + noise_var * eye).flatten()])

    at = normal(dims), normal(dims, latent), torch.tensor(0.5, dtype=torch.float64)
    parts = torch.autograd.functional.jacobian(law, at)
    whole = torch.cat([part.reshape(dims + dims**2, -1) for part in parts], dim=1)
    assert torch.linalg.matrix_rank(whole).item() == free_parameters(dims, latent)
    assert whole.shape[1] >= free_parameters(dims, latent)


def test_without_noise_em_finds_the_principal_subspace(normal: Draw) -> None:
    """The reconstruction error never rises, and ends at the discarded eigenvalues' sum."""
    x = normal(40, 6) * torch.tensor([4, 3, 1.5, 1, 1, 1]) @ torch.linalg.qr(normal(6, 6)).Q
    axes, centred = principal_axes(x), x - x.mean(dim=0)
    weight, errors = normal(6, 2), []
    for _ in range(60):
        weight = zero_noise_step(centred, weight)
        basis = torch.linalg.qr(weight).Q
        errors.append((centred - centred @ basis @ basis.T).square().sum().item() / 40)
    assert min(a - b for a, b in itertools.pairwise(errors)) > -1e-10
    assert errors[0] > errors[-1] + 0.1
    assert errors[-1] == pytest.approx(axes.variances[2:].sum().item(), rel=1e-9)
    assert principal_angles(axes.directions[:, :2], weight).max() < 1e-6
    # the same step, from the general one with hardly any noise
    quiet = PPCA(axes.mean, normal(6, 2), torch.tensor(1e-10, dtype=torch.float64))
    torch.testing.assert_close(
        ppca.em_step(quiet, x).weight, zero_noise_step(centred, quiet.weight), rtol=1e-6, atol=1e-6
    )


def test_shrinking_beats_projecting(normal: Draw) -> None:
    """Both expected errors, against 200,000 draws whose signal is known."""
    model = PPCA(normal(5), normal(5, 2), torch.tensor(0.8, dtype=torch.float64))
    z, noise = normal(200_000, 2), normal(200_000, 5)
    x, signal = model.sample(z, noise), model.decode(z)
    basis = torch.linalg.qr(model.weight).Q
    projected = (x - model.mean) @ basis @ basis.T + model.mean
    shrunk, plain = denoising_errors(model)
    for estimate, expected in ((model.reconstruct(x), shrunk), (projected, plain)):
        errors = (estimate - signal).square().sum(dim=1)
        assert abs(errors.mean() - expected) < 6 * errors.std() / 200_000**0.5
    assert shrunk < 0.9 * plain


def test_one_model_a_class_is_a_classifier() -> None:
    """On scikit-learn's 8x8 digits: more than 97 % of the held-out third."""
    from sklearn.datasets import load_digits

    found = load_digits()
    x = torch.from_numpy(found.data) / 16
    labels = torch.from_numpy(found.target)
    held_out = torch.arange(len(x)) % 3 == 0
    models = [ppca.fit(x[~held_out & (labels == c)], 12) for c in range(10)]
    log_prior = torch.bincount(labels[~held_out]).double().log()
    guessed = most_probable_class(models, log_prior, x[held_out])
    accuracy = (guessed == labels[held_out]).double().mean().item()
    assert accuracy > 0.97
    # by the full Gaussians, and with a prior that rules a class out
    laws = [MultivariateNormal(m.mean, covariance_of(m)) for m in models]
    judged = torch.stack([law.log_prob(x[held_out]) for law in laws], dim=1) + log_prior
    assert torch.equal(judged.argmax(dim=1), guessed)
    log_prior[3] = -torch.inf
    assert 3 not in most_probable_class(models, log_prior, x[held_out])


def covariance_of(model: PPCA) -> Tensor:
    """Return W W^T + sigma^2 I."""
    eye = torch.eye(len(model.mean), dtype=model.mean.dtype)
    return model.weight @ model.weight.T + model.noise_var * eye


def seen_log_prob(model: PPCA, x: Tensor, seen: Tensor) -> float:
    """Return the judge's log-likelihood of what is seen: a marginal Gaussian for each datum."""
    covariance, total = covariance_of(model), 0.0
    for row, mask in zip(x, seen.bool(), strict=True):
        law = MultivariateNormal(model.mean[mask], covariance[mask][:, mask])
        total += law.log_prob(row[mask]).item()
    return total


def test_em_with_missing_entries(normal: Draw) -> None:
    """The likelihood of what is seen never falls; the fills are conditional means."""
    x = normal(40, 5) @ normal(5, 5) + 2
    seen = (normal(40, 5) > -0.7).double()
    seen[:, 0] = 1
    assert 0.1 < 1 - seen.mean() < 0.4
    model = PPCA(normal(5), normal(5, 2), torch.tensor(1.0, dtype=torch.float64))
    values = [seen_log_prob(model, x, seen)]
    for _ in range(30):
        model, filled = seen_step(model, x, seen)
        values.append(seen_log_prob(model, x, seen))
    assert min(b - a for a, b in itertools.pairwise(values)) > -1e-9
    assert values[-1] > values[0] + 10
    other = torch.where(seen.bool(), x, torch.tensor(77.0).double())
    torch.testing.assert_close(seen_step(model, other, seen)[1], seen_step(model, x, seen)[1])
    filled, covariance = seen_step(model, x, seen)[1], covariance_of(model)
    for row, mask, found in zip(x, seen.bool(), filled, strict=True):
        gain = covariance[~mask][:, mask] @ torch.linalg.inv(covariance[mask][:, mask])
        expected = model.mean[~mask] + gain @ (row[mask] - model.mean[mask])
        torch.testing.assert_close(found[~mask], expected)
        torch.testing.assert_close(found[mask], row[mask])


def test_with_nothing_missing_the_fixed_point_is_the_closed_form(normal: Draw) -> None:
    """The step with masks of ones leaves the maximum where it is."""
    x = normal(40, 5) @ normal(5, 5) + 2
    best = ppca.fit(x, 2)
    after, filled = seen_step(best, x, torch.ones_like(x))
    torch.testing.assert_close(after.weight, best.weight)
    torch.testing.assert_close(after.noise_var, best.noise_var)
    torch.testing.assert_close(after.mean, best.mean)
    torch.testing.assert_close(filled, x)
