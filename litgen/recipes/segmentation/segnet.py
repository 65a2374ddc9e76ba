"""Train decoders that differ only in how they grow their maps to find cells, rims and seams.

Chapter: book/segmentation/segnet.md.  Proof: tests/recipes/test_segnet.py.
Reference: Badrinarayanan, Kendall & Cipolla (2017), sections 3.1 to 3.3, whose comparison of
decoders it repeats on drawn cells.

Four classes are made of the known cells: the ground; a cell's inside; its rim, two pixels wide,
where it meets the ground; and the seam, two pixels wide, where two cells touch. The seam is rare.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from litgen import checkpoints
from litgen.data import cells
from litgen.recipes import pictures
from litgen.runs import Run
from litgen.segmentation import balance, boundary, scores
from litgen.segmentation.segnet import SegNet
from litgen.shapes import UInt8
from litgen.training import Minibatches, Player, half_rounded, mixed_precision, play

__all__ = [
    "CLASSES",
    "CPU",
    "GPU",
    "Config",
    "Variant",
    "classes_of",
    "data",
    "evaluate",
    "fit",
    "measure",
    "models",
    "predicted",
    "restore",
    "train",
]

CLASSES = ("ground", "inside", "rim", "seam")
BAND = 2.0
"""Pixels on either side of an outline that belong to the band around it."""

Variant = Literal["indices", "bilinear", "transposed", "skip", "unbalanced"]


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        variants: one network is trained for each: four growths with balanced classes, and
            "unbalanced", which grows by indices and weighs all pixels alike.
        widths: channels of the levels, finest first.
        depth: convolutions at a level.
        turns: updates of each network.
        batch_size: images in a step.
        learning_rate: of Adam at the peak of one cycle.
        mixed: let networks compute in bfloat16 where the hardware has it.
    """

    variants: tuple[Variant, ...] = ("indices", "bilinear", "transposed", "skip", "unbalanced")
    widths: tuple[int, ...] = (8, 16, 32)
    depth: int = 1
    turns: int = 90
    batch_size: int = 12
    learning_rate: float = 2e-2
    mixed: bool = True


CPU = Config()
GPU = Config(widths=(32, 64, 128, 128), depth=2, turns=2_000, batch_size=50, learning_rate=5e-3)


def classes_of(found: cells.CellSet) -> UInt8[Tensor, "count height width"]:
    """Return the class of each pixel: ground 0, inside 1, rim 2, seam 3."""
    cell = found.cells > 0
    rim = cell & boundary.near(boundary.outlines(cell.to(torch.uint8), 2)[:, 1], 1.0)
    seam = cell & ~cells.separated(found.cells.long())
    classes = cell.to(torch.uint8)
    classes[rim], classes[seam] = 2, 3
    return classes


class Progress(NamedTuple):
    """Where a training stands after a step; the loss is detached."""

    turn: int
    model: SegNet
    loss: Tensor


def fit(
    config: Config,
    variant: Variant,
    images: UInt8[Tensor, "count 1 height width"],
    classes: UInt8[Tensor, "count height width"],
    seed: int,
) -> Iterator[Progress]:
    """Yield after every step of a training, on the device of the images."""
    torch.manual_seed(seed)  # weights
    shuffle = torch.Generator().manual_seed(seed)
    model = _network(config, variant).to(images.device)
    model.to(memory_format=torch.channels_last)
    weights = torch.ones(len(CLASSES), device=images.device)
    if variant != "unbalanced":
        weights = balance.median_weights(balance.frequencies(classes, len(CLASSES)))
    optimizer = torch.optim.Adam(model.parameters(), config.learning_rate, fused=True)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, config.turns)

    def loss(rows: Tensor) -> Tensor:
        x = pictures.to_unit(images.index_select(0, rows))
        with mixed_precision(x.device, config.mixed):
            logits = model(x.contiguous(memory_format=torch.channels_last))
        return balance.balanced_cross_entropy(logits.float(), classes[rows], weights).mean()

    rows = torch.arange(len(images), device=images.device)
    batches = Minibatches(rows, config.batch_size, shuffle)
    memory = checkpoints.current()
    memory.keep(model=model, optimizer=optimizer, rate=rate, batches=batches)
    game = play([Player(variant, optimizer, loss)], batches, memory.turns(config.turns))
    for step in tqdm(game, total=config.turns, desc=variant, unit="step"):
        if step.turn + 1 < config.turns:
            rate.step()
        yield Progress(step.turn, model, step.loss)


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train every variant from the same seed; return weights, curves and scores."""
    train_set, test_set = cells.load("train"), cells.load("test")
    images, classes = train_set.images.to(device), classes_of(train_set).to(device)
    tensors: dict[str, Tensor] = {}
    metrics: dict[str, float] = {"test_images": float(len(test_set.images))}
    history = {}
    for variant in config.variants:
        losses: list[Tensor] = []
        with checkpoints.part(variant) as memory:
            memory.keep(losses=losses)
            for now in fit(config, variant, images, classes, seed):
                losses.append(now.loss)
        model = now.model.eval()
        half_rounded(model)
        found = measure(model, test_set, config.mixed)
        metrics |= {f"{variant}_{name}": value for name, value in found.items()}
        history[f"{variant}_loss_nats"] = pictures.curve(losses)
        tensors |= {f"{variant}.{name}": value for name, value in model.state_dict().items()}
    records = [
        dataclasses.asdict(part.record)
        | {"name": "cells", "split": split}
        | {"title": part.record.name}
        for split, part in (("train", train_set), ("test", test_set))
    ]
    return Run(tensors=tensors, metrics=metrics, history=history, data=records)


@torch.no_grad()
def predicted(
    model: SegNet, images: UInt8[Tensor, "count 1 height width"], mixed: bool = True
) -> UInt8[Tensor, "count height width"]:
    """Return the most probable class of each pixel, computed where the model lies."""
    device = model.head.weight.device
    parts = []
    for part in images.split(50):
        with mixed_precision(device, mixed):
            logits = model(pictures.to_unit(part.to(device)))
        parts.append(logits.float().argmax(dim=1).to(torch.uint8).cpu())
    return torch.cat(parts)


def measure(model: SegNet, test_set: cells.CellSet, mixed: bool = True) -> dict[str, float]:
    """Return the scores of a network: of all pixels, of classes, of outlines.

    Keys: pixel_accuracy, mean_accuracy, mean_iou; accuracy_rim, iou_rim and so on; boundary_f1
    within one pixel, a mean over images; band_iou, the mean IoU near true outlines; parameters.
    """
    truth, found = classes_of(test_set), predicted(model, test_set.images, mixed)
    counts = scores.confusion(truth, found, len(CLASSES))
    edge = boundary.band(truth, len(CLASSES), BAND)
    each = zip(CLASSES, scores.class_accuracies(counts), scores.class_ious(counts), strict=True)
    metrics = {
        "pixel_accuracy": scores.pixel_accuracy(counts),
        "mean_accuracy": scores.mean_accuracy(counts),
        "mean_iou": scores.mean_iou(counts),
        "boundary_f1": boundary.boundary_f1(truth, found, len(CLASSES)).nanmean().item(),
        "band_iou": scores.mean_iou(scores.confusion(truth[edge], found[edge], len(CLASSES))),
        "parameters": float(sum(p.numel() for p in model.parameters())),
    }
    for name, accuracy, iou in each:
        metrics |= {f"accuracy_{name}": accuracy.item(), f"iou_{name}": iou.item()}
    return metrics


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return ("cells",)


def models(run: Run) -> dict[Variant, SegNet]:
    """Return every network of a run by its variant, in evaluation mode."""
    config = _config_of(run)
    found = {}
    for variant in config.variants:
        model = _network(config, variant)
        model.load_state_dict(run.part(variant))
        found[variant] = model.eval().requires_grad_(False)
    return found


def restore(run: Run) -> SegNet:
    """Return the network that grows by indices, with balanced classes."""
    return models(run)["indices"]


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights on the test images anew."""
    test_set = cells.load("test")
    metrics: dict[str, float] = {"test_images": float(len(test_set.images))}
    for variant, model in models(run).items():
        found = measure(model.to(device), test_set, _config_of(run).mixed)
        metrics |= {f"{variant}_{name}": value for name, value in found.items()}
    return metrics


def _network(config: Config, variant: Variant) -> SegNet:
    growth = "indices" if variant == "unbalanced" else variant
    return SegNet(1, len(CLASSES), config.widths, growth, config.depth)


def _config_of(run: Run) -> Config:
    """Return a run's config; a file's JSON holds the tuples as lists."""
    stored = run.provenance["config"]
    return Config(**stored | {name: tuple(stored[name]) for name in ("variants", "widths")})
