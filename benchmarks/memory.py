"""How much of a GPU's memory each recipe's full config takes: counted on a CPU, without a GPU.

A recipe is trained for two turns of each of its parts, the first and the last, on a pretended GPU
(`benchmarks.pretended`): full widths, full batches, what it measures at the end included. Live
bytes are counted of every storage that would lie on the GPU, each once: weights, gradients,
optimisers, activations kept for the backward pass, data. Left out is what a GPU adds: CUDA's own
few hundred megabytes, workspaces of convolutions, what its allocator keeps in reserve.

Values of large tensors are not computed, only their sizes (`Sizes`), unless a recipe stumbles over
the zeros. From the operations of the lighter of the two turns, and the number of all turns, the
time is estimated that the parts reached would train on a large GPU: a guess, no measurement.

Each recipe has a process of its own and a limit of CPU time; what was cut off there is
said: ``in training`` takes in what a training measures of itself at its end. What was found is
kept in the cache until the recipe changes, so that the command may be repeated.
"""

import dataclasses
import json
import mmap
import multiprocessing
import signal
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from benchmarks import harness
from benchmarks.pretended import GPU, Places, pretended, storage, written_to
from litgen import checkpoints, profiles, recipes, runs
from litgen.data import sources

__all__ = ["measured", "run"]

frombuffer = torch.frombuffer
SECONDS = 120.0
"""Of CPU time for a recipe."""
LAUNCH, SPEED = 6e-6, 1e14
"""Seconds that an operation takes to begin on a large GPU, and operations a second: guesses."""
LARGE = 30_000
"""Numbers in a tensor from which on it is not computed."""
FILLED = ("fill_", "normal_", "uniform_", "zero_")
"""They are computed however large a tensor is: what memory held before is no number."""
HEAVY = ("_cdist_forward", "addmm", "baddbmm", "bmm", "convolution", "mm")
"""They are not computed from a tenth of that on."""


class Cut(BaseException):
    """The time is up; no recipe catches this."""


class Sizes(Places):
    """Of large tensors of floats on the GPU, have the sizes right and the values zero: it is fast.

    ``LARGE`` and ``HEAVY`` say which.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[Any, Any] = {}

    def compute(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Do small things, and make room for the results of large ones."""
        leaves = tree_leaves((args, kwargs))
        given = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        name, returns = func.overloadpacket.__name__, func._schema.returns
        most = LARGE // 10 if name.startswith(HEAVY) else LARGE
        large = any(t.numel() > most and t.is_floating_point() for t in given)
        large = large and any(self.of(storage(t)) == "cuda" for t in given)
        view = any(r.alias_info and not r.alias_info.is_write for r in returns)
        if name in FILLED or view or not large:
            return func(*args, **kwargs)
        if written := written_to(func, args, kwargs):
            return None if not returns else next(t for t in given if id(t) == written[0])
        key = (func, *(_key(leaf) for leaf in leaves), *kwargs)
        if key not in self.found:
            self.found[key] = _sizes(func, args, kwargs)
        if self.found[key] is None:
            return func(*args, **kwargs)
        return tree_map(_room, self.found[key])


def _sizes(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Return results without values; None for sizes that depend on values, and for yes or no."""
    named = {k: "meta" if k == "device" and v is not None else v for k, v in kwargs.items()}
    try:
        found = func(*tree_map(_shape, args), **tree_map(_shape, named))
    except (NotImplementedError, RuntimeError):
        return None
    said = [t.dtype == torch.bool for t in tree_leaves(found) if isinstance(t, Tensor)]
    return None if any(said) else found


def _key(leaf: Any) -> Any:
    """Return what sizes depend on."""
    if isinstance(leaf, Tensor):
        return leaf.shape, leaf.stride(), leaf.dtype
    return type(leaf), leaf if isinstance(leaf, int | bool | str) else repr(leaf)


def _shape(value: Any) -> Any:
    """Return a tensor without values."""
    return _like(value, "meta") if isinstance(value, Tensor) else value


def _room(value: Any) -> Any:
    """Return a tensor of zeros: pages that the system gives out only when they are written to."""
    if not isinstance(value, Tensor):
        return value
    if value.numel() <= LARGE:
        return _like(value, "cpu").zero_()
    span = 1 + sum((n - 1) * k for n, k in zip(value.shape, value.stride(), strict=True))
    room = mmap.mmap(-1, span * value.element_size())
    return frombuffer(room, dtype=value.dtype).as_strided(value.shape, value.stride())


def _like(value: Tensor, device: str) -> Tensor:
    make = torch.ops.aten.empty_strided.default
    made: Tensor = make(value.shape, value.stride(), dtype=value.dtype, device=device)
    return made


def run(options: harness.Options) -> Iterator[dict[str, Any]]:
    """Yield each recipe's record, kept or from a process of its own; then the largest."""
    found = []
    for name in recipes.names():
        found.append(_kept(name) or _apart(name))
        yield found[-1]
    largest = max(found, key=lambda record: float(record["peak_gb"]))
    yield {
        "name": "memory",
        "recipes": len(found),
        "largest": largest["recipe"],
        "peak_gb": largest["peak_gb"],
        "not_whole": sum(record["stage"] != "whole" for record in found),
        "conditions": "live tensors of two turns on a pretended GPU; not measured on a GPU",
    }


def measured(
    name: str, config: Any = None, seconds: float = SECONDS, computed: bool = False
) -> dict[str, Any]:
    """Train a recipe for two turns of each part on a pretended GPU, and measure its run.

    Args:
        name: of the recipe.
        config: the full one unless given.
        seconds: of CPU time after which it is cut off.
        computed: whether large tensors are computed too, where zeros will not do.
    """
    module = recipes.load(name)
    config = module.GPU if config is None else config
    seen: dict[str, float] = {"turns": 0, "trained": 0, "minutes": 0.0}
    stage, start = "in training", time.process_time()

    def turns(self: checkpoints.Memory, total: int) -> Iterator[int]:
        pace = float("inf")
        for turn in sorted({0, total - 1}):
            launches, operations = places.launches, places.operations
            yield turn
            launches, operations = places.launches - launches, places.operations - operations
            pace = min(pace, max(launches * LAUNCH, operations / SPEED))
            seen["turns"] += 1
            seen["trained"] = places.peak
        seen["minutes"] += total * pace / 60

    def late(number: int, frame: FrameType | None) -> None:
        raise Cut

    patched = mock.patch.object(checkpoints.Memory, "turns", turns)
    with pretended(Places() if computed else Sizes()) as places, patched:
        before = signal.signal(signal.SIGPROF, late)
        signal.setitimer(signal.ITIMER_PROF, seconds, 1.0)  # a callback may swallow one
        profiles.configure()
        try:
            found = module.train(config, 0, GPU)
            stage = "in evaluation"
            found.provenance = {"recipe": name, "config": dataclasses.asdict(config), "seed": 0}
            found.tensors = {key: runs.stored(value) for key, value in found.tensors.items()}
            if hasattr(module, "evaluate"):
                module.evaluate(found, GPU)
            stage = "whole"
        except Cut:
            stage += f", cut off after {seconds:.0f} s"
        except Exception as error:
            stage += f", {type(error).__name__}: {' '.join(str(error).split())[:150]}"
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, before)
    return {
        "recipe": name,
        "peak_gb": round(places.peak / 1e9, 3),
        "of_which_turns_gb": round(seen["trained"] / 1e9, 3),
        "turns": int(seen["turns"]),
        "estimated_minutes": round(seen["minutes"], 2),
        "stage": stage,
        "cpu_seconds": round(time.process_time() - start, 1),
    }


def _measured(name: str) -> dict[str, Any]:
    """Measure; once more with all values where a recipe stumbles over zeros."""
    record = measured(name)
    if "Error" not in record["stage"]:
        return record
    again = measured(name, computed=True)
    return max(record, again, key=lambda found: float(found["peak_gb"]))


def _place(name: str) -> Path:
    """Return where a record is kept: of this recipe's code, config and data."""
    state = runs.expected_digest(name, "gpu")[:12]
    return sources.cache_folder() / "memory" / f"{name.replace('/', '-')}-{state}.json"


def _kept(name: str) -> dict[str, Any] | None:
    """Return what was found before, if the recipe is still the same."""
    path = _place(name)
    return json.loads(path.read_text()) if path.is_file() else None


def _apart(name: str) -> dict[str, Any]:
    """Measure in a process of its own, which may run out of memory, and keep what it found."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=lambda: theirs.send(_measured(name)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks where there are threads
        child.start()
    theirs.close()
    try:
        record: dict[str, Any] = ours.recv()
    except EOFError:
        child.join()
        return {"recipe": name, "peak_gb": 0.0, "stage": f"died, exit status {child.exitcode}"}
    child.join()
    path = _place(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))
    return record
