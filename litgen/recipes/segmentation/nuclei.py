"""Train a U-Net from one image: on windows of its left part, bent and as they are.

Chapter: book/segmentation/unet.md.  Proof: tests/recipes/test_segmentation_nuclei.py.
Reference: Ronneberger, Fischer & Brox (2015), section 3.1.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from litgen import checkpoints
from litgen.data import nuclei
from litgen.recipes import pictures
from litgen.recipes.segmentation import cells
from litgen.runs import Run
from litgen.segmentation import scores, tiles
from litgen.segmentation.unet import UNet
from litgen.shapes import Float, UInt8
from litgen.training import half_rounded

__all__ = [
    "CPU",
    "GPU",
    "VARIANTS",
    "Config",
    "answers",
    "data",
    "evaluate",
    "measure",
    "models",
    "restore",
    "train",
    "windows",
]

VARIANTS = {"bent": True, "straight": False}
"""Each network's name, and whether its training windows are bent."""


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        variants: the networks, see `VARIANTS`; all start from the same seed.
        columns: of the training part that are used, from its left; the whole part at most.
        side: of a training window, in pixels.
        stride: from one window to the next.
        widths: channels of the levels, the image's own first.
        turns: updates of each network.
        batch_size: windows in a step.
        learning_rate: of Adam at the peak of one cycle.
        spread: standard deviation of the displacements, in pixels.
        height: of the weight where two nuclei meet.
        sigma: how far that weight reaches, in pixels.
        mixed: let networks compute in bfloat16 where the hardware has it.
    """

    variants: tuple[str, ...] = ("bent",)
    columns: int = 128
    side: int = 64
    stride: int = 32
    widths: tuple[int, ...] = (8, 16, 32, 64)
    turns: int = 90
    batch_size: int = 6
    learning_rate: float = 1e-2
    spread: float = 3.0
    height: float = 3.0
    sigma: float = 4.0
    mixed: bool = True


CPU = Config()
GPU = Config(
    variants=("bent", "straight"),
    columns=320,
    widths=(64, 128, 256, 512),
    turns=2_000,
    batch_size=24,
    learning_rate=2e-3,
)


@dataclass(frozen=True)
class Bent:
    """What `cells.fit` reads, with the displacements of one variant."""

    widths: tuple[int, ...]
    turns: int
    batch_size: int
    learning_rate: float
    bend: float
    mixed: bool


def windows(
    image: UInt8[Tensor, "*channels height width"], side: int, stride: int
) -> UInt8[Tensor, "count *channels side side"]:
    """Cut an image into overlapping squares, row by row; what is left over at the end is not used.

    Raises:
        ValueError: an image smaller than one square.
    """
    if min(image.shape[-2:]) < side:
        raise ValueError(f"no window of {side} fits into {tuple(image.shape[-2:])} pixels")
    cut = image.unfold(-2, side, stride).unfold(-2, side, stride)
    first = image.ndim - 2
    return cut.movedim((first, first + 1), (0, 1)).flatten(0, 1).contiguous()


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train every variant on the left of the image; return weights, curves and scores."""
    train_set, test_set = nuclei.load("train"), nuclei.load("test")
    parts = (train_set.images[0], train_set.cells[0])
    cut = [windows(p[..., : config.columns], config.side, config.stride) for p in parts]
    given = cells.examples(cut[0], cut[1], config.sigma)
    given = cells.Examples(*(part.to(device) for part in given))
    tensors = {"examples.images": test_set.images, "examples.cells": test_set.cells}
    metrics = {"windows": float(len(cut[0]))}
    history = {}
    for name in config.variants:
        losses: list[Tensor] = []
        bend = config.spread if VARIANTS[name] else 0.0
        rest = config.widths, config.turns, config.batch_size, config.learning_rate
        bent = Bent(*rest, bend, config.mixed)
        with checkpoints.part(name) as memory:
            memory.keep(losses=losses)
            for now in cells.fit(
                bent, given, cells.inside, seed, height=config.height, title=name
            ):
                losses.append(now.loss)
        model = now.model.eval()
        half_rounded(model)
        found = measure(model, test_set.images.to(device), test_set.cells)
        metrics |= {f"{name}_{key}": value for key, value in found.items()}
        history[f"{name}_loss_nats"] = pictures.curve(losses)
        tensors |= {f"{name}.{key}": value for key, value in model.state_dict().items()}
    records = cells.records(train_set, test_set, "nuclei")
    return Run(tensors=tensors, metrics=metrics, history=history, data=records)


@torch.no_grad()
def answers(
    model: UNet, images: UInt8[Tensor, "count 1 height width"], tile: int = 128
) -> Float[Tensor, "count classes height width"]:
    """Return the logits of whole images, computed tile by tile with a mirrored margin."""
    levels = len(model.down)
    period = 2 ** (levels - 1)
    edge = tiles.reach(levels) + -tiles.reach(levels) % period
    side = tile + -tile % period
    return tiles.stitched(model, pictures.to_unit(images), side, edge, side + 2 * edge)


def measure(
    model: UNet, images: UInt8[Tensor, "count 1 height width"], labels: Tensor
) -> dict[str, float]:
    """Return mean intersection over union and the nuclei found apart, see `cells.counted`."""
    predicted = answers(model, images).argmax(dim=1).cpu()
    counts = scores.confusion(cells.inside(labels.long()).long(), predicted, 2)
    return {"mean_iou": scores.mean_iou(counts), **cells.counted(labels, predicted)}


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return ("nuclei",)


def models(run: Run) -> dict[str, UNet]:
    """Return every network of a run by its name, in evaluation mode."""
    config, found = run.provenance["config"], {}
    for name in config["variants"]:
        model = UNet(1, 2, tuple(config["widths"]))
        model.load_state_dict(run.part(name))
        found[name] = model.eval().requires_grad_(False)
    return found


def restore(run: Run) -> UNet:
    """Return the first network of a run, in evaluation mode."""
    return models(run)[run.provenance["config"]["variants"][0]]


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights on the right part of the image anew."""
    test_set = nuclei.load("test")
    metrics = {"windows": run.metrics["windows"]}
    for name, model in models(run).items():
        values = measure(model.to(device), test_set.images.to(device), test_set.cells)
        metrics |= {f"{name}_{key}": value for key, value in values.items()}
    return metrics
