"""Train RealNVP on 8-bit images by exact likelihood, and measure bits per dimension.

Chapter: book/flows/realnvp.md.  Proof: tests/recipes/test_flows.py.
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
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from litgen.data import fashion_mnist, mnist
from litgen.data.sources import ImageSet
from litgen.flows import dequantization
from litgen.flows.coupling import change_of_variables
from litgen.flows.realnvp import RealNVP
from litgen.gaussian import bits_per_dim
from litgen.runs import Run
from litgen.shapes import Float, UInt8
from litgen.training import Player, half_rounded, minibatches, mixed_precision, play

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
    couplings: int = 3
    hidden: int = 32
    blocks: int = 1
    margin: float = 1e-3
    turns: int = 400
    batch_size: int = 64
    learning_rate: float = 3e-3
    clip: float = 100.0
    average: float = 0.98
    test_images: int = 1_000
    draws: int = 1
    mixed: bool = True


CPU = Config()
GPU = Config(
    couplings=6,
    hidden=96,
    blocks=3,
    turns=30_000,
    batch_size=256,
    learning_rate=1e-3,
    average=0.999,
    test_images=10_000,
    draws=4,
    mixed=False,
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
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.average))
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, config.turns, pct_start=0.1
    )

    def loss(batch: Tensor) -> Tensor:
        noise = torch.rand(batch.shape, generator=draw, device=device)
        with mixed_precision(device, config.mixed):
            bound = log_prob(config, model, batch, noise)
        return bits_per_dim(bound.float(), PIXELS).mean()

    batches = minibatches(images, config.batch_size, shuffle)
    game = play([Player("flow", optimizer, loss)], batches, config.turns)
    for step in tqdm(game, total=config.turns, desc="flow", unit="step"):
        rate.step()
        averaged.update_parameters(model)
        inner = averaged.module
        assert isinstance(inner, RealNVP)
        yield Progress(step.turn, inner, step.loss)
