"""Train a small network to read six attributes off drawn faces.

Chapter: book/gan/faces.md.  Proof: tests/recipes/test_gan_face_reader.py.
Reference: Radford, Metz & Chintala (2016), section 3, whose guidelines for critics it follows.

It says what generated faces have, so that arithmetic on their codes can be counted; its features
judge generated faces as those of `litgen.classifier` judge digits.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from litgen import checkpoints
from litgen.data import drawn_faces
from litgen.gan.networks import ConvCritic
from litgen.recipes import pictures
from litgen.runs import Run
from litgen.shapes import Bool, Float, UInt8
from litgen.training import Minibatches, Player, half_rounded, mixed_precision, play

__all__ = [
    "CPU",
    "FEATURES",
    "GPU",
    "Config",
    "Reader",
    "data",
    "evaluate",
    "fit",
    "measure",
    "restore",
    "train",
]

FEATURES = 128
"""Numbers that describe a face in the layer before the logits."""


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        widths: channels of the stages, finest first.
        turns: updates.
        batch_size: faces in a step.
        learning_rate: of Adam at the peak of one cycle.
        mixed: let the network compute in bfloat16 where the hardware has it.
    """

    widths: tuple[int, ...] = (16, 32, 64)
    turns: int = 200
    batch_size: int = 100
    learning_rate: float = 1e-2
    mixed: bool = True


CPU = Config()
GPU = Config(widths=(64, 128, 256), turns=3_000, batch_size=250, learning_rate=3e-3)


class Reader(nn.Module):
    """Faces to one logit an attribute, positive where it is there; colours are in [-1, 1]."""

    def __init__(self, widths: tuple[int, ...]):
        super().__init__()
        self.trunk = ConvCritic(widths, channels=3, side=drawn_faces.SIDE)
        self.trunk.head = nn.Sequential()
        pixels = (drawn_faces.SIDE // 2 ** len(widths)) ** 2
        self.embed = nn.Sequential(nn.Linear(widths[-1] * pixels, FEATURES), nn.ReLU())
        self.head = nn.Linear(FEATURES, len(drawn_faces.ATTRIBUTES))

    def features(self, x: Float[Tensor, "batch 3 32 32"]) -> Float[Tensor, "batch 128"]:
        """Return what the last layer sees: 128 numbers a face, none of them negative."""
        found: Tensor = self.embed(self.trunk.features(x))
        return found

    def forward(self, x: Float[Tensor, "batch 3 32 32"]) -> Float[Tensor, "batch 6"]:
        """Return logits."""
        logits: Tensor = self.head(self.features(x))
        return logits


class Progress(NamedTuple):
    """Where a training stands after a step; the loss is detached."""

    turn: int
    model: Reader
    loss: Tensor


def fit(
    config: Config,
    images: UInt8[Tensor, "faces 3 32 32"],
    has: Bool[Tensor, "faces 6"],
    seed: int,
) -> Iterator[Progress]:
    """Yield after every step of a training, on the device of the images."""
    torch.manual_seed(seed)  # weights
    shuffle = torch.Generator().manual_seed(seed)
    model = Reader(config.widths).to(images.device)
    optimizer = torch.optim.Adam(model.parameters(), config.learning_rate, fused=True)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, config.turns)

    def loss(rows: Tensor) -> Tensor:
        x = pictures.to_unit(images.index_select(0, rows))
        with mixed_precision(x.device, config.mixed):
            logits = model(x)
        return F.binary_cross_entropy_with_logits(logits.float(), has[rows].float())

    rows = torch.arange(len(images), device=images.device)
    batches = Minibatches(rows, config.batch_size, shuffle)
    memory = checkpoints.current()
    memory.keep(model=model, optimizer=optimizer, rate=rate, batches=batches)
    game = play([Player("reader", optimizer, loss)], batches, memory.turns(config.turns))
    for step in tqdm(game, total=config.turns, desc="reader", unit="step"):
        if step.turn + 1 < config.turns:
            rate.step()
        yield Progress(step.turn, model, step.loss)


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train on all faces; return weights, the curve and how often each attribute is read right."""
    train_set, test_set = pictures.load("drawn_faces")
    has = drawn_faces.attributes(train_set.labels).to(device)
    losses: list[Tensor] = []
    checkpoints.current().keep(losses=losses)
    for now in fit(config, train_set.images.to(device), has, seed):
        losses.append(now.loss)
    model = now.model.eval()
    half_rounded(model)
    return Run(
        tensors={f"model.{name}": value for name, value in model.state_dict().items()},
        metrics=measure(model, test_set.images.to(device), test_set.labels.to(device)),
        history={"train_loss_nats": pictures.curve(losses)},
        data=pictures.records("drawn_faces", train_set, test_set),
    )


@torch.no_grad()
def measure(model: Reader, images: Tensor, labels: Tensor) -> dict[str, float]:
    """Return the share of faces of which each attribute is read right, and of which all are."""
    logits = torch.cat([model(pictures.to_unit(part)) for part in images.split(500)])
    right = (logits > 0) == drawn_faces.attributes(labels)
    names = [name.replace(" ", "_") for name in drawn_faces.ATTRIBUTES]
    each = {
        f"test_accuracy_{n}": r.item() for n, r in zip(names, right.double().mean(0), strict=True)
    }
    whole = right.all(dim=1).double().mean().item()
    return each | {"test_accuracy_all_six": whole, "test_images": len(images)}


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return ("drawn_faces",)


def restore(run: Run) -> Reader:
    """Return the network of a run, in evaluation mode."""
    model = Reader(tuple(run.provenance["config"]["widths"]))
    model.load_state_dict(run.part("model"))
    return model.eval().requires_grad_(False)


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights on the test faces anew."""
    test_set = pictures.load("drawn_faces")[1]
    return measure(restore(run).to(device), test_set.images.to(device), test_set.labels.to(device))
