"""Own rows of a shared batch: the noise and the moments that the whole batch would have had.

Chapter: book/contributing.md.  Proof: tests/test_rows.py.  Also tests/test_processes.py.
Reference: Ioffe & Szegedy, "Batch Normalization" (2015).

Where several processes share a batch, a loss sees n of its n * count rows, every count-th one. A
loss knows nothing of that. While `Own` is open, PyTorch hands it the calls that concern rows:

* `torch.rand`, `randn`, `randint`, their ``_like`` and dropout, for n rows or a multiple of n in
  front, are drawn for all count times as many, of which own rows are kept. All generators so
  stay alike in all processes, and noise is that of one process with the whole batch.
* Batch normalisation in training mode takes mean and variance over the rows of all processes,
  through `torch.distributed.nn`, whose sums have gradients. PyTorch's own SyncBatchNorm does the
  same on GPUs alone.

Everything else, draws of other shapes included, is as it was, and alike in all processes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

__all__ = ["Own", "alike"]


class Own(TorchFunctionMode):
    """Draw noise and take moments for own rows as parts of a whole batch.

    Args:
        rows: of this process.
        rank: which process this is, from 0.
        count: processes.

    Raises:
        ValueError: no rows, or a rank that is none.
    """

    together = True

    def __init__(self, rows: int, rank: int, count: int):
        super().__init__()
        if rows < 1 or not 0 <= rank < count:
            raise ValueError(f"rows {rows}, rank {rank} of {count}: there is no such share")
        self.rows, self.rank, self.count = rows, rank, count

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Do what PyTorch would, for the whole batch where the call concerns rows."""
        known = KNOWN.get(function) if Own.together else None
        if known is None:
            return function(*args, **(kwargs or {}))
        with alike():  # a mode around this one is not to do it again
            return known(self, function, *args, **(kwargs or {}))

    def part(self, size: tuple[int, ...], draw: Callable[[tuple[int, ...]], Tensor]) -> Tensor:
        """Return own rows of a draw for all processes; a draw for other than rows is alike."""
        if not size or not size[0] or size[0] % self.rows:
            return draw(size)
        whole = draw((size[0] * self.count, *size[1:]))
        return whole[self.rank :: self.count].contiguous()


@contextmanager
def alike() -> Iterator[None]:
    """Draw as many numbers as asked for, the same in all processes, inside a loss too."""
    before, Own.together = Own.together, False
    try:
        yield
    finally:
        Own.together = before


def _drawn(own: Own, function: Any, *args: Any, **kwargs: Any) -> Tensor:
    """Draw by ``rand``, ``randn`` or ``randint``, whose last plain argument is the size."""
    bounds: tuple[Any, ...] = ()
    if "size" in kwargs:
        bounds, size = args, kwargs.pop("size")
    elif args and not isinstance(args[-1], int):
        *bounds, size = args  # type: ignore[assignment]
    else:
        size = args
    return own.part(tuple(size), lambda whole: function(*bounds, size=whole, **kwargs))


def _drawn_like(own: Own, function: Any, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    if not input.dim() or not len(input) or len(input) % own.rows:
        return function(input, *args, **kwargs)  # type: ignore[no-any-return]
    whole = torch.cat([input.detach()] * own.count)  # keeps the memory format
    drawn: Tensor = function(whole, *args, **kwargs)
    return drawn[own.rank :: own.count]


def _dropout(
    own: Own,
    function: Any,
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
) -> Tensor:
    """Drop out own rows of what would be dropped of the whole batch."""
    if not training or len(input) % own.rows:
        return function(input, p, training, inplace)  # type: ignore[no-any-return]
    whole = torch.ones_like(torch.cat([input.detach()] * own.count))  # keeps the memory format
    kept = function(whole, p, True)[own.rank :: own.count]
    return input.mul_(kept) if inplace else input * kept


def _batch_norm(
    own: Own,
    function: Any,
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise with the moments of all processes' rows. Implements the definition of 2015."""
    if not training:
        stored = running_mean, running_var, weight, bias
        return function(input, *stored, False, momentum, eps)  # type: ignore[no-any-return]
    x = input.to(torch.promote_types(input.dtype, torch.float32))
    axes = [0, *range(2, x.dim())]
    shape = [1, -1] + [1] * (x.dim() - 2)
    centre = _mean(x.mean(dim=axes), own.count)
    apart = x - centre.view(shape)
    variance = _mean(apart.square().mean(dim=axes), own.count)
    out = apart * (variance + eps).rsqrt().view(shape)
    if weight is not None:
        out = out * weight.view(shape)
    if bias is not None:
        out = out + bias.view(shape)
    if running_mean is not None and running_var is not None:
        many = own.count * x.numel() // x.shape[1]
        with torch.no_grad():
            running_mean.lerp_(centre.to(running_mean.dtype), momentum)
            unbiased = variance * (many / (many - 1))
            running_var.lerp_(unbiased.to(running_var.dtype), momentum)
    return out.to(input.dtype)


def _mean(value: Tensor, count: int) -> Tensor:
    """Return the mean over all processes, with gradients through every one of them."""
    from torch.distributed import nn as collectives

    total: Tensor = collectives.functional.all_reduce(value)
    return total / count


KNOWN: dict[Any, Callable[..., Tensor]] = {
    **dict.fromkeys((torch.rand, torch.randn, torch.randint), _drawn),
    **dict.fromkeys((torch.rand_like, torch.randn_like, torch.randint_like), _drawn_like),
    F.dropout: _dropout,
    F.batch_norm: _batch_norm,
}
"""What is done for the whole batch: a function of PyTorch, and what takes its place."""
