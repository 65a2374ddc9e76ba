"""Train a network to take noise away, and measure it beside two filters that are tuned on data.

Chapter: book/autoencoders/denoising.md.  Proof: tests/recipes/test_denoising.py.
Reference: Vincent, Larochelle, Bengio & Manzagol, "Extracting and Composing Robust Features with
Denoising Autoencoders" (2008).

Pixels are in [0, 1]. Noise is Gaussian, its standard deviation is in the same units, and the
noisy image is not cut to [0, 1].
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from litgen import checkpoints
from litgen.autoencoders.denoising import noisy, squared_error, wiener
from litgen.autoencoders.denoising_images import Denoiser, gaussian_filter, psnr
from litgen.recipes import pictures
from litgen.runs import Run
from litgen.shapes import Float, UInt8
from litgen.training import Minibatches, Player, half_rounded, mixed_precision, play

__all__ = [
    "CPU",
    "FILTERS",
    "GPU",
    "LEVELS",
    "Config",
    "Progress",
    "answers",
    "data",
    "evaluate",
    "fit",
    "measure",
    "restore",
    "sample",
    "train",
    "tuned_filter",
]

LEVELS = (0.1, 0.25, 0.5, 0.75, 1.0)
"""Standard deviations of the noise at which every answer is measured."""

FILTERS = tuple(round(0.3 + 0.1 * i, 1) for i in range(30))
"""Widths, in pixels, among which the Gaussian filter's is searched."""

HEADLINE = 0.5
"""The level of the headline numbers."""


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        data: mnist or fashion_mnist.
        network: dense or unet.
        widths: of the hidden layers, or channels at each resolution.
        lowest: standard deviation of the noise, in units of the pixels' range.
        highest: the same as ``lowest``, or more: then each image's level is drawn between them.
        steps: updates.
        batch_size: images in a step.
        learning_rate: of Adam at the peak of one cycle.
        test_images: images of the test set that are measured.
        mixed: let the network compute in bfloat16 where the hardware has it.
    """

    data: Literal["mnist", "fashion_mnist"] = "fashion_mnist"
    network: Literal["dense", "unet"] = "dense"
    widths: tuple[int, ...] = (384,)
    lowest: float = 0.5
    highest: float = 0.5
    steps: int = 2_000
    batch_size: int = 64
    learning_rate: float = 3e-3
    test_images: int = 1_000
    mixed: bool = True


CPU = Config()
GPU = Config(
    network="unet",
    widths=(64, 128, 128),
    steps=12_000,
    batch_size=256,
    learning_rate=1e-3,
    test_images=10_000,
)


class Progress(NamedTuple):
    """Where a training stands after a step; the loss is detached."""

    turn: int
    model: Denoiser
    loss: Tensor


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train on all images; return weights, the curve, and decibels beside those of filters."""
    train_set, test_set = pictures.load(config.data)
    losses: list[Tensor] = []
    checkpoints.current().keep(losses=losses)
    pixels = train_set.images.flatten(1).to(device)
    with pictures.one_thread(device):
        for now in fit(config, pixels, seed):
            losses.append(now.loss)
    model = now.model.eval()
    half_rounded(model)
    metrics, levels = measure(config, model, pixels, test_set.images.flatten(1).to(device))
    first = [int((test_set.labels == c).nonzero()[0]) for c in test_set.labels.unique()]
    return Run(
        tensors={f"model.{name}": value for name, value in model.state_dict().items()}
        | {"examples.x": test_set.images.flatten(1)[first]},
        metrics=metrics,
        history={"train_error": pictures.curve(losses)} | levels,
        data=pictures.records(config.data, train_set, test_set),
    )


def fit(config: Config, pixels: UInt8[Tensor, "images pixels"], seed: int) -> Iterator[Progress]:
    """Yield after every step of a training, on the device of the images; fresh noise each time."""
    torch.manual_seed(seed)  # weights
    shuffle = torch.Generator().manual_seed(seed)
    draw = torch.Generator(pixels.device).manual_seed(seed)
    model = Denoiser(config.network, config.widths, pixels.shape[1]).to(pixels.device)
    optimizer = torch.optim.Adam(model.parameters(), config.learning_rate, fused=True)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, config.steps)

    def loss(batch: Tensor) -> Tensor:
        x = batch.float() / 255
        noise = torch.randn(x.shape, generator=draw, device=x.device)
        share = torch.rand(len(x), 1, generator=draw, device=x.device)
        y = noisy(x, noise, config.lowest + (config.highest - config.lowest) * share)
        with mixed_precision(x.device, config.mixed):
            answer = model(y)
        return squared_error(x, answer.float()).mean() / x.shape[1]

    batches = Minibatches(pixels, config.batch_size, shuffle)
    memory = checkpoints.current()
    memory.keep(model=model, optimizer=optimizer, rate=rate, draw=draw, batches=batches)
    game = play([Player("denoiser", optimizer, loss)], batches, memory.turns(config.steps))
    for step in tqdm(game, total=config.steps, desc="denoiser", unit="step"):
        if step.turn + 1 < config.steps:
            rate.step()
        yield Progress(step.turn, model, step.loss)


@torch.no_grad()
def measure(
    config: Config,
    model: Denoiser,
    train_pixels: UInt8[Tensor, "images pixels"],
    test_pixels: UInt8[Tensor, "tests pixels"],
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Return decibels at the headline's level, and those at every level as curves.

    Keys: ``noisy``, ``filter`` (the Gaussian one, its width tuned on training images at that
    level), ``wiener`` (mean and covariance of the training images), ``network``; each
    ``psnr_..._db`` is the mean over test images, ``psnr_..._cut_db`` the same after cutting to
    [0, 1].
    """
    clean = train_pixels.float() / 255
    moments = clean.mean(dim=0), torch.cov(clean.T)
    x = test_pixels[: config.test_images].float() / 255
    noise = torch.randn(x.shape, generator=_fixed(x.device, 1), device=x.device)
    curves: dict[str, list[float]] = {"level": list(LEVELS)}
    for level in LEVELS:
        y = noisy(x, noise, level)
        width = tuned_filter(clean[:300], level)
        found = answers(model, y, moments, level, width)
        curves.setdefault("filter_width_pixels", []).append(width)
        for name, answer in found.items():
            curves.setdefault(f"psnr_{name}_db", []).append(psnr(x, answer).mean().item())
            cut = psnr(x, answer.clamp(0, 1)).mean().item()
            curves.setdefault(f"psnr_{name}_cut_db", []).append(cut)
    at = LEVELS.index(HEADLINE)
    metrics = {name: values[at] for name, values in curves.items() if name != "level"}
    return metrics | {"test_images": float(len(x))}, curves


def answers(
    model: Denoiser,
    y: Float[Tensor, "images pixels"],
    moments: tuple[Float[Tensor, " pixels"], Float[Tensor, "pixels pixels"]],
    level: float,
    width: float,
) -> dict[str, Float[Tensor, "images pixels"]]:
    """Return what each way makes of noisy images: nothing, Gaussian filter, Wiener's, network."""
    images = y.view(len(y), 1, model.side, model.side)
    return {
        "noisy": y,
        "filter": gaussian_filter(images, width).flatten(1),
        "wiener": wiener(y, *moments, level),
        "network": torch.cat([model(part) for part in y.split(250)]),
    }


def tuned_filter(clean: Float[Tensor, "images pixels"], level: float) -> float:
    """Return the filter's width in `FILTERS` that has the most decibels on these images."""
    side = int(clean.shape[1] ** 0.5)
    noise = torch.randn(clean.shape, generator=_fixed(clean.device, 2), device=clean.device)
    y = noisy(clean, noise, level).view(-1, 1, side, side)
    x = clean.view_as(y)
    return max(FILTERS, key=lambda width: psnr(x, gaussian_filter(y, width)).mean().item())


def _fixed(device: torch.device, seed: int) -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return (config.data,)


def restore(run: Run) -> Denoiser:
    """Return the network of a run, in evaluation mode."""
    stored = run.provenance["config"]
    model = Denoiser(
        stored["network"], tuple(stored["widths"]), run.tensors["examples.x"].shape[1]
    )
    model.load_state_dict(run.part("model"))
    return model.eval().requires_grad_(False)


def sample(run: Run, count: int, generator: torch.Generator) -> Float[Tensor, "count 1 side side"]:
    """Return what the network makes of some examples with fresh noise of the headline's level."""
    x = run.tensors["examples.x"].float() / 255
    x = x[torch.arange(count) % len(x)]
    model = restore(run)
    y = noisy(x, torch.randn(x.shape, generator=generator), HEADLINE)
    answer: Tensor = model(y)
    return answer.view(count, 1, model.side, model.side).clamp(0, 1)


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights on the test set anew, and the filters beside them."""
    stored = run.provenance["config"]
    config = Config(**stored | {"widths": tuple(stored["widths"])})
    sets = [part.images.flatten(1).to(device) for part in pictures.load(config.data)]
    return measure(config, restore(run).to(device), sets[0], sets[1])[0]
