"""Let two networks of 3-D convolutions play for chairs and tables of 16x16x16 voxels.

Chapter: book/gan/voxel.md.  Proof: tests/recipes/test_gan_voxels.py.
Reference: Wu et al., "Learning a Probabilistic Latent Space of Object Shapes via 3D
Generative-Adversarial Modeling" (2016).

Departures from the paper: objects are smaller and so are networks; one game is played for both
classes, not one for each; the critic moves always, for gan/voxel_rules finds no gain in waiting;
both players see objects under normal noise, for a critic could tell samples by their grey voxels
alone; what draws is the moving average of the generator's weights.
"""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from litgen import checkpoints
from litgen.data import drawn_furniture, furniture, pottery
from litgen.gan import losses
from litgen.gan.game import Rules, adversaries
from litgen.gan.voxel import VoxelCritic, VoxelGenerator, codes
from litgen.gan.voxel_rules import Gate
from litgen.recipes.pictures import curve
from litgen.runs import Run
from litgen.shapes import Bool, Float, UInt8
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
    "load",
    "restore",
    "sample",
    "train",
]

SIDE = 16
KEPT = 64
"""Objects that a snapshot keeps."""
DRAWN = 512
"""Objects that a run is measured on."""


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        data: drawn_furniture; furniture, also mirrored; or pottery, solid.
        latent: dimensions of a code.
        widths: channels of the generator's stages; the critic has them in reverse.
        turns: of the game, one move each.
        batch_size: objects in a step, and samples.
        learning_rate: of the generator at the start; it falls to zero along half a cosine.
        critic_rate: the critic's, which falls alike.
        threshold: the critic moves only if it was right no more often than this.
        noise: standard deviation of what is added to every voxel before the critic sees it.
        norm: batch normalisation in the critic.
        average: decay of the moving average of the generator's weights.
        moments: snapshots.
        mixed: let networks compute in bfloat16 where the hardware has it.
    """

    data: Literal["drawn_furniture", "furniture", "pottery"] = "drawn_furniture"
    latent: int = 16
    widths: tuple[int, ...] = (32, 8)
    turns: int = 500
    batch_size: int = 16
    learning_rate: float = 1e-2
    critic_rate: float = 5e-3
    threshold: float = 1.0
    noise: float = 0.7
    norm: bool = False
    average: float = 0.98
    moments: int = 6
    mixed: bool = True


CPU = Config()
GPU = Config(
    widths=(128, 64),
    turns=12_000,
    batch_size=64,
    learning_rate=2e-3,
    critic_rate=5e-4,
    average=0.999,
    moments=12,
)


class Noisy(nn.Module):
    """A critic that sees every object under fresh normal noise.

    Args:
        critic: maps objects to logits.
        scale: standard deviation of the noise.
        draws: draws it.
    """

    def __init__(self, critic: nn.Module, scale: float, draws: torch.Generator):
        super().__init__()
        self.critic, self.scale, self.draws = critic, scale, draws

    def forward(self, x: Float[Tensor, "batch 1 s s s"]) -> Float[Tensor, " batch"]:
        """Return logits."""
        noise = torch.randn(x.shape, generator=self.draws, device=x.device)
        logits: Tensor = self.critic(x + self.scale * noise)
        return logits


class Pair(nn.Module):
    """The two players: ``generator`` from codes to objects in [0, 1], ``critic`` to logits."""

    def __init__(self, config: Config):
        super().__init__()
        self.generator = VoxelGenerator(config.latent, config.widths)
        self.critic = VoxelCritic(config.widths[::-1], config.norm)


class Progress(NamedTuple):
    """Where a game stands after a turn.

    Attributes:
        turn: counted from 0.
        generator: the averaged one.
        pair: both players.
        accuracy: of the critic in its move, detached.
        gate: how often the critic moved.
    """

    turn: int
    generator: nn.Module
    pair: Pair
    accuracy: Tensor
    gate: Gate


def fit(
    config: Config, objects: UInt8[Tensor, "count up deep wide"], seed: int
) -> Iterator[Progress]:
    """Yield after every turn of the game, on the device of the objects."""
    torch.manual_seed(seed)  # weights
    device = objects.device
    shuffle, draws = torch.Generator().manual_seed(seed), torch.Generator(device).manual_seed(seed)
    pair = Pair(config).to(device)
    averaged = AveragedModel(
        pair.generator, multi_avg_fn=get_ema_multi_avg_fn(config.average), use_buffers=True
    )
    rates = config.critic_rate, config.learning_rate
    optimizers = [
        torch.optim.Adam(net.parameters(), rate, betas=(0.5, 0.9), fused=True)
        for net, rate in zip((pair.critic, pair.generator), rates, strict=True)
    ]
    gate = Gate(optimizers[0], config.threshold)
    rules = Rules(
        critic_loss=gate.watching(losses.discriminator_loss),
        apart=config.norm,
        mixed=config.mixed,
        thrifty=True,
    )
    players = adversaries(
        pair.generator,
        Noisy(pair.critic, config.noise, draws),
        (gate, optimizers[1]),
        lambda count: codes(count, config.latent, draws, device),
        rules,
        lambda cubes: (cubes[:, None].float(),),
    )
    batches = Minibatches(objects, config.batch_size, shuffle)
    memory = checkpoints.current()
    memory.keep(pair=pair, averaged=averaged, draws=draws, batches=batches, gate=gate)
    memory.keep(generator=optimizers[1])
    game = play(players, batches, memory.turns(config.turns))
    for step in tqdm(game, total=2 * config.turns, desc="3d-gan", unit="step"):
        if step.player == "critic":
            continue
        left = (1 + math.cos(math.pi * (step.turn + 1) / config.turns)) / 2
        for player, rate in zip(players, rates, strict=True):
            player.optimizer.param_groups[0]["lr"] = left * rate
        averaged.update_parameters(pair.generator)
        yield Progress(step.turn, averaged.module, pair, gate.seen, gate)


def load(
    name: str,
) -> tuple[UInt8[Tensor, "n s s s"], UInt8[Tensor, "m s s s"], list[dict[str, Any]]]:
    """Return training objects, test objects, and where they came from, as runs keep it."""
    loaders = {"drawn_furniture": drawn_furniture, "furniture": furniture, "pottery": pottery}
    sets = {split: loaders[name].load(split) for split in ("train", "test")}
    records = [
        dataclasses.asdict(part.record) | {"name": name, "title": part.record.name, "split": split}
        for split, part in sets.items()
    ]
    cubes = [_objects(part) for part in sets.values()]
    return cubes[0], cubes[1], records


def _objects(part: Any) -> UInt8[Tensor, "count s s s"]:
    """Return a set's objects of 16 voxels a side."""
    if isinstance(part, pottery.PotSet):
        return pottery.solid(part.profiles[:2_000], SIDE, part.tall[:2_000]).to(torch.uint8)
    if isinstance(part, furniture.FurnitureSet):
        return furniture.mirrored(furniture.coarse(part.voxels))
    cubes: Tensor = part.voxels
    return cubes


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Play; keep objects of the same codes on the way, and how often the critic was right."""
    objects, _, records = load(config.data)
    z = codes(KEPT, config.latent, torch.Generator().manual_seed(0))
    at = torch.linspace(0, 1, config.moments).square() * (config.turns - 1)
    moments = torch.unique(at.round().long())
    kept: list[Tensor] = []
    right: list[Tensor] = []
    checkpoints.current().keep(kept=kept, right=right)
    for now in fit(config, objects.to(device), seed):
        right.append(now.accuracy)
        if now.turn in moments:
            kept.append(_drawn(now.generator, z.to(device)).cpu())
    pair = now.pair
    pair.generator.load_state_dict(now.generator.state_dict())
    pair.eval().requires_grad_(False)
    half_rounded(pair)
    tensors = {f"model.{name}": value.cpu() for name, value in pair.state_dict().items()}
    tensors["snapshots.turn"] = moments + 1
    tensors["snapshots.samples"] = torch.stack(kept)
    return Run(
        tensors=tensors,
        metrics=measure(config, pair, device) | {"moved": now.gate.taken / now.gate.asked},
        history={"accuracy": curve(right)},
        data=records,
    )


@torch.no_grad()
def _drawn(generator: nn.Module, z: Tensor) -> UInt8[Tensor, "count s s s"]:
    """Return objects as they will be drawn: with the running moments, whose state stays."""
    playing = generator.training
    found: Tensor = generator.eval()(z)[:, 0] > 0.5
    generator.train(playing)
    return found.to(torch.uint8)


@torch.no_grad()
def measure(config: Config, pair: Pair, device: torch.device) -> dict[str, float]:
    """Return how full samples and data are, and the share of voxels that are neither 0 nor 1."""
    z = codes(DRAWN, config.latent, torch.Generator().manual_seed(1))
    made = pair.generator(z.to(device))
    grey = ((made > 0.1) & (made < 0.9)).double().mean().item()
    full = load(config.data)[0].double().mean().item()
    return {"full": (made > 0.5).double().mean().item(), "data_full": full, "grey": grey}


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return (config.data,)


def restore(run: Run) -> Pair:
    """Return the players of a run, in evaluation mode."""
    pair = Pair(_config_of(run))
    pair.load_state_dict(run.part("model"))
    return pair.eval().requires_grad_(False)


def sample(run: Run, count: int, generator: torch.Generator) -> Bool[Tensor, "count 1 s s s"]:
    """Return objects: voxels whose probability is above one half."""
    pair = restore(run)
    z = codes(count, pair.generator.latent, generator)
    return torch.cat([pair.generator(part) > 0.5 for part in z.split(256)])


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights anew."""
    config = _config_of(run)
    return measure(config, restore(run).to(device), device) | {"moved": run.metrics["moved"]}


def _config_of(run: Run) -> Config:
    """Return a run's config; a file's JSON holds tuples as lists."""
    stored = run.provenance["config"]
    tuples = {k: tuple(v) for k, v in stored.items() if isinstance(v, list | tuple)}
    return Config(**{**stored, **tuples})
