"""Train a beta-VAE on shapes of five known factors, and watch its latents part.

Chapter: book/vae/beta.md.  Proof: tests/recipes/test_vae_shapes.py.
Reference: Higgins et al., "beta-VAE: Learning Basic Visual Concepts with a Constrained Variational
Framework" (2017).
"""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from litgen import checkpoints
from litgen.data import shapes
from litgen.data.sources import Split
from litgen.evaluation import disentanglement
from litgen.recipes.pictures import curve, one_thread
from litgen.recipes.vae.digits import binarize
from litgen.runs import Run
from litgen.shapes import Float, UInt8
from litgen.training import Minibatches, Player, half_rounded, mixed_precision, play
from litgen.vae import elbo, surgery
from litgen.vae.beta import rate_by_dimension, weighted_bound
from litgen.vae.likelihoods import bernoulli
from litgen.vae.networks import VAE, DenseDecoder, DenseEncoder

__all__ = ["CPU", "GPU", "Config", "build", "data", "evaluate", "fit", "load_pixels"]
__all__ += ["restore", "sample", "train", "traversal"]

STEPS = (-2.0, -1.33, -0.67, 0.0, 0.67, 1.33, 2.0)
"""Where a traversal looks, in standard deviations of the prior."""


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        beta: weight of the KL, 0 or more.
        shrink: pixels of the set, along a side, that are averaged into one.
        hidden: widths of the encoder's layers; the decoder's are the same, reversed.
        latent: dimensions of z.
        steps: updates.
        batch_size: images in a step.
        learning_rate: of Adam at the start; it falls to zero along half a cosine.
        moments: snapshots of the training.
        mixed: let networks compute in bfloat16 where the hardware has it.
    """

    beta: float = 2.0
    shrink: int = 2
    hidden: tuple[int, ...] = (128, 64)
    latent: int = 6
    steps: int = 1_500
    batch_size: int = 64
    learning_rate: float = 4e-3
    moments: int = 10
    mixed: bool = False


CPU = Config()
GPU = Config(
    beta=4.0,
    shrink=1,
    hidden=(1_024, 512),
    latent=10,
    steps=40_000,
    batch_size=256,
    learning_rate=5e-4,
    moments=24,
    mixed=True,
)


class Progress(NamedTuple):
    """Where a training stands after a step; the loss is detached."""

    turn: int
    model: VAE
    loss: Tensor


def fit(config: Config, pixels: UInt8[Tensor, "images pixels"], seed: int) -> Iterator[Progress]:
    """Yield after every step of a training on grey values 0..255, on the device where they lie."""
    torch.manual_seed(seed)  # weights
    shuffle = torch.Generator().manual_seed(seed)
    draw = torch.Generator(pixels.device).manual_seed(seed)
    model = build(config).to(pixels.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=config.steps)

    def loss(batch: Tensor) -> Tensor:
        x = binarize(batch, draw)
        noise = torch.randn(len(x), config.latent, generator=draw, device=x.device)
        with mixed_precision(x.device, config.mixed):
            terms = elbo.elbo(x, model.encoder, model.decoder, bernoulli, noise)
        return -weighted_bound(terms, config.beta).mean()

    batches = Minibatches(pixels, config.batch_size, shuffle)
    memory = checkpoints.current()
    memory.keep(model=model, optimizer=optimizer, schedule=schedule)
    memory.keep(draw=draw, batches=batches)
    game = play([Player("beta-vae", optimizer, loss)], batches, memory.turns(config.steps))
    for step in tqdm(game, total=config.steps, desc="beta-vae", unit="step"):
        schedule.step()
        yield Progress(step.turn, model, step.loss)


def build(config: Config) -> VAE:
    """Return an untrained network."""
    pixels = (shapes.SIDE // config.shrink) ** 2
    return VAE(
        DenseEncoder(pixels, config.hidden, config.latent),
        DenseDecoder(config.latent, config.hidden[::-1], pixels),
    )


def load_pixels(config: Config, split: Split) -> UInt8[Tensor, "images pixels"]:
    """Return the images of a split as the config sees them.

    Raises:
        ValueError: ``shrink`` does not divide the side.
    """
    if config.shrink < 1 or shapes.SIDE % config.shrink:
        raise ValueError(f"shrink must divide {shapes.SIDE}, got {config.shrink}")
    images = shapes.load(split).images.float()
    small = torch.nn.functional.avg_pool2d(images, config.shrink)
    return small.round().to(torch.uint8).flatten(1)


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train; return weights, the way through the plane of rate and distortion, and traversals."""
    pixels = load_pixels(config, "train").to(device)
    x = _drawn(pixels)
    some = torch.randperm(len(x), generator=torch.Generator().manual_seed(3))[:500]
    spread = torch.logspace(0, 1, config.moments)
    moments = ((spread - 1) / 9 * (config.steps - 1)).round().long().unique() + 1
    losses: list[Tensor] = []
    kept: list[tuple[float, float, Tensor]] = []
    checkpoints.current().keep(losses=losses, kept=kept)
    with one_thread(device):
        for now in fit(config, pixels, seed):
            losses.append(now.loss)
            if now.turn + 1 in moments:
                kept.append(_snapshot(config, now.model, x[some.to(device)]))
        half_rounded(now.model)
        found = _measured(config, now.model, x)
    test = {f"test_{name}": value for name, value in evaluate_model(config, now.model).items()}
    tensors = {f"model.{name}": value for name, value in now.model.state_dict().items()}
    tensors["snapshots.turn"] = moments
    tensors["snapshots.terms"] = torch.tensor([(rate, distortion) for rate, distortion, _ in kept])
    tensors["snapshots.traversal"] = torch.stack([picture for _, _, picture in kept])
    tensors["examples.x"] = load_pixels(config, "test")[:20]
    return Run(
        tensors=tensors,
        metrics=found | test,
        history={"train_loss_nats": curve(losses)},
        data=[
            dataclasses.asdict(shapes.load(split).record)
            | {"name": "shapes", "title": "drawn shapes", "split": split}
            for split in ("train", "test")
        ],
    )


def _drawn(pixels: UInt8[Tensor, "images pixels"]) -> Float[Tensor, "images pixels"]:
    """Return images drawn black and white, the same in every run."""
    return binarize(pixels, torch.Generator(pixels.device).manual_seed(0))


@torch.no_grad()
def _snapshot(config: Config, model: VAE, x: Tensor) -> tuple[float, float, Tensor]:
    """Return rate and distortion of some images, and the traversal in grey values 0..255."""
    rate, distortion = _terms(config, model, x)
    picture = traversal(model, config.latent).mul(255).round().to(torch.uint8)
    return rate.mean().item(), distortion.mean().item(), picture.cpu()


def _terms(config: Config, model: VAE, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return rate and distortion of each image, with the same noise at any time."""
    draw = torch.Generator(x.device).manual_seed(1)
    noise = torch.randn(len(x), config.latent, generator=draw, device=x.device)
    terms = elbo.elbo(x, model.encoder, model.decoder, bernoulli, noise)
    return terms.kl, -terms.reconstruction


@torch.no_grad()
def traversal(
    model: VAE, latent: int, code: Float[Tensor, " latent"] | None = None
) -> Float[Tensor, "latent steps side side"]:
    """Decode codes that differ from one code (zero unless given) in one latent at a time."""
    device = next(model.parameters()).device
    steps = torch.tensor(STEPS, device=device)
    start = torch.zeros(latent, device=device) if code is None else code
    codes = start.expand(latent, len(steps), latent).clone()
    for j in range(latent):
        codes[j, :, j] = steps
    means = torch.sigmoid(model.decoder(codes))
    side = math.isqrt(means.shape[-1])
    return means.view(latent, len(steps), side, side)


@torch.no_grad()
def _measured(config: Config, model: VAE, x: Tensor) -> dict[str, float]:
    """Return rate, distortion and scores of the training images, and the rate's three parts."""
    rate, distortion = _terms(config, model, x)
    mean, log_var = (part.cpu() for part in model.encoder(x))
    draw = torch.Generator().manual_seed(2)
    some = torch.randperm(len(x), generator=draw)[:1_500]  # N^2 densities
    noise = torch.randn(mean[some].shape, generator=draw)
    weights = surgery.exhaustive_log_weights(len(noise))
    parts = surgery.surgery(mean[some], log_var[some], noise, weights)
    levels = shapes.grid()
    informed = disentanglement.information(mean, log_var, levels)
    gap = disentanglement.information_gap(informed, disentanglement.entropies(levels))
    votes = disentanglement.vote_score(mean, levels, torch.Generator().manual_seed(0))
    found = {"rate_nats": rate.mean().item(), "distortion_nats": distortion.mean().item()}
    found |= {f"{name}_nats": value.item() for name, value in parts._asdict().items()}
    found |= {"mig": gap.mean().item(), "votes": votes}
    active = (rate_by_dimension(mean, log_var).mean(dim=0) > 0.1).sum().item()
    return found | {"active": float(active)}


@torch.no_grad()
def evaluate_model(config: Config, model: VAE) -> dict[str, float]:
    """Return rate and distortion of the test images, whose factors lie between the levels."""
    device = next(model.parameters()).device
    x = _drawn(load_pixels(config, "test").to(device))
    rate, distortion = _terms(config, model, x)
    return {"rate_nats": rate.mean().item(), "distortion_nats": distortion.mean().item()}


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return ("shapes",)


def _config_of(run: Run) -> Config:
    """Return a run's config; a file's JSON holds the tuple as a list."""
    stored = run.provenance["config"]
    return Config(**stored | {"hidden": tuple(stored["hidden"])})


def restore(run: Run) -> VAE:
    """Return the network of a run, in evaluation mode."""
    model = build(_config_of(run))
    model.load_state_dict(run.part("model"))
    return model.eval().requires_grad_(False)


def sample(run: Run, count: int, generator: torch.Generator) -> Float[Tensor, "count 1 side side"]:
    """Return the decoder's means for codes drawn from the prior, grey values in [0, 1]."""
    z = torch.randn(count, run.provenance["config"]["latent"], generator=generator)
    means: Tensor = torch.sigmoid(restore(run).decoder(z))
    side = math.isqrt(means.shape[-1])
    return means.view(count, 1, side, side)


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights on the test set anew, in nats."""
    return evaluate_model(_config_of(run), restore(run).to(device))
