"""Train translators between plans and pictures of drawn house fronts: the paper's ablation.

Chapter: book/gan/pix2pix.md.  Proof: tests/recipes/test_gan_pix2pix.py.
Reference: Isola, Zhu, Zhou & Efros, "Image-to-Image Translation with Conditional Adversarial
Networks" (2017), sections 4.2 to 4.4.

A reader, the book's plain U-Net, learns classes of pixels from real pictures alone. How well it
then reads the plan off a translation is the translation's score. All translators start from one
seed and see the same batches.
"""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from tqdm import tqdm

from litgen import checkpoints
from litgen.data import facades
from litgen.data.facades import FacadeSet
from litgen.gan.patch import PatchCritic
from litgen.gan.pix2pix import Terms
from litgen.gan.translator import Translator
from litgen.recipes import pairs
from litgen.recipes.pairs import Pace, Progress, settled
from litgen.recipes.pictures import curve, one_thread, to_grey, to_unit
from litgen.runs import Run
from litgen.segmentation import scores
from litgen.segmentation.unet import UNet
from litgen.shapes import Float, UInt8
from litgen.training import Minibatches, Player, half_rounded, mixed_precision, play

__all__ = ["BACK", "CPU", "GPU", "HALVINGS", "Config", "Variant", "build", "data", "evaluate"]
__all__ += ["fit", "measure", "models", "planes", "read", "restore", "train", "translate"]

Variant = Literal[
    "l1", "cgan", "both", "untold", "pixel", "whole", "narrow", "back_l1", "back_cgan", "back_both"
]
BACK = ("back_l1", "back_cgan", "back_both")
"""Variants that translate pictures to plans."""
HALVINGS = {"pixel": 0, "whole": 2}
"""Of the critic, where not 1: its logits see 1, 16 or 34 of 32 pixels."""
CLASSES = len(facades.CLASSES)


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        variants: one translator is trained for each.
        widths: channels of a translator's stages, finest first.
        critic_width: channels of the critic's first stage.
        turns: updates of each player.
        back_turns: the same for pictures to plans.
        batch_size: pairs in a step.
        learning_rate: of the translators' Adam at the start; it falls to zero along half a cosine.
        critic_rate: of the critics' Adam, which stays.
        weight: of the mean absolute difference where it counts beside a critic.
        dropout: in a translator's coarse stages.
        reader_widths: channels of the reader's levels.
        reader_turns: its updates.
        test_fronts: of the test set, that are translated and read.
        mixed: let networks compute in bfloat16 where the hardware has it.
    """

    variants: tuple[Variant, ...] = (
        "l1",
        "cgan",
        "both",
        "untold",
        "pixel",
        "whole",
        "narrow",
        "back_l1",
        "back_both",
    )
    widths: tuple[int, ...] = (24, 48, 48)
    critic_width: int = 16
    turns: int = 130
    back_turns: int = 70
    batch_size: int = 12
    learning_rate: float = 2e-3
    critic_rate: float = 1e-3
    weight: float = 10.0
    dropout: float = 0.5
    reader_widths: tuple[int, ...] = (12, 24)
    reader_turns: int = 100
    test_fronts: int = 200
    mixed: bool = True


CPU = Config()
GPU = Config(
    variants=(*CPU.variants, "back_cgan"),
    widths=(64, 128, 256, 256),
    critic_width=64,
    turns=6_000,
    back_turns=3_000,
    batch_size=32,
    learning_rate=2e-4,
    critic_rate=2e-4,
    weight=100.0,
    reader_widths=(32, 64, 128),
    reader_turns=3_000,
    test_fronts=400,
)


def terms(config: Config, variant: Variant) -> Terms:
    """Return what counts for a variant."""
    weight = 0.0 if variant in ("cgan", "back_cgan") else config.weight
    adversarial = 0.0 if variant in ("l1", "back_l1") else 1.0
    return Terms(weight, adversarial, variant != "untold", config.mixed)


def build(config: Config, variant: Variant) -> tuple[Translator, PatchCritic]:
    """Return a translator and its critic as they start."""
    inputs, outputs = (3, CLASSES) if variant in BACK else (CLASSES, 3)
    translator = Translator(inputs, outputs, config.widths, variant != "narrow", config.dropout)
    seen = outputs if variant == "untold" else inputs + outputs
    critic = PatchCritic(seen, config.critic_width, HALVINGS.get(variant, 1))
    for network in (translator, critic):
        network.to(memory_format=torch.channels_last)
    return translator, critic


def planes(classes: UInt8[Tensor, "count h w"]) -> Float[Tensor, "count classes h w"]:
    """Return a plane for each class: 1 where it is, -1 elsewhere."""
    kinds = torch.arange(CLASSES, device=classes.device)[:, None, None]
    return (classes[:, None] == kinds).float() * 2 - 1


def loader(
    variant: Variant, images: UInt8[Tensor, "count 3 h w"], classes: UInt8[Tensor, "count h w"]
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Return what turns row numbers into conditions and targets."""

    def load(rows: Tensor) -> tuple[Tensor, Tensor]:
        picture, plan = to_unit(images[rows]), planes(classes[rows])
        pair = (picture, plan) if variant in BACK else (plan, picture)
        first, second = (part.to(memory_format=torch.channels_last) for part in pair)
        return first, second

    return load


def fit(
    config: Config,
    variant: Variant,
    images: UInt8[Tensor, "count 3 h w"],
    classes: UInt8[Tensor, "count h w"],
    seed: int,
) -> Iterator[Progress]:
    """Yield after every move of a training, on the device of the images."""
    torch.manual_seed(seed)  # weights and dropout
    translator, critic = build(config, variant)
    networks = translator.to(images.device), critic.to(images.device)
    turns = config.back_turns if variant in BACK else config.turns
    pace = Pace(turns, config.batch_size, config.learning_rate, config.critic_rate)
    rows = torch.arange(len(images), device=images.device)
    load = loader(variant, images, classes)
    yield from pairs.fit(networks, terms(config, variant), load, rows, pace, seed, variant)


def read_in(
    config: Config,
    images: UInt8[Tensor, "count 3 h w"],
    classes: UInt8[Tensor, "count h w"],
    seed: int,
) -> UNet:
    """Return a reader that has learned from real pictures, in evaluation mode."""
    torch.manual_seed(seed)
    reader = UNet(3, CLASSES, config.reader_widths).to(images.device)
    reader.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(reader.parameters(), 1e-2, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.reader_turns)

    def loss(rows: Tensor) -> Tensor:
        x = to_unit(images[rows]).to(memory_format=torch.channels_last)
        with mixed_precision(x.device, config.mixed):
            logits = reader(x)
        return nn.functional.cross_entropy(logits.float(), classes[rows].long())

    rows = torch.arange(len(images), device=images.device)
    batches = Minibatches(rows, config.batch_size, torch.Generator().manual_seed(seed))
    memory = checkpoints.current()
    memory.keep(reader=reader, optimizer=optimizer, schedule=schedule, batches=batches)
    game = play([Player("reader", optimizer, loss)], batches, memory.turns(config.reader_turns))
    for _ in tqdm(game, total=config.reader_turns, desc="reader", unit="step"):
        schedule.step()
    return reader.eval()


@torch.no_grad()
def translate(
    translator: Translator, conditions: Float[Tensor, "count inputs h w"], seed: int | None = None
) -> Float[Tensor, "count outputs h w"]:
    """Return translations; with a seed, dropout makes other ones for other seeds.

    Batch normalisation keeps the moments of training either way.
    """
    translator.eval()
    if seed is not None:
        torch.manual_seed(seed)
        for layer in translator.modules():
            layer.train(isinstance(layer, nn.Dropout))
    found = torch.cat([translator(part) for part in conditions.split(100)])
    translator.eval()
    return found


@torch.no_grad()
def read(reader: UNet, images: Float[Tensor, "count 3 h w"]) -> UInt8[Tensor, "count h w"]:
    """Return the plans that a reader sees in pictures with values in [-1, 1]."""
    found = [reader(part).argmax(dim=1) for part in images.split(100)]
    return torch.cat(found).to(torch.uint8)


def roughness(images: Float[Tensor, "count 3 h w"]) -> float:
    """Return the mean square difference of neighbouring pixels; blur makes it small."""
    across, down = images.diff(dim=3).square().mean(), images.diff(dim=2).square().mean()
    return (across + down).item()


def measure(
    variant: Variant,
    translator: Translator,
    reader: UNet,
    images: UInt8[Tensor, "count 3 h w"],
    classes: UInt8[Tensor, "count h w"],
) -> dict[str, float]:
    """Return a translator's scores on test pairs.

    ``pixels``, ``accuracy`` and ``iou`` are the paper's three, of plans that the reader sees in
    translations, or that the translation of a picture is; ``l1`` is the mean absolute error in
    [0, 255]; pictures also have ``roughness`` in units of the real ones'.
    """
    picture, plan = to_unit(images), planes(classes)
    if variant in BACK:
        made = translate(translator, picture)
        seen, error = made.argmax(dim=1).to(torch.uint8), (made - plan).abs().mean() * 127.5
        found = {}
    else:
        made = to_unit(to_grey(translate(translator, plan)))
        seen, error = read(reader, made), (made - picture).abs().mean() * 127.5
        found = {"roughness": roughness(made) / roughness(picture)}
    return found | plan_scores(classes, seen) | {"l1": error.item()}


def plan_scores(
    truth: UInt8[Tensor, "count h w"], seen: UInt8[Tensor, "count h w"]
) -> dict[str, float]:
    """Return the paper's three scores: of pixels, of classes, and intersection over union."""
    counts = scores.confusion(truth, seen, CLASSES)
    return {
        "pixels": scores.pixel_accuracy(counts),
        "accuracy": scores.mean_accuracy(counts),
        "iou": scores.mean_iou(counts),
    }


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train the reader and every translator; return weights, curves and scores."""
    train_set, test_set = facades.load("train"), facades.load("test")
    images, classes = train_set.images.to(device), train_set.classes.to(device)
    some = slice(config.test_fronts)
    tests = test_set.images[some].to(device), test_set.classes[some].to(device)
    with one_thread(device):
        with checkpoints.part("reader"):
            reader = read_in(config, images, classes, seed)
        half_rounded(reader)
        tensors = {f"reader.{name}": value for name, value in reader.state_dict().items()}
        metrics = _of_real(reader, *tests)
        history: dict[str, list[float]] = {}
        for variant in config.variants:
            losses: dict[str, list[Tensor]] = {"translator": [], "critic": []}
            with checkpoints.part(variant) as memory:
                memory.keep(losses=losses)
                for now in fit(config, variant, images, classes, seed):
                    losses[now.player].append(now.loss)
            half_rounded(now.translator)
            rows = torch.arange(len(images), device=device)
            settled(now.translator, loader(variant, images, classes), rows)
            half_rounded(now.translator)
            found = measure(variant, now.translator, reader, *tests)
            metrics |= {f"{variant}_{name}": value for name, value in found.items()}
            for player, line in losses.items():
                if line:
                    history[f"{variant}_{player}_loss"] = curve(line)
            state = now.translator.state_dict()
            tensors |= {f"{variant}.{name}": value for name, value in state.items()}
    return Run(tensors, metrics, history, data=_records(train_set, test_set))


def _of_real(
    reader: UNet, images: UInt8[Tensor, "count 3 h w"], classes: UInt8[Tensor, "count h w"]
) -> dict[str, float]:
    found = plan_scores(classes, read(reader, to_unit(images)))
    return {f"real_{name}": value for name, value in found.items()} | {
        "test_fronts": float(len(images))
    }


def _records(train_set: FacadeSet, test_set: FacadeSet) -> list[dict[str, Any]]:
    return [
        dataclasses.asdict(part.record)
        | {"name": "facades", "title": part.record.name, "split": split}
        for split, part in (("train", train_set), ("test", test_set))
    ]


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return ("facades",)


def models(run: Run) -> tuple[UNet, dict[str, Translator]]:
    """Return the reader and every translator of a run by its variant, in evaluation mode."""
    config = _config_of(run)
    reader = UNet(3, CLASSES, config.reader_widths)
    reader.load_state_dict(run.part("reader"))
    found: dict[str, Translator] = {}
    for variant in config.variants:
        translator, _ = build(config, variant)
        translator.load_state_dict(run.part(variant))
        found[variant] = translator.eval().requires_grad_(False)
    return reader.eval().requires_grad_(False), found


def restore(run: Run) -> Translator:
    """Return the translator of plans that was trained with both terms, in evaluation mode."""
    return models(run)[1]["both"]


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights on the test fronts anew."""
    config = _config_of(run)
    test_set = facades.load("test")
    some = slice(config.test_fronts)
    tests = test_set.images[some].to(device), test_set.classes[some].to(device)
    reader, translators = models(run)
    metrics = _of_real(reader.to(device), *tests)
    for variant in config.variants:
        found = measure(variant, translators[variant].to(device), reader, *tests)
        metrics |= {f"{variant}_{name}": value for name, value in found.items()}
    return metrics


def _config_of(run: Run) -> Config:
    """Return a run's config; a file's JSON holds the tuples as lists."""
    stored = run.provenance["config"]
    tuples = {name: tuple(stored[name]) for name in ("variants", "widths", "reader_widths")}
    return Config(**stored | tuples)
