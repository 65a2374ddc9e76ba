"""Several processes that train as one: what `torchrun` starts, PyTorch's DDP holds together.

Chapter: book/contributing.md.  Proof: tests/test_processes.py.
Also tests/recipes/test_together.py, for all recipes.
Reference: Li et al., "PyTorch Distributed: Experiences on Accelerating Data Parallel Training"
(2020).

Every process runs the same recipe with the same seed, so all start from the same weights and draw
the same permutations. Each takes its own rows of every batch (`share`), and gradients are averaged
by `DistributedDataParallel` (`averaging`): a step is the one that a single process would take with
the whole batch, where the loss is a mean over rows. Inside a loss, noise is drawn for the whole
batch and batch normalisation takes the moments of the whole batch (`litgen.rows`). So generators,
buffers and weights are the same in all processes, whatever their number. Nothing here starts
processes, and messages are left to `torch.distributed`.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from litgen import rows

T = TypeVar("T")

__all__ = [
    "agreed",
    "apart",
    "averaging",
    "count",
    "gathered",
    "joined",
    "mean",
    "rank",
    "share",
    "share_batch",
]


@contextmanager
def joined() -> Iterator[None]:
    """Join the processes that `torchrun` has started, if it has; leave them afterwards.

    GPUs talk through NCCL, one GPU a process; processors through Gloo.
    """
    if not dist.is_available() or not dist.is_torchelastic_launched():
        yield
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def count() -> int:
    """Return how many processes train together; 1 for one on its own."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return which of them this is, from 0."""
    return dist.get_rank() if count() > 1 else 0


def share(batch: Tensor) -> Tensor:
    """Return this process's rows of a batch: every count-th one, beginning with its rank.

    Raises:
        ValueError: the batch cannot be shared evenly; means of uneven parts would be no mean.
    """
    if len(batch) % count():
        raise ValueError(f"{count()} processes cannot share {len(batch)} rows evenly")
    return batch[rank() :: count()]


def share_batch(batch: Tensor) -> Tensor:
    """Return this process's rows of a batch that the next loss is to see.

    Inside that loss, what is drawn for as many rows (or a multiple) is drawn for all processes'
    rows, of which each takes its own.

    Raises:
        ValueError: the batch cannot be shared evenly.
    """
    own = share(batch)
    if count() > 1:
        _Loss.rows = len(own)
    return own


def apart(count_of_rows: int) -> AbstractContextManager[object]:
    """Return a context for draws, inside a loss, for so many rows that are no whole batch.

    Within it they are drawn for all processes, of which each takes its own, as `share_batch` says
    of a batch's rows.
    """
    if count() == 1 or not count_of_rows:
        return nullcontext()
    return rows.Own(count_of_rows, rank(), count())


def gathered(own: Tensor) -> Tensor:
    """Return the rows of all processes in the order of the whole batch, without gradients.

    The inverse of `share`. For one process they are its rows themselves, gradients included.
    """
    if count() == 1:
        return own
    parts = [torch.empty_like(own, memory_format=torch.contiguous_format) for _ in range(count())]
    dist.all_gather(parts, own.detach().contiguous())
    return torch.stack(parts, dim=1).flatten(0, 1)


def mean(value: Tensor) -> Tensor:
    """Return a number's mean over all processes, without gradients; for one, the number itself."""
    if count() == 1:
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / count()


def averaging(
    loss: Callable[[Tensor], Tensor], parameters: Sequence[nn.Parameter]
) -> Callable[[Tensor], Tensor]:
    """Return a loss whose gradients are averaged over all processes; for one, the loss itself.

    Its value is still that of the process's own rows.
    """
    if count() == 1:
        return loss
    engine: Any = nn.parallel.DistributedDataParallel(_Loss(loss, parameters))
    return engine  # type: ignore[no-any-return]


class _Loss(nn.Module):
    """A loss as a module that owns the parameters it is to move.

    Attributes:
        rows: of the batch that was shared last; 0 where it was not shared.
    """

    rows = 0

    def __init__(self, loss: Callable[[Tensor], Tensor], parameters: Sequence[nn.Parameter]):
        super().__init__()
        self.moved, self.loss = nn.ParameterList(parameters), loss

    def forward(self, batch: Tensor) -> Tensor:
        """Return the loss of a batch."""
        try:
            if not _Loss.rows:
                return self.loss(batch)
            with rows.Own(_Loss.rows, rank(), count()):
                return self.loss(batch)
        finally:
            _Loss.rows = 0


def agreed(found: T) -> T:
    """Return what the first process has found, to all of them."""
    if count() == 1:
        return found
    told: list[Any] = [found]
    dist.broadcast_object_list(told, src=0)
    told_by_first: T = told[0]
    return told_by_first
