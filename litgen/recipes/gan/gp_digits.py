"""Let a WGAN with gradient penalty draw handwritten digits, and keep what its critic says.

Chapter: book/gan/gradient_penalty.md.  Proof: tests/recipes/test_gan_gp.py.
Reference: Gulrajani et al., "Improved Training of Wasserstein GANs" (2017), algorithm 1.

Departures from the paper: weights start as torch draws them, since N(0, 0.02^2) suits networks
whose every layer is normalised, and this critic has no normalisation; learning rates are higher
and fall to zero, for short games; what draws is the moving average of the generator's weights.
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
from litgen.gan import wasserstein
from litgen.gan.game import LastGood, Rules, adversaries
from litgen.gan.gradient_penalty import weighted
from litgen.gan.networks import ConvCritic, ConvGenerator, Norm
from litgen.recipes import pictures
from litgen.recipes.pictures import curve, to_grey, to_unit
from litgen.runs import Run
from litgen.shapes import Float, UInt8
from litgen.training import Minibatches, half_rounded, play

__all__ = [
    "CPU",
    "GPU",
    "Config",
    "Pair",
    "Progress",
    "data",
    "evaluate",
    "fit",
    "restore",
    "sample",
    "train",
]

KEPT = 256
"""Images that a snapshot keeps."""


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        data: mnist or fashion_mnist.
        latent: dimensions of a code.
        widths: channels of the generator's stages; the critic has them in reverse.
        critic_norm: of the critic, "layer" or "none": the penalty forbids "batch".
        turns: moves of the generator.
        critic_moves: in each turn.
        batch_size: images in a step, and samples.
        learning_rate: of both Adams at the start; it falls to zero along half a cosine.
        betas: of both Adams.
        weight: of the penalty.
        average: decay of the moving average of the generator's weights.
        moments: snapshots.
        mixed: let networks compute in bfloat16 where the hardware has it.
    """

    data: pictures.Name = "mnist"
    latent: int = 64
    widths: tuple[int, ...] = (32, 16)
    critic_norm: Norm = "none"
    turns: int = 240
    critic_moves: int = 2
    batch_size: int = 32
    learning_rate: float = 3e-3
    betas: tuple[float, float] = (0.5, 0.9)
    weight: float = 10.0
    average: float = 0.97
    moments: int = 12
    mixed: bool = True


CPU = Config()
GPU = Config(
    widths=(128, 64),
    critic_norm="layer",
    turns=20_000,
    critic_moves=5,
    batch_size=128,
    learning_rate=5e-4,
    average=0.999,
)


class Pair(nn.Module):
    """The two players: ``generator`` from codes to images in [-1, 1], ``critic`` to values."""

    def __init__(self, config: Config):
        if config.critic_norm == "batch":
            raise ValueError("a gradient penalty needs a critic without batch normalisation")
        super().__init__()
        self.latent = config.latent
        self.generator = ConvGenerator(config.latent, config.widths)
        self.critic = ConvCritic(config.widths[::-1], norm=config.critic_norm)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                layer.reset_parameters()


class Progress(NamedTuple):
    """Where a game stands after a turn; the generator is the averaged one, losses are detached.

    A game that ``diverged`` has its last good state back, and ends.
    """

    turn: int
    generator: nn.Module
    pair: Pair
    critic_loss: Tensor
    generator_loss: Tensor
    diverged: bool


def fit(config: Config, images: UInt8[Tensor, "images 1 28 28"], seed: int) -> Iterator[Progress]:
    """Yield after every turn of the game, on the device of the images, grey values 0..255."""
    torch.manual_seed(seed)  # weights
    device = images.device
    shuffle, draws = torch.Generator().manual_seed(seed), torch.Generator(device).manual_seed(seed)
    pair = Pair(config).to(device)
    averaged = AveragedModel(
        pair.generator, multi_avg_fn=get_ema_multi_avg_fn(config.average), use_buffers=True
    )
    optimizers = [
        torch.optim.Adam(net.parameters(), config.learning_rate, betas=config.betas, fused=True)
        for net in (pair.critic, pair.generator)
    ]
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(o, config.turns) for o in optimizers]
    rules = Rules(
        critic_loss=wasserstein.critic_loss,
        generator_loss=wasserstein.generator_loss,
        penalty=weighted(config.weight, draws),
        critic_moves=config.critic_moves,
        mixed=config.mixed,
    )
    players = adversaries(
        pair.generator,
        pair.critic,
        (optimizers[0], optimizers[1]),
        lambda count: torch.randn(count, config.latent, generator=draws, device=device),
        rules,
        lambda grey: (to_unit(grey),),
    )
    watch = LastGood(nn.ModuleList([pair, averaged]))
    batches = Minibatches(images, config.batch_size, shuffle)
    memory = checkpoints.current()
    memory.keep(pair=pair, averaged=averaged, draws=draws, batches=batches, watch=watch)
    memory.keep(optimizers=dict(enumerate(optimizers)), schedules=dict(enumerate(schedules)))
    game = play(players, batches, memory.turns(config.turns))
    total = (config.critic_moves + 1) * config.turns
    for step in tqdm(game, total=total, desc="wgan-gp", unit="step"):
        if step.player == "critic":
            last = step.loss
            continue
        for schedule in schedules:
            schedule.step()
        averaged.update_parameters(pair.generator)
        diverged = not watch.fine(step.turn, last, step.loss)
        if diverged:
            warnings.warn(watch.restore(), RuntimeWarning, stacklevel=2)
        yield Progress(step.turn, averaged.module, pair, last, step.loss, diverged)
        if diverged:
            return


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Play; keep samples of the same codes on the way, and the critic's loss.

    Raises:
        ValueError: a critic with batch normalisation.
    """
    train_set, test_set = pictures.load(config.data)
    codes = torch.randn(KEPT, config.latent, generator=torch.Generator().manual_seed(0))
    at = torch.linspace(0, 1, config.moments).square() * (config.turns - 1)
    moments = torch.unique(at.round().long())
    kept: list[Tensor] = []
    losses: list[Tensor] = []
    checkpoints.current().keep(kept=kept, losses=losses)
    for now in fit(config, train_set.images.to(device), seed):
        losses.append(now.critic_loss)
        if now.turn in moments and not now.diverged:
            kept.append(to_grey(_drawn(now.generator, codes.to(device))).cpu())
    pair = now.pair
    pair.generator.load_state_dict(now.generator.state_dict())
    pair.eval().requires_grad_(False)
    half_rounded(pair)
    tensors = {f"model.{name}": value.cpu() for name, value in pair.state_dict().items()}
    tensors["snapshots.turn"] = moments[: len(kept)] + 1
    if kept:
        tensors["snapshots.samples"] = torch.stack(kept)
    return Run(
        tensors=tensors,
        metrics=measure(config, pair, device)
        | {"diverged_at_turn": float(now.turn if now.diverged else -1)},
        history={"critic_loss": curve(losses)},
        data=pictures.records(config.data, train_set, test_set),
    )


@torch.no_grad()
def _drawn(generator: nn.Module, codes: Tensor) -> Float[Tensor, "count 1 28 28"]:
    """Return images as they will be drawn: with the running moments, whose state stays."""
    playing = generator.training
    images: Tensor = generator.eval()(codes)
    generator.train(playing)
    return images


@torch.no_grad()
def measure(config: Config, pair: Pair, device: torch.device) -> dict[str, float]:
    """Return the critic's gain, data over samples, on 2,000 training and 2,000 test images."""
    codes = torch.randn(2_000, pair.latent, generator=torch.Generator().manual_seed(1))
    fake = pair.critic(pair.generator(codes.to(device))).mean().item()
    metrics = {}
    for split, images in zip(("train", "test"), pictures.load(config.data), strict=True):
        real = pair.critic(to_unit(images.images[:2_000].to(device))).mean().item()
        metrics[f"{split}_gain"] = real - fake
    return metrics


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return (config.data,)


def restore(run: Run) -> Pair:
    """Return the players of a run, in evaluation mode."""
    pair = Pair(_config_of(run))
    pair.load_state_dict(run.part("model"))
    return pair.eval().requires_grad_(False)


def sample(run: Run, count: int, generator: torch.Generator) -> Float[Tensor, "count 1 28 28"]:
    """Return images, grey values in [0, 1]."""
    pair = restore(run)
    parts = torch.randn(count, pair.latent, generator=generator).split(500)
    return (torch.cat([pair.generator(codes) for codes in parts]) + 1) / 2


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights anew."""
    kept = {"diverged_at_turn": run.metrics["diverged_at_turn"]}
    return measure(_config_of(run), restore(run).to(device), device) | kept


def _config_of(run: Run) -> Config:
    """Return a run's config; a file's JSON holds tuples as lists."""
    stored = run.provenance["config"]
    tuples = {k: tuple(v) for k, v in stored.items() if isinstance(v, list | tuple)}
    return Config(**{**stored, **tuples})
