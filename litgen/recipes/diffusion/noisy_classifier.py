"""Train a classifier on noisy digits: it is told the time, and names what was under the noise.

Chapter: book/diffusion/guidance.md.  Proof: tests/recipes/test_noisy_classifier.py.
Reference: Dhariwal & Nichol, "Diffusion Models Beat GANs on Image Synthesis" (2021), section 4.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from litgen import checkpoints
from litgen.data import mnist
from litgen.data.sources import ImageSet
from litgen.diffusion import ddpm
from litgen.diffusion import schedule as schedules
from litgen.diffusion.schedule import Schedule
from litgen.runs import Run
from litgen.shapes import Float, Int, UInt8
from litgen.training import Minibatches, Player, half_rounded, mixed_precision, play
from litgen.unet import ResidualBlock, sinusoidal

__all__ = [
    "CPU",
    "GPU",
    "Config",
    "NoisyClassifier",
    "Progress",
    "data",
    "evaluate",
    "fit",
    "load_data",
    "measure",
    "restore",
    "schedule_of",
    "train",
]

CLASSES = 10
SIDE = 28
PATCH = 4
"""Blocks of 4 x 4 pixels become channels, so that all convolutions work on 7 x 7 places."""
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""The times, as shares of T, at which accuracy is measured."""


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        width: channels.
        blocks: residual blocks.
        steps: T.
        schedule: linear or cosine, that of the diffusion model to be guided.
        turns: updates.
        batch_size: images in a step.
        learning_rate: of Adam at its peak: one cycle up from and down to nearly nothing.
        test_images: images of the test set whose noisy versions are named.
        mixed: let the network compute in bfloat16 where the hardware has it.
    """

    width: int = 48
    blocks: int = 1
    steps: int = 1_000
    schedule: Literal["linear", "cosine"] = "cosine"
    turns: int = 250
    batch_size: int = 128
    learning_rate: float = 3e-3
    test_images: int = 1_000
    mixed: bool = True


CPU = Config()
GPU = Config(width=192, blocks=2, turns=10_000, batch_size=512, test_images=10_000)


class NoisyClassifier(nn.Module):
    """Blocks of pixels as channels, residual blocks that are told the time, a linear layer.

    Args:
        config: width and blocks.
    """

    def __init__(self, config: Config):
        super().__init__()
        width = config.width
        self.width = width
        self.time = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU())
        self.first = nn.Conv2d(PATCH**2, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            ResidualBlock(width, width, 2 * width) for _ in range(config.blocks)
        )
        self.head = nn.Linear(width * (SIDE // PATCH) ** 2, CLASSES)

    def forward(
        self, x_t: Float[Tensor, "batch 1 28 28"], t: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch classes"]:
        """Return one logit a class, given images of [-1, 1] under the noise of time t."""
        condition = self.time(sinusoidal(t.to(x_t.device), self.width).to(x_t.dtype))
        h = self.first(nn.functional.pixel_unshuffle(x_t, PATCH))
        for block in self.blocks:
            h = block(h, condition)
        logits: Tensor = self.head(nn.functional.silu(h).flatten(1))
        return logits


class Progress(NamedTuple):
    """Where a training stands after a step; the loss is detached."""

    turn: int
    model: NoisyClassifier
    loss: Tensor


def schedule_of(config: Config) -> Schedule:
    """Return the noise schedule of a config."""
    make = {"linear": schedules.linear, "cosine": schedules.cosine}[config.schedule]
    return make(config.steps)


def to_unit(grey: UInt8[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Map grey values 0..255 to [-1, 1]."""
    return grey.float() / 127.5 - 1


def fit(
    config: Config,
    images: UInt8[Tensor, "images 1 28 28"],
    labels: Int[Tensor, " images"],
    seed: int,
) -> Iterator[Progress]:
    """Yield after every step of a training, on the device where the images lie.

    Every image of a batch gets a time of its own, drawn evenly from 0..T, and noise to match; the
    loss is the mean cross-entropy in nats.
    """
    torch.manual_seed(seed)  # weights
    device, times = images.device, schedule_of(config)
    shuffle, draw = torch.Generator().manual_seed(seed), torch.Generator(device).manual_seed(seed)
    clock = torch.Generator().manual_seed(seed)
    model = NoisyClassifier(config).to(device)
    optimizer = torch.optim.Adam(model.parameters(), config.learning_rate, fused=True)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, config.turns)

    def loss(chosen: Tensor) -> Tensor:
        x = to_unit(images[chosen])
        t = torch.randint(0, config.steps + 1, (len(x),), generator=clock)
        noise = torch.randn(x.shape, generator=draw, device=device)
        with mixed_precision(device, config.mixed):
            logits = model(ddpm.diffuse(x, t, noise, times), t).float()
        return nn.functional.cross_entropy(logits, labels[chosen].long())

    rows = torch.arange(len(images), device=device)
    batches = Minibatches(rows, config.batch_size, shuffle)
    memory = checkpoints.current()
    memory.keep(model=model, optimizer=optimizer, rate=rate)
    memory.keep(draw=draw, clock=clock, batches=batches)
    game = play([Player("classifier", optimizer, loss)], batches, memory.turns(config.turns))
    for step in tqdm(game, total=config.turns, desc="noisy classifier", unit="step"):
        if step.turn + 1 < config.turns:
            rate.step()
        yield Progress(step.turn, model, step.loss)
    model.eval()


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train on all images; return weights, the curve and the accuracy at eleven times."""
    train_set, test_set = load_data(config)
    losses: list[Tensor] = []
    checkpoints.current().keep(losses=losses)
    for now in fit(config, train_set.images.to(device), train_set.labels.to(device), seed):
        losses.append(now.loss)
    half_rounded(now.model)
    curve = torch.tensor_split(torch.stack(losses).cpu(), min(100, len(losses)))
    return Run(
        tensors={f"model.{name}": value for name, value in now.model.state_dict().items()},
        metrics=measure(config, now.model, test_set.images.to(device), test_set.labels.to(device))
        | {"parameters": sum(p.numel() for p in now.model.parameters())},
        history={"train_loss_nats": [part.mean().item() for part in curve]},
        data=[
            dataclasses.asdict(part.record)
            | {"name": "mnist", "title": part.record.name, "split": split}
            for split, part in (("train", train_set), ("test", test_set))
        ],
    )


@torch.no_grad()
def measure(
    config: Config,
    model: NoisyClassifier,
    images: UInt8[Tensor, "images 1 28 28"],
    labels: Int[Tensor, " images"],
) -> dict[str, float]:
    """Return the accuracy on the first test images under the noise of 11 times, 0 to T.

    The names say the time in percent of T: ``test_accuracy_40`` is at t = 0.4 T.
    """
    x, truth = to_unit(images[: config.test_images]), labels[: config.test_images]
    times, generator = schedule_of(config), torch.Generator(x.device).manual_seed(0)
    noise = torch.randn(x.shape, generator=generator, device=x.device)
    found: dict[str, float] = {}
    for share in SHARES:
        t = torch.full((len(x),), round(share * config.steps))
        right = model(ddpm.diffuse(x, t, noise, times), t).argmax(dim=1) == truth
        found[f"test_accuracy_{share:.0%}".rstrip("%")] = right.float().mean().item()
    return found | {"test_images": len(x)}


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return ("mnist",)


def load_data(config: Config) -> tuple[ImageSet, ImageSet]:
    """Return the training and the test set."""
    return mnist.load("train"), mnist.load("test")


def config_of(run: Run) -> Config:
    """Return a run's config."""
    return Config(**run.provenance["config"])


def restore(run: Run) -> NoisyClassifier:
    """Return the network of a run, in evaluation mode."""
    model = NoisyClassifier(config_of(run))
    model.load_state_dict(run.part("model"))
    return model.eval().requires_grad_(False)


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights on the test set anew."""
    config, test_set, model = config_of(run), load_data(config_of(run))[1], restore(run)
    counted = {"parameters": sum(p.numel() for p in model.parameters())}
    found = measure(
        config, model.to(device), test_set.images.to(device), test_set.labels.to(device)
    )
    return found | counted
