"""Solutions to the exercises of book/gan/toy2d.md, and their proofs."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from litgen.blocks import MLP
from litgen.evaluation.energy import energy_distance
from litgen.gan import dirac, finite, toys
from litgen.training import Player, play

P = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
Q = torch.tensor([0.1, 0.1, 0.3, 0.5], dtype=torch.float64)


def minimise(loss: object, count: int) -> Tensor:
    """Return the probabilities that minimise a loss of logits, by LBFGS."""
    logits = torch.zeros(count, dtype=torch.float64, requires_grad=True)
    settings = {"max_iter": 400, "tolerance_grad": 1e-12, "tolerance_change": 1e-16}
    optimizer = torch.optim.LBFGS([logits], line_search_fn="strong_wolfe", **settings)

    def closure() -> Tensor:
        optimizer.zero_grad()
        total: Tensor = loss(torch.sigmoid(logits))  # type: ignore[operator]
        total.backward()
        return total

    optimizer.step(closure)
    return torch.sigmoid(logits.detach())


# exercise: more data than samples --------------------------------------------------------------


def best_with_share(p: Tensor, q: Tensor, share: float) -> Tensor:
    """Return the best discriminator's probabilities where a share of all points are data."""
    logits = (p / q).log() + math.log(share / (1 - share))
    return torch.sigmoid(logits)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_share_shifts_the_logit(share: float) -> None:
    """Bayes' rule, and the minimiser of the weighted cross-entropy."""
    found = best_with_share(P, Q, share)
    bayes = share * P / (share * P + (1 - share) * Q)
    torch.testing.assert_close(found, bayes)

    def loss(d: Tensor) -> Tensor:
        return -(share * P * d.log() + (1 - share) * Q * (1 - d).log()).sum()

    torch.testing.assert_close(minimise(loss, 4), found, rtol=1e-5, atol=1e-6)


# exercise: smoothed labels ---------------------------------------------------------------------


def best_with_labels(p: Tensor, q: Tensor, real: float, fake: float) -> Tensor:
    """Return the best discriminator where data are labelled ``real`` and samples ``fake``."""
    return (real * p + fake * q) / (p + q)


@pytest.mark.parametrize(("real", "fake"), [(1.0, 0.0), (0.9, 0.0), (0.9, 0.1)])
def test_labels_mix_into_the_best_discriminator(real: float, fake: float) -> None:
    """The minimiser of the cross-entropy with these labels; plain labels give eq:game-best."""

    def loss(d: Tensor) -> Tensor:
        of_data = real * d.log() + (1 - real) * (1 - d).log()
        of_samples = fake * d.log() + (1 - fake) * (1 - d).log()
        return -(P * of_data + Q * of_samples).sum()

    found = best_with_labels(P, Q, real, fake)
    torch.testing.assert_close(minimise(loss, 4), found, rtol=1e-5, atol=1e-6)
    if (real, fake) == (1.0, 0.0):
        torch.testing.assert_close(found, finite.best_discriminator(P, Q))


def test_one_sided_smoothing_scales_and_the_other_side_adds_samples() -> None:
    """One-sided: 0.9 D*, in the same order; a smoothed fake label rewards places of samples."""
    plain, one = best_with_labels(P, Q, 1.0, 0.0), best_with_labels(P, Q, 0.9, 0.0)
    torch.testing.assert_close(one, 0.9 * plain)
    far = torch.tensor([1e-9, 1.0], dtype=torch.float64), torch.tensor([0.5, 0.5]).double()
    assert best_with_labels(*far, 0.9, 0.0)[0] < 1e-8
    assert best_with_labels(*far, 0.9, 0.1)[0] == pytest.approx(0.1, abs=1e-6)


# exercise: a penalty that lets the game come to rest -------------------------------------------


def penalised(state: Tensor, rate: float, weight_decay: float) -> Tensor:
    """Take a simultaneous step with the penalty (weight_decay / 2) |gradient at the datum|^2."""
    place, weight = state
    moved = dirac.simultaneous(state, rate)
    return moved - rate * weight_decay * torch.stack([torch.zeros_like(place), weight])


def penalised_eigenvalues(rate: float, weight_decay: float) -> tuple[complex, complex]:
    """Return the eigenvalues of such a step near rest."""
    middle = 1 - rate * weight_decay / 2
    root = complex(weight_decay**2 - 1) ** 0.5 * rate / 2
    return middle + root, middle - root


@pytest.mark.parametrize("weight_decay", [0.0, 0.3, 1.0, 2.0])
def test_the_penalty_pulls_the_game_to_rest(weight_decay: float) -> None:
    """Eigenvalues of the step's Jacobian; inside the circle with a penalty, outside without."""
    rate, small = 0.2, 1e-6 * torch.eye(2, dtype=torch.float64)
    columns = [
        (penalised(unit, rate, weight_decay) - penalised(-unit, rate, weight_decay)) / 2e-6
        for unit in small
    ]
    found = np.linalg.eigvals(torch.stack(columns, dim=1).numpy())
    expected = np.array(penalised_eigenvalues(rate, weight_decay))
    assert np.poly(found) == pytest.approx(np.poly(expected), abs=1e-6)
    assert (np.abs(expected).max() < 1) == (weight_decay > 0)
    state = torch.tensor([0.5, 0.5], dtype=torch.float64)
    for _ in range(400):
        state = penalised(state, rate, weight_decay)
    assert (state.norm() < 1e-2) == (weight_decay > 0)


# exercise: look one step ahead -----------------------------------------------------------------


def look_ahead(state: Tensor, rate: float) -> Tensor:
    """Take the slopes where a simultaneous step would lead, and the step from where one is."""
    there = dirac.simultaneous(state, rate)
    return state + dirac.simultaneous(there, rate) - there


def shrinkage(rate: float) -> float:
    """Return the factor by which such a step changes the distance from rest, near it."""
    a = rate / 2
    return math.sqrt(1 - a**2 + a**4)


@pytest.mark.parametrize("rate", [0.2, 1.0, 1.9])
def test_looking_ahead_turns_growth_into_decay(rate: float) -> None:
    """The measured factor of a step near rest, below one; a simultaneous step's is above."""
    state = torch.tensor([3e-5, -4e-5], dtype=torch.float64)
    measured = (look_ahead(state, rate).norm() / state.norm()).item()
    assert measured == pytest.approx(shrinkage(rate), rel=1e-6)
    assert measured < 1 < dirac.simultaneous(state, rate).norm() / state.norm()


# exercise: a judge that does not learn ---------------------------------------------------------


def without_a_critic(modes: toys.Modes, turns: int, seed: int = 0) -> MLP:
    """Train a generator on the energy distance of its samples from data."""
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    generator = MLP([2, 64, 64, 2])

    def loss(real: Tensor) -> Tensor:
        fake = generator(torch.randn(len(real), 2, generator=random))
        across = torch.cdist(real, fake).mean()
        n = len(real)
        within = torch.cdist(fake, fake).sum() / (n * (n - 1))
        return 2 * across - within  # the distances among data do not depend on the generator

    optimizer = torch.optim.Adam(generator.parameters(), lr=3e-3, fused=True)
    fresh = iter(lambda: modes.sample(200, random), None)
    for _ in play([Player("generator", optimizer, loss)], fresh, turns):
        pass
    return generator.requires_grad_(False)


def test_a_fixed_judge_teaches_the_plane_too() -> None:
    """From far away to a small distance, and to all eight Gaussians."""
    modes = toys.eight_gaussians(0.1)
    real = modes.sample(2_000, torch.Generator().manual_seed(9))
    z = torch.randn(2_000, 2, generator=torch.Generator().manual_seed(8))
    before, after = (
        energy_distance(without_a_critic(modes, turns)(z), real).item() for turns in (0, 250)
    )
    assert before > 0.5
    assert after < 0.04
    assert toys.coverage(without_a_critic(modes, 250)(z), modes).covered == 8
