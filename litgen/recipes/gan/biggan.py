"""Train a small BigGAN on clothes: hinge game, projection, skip-z, spectral norms, averaging.

Chapter: book/gan/biggan.md.  Proof: tests/recipes/test_gan_biggan.py.
Reference: Brock, Donahue & Simonyan, "Large Scale GAN Training for High Fidelity Natural Image
Synthesis" (2019).

What samples is a moving average of the generator's weights, with standing statistics: moments of
its own activations, for codes and classes of a seed of their own.
"""

import dataclasses
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from litgen import checkpoints
from litgen.evaluation.energy import energy_distance
from litgen.gan import hinge, networks, orthogonal
from litgen.gan.biggan import BigCritic, BigGenerator, baked
from litgen.gan.game import LastGood, Rules, adversaries
from litgen.gan.truncation import truncated
from litgen.recipes import pictures
from litgen.runs import Run
from litgen.shapes import Float, Int, UInt8
from litgen.training import Minibatches, half_rounded, plain_products, play

__all__ = [
    "CLASSES",
    "CPU",
    "GPU",
    "Config",
    "Players",
    "Progress",
    "config_of",
    "data",
    "draw",
    "evaluate",
    "fit",
    "measure",
    "restore",
    "sample",
    "settle",
    "train",
]


CLASSES = 10
SHOWN = 4
"""Codes of which an image in each class is kept from time to time."""


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        data: mnist or fashion_mnist.
        widths: channels of the generator's stages, coarsest first.
        critic_widths: channels of the critic's stages, finest first.
        chunk: numbers of the code that each block gets, and the first layer.
        embedding: numbers in a class's vector.
        convolutions: in each block's branch.
        spectral_norm: in both players.
        orthogonal: weight of the off-diagonal penalty on the generator's filters.
        turns: updates of the generator.
        critic_moves: updates of the critic in each turn.
        batch_size: images in a step, and samples.
        learning_rate: of the generator's Adam.
        critic_rate: of the critic's.
        average: decay of the moving average of the generator's weights.
        snapshots: moments of which images of the same codes and classes are kept.
        test_images: images that samples are measured against.
        mixed: let networks compute in bfloat16 where the hardware has it.
    """

    data: pictures.Name = "fashion_mnist"
    widths: tuple[int, ...] = (32, 16, 8)
    critic_widths: tuple[int, ...] = (16, 32, 64)
    chunk: int = 8
    embedding: int = 16
    convolutions: int = 1
    spectral_norm: bool = True
    orthogonal: float = 1e-4
    turns: int = 360
    critic_moves: int = 1
    batch_size: int = 24
    learning_rate: float = 5e-3
    critic_rate: float = 5e-3
    average: float = 0.97
    snapshots: int = 10
    test_images: int = 1_000
    mixed: bool = True


CPU = Config()
GPU = Config(
    widths=(192, 96, 48),
    critic_widths=(48, 96, 192),
    chunk=20,
    embedding=64,
    convolutions=2,
    turns=15_000,
    critic_moves=2,
    batch_size=256,
    learning_rate=2e-4,
    critic_rate=5e-4,
    average=0.999,
    test_images=10_000,
)


class Players(nn.Module):
    """A generator from codes and classes to images, and a critic from both to values."""

    def __init__(self, config: Config):
        super().__init__()
        self.generator = BigGenerator(
            config.chunk,
            CLASSES,
            config.embedding,
            config.widths,
            convolutions=config.convolutions,
            spectral_norm=config.spectral_norm,
        )
        self.critic = BigCritic(CLASSES, config.critic_widths, spectral_norm=config.spectral_norm)


class Progress(NamedTuple):
    """Where a game stands after a turn; ``averaged`` is the generator that samples.

    Losses are detached. ``warning`` is empty, or says that the game diverged and was stopped.
    """

    turn: int
    players: Players
    averaged: BigGenerator
    critic_loss: Tensor
    generator_loss: Tensor
    warning: str = ""


def fit(
    config: Config,
    images: UInt8[Tensor, "images 1 height width"],
    labels: Int[Tensor, " images"],
    seed: int,
) -> Iterator[Progress]:
    """Yield after every turn of the game, on the device of the images.

    Samples are asked for the classes of the data in the same batch. The generator's loss has the
    off-diagonal penalty added to it, and its weights are averaged as they go: eq:big-average.

    Args:
        config: the players and their pace.
        images: grey values 0..255.
        labels: their classes, in the same order.
        seed: of weights, order of the data, and codes.
    """
    torch.manual_seed(seed)  # weights
    device = images.device
    shuffle, codes = torch.Generator().manual_seed(seed), torch.Generator(device).manual_seed(seed)
    players = Players(config).to(device)
    latent = players.generator.latent
    averaged = AveragedModel(players.generator, multi_avg_fn=get_ema_multi_avg_fn(config.average))
    pairs = (players.critic, config.critic_rate), (players.generator, config.learning_rate)
    optimizers = [
        torch.optim.Adam(net.parameters(), rate, (0.0, 0.99), fused=True) for net, rate in pairs
    ]
    watch = LastGood(nn.ModuleList([players, averaged]))
    critic, generator = adversaries(
        players.generator,
        players.critic,
        (optimizers[0], optimizers[1]),
        lambda count: torch.randn(count, latent, generator=codes, device=device),
        Rules(
            hinge.critic_loss, hinge.generator_loss, None, config.critic_moves, False, config.mixed
        ),
        load=lambda rows: (pictures.to_unit(images.index_select(0, rows)), labels[rows]),
    )

    def regularised(batch: Tensor) -> Tensor:
        """Return the generator's loss with its penalty, on the weights that made the samples."""
        with parametrize.cached():
            loss = generator.loss(batch)
            if config.orthogonal == 0:
                return loss
            return loss + config.orthogonal * orthogonal.total_penalty(players.generator)

    moves = [critic, dataclasses.replace(generator, loss=regularised)]
    rows = torch.arange(len(images), device=device)
    batches = Minibatches(rows, config.batch_size, shuffle)
    memory = checkpoints.current()
    memory.keep(players=players, averaged=averaged, codes=codes, batches=batches, watch=watch)
    memory.keep(optimizers=dict(enumerate(optimizers)))
    game = play(moves, batches, memory.turns(config.turns))
    total = (1 + config.critic_moves) * config.turns
    for step in tqdm(game, total=total, desc="biggan", unit="step"):
        if step.player == "critic":
            last = step.loss
            continue
        averaged.update_parameters(players.generator)
        inner = averaged.module
        assert isinstance(inner, BigGenerator)
        warning = "" if watch.fine(step.turn, last, step.loss) else watch.restore()
        yield Progress(step.turn, players, inner, last, step.loss, warning)
        if warning:
            return


def settle(
    generator: BigGenerator, threshold: float | None = None, seed: int = 0, batches: int = 4
) -> None:
    """Give batch normalisation the moments of the generator's own activations.

    Args:
        generator: whose running moments are set; it is left in evaluation mode.
        threshold: at which codes are cut; None takes them as they are drawn.
        seed: of the codes.
        batches: of 250 codes, classes in turn.
    """
    device = next(generator.parameters()).device
    draws = torch.Generator().manual_seed(seed)
    shape, asked = (250, generator.latent), torch.arange(250) % CLASSES

    def codes() -> Tensor:
        if threshold is None:
            return torch.randn(shape, generator=draws)
        return truncated(torch.rand(shape, generator=draws).clamp(1e-7, 1 - 1e-7), threshold)

    with torch.no_grad():
        networks.settle(
            generator, [(codes().to(device), asked.to(device)) for _ in range(batches)]
        )


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Play on all images; keep the averaged generator, the critic, curves and snapshots."""
    train_set, test_set = pictures.load(config.data)
    latent = config.chunk * len(config.widths)
    codes = torch.randn(SHOWN, latent, generator=torch.Generator().manual_seed(1))
    last = config.snapshots - 1
    moments = {round(config.turns ** (i / last)) for i in range(config.snapshots)}
    curves: dict[str, list[Tensor]] = {"critic_loss": [], "generator_loss": []}
    shots: dict[int, Tensor] = {}
    checkpoints.current().keep(curves=curves, shots=shots)
    with pictures.one_thread(device), plain_products(device):
        for now in fit(config, train_set.images.to(device), train_set.labels.to(device), seed):
            curves["critic_loss"].append(now.critic_loss)
            curves["generator_loss"].append(now.generator_loss)
            if now.turn + 1 in moments or now.warning:
                settle(now.averaged)
                shots[now.turn + 1] = shot(now.averaged, codes.to(device))
                now.averaged.train()
    if now.warning:
        warnings.warn(now.warning, RuntimeWarning, stacklevel=2)
    players = now.players
    test = test_set.images.to(device), test_set.labels.to(device)
    settle(players.generator)
    unaveraged = measure(config, players, *test)["test_energy_distance"]
    players.generator.load_state_dict(now.averaged.state_dict())
    settle(players.generator)  # the power steps follow the averaged weights meanwhile
    baked(players.eval()).requires_grad_(False)
    half_rounded(players)
    tensors = {f"model.{name}": value for name, value in players.state_dict().items()}
    tensors |= {
        "snapshots.images": torch.stack(list(shots.values())),
        "snapshots.turn": torch.tensor(list(shots)),
    }
    return Run(
        tensors=tensors,
        metrics=measure(config, players, *test)
        | {"unaveraged_energy_distance": unaveraged}
        | {"turns": now.turn + 1, "diverged": float(bool(now.warning))},
        history={name: pictures.curve(values) for name, values in curves.items()},
        data=pictures.records(config.data, train_set, test_set),
    )


@torch.no_grad()
def shot(
    generator: BigGenerator, codes: Float[Tensor, "count latent"]
) -> UInt8[Tensor, "count 10 height width"]:
    """Return an image of each class for each code, as bytes on the CPU."""
    z = codes.repeat_interleave(CLASSES, dim=0)
    labels = torch.arange(CLASSES, device=z.device).repeat(len(codes))
    images = pictures.to_grey(generator(z, labels)).cpu()
    return images.view(len(codes), CLASSES, *images.shape[2:])


@torch.no_grad()
def measure(
    config: Config,
    players: Players,
    images: UInt8[Tensor, "images 1 height width"],
    labels: Int[Tensor, " images"],
) -> dict[str, float]:
    """Return energy distances of samples from test images, pixels in [-1, 1].

    Samples are asked for the test images' own classes. ``test_energy_distance`` compares all with
    all, ``test_class_energy_distance`` is the mean over classes, each compared with its own.
    """
    real, asked = pictures.to_unit(images[: config.test_images]), labels[: config.test_images]
    codes = torch.Generator().manual_seed(2)
    z = torch.randn(len(real), players.generator.latent, generator=codes).to(real.device)
    parts = zip(z.split(500), asked.split(500), strict=True)
    fake = torch.cat([players.generator(*part) for part in parts]).flatten(1)
    x = real.flatten(1)
    several = [c for c in range(CLASSES) if (asked == c).sum() > 1]
    each = [energy_distance(x[asked == c], fake[asked == c]) for c in several]
    return {
        "test_energy_distance": energy_distance(x, fake).item(),
        "test_class_energy_distance": torch.stack(each).mean().item(),
        "test_images": len(real),
        "generator_parameters": sum(p.numel() for p in players.generator.parameters()),
        "critic_parameters": sum(p.numel() for p in players.critic.parameters()),
    }


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return (config.data,)


def config_of(run: Run) -> Config:
    """Return a run's config; a file's JSON holds tuples as lists."""
    stored = run.provenance["config"]
    widths = {name: tuple(stored[name]) for name in ("widths", "critic_widths")}
    return Config(**stored | widths)


def restore(run: Run) -> Players:
    """Return both players of a run in evaluation mode: weights as divided, generator averaged."""
    players = Players(dataclasses.replace(config_of(run), spectral_norm=False))
    players.load_state_dict(run.part("model"))
    return players.eval().requires_grad_(False)


@torch.no_grad()
def draw(
    generator: BigGenerator,
    labels: Int[Tensor, " count"],
    codes: Float[Tensor, "count latent"],
) -> Float[Tensor, "count 1 height width"]:
    """Return grey values in [0, 1] of images of the classes asked for."""
    parts = zip(codes.split(500), labels.split(500), strict=True)
    return (torch.cat([generator(*part) for part in parts]) + 1) / 2


def sample(run: Run, count: int, generator: torch.Generator) -> Float[Tensor, "count 1 side side"]:
    """Return images in [0, 1], classes 0..9 in turn, codes as they are drawn."""
    players = restore(run)
    codes = torch.randn(count, players.generator.latent, generator=generator)
    return draw(players.generator, torch.arange(count) % CLASSES, codes).clamp(0, 1)


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights on the test set anew."""
    test_set = pictures.load(config_of(run).data)[1]
    players = restore(run).to(device)
    found = measure(
        config_of(run), players, test_set.images.to(device), test_set.labels.to(device)
    )
    kept = ("unaveraged_energy_distance", "turns", "diverged")
    return found | {name: run.metrics[name] for name in kept}
