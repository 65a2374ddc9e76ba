"""What tests/test_processes.py runs in each of several processes."""

import dataclasses
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from litgen import processes, runs
from litgen.recipes.vae import shapes
from litgen.training import Minibatches, Player, play


def game() -> tuple[dict[str, Tensor], Tensor]:
    """Train two players on eight batches of 12 rows; return their weights and the losses."""
    torch.manual_seed(3)
    first = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))
    second = nn.Linear(2, 1)
    x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))

    def fitted(batch: Tensor) -> Tensor:
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
    return first.state_dict() | second.state_dict(prefix="second."), torch.stack(losses)


def main(folder: Path) -> None:
    """Write this process's weights, and what the store of runs says after a tiny training."""
    with processes.joined():
        weights, losses = game()
        fields = {"hidden": (8,), "steps": 4, "batch_size": 16, "snapshots": 2}
        known = {field.name for field in dataclasses.fields(shapes.Config)}
        small = {name: value for name, value in fields.items() if name in known}
        shapes.CPU = dataclasses.replace(shapes.CPU, **small)
        run = runs.train("vae/shapes", "cpu", folder=folder / "runs")
        again = runs.train("vae/shapes", "cpu", folder=folder / "runs")
        found = {
            "weights": weights,
            "losses": losses,
            "metrics": run.metrics,
            "device": run.provenance["device"],
            "dates": [run.provenance["date"], again.provenance["date"]],
            "count": processes.count(),
        }
        torch.save(found, folder / f"{processes.rank()}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
