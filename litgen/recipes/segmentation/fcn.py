"""Train a classifier of windows, make it fully convolutional, and give it zero, one and two skips.

Chapter: book/segmentation/fcn.md.  Proof: tests/recipes/test_segmentation_fcn.py.
Reference: Long, Shelhamer & Darrell (2015), section 4.

The classifier names the class in the middle of a window. FCN-16s goes on from its weights on whole
scenes. From there three networks go on for equally many turns over the same batches: FCN-16s
itself, FCN-8s and FCN-4s. So they differ in what they read, not in how long they were trained.
"""

import copy
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from litgen import checkpoints
from litgen.data import scenes
from litgen.data.scenes import SceneSet
from litgen.recipes import pictures
from litgen.runs import Run
from litgen.segmentation import scores
from litgen.segmentation.fcn import FCN, SIDE, check_masks, classifier, pixel_loss, places
from litgen.segmentation.upsampling import upsample
from litgen.shapes import Float, Int, UInt8
from litgen.training import Minibatches, Player, half_rounded, mixed_precision, play

__all__ = [
    "CPU",
    "GPU",
    "NAMES",
    "Config",
    "data",
    "evaluate",
    "fit",
    "fit_classifier",
    "measure",
    "models",
    "predict",
    "restore",
    "restore_classifier",
    "table",
    "train",
    "windows",
]

NAMES = {0: "FCN-16s", 1: "FCN-8s", 2: "FCN-4s"}
"""Networks by their number of skips; the number in the name is the stride of the finest map."""

CLASSES = len(scenes.CLASSES)


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        widths: channels of the three stages of the classifier.
        hidden: units of its hidden layer.
        classifier_turns: updates of the classifier.
        classifier_batch: windows in each of them.
        turns: updates of FCN-16s on whole scenes, before the three part.
        own_turns: updates of each of the three after that.
        batch_size: scenes in each of them.
        learning_rate: of Adam at the peak of one cycle; the classifier's is half of it.
        ground: what a pixel of the ground counts in the loss; any other counts 1.
        mixed: let networks compute in bfloat16 where the hardware has it.
    """

    widths: tuple[int, int, int] = (16, 32, 64)
    hidden: int = 128
    classifier_turns: int = 100
    classifier_batch: int = 64
    turns: int = 240
    own_turns: int = 120
    batch_size: int = 16
    learning_rate: float = 1e-2
    ground: float = 1 / 3
    mixed: bool = True


CPU = Config()
GPU = Config(
    widths=(32, 64, 128),
    hidden=192,
    classifier_turns=1_500,
    classifier_batch=256,
    turns=3_000,
    own_turns=2_000,
    batch_size=64,
    learning_rate=3e-3,
)


class Progress(NamedTuple):
    """What one update reports; the model is the same one throughout."""

    model: nn.Module
    loss: Tensor


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train the classifier and the networks made of it; measure all on the test scenes."""
    train_set, test_set = scenes.load("train"), scenes.load("test")
    check_masks(train_set.images.float(), train_set.classes.long(), CLASSES)
    images, masks = train_set.images.to(device), train_set.classes.to(device)
    history: dict[str, list[float]] = {}
    tensors: dict[str, Tensor] = {}
    metrics: dict[str, float] = {}
    test_images, test_masks = test_set.images.to(device), test_set.classes.to(device)

    def finished(name: str, steps: Iterator[Progress]) -> nn.Module:
        """Go through a training, keep its curve, and return its network."""
        losses: list[Tensor] = []
        with checkpoints.part(name) as memory:
            memory.keep(losses=losses)
            for now in steps:
                losses.append(now.loss)
        history[f"{name}_loss_nats"] = pictures.curve(losses)
        return now.model

    named = finished("classifier", fit_classifier(config, images, masks, seed))
    assert isinstance(named, nn.Sequential)
    windowed = copy.deepcopy(named).eval()
    half_rounded(windowed)
    kept: dict[str, nn.Module] = {"classifier": windowed}
    metrics |= table("classifier", measure(FCN(windowed), test_images, test_masks))
    start = FCN(named)
    finished("start", fit(config, start, images, masks, config.turns, seed))
    for skips, name in NAMES.items():
        model = FCN(copy.deepcopy(named), skips)  # `named` was trained on as a part of `start`
        model.head.load_state_dict(start.head.state_dict())
        finished(name, fit(config, model, images, masks, config.own_turns, seed + 1))
        half_rounded(model)
        kept[name] = model
        metrics |= table(name, measure(model, test_images, test_masks))
    for name, network in kept.items():
        tensors |= {f"{name}.{key}": value for key, value in network.state_dict().items()}
    return Run(
        tensors=tensors,
        metrics=metrics | {"test_images": float(len(test_masks))},
        history=history,
        data=_records(train_set, test_set),
    )


def windows(
    images: UInt8[Tensor, "count 3 height width"], chosen: Int[Tensor, "batch 4"]
) -> Float[Tensor, "batch 3 side side"]:
    """Cut out SIDE by SIDE pixels around each (image, row, column, ...), in [-1, 1].

    The pixel lies right of and below the middle; beyond the border all is mid grey, 0.
    """
    half = SIDE // 2
    cut = torch.zeros(len(chosen), 3, SIDE, SIDE, device=images.device)
    for window, (i, row, column, *_) in zip(cut, chosen.tolist(), strict=True):
        top, left = max(row - half, 0), max(column - half, 0)
        seen = images[i, :, top : row + half, left : column + half]
        y, x = top - row + half, left - column + half
        window[:, y : y + seen.shape[1], x : x + seen.shape[2]] = pictures.to_unit(seen)
    return cut


def fit_classifier(
    config: Config, images: UInt8[Tensor, "..."], masks: UInt8[Tensor, "..."], seed: int
) -> Iterator[Progress]:
    """Yield after every step of a training on windows around pixels of all classes alike."""
    torch.manual_seed(seed)  # weights
    draw = torch.Generator().manual_seed(seed)
    each = config.classifier_turns * config.classifier_batch // CLASSES + 1
    rows = []
    for label, where in enumerate(places(masks.cpu().long(), CLASSES)):
        drawn = where[torch.randint(len(where), (each,), generator=draw)]
        rows.append(F.pad(drawn, (0, 1), value=label))
    batches = Minibatches(torch.cat(rows), config.classifier_batch, draw)
    model = classifier(config.widths, config.hidden, CLASSES).to(images.device)

    def loss(chosen: Tensor) -> Tensor:
        with mixed_precision(images.device, config.mixed):
            logits = model(windows(images, chosen))
        return F.cross_entropy(logits.float(), chosen[:, 3].to(images.device))

    rate = config.learning_rate / 2
    yield from _cycle(model, loss, batches, rate, config.classifier_turns, "classifier")


def fit(
    config: Config,
    model: FCN,
    images: UInt8[Tensor, "..."],
    masks: UInt8[Tensor, "..."],
    turns: int,
    seed: int,
) -> Iterator[Progress]:
    """Yield after every step of a training on whole scenes, in which every pixel is an example."""
    draw = torch.Generator().manual_seed(seed)
    batches = Minibatches(torch.arange(len(images), device=images.device), config.batch_size, draw)
    model.train().to(images.device).to(memory_format=torch.channels_last)
    weight = torch.tensor([config.ground] + [1.0] * (CLASSES - 1), device=images.device)

    def loss(chosen: Tensor) -> Tensor:
        x = pictures.to_unit(images[chosen]).contiguous(memory_format=torch.channels_last)
        with mixed_precision(images.device, config.mixed):
            coarse = model.coarse(x)
        logits = upsample(coarse.float(), model.stride)
        return pixel_loss(logits, masks[chosen], weight).mean()

    name = NAMES[len(model.skips)]
    yield from _cycle(model, loss, batches, config.learning_rate, turns, name)


def _cycle(
    model: nn.Module, loss: Any, batches: Minibatches, rate: float, turns: int, name: str
) -> Iterator[Progress]:
    """Yield after every step of Adam, whose rate rises for a quarter of the turns, then falls."""
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=rate, total_steps=turns, pct_start=0.25
    )
    memory = checkpoints.current()
    memory.keep(model=model, optimizer=optimizer, schedule=schedule, batches=batches)
    game = play([Player(name, optimizer, loss)], batches, memory.turns(turns))
    for step in tqdm(game, total=turns, desc=name, unit="step"):
        schedule.step()
        yield Progress(model, step.loss)


@torch.no_grad()
def predict(
    model: nn.Module, images: UInt8[Tensor, "count 3 height width"]
) -> Int[Tensor, "count height width"]:
    """Return the class with the largest logit of every pixel; the model is put in evaluation."""
    model.eval()
    return torch.cat([model(pictures.to_unit(part)).argmax(dim=1) for part in images.split(50)])


def measure(
    model: nn.Module,
    images: UInt8[Tensor, "count 3 height width"],
    masks: UInt8[Tensor, "count height width"],
) -> Int[Tensor, "classes classes"]:
    """Return how many pixels of each class (row) were called each class (column)."""
    return scores.confusion(masks, predict(model, images), CLASSES)


def table(name: str, counts: Int[Tensor, "classes classes"]) -> dict[str, float]:
    """Return the four scores and each class's intersection over union, under a network's name."""
    four = {
        "pixel_accuracy": scores.pixel_accuracy(counts),
        "mean_accuracy": scores.mean_accuracy(counts),
        "mean_iou": scores.mean_iou(counts),
        "weighted_iou": scores.frequency_weighted_iou(counts),
    }
    ious = scores.class_ious(counts).tolist()
    each = {f"iou_{c}": value for c, value in zip(scenes.CLASSES, ious, strict=True)}
    return {f"{name}_{key}": value for key, value in (four | each).items()}


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return ("scenes",)


def models(run: Run) -> dict[str, FCN]:
    """Return the three networks of a run by name, in evaluation mode."""
    found = {}
    for skips, name in NAMES.items():
        model = FCN(_classifier_of(run), skips)
        model.load_state_dict(run.part(name))
        found[name] = model.eval().requires_grad_(False)
    return found


def restore(run: Run) -> FCN:
    """Return the network with both skips, in evaluation mode."""
    return models(run)["FCN-4s"]


def restore_classifier(run: Run) -> nn.Sequential:
    """Return the classifier of windows, as it was before it saw a whole scene."""
    named = _classifier_of(run)
    named.load_state_dict(run.part("classifier"))
    return named.eval().requires_grad_(False)


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights on the test scenes anew."""
    test_set = scenes.load("test")
    images, masks = test_set.images.to(device), test_set.classes.to(device)
    networks = models(run) | {"classifier": FCN(restore_classifier(run)).eval()}
    metrics = {"test_images": float(len(masks))}
    for name, model in networks.items():
        metrics |= table(name, measure(model.to(device), images, masks))
    return metrics


def _classifier_of(run: Run) -> nn.Sequential:
    """Return an untrained classifier of a run's size."""
    stored = run.provenance["config"]
    first, second, third = stored["widths"]
    return classifier((first, second, third), stored["hidden"], CLASSES)


def _records(train_set: SceneSet, test_set: SceneSet) -> list[dict[str, Any]]:
    """Return where both sets came from, as runs keep it."""
    return [
        dataclasses.asdict(part.record)
        | {"name": "scenes", "title": part.record.name, "split": split}
        for split, part in (("train", train_set), ("test", test_set))
    ]
