"""Train a U-Net to name the tissue of every pixel, and set a rule of one pixel's value beside it.

Chapter: book/segmentation/unet.md.  Proof: tests/recipes/test_segmentation_brain.py.
References: Ronneberger, Fischer & Brox (2015); Gudbjartsson & Patz, "The Rician distribution of
noisy MRI data" (1995), for the noise; Sled, Zijdenbos & Evans, "A nonparametric method for
automatic correction of intensity nonuniformity in MRI data" (1998), for the uneven brightness.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from litgen import checkpoints
from litgen.data import brain
from litgen.recipes import pictures
from litgen.recipes.segmentation import cells
from litgen.runs import Run
from litgen.segmentation import elastic, scores
from litgen.segmentation.unet import UNet
from litgen.shapes import Int, UInt8
from litgen.training import Minibatches, Player, half_rounded, mixed_precision, play

__all__ = [
    "CPU",
    "GPU",
    "KINDS",
    "Config",
    "data",
    "evaluate",
    "fit",
    "measure",
    "restore",
    "scanned",
    "table",
    "train",
]

CLASSES = len(brain.TISSUES)
SHORT = ("other", "grey", "white")
KINDS = ("clean", "scanned")
"""The test slices as they are, and as an imperfect scanner would show them."""


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        copies: imperfect ones of each training slice; it is used as it is too.
        shade: standard deviation of the logarithm of the brightness's factor.
        noise: standard deviation in each of the signal's two parts, in grey values.
        widths: channels of the levels, the image's own first.
        turns: updates of the network.
        batch_size: whole slices in a step.
        learning_rate: of Adam at the peak of one cycle.
        mixed: let networks compute in bfloat16 where the hardware has it.
    """

    copies: int = 2
    shade: float = 0.15
    noise: float = 8.0
    widths: tuple[int, ...] = (8, 16, 32, 64)
    turns: int = 80
    batch_size: int = 2
    learning_rate: float = 1e-2
    mixed: bool = True


CPU = Config()
GPU = Config(copies=20, widths=(64, 128, 256, 512), turns=3_000, batch_size=16, learning_rate=2e-3)


def scanned(
    images: UInt8[Tensor, "count 1 height width"],
    shade: float,
    noise: float,
    generator: torch.Generator,
) -> UInt8[Tensor, "count 1 height width"]:
    """Return slices with uneven brightness and noise, each with its own.

    The brightness is multiplied by the exponential of a smooth random field: nine normal numbers
    with standard deviation ``shade``, between which `elastic.field` goes. What a scanner shows is
    the magnitude of a signal of two parts, each with normal noise.
    """
    corners = shade * torch.randn(len(images), 2, 3, 3, generator=generator)
    height, width = images.shape[2:]
    signal = images.float() * elastic.field(corners, height, width)[:, :1].exp()
    first, second = noise * torch.randn(2, *images.shape, generator=generator)
    magnitude = ((signal + first).square() + second.square()).sqrt()
    shown: Tensor = magnitude.round().clamp(0, 255).to(torch.uint8)
    return shown


def table(
    images: UInt8[Tensor, "count 1 height width"], tissue: UInt8[Tensor, "count height width"]
) -> Int[Tensor, " 256"]:
    """Return the most frequent tissue of each grey value: the best rule that sees one pixel."""
    both = images[:, 0].long() * CLASSES + tissue.long()
    counts = torch.bincount(both.flatten(), minlength=256 * CLASSES)
    return counts.view(256, CLASSES).argmax(dim=1)


def fit(
    config: Config,
    images: UInt8[Tensor, "count 1 height width"],
    tissue: UInt8[Tensor, "count height width"],
    seed: int,
) -> Iterator[cells.Progress]:
    """Yield after every step of a training, on the device where the slices lie."""
    device = images.device
    torch.manual_seed(seed)  # weights
    model = UNet(1, CLASSES, config.widths).to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), config.learning_rate, fused=True)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, config.turns)

    def loss(rows: Tensor) -> Tensor:
        x = pictures.to_unit(images[rows]).contiguous(memory_format=torch.channels_last)
        with mixed_precision(device, config.mixed):
            logits = model(x)
        return F.cross_entropy(logits.float(), tissue[rows].long())

    shuffle = torch.Generator().manual_seed(seed)
    batches = Minibatches(torch.arange(len(images), device=device), config.batch_size, shuffle)
    memory = checkpoints.current()
    memory.keep(model=model, optimizer=optimizer, rate=rate, batches=batches)
    game = play([Player("U-Net", optimizer, loss)], batches, memory.turns(config.turns))
    for step in tqdm(game, total=config.turns, desc="brain", unit="step"):
        if step.turn + 1 < config.turns:
            rate.step()
        yield cells.Progress(step.turn, model, step.loss)


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train on the outer slabs of the head; return weights, a curve and scores of the middle."""
    train_set, test_set = brain.load("train"), brain.load("test")
    draw = torch.Generator().manual_seed(seed)
    made = [
        scanned(train_set.images, config.shade, config.noise, draw) for _ in range(config.copies)
    ]
    images = torch.cat([train_set.images, *made]).to(device)
    tissue = train_set.tissue.repeat(1 + config.copies, 1, 1).to(device)
    losses: list[Tensor] = []
    checkpoints.current().keep(losses=losses)
    for now in fit(config, images, tissue, seed):
        losses.append(now.loss)
    model = now.model.eval()
    half_rounded(model)
    tables = {"clean": table(train_set.images, train_set.tissue)}
    tables["scanned"] = table(torch.cat(made), train_set.tissue.repeat(config.copies, 1, 1))
    shown = _test_images(test_set.images, config)
    tensors = {f"table.{kind}": rule for kind, rule in tables.items()}
    tensors |= {f"examples.{kind}": part[::8] for kind, part in shown.items()}
    tensors |= {"examples.tissue": test_set.tissue[::8]}
    tensors |= {f"model.{key}": value for key, value in model.state_dict().items()}
    return Run(
        tensors=tensors,
        metrics=measure(model, tables, shown, test_set.tissue),
        history={"loss_nats": pictures.curve(losses)},
        data=cells.records(train_set, test_set, "brain"),
    )


def _test_images(
    images: UInt8[Tensor, "count 1 height width"], config: Config
) -> dict[str, UInt8[Tensor, "count 1 height width"]]:
    """Return the test slices of both kinds, whatever the training's seed was."""
    draw = torch.Generator().manual_seed(1995)
    return {"clean": images, "scanned": scanned(images, config.shade, config.noise, draw)}


def measure(
    model: UNet,
    tables: dict[str, Int[Tensor, " 256"]],
    shown: dict[str, UInt8[Tensor, "count 1 height width"]],
    tissue: UInt8[Tensor, "count height width"],
) -> dict[str, float]:
    """Return each tissue's intersection over union and their mean, for network and table.

    Keys: ``network_clean_mean_iou``, ``table_scanned_iou_grey`` and so on, and ``test_slices``.
    """
    device = next(model.parameters()).device
    metrics = {"test_slices": float(len(tissue))}
    for kind in KINDS:
        by_network = cells.found(model, shown[kind].to(device))
        by_table = tables[kind][shown[kind][:, 0].long()]
        for who, predicted in (("network", by_network), ("table", by_table)):
            counts = scores.confusion(tissue, predicted, CLASSES)
            metrics[f"{who}_{kind}_mean_iou"] = scores.mean_iou(counts)
            for name, value in zip(SHORT, scores.class_ious(counts).tolist(), strict=True):
                metrics[f"{who}_{kind}_iou_{name}"] = value
    return metrics


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return ("brain",)


def restore(run: Run) -> UNet:
    """Return the network of a run, in evaluation mode."""
    model = UNet(1, CLASSES, tuple(run.provenance["config"]["widths"]))
    model.load_state_dict(run.part("model"))
    return model.eval().requires_grad_(False)


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights on the slices of the middle anew."""
    test_set = brain.load("test")
    config = Config(**run.provenance["config"])
    shown = _test_images(test_set.images, config)
    tables = {kind: run.tensors[f"table.{kind}"].long() for kind in KINDS}
    return measure(restore(run).to(device), tables, shown, test_set.tissue)
