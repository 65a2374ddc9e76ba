"""What a training remembers, so that one that was interrupted goes on as if it had not been.

Chapter: book/contributing.md.  Proof: tests/test_checkpoints.py.

A recipe says what its training consists of (`Memory.keep`) and takes its turns from the memory
(`Memory.turns`). The store of runs opens a memory on a file; without one nothing is ever written,
and turns are plain numbers. A file is written whole or not at all, and read without unpickling
code.

Where several processes train together their states are the same, but for rows of a shared batch,
which are gathered. The first process alone decides when, writes and reads; what it has read goes
to all of them. So a training may go on with another number of processes.
"""

import io
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch

from litgen import processes

__all__ = ["Memory", "OutOfTime", "current", "opened", "part"]

EVERY = 20.0
"""Seconds between two checkpoints; what is lost at most when a training is killed."""
BRIEF = 1.0
"""A part of a training that took fewer seconds is done again rather than kept."""

FORMAT = 2
"""Of a file; one with another number is not read."""

PLAIN = (torch.Tensor, int, float, str, tuple, type(None))
"""What may grow in a list or a dictionary."""

_log = logging.getLogger("litgen")


class OutOfTime(RuntimeError):
    """The time for trainings is used up; what was reached is kept, and the next call goes on."""


class Memory:
    """The state of one training, on a file.

    Args:
        path: of the file; None keeps nothing.
        deadline: `time.monotonic` seconds after which the next turn raises `OutOfTime`.

    Attributes:
        seconds: of the training so far, those before an interruption included.
        resumed: how often it was taken up again.
    """

    def __init__(self, path: Path | None = None, deadline: float | None = None):
        self.path, self.deadline = path, deadline
        self.seconds, self.resumed = 0.0, 0
        self._things: dict[str, Any] = {}
        self._rows: set[str] = set()
        self._started = self._saved = time.monotonic()
        self._first = self._asked = 0

    def keep(self, **things: Any) -> None:
        """Name what changes from turn to turn; to be called before the first turn.

        Args:
            things: objects with ``state_dict`` and ``load_state_dict`` (networks, optimisers,
                schedules, batches), generators of random numbers, lists and dictionaries (of
                tensors and plain values, or of such things; refilled in place). PyTorch's global
                generators are always kept.

        Raises:
            ValueError: a name that is taken.
            TypeError: a thing of another kind.
        """
        for name, thing in things.items():
            if name in self._things:
                raise ValueError(f"{name!r} is kept already")
            _state(thing, name)
        self._things |= things

    def keep_rows(self, **lists: list[torch.Tensor]) -> None:
        """Name lists of tensors whose rows belong to the rows of a batch.

        Where several processes share batches, each has its own rows of them; the file holds all.

        Raises:
            ValueError: a name that is taken.
        """
        self.keep(**lists)
        self._rows |= lists.keys()

    def turns(self, total: int) -> Iterator[int]:
        """Yield the turns that are left, and write the state down between two of them.

        The state is that after everything the caller did with the turn before. It is never
        written after the last turn, so that a training that goes on has at least one to take.

        Raises:
            OutOfTime: the deadline has passed; the state is on the file.
        """
        first = self._restore(total)
        self._started = self._saved = time.monotonic()
        self._first = self._asked = first
        for turn in range(first, total):
            if turn > first:
                self._between(turn, turn == total - 1)
            yield turn

    def forget(self) -> None:
        """Remove the file, and those of the training's parts."""
        if self.path is not None and processes.rank() == 0:
            for path in self.path.parent.glob(f"{self.path.stem}*{self.path.suffix}"):
                path.unlink(missing_ok=True)

    def _between(self, turn: int, last: bool) -> None:
        if self.path is None or (turn < self._asked and not last):
            return
        now = time.monotonic()
        late = self.deadline is not None and now > self.deadline
        due = late or now - self._saved >= EVERY or (last and now - self._started >= BRIEF)
        late, due, self._asked = processes.agreed((late, due, self._next(turn, now)))
        if due:
            self._write(turn, now)
            self._saved = now
        if late:
            raise OutOfTime(f"out of time at turn {turn}; the next call goes on from there")

    def _next(self, turn: int, now: float) -> int:
        """Return the turn at which to look at the clock again: several processes agree seldom."""
        if processes.count() == 1:
            return turn + 1
        pace = (turn - self._first) / max(now - self._started, 1e-3)  # turns a second
        return turn + 1 + int(pace * min(1.0, EVERY / 10))

    def _source(self) -> Path | io.BytesIO | None:
        """Return the file, or for several processes what the first one has read; None for none."""
        assert self.path is not None
        if processes.count() == 1:
            return self.path if self.path.is_file() else None
        found = None
        if processes.rank() == 0 and self.path.is_file():
            try:
                found = self.path.read_bytes()
            except OSError:
                found = b""  # of no use, as all of them will say
        told = processes.agreed(found)
        return None if told is None else io.BytesIO(told)

    def _write(self, turn: int, now: float) -> None:
        assert self.path is not None
        content = {
            "format": FORMAT,
            "turn": turn,
            "seconds": self.seconds + now - self._started,
            "resumed": self.resumed,
            "processes": processes.count(),
            "random": _random_states(),
            "things": {name: self._state(name) for name in self._things},
        }
        if processes.rank() != 0:
            return
        beside = self.path.with_name(self.path.name + ".part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("wb") as file:
                torch.save(content, file)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
        except (OSError, RuntimeError, MemoryError) as error:  # torch says RuntimeError for a disk
            beside.unlink(missing_ok=True)
            said = (str(error) or type(error).__name__).splitlines()[0]
            _log.warning("no checkpoint of turn %d: %s", turn, said)

    def _state(self, name: str) -> Any:
        state = _state(self._things[name], name)
        return [processes.gathered(t) for t in state] if name in self._rows else state

    def _restore(self, total: int) -> int:
        """Put back what the file holds; return the turn to take next."""
        if self.path is None:
            return 0
        try:
            source = self._source()
            if source is None:
                return 0
            content = torch.load(source, map_location=_here, weights_only=True)
            if content.get("format") != FORMAT:
                raise ValueError("it is of another version of litgen")
            if content["things"].keys() != self._things.keys() or content["turn"] >= total:
                raise ValueError("it is of another training")
        except Exception as error:  # whatever a broken file does to its reader
            _log.warning("%s is of no use, starting anew: %s", self.path.name, error)
            return 0
        for name, thing in self._things.items():
            state = content["things"][name]
            own = [processes.share(t) for t in state] if name in self._rows else state
            _put_back(thing, own)
        _set_random_states(content["random"])
        self.seconds, self.resumed = content["seconds"], content["resumed"] + 1
        if processes.rank() == 0 and content["processes"] != processes.count():
            _log.info(
                "%s goes on with %d processes, it had %d",
                *(self.path.name, processes.count(), content["processes"]),
            )
        return int(content["turn"])


_CURRENT: ContextVar[Memory | None] = ContextVar("memory", default=None)


def current() -> Memory:
    """Return the memory that the store has opened for this training, or one that keeps nothing."""
    return _CURRENT.get() or Memory()


@contextmanager
def opened(memory: Memory) -> Iterator[Memory]:
    """Make a memory the current one."""
    token = _CURRENT.set(memory)
    try:
        yield memory
    finally:
        _CURRENT.reset(token)


@contextmanager
def part(name: str) -> Iterator[Memory]:
    """Give one of several trainings of a recipe a memory of its own, beside the current one."""
    whole = current()
    path = whole.path and whole.path.with_name(f"{whole.path.stem}.{name}{whole.path.suffix}")
    with opened(Memory(path, whole.deadline)) as memory:
        yield memory
    whole.seconds += memory.seconds
    whole.resumed += memory.resumed


def _state(thing: Any, name: str) -> Any:
    """Return what a thing holds, as plain values and tensors."""
    if isinstance(thing, torch.Generator):
        return thing.get_state()
    if isinstance(thing, dict):
        return {
            key: value if isinstance(value, PLAIN) else _state(value, f"{name}.{key}")
            for key, value in thing.items()
        }
    if isinstance(thing, list):
        return list(thing)
    if hasattr(thing, "state_dict") and hasattr(thing, "load_state_dict"):
        return thing.state_dict()
    raise TypeError(f"{name} is a {type(thing).__name__}, which has no state that can be kept")


def _put_back(thing: Any, state: Any) -> None:
    if isinstance(thing, torch.Generator):
        thing.set_state(state)
    elif isinstance(thing, dict):
        for key, value in state.items():
            if key in thing and not isinstance(thing[key], PLAIN):
                _put_back(thing[key], value)
            else:
                thing[key] = value
    elif isinstance(thing, list):
        thing[:] = state
    else:
        thing.load_state_dict(state)


def _here(storage: Any, location: str) -> Any:
    """Bring what lay on a GPU to the one that this process uses."""
    return storage.cuda() if location.startswith("cuda") else storage


def _random_states() -> dict[str, Any]:
    """Return the states of the global generators of the processor and of the GPU in use."""
    states: dict[str, Any] = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _set_random_states(states: dict[str, Any]) -> None:
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
