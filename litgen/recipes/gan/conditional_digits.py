"""Train a conditional adversarial network on handwritten digits: both players know the class.

Chapter: book/gan/conditional.md.  Proof: tests/recipes/test_gan_conditional.py.
References: Mirza & Osindero, "Conditional Generative Adversarial Nets" (2014); Miyato & Koyama,
"cGANs with Projection Discriminator" (2018); Radford, Metz & Chintala (2016), for the networks.

What samples is a moving average of the generator's weights. Its batch normalisation is given the
moments of its own activations, for codes and classes of a seed of their own, before it draws.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn
from tqdm import tqdm

from litgen import checkpoints
from litgen.evaluation.energy import energy_distance
from litgen.gan.conditional import ConditionalCritic, ConditionalGenerator, one_hot
from litgen.gan.game import LastGood, Rules, adversaries
from litgen.gan.networks import Norm
from litgen.recipes import pictures
from litgen.runs import Run
from litgen.shapes import Float, Int, UInt8
from litgen.training import Minibatches, half_rounded, play

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
    "train",
]

CLASSES = 10
SHOWN = 5
"""Codes of which an image in each class is kept from time to time."""


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        data: mnist or fashion_mnist.
        widths: channels of the generator's stages, coarsest first.
        critic_widths: channels of the critic's stages, finest first.
        norm: in the generator's hidden layers.
        critic_norm: in the critic's.
        reading: how the critic reads the class, projection or planes.
        latent: dimensions of a code.
        scale: length of the one-hot class beside the code.
        turns: updates of each player.
        batch_size: images in a step, and samples.
        learning_rate: of both Adams.
        momentum: of Adam's average of gradients; less than the usual 0.9, since the game turns.
        average: decay of the moving average of the generator's weights.
        snapshots: moments of which images of the same codes and classes are kept.
        test_images: images that samples are measured against.
        mixed: let networks compute in bfloat16 where the hardware has it.
    """

    data: pictures.Name = "mnist"
    widths: tuple[int, ...] = (32, 16)
    critic_widths: tuple[int, ...] = (16, 32)
    norm: Norm = "batch"
    critic_norm: Norm = "batch"
    reading: Literal["projection", "planes"] = "projection"
    latent: int = 10
    scale: float = 3.0
    turns: int = 600
    batch_size: int = 48
    learning_rate: float = 2e-3
    momentum: float = 0.5
    average: float = 0.98
    snapshots: int = 14
    test_images: int = 1_000
    mixed: bool = True


CPU = Config()
GPU = Config(
    widths=(256, 128),
    critic_widths=(128, 256),
    latent=32,
    scale=5.0,
    turns=30_000,
    batch_size=256,
    learning_rate=5e-4,
    average=0.999,
    test_images=10_000,
)


class Players(nn.Module):
    """A generator from codes and classes to images, and a critic from both to logits."""

    def __init__(self, config: Config):
        super().__init__()
        self.generator = ConditionalGenerator(
            config.latent, CLASSES, config.widths, norm=config.norm, scale=config.scale
        )
        self.critic = ConditionalCritic(
            CLASSES, config.critic_widths, norm=config.critic_norm, reading=config.reading
        )


class Progress(NamedTuple):
    """Where a game stands after a turn; ``averaged`` is the generator that samples.

    Losses are detached. ``warning`` is empty, or says that the game diverged and was stopped.
    """

    turn: int
    players: Players
    averaged: ConditionalGenerator
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

    Samples are asked for the classes of the data in the same batch, so that labels have the same
    law on both sides.

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
    averaged = AveragedModel(players.generator, multi_avg_fn=get_ema_multi_avg_fn(config.average))
    betas = config.momentum, 0.99
    optimizers = [
        torch.optim.Adam(net.parameters(), config.learning_rate, betas, fused=True)
        for net in (players.critic, players.generator)
    ]
    watch = LastGood(nn.ModuleList([players, averaged]))
    moves = adversaries(
        players.generator,
        players.critic,
        (optimizers[0], optimizers[1]),
        lambda count: torch.randn(count, config.latent, generator=codes, device=device),
        Rules(apart=config.critic_norm == "batch", mixed=config.mixed),
        load=lambda rows: (pictures.to_unit(images.index_select(0, rows)), labels[rows]),
    )
    rows = torch.arange(len(images), device=device)
    batches = Minibatches(rows, config.batch_size, shuffle)
    memory = checkpoints.current()
    memory.keep(players=players, averaged=averaged, codes=codes, batches=batches, watch=watch)
    memory.keep(optimizers=dict(enumerate(optimizers)))
    game = play(moves, batches, memory.turns(config.turns))
    for step in tqdm(game, total=2 * config.turns, desc="conditional gan", unit="step"):
        if step.player == "critic":
            last = step.loss
            continue
        averaged.update_parameters(players.generator)
        inner = averaged.module
        assert isinstance(inner, ConditionalGenerator)
        warning = "" if watch.fine(step.turn, last, step.loss) else watch.restore()
        yield Progress(step.turn, players, inner, last, step.loss, warning)
        if warning:
            return


def settle(generator: ConditionalGenerator, seed: int = 0, batches: int = 4) -> None:
    """Give batch normalisation the moments of the generator's own activations."""
    device = next(generator.parameters()).device
    draw = torch.Generator().manual_seed(seed)
    shares = generator.scale * one_hot(torch.arange(250) % CLASSES, CLASSES)
    codes = [torch.randn(250, generator.latent, generator=draw) for _ in range(batches)]
    update_bn([torch.cat([z, shares], dim=1).to(device) for z in codes], generator.body)


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Play on all images; keep the averaged generator, the critic, curves and snapshots."""
    train_set, test_set = pictures.load(config.data)
    codes = torch.randn(SHOWN, config.latent, generator=torch.Generator().manual_seed(1))
    last = config.snapshots - 1
    moments = {round(config.turns ** (i / last)) for i in range(config.snapshots)}
    curves: dict[str, list[Tensor]] = {"critic_loss_nats": [], "generator_loss_nats": []}
    shots: dict[int, Tensor] = {}
    checkpoints.current().keep(curves=curves, shots=shots)
    for now in fit(config, train_set.images.to(device), train_set.labels.to(device), seed):
        curves["critic_loss_nats"].append(now.critic_loss)
        curves["generator_loss_nats"].append(now.generator_loss)
        if now.turn + 1 in moments or now.warning:
            settle(now.averaged)
            shots[now.turn + 1] = shot(now.averaged.eval(), codes.to(device))
            now.averaged.train()
    if now.warning:
        warnings.warn(now.warning, RuntimeWarning, stacklevel=2)
    players = now.players
    players.generator.load_state_dict(now.averaged.state_dict())
    half_rounded(players)
    settle(players.generator)
    players.eval().requires_grad_(False)
    half_rounded(players)
    tensors = {f"model.{name}": value for name, value in players.state_dict().items()}
    tensors |= {
        "snapshots.images": torch.stack(list(shots.values())),
        "snapshots.turn": torch.tensor(list(shots)),
    }
    return Run(
        tensors=tensors,
        metrics=measure(config, players, test_set.images.to(device), test_set.labels.to(device))
        | {"turns": now.turn + 1, "diverged": float(bool(now.warning))},
        history={name: pictures.curve(values) for name, values in curves.items()},
        data=pictures.records(config.data, train_set, test_set),
    )


@torch.no_grad()
def shot(
    generator: ConditionalGenerator, codes: Float[Tensor, "count latent"]
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
    z = torch.randn(len(real), config.latent, generator=codes).to(real.device)
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
    """Return both players of a run, the generator averaged, in evaluation mode."""
    players = Players(config_of(run))
    players.load_state_dict(run.part("model"))
    return players.eval().requires_grad_(False)


@torch.no_grad()
def draw(
    generator: ConditionalGenerator,
    labels: Int[Tensor, " count"],
    codes: Float[Tensor, "count latent"],
) -> Float[Tensor, "count 1 height width"]:
    """Return grey values in [0, 1] of images of the classes asked for."""
    parts = zip(codes.split(500), labels.split(500), strict=True)
    return (torch.cat([generator(*part) for part in parts]) + 1) / 2


def sample(run: Run, count: int, generator: torch.Generator) -> Float[Tensor, "count 1 side side"]:
    """Return images in [0, 1], classes 0..9 in turn."""
    codes = torch.randn(count, run.provenance["config"]["latent"], generator=generator)
    return draw(restore(run).generator, torch.arange(count) % CLASSES, codes)


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights on the test set anew."""
    test_set = pictures.load(config_of(run).data)[1]
    players = restore(run).to(device)
    found = measure(
        config_of(run), players, test_set.images.to(device), test_set.labels.to(device)
    )
    return found | {name: run.metrics[name] for name in ("turns", "diverged")}
