"""Proof for litgen/gan/dirac.py: autograd on the value, numpy's eigenvalues, measured growth."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from litgen.gan import dirac, losses

START = torch.tensor([0.7, -0.4], dtype=torch.float64)


def test_the_value_is_that_of_one_datum_and_one_sample() -> None:
    """eq:game-dirac: minus the discriminator's loss on logits 0 and weight * place."""
    states = torch.tensor([[0.7, -0.4], [1.5, 2.0], [-3.0, 0.2]], dtype=torch.float64)
    expected = [
        math.log(0.5) + math.log(1 - 1 / (1 + math.exp(-place * weight)))
        for place, weight in states.tolist()
    ]
    assert dirac.value(states).tolist() == pytest.approx(expected, rel=1e-12)
    loss = losses.discriminator_loss(states[:1, 0] * 0, states[:1, 0] * states[:1, 1])
    assert dirac.value(states[0]).item() == pytest.approx(-loss.item())


def slopes(state: Tensor) -> Tensor:
    """Return autograd's gradient of the value in (place, weight)."""
    state = state.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(dirac.value(state), state)
    return gradient


def test_simultaneous_steps_follow_both_slopes_at_once() -> None:
    """eq:game-simultaneous: the place goes down the value, the weight up, from the same state."""
    down_up = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    expected = START + 0.3 * down_up * slopes(START)
    torch.testing.assert_close(dirac.simultaneous(START, 0.3), expected)
    assert (expected - START).abs().min() > 0.03


def test_alternating_steps_let_the_generator_see_the_new_weight() -> None:
    """eq:game-alternating: the discriminator moves, then the generator on what it left."""
    half = START + torch.stack([torch.zeros(()), 0.3 * slopes(START)[1]])
    expected = half - torch.stack([0.3 * slopes(half)[0], torch.zeros(())])
    torch.testing.assert_close(dirac.alternating(START, 0.3), expected)
    assert (expected - dirac.simultaneous(START, 0.3)).abs().max() > 1e-3


def test_the_radius_grows_by_the_known_factor_in_every_simultaneous_step() -> None:
    """eq:game-growth: squared radius times 1 + rate^2 d^2, far from rest too."""
    path = dirac.play(dirac.simultaneous, START, 0.5, 40)
    assert path.shape == (41, 2)
    for before, after in zip(path[:-1].tolist(), path[1:].tolist(), strict=True):
        d = 1 / (1 + math.exp(-before[0] * before[1]))
        expected = (before[0] ** 2 + before[1] ** 2) * (1 + 0.25 * d * d)
        assert after[0] ** 2 + after[1] ** 2 == pytest.approx(expected, rel=1e-12)
    assert path[-1].norm() > 1.5 * path[0].norm()


@pytest.mark.parametrize("kind", ["simultaneous", "alternating"])
def test_near_rest_the_steps_are_their_matrix(kind: str) -> None:
    """eq:game-matrices: central differences of the step at (0, 0)."""
    step = getattr(dirac, kind)
    small = 1e-5 * torch.eye(2, dtype=torch.float64)
    columns = [(step(unit, 0.6) - step(-unit, 0.6)) / 2e-5 for unit in small]
    torch.testing.assert_close(
        dirac.linear_step(kind, 0.6), torch.stack(columns, dim=1), atol=1e-8, rtol=0
    )


@pytest.mark.parametrize("rate", [0.1, 0.5, 2.0])
def test_eigenvalues_say_who_leaves_and_who_stays(rate: float) -> None:
    """eq:game-matrices: absolute values sqrt(1 + rate^2 / 4) and 1."""
    for kind, expected in (("simultaneous", math.sqrt(1 + rate**2 / 4)), ("alternating", 1.0)):
        found = np.abs(np.linalg.eigvals(dirac.linear_step(kind, rate).numpy()))
        assert found == pytest.approx([expected, expected], rel=1e-12)


def test_alternating_steps_keep_an_ellipse() -> None:
    """eq:game-ellipse: exactly in the linearised game, nearly so in the game, close to rest."""
    rate = 0.8
    matrix, state = dirac.linear_step("alternating", rate), START
    for _ in range(50):
        state = matrix @ state
        kept = dirac.invariant(state, rate).item()
        assert kept == pytest.approx(dirac.invariant(START, rate).item(), rel=1e-12)
    path = dirac.play(dirac.alternating, START / 20, rate, 200)
    kept = dirac.invariant(path, rate)
    assert (kept / kept[0] - 1).abs().max() < 1e-2
    radius = path.norm(dim=1)
    assert radius.max() > 1.1 * radius.min()  # an ellipse, no circle
    away = dirac.play(dirac.simultaneous, START / 20, rate, 200).norm(dim=1)
    assert away[-1] > 10 * away[0]


def test_an_unknown_kind_is_refused() -> None:
    """The message lists those that exist."""
    with pytest.raises(ValueError, match="simultaneous, alternating"):
        dirac.linear_step("both", 0.1)
