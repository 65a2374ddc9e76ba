"""Train a DCGAN on handwritten digits; the other DCGAN recipes are other configs of this game.

Chapter: book/gan/dcgan.md.  Proof: tests/recipes/test_gan_dcgan.py.
Reference: Radford, Metz & Chintala, "Unsupervised Representation Learning with Deep Convolutional
Generative Adversarial Networks" (2016).

What samples is a moving average of the generator's weights. Its batch normalisation is given the
moments of its own activations before it draws (`networks.settle`).
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from litgen import checkpoints
from litgen.evaluation.energy import energy_distance
from litgen.gan.game import LastGood, Rules, adversaries
from litgen.gan.networks import ConvCritic, ConvGenerator, Norm, settle
from litgen.recipes import pictures
from litgen.runs import Run
from litgen.shapes import Float, UInt8
from litgen.training import Minibatches, half_rounded, play

__all__ = [
    "CPU",
    "GPU",
    "Config",
    "Players",
    "Progress",
    "config_of",
    "data",
    "evaluate",
    "fit",
    "measure",
    "restore",
    "sample",
    "train",
]

SHOWN = 32
"""Fixed codes whose images are kept from time to time."""


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        data: name of the images.
        channels: of an image.
        side: its height and width.
        widths: channels of the generator's stages, coarsest first.
        critic_widths: channels of the critic's stages, finest first.
        norm: in the hidden layers of both players.
        latent: dimensions of a code.
        turns: updates of each player.
        batch_size: images in a step, and samples.
        learning_rate: of both Adams at the start; it falls to zero in the last third.
        momentum: of Adam's average of gradients; less than the usual 0.9, since the game turns.
        average: decay of the moving average of the generator's weights.
        snapshots: moments of which images of the same codes are kept.
        test_images: images that samples are measured against.
        mixed: let networks compute in bfloat16 where the hardware has it.
    """

    data: pictures.Name = "mnist"
    channels: int = 1
    side: int = 28
    widths: tuple[int, ...] = (32, 16)
    critic_widths: tuple[int, ...] = (32, 48)
    norm: Norm = "batch"
    latent: int = 20
    turns: int = 450
    batch_size: int = 24
    learning_rate: float = 4e-3
    momentum: float = 0.5
    average: float = 0.98
    snapshots: int = 12
    test_images: int = 1_000
    mixed: bool = True


CPU = Config()
GPU = Config(
    widths=(256, 128),
    critic_widths=(128, 256),
    latent=64,
    turns=30_000,
    batch_size=128,
    learning_rate=2e-4,
    average=0.999,
    test_images=5_000,
)


class Players(nn.Module):
    """A generator from codes to images in [-1, 1], and a critic from images to logits."""

    def __init__(self, config: Config):
        super().__init__()
        self.latent = config.latent
        shape = config.channels, config.side, config.norm
        self.generator = ConvGenerator(config.latent, config.widths, *shape)
        self.critic = ConvCritic(config.critic_widths, *shape)
        self.to(memory_format=torch.channels_last)  # faster; the numbers are the same


class Progress(NamedTuple):
    """Where a game stands after a turn; ``averaged`` is the generator that samples.

    Losses are detached. ``warning`` is empty, or says that the game diverged and was stopped;
    ``kept`` is the turn whose state the networks then have, and otherwise this one.
    """

    turn: int
    players: Players
    averaged: nn.Module
    critic_loss: Tensor
    generator_loss: Tensor
    kept: int
    warning: str = ""


def fit(
    config: Config,
    images: UInt8[Tensor, "images channels height width"],
    seed: int,
    rules: Rules | None = None,
) -> Iterator[Progress]:
    """Yield after every turn of the game, on the device of the images.

    Args:
        config: the players and their pace.
        images: grey values or colours 0..255.
        seed: of weights, order of the data, and codes.
        rules: of the game; the non-saturating one, data and samples apart, unless given.
    """
    torch.manual_seed(seed)  # weights
    device = images.device
    shuffle, codes = torch.Generator().manual_seed(seed), torch.Generator(device).manual_seed(seed)
    players = Players(config).to(device)
    averaged = AveragedModel(players.generator, multi_avg_fn=get_ema_multi_avg_fn(config.average))
    optimizers = [
        torch.optim.Adam(
            net.parameters(), config.learning_rate, (config.momentum, 0.99), fused=True
        )
        for net in (players.critic, players.generator)
    ]

    def falling(turn: int) -> float:
        return min(1.0, 3 * (1 - turn / config.turns))

    rates = [torch.optim.lr_scheduler.LambdaLR(o, falling) for o in optimizers]
    watch = LastGood(nn.ModuleList([players, averaged]))
    moves = adversaries(
        players.generator,
        players.critic,
        (optimizers[0], optimizers[1]),
        lambda count: torch.randn(count, config.latent, generator=codes, device=device),
        rules or Rules(apart=True, mixed=config.mixed, thrifty=True),
        load=lambda rows: (pictures.to_unit(images.index_select(0, rows)),),
    )
    rows = torch.arange(len(images), device=device)
    batches = Minibatches(rows, config.batch_size, shuffle)
    memory = checkpoints.current()
    memory.keep(players=players, averaged=averaged, codes=codes, batches=batches, watch=watch)
    memory.keep(optimizers=dict(enumerate(optimizers)), rates=dict(enumerate(rates)))
    game = play(moves, batches, memory.turns(config.turns))
    for step in tqdm(game, total=2 * config.turns, desc="dcgan", unit="step"):
        if step.player == "critic":
            last = step.loss
            continue
        for rate in rates:
            rate.step()
        averaged.update_parameters(players.generator)
        fine = watch.fine(step.turn, last, step.loss)
        warning = "" if fine else watch.restore()
        kept = step.turn if fine else watch.turn
        yield Progress(step.turn, players, averaged.module, last, step.loss, kept, warning)
        if not fine:
            return


def settled(generator: nn.Module, config: Config, seed: int = 0, batches: int = 8) -> None:
    """Give a generator the moments of its own activations, for codes that the seed draws."""
    device = next(generator.parameters()).device
    codes = torch.Generator().manual_seed(seed)
    drawn = torch.randn(batches, 250, config.latent, generator=codes).to(device)
    settle(generator, [(z,) for z in drawn])


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Play on all images; keep the averaged generator, the critic, curves and snapshots."""
    train_set, test_set = pictures.load(config.data)
    codes = torch.randn(SHOWN, config.latent, generator=torch.Generator().manual_seed(1))
    moments = {
        round(config.turns ** (i / (config.snapshots - 1))) for i in range(config.snapshots)
    }
    curves: dict[str, list[Tensor]] = {"critic_loss_nats": [], "generator_loss_nats": []}
    shots: list[Tensor] = []
    checkpoints.current().keep(curves=curves, shots=shots)
    with pictures.one_thread(device):
        for now in fit(config, train_set.images.to(device), seed):
            curves["critic_loss_nats"].append(now.critic_loss)
            curves["generator_loss_nats"].append(now.generator_loss)
            if now.turn + 1 in moments or now.warning:
                settled(now.averaged, config)
                shots.append(shot(now.averaged, codes.to(device)))
                now.averaged.train()
    if now.warning:
        warnings.warn(now.warning, RuntimeWarning, stacklevel=2)
    players = now.players
    players.generator.load_state_dict(now.averaged.state_dict())
    half_rounded(players)
    settled(players.generator, config)
    players.eval().requires_grad_(False)
    half_rounded(players)
    turns = sorted(moments)[: len(shots)]
    tensors = {f"model.{name}": value for name, value in players.state_dict().items()}
    tensors |= {"snapshots.images": torch.stack(shots), "snapshots.turn": torch.tensor(turns)}
    tensors |= {"examples.z": codes, "examples.x": test_set.images[:SHOWN]}
    return Run(
        tensors=tensors,
        metrics=measure(config, players, test_set.images.to(device))
        | {"turns": now.kept + 1, "diverged": float(bool(now.warning))},
        history={n: pictures.curve(v[: max(now.kept, 0) + 1]) for n, v in curves.items()},
        data=pictures.records(config.data, train_set, test_set),
    )


@torch.no_grad()
def shot(
    generator: nn.Module, z: Float[Tensor, "count latent"]
) -> UInt8[Tensor, "count channels height width"]:
    """Return the images of codes as bytes, on the CPU."""
    return pictures.to_grey(generator(z)).cpu()


@torch.no_grad()
def measure(
    config: Config, players: Players, images: UInt8[Tensor, "images channels height width"]
) -> dict[str, float]:
    """Return how well the critic tells test images from samples, and how far apart they lie.

    ``test_critic_accuracy`` is the share of both that it names rightly, 0.5 where it is at a loss;
    ``test_energy_distance`` that of pixels in [-1, 1].
    """
    real = pictures.to_unit(images[: config.test_images])
    codes = torch.Generator().manual_seed(2)
    z = torch.randn(len(real), config.latent, generator=codes).to(real.device)
    fake = torch.cat([players.generator(part) for part in z.split(500)])
    logits = [torch.cat([players.critic(p) for p in x.split(500)]) for x in (real, fake)]
    right = [(logits[0] > 0).double().mean(), (logits[1] < 0).double().mean()]
    return {
        "test_critic_accuracy": torch.stack(right).mean().item(),
        "test_energy_distance": energy_distance(real.flatten(1), fake.flatten(1)).item(),
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
    """Return both players of a run, in evaluation mode."""
    players = Players(config_of(run))
    players.load_state_dict(run.part("model"))
    return players.eval().requires_grad_(False)


def sample(
    run: Run, count: int, generator: torch.Generator
) -> Float[Tensor, "count channels height width"]:
    """Return images in [0, 1]."""
    players = restore(run)
    z = torch.randn(count, players.latent, generator=generator)
    images = torch.cat([players.generator(part) for part in z.split(500)])
    return (images + 1) / 2


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights on the test set anew."""
    config = config_of(run)
    images = pictures.load(config.data)[1].images.to(device)
    return measure(config, restore(run).to(device), images)
