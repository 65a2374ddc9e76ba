"""Train a network to read styles off paintings, and see what it makes of paintings it never saw.

Chapter: book/style/arbitrary.md.  Proof: tests/recipes/test_style_arbitrary.py.
Reference: Ghiasi, Lee, Kudlur, Dumoulin & Shlens, "Exploring the structure of a real-time,
arbitrary neural artistic stylization network" (2017).

Styles are crops of six paintings, so that there are more than six of them. Two paintings are held
out. What the network predicts for them is compared with the least loss that any style of the
training gives them, and with the pixels that are optimised for them.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from litgen import checkpoints
from litgen.data import paintings
from litgen.recipes import pictures
from litgen.recipes.style import fast
from litgen.runs import Run
from litgen.shapes import Float, Int
from litgen.style.perceptual import Judge
from litgen.style.prediction import StylePredictor, statistics
from litgen.style.transfer_network import TransferNetwork
from litgen.training import Minibatches, Player, half_rounded, play

__all__ = [
    "CPU",
    "GPU",
    "Config",
    "Reader",
    "config_of",
    "data",
    "evaluate",
    "fit",
    "restore",
    "sample",
    "styles_of",
    "train",
]

HELD_OUT = (0, 3)
"""The paintings that nothing is trained on, as places in `paintings.NAMES`."""

CROPS = 2
"""Crops of the held-out photograph that a training is measured on."""
BASE = dataclasses.replace(fast.CPU, styles=(1, 2, 4, 5, 6, 7), turns=200)


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        base: network, pictures and loss as in `litgen.recipes.style.fast`; its styles are the
            paintings that are trained on, its turns and rates those of this training.
        bottleneck: numbers in which a style is told.
        variants: crops of each painting that serve as styles.
        crop: side of these crops, in pixels.
    """

    base: fast.Config = BASE
    bottleneck: int = 12
    variants: int = 8
    crop: int = 96


CPU = Config()
GPU = Config(
    base=dataclasses.replace(fast.GPU, styles=(1, 2, 4, 5, 6, 7), turns=30_000),
    bottleneck=100,
    variants=64,
    crop=160,
)


class Reader(nn.Module):
    """A transfer network, and a predictor of its gains and biases."""

    def __init__(self, config: Config, mean: Tensor, sd: Tensor):
        super().__init__()
        base = config.base
        parts = base.norm, base.padding, base.upsampling
        self.network = TransferNetwork(base.widths, base.blocks, base.kernel, *parts)
        self.predictor = StylePredictor(mean, sd, config.bottleneck, self.network.plain())

    def forward(
        self,
        images: Float[Tensor, "batch 3 height width"],
        numbers: Float[Tensor, "rows numbers"],
    ) -> Float[Tensor, "batch 3 height width"]:
        """Return pictures in the styles that have these statistics, a row each or one for all."""
        painted: Tensor = self.network(images, self.predictor(numbers))
        return painted


class Styles(NamedTuple):
    """Statistics of paintings, and Gram matrices layer by layer, a row for each."""

    numbers: Float[Tensor, "styles numbers"]
    grams: tuple[Float[Tensor, "styles _ _"], ...]


@torch.no_grad()
def styles_of(judged: Judge, images: list[Tensor]) -> Styles:
    """Return what a predictor reads, and what a loss compares, of pictures of any sizes."""
    numbers, rows = [], []
    for image in images:
        found = judged.features(image[None], judged.style_layers)
        numbers.append(statistics([found[name] for name in judged.style_layers]))
        rows.append(judged.style(image[None]))
    return Styles(torch.cat(numbers), tuple(torch.cat(g) for g in zip(*rows, strict=True)))


def training_styles(config: Config, seed: int, device: torch.device) -> list[Tensor]:
    """Return crops of the paintings to train on, these in turn."""
    images = paintings.load().images
    shrunk = [fast.shrunk(images[i], config.base.size) for i in config.base.styles]
    count = config.variants * len(shrunk)
    found = fast.crops(shrunk, count, config.crop, torch.Generator().manual_seed(seed))
    return list(found.to(device))


class Progress(NamedTuple):
    """Where a training stands after a turn; the loss is a detached mean over the batch."""

    turn: int
    reader: Reader
    loss: Tensor


def fit(config: Config, found: fast.Material, styles: Styles, seed: int) -> Iterator[Progress]:
    """Yield after every update, on the device of the material.

    Each step draws as many styles as crops; a crop is painted in the style of its own row.
    """
    torch.manual_seed(seed)  # weights
    base, device = config.base, found.pool.device
    mean, sd = styles.numbers.mean(dim=0), styles.numbers.std(dim=0).clamp(min=1e-3)
    reader = Reader(config, mean, sd).to(device)
    optimizer = torch.optim.Adam(reader.parameters(), base.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, base.learning_rate, total_steps=base.turns + 1, pct_start=0.15
    )
    draws = torch.Generator().manual_seed(seed + 1)

    def loss(rows: Int[Tensor, " batch"]) -> Tensor:
        """Return the mean loss of crops in styles drawn evenly."""
        which = torch.randint(len(styles.numbers), (len(rows),), generator=draws).to(device)
        painted = reader(found.pool[rows], styles.numbers[which])
        wanted = [gram[which] for gram in styles.grams]
        return found.judge(painted, found.content[rows], wanted).total.mean()

    order = torch.Generator().manual_seed(seed)
    batches = Minibatches(torch.arange(len(found.pool), device=device), base.batch_size, order)
    memory = checkpoints.current()
    memory.keep(reader=reader, optimizer=optimizer, schedule=schedule)
    memory.keep(batches=batches, draws=draws)
    game = play([Player("reader", optimizer, loss)], batches, memory.turns(base.turns))
    for step in tqdm(game, total=base.turns, desc="arbitrary style", unit="step"):
        schedule.step()
        yield Progress(step.turn, reader, step.loss)


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train; keep the network and its predictor, and what held-out paintings come to."""
    found = fast.material(config.base, seed, device)
    losses: list[Tensor] = []
    checkpoints.current().keep(losses=losses)
    with pictures.one_thread(device):
        styles = styles_of(found.judge, training_styles(config, seed, device))
        for now in fit(config, found, styles, seed):
            losses.append(now.loss)
        reader = now.reader.eval().requires_grad_(False)
        half_rounded(reader)
        metrics = measure(config, found, reader)
    return Run(
        tensors={f"model.{name}": value for name, value in reader.state_dict().items()},
        metrics=metrics | {"turns": config.base.turns, "training_styles": len(styles.numbers)},
        history={"loss": pictures.curve(losses)},
        data=found.records,
    )


def measure(config: Config, found: fast.Material, reader: Reader) -> dict[str, float]:
    """Return mean losses on crops of the held-out photograph, for seen and held-out paintings.

    "predicted" is painted with what the predictor reads off the painting itself, "other" with the
    best of the paintings that were trained on (for those, the best of the others), "mean" with
    mean statistics, "untouched" is the crop itself, and "slow" the pixels after the slow steps.
    """
    base, device = config.base, found.pool.device
    images = [fast.shrunk(image, base.size).to(device) for image in paintings.load().images]
    styles = styles_of(found.judge, images)
    test, content = found.test[:CROPS], found.test_content[:CROPS]

    def mean_loss(painted: Tensor, wanted: int) -> float:
        grams = [gram[wanted : wanted + 1] for gram in styles.grams]
        with torch.no_grad():
            return found.judge(painted, content, grams).total.mean().item()

    metrics: dict[str, float] = {}
    for kind, places in (("seen", base.styles), ("held_out", HELD_OUT)):
        rows: dict[str, list[float]] = {}
        for place in places:
            with torch.no_grad():
                by_style = [mean_loss(reader(test, row[None]), place) for row in styles.numbers]
                average = mean_loss(reader(test, reader.predictor.mean[None]), place)
            grams = [gram[place : place + 1] for gram in styles.grams]
            others = [by_style[i] for i in base.styles if i != place]
            rows.setdefault("predicted", []).append(by_style[place])
            rows.setdefault("other", []).append(min(others))
            rows.setdefault("mean", []).append(average)
            rows.setdefault("untouched", []).append(mean_loss(test, place))
            if kind == "held_out":
                way = fast.optimised(
                    found.judge, test, content, grams, base.slow_steps, base.slow_rate
                )
                *_, pixels = way
                rows.setdefault("slow", []).append(mean_loss(pixels, place))
        metrics |= {f"{kind}_{name}": sum(v) / len(v) for name, v in rows.items()}
    return metrics


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return fast.DATA


def config_of(run: Run) -> Config:
    """Return a run's config; a file's JSON holds tuples as lists and a config in a dictionary."""
    stored = dict(run.provenance["config"])
    base = dict(stored["base"])
    base |= {name: tuple(base[name]) for name in ("styles", "widths", "style_layers")}
    return Config(**stored | {"base": fast.Config(**base)})


def restore(run: Run) -> Reader:
    """Return a run's network and predictor."""
    weights = run.part("model")
    reader = Reader(config_of(run), weights["predictor.mean"], weights["predictor.sd"])
    reader.load_state_dict(weights)
    return reader.eval().requires_grad_(False)


@torch.no_grad()
def sample(run: Run, count: int, generator: torch.Generator) -> Float[Tensor, "count 3 side side"]:
    """Return crops of the held-out photograph in the styles of the held-out paintings, in turn."""
    config, reader = config_of(run), restore(run)
    found = fast.material(config.base, run.provenance["seed"], torch.device("cpu"))
    images = paintings.load().images
    wanted = [fast.shrunk(images[i], config.base.size) for i in HELD_OUT]
    numbers = styles_of(found.judge, wanted).numbers[torch.arange(count) % len(HELD_OUT)]
    rows = torch.randint(len(found.test), (count,), generator=generator)
    painted: Tensor = reader(found.test[rows], numbers)
    return painted


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights on the test crops anew."""
    config = config_of(run)
    found = fast.material(config.base, run.provenance["seed"], device)
    with pictures.one_thread(device):
        measured = measure(config, found, restore(run).to(device))
    return measured | {name: run.metrics[name] for name in ("turns", "training_styles")}
