"""Proof for litgen/vae/alignment.py: scipy, every angle, and the best diagonal posterior found."""

import math
from collections.abc import Callable

import pytest
import scipy.linalg
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from litgen.vae import alignment

Draw = Callable[..., Tensor]


def test_an_exact_turn_is_found(normal: Draw) -> None:
    """eq:evo-procrustes: the known answer, mirrored or not, in 2 and 5 dimensions."""
    for dims in (2, 5):
        for sign in (1, -1):
            true = torch.linalg.qr(normal(dims, dims)).Q
            true[:, 0] *= sign * torch.linalg.det(true).sign()
            codes = normal(30, dims)
            found = alignment.align(codes, codes @ true)
            torch.testing.assert_close(found.turn, true)
            assert found.residual < 1e-20
            assert torch.linalg.det(found.turn).item() == pytest.approx(sign)


def test_align_is_scipys(normal: Draw) -> None:
    """eq:evo-procrustes: noisy codes, against scipy's orthogonal_procrustes."""
    codes, reference = normal(20, 3), normal(20, 3)
    found = alignment.align(codes, reference)
    expected, _ = scipy.linalg.orthogonal_procrustes(codes.numpy(), reference.numpy())
    torch.testing.assert_close(found.turn, torch.from_numpy(expected))
    left = ((codes @ found.turn - reference) ** 2).sum() / (reference**2).sum()
    assert 0.1 < found.residual == pytest.approx(left.item())


def test_no_angle_does_better(normal: Draw) -> None:
    """eq:evo-procrustes: all turns of the plane in steps of a quarter degree, mirrored too."""
    codes, reference = normal(9, 2), normal(9, 2)
    found = alignment.align(codes, reference)
    errors = []
    for k in range(1440):
        a = math.radians(k / 4)
        c, s = math.cos(a), math.sin(a)
        for mirror in (1, -1):
            x, y = codes[:, 0], mirror * codes[:, 1]
            turned = torch.stack([x * c - y * s, x * s + y * c], dim=1)
            errors.append(((turned - reference) ** 2).sum().item())
    best = min(errors) / (reference**2).sum().item()
    assert found.residual <= best + 1e-12
    assert found.residual == pytest.approx(best, abs=1e-4)


def test_planar_turns_counter_clockwise() -> None:
    """A quarter turn takes the first axis to the second, the second to minus the first."""
    quarter = alignment.planar(math.pi / 2)
    expected = torch.tensor([[0.0, 1.0], [-1.0, 0.0]]).double()
    torch.testing.assert_close(torch.eye(2).double() @ quarter, expected)
    sixth = torch.tensor([[1.0, 0.0]]).double() @ alignment.planar(math.pi / 6)
    torch.testing.assert_close(sixth, torch.tensor([[3**0.5 / 2, 0.5]]).double())


@pytest.mark.usefixtures("unchecked")
def test_bad_codes_are_refused(normal: Draw) -> None:
    """Two shapes, or nothing to fit to."""
    with pytest.raises(ValueError, match=r"codes have shape \(3, 2\), the reference \(4, 2\)"):
        alignment.align(normal(3, 2), normal(4, 2))
    with pytest.raises(ValueError, match="the reference has no spread"):
        alignment.align(normal(3, 2), torch.zeros(3, 2).double())


@pytest.mark.parametrize("angle", [0.0, 0.4, math.pi / 4, 2.0])
def test_the_price_is_the_gap_of_the_best_diagonal_posterior(angle: float) -> None:
    """eq:evo-turn: torch's KL from the turned posterior, minimised over variances by Newton."""
    precision = torch.tensor([[5.0, 0.7], [0.7, 1.5]]).double()
    c, s = math.cos(angle), math.sin(angle)
    turn = torch.tensor([[c, s], [-s, c]]).double()
    covariance = turn.T @ torch.linalg.inv(precision) @ turn
    posterior = MultivariateNormal(torch.zeros(2).double(), (covariance + covariance.T) / 2)
    log_var = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_var], max_iter=200, tolerance_grad=1e-12)

    def gap() -> Tensor:
        diagonal = MultivariateNormal(torch.zeros(2).double(), torch.diag(log_var.exp()))
        return kl_divergence(diagonal, posterior)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = gap()
        loss.backward()
        return loss

    optimizer.step(closure)
    found = alignment.turn_price(precision, turn).item()
    assert found == pytest.approx(gap().item(), abs=1e-6)
    assert found > 0.01


def test_no_turn_costs_where_all_directions_are_alike(normal: Draw) -> None:
    """eq:evo-turn: an isotropic posterior stays diagonal."""
    turn = torch.linalg.qr(normal(3, 3)).Q
    price = alignment.turn_price(4.0 * torch.eye(3).double(), turn)
    assert price.item() == pytest.approx(0, abs=1e-12)
