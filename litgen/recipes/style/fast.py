"""Train a network that paints in several styles in one pass; measure it against the slow way.

Chapter: book/style/arbitrary.md.  Proof: tests/recipes/test_style_fast.py.
References: Johnson, Alahi & Fei-Fei, "Perceptual losses for real-time style transfer and
super-resolution" (2016); Dumoulin, Shlens & Kudlur, "A learned representation for artistic style"
(2017).

Contents are crops of four photographs, styles are whole paintings. The fifth photograph is never
trained on; all that is reported is measured on crops of it.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from litgen import checkpoints, processes
from litgen.data import paintings, photographs, vgg
from litgen.recipes import pictures
from litgen.runs import Run
from litgen.shapes import Float, Int
from litgen.style.features import VGG, scaled_to_mean_one
from litgen.style.instance_norm import blend
from litgen.style.perceptual import Judge
from litgen.style.transfer_network import Norm, Padding, TransferNetwork, Upsampling
from litgen.training import Minibatches, Player, half_rounded, mixed_precision, play

__all__ = [
    "CPU",
    "GPU",
    "Config",
    "Material",
    "Painter",
    "Progress",
    "config_of",
    "crops",
    "data",
    "evaluate",
    "fit",
    "judge",
    "material",
    "optimised",
    "restore",
    "sample",
    "shrunk",
    "train",
]

DATA = ("vgg", "paintings", "photographs")
HELD_OUT = 1
"""The photograph that nothing is trained on, as a place in `photographs.NAMES`."""


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        styles: places of the paintings in `paintings.NAMES`.
        size: pixels of the shorter side of photographs and paintings.
        side: of the crops that are painted, in pixels.
        pool: crops of photographs.
        widths: see `TransferNetwork`.
        blocks: see `TransferNetwork`.
        kernel: see `TransferNetwork`.
        norm: see `TransferNetwork`.
        padding: see `TransferNetwork`.
        upsampling: see `TransferNetwork`.
        content_layer: of VGG, see `Judge`.
        style_layers: of VGG, see `Judge`.
        style_weight: see `Judge`.
        turns: updates.
        batch_size: crops in a step; styles take turns.
        learning_rate: of Adam at its highest; it rises and falls once.
        style_rate: the same for gains and biases.
        slow_steps: of the optimiser that moves pixels, for comparison.
        slow_rate: of its Adam, in pixels of [0, 1].
        test_crops: of the held-out photograph, for each style.
        mixed: let VGG compute in bfloat16 where the hardware has it.
    """

    styles: tuple[int, ...] = (1, 6)
    size: int = 128
    side: int = 48
    pool: int = 240
    widths: tuple[int, ...] = (16, 24)
    blocks: int = 3
    kernel: int = 5
    norm: Norm = "instance"
    padding: Padding = "reflect"
    upsampling: Upsampling = "nearest"
    content_layer: str = "conv2_2"
    style_layers: tuple[str, ...] = ("conv1_1", "conv2_1", "conv3_1")
    style_weight: float = 0.5
    turns: int = 540
    batch_size: int = 2
    learning_rate: float = 3e-3
    style_rate: float = 3e-3
    slow_steps: int = 100
    slow_rate: float = 0.03
    test_crops: int = 2
    mixed: bool = True


CPU = Config()
GPU = Config(
    styles=(0, 1, 2, 3, 4, 5, 6, 7),
    size=256,
    side=128,
    pool=2_000,
    widths=(32, 64, 128),
    blocks=5,
    kernel=9,
    content_layer="conv3_3",
    style_layers=("conv1_2", "conv2_2", "conv3_3", "conv4_3"),
    turns=20_000,
    batch_size=8,
    learning_rate=1e-3,
    style_rate=5e-3,
    test_crops=4,
)


class Painter(nn.Module):
    """A transfer network, and a row of gains and biases for each style."""

    def __init__(self, config: Config):
        super().__init__()
        self.network = TransferNetwork(
            config.widths,
            config.blocks,
            config.kernel,
            config.norm,
            config.padding,
            config.upsampling,
        )
        rows = self.network.plain().repeat(len(config.styles), 1)
        self.styles = nn.Parameter(rows)

    def forward(
        self,
        images: Float[Tensor, "batch 3 height width"],
        weights: Float[Tensor, "rows styles"],
    ) -> Float[Tensor, "batch 3 height width"]:
        """Return pictures in a blend of styles: a row of weights each, or one for all."""
        painted: Tensor = self.network(images, blend(self.styles, weights))
        return painted


class Material(NamedTuple):
    """What a training looks at, on one device.

    Attributes:
        judge: of pictures.
        pool: crops of photographs in [0, 1].
        content: of the crops, as the judge wants it.
        grams: of the paintings, layer by layer, a row for each style.
        test: crops of the held-out photograph.
        test_content: of these.
        records: where all of it came from, as runs keep it.
    """

    judge: Judge
    pool: Float[Tensor, "pool 3 side side"]
    content: Float[Tensor, "pool _ _ _"]
    grams: tuple[Float[Tensor, "styles _ _"], ...]
    test: Float[Tensor, "test 3 side side"]
    test_content: Float[Tensor, "test _ _ _"]
    records: list[dict[str, Any]]


def shrunk(image: Tensor, size: int) -> Float[Tensor, "3 height width"]:
    """Return levels 0..255 as numbers in [0, 1], the shorter side made ``size`` pixels long.

    Raises:
        ValueError: a picture that is smaller.
    """
    height, width = image.shape[1:]
    if min(height, width) < size:
        raise ValueError(f"a picture of {height}x{width} cannot be shrunk to {size}")
    scale = size / min(height, width)
    shape = round(height * scale), round(width * scale)
    return nn.functional.interpolate(image[None].float() / 255, shape, mode="area")[0]


def crops(
    images: list[Tensor], count: int, side: int, generator: torch.Generator
) -> Float[Tensor, "count 3 side side"]:
    """Return squares from anywhere in the pictures, these in turn, every other round mirrored."""
    found = []
    for k in range(count):
        image = images[k % len(images)]
        rows, columns = image.shape[1] - side + 1, image.shape[2] - side + 1
        top = int(torch.randint(rows, (), generator=generator))
        left = int(torch.randint(columns, (), generator=generator))
        square = image[:, top : top + side, left : left + side]
        found.append(square.flip(2) if k // len(images) % 2 else square)
    return torch.stack(found)


def judge(config: Config, photos: list[Tensor], device: torch.device) -> tuple[Judge, Any]:
    """Return the judge, whose features have mean 1 on the photographs, and VGG's record."""
    loaded = vgg.load()
    last = max(loaded.names.index(n) for n in (*config.style_layers, config.content_layer))
    kept = slice(0, last + 1)
    network = VGG(loaded.names[kept], loaded.kernels[kept], loaded.biases[kept], loaded.mean)
    network = scaled_to_mean_one(network, [photo[None] for photo in photos]).to(device)

    def features(images: Tensor, layers: Any) -> dict[str, Tensor]:
        """Return features, in bfloat16 where that is wanted and fast."""
        with mixed_precision(device, config.mixed):
            found: dict[str, Tensor] = network(images, layers)
            return found

    about = config.content_layer, config.style_layers, config.style_weight
    return Judge(features, *about), loaded.record


@torch.no_grad()
def material(config: Config, seed: int, device: torch.device) -> Material:
    """Return what a training looks at; the crops depend on the seed, those for testing do not.

    Raises:
        ValueError: pictures smaller than ``config.size``, or crops larger than it.
    """
    if config.side > config.size:
        raise ValueError(f"crops of {config.side} from pictures of {config.size} pixels")
    photo_set, painting_set = photographs.load(), paintings.load()
    photos = [shrunk(image, config.size) for image in photo_set.images]
    styles = [shrunk(painting_set.images[i], config.size).to(device) for i in config.styles]
    judged, record = judge(config, photos, device)
    others = [photo for i, photo in enumerate(photos) if i != HELD_OUT]
    pool = crops(others, config.pool, config.side, torch.Generator().manual_seed(seed)).to(device)
    count, fixed = config.test_crops * len(config.styles), torch.Generator().manual_seed(0)
    test = crops([photos[HELD_OUT]], count, config.side, fixed).to(device)
    content = torch.cat([judged.content(part) for part in pool.split(8)])
    rows = [judged.style(style[None]) for style in styles]
    grams = tuple(torch.cat(layer) for layer in zip(*rows, strict=True))
    records = [
        dataclasses.asdict(r) | {"name": name, "title": r.name, "split": "train"}
        for name, r in zip(DATA, (record, painting_set.record, photo_set.record), strict=True)
    ]
    return Material(judged, pool, content, grams, test, judged.content(test), records)


class Progress(NamedTuple):
    """Where a training stands after a turn; losses are detached means over the batch."""

    turn: int
    painter: Painter
    loss: Tensor


def fit(config: Config, found: Material, seed: int) -> Iterator[Progress]:
    """Yield after every update, on the device of the material."""
    torch.manual_seed(seed)  # weights
    device, count = found.pool.device, len(config.styles)
    painter = Painter(config).to(device)
    rates = [config.learning_rate, config.style_rate]
    parts = list(painter.network.parameters()), [painter.styles]
    optimizer = torch.optim.Adam([{"params": part} for part in parts], config.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rates, total_steps=config.turns + 1, pct_start=0.15
    )
    one_hot = torch.eye(count, device=device)
    turns = {"done": torch.zeros((), dtype=torch.int64)}

    def loss(rows: Int[Tensor, " batch"]) -> Tensor:
        """Return the mean loss of crops, painted in styles that take turns."""
        start = int(turns["done"]) * config.batch_size
        places = processes.share(torch.arange(config.batch_size, device=device))
        which = (start + places) % count
        painted = painter(found.pool[rows], one_hot[which])
        wanted = [gram[which] for gram in found.grams]
        return found.judge(painted, found.content[rows], wanted).total.mean()

    order = torch.Generator().manual_seed(seed)
    batches = Minibatches(torch.arange(len(found.pool), device=device), config.batch_size, order)
    memory = checkpoints.current()
    memory.keep(painter=painter, optimizer=optimizer, schedule=schedule)
    memory.keep(batches=batches, done=turns)
    game = play([Player("painter", optimizer, loss)], batches, memory.turns(config.turns))
    for step in tqdm(game, total=config.turns, desc="fast style", unit="step"):
        schedule.step()
        turns["done"] = torch.tensor(step.turn + 1)
        yield Progress(step.turn, painter, step.loss)


def optimised(
    judged: Judge,
    start: Float[Tensor, "batch 3 height width"],
    content: Float[Tensor, "batch _ _ _"],
    style: list[Float[Tensor, "#batch _ _"]],
    steps: int,
    rate: float,
) -> Iterator[Float[Tensor, "batch 3 height width"]]:
    """Yield pictures whose pixels move downhill, after each step of Adam: the slow way.

    Args:
        judged: whose loss falls.
        start: pictures in [0, 1].
        content: that they should have.
        style: Gram matrices that they should have.
        steps: of the optimiser.
        rate: its learning rate.
    """
    pixels = nn.Parameter(start.clone())
    optimizer = torch.optim.Adam([pixels], rate)
    moving = Player(
        "pixels", optimizer, lambda _: judged(pixels.clamp(0, 1), content, style).total.sum()
    )
    for _ in play([moving], iter(lambda: start, None), steps):
        yield pixels.detach().clamp(0, 1)


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train; keep network, styles, curve, and what the slow way reaches on the same crops."""
    found = material(config, seed, device)
    losses: list[Tensor] = []
    checkpoints.current().keep(losses=losses)
    with pictures.one_thread(device):
        for now in fit(config, found, seed):
            losses.append(now.loss)
        painter = now.painter.eval().requires_grad_(False)
        half_rounded(painter)
        exact = _exact(config, found)
        slow, last = _slow(config, found, exact)
        metrics = _measured(config, exact, painter)
    own = metrics["network_loss"] / slow[-1]
    tensors = {f"model.{name}": value for name, value in painter.state_dict().items()}
    return Run(
        tensors=tensors | {"slow.images": (255 * last).round().to(torch.uint8).cpu()},
        metrics=metrics | {"slow_loss": slow[-1], "loss_ratio": own, "turns": config.turns},
        history={"loss": pictures.curve(losses), "slow_loss": slow},
        data=found.records,
    )


def _exact(config: Config, found: Material) -> Material:
    """Return the test crops' material with a judge in full precision; all else is left out."""
    photos = [shrunk(image, config.size) for image in photographs.load().images]
    judged, _ = judge(dataclasses.replace(config, mixed=False), photos, found.pool.device)
    with torch.no_grad():
        return found._replace(judge=judged, test_content=judged.content(found.test))


def _slow(config: Config, found: Material, exact: Material) -> tuple[list[float], Tensor]:
    """Return the slow way's loss after each tenth of its steps, and its last pictures."""
    which = torch.arange(len(found.test), device=found.test.device) % len(config.styles)
    style = [gram[which] for gram in found.grams]
    way = optimised(
        found.judge, found.test, found.test_content, style, config.slow_steps, config.slow_rate
    )
    losses, every = [], max(1, config.slow_steps // 10)
    for step, pixels in enumerate(way, start=1):
        if step % every == 0 or step == config.slow_steps:
            with torch.no_grad():
                losses.append(exact.judge(pixels, exact.test_content, style).total.mean().item())
    return losses, pixels


@torch.no_grad()
def _measured(config: Config, exact: Material, painter: Painter) -> dict[str, float]:
    """Return the mean losses of painted and of untouched test crops, and the network's size."""
    which = torch.arange(len(exact.test), device=exact.test.device) % len(config.styles)
    style = [gram[which] for gram in exact.grams]
    weights = torch.eye(len(config.styles), device=which.device)[which]
    painted = exact.judge(painter(exact.test, weights), exact.test_content, style)
    untouched = exact.judge(exact.test, exact.test_content, style)
    return {
        "network_loss": painted.total.mean().item(),
        "network_content": painted.content.mean().item(),
        "network_style": painted.style.mean().item(),
        "untouched_loss": untouched.total.mean().item(),
        "network_parameters": sum(p.numel() for p in painter.network.parameters()),
        "style_parameters": painter.network.style_numbers,
    }


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return DATA


def config_of(run: Run) -> Config:
    """Return a run's config; a file's JSON holds tuples as lists."""
    stored = run.provenance["config"]
    tuples = {name: tuple(stored[name]) for name in ("styles", "widths", "style_layers")}
    return Config(**stored | tuples)


def restore(run: Run) -> Painter:
    """Return a run's network and styles."""
    painter = Painter(config_of(run))
    painter.load_state_dict(run.part("model"))
    return painter.eval().requires_grad_(False)


@torch.no_grad()
def sample(run: Run, count: int, generator: torch.Generator) -> Float[Tensor, "count 3 side side"]:
    """Return crops of the held-out photograph in the styles, these in turn."""
    config, painter = config_of(run), restore(run)
    photo = shrunk(photographs.load().images[HELD_OUT], config.size)
    which = torch.arange(count) % len(config.styles)
    images = crops([photo], count, config.side, generator)
    painted: Tensor = painter(images, torch.eye(len(config.styles))[which])
    return painted


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights on the test crops anew; the slow way's loss is as it was."""
    config = config_of(run)
    found = _exact(config, material(config, run.provenance["seed"], device))
    measured = _measured(config, found, restore(run).to(device))
    slow = run.metrics["slow_loss"]
    ratio = measured["network_loss"] / slow
    return measured | {"slow_loss": slow, "loss_ratio": ratio, "turns": run.metrics["turns"]}
