"""Fit a mixture of factor analysers to grey digits, and measure it on digits it has not seen.

Chapter: book/density/mixture.md.  Proof: tests/recipes/test_mixture.py.
Reference: Richardson & Weiss, "On GANs and GMMs" (2018).
"""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from litgen import checkpoints
from litgen.data import mnist
from litgen.density import factors, mixture
from litgen.density.factors import Factors
from litgen.recipes.density_protocol import bits_per_pixel, grey_digits, resumed
from litgen.runs import Run
from litgen.shapes import Float

__all__ = [
    "CPU",
    "GPU",
    "Config",
    "choose_floor",
    "data",
    "evaluate",
    "fit",
    "restore",
    "sample",
    "train",
]


@dataclass(frozen=True)
class Config:
    """What a fit depends on.

    Attributes:
        components: of the mixture.
        factors: of each component.
        floors: smallest variances that are tried; grey values lie in [0, 1).
        held_out: training digits, the last ones, that choose the floor.
        choosing_steps: of EM for each floor.
        plain_steps: of EM with diagonal covariances, from which the factors start.
        steps: of EM with factors.
    """

    components: int = 30
    factors: int = 5
    floors: tuple[float, ...] = (3e-6, 1e-5, 3e-5, 1e-4)
    held_out: int = 2_000
    choosing_steps: int = 3
    plain_steps: int = 6
    steps: int = 8


CPU = Config()
GPU = Config(components=60, factors=8, choosing_steps=20, plain_steps=20, steps=40)


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Choose the floor, fit diagonal covariances, then factors; all in double precision."""
    x, test = (part.double().to(device) for part in grey_digits())
    generator = torch.Generator(device).manual_seed(seed)
    unseen = choose_floor(config, x, generator)
    floor = config.floors[unseen.index(min(unseen))]
    with checkpoints.part("plain"):
        plain = start(config, x, floor, config.plain_steps, generator)
    with checkpoints.part("factors"):
        model, curve = fit(config, x, plain, floor, generator)
    stored = packed(model)
    tensors = {f"model.{name}": value for name, value in stored.items()}
    return Run(
        tensors=tensors,
        metrics={
            **measure(unpacked(stored), x, test),
            "diagonal_test_bits": bits(mixture.log_prob(test, plain)),
            "floor": floor,
            "parameters": sum(value.numel() for value in stored.values()),
        },
        history={"train_bits": curve, "floor_bits": unseen},
        data=[
            dataclasses.asdict(mnist.load(split).record)
            | {"name": "mnist", "title": mnist.load(split).record.name, "split": split}
            for split in ("train", "test")
        ],
    )


def choose_floor(
    config: Config, x: Float[Tensor, "images pixels"], generator: torch.Generator
) -> list[float]:
    """Return the held-out bits per pixel of a diagonal mixture for each floor."""
    kept, held_out = x[: -config.held_out], x[-config.held_out :]
    found = []
    for floor in config.floors:
        with checkpoints.part(f"floor {floor}"):
            plain = start(config, kept, floor, config.choosing_steps, generator)
        found.append(bits(mixture.log_prob(held_out, plain)))
    return found


def start(
    config: Config,
    x: Float[Tensor, "images pixels"],
    floor: float,
    steps: int,
    generator: torch.Generator,
) -> mixture.Mixture:
    """Fit a mixture with diagonal covariances, started among the first 2,000 images."""
    first = mixture.start(x[:2_000], config.components, generator, mixture.diagonal, floor)
    *_, (model, _) = resumed(mixture.em, x, first, steps, floor, generator)
    return model


def fit(
    config: Config,
    x: Float[Tensor, "images pixels"],
    plain: mixture.Mixture,
    floor: float,
    generator: torch.Generator,
) -> tuple[Factors, list[float]]:
    """Return the mixture of factor analysers, and its bits per pixel after every step of EM."""
    curve: list[float] = []
    checkpoints.current().keep(curve=curve)
    begin = factors.start(plain, config.factors, generator)
    steps = resumed(factors.em, x, begin, config.steps, floor, generator)
    for model, value in tqdm(steps, total=config.steps, desc="mixture", unit="step"):
        last = model
        curve.append(bits_per_pixel(value, x.shape[1]).item())
    return last, curve


def bits(log_prob: Float[Tensor, " images"]) -> float:
    """Return mean bits per pixel of digits."""
    return bits_per_pixel(log_prob.mean(), 784).item()


def measure(model: Factors, x: Tensor, test: Tensor) -> dict[str, float]:
    """Return training and test bits per pixel."""
    model = Factors(*(getattr(model, f.name).to(x.device) for f in dataclasses.fields(model)))
    return {
        "train_bits": bits(factors.log_prob(x, model)),
        "test_bits": bits(factors.log_prob(test, model)),
        "test_images": len(test),
    }


def packed(model: Factors) -> dict[str, Tensor]:
    """Return what a run stores: half precision holds the logarithms of small numbers better."""
    tensors = {
        "log_weights": model.weights.log(),
        "means": model.means,
        "loadings": model.loadings,
        "log_variances": model.variances.log(),
    }
    return {name: value.half().cpu() for name, value in tensors.items()}


def unpacked(stored: dict[str, Tensor]) -> Factors:
    """Return the model that was stored, in double precision."""
    part = {name: value.double() for name, value in stored.items()}
    weights = torch.softmax(part["log_weights"], dim=0)
    return Factors(weights, part["means"], part["loadings"], part["log_variances"].exp())


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return ("mnist",)


def restore(run: Run) -> Factors:
    """Return the mixture of a run, in double precision."""
    return unpacked(run.part("model"))


def sample(run: Run, count: int, generator: torch.Generator) -> Float[Tensor, "count 1 28 28"]:
    """Draw digits, with the noise of their pixels."""
    return factors.sample(restore(run), count, generator)[0].view(count, 1, 28, 28).float()


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's parameters anew."""
    x, test = (part.double().to(device) for part in grey_digits())
    return measure(restore(run), x, test)
