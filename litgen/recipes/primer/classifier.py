"""Train the book's classifier on pictures of clothes and measure it.

Chapter: book/primer/convolution.md.  Proof: tests/recipes/test_primer_classifier.py.
References: Xiao, Rasul & Vollgraf, "Fashion-MNIST" (2017); Smith & Topin, "Super-Convergence"
(2018), for the one-cycle learning rate.
"""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from litgen import checkpoints
from litgen.classifier import Classifier
from litgen.data import fashion_mnist, mnist
from litgen.data.sources import ImageSet
from litgen.runs import Run
from litgen.shapes import Float, Int, UInt8
from litgen.training import Minibatches, Player, half_rounded, mixed_precision, play

__all__ = [
    "CPU",
    "GPU",
    "Config",
    "Progress",
    "augment",
    "build",
    "data",
    "evaluate",
    "fit",
    "load_data",
    "measure",
    "restore",
    "train",
]

LOADERS: dict[str, Callable[..., ImageSet]] = {
    "mnist": mnist.load,
    "fashion_mnist": fashion_mnist.load,
}
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        data: mnist or fashion_mnist.
        width: channels of the first stage.
        depth: convolutions in a stage.
        dropout: part of the features hidden from the last layer.
        epochs: passes over the training images.
        batch_size: images in a step.
        learning_rate: of Adam at its peak: one cycle up from and down to nearly nothing.
        weight_decay: decoupled, per unit of the learning rate.
        shift: largest random shift, in pixels, up and down, left and right.
        flip: mirror half of the images left to right.
        smoothing: probability mass that the target spreads over all classes.
        mixed: let the network compute in bfloat16 where the hardware has it.
    """

    data: Literal["mnist", "fashion_mnist"] = "fashion_mnist"
    width: int = 16
    depth: int = 1
    dropout: float = 0.2
    epochs: int = 2
    batch_size: int = 128
    learning_rate: float = 4e-3
    weight_decay: float = 0.0
    shift: int = 0
    flip: bool = False
    smoothing: float = 0.0
    mixed: bool = True


CPU = Config()
GPU = Config(
    width=64,
    depth=2,
    dropout=0.4,
    epochs=40,
    batch_size=256,
    learning_rate=5e-3,
    weight_decay=0.02,
    shift=2,
    flip=True,
    smoothing=0.05,
)


class Progress(NamedTuple):
    """Where a training stands after a step; the loss is detached."""

    turn: int
    model: Classifier
    loss: Tensor


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train by lowering the cross-entropy; return weights, the curve and test metrics.

    Raises:
        ValueError: fewer images than one batch.
    """
    train_set, test_set = load_data(config)
    losses: list[Tensor] = []
    checkpoints.current().keep(losses=losses)
    for now in fit(config, train_set.images.to(device), train_set.labels.to(device), seed):
        losses.append(now.loss)
    return package(config, now.model, torch.stack(losses), train_set, test_set)


def fit(
    config: Config,
    images: UInt8[Tensor, "images 1 28 28"],
    labels: Int[Tensor, " images"],
    seed: int,
    loss: Loss | None = None,
) -> Iterator[Progress]:
    """Yield after every step of a training on grey values 0..255, on the device where they lie.

    Args:
        config: what to train and how.
        images: the training images.
        labels: their classes, in the same order.
        seed: of weights, batches, shifts and dropout.
        loss: maps logits and labels to one number; the smoothed cross-entropy unless given.
    """
    torch.manual_seed(seed)  # weights and dropout
    shuffle = torch.Generator().manual_seed(seed)
    draw = torch.Generator(images.device).manual_seed(seed)
    model = build(config).to(images.device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        model.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    turns = config.epochs * (len(images) // config.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, turns)

    def lowered(chosen: Tensor) -> Tensor:
        x = augment(images[chosen], config.shift, config.flip, draw)
        with mixed_precision(x.device, config.mixed):
            logits = model(x.float() / 255).float()
        if loss is not None:
            return loss(logits, labels[chosen])
        return F.cross_entropy(logits, labels[chosen], label_smoothing=config.smoothing)

    rows = torch.arange(len(images), device=images.device)
    batches = Minibatches(rows, config.batch_size, shuffle)
    memory = checkpoints.current()
    memory.keep(model=model, optimizer=optimizer, schedule=schedule, draw=draw, batches=batches)
    game = play([Player("classifier", optimizer, lowered)], batches, memory.turns(turns))
    for step in tqdm(game, total=turns, desc="classifier", unit="step"):
        if step.turn + 1 < turns:
            schedule.step()
        yield Progress(step.turn, model, step.loss)
    model.eval()


def augment(
    images: UInt8[Tensor, "batch 1 height width"],
    shift: int,
    flip: bool,
    generator: torch.Generator,
) -> UInt8[Tensor, "batch 1 height width"]:
    """Shift every image by up to ``shift`` pixels each way, and mirror it at even odds.

    What comes in at the border is black. With shift 0 and no flip nothing is drawn.
    """
    if not (shift or flip):
        return images
    batch, _, height, width = images.shape
    device = images.device

    def drawn(low: int, high: int) -> Tensor:
        return torch.randint(low, high, (batch, 1), generator=generator, device=device)

    rows = drawn(0, 2 * shift + 1) + torch.arange(height, device=device)
    columns = drawn(0, 2 * shift + 1) + torch.arange(width, device=device)
    if flip:
        columns = torch.where(drawn(0, 2) == 1, columns.flip(1), columns)
    padded = F.pad(images, [shift] * 4)[:, 0]
    each = torch.arange(batch, device=device)[:, None, None]
    return padded[each, rows[:, :, None], columns[:, None, :]][:, None]


def build(config: Config) -> Classifier:
    """Return an untrained network."""
    return Classifier(config.width, config.depth, dropout=config.dropout)


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return (config.data,)


def load_data(config: Config) -> tuple[ImageSet, ImageSet]:
    """Return the training and the test set."""
    train_set, test_set = (LOADERS[config.data](split) for split in ("train", "test"))
    return train_set, test_set


def measure(
    model: Classifier, images: UInt8[Tensor, "images 1 28 28"], labels: Int[Tensor, " images"]
) -> dict[str, float]:
    """Return accuracy and cross-entropy in nats on images of grey values 0..255.

    In single precision and in evaluation mode, whatever mode the network is in.
    """
    was_training = model.training
    model.eval()
    probabilities = model.probabilities(images.float() / 255)
    model.train(was_training)
    log_prob = probabilities.gather(1, labels.long()[:, None]).clamp_min(1e-30).log()
    return {
        "test_accuracy": (probabilities.argmax(dim=1) == labels).float().mean().item(),
        "test_cross_entropy_nats": -log_prob.mean().item(),
        "test_images": len(images),
    }


def package(
    config: Config,
    model: Classifier,
    losses: Float[Tensor, " steps"],
    train_set: ImageSet,
    test_set: ImageSet,
) -> Run:
    """Round the weights to what is stored, measure them, and return the run."""
    half_rounded(model)
    device = losses.device
    curve = torch.tensor_split(losses.cpu(), min(100, len(losses)))
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors["examples.x"] = test_set.images[:200]
    tensors["examples.label"] = test_set.labels[:200].to(torch.uint8)
    return Run(
        tensors=tensors,
        metrics=measure(model, test_set.images.to(device), test_set.labels.to(device))
        | {"parameters": sum(p.numel() for p in model.parameters())},
        history={"train_loss_nats": [part.mean().item() for part in curve]},
        data=[
            dataclasses.asdict(images.record)
            | {"name": config.data, "title": images.record.name, "split": split}
            for split, images in (("train", train_set), ("test", test_set))
        ],
    )


def restore(run: Run) -> Classifier:
    """Return the network of a run, in evaluation mode and single precision."""
    model = build(Config(**run.provenance["config"]))
    model.load_state_dict(run.part("model"))
    return model.eval().requires_grad_(False)


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights on the test set anew."""
    test_set = load_data(Config(**run.provenance["config"]))[1]
    model = restore(run).to(device)
    counted = {"parameters": sum(p.numel() for p in model.parameters())}
    return measure(model, test_set.images.to(device), test_set.labels.to(device)) | counted
