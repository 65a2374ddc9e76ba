"""Train U's with long skips, short skips, both and none, at several depths, to find drawn cells.

Chapter: book/segmentation/skips.md.  Proof: tests/recipes/test_segmentation_skips.py.
Reference: Drozdzal et al. (2016). At a depth, all variants start from the same weights and see the
same pieces of the same images.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from litgen import checkpoints
from litgen.data import cells
from litgen.data.cells import CellSet
from litgen.data.sources import Record
from litgen.recipes.pictures import curve, one_thread, to_unit
from litgen.runs import Run
from litgen.segmentation import scores
from litgen.segmentation.skips import VARIANTS, Block, SkipNet, added, dice
from litgen.shapes import Float, UInt8
from litgen.training import Minibatches, Player, half_rounded, play

__all__ = ["CPU", "GPU", "Config", "Job", "build", "data", "evaluate", "fit", "jobs", "load"]
__all__ += ["measure", "predicted", "restore", "restored", "train"]


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        normalised: blocks in a stage, one entry for each depth, of networks that normalise.
        bare: the same for networks that do not.
        repeats: trainings of each network, from other starts.
        width: channels of all layers.
        levels: how often the size is halved.
        steps: updates of each network.
        batch_size: pieces of images in a step.
        crop: side of a piece, in pixels.
        learning_rate: of Adam at the start; it falls to zero along half a cosine.
        bare_rate: the same, of networks that do not normalise.
        moments: how often the gradients of all layers are written down.
        test_images: images of the test set that are evaluated.
    """

    normalised: tuple[int, ...] = (1, 2, 4)
    bare: tuple[int, ...] = (2,)
    repeats: int = 1
    width: int = 8
    levels: int = 3
    steps: int = 80
    batch_size: int = 8
    crop: int = 32
    learning_rate: float = 1e-2
    bare_rate: float = 4e-3
    moments: int = 15
    test_images: int = 100


CPU = Config()
GPU = Config(
    normalised=(1, 2, 4, 8),
    bare=(1, 2, 4, 8),
    repeats=3,
    width=16,
    steps=600,
    batch_size=16,
    crop=48,
    learning_rate=5e-3,
    bare_rate=2e-3,
    moments=30,
)


class Job(NamedTuple):
    """One network to train."""

    variant: str
    blocks: int
    norm: bool
    repeat: int = 0

    @property
    def name(self) -> str:
        """Its name in metrics, history and tensors; all repeats share it."""
        return f"{self.variant}_{self.blocks}{'' if self.norm else '_bare'}"


def jobs(config: Config) -> list[Job]:
    """Return every network that a config trains."""
    depths = [(n, True) for n in config.normalised] + [(n, False) for n in config.bare]
    each = itertools.product(depths, VARIANTS, range(config.repeats))
    return [Job(variant, n, norm, repeat) for (n, norm), variant, repeat in each]


def kept(config: Config) -> list[Job]:
    """Return the networks whose weights a run keeps: the deepest ones of the first repeat."""
    deepest = {True: max(config.normalised, default=0), False: max(config.bare, default=0)}
    return [job for job in jobs(config) if job.repeat == 0 and job.blocks == deepest[job.norm]]


def load(split: cells.Split = "train") -> tuple[CellSet, UInt8[Tensor, "count 2 height width"]]:
    """Return a set of cells, and each image with its mask beneath it as a second channel."""
    found = cells.load(split)
    mask = cells.separated(found.cells.int()).to(torch.uint8)
    return found, torch.cat([found.images, mask[:, None]], dim=1)


def build(
    config: Config,
    job: Job,
    block: type[Block] = Block,
    join: Callable[[Tensor, Tensor], Tensor] = added,
) -> SkipNet:
    """Return a network as it starts."""
    has = VARIANTS[job.variant]
    net = SkipNet(
        config.width,
        config.levels,
        job.blocks,
        long=has.long,
        short=has.short,
        norm=job.norm,
        block=block,
        join=join,
    )
    net.to(memory_format=torch.channels_last)
    return net


class Progress(NamedTuple):
    """Where a training stands after a step; the loss is detached."""

    turn: int
    model: SkipNet
    loss: Tensor


def fit(
    config: Config,
    job: Job,
    pairs: UInt8[Tensor, "count 2 height width"],
    seed: int,
    block: type[Block] = Block,
    join: Callable[[Tensor, Tensor], Tensor] = added,
) -> Iterator[Progress]:
    """Yield after every step of a training on random pieces, on the device of the images."""
    torch.manual_seed(seed + job.repeat)  # weights
    draw = torch.Generator().manual_seed(seed + job.repeat)
    model = build(config, job, block, join).to(pairs.device)
    rate = config.learning_rate if job.norm else config.bare_rate
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=config.steps)
    room = pairs.shape[-1] - config.crop + 1

    def loss(batch: Tensor) -> Tensor:
        top, left = (int(torch.randint(room, (), generator=draw)) for _ in range(2))
        piece = batch[:, :, top : top + config.crop, left : left + config.crop]
        logits = model(to_unit(piece[:, :1]))
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, piece[:, 1:].float())

    batches = Minibatches(pairs, config.batch_size, draw)
    memory = checkpoints.current()
    memory.keep(model=model, optimizer=optimizer, schedule=schedule, batches=batches)
    game = play([Player(job.name, optimizer, loss)], batches, memory.turns(config.steps))
    for step in tqdm(game, total=config.steps, desc=job.name, unit="step"):
        schedule.step()
        yield Progress(step.turn, model, step.loss)


def slopes(model: SkipNet) -> Float[Tensor, " convolutions"]:
    """Return log10 of each convolution's mean absolute weight gradient, 1e-30 at least."""
    found = [conv.weight.grad for conv in model.convolutions()]
    mean = torch.stack([g.abs().double().mean() for g in found if g is not None])
    return mean.clamp_min(1e-30).log10().float().cpu()


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train every network; return scores, curves, gradients by layer and the deepest weights."""
    (train_set, pairs), (test_set, test_pairs) = load("train"), load("test")
    pairs, test_pairs = pairs.to(device), test_pairs[: config.test_images].to(device)
    tensors: dict[str, Tensor] = {"examples.pairs": test_pairs[:8].cpu()}
    history: dict[str, list[float]] = {}
    found: dict[str, list[float]] = {}
    moments = [round(i * (config.steps - 1) / (config.moments - 1)) for i in range(config.moments)]
    with one_thread(device):
        for job in jobs(config):
            losses: list[Tensor] = []
            noted: list[Tensor] = []
            with checkpoints.part(f"{job.name}_{job.repeat}") as memory:
                memory.keep(losses=losses, noted=noted)
                for now in fit(config, job, pairs, seed):
                    losses.append(now.loss)
                    noted += [slopes(now.model)] * moments.count(now.turn)
            half_rounded(now.model)
            for score, value in measure(now.model.eval(), test_pairs).items():
                found.setdefault(f"{job.name}_{score}", []).append(value)
            if job.repeat == 0:
                history[f"{job.name}_loss_nats"] = curve(losses)
                tensors[f"slopes.{job.name}"] = torch.stack(noted)
            if job in kept(config):
                state = now.model.state_dict()
                tensors |= {f"{job.name}.{name}": value for name, value in state.items()}
    tensors["slopes.turn"] = torch.tensor(moments)
    spread = {f"{name}_spread": max(each) - min(each) for name, each in found.items()}
    means = {name: sum(each) / len(each) for name, each in found.items()}
    return Run(
        tensors=tensors,
        metrics=means | spread | {"test_images": float(len(test_pairs))},
        history=history,
        data=[
            _record(part.record, split)
            for part, split in ((train_set, "train"), (test_set, "test"))
        ],
    )


def _record(record: Record, split: str) -> dict[str, Any]:
    about = {"name": "cells", "title": record.name, "split": split}
    return dataclasses.asdict(record) | about


@torch.no_grad()
def predicted(
    model: SkipNet, pairs: UInt8[Tensor, "count 2 height width"]
) -> UInt8[Tensor, "count height width"]:
    """Return 1 where a network sees a cell, 0 elsewhere."""
    logits = torch.cat([model(to_unit(part[:, :1])) for part in pairs.split(50)])
    return (logits[:, 0] > 0).to(torch.uint8)


def measure(model: SkipNet, pairs: UInt8[Tensor, "count 2 height width"]) -> dict[str, float]:
    """Return the mean of both classes' IoU, and the cells' Dice score."""
    counts = scores.confusion(pairs[:, 1], predicted(model, pairs), 2)
    return {"mean_iou": scores.mean_iou(counts), "dice": dice(counts)}


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return ("cells",)


def restored(run: Run) -> dict[str, SkipNet]:
    """Return the networks that a run keeps, by their names, in evaluation mode."""
    config = _config_of(run)
    found = {}
    for job in kept(config):
        model = build(config, job)
        model.load_state_dict(run.part(job.name))
        found[job.name] = model.eval().requires_grad_(False)
    return found


def restore(run: Run) -> SkipNet:
    """Return the network with the best mean IoU among those that a run keeps."""
    found = restored(run)
    return found[max(found, key=lambda name: run.metrics[f"{name}_mean_iou"])]


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure the kept networks on the test images anew."""
    pairs = load("test")[1][: _config_of(run).test_images].to(device)
    metrics = {"test_images": float(len(pairs))}
    for name, model in restored(run).items():
        for score, value in measure(model.to(device), pairs).items():
            metrics[f"{name}_{score}"] = value
    return metrics


def _config_of(run: Run) -> Config:
    """Return a run's config; a file's JSON holds the tuples as lists."""
    stored = run.provenance["config"]
    return Config(**stored | {name: tuple(stored[name]) for name in ("normalised", "bare")})
