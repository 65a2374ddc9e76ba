"""Train RealNVP on 8-bit images by exact likelihood, and measure bits per dimension.

Chapter: book/flows/realnvp.md.  Proof: tests/recipes/test_flows_digits.py.
References: Dinh, Sohl-Dickstein & Bengio, "Density estimation using Real NVP" (2017); the protocol
(uniform dequantisation, bits per dimension on the test set) is that of its section 4.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from litgen import checkpoints
from litgen.data import fashion_mnist, mnist
from litgen.data.sources import ImageSet
from litgen.flows import dequantization
from litgen.flows.coupling import change_of_variables
from litgen.flows.realnvp import RealNVP
from litgen.gaussian import bits_per_dim
from litgen.runs import Run
from litgen.shapes import Float, UInt8
from litgen.training import Minibatches, Player, half_rounded, mixed_precision, play

__all__ = [
    "CPU",
    "GPU",
    "Config",
    "Progress",
    "build",
    "config_of",
    "data",
    "decode",
    "encode",
    "evaluate",
    "fit",
    "image_bits",
    "load_data",
    "log_prob",
    "measure",
    "restore",
    "sample",
    "train",
]

LOADERS: dict[str, Callable[..., ImageSet]] = {
    "mnist": mnist.load,
    "fashion_mnist": fashion_mnist.load,
}
PIXELS = 28 * 28


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        data: mnist or fashion_mnist.
        scales: squeezes.
        couplings: pairs of couplings at each scale.
        hidden: channels of each conditioner.
        blocks: residual blocks of each conditioner.
        margin: of the logit transform.
        turns: updates.
        batch_size: images in a step.
        learning_rate: of Adam after warming up; it falls to zero along half a cosine.
        clip: the gradient's norm is cut to this.
        average: decay of the weights' moving average, which is what is kept.
        test_images: images of the test set that are measured.
        draws: noise draws over which an image's bound is averaged.
        mixed: let the conditioners compute in bfloat16 where the hardware has it.
    """

    data: Literal["mnist", "fashion_mnist"] = "mnist"
    scales: int = 2
    couplings: int = 2
    hidden: int = 32
    blocks: int = 1
    margin: float = 1e-3
    turns: int = 340
    batch_size: int = 16
    learning_rate: float = 8e-3
    clip: float = 1.0
    average: float = 0.99
    test_images: int = 1_000
    draws: int = 1
    mixed: bool = True


CPU = Config()
GPU = Config(
    couplings=5,
    hidden=64,
    blocks=2,
    turns=18_000,
    batch_size=256,
    learning_rate=2e-3,
    average=0.999,
    test_images=10_000,
    draws=4,
)


class Progress(NamedTuple):
    """Where a training stands after a step; the loss is detached."""

    turn: int
    model: RealNVP
    loss: Tensor


def build(config: Config) -> RealNVP:
    """Return an untrained flow on 28x28 images."""
    return RealNVP(1, 28, config.scales, config.couplings, config.hidden, config.blocks)


def log_prob(
    config: Config,
    model: RealNVP,
    images: UInt8[Tensor, "batch 1 height width"],
    noise: Float[Tensor, "batch 1 height width"],
) -> Float[Tensor, " batch"]:
    """Return the bound on the log-probability of 8-bit images, in nats, for one noise draw."""
    y, by_logit = dequantization.to_logit(dequantization.uniform(images, noise), config.margin)
    z, log_det = model(y)
    log_density = change_of_variables(z, log_det) + by_logit
    return dequantization.image_log_prob(log_density, images[0].numel())


def fit(
    config: Config, images: UInt8[Tensor, "images 1 height width"], seed: int
) -> Iterator[Progress]:
    """Yield after every step; the model is the averaged one, on the device of the images."""
    torch.manual_seed(seed)  # weights
    device = images.device
    shuffle = torch.Generator().manual_seed(seed)
    draw = torch.Generator(device).manual_seed(seed)
    model = build(config).to(device)
    first = images[: 4 * config.batch_size]
    noise = torch.rand(first.shape, generator=draw, device=device)
    y, _ = dequantization.to_logit(dequantization.uniform(first, noise), config.margin)
    model.initialize(y)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.average))
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, config.turns, pct_start=0.1, cycle_momentum=False
    )

    def clip(*_: object) -> None:
        clip_grad_norm_(model.parameters(), config.clip)

    def loss(batch: Tensor) -> Tensor:
        noise = torch.rand(batch.shape, generator=draw, device=device)
        with mixed_precision(device, config.mixed):
            bound = log_prob(config, model, batch, noise)
        return bits_per_dim(bound.float(), PIXELS).mean()

    optimizer.register_step_pre_hook(clip)
    batches = Minibatches(images, config.batch_size, shuffle)
    memory = checkpoints.current()
    memory.keep(model=model, averaged=averaged, optimizer=optimizer, rate=rate)
    memory.keep(draw=draw, batches=batches)
    game = play([Player("flow", optimizer, loss)], batches, memory.turns(config.turns))
    for step in tqdm(game, total=config.turns, desc="flow", unit="step"):
        rate.step()
        averaged.update_parameters(model)
        inner = averaged.module
        assert isinstance(inner, RealNVP)
        yield Progress(step.turn, inner, step.loss)


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train on all images; return averaged weights, the curve, and test bits per dimension."""
    train_set, test_set = load_data(config)
    losses: list[Tensor] = []
    checkpoints.current().keep(losses=losses)
    for now in fit(config, train_set.images.to(device), seed):
        losses.append(now.loss)
    model = now.model.eval()
    half_rounded(model)
    curve = torch.tensor_split(torch.stack(losses).cpu(), min(100, len(losses)))
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors["examples.x"] = test_set.images[:200]
    tensors["examples.label"] = test_set.labels[:200].to(torch.uint8)
    return Run(
        tensors=tensors,
        metrics=measure(config, model, test_set.images[: config.test_images].to(device)),
        history={"train_bits_per_dim": [part.mean().item() for part in curve]},
        data=[
            dataclasses.asdict(part.record)
            | {"name": config.data, "title": part.record.name, "split": split}
            for split, part in (("train", train_set), ("test", test_set))
        ],
    )


@torch.no_grad()
def image_bits(
    config: Config,
    model: RealNVP,
    images: UInt8[Tensor, "images 1 height width"],
    draws: int = 1,
) -> Float[Tensor, " images"]:
    """Return bits per dimension of each image, averaged over draws of the dequantising noise."""
    generator = torch.Generator(images.device).manual_seed(0)
    found = []
    for batch in images.split(250):
        shape = (draws, *batch.shape)
        noise = torch.rand(shape, generator=generator, device=images.device)
        bounds = torch.stack([log_prob(config, model, batch, part) for part in noise])
        found.append(bits_per_dim(bounds.mean(dim=0), PIXELS))
    return torch.cat(found)


def measure(
    config: Config, model: RealNVP, images: UInt8[Tensor, "images 1 height width"]
) -> dict[str, float]:
    """Return test bits per dimension, with their standard error over images."""
    bits = image_bits(config, model, images, config.draws)
    return {
        "test_bits_per_dim": bits.mean().item(),
        "standard_error": (bits.std() / math.sqrt(len(bits))).item(),
        "test_images": len(bits),
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return (config.data,)


def load_data(config: Config) -> tuple[ImageSet, ImageSet]:
    """Return the training and the test set."""
    train_set, test_set = (LOADERS[config.data](split) for split in ("train", "test"))
    return train_set, test_set


def config_of(run: Run) -> Config:
    """Return a run's config."""
    return Config(**run.provenance["config"])


def restore(run: Run) -> RealNVP:
    """Return the flow of a run, in evaluation mode."""
    model = build(config_of(run))
    model.load_state_dict(run.part("model"))
    return model.eval().requires_grad_(False)


@torch.no_grad()
def encode(
    config: Config, model: RealNVP, images: UInt8[Tensor, "images 1 height width"]
) -> Float[Tensor, "images dims"]:
    """Return the code of each image, with its pixels in the middle of their cells."""
    half = torch.full(images.shape, 0.5, device=images.device)
    y, _ = dequantization.to_logit(dequantization.uniform(images, half), config.margin)
    z: Tensor = model(y)[0]
    return z


@torch.no_grad()
def decode(
    config: Config, model: RealNVP, z: Float[Tensor, "images dims"]
) -> Float[Tensor, "images 1 height width"]:
    """Return images in [0, 1]."""
    return dequantization.from_logit(model.inverse(z), config.margin)


def sample(run: Run, count: int, generator: torch.Generator) -> Float[Tensor, "count 1 side side"]:
    """Return images in [0, 1] for codes drawn from the prior."""
    return decode(config_of(run), restore(run), torch.randn(count, PIXELS, generator=generator))


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights on the test set anew."""
    config = config_of(run)
    images = load_data(config)[1].images[: config.test_images].to(device)
    return measure(config, restore(run).to(device), images)
