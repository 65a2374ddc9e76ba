"""Train small segmenters with and without bent and generated slices, five seeds side by side.

Chapter: book/applications/medical.md.  Proof: tests/recipes/test_applications_slices.py.
References: Frid-Adar et al., "GAN-based Synthetic Medical Image Augmentation" (2018), for the
question; Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks" (2017),
for the painter.

Every seed has its own few slices. A painter, trained on just these, makes images from masks, a
contrast code and noise; codes are drawn from a Gaussian fitted to those of the few. Segmenters
with and without its slices take equally many steps from the same first weights.
"""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from litgen import checkpoints, processes
from litgen.applications.augment import draw_fitted
from litgen.applications.slice_networks import SliceCritic, SliceNet, one_hot
from litgen.data import brain, heads
from litgen.gan import losses
from litgen.recipes import pictures
from litgen.runs import Run
from litgen.segmentation import elastic, scores
from litgen.shapes import Float, Int, UInt8
from litgen.training import Minibatches, Player, half_rounded, mixed_precision, play

__all__ = [
    "ARMS",
    "CPU",
    "EXTRAS",
    "GPU",
    "Config",
    "Made",
    "Slices",
    "chosen",
    "config_of",
    "contrast",
    "counts",
    "data",
    "evaluate",
    "fit_painter",
    "fit_segmenter",
    "load",
    "make",
    "measure",
    "painter",
    "restore",
    "sample",
    "shrunk",
    "train",
]

Name = Literal["heads", "brain"]
ARMS = {"none": (False, False), "bent": (True, False), "made": (False, True), "both": (True, True)}
"""Each way to train: whether slices are flipped and bent, and whether made ones join."""
EXTRAS = ("fresh", "healthy", "leak")
"""Controls, see `train`."""
CHANNELS_LAST = torch.channels_last
SIDE = 32


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        name: of the data set.
        sizes: how many slices there are to learn from, ascending.
        seeds: repetitions with other slices and other first weights.
        extras: whether the controls are trained, too; needs at least two sizes.
        width: channels of the networks' upper level.
        turns: updates of each segmenter.
        painter_turns: updates of each painter.
        batch_size: slices in a step, for each seed.
        learning_rate: of the segmenters' Adam at the peak of one cycle.
        painter_rate: of the painters' Adam; their critics' is a quarter of it.
        distance: weight of the mean absolute difference in the painter's loss.
        share: of made slices in a batch.
        bend: standard deviation of the displacements, in pixels.
        ground: what a pixel of the ground counts in the loss.
        rare: what a pixel of the last class counts; any other counts 1.
        made: slices that a painter makes for each seed.
        mixed: let networks compute in bfloat16 where the hardware has it.
    """

    name: Name = "heads"
    sizes: tuple[int, ...] = (4, 16, 64)
    seeds: int = 5
    extras: bool = True
    width: int = 16
    turns: int = 90
    painter_turns: int = 60
    batch_size: int = 4
    learning_rate: float = 4e-2
    painter_rate: float = 4e-3
    distance: float = 10.0
    share: float = 0.5
    bend: float = 0.5
    ground: float = 0.5
    rare: float = 5.0
    made: int = 64
    mixed: bool = True


CPU = Config()
GPU = Config(
    width=32, turns=2_000, painter_turns=2_000, learning_rate=5e-3, painter_rate=1e-3, made=512
)


class Slices(NamedTuple):
    """Slices in [-1, 1] and the tissue of each pixel."""

    images: Float[Tensor, "count 1 side side"]
    tissue: Int[Tensor, "count side side"]


class Made(NamedTuple):
    """Slices for each seed, and the tissue of each pixel."""

    images: Float[Tensor, "count seeds side side"]
    tissue: Int[Tensor, "count seeds side side"]


class Progress(NamedTuple):
    """Where a training stands after an update; the loss is detached."""

    player: str
    model: SliceNet
    loss: Tensor


def shrunk(
    images: UInt8[Tensor, "count 1 height width"], tissue: UInt8[Tensor, "count height width"]
) -> tuple[Float[Tensor, "count 1 32 32"], Int[Tensor, "count 32 32"]]:
    """Return slices of 32x32 pixels in 0..255, each the mean of a block, and its commonest tissue.

    Images are made square with zeros on either side first; the side has to be a multiple of 32.
    """
    height, width = tissue.shape[1:]
    rest = max(height, width) - width, max(height, width) - height
    edges = (rest[0] // 2, rest[0] - rest[0] // 2, rest[1] // 2, rest[1] - rest[1] // 2)
    block = max(height, width) // SIDE
    grey = F.avg_pool2d(F.pad(images.float(), edges), block)
    masks = one_hot(F.pad(tissue.long(), edges), int(tissue.max()) + 1)
    return grey, F.avg_pool2d(masks, block).argmax(dim=1)


def load(name: Name) -> tuple[Slices, Slices, list[dict[str, Any]]]:
    """Return training and test slices of 32x32 pixels, and the records of both."""
    both = [(brain if name == "brain" else heads).load(split) for split in ("train", "test")]
    parts = [shrunk(one.images, one.tissue) for one in both]
    slices = [Slices(grey / 127.5 - 1, tissue) for grey, tissue in parts]
    records = [
        dataclasses.asdict(one.record) | {"name": name, "title": one.record.name, "split": split}
        for split, one in zip(("train", "test"), both, strict=True)
    ]
    return slices[0], slices[1], records


def classes(name: Name) -> int:
    """Return the number of tissues, the ground among them."""
    return len(heads.TISSUES) if name == "heads" else len(brain.TISSUES)


def chosen(config: Config, pool: int, seed: int) -> Int[Tensor, "seeds pool"]:
    """Return each seed's order of the pool; of a smaller size it takes fewer, not others."""
    each = (torch.Generator().manual_seed(1_000 * seed + k) for k in range(config.seeds))
    return torch.stack([torch.randperm(pool, generator=one) for one in each])


def contrast(slices: Slices, tissues: int) -> Float[Tensor, "count tissues"]:
    """Return the mean grey value of each of the first tissues in each slice, 0 for none."""
    masks = one_hot(slices.tissue, tissues)
    return (slices.images * masks).sum(dim=(2, 3)) / masks.sum(dim=(2, 3)).clamp_min(1)


def coded(config: Config) -> int:
    """Return how many tissues have a number in the code: all but the rare one."""
    return classes(config.name) - (config.name == "heads")


def _conditions(
    masks: Float[Tensor, "batch seeds classes side side"],
    codes: Float[Tensor, "batch seeds coded"],
    generator: torch.Generator,
) -> Float[Tensor, "batch seeds inputs side side"]:
    """Return what a painter sees: masks, the code at every pixel, and noise."""
    side = masks.shape[-1]
    noise = torch.randn(*masks.shape[:2], 1, side, side, generator=generator).to(masks.device)
    return torch.cat([masks, codes[..., None, None].expand(-1, -1, -1, side, side), noise], dim=2)


def new_painter(config: Config) -> SliceNet:
    """Return painters of all seeds; their inputs are those of `_conditions`."""
    inputs = classes(config.name) + coded(config) + 1
    return SliceNet(config.seeds, inputs, 1, config.width)


def fit_painter(
    config: Config, slices: Slices, rows: Int[Tensor, "seeds n"], seed: int
) -> Iterator[Progress]:
    """Yield after every move of critics and painters, each of them on its own seed's rows."""
    device, kinds = slices.images.device, classes(config.name)
    torch.manual_seed(seed)  # weights
    net = new_painter(config).to(device).to(memory_format=CHANNELS_LAST)
    critic = SliceCritic(config.seeds, 1 + kinds, config.width)
    critic = critic.to(device).to(memory_format=CHANNELS_LAST)
    draw, shuffle = (torch.Generator().manual_seed(seed + k) for k in (1, 2))
    masks, codes = one_hot(slices.tissue, kinds), contrast(slices, coded(config))

    def painted(batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return true images, masks, and what the painters make of masks and codes."""
        picked = rows[:, batch].T
        mask = masks[picked]
        with mixed_precision(device, config.mixed):
            fake = net(_conditions(mask, codes[picked], draw)).float().tanh()
        return slices.images[picked], mask, fake

    def judged(images: Tensor, mask: Tensor) -> Tensor:
        with mixed_precision(device, config.mixed):
            logits: Tensor = critic(torch.cat([images, mask], dim=2)).float()
        return logits

    def critic_loss(batch: Tensor) -> Tensor:
        with torch.no_grad():
            real, mask, fake = painted(batch)
        real_logits, fake_logits = judged(torch.cat([real, fake]), torch.cat([mask, mask])).chunk(
            2
        )
        return losses.discriminator_loss(real_logits, fake_logits) * config.seeds

    def painter_loss(batch: Tensor) -> Tensor:
        real, mask, fake = painted(batch)
        fooling = losses.generator_loss(judged(fake, mask)).mean()
        return (fooling + config.distance * (fake - real).abs().mean()) * config.seeds

    rates = {"critic": (critic, config.painter_rate / 4), "painter": (net, config.painter_rate)}
    adams = {
        name: torch.optim.Adam(model.parameters(), rate, betas=(0.5, 0.99), fused=True)
        for name, (model, rate) in rates.items()
    }
    batches = Minibatches(torch.arange(rows.shape[1], device=device), config.batch_size, shuffle)
    memory = checkpoints.current()
    memory.keep(net=net, critic=critic, batches=batches, draw=draw)
    memory.keep(**{f"{name}_adam": adam for name, adam in adams.items()})
    players = [
        Player("critic", adams["critic"], critic_loss),
        Player("painter", adams["painter"], painter_loss),
    ]
    game = play(players, batches, memory.turns(config.painter_turns))
    for step in tqdm(game, total=2 * config.painter_turns, desc="painters", unit="move"):
        yield Progress(step.player, net, step.loss)


@torch.no_grad()
def make(
    config: Config,
    net: SliceNet,
    slices: Slices,
    rows: Int[Tensor, "seeds n"],
    count: int,
    generator: torch.Generator,
) -> Made:
    """Return slices of every seed's painter: masks of its rows, codes from a Gaussian.

    It is the one fitted to the rows' own codes, eq:med-generator.
    """
    device, own = slices.images.device, rows.shape[1]
    places = torch.randint(own, (config.seeds, count), generator=generator).to(device)
    tissue = slices.tissue[rows.gather(1, places).T]
    noise = torch.randn(config.seeds, count, own, generator=generator).to(device)
    codes = draw_fitted(contrast(slices, coded(config))[rows], noise).transpose(0, 1)
    masks, net = one_hot(tissue, classes(config.name)), net.eval()
    parts = []
    for mask, code in zip(masks.split(64), codes.split(64), strict=True):
        with mixed_precision(device, config.mixed):
            parts.append(net(_conditions(mask, code, generator)).float().tanh()[:, :, 0])
    return Made(torch.cat(parts), tissue)


def fit_segmenter(
    config: Config,
    slices: Slices,
    rows: Int[Tensor, "seeds n"],
    seed: int,
    bent: bool = False,
    made: Made | None = None,
    title: str = "segmenters",
) -> Iterator[Progress]:
    """Yield after every update of all seeds' segmenters, each on its own rows.

    Args:
        config: widths, turns and rates.
        slices: of which rows are used.
        rows: of each seed.
        seed: of weights, batches, flips and fields.
        bent: flip half of the slices left to right, and bend all.
        made: slices that take a share of every batch.
        title: said by the progress bar.
    """
    device, kinds = slices.images.device, classes(config.name)
    torch.manual_seed(seed)  # weights
    net = SliceNet(config.seeds, 1, kinds, config.width)
    net = net.to(device).to(memory_format=CHANNELS_LAST)
    draw, shuffle = (torch.Generator().manual_seed(seed + k) for k in (1, 2))
    importance = torch.ones(kinds, device=device)
    importance[0] = config.ground
    importance[-1] = config.rare if config.name == "heads" else 1.0
    optimizer = torch.optim.Adam(net.parameters(), config.learning_rate, fused=True)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, config.turns)

    def loss(batch: Tensor) -> Tensor:
        picked = rows[:, batch].T
        x, tissue = slices.images[picked][:, :, 0], slices.tissue[picked]
        if made is not None:
            x, tissue = _joined(x, tissue, made, config.share, draw)
        if bent:
            x, tissue = _bent(x, tissue, config.bend, draw)
        with mixed_precision(device, config.mixed):
            logits = net(x[:, :, None])
        nats = F.cross_entropy(
            logits.float().flatten(0, 1), tissue.flatten(0, 1), reduction="none"
        )
        return (nats * importance[tissue.flatten(0, 1)]).mean() * config.seeds

    batches = Minibatches(torch.arange(rows.shape[1], device=device), config.batch_size, shuffle)
    memory = checkpoints.current()
    memory.keep(net=net, optimizer=optimizer, rate=rate, batches=batches, draw=draw)
    game = play([Player(title, optimizer, loss)], batches, memory.turns(config.turns))
    for step in tqdm(game, total=config.turns, desc=title, unit="step"):
        if step.turn + 1 < config.turns:
            rate.step()
        yield Progress(title, net, step.loss)


def _joined(
    x: Tensor, tissue: Tensor, made: Made, share: float, draw: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Replace a share of a batch by made slices."""
    count = round(share * len(x))
    with processes.apart(count):
        picked = torch.randint(len(made.images), (count,), generator=draw).to(x.device)
    images = torch.cat([x[count:], made.images[picked]])
    return images, torch.cat([tissue[count:], made.tissue[picked]])


def _bent(x: Tensor, tissue: Tensor, bend: float, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Flip half of the slices, and bend all, each by a field of its own."""
    flip = (torch.rand(*x.shape[:2], 1, 1, generator=draw) < 0.5).to(x.device)
    x, tissue = torch.where(flip, x.flip(-1), x), torch.where(flip, tissue.flip(-1), tissue)
    vectors = bend * torch.randn(*x.shape[:2], 2, 3, 3, generator=draw).flatten(0, 1)
    moved = elastic.deform(x.flatten(0, 1)[:, None], tissue.flatten(0, 1), vectors.to(x.device))
    return moved[0][:, 0].view_as(x), moved[1].view_as(tissue)


@torch.no_grad()
def measure(
    config: Config, net: SliceNet, slices: Slices, rows: Int[Tensor, "seeds n"] | None = None
) -> Int[Tensor, "seeds classes classes"]:
    """Return each seed's counts of true and predicted tissue, on all slices or on its own rows."""
    net = net.eval()
    places = torch.arange(len(slices.images)).expand(config.seeds, -1) if rows is None else rows
    found = []
    for part in places.to(slices.images.device).T.split(50):
        with mixed_precision(slices.images.device, config.mixed):
            found.append(net(slices.images[part]).argmax(dim=2))
    kinds, predicted = classes(config.name), torch.cat(found)
    truth = slices.tissue[places.T.to(slices.tissue.device)]
    each = [scores.confusion(truth[:, k], predicted[:, k], kinds) for k in range(config.seeds)]
    return torch.stack(each).cpu()


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train painters and segmenters of every size and arm; return counts, weights and curves.

    The extras: "fresh", half of each batch drawn from the rest of the pool, as by a perfect
    generator; "healthy", the same without slices that have a lesion; "leak", the smallest size
    with slices made by the second size's painter, whose rows are then used for testing.
    """
    train_set, test_set, records = load(config.name)
    slices, unseen = (Slices(*(p.to(device) for p in s)) for s in (train_set, test_set))
    order = chosen(config, len(train_set.images), seed).to(device)
    tensors: dict[str, Tensor] = {"order": order[:, : config.sizes[-1]].cpu().int()}
    history: dict[str, list[float]] = {}

    def finished(name: str, steps: Callable[[], Iterator[Progress]]) -> SliceNet:
        """Go through a training, keep its curve, and return its networks."""
        curve: list[Tensor] = []
        with checkpoints.part(name) as memory:
            memory.keep(losses=curve)
            for now in steps():
                curve += [] if now.player == "critic" else [now.loss]
        history[f"{name}_loss_nats"] = pictures.curve(curve, 40)
        half_rounded(now.model)
        return now.model

    def judged(
        name: str, rows: Tensor, bent: bool = False, made: Made | None = None, keep: bool = False
    ) -> SliceNet:
        """Train segmenters and count what they find in the test slices."""
        net = finished(name, lambda: fit_segmenter(config, slices, rows, seed, bent, made, name))
        tensors[f"counts.{name}"] = measure(config, net, unseen).int()
        if keep:
            tensors.update({f"{name}.{key}": value for key, value in net.state_dict().items()})
        return net

    made: dict[int, Made] = {}
    for size in config.sizes:
        rows, name = order[:, :size], f"painter_{size}"
        net = finished(name, lambda rows=rows: fit_painter(config, slices, rows, seed))  # type: ignore[misc]
        tensors |= {f"{name}.{key}": value for key, value in net.state_dict().items()}
        draw = torch.Generator().manual_seed(seed + size)
        made[size] = make(config, net, slices, rows, config.made, draw)
        for arm, (bent, joined) in ARMS.items():
            keep = size == config.sizes[len(config.sizes) // 2]
            net = judged(f"{arm}_{size}", rows, bent, made[size] if joined else None, keep)
            if config.extras and (arm, size) == ("none", config.sizes[0]):
                own = order[:, size : config.sizes[1]]
                tensors["counts.none_own"] = measure(config, net, slices, own).int()
    judged("all", order)
    if config.extras:
        small, middle = config.sizes[:2]
        rest = order[:, config.sizes[-1] :]
        for name in ("fresh", "healthy"):
            judged(name, order[:, :middle], made=_rest(slices, rest, name == "healthy"))
        net = judged("leak", order[:, :small], made=made[middle])
        tensors["counts.leak_own"] = measure(config, net, slices, order[:, small:middle]).int()
    found = {k.removeprefix("counts."): v for k, v in tensors.items() if k.startswith("counts.")}
    return Run(tensors=tensors, metrics=_metrics(found), history=history, data=records)


def _rest(slices: Slices, rest: Int[Tensor, "seeds n"], healthy: bool) -> Made:
    """Return slices that no size uses; only those without the last class, if healthy."""
    ill = (slices.tissue == len(heads.TISSUES) - 1).flatten(1).any(dim=1)
    each = [rows[~ill[rows]] if healthy else rows for rows in rest]
    picked = torch.stack([rows[: min(map(len, each))] for rows in each], dim=1)
    return Made(slices.images[picked][:, :, 0], slices.tissue[picked])


def _metrics(found: dict[str, Tensor]) -> dict[str, float]:
    """Return the mean over seeds of the mean IoU of each count."""
    return {
        f"{name}_mean_iou": sum(scores.mean_iou(one) for one in counted) / len(counted)
        for name, counted in found.items()
    }


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return (config.name,)


def counts(run: Run) -> dict[str, Int[Tensor, "seeds classes classes"]]:
    """Return each segmenter's counts of true and predicted tissue, by its name."""
    return {name: value.long() for name, value in run.part("counts").items()}


def painter(run: Run, size: int) -> SliceNet:
    """Return the painters of a size, in evaluation mode."""
    net = new_painter(config_of(run))
    net.load_state_dict(run.part(f"painter_{size}"))
    return net.eval().requires_grad_(False)


def restore(run: Run) -> dict[str, SliceNet]:
    """Return the segmenters of the size in the middle by the names of their arms."""
    config, found = config_of(run), {}
    size = config.sizes[len(config.sizes) // 2]
    for arm in ARMS:
        net = SliceNet(config.seeds, 1, classes(config.name), config.width)
        net.load_state_dict(run.part(f"{arm}_{size}"))
        found[arm] = net.eval().requires_grad_(False)
    return found


def sample(run: Run, count: int, generator: torch.Generator) -> Float[Tensor, "count 1 side side"]:
    """Return slices by the first seed's painter of the largest size, in [0, 1]."""
    config = config_of(run)
    size = config.sizes[-1]
    slices, _, _ = load(config.name)
    rows = run.tensors["order"].long()[:, :size]
    made = make(config, painter(run, size), slices, rows, count, generator)
    return (made.images[:, :1] + 1) / 2


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure the segmenters that a run keeps anew; painters have no score of their own."""
    config = config_of(run)
    _, test_set, _ = load(config.name)
    unseen = Slices(*(part.to(device) for part in test_set))
    size = config.sizes[len(config.sizes) // 2]
    found = {
        f"{arm}_{size}": measure(config, net.to(device), unseen)
        for arm, net in restore(run).items()
    }
    return _metrics(found)


def config_of(run: Run) -> Config:
    """Return a run's config; a file's JSON holds the tuple as a list."""
    stored = run.provenance["config"]
    return Config(**stored | {"sizes": tuple(stored["sizes"])})
