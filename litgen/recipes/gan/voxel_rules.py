"""Play the game of gan/voxels on objects of 8x8x8 voxels, with thresholds for the critic's moves.

Chapter: book/gan/voxel.md.  Proof: tests/recipes/test_gan_voxels.py.
Reference: Wu et al. (2016), section 3.2.

The objects are the drawn ones at half their side. What comes of a game is measured exactly: how
like each sample is to the nearest of all objects that there are.
"""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from litgen import checkpoints
from litgen.data import furniture
from litgen.gan.voxel import codes
from litgen.gan.voxel_scores import nearest
from litgen.recipes.gan import voxels
from litgen.recipes.pictures import curve
from litgen.runs import Run
from litgen.shapes import Bool

__all__ = ["CPU", "GPU", "Config", "data", "evaluate", "restore", "train"]


SMALL = dataclasses.replace(voxels.CPU, widths=(24,), turns=150, batch_size=10)


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        game: what all games share; its threshold and noise are not used.
        thresholds: one game for each, with noise on what the critic sees.
        noises: one game for each, without a threshold.
        seeds: of each game.
        samples: that each game is judged by.
    """

    game: voxels.Config = SMALL
    thresholds: tuple[float, ...] = (0.7, 0.8, 1.0)
    noises: tuple[float, ...] = (0.0,)
    seeds: int = 2
    samples: int = 256


CPU = Config()
GPU = Config(
    game=dataclasses.replace(voxels.GPU, widths=(64,), turns=3_000),
    thresholds=(0.6, 0.7, 0.8, 0.9, 1.0),
    noises=(0.0, 0.3),
    seeds=5,
    samples=1_000,
)


def games(config: Config) -> list[tuple[float, float]]:
    """Return each game's threshold and noise."""
    return [(t, config.game.noise) for t in config.thresholds] + [(1.0, n) for n in config.noises]


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Play all games; measure the likeness of samples to known objects, and how many differ."""
    objects, fresh, records = voxels.load("drawn_furniture")
    small = [furniture.coarse(part) for part in (objects, fresh)]
    known = torch.cat(small).to(device).bool()
    table: list[list[Tensor]] = []
    history: dict[str, list[float]] = {}
    for k, (threshold, noise) in enumerate(games(config)):
        rule = dataclasses.replace(config.game, threshold=threshold, noise=noise)
        found = []
        for s in range(config.seeds):
            with checkpoints.part(f"game{k}.{s}"):
                right: list[Tensor] = []
                checkpoints.current().keep(right=right)
                for now in voxels.fit(rule, small[0].to(device), seed + s):
                    right.append(now.accuracy)
            history[f"accuracy {k}.{s}"] = curve(right)
            found.append(_judged(config, now, known))
        table.append(found)
    return Run(
        tensors={"likeness": torch.stack([torch.stack(row) for row in table])},
        metrics={"games": float(len(table) * config.seeds)},
        history=history,
        data=records,
    )


@torch.no_grad()
def _judged(config: Config, now: voxels.Progress, known: Bool[Tensor, "m s s s"]) -> Tensor:
    """Return the mean likeness, the share of different nearest objects, the share of moves."""
    draws = torch.Generator().manual_seed(2)
    z = codes(config.samples, config.game.latent, draws).to(known.device)
    made = now.generator.eval()(z)[:, 0] > 0.5
    like, which = nearest(made, known)
    moved = now.gate.taken / now.gate.asked
    return torch.tensor([like.mean().item(), len(which.unique()) / len(which), moved])


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return ("drawn_furniture",)


def restore(run: Run) -> Tensor:
    """Return what was measured: (games, seeds, 3)."""
    return run.tensors["likeness"].float()


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Return what was measured."""
    return dict(run.metrics)
