"""Proof for litgen/checkpoints.py: an interrupted training ends as one that never stopped."""

import logging
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from litgen import checkpoints, runs
from litgen.checkpoints import Memory, OutOfTime, current, opened, part
from litgen.recipes import comparison
from litgen.recipes.vae import moons
from litgen.training import Minibatches, Player, play

TURNS = 9
POINTS = torch.randn(23, 3, generator=torch.Generator().manual_seed(5))


def fit(kept: list[Tensor], count: int = TURNS) -> Iterator[nn.Module]:
    """Train something that draws from every source of chance, and keeps every kind of state."""
    torch.manual_seed(3)
    draw = torch.Generator().manual_seed(4)
    model = nn.Sequential(nn.Linear(3, 5), nn.Dropout(0.4), nn.Linear(5, 1))
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.7))
    optimizer = torch.optim.Adam(model.parameters(), 0.05, fused=True)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, count)
    batches = Minibatches(POINTS, 5, torch.Generator().manual_seed(6))
    memory = current()
    memory.keep(model=model, averaged=averaged, optimizer=optimizer, rates={"one": rate})
    memory.keep(draw=draw, batches=batches)

    def loss(x: Tensor) -> Tensor:
        noise = torch.randn(x.shape, generator=draw)
        return (model(x + noise) - x.sum(dim=1, keepdim=True)).square().mean()

    for step in play([Player("one", optimizer, loss)], batches, memory.turns(count)):
        rate.step()
        averaged.update_parameters(model)
        kept.append(step.loss)
        yield averaged


def train(count: int = TURNS) -> dict[str, Tensor]:
    """Train to the end; return the averaged weights and the curve."""
    kept: list[Tensor] = []
    current().keep(kept=kept)
    for model in fit(kept, count):
        last = model
    return {**last.state_dict(), "curve": torch.stack(kept)}


def same(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Hold two results against each other, to the bit."""
    torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a checkpoint may lie."""
    return tmp_path / "unfinished" / "one.pt"


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write after every turn."""
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)


def test_without_a_memory_nothing_is_written(tmp_path: Path, monkeypatch: Any) -> None:
    """A chapter's training knows nothing of files."""
    monkeypatch.chdir(tmp_path)
    train()
    assert not list(tmp_path.iterdir())
    assert list(Memory().turns(4)) == [0, 1, 2, 3]


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("stop", range(1, TURNS + 1))
def test_killed_after_any_turn(path: Path, stop: int) -> None:
    """What was done after the last checkpoint is done again; the end is the same to the bit."""
    whole = train()
    with opened(Memory(path)):
        kept: list[Tensor] = []
        current().keep(kept=kept)
        game = fit(kept)
        for _ in range(stop):
            next(game)
    assert path.exists() == (stop > 1)  # the state after a turn is written before the next
    torch.rand(3)
    with opened(Memory(path)) as memory:
        same(train(), whole)
    assert memory.resumed == (stop > 1)


def test_out_of_time_after_every_turn(path: Path) -> None:
    """A deadline stops between two turns, with the state on the file; seconds add up."""
    whole, calls, said = train(), 0, []
    while True:
        with opened(Memory(path, deadline=time.monotonic() - 1)) as memory:
            try:
                found = train()
                break
            except OutOfTime as late:
                calls += 1
                said.append(str(late))
    same(found, whole)
    assert calls == memory.resumed == TURNS - 1
    assert said[2] == "out of time at turn 3; the next call goes on from there"
    assert 0 < memory.seconds < 60
    assert [p.name for p in path.parent.iterdir()] == ["one.pt"]
    memory.forget()
    assert not list(path.parent.iterdir())


def test_a_deadline_to_come_changes_nothing(path: Path) -> None:
    """Neither a stop nor a file, where a training is brief."""
    with opened(Memory(path, deadline=time.monotonic() + 100)):
        same(train(), train_apart())
    assert not path.exists()


def train_apart() -> dict[str, Tensor]:
    """Train beside an open memory, not in it."""
    with opened(Memory()):
        return train()


@pytest.mark.usefixtures("always")
def test_parts_have_files_of_their_own(path: Path) -> None:
    """Two trainings of one recipe: the first is not done again when the second is interrupted."""

    def both() -> list[dict[str, Tensor]]:
        results = []
        for name, count in (("short", 4), ("long", TURNS)):
            with part(name):
                results.append(train(count))
        return results

    whole, calls, found = both(), 0, None
    while found is None:
        with opened(Memory(path, deadline=time.monotonic() - 1)) as memory:
            try:
                found = both()
            except OutOfTime:
                calls += 1
    for one, other in zip(found, whole, strict=True):
        same(one, other)
    assert calls == 3 + TURNS - 1
    assert memory.seconds > 0
    assert memory.resumed == calls
    assert {p.name for p in path.parent.iterdir()} == {"one.short.pt", "one.long.pt"}
    memory.forget()
    assert not list(path.parent.iterdir())


def test_long_trainings_are_written_as_often_as_said(path: Path, monkeypatch: Any) -> None:
    """Not before EVERY seconds have passed, and once more before the last turn."""
    now, writes = [100.0], []
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(Memory, "_write", lambda self, turn, _: writes.append(turn))
    for _ in Memory(path).turns(12):
        now[0] += 0.35 * checkpoints.EVERY
    assert writes == [3, 6, 9, 11]


@pytest.mark.usefixtures("always")
def test_what_is_there_before_the_first_turn_is_not_there_twice(path: Path) -> None:
    """Lists and dictionaries are refilled, not added to."""
    for stop in (3, 6):
        memory, line, table = Memory(path), [-1], {"start": 0.5}
        memory.keep(line=line, table=table)
        for turn in memory.turns(10):
            line.append(turn)
            table[f"{turn}"] = 1.0
            if turn == stop:
                break
    assert line == [-1, 0, 1, 2, 3, 4, 5, 6]
    assert table == {"start": 0.5, **{f"{turn}": 1.0 for turn in range(7)}}


class Harmful:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_seconds_add_up_over_interruptions(path: Path, monkeypatch: Any) -> None:
    """Those of turns that were lost with a kill do not count; waiting between calls neither."""
    now = [100.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    for seconds in (0.0, 2 * checkpoints.EVERY, 4 * checkpoints.EVERY):
        now[0] += 1_000
        memory = Memory(path)
        memory.keep(things=[])
        for count, _ in enumerate(memory.turns(100)):
            assert memory.seconds == seconds
            if count == 2:
                break
            now[0] += checkpoints.EVERY
    assert memory.resumed == 2


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("harm", ["cut", "empty", "other", "version", "pickle", "longer"])
def test_a_file_of_no_use(path: Path, harm: str, caplog: Any) -> None:
    """It is said, and the training begins anew."""
    with opened(Memory(path)):
        kept: list[Tensor] = []
        current().keep(kept=kept)
        game = fit(kept)
        for _ in range(4):
            next(game)
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:200])
    elif harm == "empty":
        path.write_bytes(b"")
    elif harm == "other":
        torch.save(torch.load(path) | {"things": {}}, path)
    elif harm == "version":
        torch.save(torch.load(path) | {"format": checkpoints.FORMAT - 1}, path)
    elif harm == "longer":
        content = torch.load(path)
        torch.save(content | {"turn": TURNS}, path)
    else:
        torch.save({"turn": 2, "things": Harmful(path.with_name("harm"))}, path)
    with caplog.at_level(logging.WARNING), opened(Memory(path)) as memory:
        same(train(), train_apart())
    assert "one.pt is of no use, starting anew" in caplog.text
    reasons = {"version": "of another version of litgen", "other": "of another training"}
    assert reasons.get(harm, "") in caplog.text
    assert memory.resumed == 0
    assert not path.with_name("harm").exists(), "a file's code was run"


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("where", ["save", "memory", "fsync", "replace"])
def test_a_failed_write_costs_the_checkpoint_alone(
    path: Path, where: str, monkeypatch: Any, caplog: Any
) -> None:
    """The training goes on, the last good file stays, nothing half written is left."""
    kept: list[Tensor] = []
    with opened(Memory(path)):
        current().keep(kept=kept)
        game = fit(kept)
        for _ in range(3):
            next(game)
        before = path.read_bytes()

        def full(*arguments: Any) -> None:
            if where in ("save", "memory"):
                arguments[1].write(b"half")
            raise MemoryError if where == "memory" else OSError(28, "No space left on device")

        place = {"fsync": checkpoints.os, "replace": Path}.get(where, checkpoints.torch)
        monkeypatch.setattr(place, "save" if where == "memory" else where, full)
        with caplog.at_level(logging.WARNING):
            for model in game:
                last = model
    why = "MemoryError" if where == "memory" else "[Errno 28] No space left on device"
    assert f"no checkpoint of turn 3: {why}" in caplog.text
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["one.pt"]
    same({**last.state_dict(), "curve": torch.stack(kept)}, train())


def test_what_cannot_be_kept() -> None:
    """A thing without state and a name that is taken are errors, before anything is trained."""
    with pytest.raises(TypeError, match="speed is a float"):
        Memory().keep(speed=0.5)
    with pytest.raises(TypeError, match=r"things\.b is a object"):
        Memory().keep(things={"a": [], "b": object()})
    memory = Memory()
    memory.keep(losses=[])
    with pytest.raises(ValueError, match="'losses' is kept already"):
        memory.keep(losses=[])


def test_rows_are_kept_and_refilled_in_place(path: Path) -> None:
    """One process has them all; a name is taken once, whichever way."""
    memory, ready = Memory(path, time.monotonic() - 1), [torch.arange(3)]
    memory.keep_rows(ready=ready)
    with pytest.raises(ValueError, match="'ready' is kept already"):
        memory.keep(ready=[])
    turns = memory.turns(5)
    next(turns)
    ready[:] = [torch.arange(2), torch.ones(1)]
    with pytest.raises(OutOfTime):
        next(turns)
    again = Memory(path)
    other: list[Tensor] = []
    again.keep_rows(ready=other)
    assert next(again.turns(5)) == 1
    same({"": torch.cat(other)}, {"": torch.tensor([0.0, 1.0, 1.0])})


def test_batches_go_on_where_they_stood() -> None:
    """From the middle of an epoch, and the next epoch is the same too."""
    first = Minibatches(torch.arange(11), 3, torch.Generator().manual_seed(1))
    for _ in range(4):
        next(first)
    state = first.state_dict()
    rest = [next(first) for _ in range(8)]
    second = Minibatches(torch.arange(11), 3, torch.Generator().manual_seed(99))
    second.load_state_dict(state)
    same({"": torch.stack(rest)}, {"": torch.stack([next(second) for _ in range(8)])})


def kept(folder: Path) -> int:
    """Return the turn of the checkpoint in a folder's cache; every one of them is whole."""
    for path in (folder / "cache" / "unfinished").glob("*.pt"):
        return int(torch.load(path)["turn"])
    return 0


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, to be killed without a trace")
def test_killed_at_twenty_moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe killed with signal 9, wherever it is, twenty times: the run is the unbroken one."""
    config = moons.Config(hidden=(16,), steps=150, batch_size=100, samples=1)
    monkeypatch.setattr(moons, "CPU", config)
    monkeypatch.setattr(moons, "tqdm", lambda steps, **_: steps)
    monkeypatch.setattr(comparison, "score", lambda *_: {"kept": 1.0})
    whole = runs.train("vae/moons", "cpu", folder=tmp_path / "whole")
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    chance, turns = random.Random(1), []
    for _ in range(20):
        child = os.fork()
        if not child:
            try:
                runs.train("vae/moons", "cpu", folder=tmp_path / "broken")
            finally:
                os._exit(0)
        first = latest = kept(tmp_path)
        while latest == first and os.waitpid(child, os.WNOHANG) == (0, 0):
            time.sleep(0.002)
            latest = kept(tmp_path)
        time.sleep(chance.uniform(0, 0.02))
        os.kill(child, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1]), "the training was over too soon"
        turns.append(kept(tmp_path))
    assert turns == sorted(turns)
    broken = runs.train("vae/moons", "cpu", folder=tmp_path / "broken")
    assert broken.provenance["resumed"] == 20
    same(broken.tensors, whole.tensors)
    assert broken.history == whole.history
