"""Three games for eight Gaussians: a clipped critic, one of slope one by its layers, and logits.

Chapter: book/gan/wasserstein.md.  Proof: tests/recipes/test_gan_clipped.py.
References: Arjovsky, Chintala & Bottou, "Wasserstein GAN" (2017), algorithm 1 and figures 3 and 4;
Anil, Lucas & Grosse, "Sorting Out Lipschitz Function Approximation" (2019).

Generators, data and codes are the same in all three. Along the way the samples' distance from data
is measured exactly, by `litgen.gan.transport`, beside what the critic says of it.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from litgen import checkpoints
from litgen.blocks import MLP
from litgen.gan import losses, toys, transport, wasserstein
from litgen.gan.game import LastGood, Rules, adversaries
from litgen.runs import Run
from litgen.shapes import Float
from litgen.training import half_rounded, play

__all__ = [
    "CPU",
    "GPU",
    "Config",
    "Kind",
    "Progress",
    "data",
    "evaluate",
    "fit",
    "players",
    "restore",
    "sample",
    "train",
]

Kind = Literal["clipped", "sorted", "logits"]
KINDS: tuple[Kind, ...] = ("clipped", "sorted", "logits")


@dataclass(frozen=True)
class Config:
    """What the three trainings depend on.

    Attributes:
        hidden: widths of the generator's layers.
        critic_hidden: widths of the critic's, even for the sorted one.
        latent: dimensions of z.
        turns: moves of the generator.
        critic_moves: updates of the critic in each turn, in all three games.
        batch_size: points in a step, and samples.
        limit: of the clipped critic's weights.
        learning_rate: of the generators' RMSprop.
        clipped_rate: of the clipped critic's RMSprop.
        critic_rate: of the other two critics' RMSprop.
        measured: samples whose exact distance is taken.
        looks: how often it is taken.
    """

    hidden: tuple[int, ...] = (64, 64)
    critic_hidden: tuple[int, ...] = (32, 32)
    latent: int = 2
    turns: int = 240
    critic_moves: int = 5
    batch_size: int = 128
    limit: float = 0.1
    learning_rate: float = 1e-3
    clipped_rate: float = 5e-4
    critic_rate: float = 5e-3
    measured: int = 500
    looks: int = 16


CPU = Config()
GPU = Config(
    hidden=(256, 256, 256),
    critic_hidden=(256, 256, 256),
    turns=10_000,
    batch_size=512,
    limit=0.03,
    learning_rate=2e-4,
    clipped_rate=1e-4,
    critic_rate=5e-4,
    measured=2_000,
    looks=50,
)


class Progress(NamedTuple):
    """Where a game stands after a turn; ``says`` is the critic's last own number, detached."""

    turn: int
    generator: nn.Module
    critic: nn.Module
    says: Tensor


def players(config: Config, kind: Kind) -> nn.ModuleDict:
    """Return ``generator`` and ``critic`` with weights from the global seed."""
    generator = MLP([config.latent, *config.hidden, 2])
    sizes = [2, *config.critic_hidden, 1]
    critic = wasserstein.sorting_critic(sizes) if kind == "sorted" else MLP(sizes)
    if kind == "clipped":
        wasserstein.clip_weights(critic, config.limit)
    return nn.ModuleDict({"generator": generator, "critic": critic})


def fit(config: Config, kind: Kind, seed: int, device: torch.device) -> Iterator[Progress]:
    """Yield after every turn of one game; a game that diverges ends with a warning.

    Args:
        config: the players and their pace.
        kind: of critic, and with it of losses.
        seed: of weights, data and codes.
        device: where to play.
    """
    torch.manual_seed(seed)  # weights
    chance = torch.Generator(device).manual_seed(seed)
    both = players(config, kind).to(device)
    generator, critic = both["generator"], both["critic"]
    rate = config.clipped_rate if kind == "clipped" else config.critic_rate
    optimizers = (
        torch.optim.RMSprop(critic.parameters(), lr=rate),
        torch.optim.RMSprop(generator.parameters(), lr=config.learning_rate),
    )

    def codes(count: int) -> Tensor:
        return torch.randn(count, config.latent, generator=chance, device=device)

    def batches() -> Iterator[Tensor]:
        while True:
            yield toys.eight_gaussians().sample(config.batch_size, chance)

    rules = Rules(losses.discriminator_loss, losses.generator_loss)
    if kind != "logits":
        rules = Rules(wasserstein.critic_loss, wasserstein.generator_loss)
    rules = Rules(rules.critic_loss, rules.generator_loss, critic_moves=config.critic_moves)
    watch = LastGood(both)
    game = adversaries(generator, critic, optimizers, codes, rules)
    memory = checkpoints.current()
    memory.keep(both=both, optimizers=dict(enumerate(optimizers)), chance=chance, watch=watch)
    for step in play(game, batches(), memory.turns(config.turns)):
        if step.player == "critic":
            if kind == "clipped":
                wasserstein.clip_weights(critic, config.limit)
            last = step.loss
            continue
        if not watch.fine(step.turn, last, step.loss):
            warnings.warn(watch.restore(), RuntimeWarning, stacklevel=2)
            yield Progress(watch.turn, generator, critic, last)
            return
        yield Progress(step.turn, generator, critic, -last)


@torch.no_grad()
def draw(generator: nn.Module, latent: int, count: int, chance: torch.Generator) -> Tensor:
    """Turn codes into points, on the CPU."""
    z = torch.randn(count, latent, generator=chance).to(next(generator.parameters()))
    points: Tensor = generator(z).cpu()
    return points


def away(points: Float[Tensor, "count 2"]) -> float:
    """Return the exact W_1 of points from the centres of the eight Gaussians, an eighth on each.

    A Gaussian's own points are 0.018 from its centre on average, so the distance from the data
    themselves differs from it by that at most.
    """
    centres = toys.eight_gaussians().centres
    p, q = (torch.full((len(part),), 1 / len(part)).double() for part in (points, centres))
    return transport.solve(p, q, transport.distances(points, centres)).cost


def distance(config: Config, generator: nn.Module) -> float:
    """Return how far a fixed draw of samples is away."""
    chance = torch.Generator().manual_seed(1)
    return away(draw(generator, config.latent, config.measured, chance))


def floor(config: Config) -> float:
    """Return the same for points from the truth: what is left to chance."""
    chance = torch.Generator().manual_seed(1)
    return away(toys.eight_gaussians().sample(config.measured, chance))


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Play all three games; return generators, samples, and what was said and what was true."""
    tensors: dict[str, Tensor] = {}
    history: dict[str, list[float]] = {}
    metrics: dict[str, float] = {"w1_floor": floor(config)}
    for kind in KINDS:
        says: list[Tensor] = []
        turns, exact, heard = (list[float]() for _ in range(3))
        every = max(1, config.turns // config.looks)
        with checkpoints.part(kind) as memory:
            memory.keep(says=says, turns=turns, exact=exact, heard=heard)
            game = fit(config, kind, seed, device)
            for now in tqdm(game, total=config.turns, desc=kind, unit="turn"):
                says.append(now.says)
                if now.turn % every == 0 or now.turn == config.turns - 1:
                    turns.append(float(now.turn + 1))
                    exact.append(distance(config, now.generator))
                    heard.append(torch.stack(says[-every:]).mean().item())
        now.generator.requires_grad_(False)
        half_rounded(now.generator)
        chance = torch.Generator().manual_seed(2)
        tensors |= {f"model.{kind}.{n}": v.cpu() for n, v in now.generator.state_dict().items()}
        tensors[f"samples.{kind}"] = draw(now.generator, config.latent, 2_000, chance)
        history |= {f"{kind}_turn": turns, f"{kind}_w1": exact, f"{kind}_says": heard}
        metrics |= scores(config, kind, now.generator)
        metrics[f"{kind}_last_turn"] = float(now.turn)
        metrics[f"{kind}_slope_bound"] = wasserstein.slope_bound(now.critic)
    return Run(tensors=tensors, metrics=metrics, history=history, data=[])


def scores(config: Config, kind: Kind, generator: nn.Module) -> dict[str, float]:
    """Return the exact distance, and how many of the eight Gaussians samples reach."""
    points = draw(generator, config.latent, 2_000, torch.Generator().manual_seed(2))
    found = toys.coverage(points, toys.eight_gaussians(), reach=10.0)
    return {
        f"{kind}_w1": distance(config, generator),
        f"{kind}_modes": float(found.covered),
        f"{kind}_near": found.near,
    }


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads: none, the points are drawn fresh."""
    return ()


def restore(run: Run) -> dict[Kind, nn.Module]:
    """Return the three generators of a run, in evaluation mode."""
    stored = run.provenance["config"]
    generators: dict[Kind, nn.Module] = {}
    for kind in KINDS:
        generators[kind] = MLP([stored["latent"], *stored["hidden"], 2])
        generators[kind].load_state_dict(run.part(f"model.{kind}"))
        generators[kind].eval().requires_grad_(False)
    return generators


def sample(run: Run, count: int, generator: torch.Generator) -> Float[Tensor, "count 2"]:
    """Return points of the game with the sorted critic."""
    return draw(restore(run)["sorted"], run.provenance["config"]["latent"], count, generator)


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure the stored generators anew; what belongs to the critics is taken from the run."""
    stored = run.provenance["config"]
    widths = {name: tuple(stored[name]) for name in ("hidden", "critic_hidden")}
    config = Config(**stored | widths)
    metrics = {"w1_floor": floor(config)}
    for kind, generator in restore(run).items():
        metrics |= scores(config, kind, generator.to(device))
    return {name: metrics.get(name, value) for name, value in run.metrics.items()}
