"""Proof for litgen/gan/spectral.py: singular values by LAPACK, autograd, and torch's own layer."""

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as torchs

from litgen.gan import spectral
from tests import oracles


def random(*shape: int, seed: int = 0) -> Tensor:
    """Return normal numbers in double precision."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def stepped(weight: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Return u and v after that many steps from a random start."""
    u = torch.nn.functional.normalize(random(*weight.shape[:-1], seed=7), dim=-1)
    for _ in range(steps):
        u, v = spectral.power_step(weight, u)
    return u, v


@pytest.mark.parametrize("shape", [(5, 3), (3, 6), (4, 5, 3), (2, 3, 4, 4)])
def test_power_steps_find_the_largest_singular_pair(shape: tuple[int, ...]) -> None:
    """eq:stable-power, eq:stable-sigma: against svd, one matrix at a time."""
    weight = random(*shape)
    u, v = stepped(weight, 3_000)
    found = spectral.spectral_norm(weight, u, v)
    left, values, right = torch.linalg.svd(weight)
    torch.testing.assert_close(found, values[..., 0])
    torch.testing.assert_close((u * left[..., 0]).sum(dim=-1).abs(), torch.ones(shape[:-2]).to(u))
    torch.testing.assert_close((v * right[..., 0, :]).sum(dim=-1).abs(), torch.ones_like(found))
    assert (values[..., 0] - values[..., 1]).min() > 1e-3


def test_one_step_is_two_products_of_unit_length() -> None:
    """eq:stable-power, written out by loops for a single step."""
    weight, u = random(3, 2), torch.tensor([0.6, 0.0, 0.8], dtype=torch.float64)
    new_u, v = spectral.power_step(weight, u)
    back = [sum(float(weight[i, j] * u[i]) for i in range(3)) for j in range(2)]
    length = sum(b * b for b in back) ** 0.5
    expected = torch.tensor([b / length for b in back], dtype=torch.float64)
    torch.testing.assert_close(v, expected)
    forth = [sum(float(weight[i, j] * expected[j]) for j in range(2)) for i in range(3)]
    length = sum(f * f for f in forth) ** 0.5
    torch.testing.assert_close(new_u, torch.tensor([f / length for f in forth]).double())


def test_the_error_falls_by_the_squared_ratio_of_singular_values() -> None:
    """eq:stable-power-rate: each step turns u by (sigma_2 / sigma_1)^2."""
    left, right = (torch.linalg.qr(random(4, 4, seed=s)).Q for s in (1, 2))
    weight = left @ torch.diag(torch.tensor([2.0, 1.5, 0.3, 0.1]).double()) @ right
    u = left @ torch.tensor([0.5, 0.5, 0.5, 0.5]).double()
    tangents = []
    for _ in range(8):
        u, _ = spectral.power_step(weight, u)
        tangents.append(((left.T @ u)[1] / (left.T @ u)[0]).abs().item())
    for before, after in itertools.pairwise(tangents):
        assert after / before == pytest.approx((1.5 / 2) ** 2, rel=1e-9)


def test_its_gradient_is_the_singular_values() -> None:
    """eq:stable-sigma-slope: with u, v held fixed, as autograd says of svdvals."""
    weight = random(4, 3).requires_grad_()
    u, v = stepped(weight.detach(), 2_000)
    (found,) = torch.autograd.grad(spectral.spectral_norm(weight, u, v), weight)
    (expected,) = torch.autograd.grad(torch.linalg.svdvals(weight)[0], weight)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found, torch.outer(u, v))


def test_it_is_linear_in_each_of_three() -> None:
    """u'Wv has the slopes Wv in u, W'u in v and their outer product in W, whatever they are."""
    weight, u, v = (random(*shape, seed=3).requires_grad_() for shape in ((4, 3), (4,), (3,)))
    found = torch.autograd.grad(spectral.spectral_norm(weight, u, v), (u, v, weight))
    torch.testing.assert_close(found, (weight @ v, u @ weight, torch.outer(u, v)))


def test_it_is_torchs_parametrisation() -> None:
    """The same weight and gradient as torch's own, step by step.

    Torch takes the halves of a step in the other order, which is a step for the transpose.
    """
    layer = torchs(nn.Linear(5, 3).double(), n_power_iterations=1)
    inner = layer.parametrizations.weight[0]
    own, v = layer.parametrizations.weight.original, inner._v.clone()
    for _ in range(4):
        divided = layer.weight  # a step, then the division
        v, u = spectral.power_step(own.detach().T, v)
        mine = own / spectral.spectral_norm(own, u, v)
        torch.testing.assert_close(mine, divided)
        scale = random(3, 5, seed=3)
        grads = [torch.autograd.grad((w * scale).sum(), own)[0] for w in (mine, divided)]
        torch.testing.assert_close(*grads)
        torch.testing.assert_close(u, inner._u)
        torch.testing.assert_close(v, inner._v)


def test_torch_flattens_a_stack_of_matrices() -> None:
    """Its norm of a stack is that of one flat matrix; copies are then left with norms below 1."""
    holder = nn.Module()
    holder.weight = nn.Parameter(random(4, 5, 3))
    flat = torchs(holder, "weight", n_power_iterations=500).weight.detach()
    assert torch.linalg.matrix_norm(flat.flatten(1), 2).item() == pytest.approx(1)
    norms = torch.linalg.matrix_norm(flat, 2)
    assert norms.max() < 0.9
    weight = holder.parametrizations.weight.original.detach()
    right = weight / spectral.spectral_norm(weight, *stepped(weight, 2_000))[:, None, None]
    torch.testing.assert_close(torch.linalg.matrix_norm(right, 2), torch.ones(4).double())


def test_a_convolutions_norm_is_not_its_kernels() -> None:
    """The operator's norm lies between, by its matrix column by column."""
    kernel = random(4, 2, 3, 3)
    operator = oracles.matrix_of(
        lambda x: torch.nn.functional.conv2d(x.view(1, 2, 8, 8), kernel, padding=1), (2, 8, 8)
    )
    exact = torch.linalg.matrix_norm(operator, 2)
    flat = torch.linalg.matrix_norm(kernel.flatten(1), 2)
    assert flat < exact < 3 * flat
    assert (exact - flat).abs() > 0.2


def test_a_vector_that_does_not_fit_is_refused() -> None:
    """U has one number a row, v one a column; the error names both shapes."""
    with pytest.raises(ValueError, match=r"u has shape \(3,\), weight \(4, 3\)"):
        spectral.power_step(torch.zeros(4, 3), torch.zeros(3))
