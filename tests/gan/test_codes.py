"""Proof for litgen/gan/codes.py: geometry by hand, and lengths averaged over many draws."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from litgen.gan import codes

HALVES = torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=torch.float64)


def test_a_straight_walk_is_even(normal: Callable[..., Tensor]) -> None:
    """eq:dcgan-straight: ends, a quarter of the way, one by one."""
    a, b = normal(5), normal(5)
    walk = codes.straight(a, b, HALVES)
    for row, t in zip(walk, (0, 0.25, 0.5, 1), strict=True):
        for i in range(5):
            assert row[i].item() == pytest.approx(a[i].item() + t * (b[i] - a[i]).item())
    many = codes.straight(normal(3, 5), normal(3, 5), HALVES)
    assert many.shape == (4, 3, 5)


def test_a_straight_walk_is_short_in_the_middle(normal: Callable[..., Tensor]) -> None:
    """Its mean square length is d ((1 - t)^2 + t^2), half of d at the middle."""
    walk = codes.straight(normal(20_000, 8), normal(20_000, 8), HALVES)
    found = walk.square().sum(dim=2).mean(dim=1)
    expected = 8 * ((1 - HALVES) ** 2 + HALVES**2)
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0)


def test_an_arc_turns_evenly_and_keeps_its_length() -> None:
    """eq:dcgan-spherical: in a plane it is a rotation by a share of the angle."""
    angle = 1.1
    a = torch.tensor([2.0, 0.0, 0.0], dtype=torch.float64)
    b = 2 * torch.tensor([math.cos(angle), 0.0, math.sin(angle)], dtype=torch.float64)
    walk = codes.spherical(a, b, HALVES)
    for row, t in zip(walk, HALVES.tolist(), strict=True):
        expected = [2 * math.cos(t * angle), 0, 2 * math.sin(t * angle)]
        assert row.tolist() == pytest.approx(expected, abs=1e-12)


def test_an_arc_between_codes_of_different_lengths(normal: Callable[..., Tensor]) -> None:
    """It starts and ends where it must, in the plane of both, one pair at a time or many."""
    a, b = normal(4, 6), 3 * normal(4, 6)
    walk = codes.spherical(a, b, HALVES)
    torch.testing.assert_close(walk[0], a)
    torch.testing.assert_close(walk[-1], b)
    for i in range(4):
        torch.testing.assert_close(codes.spherical(a[i], b[i], HALVES), walk[:, i])
        assert torch.linalg.matrix_rank(walk[:, i]) == 2


def test_codes_without_an_arc_are_joined_by_a_line(normal: Callable[..., Tensor]) -> None:
    """Parallel and opposite ones; nothing is divided by zero."""
    a = normal(6)
    for factor in (1.0, 2.0, -1.0):
        walk = codes.spherical(a, factor * a, HALVES)
        torch.testing.assert_close(walk, codes.straight(a, factor * a, HALVES))


def test_sums_of_averages(normal: Callable[..., Tensor]) -> None:
    """eq:dcgan-arithmetic, code by code; groups may differ in size, and come in batches."""
    have, lack, base = normal(2, 4), normal(3, 4), normal(1, 4)
    found = codes.combined(have, lack, base)
    for i in range(4):
        parts = [sum(g[:, i].tolist()) / len(g) for g in (have, lack, base)]
        assert found[i].item() == pytest.approx(parts[0] - parts[1] + parts[2])
    batch = codes.combined(
        *(torch.stack(p) for p in ((have, 2 * have), (lack, lack), (base, base)))
    )
    torch.testing.assert_close(batch[0], found)
    torch.testing.assert_close(batch[1] - batch[0], have.mean(dim=0))
    with pytest.raises(ValueError, match="at least one code"):
        codes.combined(have, lack[:0], base)


@pytest.mark.parametrize("count", [1, 3, 12])
def test_length_of_a_sum_of_averages(count: int, normal: Callable[..., Tensor]) -> None:
    """eq:dcgan-arithmetic-length: 3 d / count, which is a code's own d for averages of three."""
    have, lack, base = (normal(20_000, count, 7) for _ in range(3))
    found = codes.combined(have, lack, base).square().sum(dim=1).mean().item()
    assert found == pytest.approx(3 * 7 / count, rel=0.02)


def test_the_shell(normal: Callable[..., Tensor]) -> None:
    """Directions stay, lengths become sqrt(d); the origin has no direction."""
    z = normal(5, 9)
    found = codes.on_shell(z)
    torch.testing.assert_close(found.norm(dim=1), torch.full((5,), 3.0, dtype=torch.float64))
    torch.testing.assert_close(torch.cosine_similarity(found, z), torch.ones(5).double())
    with pytest.raises(ValueError, match="length zero has no direction"):
        codes.on_shell(torch.zeros(2, 9))
