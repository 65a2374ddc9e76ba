"""What tests/test_processes.py runs in each of several processes."""

import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from litgen import checkpoints, processes, rows, runs
from litgen.checkpoints import Memory, OutOfTime
from litgen.recipes.vae import shapes
from litgen.training import Minibatches, Player, play

TURNS = 6


def game() -> tuple[dict[str, Tensor], Tensor, list[Tensor]]:
    """Train two players on eight batches of 12 rows; return weights, losses and rows seen."""
    torch.manual_seed(3)
    first = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))
    second = nn.Linear(2, 1)
    x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    seen = []

    def fitted(batch: Tensor) -> Tensor:
        seen.append(batch)
        return (first(batch) - batch[:, :2] * batch[:, 2:]).square().mean() - second(
            first(batch)
        ).mean()

    def judged(batch: Tensor) -> Tensor:
        return (second(first(batch).detach()) - batch.sum(dim=1, keepdim=True)).square().mean()

    players = [
        Player("first", torch.optim.Adam(first.parameters(), 1e-2), fitted),
        Player("second", torch.optim.SGD(second.parameters(), 1e-1), judged, moves=2),
    ]
    batches = Minibatches(x, 12, torch.Generator().manual_seed(1))
    losses = [step.loss for step in play(players, batches, 8)]
    return first.state_dict() | second.state_dict(prefix="second."), torch.stack(losses), seen


def fit(kept: list[Tensor], turns: int = TURNS) -> Iterator[nn.Module]:
    """Train with noise of a generator, dropout, normalisation, and rows that are kept a turn."""
    torch.manual_seed(3)
    draw = torch.Generator().manual_seed(4)
    model = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Dropout(0.4), nn.Linear(5, 1))
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    x = torch.randn(26, 3, generator=torch.Generator().manual_seed(5))
    batches = Minibatches(x, 8, torch.Generator().manual_seed(6))
    ready: list[Tensor] = []
    memory = checkpoints.current()
    memory.keep(model=model, optimizer=optimizer, draw=draw, batches=batches, kept=kept)
    memory.keep_rows(ready=ready)

    def loss(x: Tensor) -> Tensor:
        late = ready.pop() if ready else torch.zeros_like(x)
        noise = torch.randn(x.shape, generator=draw)
        ready[:] = [x + noise]
        wrong = model(x + 0.3 * noise + 0.5 * late) - x.sum(dim=1, keepdim=True)
        return wrong.square().mean()

    for step in play([Player("one", optimizer, loss)], batches, memory.turns(turns)):
        kept.append(step.loss)
        yield model


def train(path: Path | None = None, stop: int = 0, late: bool = False) -> dict[str, Tensor]:
    """Train, to the end or until abandoned; return the weights and the curve."""
    kept: list[Tensor] = []
    memory = Memory(path, time.monotonic() - 1 if late else None)
    with checkpoints.opened(memory):
        for turn, model in enumerate(fit(kept)):
            last = model
            if turn + 1 == stop:
                break
    return {
        **last.state_dict(),
        "curve": torch.stack(kept),
        "resumed": torch.tensor(memory.resumed),
    }


def interrupted(folder: Path) -> dict[str, Any]:
    """Train without a stop, and stopped in several ways; every process has a folder of its own."""
    own = folder / f"own{processes.rank()}"
    found: dict[str, Any] = {"whole": train(), "calls": 0}
    checkpoints.EVERY = 0.0
    train(own / "one.pt", stop=4)  # abandoned, as by a kill: turn 3 is on the file
    found["killed"] = train(own / "one.pt")
    for _ in range(3 * TURNS):
        try:
            found["late"] = train(own / "late.pt", late=True)
            break
        except OutOfTime:
            found["calls"] += 1
    train(own / "other.pt", stop=4)
    if processes.rank() == 0:
        path = own / "other.pt"
        (folder / "unfinished.pt").write_bytes(path.read_bytes())
        path.write_bytes(path.read_bytes()[:300])
    found["cut"] = train(own / "other.pt")
    found["files"] = sorted(path.name for path in own.glob("*")) if own.exists() else []
    return found


def parts() -> dict[str, Tensor]:
    """Return what `litgen.rows` makes of draws and moments, for own rows out of a batch of 8."""
    torch.manual_seed(7)
    own = processes.share(torch.arange(8))
    norm = nn.BatchNorm1d(3)
    x = torch.randn(8, 3, 2, generator=torch.Generator().manual_seed(1))[own].requires_grad_()
    several = processes.count() > 1
    with rows.Own(len(own), processes.rank(), 2) if several else contextlib.nullcontext():
        drawn = {
            "randn": torch.randn(len(own), 2),
            "rand": torch.rand((2 * len(own),)),
            "randint": torch.randint(5, 99, (len(own), 1)),
            "high": torch.randint(99, size=(len(own),)),
            "like": torch.rand_like(x),
            "dropped": nn.functional.dropout(torch.ones(len(own), 5), 0.5),
        }
        common = {"crop": torch.randint(99, (3,)), "one": torch.rand(())}
        with rows.alike():
            common["all"] = torch.rand(8)
        out = norm(x)
    weight = torch.linspace(-1, 2, 8)[own]
    (out.square().sum(dim=(1, 2)) * weight + out[:, 0, 0] * weight).sum().backward()
    assert x.grad is not None
    drawn |= {"out": out.detach(), "gradient": x.grad}
    whole = {name: processes.gathered(value) for name, value in drawn.items()}
    return whole | common | {f"norm.{name}": value for name, value in norm.state_dict().items()}


def main(folder: Path) -> None:
    """Write this process's weights, and what the store of runs says after a tiny training."""
    with processes.joined():
        weights, losses, seen = game()
        fields = {"hidden": (8,), "steps": 4, "batch_size": 16, "snapshots": 2}
        known = {field.name for field in dataclasses.fields(shapes.Config)}
        small = {name: value for name, value in fields.items() if name in known}
        shapes.CPU = dataclasses.replace(shapes.CPU, **small)
        run = runs.train("vae/shapes", "cpu", folder=folder / "runs")
        again = runs.train("vae/shapes", "cpu", folder=folder / "runs")
        found = {
            "weights": weights,
            "losses": losses,
            "seen": seen,
            "metrics": run.metrics,
            "device": run.provenance["device"],
            "dates": [run.provenance["date"], again.provenance["date"]],
            "count": processes.count(),
            "parts": parts(),
            **interrupted(folder),
        }
        torch.save(found, folder / f"{processes.rank()}.pt")


def stored(folder: Path) -> None:
    """Train a recipe through the store, its state written after every turn; say who we are."""
    (folder / f"{processes.rank()}.pid").write_text(str(os.getpid()))
    checkpoints.EVERY = 0.0
    small = {"hidden": (8,), "steps": 120, "batch_size": 16}
    shapes.CPU = dataclasses.replace(shapes.CPU, **small)
    runs.train("vae/shapes", "cpu", folder=folder)


if __name__ == "__main__":
    if sys.argv[2:] == ["stored"]:
        with processes.joined():
            stored(Path(sys.argv[1]))
    else:
        main(Path(sys.argv[1]))
