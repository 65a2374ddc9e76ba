"""Proof for litgen/style/memory.py: torch's own L-BFGS, row by row."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from litgen.style.memory import LimitedMemory

Draw = Callable[..., Tensor]


def valley(x: Tensor, scales: Tensor) -> Tensor:
    """Return a bent valley's height for each row."""
    bent = (x[:, 1:] - x[:, :-1].square()).square().sum(dim=1)
    return (bent + (scales * (x - 1)).square().sum(dim=1)) * torch.tensor([1.0, 30.0])[: len(x)]


def by_torch(x: Tensor, scales: Tensor, row: int, steps: int, rate: float, most: int) -> Tensor:
    """Return where torch's optimiser is, alone on one row."""
    alone = x[row].clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [alone], rate, max_iter=1, history_size=most, tolerance_grad=0, tolerance_change=0
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        rows = torch.stack([alone] * 2)
        loss = valley(rows, scales)[row]
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)
    return alone.detach()


@pytest.mark.parametrize(("rate", "most"), [(1.0, 20), (0.5, 3), (1.0, 1)])
def test_every_row_goes_torchs_way(normal: Draw, rate: float, most: int) -> None:
    """Step by step, with short and long memories. eq:gatys-lbfgs."""
    start, scales = normal(2, 6) * 0.3 + 0.5, 1 + normal(6).abs()
    for steps in (1, 2, 3, 7, 12):
        x = start.clone().view(2, 2, 3).requires_grad_()
        optimizer = LimitedMemory(x, rate, most)
        for _ in range(steps):
            optimizer.zero_grad()
            valley(x.view(2, 6), scales).sum().backward()
            optimizer.step()
        for row in range(2):
            expected = by_torch(start, scales, row, steps, rate, most)
            assert (expected - start[row]).norm() > 1e-4
            torch.testing.assert_close(x[row].detach().flatten(), expected)


def test_defaults_and_their_torch_twin(normal: Draw) -> None:
    """Rate 1, twenty pairs."""
    optimizer = LimitedMemory(normal(1, 3).requires_grad_())
    assert optimizer.defaults == {"rate": 1.0, "history": 100, "reach": math.inf}


def test_a_small_memory_holds_no_more(normal: Draw) -> None:
    """Old pairs go first."""
    x = normal(2, 6).requires_grad_()
    optimizer = LimitedMemory(x, history=4)
    for _ in range(9):
        optimizer.zero_grad()
        valley(x, torch.ones(6)).sum().backward()
        optimizer.step()
    assert len(optimizer.state[x]["steps"]) == len(optimizer.state[x]["changes"]) == 4


def test_a_row_that_has_arrived_stays_and_disturbs_no_other(normal: Draw) -> None:
    """Its slope is zero: no step, no division by it."""
    scales, x = torch.ones(6, dtype=torch.float64), normal(2, 6) * 0.1 + 0.5
    x[0] = 1.0
    moved = x.clone().requires_grad_()
    optimizer = LimitedMemory(moved)
    for _ in range(6):
        optimizer.zero_grad()
        valley(moved, scales).sum().backward()
        optimizer.step()
    assert torch.equal(moved[0], x[0])
    torch.testing.assert_close(moved[1].detach(), by_torch(x, scales, 1, 6, 1.0, 20))


def test_it_goes_on_from_its_state(normal: Draw) -> None:
    """Saved in the middle and loaded by another."""
    scales, x = 1 + normal(6).abs(), normal(2, 6)
    ends = []
    for stop in (False, True):
        moved = x.clone().requires_grad_()
        optimizer = LimitedMemory(moved, history=3)
        for k in range(8):
            if stop and k == 5:
                state = copy.deepcopy(optimizer.state_dict())
                optimizer = LimitedMemory(moved, history=3)
                optimizer.load_state_dict(state)
            optimizer.zero_grad()
            valley(moved, scales).sum().backward()
            optimizer.step()
        ends.append(moved.detach())
    assert torch.equal(*ends)


def test_no_number_moves_farther_than_its_reach(normal: Draw) -> None:
    """The same direction, shortened for the row that needs it and for no other. eq:gatys-lbfgs."""
    scales = normal(2, 6).abs()
    start = torch.stack([3 * normal(6), 1 + 1e-3 * normal(6)])
    short, free = start.clone().requires_grad_(), start.clone().requires_grad_()
    optimizer, other = LimitedMemory(short, reach=0.05), LimitedMemory(free)
    for _ in range(6):
        before = short.detach().clone()
        with torch.no_grad():
            free.copy_(before)
        for x, each in ((short, optimizer), (free, other)):
            each.zero_grad()
            valley(x, scales).sum().backward()
            each.step()
        found, whole = short.detach() - before, free.detach() - before
        most = whole.abs().amax(dim=1, keepdim=True)
        expected = torch.where(most > 0.05, 0.05 / most * whole, whole)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-12)
        assert most[0] > 0.05
    assert most[1] < 0.05


def test_errors(normal: Draw) -> None:
    """Rate, history, reach, a closure, no gradient."""
    x = normal(2, 6).requires_grad_()
    for rate, history, reach in ((0.0, 5, 1.0), (-1.0, 5, 1.0), (1.0, 0, 1.0), (1.0, 5, 0.0)):
        with pytest.raises(ValueError, match="rate, history and reach must be positive"):
            LimitedMemory(x, rate, history, reach)
    with pytest.raises(ValueError, match="takes no closure"):
        LimitedMemory(x).step()
    x.sum().backward()
    with pytest.raises(ValueError, match="takes no closure"):
        LimitedMemory(x).step(lambda: 0.0)


def test_a_step_that_tells_nothing_is_not_believed() -> None:
    """Next to a bowl: on a slope whose curve is rounding, a hill, a plain; these go by slopes.

    Gradients may be written into the same memory again and again. eq:gatys-lbfgs.
    """
    curves = torch.tensor([[2.0], [4e-16], [-0.5], [0.0]], dtype=torch.float64)
    slopes = torch.tensor([[0.0], [0.25], [0.0], [0.0]], dtype=torch.float64)
    x = torch.tensor([[3.0], [0.0], [0.01], [7.0]], dtype=torch.float64).requires_grad_()
    optimizer, expected = LimitedMemory(x), x.detach().clone()
    for _ in range(6):
        expected = expected - (curves * expected + slopes)
        optimizer.zero_grad(set_to_none=False)
        (curves * x.square() / 2 + slopes * x).sum().backward()
        optimizer.step()
        torch.testing.assert_close(x.detach()[1:], expected[1:])
    assert x[0].abs().item() < 1e-6


def test_a_step_that_tells_no_row_anything_takes_no_place() -> None:
    """Steps without slopes leave the pairs that are remembered as they were. eq:gatys-lbfgs."""
    curves = torch.tensor([[2.0, 5.0], [1.0, 0.3]], dtype=torch.float64)
    x = torch.tensor([[3.0, 1.0], [-2.0, 4.0]], dtype=torch.float64).requires_grad_()
    optimizer = LimitedMemory(x, history=2)
    for _ in range(4):
        x.grad = (curves * x).detach()
        optimizer.step()
    x.grad = torch.zeros_like(x)
    optimizer.step()
    before = [step.clone() for step in optimizer.state[x]["steps"]]
    for _ in range(4):
        optimizer.step()
    torch.testing.assert_close(optimizer.state[x]["steps"], before, rtol=0, atol=0)
    assert all(step.abs().max() > 0 for step in before)
