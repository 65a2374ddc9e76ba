"""Train convolutional autoencoders: a plain one, one with an uneven kernel, one with noisy codes.

Chapter: book/autoencoders/convolutional.md.
Proof: tests/recipes/test_autoencoders_convolutional.py.
References: Masci et al. (2011); Ghosh et al., "From Variational to Deterministic Autoencoders"
(2020), for constant noise on the codes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from litgen import checkpoints
from litgen.autoencoders.convolutional import ConvAutoencoder, lattice_energy, noisy_loss
from litgen.recipes import pictures
from litgen.runs import Run
from litgen.shapes import Float, UInt8
from litgen.training import Minibatches, Player, half_rounded, mixed_precision, play

__all__ = [
    "CPU",
    "GPU",
    "VARIANTS",
    "Config",
    "data",
    "evaluate",
    "fit",
    "made",
    "measure",
    "models",
    "restore",
    "train",
]

VARIANTS = ("plain", "uneven", "noisy")


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        data: mnist or fashion_mnist, as grey values.
        channels: of the stages, the finest first.
        latent: numbers in the code.
        steps: updates of each model.
        batch_size: images in a step.
        learning_rate: of Adam at the peak of one cycle.
        noise: standard deviation added to the codes of the noisy variant in training.
        weight: of its penalty on the codes' squares.
        test_images: images of the test set that are evaluated.
        looks: moments at which the lattice in its residuals is measured.
        mixed: let networks compute in bfloat16 where the hardware has it.
    """

    data: Literal["mnist", "fashion_mnist"] = "fashion_mnist"
    channels: tuple[int, ...] = (16, 32)
    latent: int = 16
    steps: int = 180
    batch_size: int = 128
    learning_rate: float = 1e-2
    noise: float = 0.3
    weight: float = 0.3
    test_images: int = 2_000
    looks: int = 12
    mixed: bool = True


CPU = Config()
GPU = Config(
    channels=(32, 64), steps=15_000, batch_size=512, learning_rate=2e-3, test_images=10_000
)


class Progress(NamedTuple):
    """Where a training stands after a step; the loss is detached."""

    turn: int
    model: ConvAutoencoder
    loss: Tensor


def made(config: Config, variant: str, side: int = 28) -> ConvAutoencoder:
    """Return an untrained model.

    Raises:
        ValueError: an unknown variant.
    """
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r}; there are: {', '.join(VARIANTS)}")
    kernel = 3 if variant == "uneven" else 4
    return ConvAutoencoder(side, side, config.channels, config.latent, kernel)


def fit(
    config: Config, variant: str, images: UInt8[Tensor, "images 1 28 28"], seed: int
) -> Iterator[Progress]:
    """Yield after every step of a training on grey values, on the device where they lie."""
    torch.manual_seed(seed)  # weights
    draw = torch.Generator(images.device).manual_seed(seed)
    model = made(config, variant).to(images.device)
    optimizer = torch.optim.Adam(model.parameters(), config.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, config.steps)
    noise, weight = (config.noise, config.weight) if variant == "noisy" else (0.0, 0.0)

    def loss(batch: Tensor) -> Tensor:
        x = batch.float() / 255
        drawn = torch.randn(len(x), config.latent, generator=draw, device=x.device)
        with mixed_precision(x.device, config.mixed):
            return noisy_loss(x, model.encode, model.decode, noise * drawn, weight).mean()

    batches = Minibatches(images, config.batch_size, torch.Generator().manual_seed(seed))
    memory = checkpoints.current()
    memory.keep(model=model, optimizer=optimizer, schedule=schedule, draw=draw, batches=batches)
    game = play([Player(variant, optimizer, loss)], batches, memory.turns(config.steps))
    for step in tqdm(game, total=config.steps, desc=variant, unit="step"):
        if step.turn + 1 < config.steps:
            schedule.step()
        yield Progress(step.turn, model, step.loss)


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train every variant from the same seed; return weights, curves and test errors."""
    train_set, test_set = pictures.load(config.data)
    images = train_set.images.to(device)
    x = test_set.images[: config.test_images].to(device).float() / 255
    tensors = {"examples.pixels": test_set.images[:200]}
    metrics: dict[str, float] = {"test_images": float(len(x))}
    history: dict[str, list[float]] = {}
    moments = {round(float(t)) for t in torch.linspace(0, config.steps - 1, config.looks)}
    for variant in VARIANTS:
        losses: list[Tensor] = []
        lattice: list[float] = []
        with checkpoints.part(variant) as memory:
            memory.keep(losses=losses, lattice=lattice)
            for now in fit(config, variant, images, seed):
                losses.append(now.loss)
                if now.turn in moments:
                    lattice.append(residual_lattice(now.model, x[:500]))
        half_rounded(now.model)
        metrics |= {f"{variant}_{k}": v for k, v in measure(now.model, x).items()}
        history |= {f"{variant}_loss": pictures.curve(losses), f"{variant}_lattice": lattice}
        tensors |= {f"{variant}.{k}": v for k, v in now.model.state_dict().items()}
    history["turns"] = [float(turn) for turn in sorted(moments)]
    return Run(
        tensors=tensors,
        metrics=metrics,
        history=history,
        data=pictures.records(config.data, train_set, test_set),
    )


@torch.no_grad()
def residual_lattice(model: ConvAutoencoder, x: Float[Tensor, "images 1 28 28"]) -> float:
    """Return the lattice that a model adds to images, on average."""
    return lattice_energy((model(x) - x)[:, 0]).mean().item()


@torch.no_grad()
def measure(model: ConvAutoencoder, x: Float[Tensor, "images 1 28 28"]) -> dict[str, float]:
    """Return the mean squared error of images, summed over pixels, and the model's size."""
    parts = [(model(part) - part).square().sum(dim=(1, 2, 3)) for part in x.split(500)]
    weights = sum(parameter.numel() for parameter in model.parameters())
    return {"test_error": torch.cat(parts).mean().item(), "parameters": float(weights)}


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return (config.data,)


def models(run: Run) -> dict[str, ConvAutoencoder]:
    """Return every network of a run by its variant, in evaluation mode."""
    config = _config_of(run)
    found = {}
    for variant in VARIANTS:
        model = made(config, variant)
        model.load_state_dict(run.part(variant))
        found[variant] = model.eval().requires_grad_(False)
    return found


def restore(run: Run) -> ConvAutoencoder:
    """Return the plain network, in evaluation mode."""
    return models(run)["plain"]


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights on the test set anew."""
    config = _config_of(run)
    test_set = pictures.load(config.data)[1]
    x = test_set.images[: config.test_images].to(device).float() / 255
    metrics = {"test_images": float(len(x))}
    for variant, model in models(run).items():
        found = measure(model.to(device), x)
        metrics |= {f"{variant}_{key}": value for key, value in found.items()}
    return metrics


def _config_of(run: Run) -> Config:
    """Return a run's config; a file's JSON holds the tuple as a list."""
    stored = run.provenance["config"]
    return Config(**stored | {"channels": tuple(stored["channels"])})
