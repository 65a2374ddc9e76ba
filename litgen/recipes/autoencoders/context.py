"""Train networks that fill a hole in drawn faces: three losses, two ways of cutting, and mistakes.

Chapter: book/autoencoders/context.md.  Proof: tests/recipes/test_autoencoders_context.py.
Reference: Pathak et al., "Context Encoders: Feature Learning by Inpainting" (2016).

The hole hides all that smile, glasses, moustache, eyes and mouth change in a drawn face, to the
pixel. These are drawn independently of everything else, so no network can know them: redrawing
them gives the best fill and its error without any training.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from litgen import checkpoints
from litgen.autoencoders import context, fill_scores
from litgen.autoencoders.context_networks import ContextEncoder, PatchCritic
from litgen.data import drawn_faces
from litgen.recipes import pictures
from litgen.runs import Run
from litgen.shapes import Bool, Float, UInt8
from litgen.training import Minibatches, Player, half_rounded, mixed_precision, play

__all__ = [
    "CPU",
    "GPU",
    "HOLE",
    "WINDOW",
    "Config",
    "Variant",
    "data",
    "evaluate",
    "fills",
    "fit",
    "measure",
    "models",
    "redrawn",
    "restore",
    "scores",
    "train",
]

Variant = Literal[
    "l2", "adversarial", "joint", "roaming", "copying", "islands", "everywhere", "seeing"
]
HOLE = (8, 6, 20)
"""Top, left and size of the hole that stays where it is."""
OVERLAP = 2
WINDOW = (slice(HOLE[0] - OVERLAP, HOLE[0] + HOLE[2] + OVERLAP), slice(4, 28))
"""Rows and columns of the hole and its band: what the critic sees."""
INSIDE = (..., slice(HOLE[0], HOLE[0] + HOLE[2]), slice(HOLE[1], HOLE[1] + HOLE[2]))
ADVERSARIAL = ("adversarial", "joint", "seeing")


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        variants: one network is trained for each.
        widths: channels of the encoder's two stages.
        critic_widths: channels of the critic's.
        turns: updates of each network.
        batch_size: faces in a step.
        learning_rate: of Adam at the start; it falls to zero along half a cosine.
        critic_rate: the critic's, which stays.
        share: of the reconstruction loss in the joint one.
        roaming_size: of holes that are cut anywhere.
        test_faces: faces of the test set that are measured.
        mixed: let networks compute in bfloat16 where the hardware has it.
    """

    variants: tuple[Variant, ...] = (
        "l2",
        "adversarial",
        "joint",
        "roaming",
        "copying",
        "islands",
        "everywhere",
        "seeing",
    )
    widths: tuple[int, ...] = (24, 48)
    critic_widths: tuple[int, ...] = (16, 32, 64)
    turns: int = 160
    batch_size: int = 24
    learning_rate: float = 4e-3
    critic_rate: float = 1e-3
    share: float = 0.985
    roaming_size: int = 16
    test_faces: int = 600
    mixed: bool = True


CPU = Config()
GPU = Config(
    widths=(64, 128),
    critic_widths=(64, 128, 256),
    turns=4_000,
    batch_size=128,
    learning_rate=2e-3,
    critic_rate=2e-4,
    test_faces=4_000,
)


class Progress(NamedTuple):
    """Where a training stands after a step; the loss is detached."""

    turn: int
    model: ContextEncoder
    player: str
    loss: Tensor


class Game:
    """What a variant shows its network, what it counts, and what its critic sees.

    Args:
        config: sizes and shares.
        variant: which.
        device: where images lie.
        draw: gives roaming holes their places.
    """

    def __init__(
        self, config: Config, variant: Variant, device: torch.device, draw: torch.Generator
    ):
        self.config, self.variant, self.draw = config, variant, draw
        self.hole = context.square_hole(drawn_faces.SIDE, *HOLE).to(device)
        self.share = {"adversarial": 0.0, "joint": config.share, "seeing": config.share}.get(
            variant, 1.0
        )

    def holes(self, count: int) -> Bool[Tensor, "count side side"]:
        """Return where this variant's network does not see."""
        if self.variant == "roaming":
            size = self.config.roaming_size
            return context.roaming_holes(count, drawn_faces.SIDE, size, self.draw)
        hole = torch.zeros_like(self.hole) if self.variant == "copying" else self.hole
        return hole.expand(count, -1, -1)

    def weights(self, holes: Bool[Tensor, "count side side"]) -> Float[Tensor, "count side side"]:
        """Return which pixels its loss counts, and how much."""
        if self.variant in ("copying", "everywhere"):
            return torch.ones_like(holes, dtype=torch.float32)
        return context.weights(holes, OVERLAP)

    def seen(
        self, x: Float[Tensor, "count 3 32 32"], image: Float[Tensor, "count 3 32 32"]
    ) -> Float[Tensor, "count 3 side side"]:
        """Return what the critic is shown of an image: the window, or the whole, pasted."""
        if self.variant == "seeing":
            return context.paste(x, image, self.hole)
        return image[..., WINDOW[0], WINDOW[1]]


def fit(
    config: Config, variant: Variant, images: UInt8[Tensor, "faces 3 32 32"], seed: int
) -> Iterator[Progress]:
    """Yield after every move of a training, on the device of the images."""
    torch.manual_seed(seed)  # weights
    shuffle = torch.Generator().manual_seed(seed)
    draw = torch.Generator(images.device).manual_seed(seed)
    game = Game(config, variant, images.device, draw)
    model = ContextEncoder(config.widths, bridge=variant != "islands").to(images.device)
    side = drawn_faces.SIDE if variant == "seeing" else WINDOW[0].stop - WINDOW[0].start
    critic = PatchCritic(config.critic_widths, side=side).to(images.device)
    betas = (0.5, 0.99) if variant in ADVERSARIAL else (0.9, 0.99)
    optimizer = torch.optim.Adam(model.parameters(), config.learning_rate, betas, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.turns)
    critic_optimizer = torch.optim.Adam(critic.parameters(), config.critic_rate, betas, fused=True)

    def loss(batch: Tensor) -> Tensor:
        x = pictures.to_unit(batch)
        holes = game.holes(len(x))
        with mixed_precision(x.device, config.mixed):
            fill = model(context.cut(x, holes)).float()
            fooling = x.new_zeros(len(x))
            if variant in ADVERSARIAL:
                fooling = context.fooling_loss(critic(game.seen(x, fill)).float())
        error = context.reconstruction_loss(x, fill, game.weights(holes))
        return context.joint_loss(error, fooling, game.share).mean()

    def critic_loss(batch: Tensor) -> Tensor:
        x = pictures.to_unit(batch)
        with mixed_precision(x.device, config.mixed):
            with torch.no_grad():
                fill = model(context.cut(x, game.holes(len(x)))).float()
            both = critic(torch.cat([game.seen(x, x), game.seen(x, fill)])).float()
        return context.critic_loss(both[: len(x)], both[len(x) :])

    players = [Player("network", optimizer, loss)]
    if variant in ADVERSARIAL:
        players.insert(0, Player("critic", critic_optimizer, critic_loss))
    batches = Minibatches(images, config.batch_size, shuffle)
    memory = checkpoints.current()
    memory.keep(model=model, critic=critic, optimizer=optimizer, schedule=schedule)
    memory.keep(critic_optimizer=critic_optimizer, draw=draw, batches=batches)
    moves = play(players, batches, memory.turns(config.turns))
    total = config.turns * len(players)
    for step in tqdm(moves, total=total, desc=variant, unit="step"):
        if step.player == "network":
            schedule.step()
        yield Progress(step.turn, model, step.player, step.loss)


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train every variant from the same seed; return weights, curves and scores."""
    train_set, test_set = pictures.load("drawn_faces")
    images = train_set.images.to(device)
    faces = test_set.images[: config.test_faces].to(device)
    tensors: dict[str, Tensor] = {}
    history: dict[str, list[float]] = {}
    metrics = {"test_faces": float(len(faces))} | _references(config)
    for variant in config.variants:
        losses: dict[str, list[Tensor]] = {"network": [], "critic": []}
        with checkpoints.part(variant) as memory:
            memory.keep(losses=losses)
            for now in fit(config, variant, images, seed):
                losses[now.player].append(now.loss)
        model = now.model.eval()
        half_rounded(model)
        metrics |= {f"{variant}_{k}": v for k, v in measure(config, variant, model, faces).items()}
        for player, line in losses.items():
            if line:
                history[f"{variant}_{player}_loss"] = pictures.curve(line)
        tensors |= {f"{variant}.{name}": value for name, value in model.state_dict().items()}
    return Run(
        tensors=tensors,
        metrics=metrics,
        history=history,
        data=pictures.records("drawn_faces", train_set, test_set),
    )


@torch.no_grad()
def fills(
    model: ContextEncoder,
    faces: UInt8[Tensor, "count 3 32 32"],
    hole: Bool[Tensor, "*#count 32 32"] | None = None,
) -> Float[Tensor, "count 3 32 32"]:
    """Return faces in [-1, 1] with the hole (the usual one unless given) filled by a network."""
    x = pictures.to_unit(faces)
    hole = context.square_hole(drawn_faces.SIDE, *HOLE) if hole is None else hole
    hole = hole.to(x.device)
    filled = [
        model(context.cut(part, hole if hole.dim() == 2 else hole[i * 500 : (i + 1) * 500]))
        for i, part in enumerate(x.split(500))
    ]
    return context.paste(x, torch.cat(filled), hole)


@torch.no_grad()
def scores(
    x: Float[Tensor, "count 3 32 32"], filled: Float[Tensor, "count 3 32 32"]
) -> dict[str, float]:
    """Return psnr_db in the hole; and edges, spread and seam, each of which is 1 for data."""
    real, fill = x[INSIDE], filled[INSIDE]
    hole = context.square_hole(drawn_faces.SIDE, *HOLE).to(x.device)
    return {
        "psnr_db": fill_scores.psnr(real, fill).item(),
        "edges": (fill_scores.edge_energy(fill) / fill_scores.edge_energy(real)).item(),
        "spread": (fill_scores.spread(fill) / fill_scores.spread(real)).item(),
        "seam": (fill_scores.seam(filled, hole) / fill_scores.seam(x, hole)).item(),
    }


def measure(
    config: Config, variant: Variant, model: ContextEncoder, faces: UInt8[Tensor, "count 3 32 32"]
) -> dict[str, float]:
    """Return a network's scores on faces with the usual hole."""
    return scores(pictures.to_unit(faces), fills(model, faces))


def redrawn(
    look: drawn_faces.Look, times: int, random: np.random.Generator
) -> UInt8[Tensor, "times faces 3 32 32"]:
    """Draw faces again and again with all that the hole hides chosen anew, the rest as it was."""
    drawings = []
    for _ in range(times):
        new = drawn_faces.looks(len(look.skin), random)
        has = np.concatenate([new.has[:, :3], look.has[:, 3:]], axis=1)
        hidden = {name: getattr(new, name) for name in ("eyes", "apart", "gaze", "mouth")}
        drawings.append(torch.from_numpy(drawn_faces.render(look._replace(has=has, **hidden))))
    return torch.stack(drawings)


def _references(config: Config) -> dict[str, float]:
    """Return the scores of the best fill and of a sampler that knows what is seen.

    Both know everything about a face that the hole does not hide. The mean of ``times`` drawings
    errs by 1 / times of the variance more than the mean itself, which is taken off.
    """
    count, times = min(200, config.test_faces), 32
    random = np.random.default_rng(drawn_faces.SEEDS["test"])
    look = drawn_faces.looks(drawn_faces.COUNTS["test"], random)
    look = drawn_faces.Look(*(part[:count] for part in look))
    x = pictures.to_unit(torch.from_numpy(drawn_faces.render(look)))
    drawn = pictures.to_unit(redrawn(look, times, np.random.default_rng(7)))
    mean = drawn.mean(dim=0)
    found = {f"sampler_{k}": v for k, v in scores(x, drawn[0]).items()}
    found |= {f"best_{k}": v for k, v in scores(x, mean).items()}
    error = (x - mean)[INSIDE].square().mean() / (1 + 1 / times)
    return found | {"best_psnr_db": (10 * torch.log10(4 / error)).item()}


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return ("drawn_faces",)


def models(run: Run) -> dict[Variant, ContextEncoder]:
    """Return every network of a run by its variant, in evaluation mode."""
    config = _config_of(run)
    found: dict[Variant, ContextEncoder] = {}
    for variant in config.variants:
        model = ContextEncoder(config.widths, bridge=variant != "islands")
        model.load_state_dict(run.part(variant))
        found[variant] = model.eval().requires_grad_(False)
    return found


def restore(run: Run) -> ContextEncoder:
    """Return the network that was trained with both losses, in evaluation mode."""
    return models(run)["joint"]


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights on the test faces anew."""
    config = _config_of(run)
    faces = pictures.load("drawn_faces")[1].images[: config.test_faces].to(device)
    metrics = {"test_faces": float(len(faces))} | _references(config)
    for variant, model in models(run).items():
        found = measure(config, variant, model.to(device), faces)
        metrics |= {f"{variant}_{name}": value for name, value in found.items()}
    return metrics


def _config_of(run: Run) -> Config:
    """Return a run's config; a file's JSON holds the tuples as lists."""
    stored = run.provenance["config"]
    tuples = {name: tuple(stored[name]) for name in ("variants", "widths", "critic_widths")}
    return Config(**stored | tuples)
