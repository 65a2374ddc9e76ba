"""Paint a photograph in a painter's way, with several weights of the style at once.

Chapter: book/style/gatys.md.  Proof: tests/recipes/test_style_gatys.py.
Reference: Gatys, Ecker & Bethge, "A neural algorithm of artistic style" (2015).

The network is VGG-16 in units in which each layer's mean over the photographs is 1, in bfloat16
where the hardware has it. What is measured is measured in float32, on the bytes that are stored.
"""

import copy
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from litgen import checkpoints
from litgen.data import paintings, photographs, vgg
from litgen.recipes import pictures as shared
from litgen.runs import Run
from litgen.shapes import Float, UInt8
from litgen.style import gatys
from litgen.style.features import VGG, Pooling, scaled_to_mean_one
from litgen.style.memory import LimitedMemory
from litgen.style.pictures import prepared
from litgen.training import mixed_precision

__all__ = [
    "CPU",
    "GPU",
    "Config",
    "Given",
    "Progress",
    "as_config",
    "bytes_of",
    "config_of",
    "data",
    "evaluate",
    "fast",
    "fit",
    "given",
    "measure",
    "prepared_style",
    "restore",
    "sample",
    "train",
]


@dataclass(frozen=True)
class Config:
    """What a descent depends on.

    Attributes:
        content: name of a photograph, see `litgen.data.photographs`.
        style: name of a painting, see `litgen.data.paintings`.
        side: of all pictures in pixels.
        content_layers: where features shall be met.
        style_layers: where Gram matrices shall be met.
        style_weights: beta, one picture for each; alpha is 1.
        start: the content, or noise around grey.
        pooling: of the network.
        optimiser: lbfgs or adam.
        rate: of the optimiser's steps.
        history: pairs that L-BFGS remembers.
        reach: the largest change of a pixel in a step of L-BFGS.
        turns: steps.
        snapshots: moments at which the pictures are kept.
        mixed: let the network compute in bfloat16 where the hardware has it.
    """

    content: str = "china"
    style: str = "church"
    side: int = 80
    content_layers: tuple[str, ...] = ("conv4_2",)
    style_layers: tuple[str, ...] = ("conv1_1", "conv2_1", "conv3_1", "conv4_1")
    style_weights: tuple[float, ...] = (0.01, 0.1, 1.0, 10.0)
    start: Literal["content", "noise"] = "content"
    pooling: Pooling = "average"
    optimiser: Literal["lbfgs", "adam"] = "lbfgs"
    rate: float = 1.0
    history: int = 100
    reach: float = 0.1
    turns: int = 32
    snapshots: int = 8
    mixed: bool = True


CPU = Config()
GPU = Config(
    side=512,
    style_layers=("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"),
    turns=500,
    snapshots=12,
)


class Given(NamedTuple):
    """The network, and the two pictures, (1, 3, side, side) in [0, 1]."""

    network: VGG
    content: Float[Tensor, "1 3 side side"]
    style: Float[Tensor, "1 3 side side"]
    records: list[dict[str, Any]]


class Progress(NamedTuple):
    """Where a descent stands after a turn; the loss, summed over pictures, is detached."""

    turn: int
    canvas: Float[Tensor, "batch 3 height width"]
    loss: Tensor


def given(content: str, style: str, side: int, pooling: Pooling = "average") -> Given:
    """Load and prepare what a descent needs, on the CPU.

    Raises:
        ValueError: a photograph or painting of a name that there is not.
    """
    weights, photos, works = vgg.load(), photographs.load(), paintings.load()
    network = VGG(weights.names, weights.kernels, weights.biases, weights.mean, pooling)
    ready = [prepared(image, side) for image in photos.images]
    # stand-ins have names of their own: their place is that of what they stand for
    places = _place(content, photographs.NAMES), _place(style, paintings.NAMES)
    records = [
        dataclasses.asdict(part.record) | {"name": name, "title": part.record.name}
        for name, part in (("vgg", weights), ("photographs", photos), ("paintings", works))
    ]
    return Given(
        scaled_to_mean_one(network, ready),
        ready[places[0]],
        prepared(works.images[places[1]], side),
        [record | {"split": "train"} for record in records],
    )


def _place(name: str, names: Sequence[str]) -> int:
    if name not in names:
        raise ValueError(f"unknown picture {name!r}; there are: {', '.join(names)}")
    return names.index(name)


def fast(network: VGG, start: Tensor, mixed: bool) -> tuple[VGG, nn.Parameter]:
    """Return the network and a canvas as they are fastest: channels last, perhaps bfloat16.

    Args:
        network: left as it is.
        start: what the canvas shows at first; on the device that is to compute.
        mixed: bfloat16 where the device multiplies it fast.
    """
    rounded = isinstance(mixed_precision(start.device, mixed), torch.autocast)
    quick = copy.deepcopy(network).to(start.device, torch.bfloat16 if rounded else None)
    quick.mean = network.mean.to(start.device)
    canvas = start.clone(memory_format=torch.channels_last)
    return quick.to(memory_format=torch.channels_last), nn.Parameter(canvas)


def fit(
    config: Config,
    network: VGG,
    goal: gatys.Goal,
    start: Float[Tensor, "batch 3 height width"],
    content_weights: gatys.Weights,
    style_weights: gatys.Weights,
) -> Iterator[Progress]:
    """Yield after every step of the descent, on the device of the start. Minimises eq:gatys-total.

    Args:
        config: optimiser, turns, precision.
        network: what sees the pictures.
        goal: what they shall have.
        start: what they show at first.
        content_weights: see `litgen.style.gatys.losses`.
        style_weights: likewise.
    """
    quick, canvas = fast(network, start, config.mixed)
    optimizer: torch.optim.Optimizer
    if config.optimiser == "lbfgs":
        optimizer = LimitedMemory(canvas, config.rate, config.history, config.reach)
    else:
        optimizer = torch.optim.Adam([canvas], config.rate)
    player = gatys.seeker(canvas, optimizer, quick, goal, content_weights, style_weights)
    memory = checkpoints.current()
    memory.keep(canvas=nn.ParameterList([canvas]), optimizer=optimizer)
    steps = gatys.paint(player, memory.turns(config.turns))
    for step in tqdm(steps, total=config.turns, desc="gatys", unit="step"):
        yield Progress(step.turn, canvas.detach(), step.loss)


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Seek one picture for each weight of the style; keep pictures, curves, snapshots, losses."""
    ready = given(config.content, config.style, config.side, config.pooling)
    network = ready.network.to(device)
    content, style = ready.content.to(device), ready.style.to(device)
    goal = gatys.aim(network, content, style, config.content_layers, config.style_layers)
    alpha = dict.fromkeys(config.content_layers, 1.0 / len(config.content_layers))
    beta = torch.tensor(config.style_weights, device=device) / len(config.style_layers)
    shares = dict.fromkeys(config.style_layers, beta)
    start = content.expand(len(beta), -1, -1, -1)
    if config.start == "noise":
        noise = torch.randn(content.shape, generator=torch.Generator().manual_seed(seed))
        start = (0.5 + 0.1 * noise.to(device)).expand_as(start)
    moments = {
        round(config.turns ** (i / (config.snapshots - 1))) for i in range(config.snapshots)
    }
    curve: list[Tensor] = []
    shots: dict[int, Tensor] = {0: bytes_of(start)}
    checkpoints.current().keep(curve=curve, shots=shots)
    with shared.one_thread(device):
        for now in fit(config, network, goal, start, alpha, shares):
            curve.append(now.loss)
            if now.turn + 1 in moments:
                shots[now.turn + 1] = bytes_of(now.canvas)
    made = bytes_of(now.canvas)
    return Run(
        tensors={
            "images": made,
            "content": bytes_of(content),
            "style": bytes_of(style),
            "snapshots.images": torch.stack(list(shots.values())),
            "snapshots.turn": torch.tensor(list(shots)),
        },
        metrics=measure(config, network, goal, made.to(device)) | {"turns": float(now.turn + 1)},
        history={"loss": shared.curve(curve)},
        data=ready.records,
    )


def bytes_of(
    images: Float[Tensor, "batch 3 height width"],
) -> UInt8[Tensor, "batch 3 height width"]:
    """Return levels 0..255 on the CPU; what lies outside is cut."""
    return (images.detach().clamp(0, 1) * 255).round().to(torch.uint8).cpu().contiguous()


@torch.no_grad()
def measure(
    config: Config, network: VGG, goal: gatys.Goal, images: UInt8[Tensor, "batch 3 height width"]
) -> dict[str, float]:
    """Return mean content and style losses of each picture, unweighted, by its style weight.

    ``style_0.1`` is the mean over style layers of E_l for the picture sought with beta 0.1.
    """
    alpha = dict.fromkeys(goal.content, 1.0 / max(1, len(goal.content)))
    shares = dict.fromkeys(goal.style, 1.0 / max(1, len(goal.style)))
    terms = gatys.losses(network, images.float() / 255, goal, alpha, shares)
    found = {}
    for i, beta in enumerate(config.style_weights):
        found[f"content_{beta:g}"] = terms.content[i].item()
        found[f"style_{beta:g}"] = terms.style[i].item()
    return found


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return ("vgg", "photographs", "paintings")


def config_of(run: Run) -> Config:
    """Return a run's config; a file's JSON holds tuples as lists."""
    return as_config(run.provenance["config"])


def as_config(stored: Mapping[str, Any]) -> Config:
    """Return a config out of a dictionary whose tuples became lists."""
    lists = {name: tuple(value) for name, value in stored.items() if isinstance(value, list)}
    return Config(**{**stored, **lists})


def restore(run: Run) -> Float[Tensor, "batch 3 side side"]:
    """Return the pictures in [0, 1], one for each style weight."""
    return run.tensors["images"].float() / 255


def prepared_style(run: Run) -> Float[Tensor, "1 3 side side"]:
    """Return the painting of a run in [0, 1], as the network saw it."""
    return run.tensors["style"].float() / 255


def sample(run: Run, count: int, generator: torch.Generator) -> Float[Tensor, "count 3 side side"]:
    """Return the pictures in turn, those of large style weights last; nothing is drawn by lot."""
    images = restore(run)
    return images[torch.arange(count) % len(images)]


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's pictures anew."""
    config = config_of(run)
    ready = given(config.content, config.style, config.side, config.pooling)
    network = ready.network.to(device)
    pair = ready.content.to(device), ready.style.to(device)
    goal = gatys.aim(network, *pair, config.content_layers, config.style_layers)
    found = measure(config, network, goal, run.tensors["images"].to(device))
    return found | {"turns": run.metrics["turns"]}
