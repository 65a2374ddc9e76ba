"""Translate horses to zebras and back without pairs, and with parts of the objective left out.

Chapter: book/gan/cyclegan.md.  Proof: tests/recipes/test_gan_cyclegan.py.
Reference: Zhu, Park, Isola & Efros, "Unpaired Image-to-Image Translation using Cycle-Consistent
Adversarial Networks" (2017).

Departures in the CPU profile: translators fold squares of 2x2 pixels into channels and have a
shortcut, batches hold several images, learning rates are higher and fall from the start; both
profiles draw their batches independently for the two players, and what translates in the end is a
moving average of the translators' weights.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from litgen import checkpoints
from litgen.data import animals, emoji
from litgen.data.sources import Record
from litgen.gan import cycle
from litgen.gan.buffer import ImageBuffer
from litgen.gan.cycle import Objective, Translators, UnpairedBatches
from litgen.gan.patch import PatchCritic
from litgen.gan.residual_translator import ResidualTranslator
from litgen.recipes import pictures
from litgen.runs import Run
from litgen.shapes import Float, UInt8
from litgen.training import Minibatches, Player, half_rounded, mixed_precision, play

__all__ = [
    "CPU",
    "GPU",
    "Config",
    "Domains",
    "Progress",
    "Variant",
    "critics_of",
    "data",
    "domains",
    "evaluate",
    "fit",
    "measure",
    "models",
    "quantised",
    "restore",
    "sample",
    "train",
    "translated",
]

Variant = Literal["full", "no_cycle", "no_identity", "no_buffer", "noisy", "paired"]
KEPT = 24
"""Images of each domain, generated a third of the way, that a run keeps."""


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        data: animals (horses and zebras) or emoji (two vendors).
        variants: a pair of translators is trained for each. "noisy" adds noise on the way back,
            "paired" is told the pairs, which animals do not have.
        width: channels of a translator's first layer.
        halvings: of its height and width.
        blocks: residual blocks.
        shortcut: see `litgen.gan.residual_translator.ResidualTranslator`.
        fold: the same.
        critic_width: channels of a critic's first layer.
        critic_halvings: they decide how large a patch a critic judges.
        turns: updates of each player.
        batch_size: images of each domain in a step.
        learning_rate: of both Adams at the start; it falls to zero along half a cosine.
        cycle: weight of the way there and back.
        identity: weight of leaving alone what is in the domain.
        noise: of the variant "noisy", pixels in [-1, 1].
        paired: weight of the distance from the partner, for the variant that knows it.
        buffer: images that are stored for each critic.
        average: decay of the moving average of the translators' weights, which translates.
        test_images: of each domain that are measured.
        mixed: let networks compute in bfloat16 where the hardware has it.
    """

    data: Literal["animals", "emoji"] = "animals"
    variants: tuple[Variant, ...] = ("full", "no_cycle", "no_buffer", "noisy")
    width: int = 16
    halvings: int = 1
    blocks: int = 2
    shortcut: bool = True
    fold: int = 2
    critic_width: int = 16
    critic_halvings: int = 2
    turns: int = 120
    batch_size: int = 4
    learning_rate: float = 2e-3
    cycle: float = 5.0
    identity: float = 1.0
    noise: float = 0.1
    paired: float = 100.0
    buffer: int = 50
    average: float = 0.97
    test_images: int = 150
    mixed: bool = True


CPU = Config()
GPU = Config(
    width=32,
    blocks=6,
    shortcut=False,
    fold=1,
    critic_width=64,
    turns=6_000,
    batch_size=16,
    learning_rate=4e-4,
    cycle=10.0,
    identity=5.0,
    average=0.999,
)


class Domains(NamedTuple):
    """Images of both domains, for training and for testing, and the names of the two."""

    x: UInt8[Tensor, "train_x channels height width"]
    y: UInt8[Tensor, "train_y channels height width"]
    test_x: UInt8[Tensor, "test_x channels height width"]
    test_y: UInt8[Tensor, "test_y channels height width"]
    names: tuple[str, str]
    records: list[dict[str, Any]]


def domains(name: Literal["animals", "emoji"]) -> Domains:
    """Return a data set's two domains; emoji lie in the order of their hidden pairs.

    Raises:
        ValueError: a domain of which there is no image.
    """
    if name == "emoji":
        first, second = (emoji.load(split) for split in ("train", "test"))
        records = _records(name, first.record, second.record)
        tests = second.google, second.twitter
        return Domains(first.google, first.twitter, *tests, emoji.VENDORS, records)
    herds = [animals.load(split) for split in ("train", "test")]
    kinds = "horse", "zebra"
    x, y, test_x, test_y = (animals.one_class(herd, kind) for herd in herds for kind in kinds)
    records = _records(name, *(herd.record for herd in herds))
    return Domains(x, y, test_x, test_y, kinds, records)


def _records(name: str, train_record: Record, test_record: Record) -> list[dict[str, Any]]:
    """Return where both splits came from, as runs keep it."""
    return [
        dataclasses.asdict(record) | {"name": name, "title": record.name, "split": split}
        for split, record in (("train", train_record), ("test", test_record))
    ]


class Progress(NamedTuple):
    """Where a training stands after a move: averaged translators; the loss is detached."""

    turn: int
    translators: Translators
    critics: nn.ModuleDict
    player: str
    loss: Tensor


def networks(config: Config, channels: int, paired: bool) -> tuple[Translators, nn.ModuleDict]:
    """Return new networks; a critic that is told pairs sees both images of one."""
    shape = config.width, config.halvings, config.blocks, config.shortcut, config.fold
    translators = Translators(
        ResidualTranslator(channels, *shape), ResidualTranslator(channels, *shape)
    )
    seen = channels * (2 if paired else 1)
    critics = nn.ModuleDict(
        {
            name: PatchCritic(seen, config.critic_width, config.critic_halvings, norm="instance")
            for name in "xy"
        }
    )
    return translators, critics


def fit(config: Config, variant: Variant, found: Domains, seed: int) -> Iterator[Progress]:
    """Yield after every move of a training, on the device of the images."""
    torch.manual_seed(seed)  # weights
    device, channels = found.x.device, found.x.shape[1]
    order = torch.Generator().manual_seed(seed)
    draws = torch.Generator(device).manual_seed(seed)
    pairs = variant == "paired"
    translators, critics = networks(config, channels, pairs)
    translators.to(device)
    critics.to(device)
    averaged = AveragedModel(translators, multi_avg_fn=get_ema_multi_avg_fn(config.average))
    betas = 0.5, 0.99
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.Adam(net.parameters(), config.learning_rate, betas, fused=True)
        for net in (translators, critics)
    ]
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(o, config.turns) for o in optimizers]
    objective = Objective(
        cycle=0.0 if variant == "no_cycle" else config.cycle,
        identity=0.0 if variant == "no_identity" else config.identity,
        noise=config.noise if variant == "noisy" else 0.0,
    )
    size = 0 if variant == "no_buffer" else config.buffer
    buffers = [ImageBuffer(size, torch.Generator().manual_seed(seed + i)) for i in (1, 2)]
    batches: Iterator[Tensor]
    if pairs:
        both = torch.stack([found.x, found.y], dim=1)
        batches = Minibatches(both, config.batch_size, order)
        movers = told(config, translators, critics, optimizers)
    else:
        batches = UnpairedBatches(found.x, found.y, config.batch_size, order, found.names)
        movers = cycle.players(
            translators,
            critics,
            (optimizers[0], optimizers[1]),
            (buffers[0], buffers[1]),
            objective,
            pictures.to_unit,
            config.mixed,
            lambda like: torch.randn(like.shape, generator=draws, device=device),
        )
    memory = checkpoints.current()
    memory.keep(translators=translators, critics=critics, batches=batches, draws=draws)
    memory.keep(optimizers=dict(enumerate(optimizers)), schedules=dict(enumerate(schedules)))
    memory.keep(buffers=dict(enumerate(buffers)), averaged=averaged)
    moves = play(movers, batches, memory.turns(config.turns))
    for step in tqdm(moves, total=2 * config.turns, desc=f"cyclegan {variant}", unit="step"):
        if step.player == "critics":
            for schedule in schedules:
                schedule.step()
        else:
            averaged.update_parameters(translators)
        inner = averaged.module
        assert isinstance(inner, Translators)
        yield Progress(step.turn, inner, critics, step.player, step.loss)


def told(
    config: Config,
    translators: Translators,
    critics: nn.ModuleDict,
    optimizers: list[torch.optim.Optimizer],
) -> list[Player]:
    """Return the players of the game with pairs: pix2pix's, with the same networks and losses.

    Critics see a pair of images. A batch is (batch, 2, channels, height, width).
    """

    def translate(batch: Tensor) -> Tensor:
        x, y = pictures.to_unit(batch).unbind(1)
        with mixed_precision(x.device, config.mixed):
            fake_y, fake_x = translators.there(x), translators.back(y)
            judged = critics["y"](fake_y, x), critics["x"](fake_x, y)
        near = cycle.distance(fake_y.to(x.dtype), y) + cycle.distance(fake_x.to(x.dtype), x)
        fooled = [cycle.fooling_loss(values.to(x.dtype)) for values in judged]
        return (config.paired * near + fooled[0] + fooled[1]).mean()

    def judge(batch: Tensor) -> Tensor:
        x, y = pictures.to_unit(batch).unbind(1)
        total = x.new_zeros(())
        sides = ("y", translators.there, x, y), ("x", translators.back, y, x)
        for name, translator, source, target in sides:
            with mixed_precision(x.device, config.mixed):
                with torch.no_grad():
                    fake = translator(source).to(x.dtype)
                values = critics[name](torch.cat([target, fake]), torch.cat([source, source]))
            total = total + cycle.critic_loss(*values.to(x.dtype).chunk(2))
        return total

    return [
        Player("translators", optimizers[0], translate),
        Player("critics", optimizers[1], judge),
    ]


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train every variant from the same seed; return weights, curves and errors.

    Raises:
        ValueError: the variant "paired" on animals, which have no pairs.
    """
    if "paired" in config.variants and config.data != "emoji":
        raise ValueError(f"the variant 'paired' needs pairs, which {config.data} do not have")
    found = domains(config.data)
    found = found._replace(
        **{n: getattr(found, n).to(device) for n in ("x", "y", "test_x", "test_y")}
    )
    tensors: dict[str, Tensor] = {}
    history: dict[str, list[float]] = {}
    metrics = reference(config, found)
    early = config.turns // 3
    for variant in config.variants:
        losses: dict[str, list[Tensor]] = {"translators": [], "critics": []}
        old: list[Tensor] = []
        with checkpoints.part(variant) as memory, pictures.one_thread(device):
            memory.keep(losses=losses, old=old)
            for now in fit(config, variant, found, seed):
                losses[now.player].append(now.loss)
                if now.turn == early and now.player == "translators":
                    old.append(translated(now.translators.there, found.x[:KEPT]))
        for net in (now.translators, now.critics):
            net.eval().requires_grad_(False)
            half_rounded(net)
        metrics |= {
            f"{variant}_{k}": v for k, v in measure(config, now.translators, found).items()
        }
        for player, line in losses.items():
            history[f"{variant}_{player}_loss"] = pictures.curve(line)
        tensors |= {f"{variant}.{n}": v for n, v in now.translators.state_dict().items()}
        tensors |= {f"critics.{variant}.{n}": v for n, v in now.critics.state_dict().items()}
        if variant != "paired":
            tensors[f"old.{variant}"] = pictures.to_grey(old[0]).cpu()
    return Run(tensors=tensors, metrics=metrics, history=history, data=found.records)


@torch.no_grad()
def translated(
    translator: nn.Module, images: UInt8[Tensor, "count channels height width"]
) -> Float[Tensor, "count channels height width"]:
    """Return translations of grey values or colours 0..255, in [-1, 1]."""
    return torch.cat([translator(pictures.to_unit(part)) for part in images.split(200)])


def quantised(images: Float[Tensor, "*batch"], levels: int) -> Float[Tensor, "*batch"]:
    """Return images in [-1, 1] with that many grey levels; 256 is what a file keeps.

    Raises:
        ValueError: fewer than two levels.
    """
    if levels < 2:
        raise ValueError(f"at least 2 levels, got {levels}")
    steps = (levels - 1) / 2
    return ((images.clamp(-1, 1) + 1) * steps).round() / steps - 1


@torch.no_grad()
def measure(config: Config, translators: Translators, found: Domains) -> dict[str, float]:
    """Return test errors of images as files keep them, as shares of the scale black to white.

    ``cycle_x`` and ``cycle_y`` compare with where the way began, ``moved_y`` says how far
    translations to Y are from their originals. For emoji, ``error_y`` and ``error_x`` compare with
    the hidden partner.
    """
    x, y = found.test_x[: config.test_images], found.test_y[: config.test_images]
    fake_y = quantised(translated(translators.there, x), 256)
    fake_x = quantised(translated(translators.back, y), 256)
    real_x, real_y = pictures.to_unit(x), pictures.to_unit(y)

    def apart(a: Tensor, b: Tensor) -> float:
        return cycle.distance(a, b).mean().item() / 2

    errors = {
        "cycle_x": apart(translators.back(fake_y), real_x),
        "cycle_y": apart(translators.there(fake_x), real_y),
        "moved_y": apart(fake_y, real_x),
        "moved_x": apart(fake_x, real_y),
    }
    if config.data == "emoji":
        errors |= {"error_y": apart(fake_y, real_y), "error_x": apart(fake_x, real_x)}
    return errors


def reference(config: Config, found: Domains) -> dict[str, float]:
    """Return how much is measured, and for emoji the error of doing nothing."""
    x, y = found.test_x[: config.test_images], found.test_y[: config.test_images]
    sizes = {"test_x": float(len(x)), "test_y": float(len(y))}
    if config.data != "emoji":
        return sizes
    nothing = cycle.distance(pictures.to_unit(x), pictures.to_unit(y)).mean().item() / 2
    return sizes | {"identity_error": nothing}


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return (config.data,)


def models(run: Run) -> dict[Variant, Translators]:
    """Return every pair of translators of a run by its variant, in evaluation mode."""
    config = _config_of(run)
    channels = 3 if config.data == "emoji" else 1
    return {variant: _restored(run, config, channels, variant) for variant in config.variants}


def critics_of(run: Run, variant: Variant) -> nn.ModuleDict:
    """Return a variant's critics, in evaluation mode."""
    config = _config_of(run)
    critics = networks(config, 3 if config.data == "emoji" else 1, variant == "paired")[1]
    critics.load_state_dict(run.part(f"critics.{variant}"))
    return critics.eval().requires_grad_(False)


def restore(run: Run) -> Translators:
    """Return the translators of the first variant, in evaluation mode."""
    return next(iter(models(run).values()))


def sample(run: Run, count: int, generator: torch.Generator) -> Float[Tensor, "count c h w"]:
    """Return translations to Y of test images drawn at random, in [0, 1]."""
    found = domains(_config_of(run).data)
    rows = torch.randint(len(found.test_x), (count,), generator=generator)
    return (translated(restore(run).there, found.test_x[rows]).clamp(-1, 1) + 1) / 2


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights anew."""
    config, found = _config_of(run), domains(_config_of(run).data)
    found = found._replace(**{n: getattr(found, n).to(device) for n in ("test_x", "test_y")})
    metrics = reference(config, found)
    for variant, model in models(run).items():
        errors = measure(config, model.to(device), found)
        metrics |= {f"{variant}_{k}": v for k, v in errors.items()}
    return metrics


def _restored(run: Run, config: Config, channels: int, variant: Variant) -> Translators:
    translators = networks(config, channels, False)[0]
    translators.load_state_dict(run.part(variant))
    return translators.eval().requires_grad_(False)


def _config_of(run: Run) -> Config:
    """Return a run's config; a file's JSON holds tuples as lists."""
    stored = run.provenance["config"]
    return Config(**stored | {"variants": tuple(stored["variants"])})
