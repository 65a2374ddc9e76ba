"""Complete a digit from one, two or three quadrants: conditional VAEs against two baselines.

Chapter: book/vae/conditional.md.  Proof: tests/recipes/test_vae_conditional.py.
Reference: Sohn, Lee & Yan (2015), section 5.1 and table 1.

Pixels are drawn anew from Bernoulli(grey value) each time an image is seen in training; the test
images are drawn once. For each number of quadrants there is a CVAE with a learned prior and a
baseline network that gives every hidden pixel one probability. Nearest neighbours are looked up
among the training images.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from litgen import checkpoints
from litgen.blocks import MLP
from litgen.data.sources import ImageSet
from litgen.recipes import pictures
from litgen.recipes.vae.digits import binarize
from litgen.runs import Run
from litgen.shapes import Float, UInt8
from litgen.training import Minibatches, Player, half_rounded, mixed_precision, play
from litgen.vae import conditional
from litgen.vae.conditional_networks import CVAE, Decoder, Encoder, LearnedPrior
from litgen.vae.likelihoods import bernoulli
from litgen.vae.quadrants import Quadrants, nearest, neighbour_probabilities

__all__ = [
    "CPU",
    "GPU",
    "Config",
    "build",
    "complete",
    "data",
    "evaluate",
    "fit",
    "load_data",
    "measure",
    "neighbours",
    "restore",
    "sample",
    "test_images",
    "train",
]

CHOICES = [(1, 0.1), (1, 0.2), (1, 0.4), (10, 0.3), (10, 0.6), (40, 0.5), (40, 1.0)]
"""Neighbours and pseudo-counts among which the training images choose."""


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        data: mnist or fashion_mnist.
        quadrants: how many are seen, for each pair of models.
        hidden: widths of the encoder's layers; the prior's and the decoder's are like them.
        baseline: widths of the baseline network's layers.
        latent: dimensions of z.
        epochs: passes over the training images, for the CVAE.
        baseline_epochs: the same for the baseline.
        batch_size: images in a step.
        learning_rate: of Adam at the start; it falls to zero along half a cosine.
        known: training images among which neighbours are looked up; 500 others validate.
        test_images: images of the test set that are evaluated.
        samples: codes for log p(x|y), from the encoder and from the prior.
        mixed: let networks compute in bfloat16 where the hardware has it.
    """

    data: Literal["mnist", "fashion_mnist"] = "mnist"
    quadrants: tuple[int, ...] = (1, 2, 3)
    hidden: tuple[int, ...] = (192,)
    baseline: tuple[int, ...] = (192,)
    latent: int = 16
    epochs: int = 1
    baseline_epochs: int = 1
    batch_size: int = 100
    learning_rate: float = 2e-3
    known: int = 10_000
    test_images: int = 1_000
    samples: int = 50
    mixed: bool = True


CPU = Config()
GPU = Config(
    hidden=(176, 176),
    baseline=(176, 176),
    latent=32,
    epochs=100,
    baseline_epochs=15,
    batch_size=500,
    learning_rate=1e-3,
    known=59_500,
    test_images=10_000,
    samples=2_000,
)


class Progress(NamedTuple):
    """Where a training stands after a step; the loss is detached."""

    turn: int
    model: nn.Module
    loss: Tensor


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train a CVAE and a baseline for every number of quadrants; measure both and neighbours."""
    train_set, test_set = load_data(config)
    pixels = train_set.images.flatten(1).to(device)
    x = test_images(config, test_set).to(device)
    tensors = {"examples.x": x[:500].to(torch.uint8).cpu()}
    tensors["examples.label"] = test_set.labels[: len(x)][:500].to(torch.uint8)
    metrics: dict[str, float] = {"test_images": float(len(x)), "samples": float(config.samples)}
    history = {}
    with pictures.one_thread(device):
        for count in config.quadrants:
            for kind in ("cvae", "baseline"):
                losses: list[Tensor] = []
                with checkpoints.part(f"{kind}{count}") as memory:
                    memory.keep(losses=losses)
                    for now in fit(config, kind, count, pixels, seed):
                        losses.append(now.loss)
                half_rounded(now.model)
                history[f"{kind}_{count}_nats"] = pictures.curve(losses)
                for name, value in now.model.state_dict().items():
                    tensors[f"{kind}{count}.{name}"] = value
                metrics |= measure(config, kind, count, now.model, x)
            metrics |= neighbours(config, count, pixels, x)
    return Run(tensors, metrics, history, pictures.records(config.data, train_set, test_set))


def fit(
    config: Config,
    kind: str,
    count: int,
    pixels: UInt8[Tensor, "images pixels"],
    seed: int,
) -> Iterator[Progress]:
    """Yield after every step of a training on grey values 0..255, on the device where they lie.

    Args:
        config: what to train and how.
        kind: cvae or baseline.
        count: quadrants that are seen.
        pixels: the training images.
        seed: of weights, batches, pixels and codes.
    """
    torch.manual_seed(seed)  # weights
    shuffle = torch.Generator().manual_seed(seed)
    draws = torch.Generator(pixels.device).manual_seed(seed)
    model = build(config, kind, count, pixels.shape[1]).to(pixels.device)
    hidden, seen = Quadrants(math.isqrt(pixels.shape[1]), count).split(pixels)
    rest = hidden.shape[1]
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
    epochs = config.epochs if kind == "cvae" else config.baseline_epochs
    turns = epochs * (len(pixels) // config.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=turns)

    def loss(batch: Tensor) -> Tensor:
        pair = binarize(batch, draws)
        x, condition = pair[:, :rest], pair[:, rest:]
        with mixed_precision(x.device, config.mixed):
            if isinstance(model, CVAE):
                noise = torch.randn(len(x), config.latent, generator=draws, device=x.device)
                networks = model.encoder, model.prior, model.decoder
                terms = conditional.conditional_elbo(x, condition, *networks, bernoulli, noise)
                return -terms.bound.mean()
            return -bernoulli(x, model(condition).float()).mean()

    parts = torch.cat([hidden, seen], dim=1)  # cut once, not at every step
    batches = Minibatches(parts, config.batch_size, shuffle)
    memory = checkpoints.current()
    memory.keep(model=model, optimizer=optimizer, schedule=schedule)
    memory.keep(draws=draws, batches=batches)
    game = play([Player(kind, optimizer, loss)], batches, memory.turns(turns))
    for step in tqdm(game, total=turns, desc=f"{kind}, {count} seen", unit="step"):
        schedule.step()
        yield Progress(step.turn, model, step.loss)


def build(config: Config, kind: str, count: int, pixels: int = 784) -> nn.Module:
    """Return an untrained CVAE, or a baseline network.

    Raises:
        ValueError: an unknown kind, or a count that is not 1, 2 or 3.
    """
    given = int(Quadrants(math.isqrt(pixels), count).seen.sum())
    rest = pixels - given
    if kind == "baseline":
        return MLP([given, *config.baseline, rest])
    if kind != "cvae":
        raise ValueError(f"unknown kind {kind!r}; there are: cvae, baseline")
    return CVAE(
        Encoder(rest, given, config.hidden, config.latent),
        LearnedPrior(given, config.hidden, config.latent),
        Decoder(config.latent, given, config.hidden[::-1], rest),
    )


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return (config.data,)


def load_data(config: Config) -> tuple[ImageSet, ImageSet]:
    """Return the training and the test set."""
    return pictures.load(config.data)


def test_images(config: Config, test_set: ImageSet) -> Float[Tensor, "images pixels"]:
    """Return the binarised test images, drawn once and the same in every run."""
    grey = test_set.images[: config.test_images].flatten(1)
    return binarize(grey, torch.Generator().manual_seed(0))


@torch.no_grad()
def measure(
    config: Config,
    kind: str,
    count: int,
    model: nn.Module,
    images: Float[Tensor, "images pixels"],
) -> dict[str, float]:
    """Return the mean of -log p(x|y) in nats: exact for a baseline, by samples for a CVAE."""
    x, condition = Quadrants(math.isqrt(images.shape[1]), count).split(images)
    if not isinstance(model, CVAE):
        return {f"{kind}_{count}_nats": -bernoulli(x, model(condition)).mean().item()}
    encoder, prior, decoder = model.encoder, model.prior, model.decoder
    found = {}
    proposals: dict[str, conditional.ConditionalEncoder] = {
        "importance": encoder,
        "monte_carlo": conditional.from_prior(prior),
    }
    for name, proposal in proposals.items():
        generator = torch.Generator(x.device).manual_seed(0)
        total = torch.zeros((), dtype=torch.float64, device=x.device)
        for part, given in zip(x.split(250), condition.split(250), strict=True):
            with mixed_precision(x.device, config.mixed):
                total -= conditional.log_conditional(
                    *(part, given, proposal, prior, decoder, bernoulli),
                    *(config.samples, generator),
                ).sum()
        found[f"{kind}_{count}_{name}_nats"] = total.item() / len(x)
    mean, log_var = encoder(x, condition)
    noise = torch.randn(mean.shape, generator=generator, device=x.device)
    terms = conditional.conditional_elbo(
        x, condition, lambda *_: (mean, log_var), prior, decoder, bernoulli, noise
    )
    found[f"{kind}_{count}_negative_elbo_nats"] = -terms.bound.mean().item()
    found[f"{kind}_{count}_kl_nats"] = terms.kl.mean().item()
    return found


@torch.no_grad()
def neighbours(
    config: Config,
    count: int,
    pixels: UInt8[Tensor, "train pixels"],
    images: Float[Tensor, "test pixels"],
) -> dict[str, float]:
    """Return -log p(x|y) of the nearest neighbour and of the best number of them, in nats.

    Both numbers, of neighbours and pseudo-counts, are chosen on training images that are no
    neighbours.
    """
    cut = Quadrants(math.isqrt(images.shape[1]), count)
    known, validation = pixels[: config.known], pixels[config.known :][:500]
    draws = torch.Generator().manual_seed(1)
    known_condition = cut.split(binarize(known.cpu(), draws))[1].to(pixels.device)
    known_x = cut.split(known)[0].float() / 255
    most = max(k for k, _ in CHOICES)

    def nats(x: Tensor, order: Tensor, k: int, pseudo_count: float) -> float:
        near = neighbour_probabilities(known_x, order[:, :k], pseudo_count)
        return -bernoulli(x, near.logit()).mean().item()

    x, condition = cut.split(binarize(validation.cpu(), draws).to(pixels.device))
    order = nearest(condition, known_condition, most)
    errors = {choice: nats(x, order, *choice) for choice in CHOICES}
    best = min(CHOICES, key=errors.__getitem__)
    single = min((choice for choice in CHOICES if choice[0] == 1), key=errors.__getitem__)
    x, condition = cut.split(images)
    order = nearest(condition, known_condition, most)
    return {
        f"nearest_{count}_nats": nats(x, order, *single),
        f"neighbours_{count}_nats": nats(x, order, *best),
        f"neighbours_{count}": float(best[0]),
    }


def restore(run: Run) -> dict[str, nn.Module]:
    """Return the networks of a run by kind and count, ``cvae1`` to ``baseline3``."""
    config = _config_of(run)
    pixels = run.tensors["examples.x"].shape[1]
    models = {}
    for count in config.quadrants:
        for kind in ("cvae", "baseline"):
            model = build(config, kind, count, pixels)
            model.load_state_dict(run.part(f"{kind}{count}"))
            models[f"{kind}{count}"] = model.eval().requires_grad_(False)
    return models


def complete(
    model: CVAE, condition: Float[Tensor, "batch given"], noise: Float[Tensor, "samples batch z"]
) -> Float[Tensor, "samples batch rest"]:
    """Return the probabilities of the hidden pixels for codes from the learned prior."""
    mean, log_var = model.prior(condition)
    z = mean + (0.5 * log_var).exp() * noise
    return torch.sigmoid(model.decoder(z, condition))


def sample(run: Run, count: int, generator: torch.Generator) -> Float[Tensor, "count 1 side side"]:
    """Return test images completed from the fewest quadrants of the run, one code each.

    Raises:
        ValueError: more images than the run keeps.
    """
    images = run.tensors["examples.x"].float()
    if count > len(images):
        raise ValueError(f"the run keeps {len(images)} images, {count} asked for")
    config = _config_of(run)
    side, few = math.isqrt(images.shape[1]), min(config.quadrants)
    cut = Quadrants(side, few)
    condition = cut.split(images[:count])[1]
    model = restore(run)[f"cvae{few}"]
    assert isinstance(model, CVAE)
    noise = torch.randn(1, count, config.latent, generator=generator)
    return cut.join(complete(model, condition, noise)[0], condition).view(-1, 1, side, side)


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights on the test set anew."""
    config = _config_of(run)
    train_set, test_set = load_data(config)
    x, pixels = test_images(config, test_set).to(device), train_set.images.flatten(1).to(device)
    metrics: dict[str, float] = {"test_images": float(len(x)), "samples": float(config.samples)}
    for name, model in restore(run).items():
        kind, count = name[:-1], int(name[-1])
        metrics |= measure(config, kind, count, model.to(device), x)
    for count in config.quadrants:
        metrics |= neighbours(config, count, pixels, x)
    return metrics


def _config_of(run: Run) -> Config:
    """Return a run's config; a file's JSON holds tuples as lists."""
    stored = run.provenance["config"]
    lists = {name: tuple(stored[name]) for name in ("quadrants", "hidden", "baseline")}
    return Config(**stored | lists)
