"""Let the same small game be played with one remedy at a time, five seeds side by side.

Chapter: book/gan/stability.md.  Proof: tests/recipes/test_gan_stability.py.
References: Goodfellow et al., "Generative Adversarial Nets" (2014); Salimans et al., "Improved
Techniques for Training GANs" (2016); the 25 Gaussians as in Srivastava et al., "VEEGAN" (2017).

The seeds of a variant are the copies of one stack (`litgen.gan.stacked`). Points are drawn fresh
in each step, so the recipe reads no data set.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LinearLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn
from tqdm import tqdm

from litgen import checkpoints
from litgen.gan import losses
from litgen.gan.game import LastGood, Rules, adversaries
from litgen.gan.minibatch import feature_gap
from litgen.gan.stability import smoothed_loss
from litgen.gan.stacked import StackedMLP
from litgen.gan.toys import Coverage, Modes, coverage, grid_of_gaussians
from litgen.runs import Run
from litgen.shapes import Float
from litgen.training import Player, half_rounded, plain_products, play

__all__ = [
    "CPU",
    "GPU",
    "VARIANTS",
    "Config",
    "Game",
    "Progress",
    "Remedies",
    "begin",
    "data",
    "draw",
    "evaluate",
    "fit",
    "modes_of",
    "restore",
    "sample",
    "train",
]


@dataclass(frozen=True)
class Remedies:
    """What one variant of the game does differently.

    Attributes:
        saturating: the generator lowers log(1 - D), as the game is derived, and not -log D.
        real_target: what data are labelled; below 1 it is one-sided smoothing.
        norm: batch normalisation in the generator.
        critic_rate: the critic's learning rate over the generator's.
        momentum: of both Adams' averages of gradients.
        bound: largest singular value of each of the critic's layers; 0 leaves them free.
        matching: the generator matches mean features of the critic instead of fooling it.
        statistics: the critic's last layer sees the batch's deviation.
    """

    saturating: bool = False
    real_target: float = 1.0
    norm: bool = False
    critic_rate: float = 1.0
    momentum: float = 0.5
    bound: float = 0.0
    matching: bool = False
    statistics: bool = False


VARIANTS: dict[str, Remedies] = {
    "baseline": Remedies(),
    "saturating": Remedies(saturating=True),
    "smoothing": Remedies(real_target=0.9),
    "batch norm": Remedies(norm=True),
    "two time scales": Remedies(critic_rate=4.0),
    "no momentum": Remedies(momentum=0.0),
    "spectral norm": Remedies(bound=3.0),
    "feature matching": Remedies(matching=True),
    "batch statistics": Remedies(statistics=True),
    "together": Remedies(critic_rate=2.0, momentum=0.0, statistics=True),
}
"""The games that are played, by name."""


@dataclass(frozen=True)
class Config:
    """What all variants of a training have in common.

    Attributes:
        copies: seeds that are played side by side.
        hidden: widths of both players' layers.
        latent: dimensions of z.
        turns: updates of each player.
        batch_size: points in a step, and samples, of each copy.
        learning_rate: of both Adams at the start; it falls to zero along a line.
        average: decay of the moving average of the generator's weights, at each update.
        average_every: turns between two updates of the average.
        std: of the Gaussians, as `litgen.gan.toys.grid_of_gaussians` takes it.
        looks: how often the samples are looked at, at equal distances.
        points: samples of each copy that are counted at the end.
    """

    copies: int = 5
    hidden: tuple[int, ...] = (48, 48)
    latent: int = 2
    turns: int = 800
    batch_size: int = 64
    learning_rate: float = 3e-3
    average: float = 0.95
    average_every: int = 5
    std: float = 0.1
    looks: int = 20
    points: int = 2_500


CPU = Config()
GPU = Config(hidden=(256, 256), turns=15_000, batch_size=256, learning_rate=5e-4, average=0.99)
SHOWN = 400  # samples of each copy that a run keeps
FIELD, EXTENT = 40, 1.1  # the critic's probability, on a square of so many places


class Game(nn.Module):
    """Both players of one variant, all copies, and the generator with averaged weights."""

    def __init__(self, config: Config, remedies: Remedies):
        super().__init__()
        self.latent, self.copies = config.latent, config.copies
        self.generator = StackedMLP(
            config.copies, [config.latent, *config.hidden, 2], norm=remedies.norm
        )
        self.critic = StackedMLP(
            config.copies,
            [2, *config.hidden, 1],
            slope=0.2,
            bound=remedies.bound or None,
            statistics=remedies.statistics,
        )
        average = AveragedModel(self.generator, multi_avg_fn=get_ema_multi_avg_fn(config.average))
        self.average = average.requires_grad_(False)


class Progress(NamedTuple):
    """Where a game stands after a turn; losses are detached sums over copies."""

    turn: int
    game: Game
    critic_loss: Tensor
    generator_loss: Tensor


def modes_of(config: Config) -> Modes:
    """Return the Gaussians that a config's games are about."""
    return grid_of_gaussians(std=config.std)


def rules_of(remedies: Remedies, copies: int) -> Rules:
    """Return the losses of a variant, summed over copies, so that copies do not share a step."""
    fooling = losses.saturating_loss if remedies.saturating else losses.generator_loss

    def critic_loss(real: Tensor, fake: Tensor) -> Tensor:
        return copies * smoothed_loss(real, fake, remedies.real_target)

    return Rules(critic_loss, lambda logits: copies * fooling(logits), apart=True)


def begin(config: Config, remedies: Remedies, seed: int, device: torch.device) -> Game:
    """Return both players before their first move, drawn with a seed."""
    torch.manual_seed(seed)
    return Game(config, remedies).to(device)


def fit(config: Config, remedies: Remedies, game: Game, seed: int) -> Iterator[Progress]:
    """Yield after every turn of all copies' games.

    Args:
        config: the players' pace.
        remedies: what this variant does differently.
        game: both players, on the device where to play; they are moved.
        seed: of points and codes.
    """
    device = next(game.parameters()).device
    chance, modes = torch.Generator(device).manual_seed(seed), modes_of(config)
    shape = (config.copies, config.batch_size)

    def codes(count: int) -> Tensor:
        return torch.randn(count, shape[1], config.latent, generator=chance, device=device)

    def batches() -> Iterator[Tensor]:
        while True:
            yield modes.sample(shape[0] * shape[1], chance).view(*shape, 2)

    def matching_loss(real: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = game.critic.features(real)
        return feature_gap(wanted, game.critic.features(game.generator(codes(len(real))))).sum()

    rates = (config.learning_rate * remedies.critic_rate, config.learning_rate)
    critic_adam, generator_adam = (
        torch.optim.Adam(net.parameters(), lr=rate, betas=(remedies.momentum, 0.99), fused=True)
        for net, rate in zip((game.critic, game.generator), rates, strict=True)
    )
    schedules = [LinearLR(o, 1.0, 0.0, config.turns) for o in (critic_adam, generator_adam)]
    players = adversaries(
        game.generator,
        game.critic,
        (critic_adam, generator_adam),
        codes,
        rules_of(remedies, config.copies),
    )
    if remedies.matching:
        players[1] = Player("generator", generator_adam, matching_loss)
    memory = checkpoints.current()
    memory.keep(game=game, chance=chance)
    memory.keep(optimizers={"critic": critic_adam, "generator": generator_adam})
    memory.keep(schedules=dict(enumerate(schedules)))
    for step in play(players, batches(), memory.turns(config.turns)):
        if step.player == "critic":
            last = step.loss
            continue
        for schedule in schedules:
            schedule.step()
        if (step.turn + 1) % config.average_every == 0:
            game.average.update_parameters(game.generator)
        yield Progress(step.turn, game, last, step.loss)


def draw(
    net: nn.Module, copies: int, count: int, latent: int, generator: torch.Generator
) -> Float[Tensor, "copies count 2"]:
    """Turn codes into points of every copy, in evaluation mode."""
    z = torch.randn(copies, count, latent, generator=generator)
    was = net.training
    net.eval()
    with torch.no_grad():
        points: Tensor = net(z.to(next(net.parameters())))
    net.train(was)
    return points


def field(game: Game) -> Float[Tensor, "copies side side"]:
    """Return the critic's probability of "data" on the square from -1.1 to 1.1, top row first.

    For a critic that sees no batch statistics. Looking does not move the game.
    """
    axis = torch.linspace(-EXTENT, EXTENT, FIELD)
    y, x = torch.meshgrid(axis.flip(0), axis, indexing="ij")
    places = torch.stack([x, y], dim=-1).view(1, -1, 2).expand(game.copies, -1, -1)
    was = game.critic.training
    game.critic.eval()
    with torch.no_grad():
        logits = game.critic(places.to(next(game.parameters())))
    game.critic.train(was)
    said: Tensor = logits.sigmoid().view(game.copies, FIELD, FIELD)
    return said


def seen_of(game: Game, config: Config, turn: int) -> dict[str, Tensor]:
    """Return what a look at a game keeps: points of the played generator, counts, the field."""
    points = look(game.generator, config, 1_000)
    return {
        "measures": measures([coverage(copy, modes_of(config)) for copy in points]),
        "points": points[:, :SHOWN],
        "field": (field(game) * 255).round().to(torch.uint8).cpu(),
        "turn": torch.tensor(turn),
    }


def look(net: nn.Module, config: Config, count: int) -> Float[Tensor, "copies count 2"]:
    """Return a stack's points, always from the same codes."""
    codes = torch.Generator().manual_seed(99)
    return draw(net, config.copies, count, config.latent, codes).cpu()


def play_variant(
    config: Config, remedies: Remedies, seed: int, device: torch.device
) -> tuple[Game, dict[str, Tensor], dict[str, list[float]], int]:
    """Play one variant to its end.

    Returns:
        the game; what was seen at each look, stacked; the losses of a copy, averaged over
        stretches; and the turn at which it was found to have diverged, or -1.
    """
    game = begin(config, remedies, seed, device)
    every, diverged = max(1, config.turns // config.looks), -1
    watch, seen = LastGood(game, every), [seen_of(game, config, 0)]
    curves: dict[str, list[Tensor]] = {"critic": [], "generator": []}
    checkpoints.current().keep(watch=watch, seen=seen, curves=curves)
    for now in fit(config, remedies, game, seed):
        looking = (now.turn + 1) % every == 0
        points = [look(game.generator, config, 1_000)] if looking else []
        if not watch.fine(now.turn, now.critic_loss, now.generator_loss, *points):
            warnings.warn(watch.restore(), RuntimeWarning, stacklevel=2)
            diverged = now.turn
            break
        curves["critic"].append(now.critic_loss / config.copies)
        curves["generator"].append(now.generator_loss / config.copies)
        seen += [seen_of(game, config, now.turn + 1)] if looking else []
    game.requires_grad_(False)
    if remedies.norm:
        refresh(game, config, device)
    half_rounded(game)
    stacked = {name: torch.stack([at[name] for at in seen]) for name in seen[0]}
    history = {name: stretches(values) for name, values in curves.items()}
    return game, stacked, history, diverged


def stretches(values: list[Tensor]) -> list[float]:
    """Return the means of at most a hundred equal stretches of a curve; none of an empty one."""
    parts = torch.stack(values).cpu().tensor_split(min(100, len(values))) if values else ()
    return [part.mean().item() for part in parts]


def refresh(game: Game, config: Config, device: torch.device) -> None:
    """Measure the averaged generator's batch moments anew: averages of weights have their own."""
    chance = torch.Generator(device).manual_seed(98)
    shape = (config.copies, 250, config.latent)
    codes = [torch.randn(shape, generator=chance, device=device) for _ in range(20)]
    update_bn(codes, game.average)


def measures(covered: list[Coverage]) -> Float[Tensor, "3 copies"]:
    """Return modes covered, share near and divergence in nats, of every copy."""
    return torch.tensor([[c.covered, c.near, c.divergence] for c in covered]).T


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Play every variant; return all players, what they cover, and how that came about."""
    tensors: dict[str, Tensor] = {}
    metrics: dict[str, float] = {}
    history: dict[str, list[float]] = {}
    for name, remedies in tqdm(VARIANTS.items(), desc="stability", unit="game"):
        with plain_products(device), checkpoints.part(name.replace(" ", "_")):
            game, seen, curves, diverged = play_variant(config, remedies, seed, device)
        key = name.replace(" ", "_")
        kept = {k: v for k, v in seen.items() if k in ("measures", "turn") or name == "baseline"}
        tensors |= {f"looks.{key}.{part}": values for part, values in kept.items()}
        tensors |= {f"model.{key}.{part}": value for part, value in game.state_dict().items()}
        history |= {f"{key}_{player}_loss_nats": values for player, values in curves.items()}
        metrics[f"{key}_diverged_turn"] = float(diverged)
        points, numbers = score(config, key, game)
        tensors |= points
        metrics |= numbers
    return Run(tensors, metrics, history, data=[])


def score(config: Config, key: str, game: Game) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Return samples and counts of a game, and the means over copies, played and averaged."""
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, float] = {}
    for kind, net in (("played", game.generator), ("averaged", game.average)):
        points = look(net, config, config.points)
        covered = [coverage(copy, modes_of(config)) for copy in points]
        tensors[f"samples.{key}.{kind}"] = points[:, :SHOWN]
        tensors[f"counts.{key}.{kind}"] = torch.stack([c.counts for c in covered]).int()
        mean = measures(covered).double().mean(dim=1).tolist()
        for unit, value in zip(("modes", "near", "divergence_nats"), mean, strict=True):
            numbers[f"{key}_{kind}_{unit}"] = value
    return tensors, numbers


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads: none, points are drawn as they are needed."""
    return ()


def config_of(run: Run) -> Config:
    """Return the config of a run."""
    stored = run.provenance["config"]
    return Config(**stored | {"hidden": tuple(stored["hidden"])})


def restore(run: Run) -> dict[str, Game]:
    """Return all games of a run by name, in evaluation mode."""
    config = config_of(run)
    games: dict[str, Game] = {}
    for name, remedies in VARIANTS.items():
        games[name] = Game(config, remedies)
        games[name].load_state_dict(run.part(f"model.{name.replace(' ', '_')}"))
        games[name].eval().requires_grad_(False)
    return games


def sample(run: Run, count: int, generator: torch.Generator) -> Float[Tensor, "count 2"]:
    """Return points of the averaged generator with the remedies together, first copy."""
    game = restore(run)["together"]
    return draw(game.average, game.copies, count, game.latent, generator)[0]


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Count what a run's weights cover anew."""
    config = config_of(run)
    numbers: dict[str, float] = {}
    for name, game in restore(run).items():
        numbers |= score(config, name.replace(" ", "_"), game.to(device))[1]
    return numbers
