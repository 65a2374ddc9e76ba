"""Fit a flow of affine couplings to the two moons, by exact maximum likelihood.

Chapter: book/flows/coupling.md.  Proof: tests/recipes/test_flows.py.
Reference: Dinh, Sohl-Dickstein & Bengio, "Density estimation using Real NVP" (2017).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from litgen import checkpoints
from litgen.flows.coupling import CouplingFlow
from litgen.recipes import comparison
from litgen.runs import Run
from litgen.shapes import Float
from litgen.training import Minibatches, Player, half_rounded, plain_products, play

__all__ = [
    "CPU",
    "GPU",
    "Config",
    "build",
    "data",
    "evaluate",
    "fit",
    "restore",
    "sample",
    "train",
]


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        couplings: layers.
        hidden: widths of each conditioner.
        turns: updates.
        batch_size: points in a step.
        learning_rate: of Adam at the start; it falls to zero along half a cosine.
    """

    couplings: int = 8
    hidden: tuple[int, ...] = (32, 32)
    turns: int = 1_200
    batch_size: int = 500
    learning_rate: float = 5e-3


CPU = Config()
GPU = Config(hidden=(128, 128), couplings=16, turns=20_000, batch_size=1_000, learning_rate=2e-3)


class Progress(NamedTuple):
    """Where a training stands after a step; the loss is detached."""

    turn: int
    model: CouplingFlow
    loss: Tensor


def build(config: Config) -> CouplingFlow:
    """Return an untrained flow."""
    return CouplingFlow(2, config.couplings, config.hidden)


def fit(config: Config, points: Float[Tensor, "count 2"], seed: int) -> Iterator[Progress]:
    """Yield after every step of raising the mean log-likelihood, on the device of the points."""
    torch.manual_seed(seed)  # weights
    model = build(config).to(points.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=config.turns)
    batches = Minibatches(points, config.batch_size, torch.Generator().manual_seed(seed))

    def loss(x: Tensor) -> Tensor:
        return -model.log_prob(x).mean()

    memory = checkpoints.current()
    memory.keep(model=model, optimizer=optimizer, rate=rate, batches=batches)
    game = play([Player("flow", optimizer, loss)], batches, memory.turns(config.turns))
    for step in tqdm(game, total=config.turns, desc="flow", unit="step"):
        rate.step()
        yield Progress(step.turn, model, step.loss)


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train on the shared points; return what every family leaves of them."""
    losses: list[Tensor] = []
    checkpoints.current().keep(losses=losses)
    with plain_products(device):
        for now in fit(config, comparison.train_points().to(device), seed):
            losses.append(now.loss)
    model = now.model.cpu()
    half_rounded(model)
    curve = torch.tensor_split(torch.stack(losses).cpu(), min(100, len(losses)))
    return comparison.package(
        model.state_dict(),
        lambda count, generator: model.sample(torch.randn(count, 2, generator=generator)),
        lambda x: model.log_prob(x).detach(),
        {"train_loss_nats": [part.mean().item() for part in curve]},
    )


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return ("moons",)


def restore(run: Run) -> CouplingFlow:
    """Return the flow of a run, in evaluation mode."""
    stored = run.provenance["config"]
    model = build(Config(**stored | {"hidden": tuple(stored["hidden"])}))
    model.load_state_dict(run.part("model"))
    return model.eval().requires_grad_(False)


def sample(run: Run, count: int, generator: torch.Generator) -> Float[Tensor, "count 2"]:
    """Return points of the plane."""
    return restore(run).sample(torch.randn(count, 2, generator=generator))


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights anew."""
    model = restore(run)
    return comparison.score(
        lambda count, generator: model.sample(torch.randn(count, 2, generator=generator)),
        model.log_prob,
    )
