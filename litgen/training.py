"""Training as a game: one player for a VAE or a flow, two for a GAN, one image for style transfer.

Chapter: book/vae/elbo.md.  Proof: tests/test_training.py.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from litgen import processes

__all__ = [
    "Minibatches",
    "Player",
    "Step",
    "cpu_abilities",
    "half_rounded",
    "mixed_precision",
    "plain_products",
    "play",
]


@dataclass(frozen=True)
class Player:
    """Someone who lowers a loss by moving only their own parameters.

    Attributes:
        name: said in every step and every error.
        optimizer: holds the player's parameters.
        loss: maps a batch to one number, to be lowered.
        moves: updates per turn; WGAN's critic takes five.
    """

    name: str
    optimizer: torch.optim.Optimizer
    loss: Callable[[Tensor], Tensor]
    moves: int = 1


@dataclass(frozen=True)
class Step:
    """What one update reports; ``loss`` is detached and still on its device (no waiting)."""

    turn: int
    player: str
    loss: Tensor


def play(
    players: Iterable[Player], batches: Iterator[Tensor], turns: int | Iterable[int]
) -> Iterator[Step]:
    """Yield after every update, so that plotting, clipping, averaging and stopping stay outside.

    ``turns`` is their number, or the turns themselves, as `litgen.checkpoints.Memory.turns` gives
    them to a training that may be interrupted.

    Gradients are taken with respect to the moving player's parameters alone: the others' ``.grad``
    is never touched. Where several processes train together, gradients are averaged over them, and
    so are the losses that steps report.

    Raises:
        ValueError: a parameter that the loss does not reach, or a loss that is not one number.
    """
    movers = []
    for player in players:
        parameters = [p for group in player.optimizer.param_groups for p in group["params"]]
        movers.append((player, parameters, processes.averaging(player.loss, parameters)))
    for turn in range(turns) if isinstance(turns, int) else turns:
        for player, parameters, measure in movers:
            for _ in range(player.moves):
                loss = measure(next(batches))
                if loss.numel() != 1:
                    raise ValueError(f"{player.name}'s loss has shape {tuple(loss.shape)}, not ()")
                for parameter in parameters:
                    parameter.grad = None
                if loss.requires_grad:  # otherwise it reaches nothing, which is said below
                    loss.backward(inputs=parameters)
                unreached = sum(p.grad is None for p in parameters)
                if unreached:
                    raise ValueError(
                        f"{player.name}'s loss does not reach {unreached} of its "
                        f"{len(parameters)} parameter tensors"
                    )
                player.optimizer.step()
                yield Step(turn, player.name, processes.mean(loss.detach()))


class Minibatches:
    """Batches of rows for ever, reshuffled every epoch; a short last batch is left out.

    Where several processes train together, each gets its share of every batch.

    Args:
        data: (examples, ...), on any device; indexed, never copied whole.
        batch_size: rows in a batch.
        generator: draws the permutations, on the CPU.
        shared: whether several processes share a batch; otherwise each gets the whole of it, for
            losses that need all rows at once.

    Raises:
        ValueError: fewer examples than ``batch_size``.
    """

    def __init__(
        self, data: Tensor, batch_size: int, generator: torch.Generator, shared: bool = True
    ):
        if not 1 <= batch_size <= len(data):
            raise ValueError(f"batch_size is {batch_size}, the data have {len(data)} examples")
        self.data, self.batch_size, self.generator = data, batch_size, generator
        self.shared = shared
        self.order, self.start = torch.empty(0, dtype=torch.long, device=data.device), 0

    def __iter__(self) -> Iterator[Tensor]:
        """Return itself: it has no end."""
        return self

    def __next__(self) -> Tensor:
        """Return the next batch; the generator is asked only where an epoch begins."""
        if self.start + self.batch_size > len(self.order):
            order = torch.randperm(len(self.data), generator=self.generator)
            self.order, self.start = order.to(self.data.device), 0
        rows = self.order[self.start : self.start + self.batch_size]
        self.start += self.batch_size
        own = processes.share_batch(rows) if self.shared else rows
        return self.data.index_select(0, own)

    def state_dict(self) -> dict[str, Any]:
        """Return where it stands, for a checkpoint."""
        state = {"order": self.order, "start": self.start}
        return state | {"generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where another one stood, over the same data."""
        self.order, self.start = state["order"].to(self.data.device), state["start"]
        self.generator.set_state(state["generator"])


@contextmanager
def plain_products(device: torch.device) -> Iterator[None]:
    """Multiply float32 matrices on the CPU as torch does unless configured; change no GPU.

    What edges configure suits large products; small ones it makes slower, by the 15 microseconds
    or so that each then takes to set up.
    """
    before = torch.get_float32_matmul_precision()
    if device.type == "cpu":
        torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def mixed_precision(device: torch.device, wanted: bool = True) -> AbstractContextManager[object]:
    """Return a context in which networks compute in bfloat16 where the device multiplies it fast.

    Weights, losses and optimiser stay in float32. Where it is not wanted, or the device has no
    such hardware, the context changes nothing.
    """
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        able = cpu_abilities() if device.type == "cpu" else {}
        fast = bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return torch.autocast(device.type, torch.bfloat16) if fast and wanted else nullcontext()


def cpu_abilities() -> dict[str, Any]:
    """Return what torch knows of this processor, by name; empty where it does not say."""
    ask: Callable[[], dict[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)
    return dict(ask())  # torch gives a read-only view


def half_rounded(model: torch.nn.Module) -> None:
    """Round a model's parameters and buffers, in place, to what half precision can hold.

    Runs are stored in half precision; what is measured after this call is measured on the very
    weights that are stored.
    """
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point():
                tensor.copy_(tensor.half().to(tensor.dtype))
