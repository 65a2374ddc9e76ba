"""Proof for litgen/diffusion/likelihood.py: exact densities, quadrature, the whole Jacobian."""

import itertools

import pytest
import torch
from torch import Tensor

from litgen.diffusion import ddim, likelihood, schedule
from litgen.diffusion.known import GaussianMixture
from tests import oracles

TIMES = schedule.cosine(1_000)
DATA = GaussianMixture(
    torch.tensor([0.3, 0.7]).double(), torch.tensor([[-0.8, 0.5], [0.9, -0.2]]).double(), 0.3
)


def exact(x_t: Tensor, t: Tensor) -> Tensor:
    """Return the mean noise in x_t of the mixture."""
    return DATA.noise(x_t, t, TIMES)


def true_log_prob(x: Tensor) -> Tensor:
    """Return the mixture's log-density by torch.distributions."""
    parts = [
        torch.distributions.Normal(mean, DATA.scale).log_prob(x).sum(dim=1) + weight.log()
        for mean, weight in zip(DATA.means, DATA.weights, strict=True)
    ]
    return torch.logaddexp(parts[0], parts[1])


def points(normal: "oracles.Function") -> Tensor:
    """Return a few places near the mixture."""
    return 0.8 * normal(9, 2)


def test_the_log_density_converges_to_the_exact_one(normal: "oracles.Function") -> None:
    """eq:onepic-encoded: with the exact denoiser the error falls with the step, at order 1."""
    x = points(normal)
    expected = true_log_prob(x)
    errors = []
    for count in (100, 200, 400):
        found = likelihood.log_prob(exact, x, TIMES, ddim.times(TIMES, count))
        errors.append((found - expected).abs().mean().item())
    assert expected.std() > 0.5
    assert errors[-1] < 0.07
    for coarse, fine in itertools.pairwise(errors):
        assert 1.5 < coarse / fine < 2.6


def test_it_integrates_to_one() -> None:
    """eq:onepic-encoded: a few steps are already a proper density, if not yet the right one."""
    for count in (25, 50):
        times = ddim.times(TIMES, count)
        mass = oracles.integrate_plane(
            lambda x, times=times: likelihood.log_prob(exact, x, TIMES, times).exp(), 3.2, 129
        )
        assert mass.item() == pytest.approx(1, abs=1e-3)
    x = torch.tensor([[0.9, -0.2]]).double()
    rough = likelihood.log_prob(exact, x, TIMES, ddim.times(TIMES, 25))
    assert (rough - true_log_prob(x)).abs() > 0.05, "a density that is not the right one"


@pytest.mark.parametrize("prediction", ["noise", "x", "v"])
def test_the_way_is_ddims(prediction: str, normal: "oracles.Function") -> None:
    """eq:onepic-encode-step: the same z as ddim.encode, and the determinant of the whole map."""
    weight = 0.3 * normal(3, 2, 2)

    def model(x_t: Tensor, t: Tensor) -> Tensor:
        share = t[:, None] / TIMES.steps
        return torch.tanh(x_t @ weight[0] + share) @ weight[1] + x_t @ weight[2]

    x, times = points(normal), ddim.times(TIMES, 20)[4:]  # stops before the noise is pure
    z, log_det, folded = likelihood.encode(model, x, TIMES, times, prediction)
    torch.testing.assert_close(z, ddim.encode(model, x, TIMES, times, prediction))
    normal_part = torch.distributions.Normal(0, 1).log_prob(z).sum(dim=1)
    found = likelihood.log_prob(model, x, TIMES, times, prediction)
    torch.testing.assert_close(found, normal_part + log_det)

    def one(place: Tensor) -> Tensor:
        rising = times[::-1]
        here = place[None]
        for s, t in itertools.pairwise(rising):
            here = likelihood.encode_step(model, here, s, t, TIMES, prediction)
        return here[0]

    whole = torch.stack([torch.autograd.functional.jacobian(one, place) for place in x])
    torch.testing.assert_close(log_det, torch.linalg.det(whole).log())
    assert log_det.std() > 1e-3
    assert not log_det.requires_grad
    assert not z.requires_grad
    assert not folded.any()


def test_one_gaussian_step_by_hand() -> None:
    """eq:onepic-encode-step: linear for Gaussian data, so that its slope is known."""
    flat = GaussianMixture(torch.ones(1).double(), torch.zeros(1, 1).double(), 0.5)
    s, t = 300, 340
    now, then = (float(TIMES.alpha_bar[k]) for k in (s, t))
    x = torch.tensor([[0.7], [-1.1]]).double().requires_grad_()
    y = likelihood.encode_step(lambda x_t, at: flat.noise(x_t, at, TIMES), x, s, t, TIMES)
    noise = (1 - now) ** 0.5 / (now * 0.25 + 1 - now)  # of one unit of x_s
    slope = then**0.5 * (1 - (1 - now) ** 0.5 * noise) / now**0.5 + (1 - then) ** 0.5 * noise
    torch.testing.assert_close(y, slope * x)
    found = likelihood.jacobian(y, x)
    torch.testing.assert_close(found, torch.full((2, 1, 1), slope).double())


def test_the_jacobian_is_that_of_each_example(normal: "oracles.Function") -> None:
    """Three dimensions, against torch's own: rows are outputs, columns are inputs."""
    weight, x = normal(3, 3), normal(5, 3).requires_grad_()

    def f(v: Tensor) -> Tensor:
        return v + 0.4 * torch.sin(v @ weight)

    expected = [torch.autograd.functional.jacobian(f, place) for place in x.detach()]
    torch.testing.assert_close(likelihood.jacobian(f(x), x), torch.stack(expected))


def test_a_fold_is_told() -> None:
    """Noise that falls so fast with x that one long step turns the line over, where x > 0.

    The model's noise is -c x; from time s to t a step multiplies x by a known slope, which is
    negative for a large c.
    """
    s, t = 100, 600
    now, then = (float(TIMES.alpha_bar[k]) for k in (s, t))

    def model(x_t: Tensor, at: Tensor) -> Tensor:
        return torch.where(at[:, None] == s, -4.0 * x_t.relu(), 0 * x_t)

    x = torch.tensor([[1.0], [-1.0]]).double()
    found = likelihood.encode(model, x, TIMES, [1_000, t, s, 0])
    slope = (then / now) ** 0.5 * (1 + 4 * (1 - now) ** 0.5) - 4 * (1 - then) ** 0.5
    assert slope < 0
    assert found.folded.tolist() == [True, False]
    assert found.log_det.isfinite().all()


def test_wrong_times_are_refused() -> None:
    """They must fall and end at the data."""
    x = torch.zeros(4, 2)
    for wrong in ([1_000, 500], [0, 500, 1_000], [0], [1_000, 500, 500, 0]):
        with pytest.raises(ValueError, match="must fall and end at 0"):
            likelihood.encode(lambda v, t: v, x, TIMES, wrong)
