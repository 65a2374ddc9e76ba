"""Train one small classifier with five optimisers, over learning rates and seeds.

Chapter: book/primer/optimisation.md.  Proof: tests/recipes/test_primer_optimisers.py.

All learning rates and seeds of an optimiser train side by side: parameters have one more axis in
front, and the pure updates of litgen.primer.optimisation take a learning rate for each.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from litgen import checkpoints
from litgen.blocks import MLP
from litgen.data import fashion_mnist
from litgen.data.sources import ImageSet
from litgen.primer import losses, optimisation
from litgen.runs import Run
from litgen.shapes import Float, Int, UInt8
from litgen.training import half_rounded

__all__ = [
    "CPU",
    "GPU",
    "OPTIMISERS",
    "Config",
    "data",
    "evaluate",
    "fit",
    "rates",
    "restore",
    "sample",
    "train",
]

Step = Callable[..., tuple[Tensor, optimisation.Memory]]

OPTIMISERS: dict[str, tuple[Step, float]] = {
    "SGD": (optimisation.gradient_descent, -2.0),
    "heavy ball": (optimisation.heavy_ball, -3.0),
    "Nesterov": (optimisation.nesterov, -3.0),
    "RMSProp": (optimisation.rmsprop, -4.0),
    "Adam": (optimisation.adam, -4.0),
}
"""Each update with the decimal logarithm of its smallest learning rate."""

VALIDATION = 5_000
"""Training images that choose the learning rate and are not trained on."""


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        side: pixels along a side of an image; 14 averages squares of 2 x 2.
        hidden: units in the one hidden layer.
        steps: updates.
        batch_size: images in a step.
        rates: learning rates of each optimiser, two a decade.
        seeds: trainings with each learning rate.
        test_images: images of the test set that are evaluated.
    """

    side: int = 14
    hidden: int = 32
    steps: int = 300
    batch_size: int = 32
    rates: int = 7
    seeds: int = 4
    test_images: int = 10_000


CPU = Config()
GPU = Config(side=28, hidden=256, steps=10_000, batch_size=128, rates=9, seeds=5)


def rates(config: Config, name: str) -> Float[Tensor, " rates"]:
    """Return an optimiser's learning rates, two a decade, the smallest first.

    Raises:
        ValueError: an unknown optimiser.
    """
    if name not in OPTIMISERS:
        raise ValueError(f"unknown optimiser {name!r}; there are: {', '.join(OPTIMISERS)}")
    return 10 ** (OPTIMISERS[name][1] + 0.5 * torch.arange(config.rates))


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train every optimiser; return curves, validation and test losses, and one network."""
    train_set, test_set = (fashion_mnist.load(split) for split in ("train", "test"))
    images, test = (shrunk(s.images, config.side).to(device) for s in (train_set, test_set))
    labels, test_labels = (s.labels.to(device) for s in (train_set, test_set))
    held = len(images) - min(VALIDATION, len(images) // 10)
    count = config.test_images
    tensors, metrics = {}, {}
    for name in OPTIMISERS:
        with checkpoints.part(name):
            curve, parameters = fit(config, name, images[:held], labels[:held], seed)
        validation, _ = measure(parameters, images[held:], labels[held:])
        nll, accuracy = measure(parameters, test[:count], test_labels[:count])
        shape = (config.rates, config.seeds)
        results = {"curve": curve, "validation_nll": validation, "nll": nll, "accuracy": accuracy}
        for kind, values in results.items():
            tensors[f"{name}.{kind}"] = values.view(*shape, *values.shape[1:])
        best = int(validation.view(shape).mean(dim=1).argmin())
        metrics[f"{name}_rate"] = rates(config, name)[best].item()
        metrics[f"{name}_test_nll_nats"] = nll.view(shape)[best].mean().item()
        metrics[f"{name}_test_accuracy"] = accuracy.view(shape)[best].mean().item()
    first = best * config.seeds  # of the last optimiser, Adam
    model = network_of(config, [p[first] for p in parameters])
    half_rounded(model)
    metrics |= score(model.to(device), test[:count], test_labels[:count])
    tensors |= {f"model.{key}": value for key, value in model.state_dict().items()}
    return Run(tensors, metrics, {}, [_about(train_set, "train"), _about(test_set, "test")])


def fit(
    config: Config,
    name: str,
    images: Float[Tensor, "images pixels"],
    labels: Int[Tensor, " images"],
    seed: int,
) -> tuple[Float[Tensor, "trainings points"], list[Tensor]]:
    """Train with one optimiser at all learning rates and seeds.

    Returns the training loss in nats, averaged over tenths of the training and so ten numbers
    each, and the parameters; training r * seeds + s has learning rate r and seed s.
    """
    update = OPTIMISERS[name][0]
    generator = torch.Generator().manual_seed(seed)
    parameters = initial(config, images.shape[1], generator)
    parameters = [p.to(images.device) for p in parameters]
    moved = [(p, optimisation.start(p)) for p in parameters]
    each = rates(config, name).repeat_interleave(config.seeds).view(-1, 1, 1).to(images)
    curve: list[Tensor] = []
    state: dict[str, tuple[Any, ...]] = {
        f"{i}": (p, *memory) for i, (p, memory) in enumerate(moved)
    }
    memory = checkpoints.current()
    memory.keep(generator=generator, curve=curve, state=state)
    for _ in tqdm(memory.turns(config.steps), total=config.steps, desc=name, unit="step"):
        parameters = [p.detach().requires_grad_() for p, *_ in state.values()]
        memories = [optimisation.Memory(*rest) for _, *rest in state.values()]
        index = torch.randint(len(images), (config.seeds, config.batch_size), generator=generator)
        index = index.repeat(config.rates, 1).to(images.device)
        loss = losses.categorical(labels[index], logits(parameters, images[index])).mean(dim=1)
        gradients = torch.autograd.grad(loss.sum(), parameters)
        with torch.no_grad():
            moved = [
                update(p, g, memory, each)
                for p, g, memory in zip(parameters, gradients, memories, strict=True)
            ]
        state |= {f"{i}": (p, *rest) for i, (p, rest) in enumerate(moved)}
        curve.append(loss.detach())
    parts = torch.stack(curve, dim=1).tensor_split(min(10, config.steps), dim=1)
    return torch.stack([p.mean(dim=1) for p in parts], dim=1), [p for p, *_ in state.values()]


def initial(config: Config, pixels: int, generator: torch.Generator) -> list[Tensor]:
    """Draw torch.nn.Linear's initial weights for each seed, the same for all learning rates."""
    found = []
    for inputs, outputs in ((pixels, config.hidden), (config.hidden, 10)):
        for rows in (inputs, 1):
            uniform = torch.rand(config.seeds, rows, outputs, generator=generator)
            found.append(((2 * uniform - 1) / inputs**0.5).repeat(config.rates, 1, 1))
    return found


def logits(
    parameters: list[Tensor], x: Float[Tensor, "#trainings batch pixels"]
) -> Float[Tensor, "trainings batch classes"]:
    """Return the outputs of all networks, each on images of its own or on the same."""
    weight, bias, last_weight, last_bias = parameters
    x = x.expand(len(weight), -1, -1)
    hidden = torch.baddbmm(bias, x, weight).relu()
    return torch.baddbmm(last_bias, hidden, last_weight)


@torch.no_grad()
def measure(
    parameters: list[Tensor],
    images: Float[Tensor, "images pixels"],
    labels: Int[Tensor, " images"],
) -> tuple[Float[Tensor, " trainings"], Float[Tensor, " trainings"]]:
    """Return every network's loss in nats and accuracy; a network that diverged has loss inf."""
    nll, right = torch.zeros(len(parameters[0])), torch.zeros(len(parameters[0]))
    for x, label in zip(images.split(1_000), labels.split(1_000), strict=True):
        output = logits(parameters, x[None])
        expanded = label.expand(len(output), -1)
        nll += losses.categorical(expanded, output).sum(dim=1).cpu()
        right += (output.argmax(dim=2) == expanded).sum(dim=1).cpu()
    nll, right = nll / len(images), right / len(images)
    return nll.nan_to_num(nan=float("inf"), posinf=float("inf")), right


def shrunk(images: UInt8[Tensor, "images 1 28 28"], side: int) -> Float[Tensor, "images pixels"]:
    """Return images in [0, 1] of another size, each pixel the average of a square.

    Raises:
        ValueError: a side that does not divide 28.
    """
    if side < 1 or images.shape[-1] % side:
        raise ValueError(f"images of side {images.shape[-1]} do not shrink to {side}")
    return F.avg_pool2d(images.float() / 255, images.shape[-1] // side).flatten(1)


def network_of(config: Config, parameters: list[Tensor]) -> MLP:
    """Return one of the networks as a module."""
    pixels = parameters[0].shape[0]
    model = MLP([pixels, config.hidden, 10])
    names = ("0.weight", "0.bias", "2.weight", "2.bias")
    values = [p.T if p.shape[0] > 1 else p[0] for p in parameters]
    model.load_state_dict({n: v.cpu() for n, v in zip(names, values, strict=True)})
    return model.eval()


def score(
    model: MLP, images: Float[Tensor, "images pixels"], labels: Int[Tensor, " images"]
) -> dict[str, float]:
    """Return the loss and the accuracy of the network that a run keeps."""
    weights = [p.T[None] if p.dim() == 2 else p[None, None] for p in model.parameters()]
    nll, accuracy = measure(weights, images, labels)
    return {"test_nll_nats": nll.item(), "test_accuracy": accuracy.item()}


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return ("fashion_mnist",)


def restore(run: Run) -> MLP:
    """Return the network that Adam trained with its best learning rate and the first seed."""
    weights = run.part("model")
    hidden, pixels = weights["0.weight"].shape
    model = MLP([pixels, hidden, len(weights["2.bias"])])
    model.load_state_dict(weights)
    return model.eval().requires_grad_(False)


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure the kept network on the test set anew."""
    config = Config(**run.provenance["config"])
    test_set, count = fashion_mnist.load("test"), config.test_images
    images = shrunk(test_set.images[:count], config.side).to(device)
    return score(restore(run).to(device), images, test_set.labels[:count].to(device))


def sample(run: Run, count: int, generator: torch.Generator) -> Tensor:
    """Say that there is nothing to draw.

    Raises:
        ValueError: always.
    """
    raise ValueError("primer/optimisers trains a classifier, which draws no samples")


def _about(images: ImageSet, split: str) -> dict[str, object]:
    record = dataclasses.asdict(images.record)
    return record | {"name": "fashion_mnist", "title": images.record.name, "split": split}
