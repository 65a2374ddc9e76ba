"""What proofs of recipes see of a training: its rates, what it keeps, what it measures.

Nothing here shares code with a recipe: optimisers are watched through PyTorch's own hook, and
schedules are written out as cosines.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from litgen import checkpoints
from litgen.data.sources import Record


class Watching(checkpoints.Memory):
    """Remembers what a training names, and the rate of every update, one list an optimiser.

    Attributes:
        things: all that was kept, by name.
        rates: of each optimiser, in the order in which they moved first.
        betas: of each optimiser, in the same order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.things: dict[str, Any] = {}
        self.rates: dict[int, list[float]] = {}
        self.betas: dict[int, tuple[float, float]] = {}

    def keep(self, **things: Any) -> None:
        """Remember the things."""
        self.things |= things
        super().keep(**things)

    def line(self) -> list[float]:
        """Return the rates of the one optimiser that there is."""
        (found,) = self.rates.values()
        return found


@contextmanager
def watching() -> Iterator[Watching]:
    """Watch the training that runs inside; it must be a single one, not a whole recipe."""
    memory = Watching()

    def before(optimizer: torch.optim.Optimizer, *rest: Any) -> None:
        group = optimizer.param_groups[0]
        memory.rates.setdefault(id(optimizer), []).append(group["lr"])
        memory.betas[id(optimizer)] = group["betas"]

    hook = register_optimizer_step_pre_hook(before)
    try:
        with checkpoints.opened(memory):
            yield memory
    finally:
        hook.remove()


def watched(steps: Callable[[], Iterable[Any]]) -> tuple[Watching, list[Any]]:
    """Go through a training; return what was seen, and what it yielded."""
    with watching() as memory:
        found = list(steps())
    return memory, found


def one_cycle(peak: float, turns: int, rise: float = 0.3) -> list[float]:
    """Return rates that rise from a 25th of the peak along half a cosine, then fall."""
    top, found = rise * turns - 1, []
    for turn in range(turns):
        if turn <= top:
            low, way = peak / 25, 1 - turn / top
        else:
            low, way = peak / 25e4, (turn - top) / (turns - 1 - top)
        found.append(low + (peak - low) * (1 + math.cos(math.pi * way)) / 2)
    return found


def half_cosine(start: float, turns: int) -> list[float]:
    """Return rates that fall from the start towards zero along half a cosine."""
    return [start * (1 + math.cos(math.pi * turn / turns)) / 2 for turn in range(turns)]


def is_half_rounded(model: nn.Module) -> bool:
    """Say whether half precision can hold all that a model computes with."""
    floats = [v for v in model.state_dict().values() if v.is_floating_point()]
    return all(torch.equal(v, v.half().to(v.dtype)) for v in floats)


def is_at_rest(model: nn.Module) -> bool:
    """Say whether a model is as runs give it back: in evaluation mode, asking for no gradients."""
    return not model.training and not any(p.requires_grad for p in model.parameters())


def calls(patch: pytest.MonkeyPatch, module: ModuleType, name: str) -> list[tuple[Any, ...]]:
    """Note the positional arguments of every call of a module's function, which goes on as it was.

    Of networks it is noted too, last and as a dictionary, whether they were in training and
    whether they were rounded when the call was made.
    """
    real, noted = getattr(module, name), []

    def spy(*args: Any, **kwargs: Any) -> Any:
        nets = [a for a in args if isinstance(a, nn.Module)]
        state = {"training": any(n.training for n in nets)}
        state["half"] = all(map(is_half_rounded, nets))
        noted.append((*args, state | kwargs))
        return real(*args, **kwargs)

    patch.setattr(module, name, spy)
    return noted


def check_records(found: list[dict[str, Any]], name: str, **parts: Record) -> None:
    """Hold a run's records against those of its data sets, by split."""
    assert [record["split"] for record in found] == list(parts)
    for record, part in zip(found, parts.values(), strict=True):
        assert (record["name"], record["title"]) == (name, part.name)
        assert (record["checksum"], record["stand_in"]) == (part.checksum, part.stand_in)


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of a model's parameters."""
    return {name: p.detach().clone() for name, p in model.named_parameters()}
