"""Train dense autoencoders with codes of several sizes, from random weights and from PCA.

Chapter: book/autoencoders/dense.md.  Proof: tests/recipes/test_autoencoders_dense.py.
References: Hinton & Salakhutdinov (2006), who start from restricted Boltzmann machines; PCA is a
start in closed form.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from litgen import checkpoints
from litgen.autoencoders import linear
from litgen.autoencoders.dense import CorrectedAutoencoder, DenseAutoencoder, squared_error
from litgen.recipes import pictures
from litgen.runs import Run
from litgen.shapes import Float, UInt8
from litgen.training import Minibatches, Player, half_rounded, mixed_precision, play

__all__ = [
    "CPU",
    "GPU",
    "Axes",
    "Config",
    "Model",
    "axes_of",
    "data",
    "evaluate",
    "fit",
    "made",
    "measure",
    "models",
    "restore",
    "train",
]

Model = DenseAutoencoder | CorrectedAutoencoder


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        data: mnist or fashion_mnist, as grey values.
        latents: code sizes of the models that start from PCA.
        random: code sizes of the models that start from random weights.
        hidden: widths of the layers from the image to the code.
        steps: updates of each model.
        batch_size: images in a step.
        learning_rate: of Adam at the peak of one cycle.
        mixed: let networks compute in bfloat16 where the hardware has it.
    """

    data: Literal["mnist", "fashion_mnist"] = "fashion_mnist"
    latents: tuple[int, ...] = (2, 4, 8, 16, 32)
    random: tuple[int, ...] = (16,)
    hidden: tuple[int, ...] = (128, 64)
    steps: int = 220
    batch_size: int = 128
    learning_rate: float = 2e-3
    mixed: bool = True


CPU = Config()
GPU = Config(random=(2, 16), steps=20_000, batch_size=512, learning_rate=1e-3)


class Progress(NamedTuple):
    """Where a training stands after a step; the loss is detached."""

    turn: int
    model: Model
    loss: Tensor


class Axes(NamedTuple):
    """Mean, eigenvectors and eigenvalues of the training images, the largest first."""

    mean: Tensor
    directions: Tensor
    variances: Tensor


def axes_of(x: Float[Tensor, "images pixels"]) -> Axes:
    """Return the principal axes of images."""
    known = linear.moments(x)
    return Axes(known.mean, *linear.principal_directions(known.covariance, x.shape[1]))


def made(config: Config, name: str, axes: Axes | None = None) -> Model:
    """Return an untrained model: ``pca-16`` starts from PCA, ``random-16`` from the mean image.

    Raises:
        ValueError: another name.
    """
    start, _, latent = name.partition("-")
    if start not in ("pca", "random") or not latent.isdigit():
        raise ValueError(f"models are called pca-16 or random-16, not {name}")
    d = int(latent)
    if start == "random":
        plain = DenseAutoencoder(784, config.hidden, d)
        if axes is not None:
            with torch.no_grad():
                list(plain.decode.parameters())[-1].copy_(axes.mean)
        return plain
    model = CorrectedAutoencoder(784, config.hidden, d)
    if axes is not None:
        model.line.start_at(axes.mean, axes.directions[:, :d], axes.variances[:d])
    return model


def names(config: Config) -> list[str]:
    """Return the models of a config."""
    starts = {"pca": config.latents, "random": config.random}
    return [f"{start}-{latent}" for start, sizes in starts.items() for latent in sizes]


def fit(
    config: Config,
    name: str,
    pixels: UInt8[Tensor, "images 784"],
    axes: Axes,
    seed: int,
) -> Iterator[Progress]:
    """Yield after every step of a training on grey values, on the device where they lie."""
    torch.manual_seed(seed)  # weights
    model = made(config, name, axes).to(pixels.device)
    rate = config.learning_rate * (2.5 if name.startswith("random") else 1)
    optimizer = torch.optim.Adam(model.parameters(), rate, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, config.steps)

    def loss(batch: Tensor) -> Tensor:
        x = batch.float() / 255
        with mixed_precision(x.device, config.mixed):
            reconstruction = model(x)
        return squared_error(x, reconstruction.float()).mean()

    batches = Minibatches(pixels, config.batch_size, torch.Generator().manual_seed(seed))
    memory = checkpoints.current()
    memory.keep(model=model, optimizer=optimizer, schedule=schedule, batches=batches)
    game = play([Player(name, optimizer, loss)], batches, memory.turns(config.steps))
    for step in tqdm(game, total=config.steps, desc=name, unit="step"):
        if step.turn + 1 < config.steps:
            schedule.step()
        yield Progress(step.turn, model, step.loss)


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train every model from the same seed; return weights, curves and test errors."""
    train_set, test_set = pictures.load(config.data)
    pixels = train_set.images.flatten(1).to(device)
    x = test_set.images.flatten(1).to(device).float() / 255
    axes = axes_of(pixels.float() / 255)
    tensors: dict[str, Tensor] = {"examples.pixels": test_set.images[:200].flatten(1)}
    metrics, history = _linear_errors(config, axes, x), {}
    for name in names(config):
        losses: list[Tensor] = []
        with checkpoints.part(name) as memory:
            memory.keep(losses=losses)
            for now in fit(config, name, pixels, axes, seed):
                losses.append(now.loss)
        half_rounded(now.model)
        metrics |= {f"{name}_{key}": value for key, value in measure(now.model, x).items()}
        history[f"{name}_loss"] = pictures.curve(losses)
        tensors |= {f"{name}.{key}": value for key, value in now.model.state_dict().items()}
    return Run(
        tensors=tensors,
        metrics=metrics | {"test_images": float(len(x))},
        history=history,
        data=pictures.records(config.data, train_set, test_set),
    )


def _linear_errors(config: Config, axes: Axes, x: Tensor) -> dict[str, float]:
    """Return PCA's errors on the training data, in closed form, and on the test images."""
    found = {}
    centred = x - axes.mean
    for latent in config.latents:
        kept = axes.directions[:, :latent]
        error = squared_error(centred, centred @ kept @ kept.T).mean()
        found[f"linear-{latent}_test_error"] = error.item()
        found[f"linear-{latent}_train_error"] = axes.variances[latent:].sum().item()
    return found


@torch.no_grad()
def measure(model: Model, x: Float[Tensor, "images 784"]) -> dict[str, float]:
    """Return the mean squared error of images, summed over pixels, and the model's size."""
    errors = torch.cat([squared_error(part, model(part)) for part in x.split(1000)])
    weights = sum(parameter.numel() for parameter in model.parameters())
    return {"test_error": errors.mean().item(), "parameters": float(weights)}


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return (config.data,)


def models(run: Run) -> dict[str, Model]:
    """Return every network of a run by its name, in evaluation mode."""
    config = _config_of(run)
    found = {}
    for name in names(config):
        model = made(config, name)
        model.load_state_dict(run.part(name))
        found[name] = model.eval().requires_grad_(False)
    return found


def restore(run: Run) -> Model:
    """Return the network with the least test error."""
    return models(run)[min(names(_config_of(run)), key=lambda n: run.metrics[f"{n}_test_error"])]


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights on the test set anew."""
    test_set = pictures.load(_config_of(run).data)[1]
    x = test_set.images.flatten(1).to(device).float() / 255
    metrics = {"test_images": float(len(x))}
    for name, model in models(run).items():
        found = measure(model.to(device), x)
        metrics |= {f"{name}_{key}": value for key, value in found.items()}
    return metrics


def _config_of(run: Run) -> Config:
    """Return a run's config; a file's JSON holds the tuples as lists."""
    stored = run.provenance["config"]
    tuples = {name: tuple(stored[name]) for name in ("latents", "random", "hidden")}
    return Config(**stored | tuples)
