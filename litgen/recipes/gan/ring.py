"""Let a generator and a critic play on eight Gaussians on a circle, and keep what happens.

Chapter: book/gan/toy2d.md.  Proof: tests/recipes/test_gan_ring.py.
Reference: Goodfellow et al., "Generative Adversarial Nets" (2014); the set is that of Gulrajani et
al. (2017), with wider Gaussians.

Data are drawn fresh for every move, so there is no training set that a critic could learn by
heart, and no data set to fetch.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from litgen import checkpoints
from litgen.blocks import MLP
from litgen.evaluation.energy import energy_distance
from litgen.gan import losses, toys
from litgen.gan.field import places
from litgen.gan.game import LastGood, Rules, adversaries
from litgen.recipes.pictures import curve
from litgen.runs import Run
from litgen.shapes import Float
from litgen.training import half_rounded, plain_products, play

__all__ = [
    "CPU",
    "EXTENT",
    "GPU",
    "Config",
    "Players",
    "data",
    "draw",
    "evaluate",
    "fit",
    "restore",
    "sample",
    "train",
]

EXTENT = 2.2
"""What is shown reaches from -EXTENT to EXTENT on both axes."""

FIELD = 44
"""Cells along a side of the square on which the critic's logits are kept."""

SAMPLES = 4_000
"""Points that are drawn to be measured."""


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        std: of each Gaussian, where the circle's radius is 2 (all is then divided by sqrt 2).
        hidden: widths of the generator's layers.
        critic_hidden: widths of the critic's.
        latent: dimensions of z.
        turns: of the game.
        critic_moves: updates of the critic in each turn.
        batch_size: points in a step, and samples.
        learning_rate: of the generator's Adam at the start; it falls to zero along half a cosine.
        critic_rate: the critic's learning rate over the generator's.
        momentum: of Adam's average of gradients.
        moments: snapshots of the game, the start and the end among them.
    """

    std: float = 0.1
    hidden: tuple[int, ...] = (64, 64)
    critic_hidden: tuple[int, ...] = (64, 64)
    latent: int = 2
    turns: int = 1_500
    critic_moves: int = 1
    batch_size: int = 256
    learning_rate: float = 1e-3
    critic_rate: float = 2.0
    momentum: float = 0.5
    moments: int = 16


CPU = Config()
GPU = Config(
    hidden=(256, 256, 256),
    critic_hidden=(256, 256, 256),
    turns=20_000,
    batch_size=1_024,
    learning_rate=2e-4,
)


class Players(nn.Module):
    """``generator`` from codes to points, ``critic`` from points to logits."""

    def __init__(self, config: Config):
        super().__init__()
        self.latent = config.latent
        self.generator = MLP([config.latent, *config.hidden, 2])
        self.critic = MLP([2, *config.critic_hidden, 1], nn.LeakyReLU)


class Progress(NamedTuple):
    """Where a game stands after a turn; losses are detached, and nan before the first turn."""

    turn: int
    players: Players
    critic_loss: Tensor
    generator_loss: Tensor


def fit(
    config: Config,
    seed: int,
    device: torch.device,
    generator_loss: Callable[[Tensor], Tensor] = losses.generator_loss,
) -> Iterator[Progress]:
    """Yield before the first turn and after every turn of the game.

    Args:
        config: the players and their pace.
        seed: of weights, data and codes.
        device: where to play.
        generator_loss: of the logits of samples.
    """
    torch.manual_seed(seed)  # weights
    random = torch.Generator(device).manual_seed(seed)
    modes = toys.eight_gaussians(config.std)
    players = Players(config).to(device)
    rates = (config.learning_rate * config.critic_rate, config.learning_rate)
    optimizers = [
        torch.optim.Adam(net.parameters(), lr=rate, betas=(config.momentum, 0.9), fused=True)
        for net, rate in zip((players.critic, players.generator), rates, strict=True)
    ]
    slower = [torch.optim.lr_scheduler.CosineAnnealingLR(o, config.turns) for o in optimizers]
    game = adversaries(
        players.generator,
        players.critic,
        (optimizers[0], optimizers[1]),
        lambda count: torch.randn(count, config.latent, generator=random, device=device),
        Rules(generator_loss=generator_loss, critic_moves=config.critic_moves),
    )
    fresh = iter(lambda: modes.sample(config.batch_size, random), None)
    nothing = torch.tensor(float("nan"))
    yield Progress(-1, players, nothing, nothing)
    total = (config.critic_moves + 1) * config.turns
    memory = checkpoints.current()
    memory.keep(players=players, random=random)
    memory.keep(optimizers=dict(enumerate(optimizers)), slower=dict(enumerate(slower)))
    turns = memory.turns(config.turns)
    for step in tqdm(play(game, fresh, turns), total=total, desc="gan", unit="step"):
        if step.player == "critic":
            last = step.loss
            continue
        for schedule in slower:
            schedule.step()
        yield Progress(step.turn, players, last, step.loss)


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Play; return both players, snapshots of samples and logits, curves and what they measure."""
    moments = _moments(config.turns, config.moments)
    kept: dict[int, tuple[Tensor, Tensor]] = {}
    curves: dict[str, list[Tensor]] = {"critic_loss_nats": [], "generator_loss_nats": []}
    checkpoints.current().keep(kept=kept, curves=curves)
    diverged = -1
    with plain_products(device):
        for now in fit(config, seed, device):
            players = now.players
            if now.turn < 0:
                watch = LastGood(players)
                checkpoints.current().keep(watch=watch)
            else:
                curves["critic_loss_nats"].append(now.critic_loss)
                curves["generator_loss_nats"].append(now.generator_loss)
                losses_now = now.critic_loss, now.generator_loss
                ended = now.turn == config.turns - 1
                if not (watch.look if ended else watch.fine)(now.turn, *losses_now):
                    warnings.warn(watch.restore(), RuntimeWarning, stacklevel=2)
                    diverged = now.turn
                    break
            if now.turn + 1 in moments:
                kept[now.turn + 1] = _snapshot(players)
    players.eval().requires_grad_(False)
    half_rounded(players)
    tensors = {f"model.{name}": value for name, value in players.state_dict().items()}
    tensors |= {
        "snapshots.turns": torch.tensor(list(kept)),
        "snapshots.samples": torch.stack([samples for samples, _ in kept.values()]),
        "snapshots.logits": torch.stack([logits for _, logits in kept.values()]),
    }
    return Run(
        tensors=tensors,
        metrics=_measured(config, players) | {"diverged_turn": float(diverged)},
        history={name: curve(values) for name, values in curves.items()},
        data=[],
    )


@torch.no_grad()
def _snapshot(players: Players) -> tuple[Tensor, Tensor]:
    """Return 300 samples, of the same codes at any time, and the critic's logits on the square."""
    samples = draw(players, 300, torch.Generator().manual_seed(3)).cpu()
    grid = places(EXTENT, FIELD).to(next(players.parameters()))
    return samples, players.critic(grid).view(FIELD, FIELD).cpu().clamp(-30, 30)


def _moments(turns: int, count: int) -> list[int]:
    """Return numbers of turns, close to each other at the start, from none to all."""
    return sorted({round(turns * (i / (count - 1)) ** 2) for i in range(count)})


@torch.no_grad()
def _measured(config: Config, players: Players) -> dict[str, float]:
    """Return the numbers of a generator: coverage, and energy distance with its floor."""
    modes = toys.eight_gaussians(config.std)
    fake = draw(players, SAMPLES, torch.Generator().manual_seed(0)).cpu()
    real, fresh = (modes.sample(SAMPLES, torch.Generator().manual_seed(s)) for s in (1, 2))
    reached = toys.coverage(fake, modes)
    critic = players.critic.cpu()
    measured = {
        "modes": float(reached.covered),
        "near": reached.near,
        "near_floor": toys.coverage(fresh, modes).near,
        "mode_divergence_nats": reached.divergence,
        "energy_distance": energy_distance(fake, real).item(),
        "energy_floor": energy_distance(fresh, real).item(),
        "js_bound_nats": losses.jensen_shannon(critic(real), critic(fake)).item(),
        "parameters": float(sum(p.numel() for p in players.parameters())),
    }
    return measured


def draw(players: Players, count: int, generator: torch.Generator) -> Float[Tensor, "count 2"]:
    """Turn codes into points."""
    z = torch.randn(count, players.latent, generator=generator)
    points: Tensor = players.generator(z.to(next(players.parameters())))
    return points


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads: none, the data are drawn."""
    return ()


def restore(run: Run) -> Players:
    """Return both players of a run, in evaluation mode."""
    players = Players(_config(run))
    players.load_state_dict(run.part("model"))
    return players.eval().requires_grad_(False)


def _config(run: Run) -> Config:
    stored = run.provenance["config"]
    return Config(**stored | {n: tuple(stored[n]) for n in ("hidden", "critic_hidden")})


def sample(run: Run, count: int, generator: torch.Generator) -> Float[Tensor, "count 2"]:
    """Return points of the plane."""
    return draw(restore(run), count, generator)


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights anew."""
    return _measured(_config(run), restore(run).cpu())
