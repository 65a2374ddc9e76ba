"""Train translators from one vendor's emoji to the other's, by the distance alone and by both.

Chapter: book/gan/pix2pix.md.  Proof: tests/recipes/test_gan_pix2pix.py.
Reference: Isola, Zhu, Zhou & Efros, "Image-to-Image Translation with Conditional Adversarial
Networks" (2017).
"""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from litgen import checkpoints
from litgen.data import emoji
from litgen.data.emoji import EmojiSet
from litgen.gan.patch import PatchCritic
from litgen.gan.pix2pix import Terms
from litgen.gan.translator import Translator
from litgen.recipes import pairs
from litgen.recipes.pairs import Pace, Progress, settled
from litgen.recipes.pictures import curve, one_thread, to_grey, to_unit
from litgen.runs import Run
from litgen.shapes import Float, UInt8
from litgen.training import half_rounded

__all__ = ["CPU", "GPU", "Config", "Variant", "data", "evaluate", "fit", "measure", "models"]
__all__ += ["restore", "train", "translate"]

Variant = Literal["l1", "both"]


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        variants: one translator is trained for each.
        widths: channels of a translator's stages, finest first.
        critic_width: channels of the critic's first stage.
        turns: updates of each player.
        batch_size: pairs in a step.
        learning_rate: of the translators' Adam at the start; it falls to zero along half a cosine.
        critic_rate: of the critic's Adam, which stays.
        weight: of the mean absolute difference.
        dropout: in a translator's coarse stages.
        mixed: let networks compute in bfloat16 where the hardware has it.
    """

    variants: tuple[Variant, ...] = ("l1", "both")
    widths: tuple[int, ...] = (24, 48, 48)
    critic_width: int = 16
    turns: int = 130
    batch_size: int = 12
    learning_rate: float = 3e-3
    critic_rate: float = 1e-3
    weight: float = 30.0
    dropout: float = 0.0
    mixed: bool = True


CPU = Config()
GPU = Config(
    widths=(64, 128, 256, 256),
    critic_width=64,
    turns=6_000,
    batch_size=32,
    learning_rate=2e-4,
    critic_rate=2e-4,
    weight=100.0,
    dropout=0.5,
)


def build(config: Config) -> tuple[Translator, PatchCritic]:
    """Return a translator and its critic as they start."""
    translator = Translator(3, 3, config.widths, dropout=config.dropout)
    critic = PatchCritic(6, config.critic_width, 1)
    for network in (translator, critic):
        network.to(memory_format=torch.channels_last)
    return translator, critic


def loader(found: EmojiSet, device: torch.device) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Return what turns row numbers into Google's pictures and Twitter's."""
    sides = tuple(part.to(device) for part in (found.google, found.twitter))

    def load(rows: Tensor) -> tuple[Tensor, Tensor]:
        first, second = (
            to_unit(part[rows]).to(memory_format=torch.channels_last) for part in sides
        )
        return first, second

    return load


def fit(
    config: Config, variant: Variant, found: EmojiSet, seed: int, device: torch.device
) -> Iterator[Progress]:
    """Yield after every move of a training."""
    torch.manual_seed(seed)  # weights and dropout
    translator, critic = build(config)
    networks = translator.to(device), critic.to(device)
    terms = Terms(config.weight, float(variant == "both"), mixed=config.mixed)
    pace = Pace(config.turns, config.batch_size, config.learning_rate, config.critic_rate)
    rows = torch.arange(len(found.google), device=device)
    yield from pairs.fit(networks, terms, loader(found, device), rows, pace, seed, variant)


@torch.no_grad()
def translate(
    translator: Translator, google: UInt8[Tensor, "count 3 h w"]
) -> UInt8[Tensor, "count 3 h w"]:
    """Return translations as bytes."""
    return torch.cat([to_grey(translator(to_unit(part))) for part in google.split(100)])


def roughness(images: Float[Tensor, "count 3 h w"]) -> float:
    """Return the mean square difference of neighbouring pixels."""
    return (images.diff(dim=3).square().mean() + images.diff(dim=2).square().mean()).item()


def measure(
    translator: Translator,
    google: UInt8[Tensor, "count 3 h w"],
    twitter: UInt8[Tensor, "count 3 h w"],
) -> dict[str, float]:
    """Return the mean absolute error in [0, 255], and roughness in units of the real ones'."""
    made = translate(translator, google).float()
    return {
        "l1": (made - twitter.float()).abs().mean().item(),
        "roughness": roughness(made) / roughness(twitter.float()),
    }


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train every translator; return weights, curves and scores."""
    train_set, test_set = emoji.load("train"), emoji.load("test")
    tests = test_set.google.to(device), test_set.twitter.to(device)
    tensors: dict[str, Tensor] = {}
    history: dict[str, list[float]] = {}
    metrics = _untrained(*tests)
    rows = torch.arange(len(train_set.google), device=device)
    with one_thread(device):
        for variant in config.variants:
            losses: dict[str, list[Tensor]] = {"translator": [], "critic": []}
            with checkpoints.part(variant) as memory:
                memory.keep(losses=losses)
                for now in fit(config, variant, train_set, seed, device):
                    losses[now.player].append(now.loss)
            half_rounded(now.translator)
            settled(now.translator, loader(train_set, device), rows)
            half_rounded(now.translator)
            found = measure(now.translator, *tests)
            metrics |= {f"{variant}_{name}": value for name, value in found.items()}
            for player, line in losses.items():
                if line:
                    history[f"{variant}_{player}_loss"] = curve(line)
            state = now.translator.state_dict()
            tensors |= {f"{variant}.{name}": value for name, value in state.items()}
    return Run(tensors, metrics, history, data=_records(train_set, test_set))


def _untrained(
    google: UInt8[Tensor, "count 3 h w"], twitter: UInt8[Tensor, "count 3 h w"]
) -> dict[str, float]:
    error = (google.float() - twitter.float()).abs().mean().item()
    return {"identity_l1": error, "test_pairs": float(len(google))}


def _records(train_set: EmojiSet, test_set: EmojiSet) -> list[dict[str, Any]]:
    return [
        dataclasses.asdict(part.record)
        | {"name": "emoji", "title": part.record.name, "split": split}
        for split, part in (("train", train_set), ("test", test_set))
    ]


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return ("emoji",)


def models(run: Run) -> dict[Variant, Translator]:
    """Return every translator of a run by its variant, in evaluation mode."""
    config = _config_of(run)
    found: dict[Variant, Translator] = {}
    for variant in config.variants:
        translator = build(config)[0]
        translator.load_state_dict(run.part(variant))
        found[variant] = translator.eval().requires_grad_(False)
    return found


def restore(run: Run) -> Translator:
    """Return the translator that was trained with both terms, in evaluation mode."""
    return models(run)["both"]


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights on the test pairs anew."""
    test_set = emoji.load("test")
    tests = test_set.google.to(device), test_set.twitter.to(device)
    metrics = _untrained(*tests)
    for variant, translator in models(run).items():
        found = measure(translator.to(device), *tests)
        metrics |= {f"{variant}_{name}": value for name, value in found.items()}
    return metrics


def _config_of(run: Run) -> Config:
    """Return a run's config; a file's JSON holds the tuples as lists."""
    stored = run.provenance["config"]
    return Config(**stored | {name: tuple(stored[name]) for name in ("variants", "widths")})
