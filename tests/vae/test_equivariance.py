"""Proof for litgen/vae/equivariance.py: scikit-learn, loops, sweeps whose answer is known."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression

from litgen.vae.equivariance import line, monotony, r_squared, response


def pairs() -> tuple[torch.Tensor, torch.Tensor]:
    """Return codes of three latents that mix two factors and noise."""
    generator = torch.Generator().manual_seed(0)
    factors = torch.rand(60, 2, generator=generator).double() * 2 - 0.5
    noise = torch.randn(60, 3, generator=generator).double()
    mix = torch.tensor([[1.0, 0.1, -2.0], [0.3, -1.0, 0.0]]).double()
    return factors @ mix + 0.4 * noise + 5, factors


def test_r_squared_is_that_of_a_regression_on_one_latent() -> None:
    """eq:dcign-r-squared against scikit-learn, for each latent and factor."""
    codes, factors = pairs()
    expected = torch.zeros(3, 2).double()
    for j in range(3):
        for i in range(2):
            x, y = codes[:, [j]].numpy(), factors[:, i].numpy()
            expected[j, i] = LinearRegression().fit(x, y).score(x, y)
    found = r_squared(codes, factors)
    torch.testing.assert_close(found, expected)
    assert found.max() > 0.5
    assert found.min() < 0.1
    still = codes.clone()
    still[:, 1] = 2.0
    assert (r_squared(still, factors)[1] == 0).all()


def test_r_squared_refuses_what_does_not_pair() -> None:
    """Another number of factors, or one pair."""
    for codes, factors in (
        (torch.zeros(3, 2), torch.zeros(4, 2)),
        (torch.zeros(1, 2), torch.zeros(1, 2)),
    ):
        with pytest.raises(ValueError, match="two or more pairs"):
            getattr(r_squared, "__wrapped__", r_squared)(codes, factors)


def known_sweeps() -> torch.Tensor:
    """Return sweeps of 3 scenes, 2 factors, 5 steps, 3 latents whose slopes are known.

    Latent 0 moves by 2 a unit of factor 0 and by 0.5 of factor 1; latent 1 falls with factor 1
    alone; latent 2 goes up and down with factor 0 and rises with factor 1.
    """
    steps = torch.linspace(-1, 1, 5).double()
    sweeps = torch.zeros(3, 2, 5, 3).double()
    for s in range(3):
        sweeps[s, 0, :, 0], sweeps[s, 1, :, 0] = 2 * steps, 0.5 * steps
        sweeps[s, 1, :, 1] = -3 * (s + 1) * steps
        sweeps[s, 0, :, 2], sweeps[s, 1, :, 2] = steps.square(), 4 * steps
        sweeps[s] += s
    return sweeps


def test_response_is_the_root_mean_square_of_the_movements() -> None:
    """eq:dcign-response by numpy, one sweep at a time; scenes may lie anywhere."""
    sweeps = known_sweeps()
    found = response(sweeps)
    moved = np.zeros((3, 2))
    for j in range(3):
        for i in range(2):
            variances = [np.var(sweeps[s, i, :, j].numpy()) for s in range(3)]
            moved[j, i] = math.sqrt(sum(variances) / 3)
    np.testing.assert_allclose(found.numpy(), moved / moved.max(axis=1, keepdims=True))
    assert found[0].tolist() == pytest.approx([1, 0.25])
    assert found[1].tolist() == pytest.approx([0, 1])


def test_monotony_counts_steps_up_and_down() -> None:
    """eq:dcign-monotony: 1 rising, -1 falling, 0 for as many ups as downs or no step at all."""
    assert monotony(known_sweeps()).tolist() == [[1, 1], [0, -1], [0, 1]]
    sweeps = known_sweeps()
    sweeps[0, 0, :, 0] *= -1  # one scene of three falls
    assert monotony(sweeps)[0, 0].item() == pytest.approx(1 / 3)


def test_the_line_is_numpys() -> None:
    """Offset and slope from factor to latent, against polyfit; a constant factor is refused."""
    codes, factors = pairs()
    offset, slope = line(codes[:, 0], factors[:, 1])
    expected = np.polyfit(factors[:, 1].numpy(), codes[:, 0].numpy(), 1)
    assert [slope.item(), offset.item()] == pytest.approx(expected.tolist())
    with pytest.raises(ValueError, match="does not vary"):
        line(codes[:, 0], torch.ones(60).double())
