"""Let a WGAN with gradient penalty play against drawn spike trains, as Spike-GAN does.

Chapter: book/applications/neurobiology.md.  Proof: tests/recipes/test_applications_spikes.py.
Reference: Molano-Mazon, Onken, Piasini & Panzeri, "Synthesizing realistic neural population
activity patterns using Generative Adversarial Networks" (2018).

Departures from the paper: the critic sees spikes and never probabilities, by a straight-through
gradient; both networks are perceptrons over all neurons and bins; learning rates fall to zero, and
what draws is the moving average of the generator's weights.
"""

import dataclasses
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from litgen import checkpoints
from litgen.applications import spikes as statistics
from litgen.applications.spike_networks import SpikeGenerator
from litgen.data import spikes
from litgen.gan import wasserstein
from litgen.gan.activations import PiecewiseLeakyReLU
from litgen.gan.game import LastGood, Rules, adversaries
from litgen.gan.gradient_penalty import weighted
from litgen.recipes.pictures import curve, one_thread
from litgen.runs import Run
from litgen.shapes import Float, UInt8
from litgen.training import Minibatches, half_rounded, plain_products, play

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

KEPT = 1_000
"""Trials that a snapshot keeps."""


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        latent: dimensions of the code that all neurons and bins share; 0 leaves it out.
        hidden: widths of the generator.
        critic_hidden: widths of the critic.
        soft: show the critic probabilities in the place of spikes.
        trials: of the training set, the first ones.
        turns: moves of the generator.
        critic_moves: in each turn.
        batch_size: trials in a step, and samples.
        learning_rate: of both Adams at the start; it falls to zero along half a cosine.
        betas: of both Adams.
        weight: of the penalty; 0 leaves it out.
        average: decay of the moving average of the generator's weights.
        moments: snapshots.
        mixed: let networks compute in bfloat16 where the hardware has it.
    """

    latent: int = 32
    hidden: tuple[int, ...] = (128, 128)
    critic_hidden: tuple[int, ...] = (192, 192)
    soft: bool = False
    trials: int = 8_000
    turns: int = 850
    critic_moves: int = 2
    batch_size: int = 64
    learning_rate: float = 2e-3
    betas: tuple[float, float] = (0.5, 0.9)
    weight: float = 10.0
    average: float = 0.98
    moments: int = 8
    mixed: bool = False


CPU = Config()
GPU = Config(
    latent=64,
    hidden=(512, 512),
    critic_hidden=(512, 512),
    turns=20_000,
    critic_moves=5,
    batch_size=256,
    learning_rate=3e-4,
    average=0.999,
)


class Pair(nn.Module):
    """The two players: ``generator`` from codes to trials, ``critic`` from trials to values."""

    def __init__(self, config: Config):
        super().__init__()
        shape = spikes.NEURONS, spikes.BINS
        self.generator = SpikeGenerator(config.latent, config.hidden, *shape, soft=config.soft)
        layers: list[nn.Module] = [nn.Flatten()]
        widths = [shape[0] * shape[1], *config.critic_hidden]
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs), PiecewiseLeakyReLU()]
        self.critic = nn.Sequential(*layers, nn.Linear(widths[-1], 1))
        with torch.no_grad():  # silence is the rule: start near it
            last = self.generator.net[-1]
            assert isinstance(last, nn.Linear)
            last.bias.fill_(-1.5)


class Progress(NamedTuple):
    """Where a game stands after a turn; the generator is the averaged one, losses are detached.

    A game that ``diverged`` has its last good state back, and ends.
    """

    turn: int
    generator: SpikeGenerator
    pair: Pair
    critic_loss: Tensor
    diverged: bool


def fit(
    config: Config, trains: UInt8[Tensor, "trials neurons bins"], seed: int
) -> Iterator[Progress]:
    """Yield after every turn of the game, on the device of the spike trains."""
    torch.manual_seed(seed)  # weights
    device = trains.device
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
        penalty=weighted(config.weight, draws) if config.weight else None,
        critic_moves=config.critic_moves,
        mixed=config.mixed,
        thrifty=True,
    )
    players = adversaries(
        pair.generator,
        pair.critic,
        (optimizers[0], optimizers[1]),
        lambda count: pair.generator.draw(count, draws),
        rules,
        lambda batch: (batch.float(),),
    )
    watch = LastGood(nn.ModuleList([pair, averaged]))
    batches = Minibatches(trains, config.batch_size, shuffle)
    memory = checkpoints.current()
    memory.keep(pair=pair, averaged=averaged, draws=draws, batches=batches, watch=watch)
    memory.keep(optimizers=dict(enumerate(optimizers)), schedules=dict(enumerate(schedules)))
    game = play(players, batches, memory.turns(config.turns))
    total = (config.critic_moves + 1) * config.turns
    for step in tqdm(game, total=total, desc="spikes", unit="step"):
        if step.player == "critic":
            last = step.loss
            continue
        for schedule in schedules:
            schedule.step()
        averaged.update_parameters(pair.generator)
        diverged = not watch.fine(step.turn, last, step.loss)
        if diverged:
            warnings.warn(watch.restore(), RuntimeWarning, stacklevel=2)
        generator = averaged.module
        assert isinstance(generator, SpikeGenerator)
        yield Progress(step.turn, generator, pair, last, diverged)
        if diverged:
            return


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Play; keep trials on the way, and the critic's loss.

    Raises:
        ValueError: a batch larger than the training set.
    """
    train_set, test_set = spikes.load("train"), spikes.load("test")
    trains = train_set.spikes[: config.trials].to(device)
    at = torch.linspace(0, 1, config.moments).square() * (config.turns - 1)
    moments = torch.unique(at.round().long())
    kept: list[Tensor] = []
    losses: list[Tensor] = []
    checkpoints.current().keep(kept=kept, losses=losses)
    with one_thread(device), plain_products(device):
        for now in fit(config, trains, seed):
            losses.append(now.critic_loss)
            if now.turn in moments and not now.diverged:
                kept.append(drawn(now.generator, KEPT, torch.Generator(device).manual_seed(0)))
    pair = now.pair
    pair.generator.load_state_dict(now.generator.state_dict())
    pair.eval().requires_grad_(False)
    half_rounded(pair)
    tensors = {f"model.{name}": value.cpu() for name, value in pair.state_dict().items()}
    tensors["snapshots.turn"] = moments[: len(kept)] + 1
    if kept:
        tensors["snapshots.samples"] = torch.stack(kept).cpu()
    return Run(
        tensors=tensors,
        metrics=measure(pair, device)
        | {"diverged_at_turn": float(now.turn if now.diverged else -1)},
        history={"critic_loss": curve(losses)},
        data=records(train_set, test_set),
    )


@torch.no_grad()
def drawn(
    generator: SpikeGenerator, count: int, draws: torch.Generator
) -> UInt8[Tensor, "trials neurons bins"]:
    """Return drawn spike trains; probabilities of a soft generator are drawn from as well."""
    trials = []
    for part in torch.zeros(count).split(1_000):
        code = generator.draw(len(part), draws)
        p = generator.probabilities(code[:, : generator.latent])
        trials.append((code[:, generator.latent :].view_as(p) < p).to(torch.uint8))
    return torch.cat(trials)


def measure(pair: Pair, device: torch.device) -> dict[str, float]:
    """Return what 2,000 drawn trials and 2,000 of the test set have in common, in a few numbers.

    Keys: rate and fano, means over neurons of the generator's trials, with test_ before them the
    same of the test set; gain, the critic's mean on test trials over that on drawn ones.
    """
    fake = drawn(pair.generator, 2_000, torch.Generator(device).manual_seed(1))
    real = spikes.load("test").spikes[:2_000].to(device)
    found = {}
    for name, trains in (("", fake), ("test_", real)):
        cpu = trains.cpu()
        found[f"{name}rate"] = statistics.rates(cpu).mean().item()
        found[f"{name}fano"] = statistics.fano_factors(cpu).nanmean().item()
    with torch.no_grad():
        gain = pair.critic(real.float()).mean() - pair.critic(fake.float()).mean()
    return found | {"gain": gain.item()}


def records(train_set: spikes.SpikeSet, test_set: spikes.SpikeSet) -> list[dict[str, Any]]:
    """Return where both sets came from, as runs keep it."""
    return [
        dataclasses.asdict(part.record)
        | {"name": "spikes", "title": part.record.name, "split": split}
        for split, part in (("train", train_set), ("test", test_set))
    ]


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return ("spikes",)


def restore(run: Run) -> Pair:
    """Return the players of a run, in evaluation mode."""
    stored = run.provenance["config"]
    tuples = {k: tuple(v) for k, v in stored.items() if isinstance(v, list | tuple)}
    pair = Pair(Config(**{**stored, **tuples}))
    pair.load_state_dict(run.part("model"))
    return pair.eval().requires_grad_(False)


def sample(
    run: Run, count: int, generator: torch.Generator
) -> Float[Tensor, "trials neurons bins"]:
    """Return spike trains, 0 or 1."""
    return drawn(restore(run).generator, count, generator).float()


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights anew."""
    kept = {"diverged_at_turn": run.metrics["diverged_at_turn"]}
    return measure(restore(run).to(device), device) | kept
