"""Train a generator of vessels of clay with a critic, on all wares and on all but one.

Chapter: book/applications/archaeology.md.  Proof: tests/recipes/test_vessels.py.
Reference: Goodfellow et al., "Generative Adversarial Nets" (2014).

The generator is told the class and returns the clean vessel; noise of the potter's scale is added
before the critic looks, as it is in the data.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from litgen import checkpoints
from litgen.applications.sherds import coins_log_prob
from litgen.applications.turned import VesselCritic, VesselGenerator
from litgen.data import pottery
from litgen.data.pottery import CLASSES, HEIGHTS, PARAMETERS, RANGES, Form, PotSet
from litgen.density import ppca
from litgen.gan import gradient_penalty
from litgen.gan.game import Rules, adversaries
from litgen.recipes import pictures
from litgen.runs import Run
from litgen.shapes import Float, Int, UInt8
from litgen.training import Minibatches, half_rounded, play

__all__ = [
    "BOTTLE",
    "CPU",
    "GPU",
    "HAND",
    "Config",
    "data",
    "evaluate",
    "fit",
    "known_curves",
    "known_log_prob",
    "measured",
    "restore",
    "sample",
    "tall_log_prob",
    "train",
    "without_bottles",
]

BOTTLE = CLASSES.index("bottle")
HAND = math.sqrt(pottery.COINS / 4) / 255
"""Standard deviation of a radius about the clean one: that of the heads among the coins."""


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        latent: dimensions of z.
        hidden: widths of the generator's layers.
        critic_hidden: widths of the critic's.
        turns: updates of each player in each of the two games.
        batch_size: vessels in a step, and samples.
        learning_rate: of the generator's Adam at the start; it falls to zero along half a cosine.
        critic_rate: the critic's learning rate over the generator's.
        momentum: of Adam's average of gradients.
        penalty: weight of the one-sided gradient penalty; none if 0.
        average: decay of the moving average of the generator's weights.
    """

    latent: int = 7
    hidden: tuple[int, ...] = (96, 96)
    critic_hidden: tuple[int, ...] = (96, 96)
    turns: int = 600
    batch_size: int = 128
    learning_rate: float = 5e-4
    critic_rate: float = 2.0
    momentum: float = 0.5
    penalty: float = 0.0
    average: float = 0.995


CPU = Config()
GPU = Config(
    hidden=(256, 256),
    critic_hidden=(256, 256),
    turns=20_000,
    batch_size=512,
    learning_rate=5e-4,
    penalty=0.1,
    average=0.999,
)


class Progress(NamedTuple):
    """Where a game stands after a turn; the generator is the averaged one, losses are detached."""

    turn: int
    generator: VesselGenerator
    critic_loss: Tensor
    generator_loss: Tensor


def measured(vessels: PotSet) -> Float[Tensor, "count dims"]:
    """Return radii and height of each vessel, in half widths and heights of the box."""
    return torch.cat([vessels.profiles, vessels.tall[:, None]], dim=1).float() / 255


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Play with all wares and without bottles; return both generators."""
    train_set, test_set = pottery.load("train"), pottery.load("test")
    known = {"all": train_set.labels >= 0, "no_bottle": train_set.labels != BOTTLE}
    tensors: dict[str, Tensor] = {}
    history: dict[str, list[float]] = {}
    metrics: dict[str, float] = {}
    for name, chosen in known.items():
        curves: dict[str, list[Tensor]] = {"critic": [], "generator": []}
        x, labels = measured(train_set)[chosen], train_set.labels[chosen]
        with checkpoints.part(name) as memory:
            memory.keep(curves=curves)
            for now in fit(config, x.to(device), labels.to(device), seed):
                curves["critic"].append(now.critic_loss)
                curves["generator"].append(now.generator_loss)
        model = now.generator.eval()
        half_rounded(model)
        tensors |= {f"{name}.{key}": value for key, value in model.state_dict().items()}
        history |= {f"{name}_{key}_nats": pictures.curve(v) for key, v in curves.items()}
        found = _held_out(model, name, test_set)
        metrics |= {f"{name}_{key}": value for key, value in found.items()}
    records = [
        dataclasses.asdict(part.record) | {"name": "pottery", "title": "vessels", "split": split}
        for split, part in (("train", train_set), ("test", test_set))
    ]
    return Run(tensors=tensors, metrics=metrics, history=history, data=records)


def fit(
    config: Config, x: Float[Tensor, "count dims"], labels: Int[Tensor, " count"], seed: int
) -> Iterator[Progress]:
    """Yield after every turn of a game, on the device of the vessels."""
    torch.manual_seed(seed)  # weights
    draws = torch.Generator(x.device).manual_seed(seed)
    shuffle = torch.Generator().manual_seed(seed)
    network = VesselGenerator(*linear_start(x, labels, config.latent), config.hidden)
    potter = Potter(network, draws).to(x.device)
    critic = VesselCritic(x.mean(dim=0), len(CLASSES), config.critic_hidden).to(x.device)
    averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config.average))
    rates = (config.learning_rate * config.critic_rate, config.learning_rate)
    optimizers = [
        torch.optim.Adam(net.parameters(), lr=rate, betas=(config.momentum, 0.99), fused=True)
        for net, rate in zip((critic, potter), rates, strict=True)
    ]
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(o, config.turns) for o in optimizers]

    def codes(count: int) -> Tensor:
        return torch.randn(count, config.latent, generator=draws, device=x.device)

    def load(rows: Tensor) -> tuple[Tensor, Tensor]:
        # the hand is in the radii already; the height is measured as well as they are
        off = HAND * torch.randn(len(rows), generator=draws, device=x.device)
        vessels = torch.cat([x[rows, :-1], (x[rows, -1] + off)[:, None]], dim=1)
        return vessels, labels[rows]

    one_sided = gradient_penalty.one_sided_penalty
    penalty = gradient_penalty.weighted(config.penalty, draws, one_sided)
    rules = Rules(penalty=penalty if config.penalty else None)
    players = adversaries(potter, critic, (optimizers[0], optimizers[1]), codes, rules, load)
    batches = Minibatches(torch.arange(len(x), device=x.device), config.batch_size, shuffle)
    memory = checkpoints.current()
    memory.keep(potter=potter, critic=critic, averaged=averaged, draws=draws, batches=batches)
    memory.keep(optimizers=dict(enumerate(optimizers)), schedules=dict(enumerate(schedules)))
    game = play(players, batches, memory.turns(config.turns))
    for step in tqdm(game, total=2 * config.turns, desc="vessels", unit="step"):
        if step.player == "critic":
            last = step.loss
            continue
        for schedule in schedules:
            schedule.step()
        averaged.update_parameters(network)
        yield Progress(step.turn, cast(VesselGenerator, averaged.module), last, step.loss)


def linear_start(
    x: Float[Tensor, "count dims"], labels: Int[Tensor, " count"], latent: int
) -> tuple[Float[Tensor, "classes dims"], Float[Tensor, "classes dims latent"]]:
    """Return mean and weight of each class's probabilistic PCA; zeros for a class without data."""
    means = torch.zeros(len(CLASSES), x.shape[1])
    weights = torch.zeros(len(CLASSES), x.shape[1], latent)
    for label in labels.unique().tolist():
        model = ppca.fit(x[labels == label].double().cpu(), latent)
        means[label], weights[label] = model.mean, model.weight
    return means, weights


class Potter(nn.Module):
    """A generator of clean vessels, and the hand that makes them."""

    def __init__(self, network: VesselGenerator, draws: torch.Generator):
        super().__init__()
        self.network, self.draws = network, draws

    def forward(
        self, z: Float[Tensor, "batch latent"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch dims"]:
        """Return vessels as they would be measured."""
        clean: Tensor = self.network(z, labels)
        off = torch.randn(clean.shape, generator=self.draws, device=clean.device)
        return clean + HAND * off


@torch.no_grad()
def distances(
    model: VesselGenerator,
    held_out: Float[Tensor, "count dims"],
    many: int = 10_000,
    classes: int = len(CLASSES),
) -> dict[str, float]:
    """Return root mean square distances to the nearest, in bytes: both ways, and for comparison.

    Keys: missed, from held-out vessels to generated ones; missed_floor, from the same to as many
    vessels of the known generator; impossible, from generated ones to the known generator's. Only
    so many classes, the first ones, are generated.
    """
    random = np.random.default_rng(3)
    form = pottery.forms(2 * many, random)
    kept = form.label < classes
    known = torch.from_numpy(np.hstack([pottery.curves(form), pottery.tall(form)[:, None] / 255]))
    known = known[torch.from_numpy(kept)].float().to(held_out)[:many]
    generator = torch.Generator().manual_seed(3)
    z = torch.randn(many, model.latent, generator=generator).to(held_out)
    labels = torch.arange(many, device=held_out.device) % classes
    made = model(z, labels)

    def apart(a: Tensor, b: Tensor) -> float:
        nearest = torch.cdist(a.double(), b.double()).min(dim=1).values  # by products, which round
        return (255 * nearest / math.sqrt(a.shape[1])).mean().item()

    return {
        "missed": apart(held_out[:500], made),
        "missed_floor": apart(held_out[:500], known),
        "impossible": apart(made[:500], known),
    }


def _held_out(model: VesselGenerator, name: str, test_set: PotSet) -> dict[str, float]:
    """Return `distances` on the wares that a generator was trained on; bottles are the last."""
    classes = len(CLASSES) if name == "all" else BOTTLE
    x = measured(test_set)[test_set.labels < classes]
    return distances(model, x.to(model.mean.device), classes=classes)


def known_curves(
    z: Float[Tensor, "*batch latent"], labels: Int[Tensor, "*batch"]
) -> Float[Tensor, "*batch heights"]:
    """Return clean profiles of the generator that drew the data, told by normal codes.

    A code's entries, by the normal distribution function, are the shares of `pottery.Form`; its
    last one is how tall the vessel is, which no radius shows.
    """
    shares = torch.special.ndtr(z).flatten(0, -2).numpy()
    drawn = pottery.curves(Form(labels.flatten().numpy(), shares))
    return torch.from_numpy(drawn).view(*labels.shape, HEIGHTS)


def known_log_prob(
    values: Float[Tensor, "*#batch shown"], clean: Float[Tensor, "*#batch shown"]
) -> Float[Tensor, "*batch"]:
    """Return the exact log-probability of a sherd's bytes, given the clean radii."""
    off = (255 * values).round() - (255 * clean).round()
    return coins_log_prob(off.long(), pottery.COINS)


def tall_log_prob(tall: UInt8[Tensor, " count"]) -> Float[Tensor, "count classes"]:
    """Return log p(tall | class) of heights in bytes: even over a class's range, rounded."""
    low, high = (torch.from_numpy(RANGES[:, len(PARAMETERS) - 1, i]).double() for i in (0, 1))
    byte = tall.double()[:, None]
    upper = torch.minimum((byte + 0.5) / 255, high)
    lower = torch.maximum((byte - 0.5) / 255, low)
    return ((upper - lower).clamp(min=0) / (high - low)).log()


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return ("pottery",)


def restore(run: Run) -> VesselGenerator:
    """Return the generator of all wares, in evaluation mode."""
    return _generator(run, "all")


def without_bottles(run: Run) -> VesselGenerator:
    """Return the generator that never saw a bottle, in evaluation mode."""
    return _generator(run, "no_bottle")


def _generator(run: Run, name: str) -> VesselGenerator:
    """Return one of a run's generators."""
    stored, state = run.provenance["config"], run.part(name)
    hidden: Sequence[int] = tuple(stored["hidden"])
    model = VesselGenerator(state["mean"].float(), state["weight"].float(), hidden)
    model.load_state_dict(state)
    return model.eval().requires_grad_(False)


def sample(run: Run, count: int, generator: torch.Generator) -> Float[Tensor, "count dims"]:
    """Return vessels of all classes in turn: radii and height."""
    model = restore(run)
    z = torch.randn(count, model.latent, generator=generator)
    vessels: Tensor = model(z, torch.arange(count) % len(CLASSES))
    return vessels + HAND * torch.randn(vessels.shape, generator=generator)


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights anew."""
    test_set = pottery.load("test")
    metrics: dict[str, float] = {}
    for name in ("all", "no_bottle"):
        found = _held_out(_generator(run, name).to(device), name, test_set)
        metrics |= {f"{name}_{key}": value for key, value in found.items()}
    return metrics
