"""Three sets in the plane: critics kept Lipschitz in two ways, and the game with the better one.

Chapter: book/gan/gradient_penalty.md.  Proof: tests/recipes/test_gan_gp.py.
Reference: Gulrajani et al., "Improved Training of Wasserstein GANs" (2017), figure 1.

All games are played at once, each by players of its own (`litgen.gan.parallel`). First the critics
alone: samples are data plus noise, as in the paper's figure, and nothing moves them. Then the
game. A code is two normal numbers and one of a hundred symbols: a continuous map of normal numbers
alone cannot tear them apart into modes without bridges, which the last game shows, whose codes
lack the symbol.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from litgen import checkpoints
from litgen.gan import toys, wasserstein
from litgen.gan.game import LastGood, Rules, adversaries
from litgen.gan.gradient_penalty import weighted
from litgen.gan.parallel import StackedMLP, interleave, separate
from litgen.recipes.pictures import curve
from litgen.runs import Run
from litgen.shapes import Float
from litgen.training import Player, half_rounded, plain_products, play

__all__ = [
    "CPU",
    "EXTENT",
    "GPU",
    "GRID",
    "Config",
    "Players",
    "Progress",
    "critics",
    "data",
    "draw_set",
    "evaluate",
    "fit",
    "grid",
    "package",
    "restore",
    "sample",
    "surface",
    "train",
]

Set = Literal["eight_gaussians", "grid_of_gaussians", "swiss_roll"]

EXTENT = 2.0
"""Values of critics are kept from -EXTENT to EXTENT on both axes."""

GRID = 48
"""Places along one side of that square."""

KEPT = 500
"""Samples of each set that a snapshot keeps."""


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        sets: in the plane, one for each pair of players; the same one again is another seed.
        torn: whether the codes of that game have a symbol.
        hidden: widths of the generators' layers.
        critic_hidden: widths of the critics'.
        latent: normal numbers of a code.
        symbols: that the rest of a code is one of.
        waves: standard deviation of the critics' input frequencies, radians per unit.
        turns: moves of a generator.
        critic_moves: in each turn.
        batch_size: points of a set in a step, and samples.
        learning_rate: of the generators' Adam; it falls to zero along half a cosine.
        critic_rate: the critics' learning rate over the generators'.
        betas: of both Adams.
        weight: of the penalty.
        average: decay of the moving average of the generators' weights.
        critic_turns: steps of the critics that play alone; 0 leaves them out.
        clip: limit of the weights of those that have no penalty.
        moments: snapshots of the game.
    """

    sets: tuple[Set, ...] = (
        "eight_gaussians",
        "grid_of_gaussians",
        "swiss_roll",
        "grid_of_gaussians",
    )
    torn: tuple[bool, ...] = (True, True, True, False)
    hidden: tuple[int, ...] = (128, 128)
    critic_hidden: tuple[int, ...] = (128, 128)
    latent: int = 2
    symbols: int = 100
    waves: float = 10.0
    turns: int = 350
    critic_moves: int = 5
    batch_size: int = 128
    learning_rate: float = 1e-3
    critic_rate: float = 3.0
    betas: tuple[float, float] = (0.0, 0.9)
    weight: float = 0.1
    average: float = 0.98
    critic_turns: int = 300
    clip: float = 0.1
    moments: int = 12


CPU = Config()
GPU = Config(
    hidden=(256, 256, 256),
    critic_hidden=(256, 256, 256),
    turns=4_000,
    batch_size=512,
    learning_rate=3e-4,
    average=0.998,
    critic_turns=4_000,
)


class Players(nn.Module):
    """Generators from codes to points and critics from points to values, side by side."""

    torn: Tensor

    def __init__(self, config: Config):
        super().__init__()
        copies, code = len(config.sets), config.latent + config.symbols
        self.latent, self.symbols = config.latent, config.symbols
        self.register_buffer("torn", torch.tensor(config.torn).float().view(1, copies, 1))
        self.generator = StackedMLP(copies, [code, *config.hidden, 2])
        self.critic = StackedMLP(copies, [2, *config.critic_hidden, 1], 0.2, config.waves)

    def codes(self, rows: int, generator: torch.Generator) -> Float[Tensor, "rows code"]:
        """Draw codes: normal numbers, then a symbol's place, of unit mean square, or zeros."""
        device = generator.device
        normal = torch.randn(rows, self.latent, generator=generator, device=device)
        which = torch.randint(self.symbols, (rows,), generator=generator, device=device)
        symbol = self.symbols**0.5 * one_hot(which, self.symbols)
        told = symbol.view(-1, self.torn.shape[1], self.symbols) * self.torn
        return torch.cat([normal, told.flatten(0, 1)], dim=1)


class Progress(NamedTuple):
    """Where the games stand after a turn; the generator is the averaged one.

    A game that ``diverged`` has its last good state back, and ends.
    """

    turn: int
    generator: nn.Module
    players: Players
    critic_loss: Tensor
    generator_loss: Tensor
    diverged: bool


def draw_set(name: Set, count: int, generator: torch.Generator) -> Float[Tensor, "count 2"]:
    """Draw data.

    Raises:
        ValueError: an unknown set.
    """
    if name == "swiss_roll":
        return toys.swiss_roll(count, generator)
    if name not in ("eight_gaussians", "grid_of_gaussians"):
        raise ValueError(f"unknown set {name!r}")
    modes: toys.Modes = getattr(toys, name)()
    return modes.sample(count, generator)


def batches(config: Config, generator: torch.Generator) -> Iterator[Float[Tensor, "rows 2"]]:
    """Yield fresh data for ever, of each set in turn."""
    while True:
        yield interleave([draw_set(name, config.batch_size, generator) for name in config.sets])


def critics(
    config: Config, seed: int, device: torch.device, penalty: bool
) -> Iterator[tuple[StackedMLP, Tensor]]:
    """Yield critics and their loss after every step against samples that stay: data plus noise.

    Args:
        config: their widths and pace; they have no waves.
        seed: of weights, data and noise.
        device: where to compute.
        penalty: keep their slope near 1 by the penalty; otherwise by clipping.
    """
    torch.manual_seed(seed)
    draws = torch.Generator(device).manual_seed(seed)
    critic = StackedMLP(len(config.sets), [2, *config.critic_hidden, 1], 0.2).to(device)
    rate = config.learning_rate * config.critic_rate
    optimizer = torch.optim.Adam(critic.parameters(), rate, betas=config.betas, fused=True)
    rule = weighted(config.weight, draws)

    def loss(x: Tensor) -> Tensor:
        fake = x.roll(len(config.sets), 0)  # other data
        fake = fake + torch.randn(x.shape, generator=draws, device=device)
        loss = wasserstein.critic_loss(critic(x), critic(fake))
        return loss + rule(critic, x, fake) if penalty else loss

    player = Player("critic", optimizer, loss)
    memory = checkpoints.current()
    memory.keep(critic=critic, optimizer=optimizer, draws=draws)
    for step in play([player], batches(config, draws), memory.turns(config.critic_turns)):
        if not penalty:
            wasserstein.clip_weights(critic, config.clip)
        yield critic, step.loss


def fit(config: Config, seed: int, device: torch.device) -> Iterator[Progress]:
    """Yield after every turn of the games."""
    torch.manual_seed(seed)  # weights
    draws = torch.Generator(device).manual_seed(seed)
    model = Players(config).to(device)
    averaged = AveragedModel(model.generator, multi_avg_fn=get_ema_multi_avg_fn(config.average))
    rates = (config.learning_rate * config.critic_rate, config.learning_rate)
    optimizers = [
        torch.optim.Adam(net.parameters(), rate, betas=config.betas, fused=True)
        for net, rate in zip((model.critic, model.generator), rates, strict=True)
    ]
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(o, config.turns) for o in optimizers]
    rules = Rules(
        critic_loss=wasserstein.critic_loss,
        generator_loss=wasserstein.generator_loss,
        penalty=weighted(config.weight, draws),
        critic_moves=config.critic_moves,
    )
    players = adversaries(
        model.generator,
        model.critic,
        (optimizers[0], optimizers[1]),
        lambda rows: model.codes(rows, draws),
        rules,
    )
    watch = LastGood(nn.ModuleList([model, averaged]))
    memory = checkpoints.current()
    memory.keep(model=model, averaged=averaged, draws=draws, watch=watch)
    memory.keep(optimizers=dict(enumerate(optimizers)), schedules=dict(enumerate(schedules)))
    game = play(players, batches(config, draws), memory.turns(config.turns))
    total = (config.critic_moves + 1) * config.turns
    for step in tqdm(game, total=total, desc="wgan-gp", unit="step"):
        if step.player == "critic":
            last = step.loss
            continue
        for schedule in schedules:
            schedule.step()
        averaged.update_parameters(model.generator)
        diverged = not watch.fine(step.turn, last, step.loss)
        if diverged:
            warnings.warn(watch.restore(), RuntimeWarning, stacklevel=2)
        yield Progress(step.turn, averaged.module, model, last, step.loss, diverged)
        if diverged:
            return


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train critics alone, then play; keep surfaces, samples, curves, and what was reached."""
    tensors: dict[str, Tensor] = {}
    history: dict[str, list[float]] = {}
    with plain_products(device):
        for kind in ("clipped", "penalised") if config.critic_turns else ():
            with checkpoints.part(kind) as memory:
                said: list[Tensor] = []
                memory.keep(said=said)
                for now in critics(config, seed, device, penalty=kind == "penalised"):
                    said.append(now[1])
            tensors[f"critics.{kind}"] = surface(now[0])
            history[f"{kind}_loss"] = curve(said)
        with checkpoints.part("games"):
            run = package(config, seed, device)
    run.tensors.update(tensors)
    run.history.update(history)
    return run


def package(config: Config, seed: int, device: torch.device) -> Run:
    """Play the games; return weights, snapshots, curves and metrics."""
    at = torch.linspace(0, 1, config.moments).square() * (config.turns - 1)
    moments = torch.unique(at.round().long())
    kept: list[tuple[Tensor, Tensor]] = []
    losses: list[Tensor] = []
    checkpoints.current().keep(kept=kept, losses=losses)
    for now in fit(config, seed, device):
        losses.append(now.critic_loss)
        if now.turn in moments and not now.diverged:
            kept.append(_snapshot(config, now, device))
    model = now.players
    model.generator.load_state_dict(now.generator.state_dict())
    model.eval().requires_grad_(False)
    half_rounded(model)
    tensors = {f"model.{name}": value.cpu() for name, value in model.state_dict().items()}
    tensors["snapshots.turn"] = moments[: len(kept)] + 1
    if kept:
        tensors["snapshots.samples"] = torch.stack([samples for samples, _ in kept])
        tensors["snapshots.surface"] = torch.stack([values for _, values in kept])
    ended = {"diverged_at_turn": float(now.turn if now.diverged else -1)}
    metrics = measure(config, model, device) | ended
    return Run(tensors, metrics, {"critic_loss": curve(losses)}, [])


@torch.no_grad()
def _snapshot(config: Config, now: Progress, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return samples (sets, KEPT, 2) for the same codes each time, and the critics' values."""
    same = torch.Generator(device).manual_seed(0)
    points = now.generator(now.players.codes(KEPT * len(config.sets), same))
    return separate(points, len(config.sets)).cpu(), surface(now.players.critic)


def grid(side: int = GRID) -> Float[Tensor, "places 2"]:
    """Return the centres of the cells, the row with the largest y first."""
    axis = (torch.arange(side) + 0.5) / side * 2 * EXTENT - EXTENT
    x, y = torch.meshgrid(axis, axis.flip(0), indexing="xy")
    return torch.stack([x, y], dim=-1).view(-1, 2)


@torch.no_grad()
def surface(critic: StackedMLP, side: int = GRID) -> Float[Tensor, "copies side side"]:
    """Return the values of all critics on the grid, each less its mean there."""
    places = interleave([grid(side)] * critic.copies).to(next(critic.parameters()))
    values = separate(critic(places), critic.copies).view(-1, side, side)
    return (values - values.mean(dim=(1, 2), keepdim=True)).cpu()


@torch.no_grad()
def measure(config: Config, model: Players, device: torch.device) -> dict[str, float]:
    """Return what 10,000 samples of each game reach: modes, near samples, evenness."""
    copies = len(config.sets)
    draws = torch.Generator(device).manual_seed(1)
    points = separate(model.generator(model.codes(10_000 * copies, draws)), copies).cpu()
    metrics: dict[str, float] = {}
    for i, (name, own) in enumerate(zip(config.sets, points, strict=True)):
        if name == "swiss_roll":
            continue
        found = toys.coverage(own, getattr(toys, name)())
        metrics[f"modes_{i}"] = float(found.covered)
        metrics[f"near_{i}"] = found.near
        metrics[f"unevenness_{i}_nats"] = found.divergence
    return metrics


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads: none, since toys are drawn."""
    return ()


def restore(run: Run) -> Players:
    """Return the players of a run, in evaluation mode."""
    model = Players(_config_of(run))
    model.load_state_dict(run.part("model"))
    return model.eval().requires_grad_(False)


def sample(run: Run, count: int, generator: torch.Generator) -> Float[Tensor, "copies count 2"]:
    """Return points of each set."""
    model = restore(run)
    copies = model.generator.copies
    return separate(model.generator(model.codes(count * copies, generator)), copies)


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights anew."""
    kept = {"diverged_at_turn": run.metrics["diverged_at_turn"]}
    return measure(_config_of(run), restore(run).to(device), device) | kept


def _config_of(run: Run) -> Config:
    """Return a run's config; a file's JSON holds tuples as lists."""
    stored: dict[str, object] = run.provenance["config"]
    tuples = {k: tuple(v) for k, v in stored.items() if isinstance(v, list | tuple)}
    return Config(**{**stored, **tuples})  # type: ignore[arg-type]
