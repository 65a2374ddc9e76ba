"""Train U-Nets to find drawn cells, with and without skips, with and without heavy borders.

Chapter: book/segmentation/unet.md.  Proof: tests/recipes/test_segmentation_cells.py.
Reference: Ronneberger, Fischer & Brox (2015).
"""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from litgen import checkpoints, processes
from litgen.data import cells
from litgen.recipes import pictures
from litgen.runs import Run
from litgen.segmentation import elastic, instances, scores, weights
from litgen.segmentation.unet import UNet
from litgen.shapes import Bool, Float, Int, UInt8
from litgen.training import Minibatches, Player, half_rounded, mixed_precision, play

__all__ = [
    "CPU",
    "GPU",
    "VARIANTS",
    "Config",
    "Examples",
    "counted",
    "data",
    "evaluate",
    "examples",
    "fit",
    "found",
    "measure",
    "models",
    "restore",
    "train",
]

CHANNELS_LAST = torch.channels_last  # faster with batch normalisation on a CPU
VARIANTS = {"full": (True, True), "no_border": (True, False), "no_skips": (False, True)}
"""Each network's name: whether it has skips, and whether borders weigh more."""


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        variants: the networks, see `VARIANTS`; all start from the same seed.
        images: of the training set that are used, the first ones.
        test_images: the same of the test set.
        widths: channels of the levels, the image's own first.
        turns: updates of each network.
        batch_size: images in a step.
        learning_rate: of Adam at the peak of one cycle.
        bend: standard deviation of the displacements, in pixels; 0 leaves the images as they are.
        height: of the weight where two cells meet, the paper's w_0.
        sigma: how far that weight reaches, in pixels.
        mixed: let networks compute in bfloat16 where the hardware has it.
    """

    variants: tuple[str, ...] = ("full", "no_border", "no_skips")
    images: int = 300
    test_images: int = 100
    widths: tuple[int, ...] = (12, 24, 32, 48)
    turns: int = 115
    batch_size: int = 6
    learning_rate: float = 2e-2
    bend: float = 0.5
    height: float = 3.0
    sigma: float = 4.0
    mixed: bool = True


CPU = Config()
GPU = Config(widths=(64, 128, 256, 512), turns=4_000, batch_size=32, learning_rate=2e-3, bend=1.5)


class Examples(NamedTuple):
    """Images, the cells or classes of their pixels, and the border's weight at height 1."""

    images: UInt8[Tensor, "count 1 height width"]
    labels: UInt8[Tensor, "count height width"]
    near: Float[Tensor, "count height width"]


class Progress(NamedTuple):
    """Where a training stands after a step; the loss is detached."""

    turn: int
    model: UNet
    loss: Tensor


Targets = Callable[[Tensor], Tensor]


def inside(labels: Int[Tensor, "*batch height width"]) -> Bool[Tensor, "*batch height width"]:
    """Return what the networks are to find: cells, with a gap where two of them touch."""
    return cells.separated(labels)


def examples(
    images: UInt8[Tensor, "count 1 height width"],
    labels: UInt8[Tensor, "count height width"],
    sigma: float,
) -> Examples:
    """Compute the weight of borders once for all steps, on the cells with the gaps between."""
    numbers = labels.long()
    parted = numbers * inside(numbers)
    near = [weights.border(each, 1.0, sigma).float() for each in parted]
    return Examples(images, labels, torch.stack(near))


def fit(
    config: Any,
    given: Examples,
    targets: Targets,
    seed: int,
    classes: int = 2,
    skips: bool = True,
    height: float = 0.0,
    title: str = "U-Net",
) -> Iterator[Progress]:
    """Yield after every step of a training, on the device where the examples lie.

    Args:
        config: widths, turns, batch_size, learning_rate, bend and mixed are read.
        given: what is trained on.
        targets: maps the bent labels to classes, 0 for the ground.
        seed: of weights, batches and fields.
        classes: how many there are.
        skips: whether the network has them.
        height: of the border's weight; 0 for none.
        title: said by the progress bar.
    """
    device = given.images.device
    torch.manual_seed(seed)  # weights
    shuffle, draw = (torch.Generator().manual_seed(seed + i) for i in (0, 1))
    model = UNet(1, classes, config.widths, skips=skips).to(device).to(memory_format=CHANNELS_LAST)
    optimizer = torch.optim.Adam(model.parameters(), config.learning_rate, fused=True)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, config.turns)

    def loss(rows: Tensor) -> Tensor:
        x, labels = pictures.to_unit(given.images[rows]), given.labels[rows].long()
        both = torch.cat([x, given.near[rows][:, None]], dim=1)
        if config.bend:
            vectors = config.bend * torch.randn(len(rows), 2, 3, 3, generator=draw)
            both, labels = elastic.deform(both, labels, vectors.to(device))
        x, near = both[:, :1], both[:, 1]
        target = targets(labels).long()
        whole = processes.gathered(target)  # classes are counted in the whole batch
        balance = processes.share(weights.balance(whole, classes)).float()
        importance = balance + height * near * (target == 0)
        with mixed_precision(device, config.mixed):
            logits = model(x.contiguous(memory_format=CHANNELS_LAST))
        return weights.energy(logits.float(), target, importance).mean()

    batches = Minibatches(
        torch.arange(len(given.images), device=device), config.batch_size, shuffle
    )
    memory = checkpoints.current()
    memory.keep(model=model, optimizer=optimizer, rate=rate, batches=batches, draw=draw)
    game = play([Player(title, optimizer, loss)], batches, memory.turns(config.turns))
    for step in tqdm(game, total=config.turns, desc=title, unit="step"):
        if step.turn + 1 < config.turns:
            rate.step()
        yield Progress(step.turn, model, step.loss)


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train every variant from the same seed; return weights, curves and scores."""
    train_set, test_set = cells.load("train"), cells.load("test")
    chosen = train_set.images[: config.images], train_set.cells[: config.images]
    given = examples(*chosen, config.sigma)
    given = Examples(*(part.to(device) for part in given))
    tensors = {"examples.images": test_set.images[:20], "examples.cells": test_set.cells[:20]}
    images, labels = (part[: config.test_images] for part in (test_set.images, test_set.cells))
    metrics = {"test_images": float(len(images))}
    history = {}
    for name in config.variants:
        skips, bordered = VARIANTS[name]
        losses: list[Tensor] = []
        with checkpoints.part(name) as memory:
            memory.keep(losses=losses)
            height = config.height if bordered else 0.0
            for now in fit(config, given, inside, seed, 2, skips, height, name):
                losses.append(now.loss)
        model = now.model.eval()
        half_rounded(model)
        metrics |= {
            f"{name}_{key}": value
            for key, value in measure(model, images.to(device), labels).items()
        }
        history[f"{name}_loss_nats"] = pictures.curve(losses)
        tensors |= {f"{name}.{key}": value for key, value in model.state_dict().items()}
    return Run(
        tensors=tensors, metrics=metrics, history=history, data=records(train_set, test_set)
    )


def records(train_set: Any, test_set: Any, name: str = "cells") -> list[dict[str, Any]]:
    """Return where both sets came from, as runs keep it."""
    return [
        dataclasses.asdict(part.record) | {"name": name, "title": part.record.name, "split": split}
        for split, part in (("train", train_set), ("test", test_set))
    ]


@torch.no_grad()
def found(
    model: UNet, images: UInt8[Tensor, "count 1 height width"]
) -> Int[Tensor, "count height width"]:
    """Return the likelier class of each pixel."""
    logits = [model(pictures.to_unit(part)) for part in images.split(50)]
    return torch.cat(logits).argmax(dim=1).cpu()


def counted(
    labels: UInt8[Tensor, "count height width"], predicted: Int[Tensor, "count height width"]
) -> dict[str, float]:
    """Return how many cells are found apart, and how much of what is found is a cell.

    Keys: cells; found_apart, the share of cells that a piece of the map matches; right_pieces, the
    share of pieces that match a cell. Pieces under ten pixels do not count.
    """
    pieces = instances.components(predicted > 0)
    each = [
        instances.matched(truth.long(), piece, least=10)
        for truth, piece in zip(labels, pieces, strict=True)
    ]
    matches = sum(one.matches for one in each)
    there, seen = sum(one.cells for one in each), sum(one.pieces for one in each)
    return {
        "cells": float(there),
        "found_apart": matches / there,
        "right_pieces": matches / max(seen, 1),
    }


def measure(
    model: UNet,
    images: UInt8[Tensor, "count 1 height width"],
    labels: UInt8[Tensor, "count height width"],
) -> dict[str, float]:
    """Return mean intersection over union, that of the gaps, and the cells found apart."""
    predicted = found(model, images)
    truth = inside(labels.long())
    gap = (labels > 0) & ~truth
    return {
        "mean_iou": scores.mean_iou(scores.confusion(truth.long(), predicted, 2)),
        "gap_accuracy": (predicted[gap] == 0).double().mean().item(),
        **counted(labels, predicted),
    }


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return ("cells",)


def models(run: Run) -> dict[str, UNet]:
    """Return every network of a run by its name, in evaluation mode."""
    config, found = run.provenance["config"], {}
    for name in config["variants"]:
        model = UNet(1, 2, tuple(config["widths"]), skips=VARIANTS[name][0])
        model.load_state_dict(run.part(name))
        found[name] = model.eval().requires_grad_(False)
    return found


def restore(run: Run) -> UNet:
    """Return the first network of a run, the full one, in evaluation mode."""
    return models(run)[run.provenance["config"]["variants"][0]]


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights on the test images anew."""
    test_set, count = cells.load("test"), run.provenance["config"]["test_images"]
    images, labels = test_set.images[:count], test_set.cells[:count]
    metrics = {"test_images": float(len(images))}
    for name, model in models(run).items():
        values = measure(model.to(device), images.to(device), labels)
        metrics |= {f"{name}_{key}": value for key, value in values.items()}
    return metrics
