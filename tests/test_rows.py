"""Proof for litgen/rows.py: own rows against the whole batch; moments are in test_processes.py."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from litgen import processes
from litgen.rows import Own, alike

ROWS, RANK, COUNT = 4, 1, 3


def again(seed: int = 0) -> torch.Generator:
    """Return a generator at its beginning."""
    return torch.Generator().manual_seed(seed)


DRAWS: dict[str, Callable[[int, torch.Generator], Tensor]] = {
    "numbers": lambda n, g: torch.randn(n, 5, generator=g),
    "tuple": lambda n, g: torch.rand((n, 5), generator=g),
    "keyword": lambda n, g: torch.randn(size=(n, 2), generator=g, dtype=torch.float64),
    "high": lambda n, g: torch.randint(99, (n,), generator=g),
    "low": lambda n, g: torch.randint(-9, 99, (n, 2), generator=g),
    "bounds": lambda n, g: torch.randint(low=5, high=99, size=(n,), generator=g),
    "twice": lambda n, g: torch.randn(2 * n, 3, generator=g),
}


@pytest.mark.parametrize("name", DRAWS)
def test_own_rows_of_a_draw_for_all(name: str) -> None:
    """Every count-th row from the own one on; the generator moves as for all of them."""
    whole, one = again(), again()
    expected = DRAWS[name](COUNT * ROWS, whole)[RANK::COUNT]
    with Own(ROWS, RANK, COUNT):
        found = DRAWS[name](ROWS, one)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert found.is_contiguous()
    assert torch.equal(torch.rand(1, generator=whole), torch.rand(1, generator=one))


@pytest.mark.parametrize("size", [(), (3,), (0, 2), (ROWS + 1, 2)])
def test_draws_for_no_rows_are_alike(size: tuple[int, ...]) -> None:
    """Another number in front, none at all, or told to be alike."""
    with Own(ROWS, RANK, COUNT):
        assert torch.equal(torch.rand(size, generator=again()), _plain(size))
        with alike():
            assert torch.equal(torch.rand(ROWS, 2, generator=again()), _plain((ROWS, 2)))
        assert not torch.equal(torch.rand(ROWS, 2, generator=again()), _plain((ROWS, 2)))


def _plain(size: tuple[int, ...]) -> Tensor:
    with alike():
        return torch.rand(size, generator=again())


def test_the_innermost_share_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws for part of a batch are shared by their own number, once."""
    monkeypatch.setattr(processes, "count", lambda: 2)
    monkeypatch.setattr(processes, "rank", lambda: 1)
    with Own(ROWS, 1, 2), processes.apart(2):
        found = torch.rand(2, generator=again())
    assert torch.equal(found, torch.rand(4, generator=again())[1::2])
    with processes.apart(0):
        assert torch.equal(torch.rand(2, generator=again()), torch.rand(2, generator=again()))


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_dropout_is_that_of_the_whole_batch(layout: Any, inplace: bool) -> None:
    """In either order of memory, with the gradient of what is kept; none in evaluation mode."""
    x = torch.randn(COUNT * ROWS, 3, 2, 2, generator=again(1)).to(memory_format=layout)
    torch.manual_seed(4)
    expected = F.dropout(x, 0.3)[RANK::COUNT]
    own = x[RANK::COUNT].clone(memory_format=layout)
    torch.manual_seed(4)
    with Own(ROWS, RANK, COUNT):
        found = F.dropout(own, 0.3, inplace=inplace)
        assert F.dropout(own, 0.3, training=False) is own
    torch.testing.assert_close(found, expected)
    assert (found is own) == inplace


def test_likenesses_keep_the_order_of_memory() -> None:
    """Numbers like rows are one process's own rows of numbers like all rows."""
    x = torch.zeros(COUNT * ROWS, 3, 2, 2).to(memory_format=torch.channels_last)
    torch.manual_seed(4)
    expected = torch.randn_like(x)[RANK::COUNT]
    torch.manual_seed(4)
    with Own(ROWS, RANK, COUNT):
        found = torch.randn_like(x[RANK::COUNT])
        assert torch.randn_like(torch.zeros(3)).shape == (3,)
    assert torch.equal(found, expected)


def test_stored_moments_are_used_as_ever() -> None:
    """Normalisation in evaluation mode asks nobody."""
    norm = nn.BatchNorm1d(3).eval()
    assert norm.running_mean is not None
    norm.running_mean.fill_(2)
    x = torch.randn(ROWS, 3, generator=again())
    with Own(ROWS, RANK, COUNT):
        found = norm(x)
    torch.testing.assert_close(found, norm(x), rtol=0, atol=0)


@pytest.mark.parametrize("share", [(0, 0, 2), (4, 2, 2), (4, -1, 2)])
def test_a_share_that_is_none(share: tuple[int, int, int]) -> None:
    """Said with its numbers."""
    with pytest.raises(ValueError, match=f"rows {share[0]}, rank {share[1]} of {share[2]}"):
        Own(*share)
