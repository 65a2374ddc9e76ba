"""Train a VAE on binarised handwritten digits and measure its likelihood.

Chapter: book/vae/elbo.md.  Proof: tests/recipes/test_vae.py.
References: Kingma & Welling (2014); Burda, Grosse & Salakhutdinov (2016), whose protocol this is:
pixels are drawn anew from Bernoulli(grey value) each time an image is seen in training.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from litgen import checkpoints
from litgen.data import fashion_mnist, mnist
from litgen.data.sources import ImageSet
from litgen.recipes.pictures import one_thread
from litgen.runs import Run
from litgen.shapes import Float, UInt8
from litgen.training import Minibatches, Player, half_rounded, mixed_precision, play
from litgen.vae import elbo
from litgen.vae.convolutional import StridedEncoder, TransposedDecoder
from litgen.vae.likelihoods import bernoulli
from litgen.vae.networks import VAE, ConvDecoder, ConvEncoder, DenseDecoder, DenseEncoder
from litgen.vae.residual import ResidualDecoder, ResidualEncoder

__all__ = [
    "CPU",
    "GPU",
    "Config",
    "binarize",
    "build",
    "data",
    "evaluate",
    "fit",
    "load_data",
    "package",
    "restore",
    "sample",
    "train",
]

Network = Literal["dense", "convolutional", "strided", "residual"]
LOADERS: dict[str, Callable[..., ImageSet]] = {
    "mnist": mnist.load,
    "fashion_mnist": fashion_mnist.load,
}


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        data: mnist or fashion_mnist.
        network: dense, convolutional, strided (no normalisation) or residual.
        hidden: widths of the dense layers, or channels of the first convolution; for a residual
            network its channels and its blocks at each size.
        latent: dimensions of z.
        epochs: passes over the 60,000 images.
        batch_size: images in a step.
        learning_rate: of Adam at the start; it falls to zero along half a cosine.
        test_images: images of the test set that are evaluated.
        samples: importance samples for log p(x).
        mixed: let networks compute in bfloat16 where the hardware has it.
    """

    data: Literal["mnist", "fashion_mnist"] = "mnist"
    network: Network = "dense"
    hidden: tuple[int, ...] = (400,)
    latent: int = 20
    epochs: int = 4
    batch_size: int = 128
    learning_rate: float = 2e-3
    test_images: int = 2_000
    samples: int = 100
    mixed: bool = True


CPU = Config()
GPU = Config(
    network="convolutional",
    hidden=(64,),
    latent=32,
    epochs=200,
    batch_size=256,
    test_images=10_000,
    samples=5_000,
)


class Progress(NamedTuple):
    """Where a training stands after a step; the loss is detached."""

    turn: int
    model: VAE
    loss: Tensor


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train by raising the ELBO with Adam; return weights, the curve and test metrics.

    Raises:
        ValueError: ``hidden`` does not fit ``network``.
    """
    train_set, test_set = load_data(config)
    losses: list[Tensor] = []
    checkpoints.current().keep(losses=losses)
    with one_thread(device):
        for now in fit(config, train_set.images.flatten(1).to(device), seed):
            losses.append(now.loss)
    return package(config, now.model, torch.stack(losses), train_set, test_set)


def fit(
    config: Config,
    pixels: UInt8[Tensor, "images pixels"],
    seed: int,
    log_likelihood: elbo.LogLikelihood = bernoulli,
) -> Iterator[Progress]:
    """Yield after every step of a training on grey values 0..255, on the device where they lie."""
    torch.manual_seed(seed)  # weights
    shuffle = torch.Generator().manual_seed(seed)
    draw = torch.Generator(pixels.device).manual_seed(seed)
    model = build(config, pixels.shape[1]).to(pixels.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
    turns = config.epochs * (len(pixels) // config.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=turns)

    def loss(batch: Tensor) -> Tensor:
        x = binarize(batch, draw)
        noise = torch.randn(len(x), config.latent, generator=draw, device=x.device)
        with mixed_precision(x.device, config.mixed):
            terms = elbo.elbo(x, model.encoder, model.decoder, log_likelihood, noise)
        return -terms.bound.mean()

    batches = Minibatches(pixels, config.batch_size, shuffle)
    memory = checkpoints.current()
    memory.keep(model=model, optimizer=optimizer, schedule=schedule, draw=draw, batches=batches)
    game = play([Player("vae", optimizer, loss)], batches, memory.turns(turns))
    for step in tqdm(game, total=turns, desc="vae", unit="step"):
        schedule.step()
        yield Progress(step.turn, model, step.loss)


def binarize(
    grey: UInt8[Tensor, "images pixels"], generator: torch.Generator
) -> Float[Tensor, "images pixels"]:
    """Draw 0/1 pixels with the grey values 0..255 as probabilities. Implements eq:binarization."""
    uniform = torch.rand(grey.shape, generator=generator, device=grey.device)
    return (uniform * 255 < grey).float()


def build(config: Config, pixels: int = 784) -> VAE:
    """Return an untrained network.

    Raises:
        ValueError: ``hidden`` does not fit ``network``, or an unknown network.
    """
    if config.network == "dense":
        return VAE(
            DenseEncoder(pixels, config.hidden, config.latent),
            DenseDecoder(config.latent, config.hidden[::-1], pixels),
        )
    networks: dict[str, tuple[type[nn.Module], type[nn.Module]]] = {
        "convolutional": (ConvEncoder, ConvDecoder),
        "strided": (StridedEncoder, TransposedDecoder),
        "residual": (ResidualEncoder, ResidualDecoder),
    }
    if config.network not in networks:
        known = ", ".join(["dense", *networks])
        raise ValueError(f"unknown network {config.network!r}; there are: {known}")
    wanted = 2 if config.network == "residual" else 1
    if len(config.hidden) != wanted:
        takes = "channels and blocks" if wanted == 2 else "one width"
        raise ValueError(f"a {config.network} network takes {takes}, got {config.hidden}")
    side, (encoder, decoder) = math.isqrt(pixels), networks[config.network]
    return VAE(
        encoder(side, *config.hidden, config.latent), decoder(config.latent, *config.hidden, side)
    )


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return (config.data,)


def load_data(config: Config) -> tuple[ImageSet, ImageSet]:
    """Return the training and the test set."""
    train_set, test_set = (LOADERS[config.data](split) for split in ("train", "test"))
    return train_set, test_set


def test_batch(config: Config, images: UInt8[Tensor, "..."]) -> Float[Tensor, "images pixels"]:
    """Return the binarised test images, drawn once and the same in every run."""
    return binarize(images[: config.test_images].flatten(1), torch.Generator().manual_seed(0))


def measure(config: Config, model: VAE, x: Float[Tensor, "images pixels"]) -> dict[str, float]:
    """Return the test ELBO, its two terms, and -log p(x) by importance weighting, in nats."""
    generator = torch.Generator(x.device).manual_seed(0)
    nll, reconstruction, kl = [], [], []
    for batch in torch.split(x, 250):
        noise = torch.randn(len(batch), config.latent, generator=generator, device=x.device)
        with torch.no_grad(), mixed_precision(x.device, config.mixed):
            terms = elbo.elbo(batch, model.encoder, model.decoder, bernoulli, noise)
            evidence = elbo.log_evidence(
                batch, model.encoder, model.decoder, bernoulli, config.samples, generator
            )
        reconstruction.append(terms.reconstruction)
        kl.append(terms.kl)
        nll.append(-evidence)
    rate, distortion = torch.cat(kl).mean().item(), -torch.cat(reconstruction).mean().item()
    return {
        "test_nll_nats": torch.cat(nll).mean().item(),
        "test_negative_elbo_nats": rate + distortion,
        "test_kl_nats": rate,
        "test_reconstruction_nats": distortion,
        "test_images": len(x),
        "importance_samples": config.samples,
    }


def package(
    config: Config,
    model: VAE,
    losses: Float[Tensor, " steps"],
    train_set: ImageSet,
    test_set: ImageSet,
) -> Run:
    """Round the weights to what is stored, measure them, and return the run."""
    half_rounded(model)
    device = losses.device
    x = test_batch(config, test_set.images)
    curve = torch.tensor_split(losses.cpu(), min(100, len(losses)))
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors["examples.x"] = x[:1000].to(torch.uint8)
    tensors["examples.label"] = test_set.labels[:1000].to(torch.uint8)
    return Run(
        tensors=tensors,
        metrics=measure(config, model, x.to(device)),
        history={"train_loss_nats": [part.mean().item() for part in curve]},
        data=[
            dataclasses.asdict(images.record)
            | {"name": config.data, "title": images.record.name, "split": split}
            for split, images in (("train", train_set), ("test", test_set))
        ],
    )


def restore(run: Run) -> VAE:
    """Return the network of a run, in evaluation mode."""
    config = _config_of(run)
    model = build(config, run.tensors["examples.x"].shape[1])
    model.load_state_dict(run.part("model"))
    return model.eval().requires_grad_(False)


def sample(run: Run, count: int, generator: torch.Generator) -> Float[Tensor, "count 1 side side"]:
    """Return the decoder's means for codes drawn from the prior, grey values in [0, 1]."""
    z = torch.randn(count, run.provenance["config"]["latent"], generator=generator)
    means = torch.sigmoid(restore(run).decoder(z))
    side = math.isqrt(means.shape[1])
    return means.view(count, 1, side, side)


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights on the test set anew."""
    config = _config_of(run)
    test_set = load_data(config)[1]
    return measure(config, restore(run).to(device), test_batch(config, test_set.images).to(device))


def _config_of(run: Run) -> Config:
    """Return a run's config; a file's JSON holds the tuple as a list."""
    stored = run.provenance["config"]
    return Config(**stored | {"hidden": tuple(stored["hidden"])})
