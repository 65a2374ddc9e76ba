"""Train a VAE on the two moons, and put it into the comparison of all families.

Chapter: book/start/why_generative.md.  Proof: tests/recipes/test_vae_moons.py.
Reference: Kingma & Welling, "Auto-Encoding Variational Bayes" (2014).

The likelihood is a Gaussian with one learned scale; a sample is a decoded code plus its noise. The
log-density is that of importance weighting (eq:importance-bound): below the true value by less
than 0.01 nats a test point in the mean, which the proof measures.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from litgen import checkpoints
from litgen.recipes import comparison
from litgen.runs import Run
from litgen.shapes import Float
from litgen.training import Minibatches, Player, half_rounded, play
from litgen.vae import elbo
from litgen.vae.likelihoods import gaussian_pixels
from litgen.vae.networks import DenseDecoder, DenseEncoder

__all__ = [
    "CPU",
    "GPU",
    "Config",
    "MoonVAE",
    "data",
    "evaluate",
    "fit",
    "log_prob",
    "restore",
    "sample",
    "train",
]


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        hidden: widths of the encoder's layers; the decoder's are the same, reversed.
        latent: dimensions of z.
        steps: updates.
        batch_size: points in a step.
        learning_rate: of Adam at the start; it falls to zero along half a cosine.
        samples: importance samples of the log-density.
    """

    hidden: tuple[int, ...] = (64, 64)
    latent: int = 2
    steps: int = 2_400
    batch_size: int = 250
    learning_rate: float = 3e-3
    samples: int = 100


CPU = Config()
GPU = Config(hidden=(256, 256, 256), steps=60_000, batch_size=1_000, samples=1_000)


class MoonVAE(nn.Module):
    """An encoder, a decoder, and the log of the scale of the noise around what it decodes."""

    def __init__(self, config: Config):
        super().__init__()
        self.latent = config.latent
        self.encoder = DenseEncoder(2, config.hidden, config.latent)
        self.decoder = DenseDecoder(config.latent, config.hidden[::-1], 2)
        self.log_scale = nn.Parameter(torch.zeros(()))

    def log_likelihood(
        self, x: Float[Tensor, "*#batch 2"], mean: Float[Tensor, "*#batch 2"]
    ) -> Float[Tensor, "*batch"]:
        """Return log p(x|z), given what the decoder makes of z."""
        return gaussian_pixels(x, mean, self.log_scale)


class Progress(NamedTuple):
    """Where a training stands after a step; the loss is detached."""

    turn: int
    model: MoonVAE
    loss: Tensor


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train by raising the ELBO with Adam; return weights, the curve and the shared metrics."""
    losses: list[Tensor] = []
    checkpoints.current().keep(losses=losses)
    for now in fit(config, comparison.train_points().to(device), seed):
        losses.append(now.loss)
    model = half_rounded_model(now.model)
    curve = torch.stack(losses).cpu().tensor_split(min(100, len(losses)))
    return comparison.package(
        model.state_dict(),
        lambda count, generator: draw(model, count, generator),
        lambda x: log_prob(model, x, config.samples),
        {"train_loss_nats": [part.mean().item() for part in curve]},
    )


def fit(config: Config, points: Float[Tensor, "count 2"], seed: int) -> Iterator[Progress]:
    """Yield after every step of a training, on the device where the points lie."""
    torch.manual_seed(seed)  # weights
    shuffle = torch.Generator().manual_seed(seed)
    noises = torch.Generator(points.device).manual_seed(seed)
    model = MoonVAE(config).to(points.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=config.steps)

    def loss(x: Tensor) -> Tensor:
        noise = torch.randn(len(x), config.latent, generator=noises, device=x.device)
        return -elbo.elbo(
            x, model.encoder, model.decoder, model.log_likelihood, noise
        ).bound.mean()

    batches = Minibatches(points, config.batch_size, shuffle)
    memory = checkpoints.current()
    memory.keep(
        model=model, optimizer=optimizer, schedule=schedule, noises=noises, batches=batches
    )
    game = play([Player("vae", optimizer, loss)], batches, memory.turns(config.steps))
    for step in tqdm(game, total=config.steps, desc="vae", unit="step"):
        schedule.step()
        yield Progress(step.turn, model, step.loss)


def half_rounded_model(model: MoonVAE) -> MoonVAE:
    """Round the weights to what is stored, and fix them."""
    half_rounded(model)
    return model.eval().requires_grad_(False)


def draw(model: MoonVAE, count: int, generator: torch.Generator) -> Float[Tensor, "count 2"]:
    """Decode codes from the prior and add the likelihood's noise."""
    device = model.log_scale.device
    z = torch.randn(count, model.latent, generator=generator).to(device)
    noise = torch.randn(count, 2, generator=generator).to(device)
    points: Tensor = model.decoder(z) + model.log_scale.exp() * noise
    return points


def log_prob(model: MoonVAE, x: Float[Tensor, "count 2"], samples: int) -> Float[Tensor, " count"]:
    """Return log p(x) in nats by importance weighting with codes from the encoder.

    The same codes' noise is drawn at every call, so that a model's density is one function.
    """
    x = x.to(model.log_scale)
    generator = torch.Generator(x.device).manual_seed(0)
    return elbo.log_evidence(
        x, model.encoder, model.decoder, model.log_likelihood, samples, generator
    )


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return ("moons",)


def restore(run: Run) -> MoonVAE:
    """Return the network of a run, in evaluation mode."""
    model = MoonVAE(_config_of(run))
    model.load_state_dict(run.part("model"))
    return model.eval().requires_grad_(False)


def sample(run: Run, count: int, generator: torch.Generator) -> Float[Tensor, "count 2"]:
    """Draw points from a run's model."""
    return draw(restore(run), count, generator)


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights anew by the shared metrics."""
    model, samples = restore(run).to(device), _config_of(run).samples
    metrics = comparison.score(
        lambda count, generator: draw(model, count, generator),
        lambda x: log_prob(model, x, samples),
    )
    return metrics | {"parameters": sum(p.numel() for p in model.parameters())}


def _config_of(run: Run) -> Config:
    """Return a run's config; a file's JSON holds the tuple as a list."""
    stored = run.provenance["config"]
    return Config(**stored | {"hidden": tuple(stored["hidden"])})
