"""Train a conditional VAE that is told the class of each digit: class and style apart.

Chapter: book/vae/conditional.md.  Proof: tests/recipes/test_vae_conditional.py.
Reference: Kingma, Rezende, Mohamed & Welling (2014), model M2 with all labels known.

The code's prior is standard and does not see the class. Pixels are drawn anew from
Bernoulli(grey value) each time an image is seen, as in vae/digits.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from litgen import checkpoints
from litgen.data.sources import ImageSet
from litgen.recipes import pictures
from litgen.recipes.vae.digits import binarize
from litgen.runs import Run
from litgen.shapes import Float, Int, UInt8
from litgen.training import Minibatches, Player, half_rounded, mixed_precision, play
from litgen.vae import conditional
from litgen.vae.conditional_networks import CVAE, Decoder, Encoder, StandardPrior, one_hot
from litgen.vae.likelihoods import bernoulli

__all__ = [
    "CLASSES",
    "CPU",
    "GPU",
    "Config",
    "build",
    "data",
    "draw",
    "evaluate",
    "fit",
    "load_data",
    "measure",
    "package",
    "restore",
    "sample",
    "train",
]

CLASSES = 10

LOUD = 8.0
"""By how much the decoder's first weights for the class are larger than torch makes them."""


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        data: mnist or fashion_mnist.
        hidden: widths of the encoder's layers; the decoder's are the same, reversed.
        latent: dimensions of the style z.
        epochs: passes over the training images.
        batch_size: images in a step.
        learning_rate: of Adam at the start; it falls to zero along half a cosine.
        test_images: images of the test set that are evaluated.
        samples: importance samples for log p(x|y).
        mixed: let networks compute in bfloat16 where the hardware has it.
    """

    data: Literal["mnist", "fashion_mnist"] = "mnist"
    hidden: tuple[int, ...] = (256,)
    latent: int = 4
    epochs: int = 4
    batch_size: int = 200
    learning_rate: float = 3e-3
    test_images: int = 1_000
    samples: int = 50
    mixed: bool = True


CPU = Config()
GPU = Config(
    hidden=(800, 600),
    latent=8,
    epochs=300,
    batch_size=500,
    learning_rate=1.5e-3,
    test_images=10_000,
    samples=2_000,
)


class Progress(NamedTuple):
    """Where a training stands after a step; the loss is detached."""

    turn: int
    model: CVAE
    loss: Tensor


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train by raising the conditional ELBO; return weights, the curve and test metrics."""
    train_set, test_set = load_data(config)
    losses: list[Tensor] = []
    checkpoints.current().keep(losses=losses)
    with pictures.one_thread(device):
        for now in fit(
            config, train_set.images.flatten(1).to(device), train_set.labels.to(device), seed
        ):
            losses.append(now.loss)
    return package(config, now.model, losses, train_set, test_set)


def fit(
    config: Config,
    pixels: UInt8[Tensor, "images pixels"],
    labels: Int[Tensor, " images"],
    seed: int,
    told: bool = True,
) -> Iterator[Progress]:
    """Yield after every step of a training on grey values 0..255, on the device where they lie.

    Args:
        config: what to train and how.
        pixels: the training images.
        labels: their classes, in the same order.
        seed: of weights, batches, pixels and codes.
        told: False hides the classes: every condition is zero.
    """
    torch.manual_seed(seed)  # weights
    shuffle = torch.Generator().manual_seed(seed)
    draws = torch.Generator(pixels.device).manual_seed(seed)
    model = build(config, pixels.shape[1]).to(pixels.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
    turns = config.epochs * (len(pixels) // config.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=turns)
    conditions = one_hot(labels, CLASSES) * float(told)

    def loss(rows: Tensor) -> Tensor:
        x, condition = binarize(pixels[rows], draws), conditions[rows]
        noise = torch.randn(len(x), config.latent, generator=draws, device=x.device)
        with mixed_precision(x.device, config.mixed):
            terms = conditional.conditional_elbo(
                x, condition, model.encoder, model.prior, model.decoder, bernoulli, noise
            )
        return -terms.bound.mean()

    batches = Minibatches(
        torch.arange(len(pixels), device=pixels.device), config.batch_size, shuffle
    )
    memory = checkpoints.current()
    memory.keep(model=model, optimizer=optimizer, schedule=schedule)
    memory.keep(draws=draws, batches=batches)
    game = play([Player("conditional vae", optimizer, loss)], batches, memory.turns(turns))
    for step in tqdm(game, total=turns, desc="conditional vae", unit="step"):
        schedule.step()
        yield Progress(step.turn, model, step.loss)


def build(config: Config, pixels: int = 784) -> CVAE:
    """Return untrained networks; the decoder's weights for the class start large.

    Otherwise the code, which the encoder fills from the first step on, takes over the class
    before the decoder listens to the label.
    """
    model = CVAE(
        Encoder(pixels, CLASSES, config.hidden, config.latent),
        StandardPrior(config.latent),
        Decoder(config.latent, CLASSES, config.hidden[::-1], pixels),
    )
    with torch.no_grad():
        model.decoder.condition.weight.mul_(LOUD)
    return model


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return (config.data,)


def load_data(config: Config) -> tuple[ImageSet, ImageSet]:
    """Return the training and the test set."""
    return pictures.load(config.data)


def measure(
    config: Config,
    model: CVAE,
    pixels: UInt8[Tensor, "images pixels"],
    labels: Int[Tensor, " images"],
) -> dict[str, float]:
    """Return -log p(x|y) by importance weighting, the negative bound and its KL, in nats.

    The images are binarised once, and the same in every run.
    """
    x = binarize(pixels.cpu(), torch.Generator().manual_seed(0)).to(pixels.device)
    generator = torch.Generator(x.device).manual_seed(0)
    networks = model.encoder, model.prior, model.decoder
    totals = torch.zeros(3, dtype=torch.float64)
    for batch, y in zip(x.split(250), one_hot(labels, CLASSES).split(250), strict=True):
        noise = torch.randn(len(batch), config.latent, generator=generator, device=x.device)
        with torch.no_grad(), mixed_precision(x.device, config.mixed):
            terms = conditional.conditional_elbo(batch, y, *networks, bernoulli, noise)
            evidence = conditional.log_conditional(
                batch, y, *networks, bernoulli, config.samples, generator
            )
        totals += torch.stack([-evidence.sum(), -terms.bound.sum(), terms.kl.sum()]).cpu()
    nll, negative_elbo, kl = (totals / len(x)).tolist()
    return {
        "test_nll_nats": nll,
        "test_negative_elbo_nats": negative_elbo,
        "test_kl_nats": kl,
        "test_images": float(len(x)),
        "importance_samples": float(config.samples),
    }


def package(
    config: Config, model: CVAE, losses: list[Tensor], train_set: ImageSet, test_set: ImageSet
) -> Run:
    """Round the weights to what is stored, measure them, and return the run."""
    half_rounded(model)
    device = losses[0].device
    pixels = test_set.images[: config.test_images].flatten(1)
    labels = test_set.labels[: config.test_images]
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors["examples.x"] = pixels[:1000]
    tensors["examples.label"] = labels[:1000].to(torch.uint8)
    return Run(
        tensors=tensors,
        metrics=measure(config, model, pixels.to(device), labels.to(device)),
        history={"train_loss_nats": pictures.curve(losses)},
        data=pictures.records(config.data, train_set, test_set),
    )


def restore(run: Run) -> CVAE:
    """Return the networks of a run, in evaluation mode."""
    model = build(_config_of(run), run.tensors["examples.x"].shape[1])
    model.load_state_dict(run.part("model"))
    return model.eval().requires_grad_(False)


def draw(
    model: CVAE, labels: Int[Tensor, " images"], z: Float[Tensor, "images latent"]
) -> Float[Tensor, "images 1 side side"]:
    """Return the decoder's means for these classes and styles, grey values in [0, 1]."""
    means = torch.sigmoid(model.decoder(z, one_hot(labels, CLASSES).to(z)))
    side = math.isqrt(means.shape[1])
    return means.view(-1, 1, side, side)


def sample(run: Run, count: int, generator: torch.Generator) -> Float[Tensor, "count 1 side side"]:
    """Return the decoder's means for codes from the prior, the classes in turn."""
    z = torch.randn(count, run.provenance["config"]["latent"], generator=generator)
    return draw(restore(run), torch.arange(count) % CLASSES, z)


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights on the test set anew."""
    config = _config_of(run)
    test_set = load_data(config)[1]
    pixels = test_set.images[: config.test_images].flatten(1).to(device)
    labels = test_set.labels[: config.test_images].to(device)
    return measure(config, restore(run).to(device), pixels, labels)


def _config_of(run: Run) -> Config:
    """Return a run's config; a file's JSON holds the tuple as a list."""
    stored = run.provenance["config"]
    return Config(**stored | {"hidden": tuple(stored["hidden"])})
