"""Train one-layer autoencoders on digits of which more and more pixels are put out.

Chapter: book/autoencoders/denoising.md.  Proof: tests/recipes/test_denoising.py.
Reference: Vincent, Larochelle, Bengio & Manzagol, "Extracting and Composing Robust Features with
Denoising Autoencoders" (2008), section 2.3 and figure 3.

Their layer: logistic units, tied weights, cross-entropy. What the features are worth is measured
by a linear classifier on top of them, which has a closed form: ridge regression on the labels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from litgen import checkpoints
from litgen.autoencoders.denoising import masked
from litgen.autoencoders.denoising_images import TiedAutoencoder
from litgen.data.sources import ImageSet
from litgen.recipes import pictures
from litgen.runs import Run
from litgen.shapes import Float, UInt8
from litgen.training import Minibatches, Player, half_rounded, play

__all__ = ["CPU", "GPU", "Config", "data", "evaluate", "fit", "models", "restore", "train"]


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        data: mnist or fashion_mnist.
        shares: of pixels that are set to zero; one network is trained for each.
        hidden: units.
        steps: updates of each network.
        batch_size: images in a step.
        learning_rate: of Adam at the start; it falls to zero along half a cosine.
        labelled: training images whose labels the linear classifier sees.
    """

    data: Literal["mnist", "fashion_mnist"] = "mnist"
    shares: tuple[float, ...] = (0.0, 0.25, 0.5)
    hidden: int = 256
    steps: int = 700
    batch_size: int = 50
    learning_rate: float = 2e-2
    labelled: int = 10_000


CPU = Config()
GPU = Config(
    shares=(0.0, 0.1, 0.25, 0.5),
    hidden=500,
    steps=30_000,
    batch_size=100,
    learning_rate=3e-3,
    labelled=60_000,
)


class Progress(NamedTuple):
    """Where a training stands after a step; the loss is detached."""

    turn: int
    model: TiedAutoencoder
    loss: Tensor


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train a network for each share, from the same weights; return them and their errors."""
    train_set, test_set = pictures.load(config.data)
    pixels = train_set.images.flatten(1).to(device)
    tensors = {"examples.x": test_set.images[:1000].flatten(1)}
    metrics: dict[str, float] = {}
    history = {}
    for share in config.shares:
        losses: list[Tensor] = []
        with checkpoints.part(f"share{share}") as memory, pictures.one_thread(device):
            memory.keep(losses=losses)
            for now in fit(config, share, pixels, seed):
                losses.append(now.loss)
        half_rounded(now.model)
        metrics |= {
            f"{name}_{_key(share)}": error
            for name, error in probe(config, now.model, train_set, test_set).items()
        }
        history[f"loss_nats_{_key(share)}"] = pictures.curve(losses)
        state = now.model.state_dict()
        tensors |= {f"{_key(share)}.{name}": value for name, value in state.items()}
    return Run(
        tensors=tensors,
        metrics=metrics | {"test_images": float(len(test_set.images))},
        history=history,
        data=pictures.records(config.data, train_set, test_set),
    )


def fit(
    config: Config, share: float, pixels: UInt8[Tensor, "images pixels"], seed: int
) -> Iterator[Progress]:
    """Yield after every step of a training, on the device of the images; fresh masks each time."""
    shuffle = torch.Generator().manual_seed(seed)
    draw = torch.Generator(pixels.device).manual_seed(seed)
    weights = torch.Generator().manual_seed(seed)
    model = TiedAutoencoder(pixels.shape[1], config.hidden, weights).to(pixels.device)
    optimizer = torch.optim.Adam(model.parameters(), config.learning_rate, fused=True)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=config.steps)

    def loss(batch: Tensor) -> Tensor:
        x = batch.float() / 255
        y = masked(x, torch.rand(x.shape, generator=draw, device=x.device), share)
        summed = F.binary_cross_entropy_with_logits(model(y), x, reduction="sum")
        return summed / len(x)

    batches = Minibatches(pixels, config.batch_size, shuffle)
    memory = checkpoints.current()
    memory.keep(model=model, optimizer=optimizer, rate=rate, draw=draw, batches=batches)
    game = play([Player("autoencoder", optimizer, loss)], batches, memory.turns(config.steps))
    for step in tqdm(game, total=config.steps, desc=f"{share:.0%} put out", unit="step"):
        rate.step()
        yield Progress(step.turn, model, step.loss)


@torch.no_grad()
def probe(
    config: Config, model: TiedAutoencoder, train_set: ImageSet, test_set: ImageSet
) -> dict[str, float]:
    """Return the percentage of test images that a linear classifier on the features gets wrong.

    Ridge regression of one-hot labels on clean images: (H'H + n 1e-4 I)^-1 H'Y. Keys:
    test_error_percent, and half_seen_error_percent where half of the test pixels are put out.
    """
    device = model.weight.device
    hidden = _with_one(model, _unit(train_set.images[: config.labelled], device))
    target = F.one_hot(train_set.labels[: config.labelled].to(device), 10).double()
    ridge = 1e-4 * len(hidden) * torch.eye(hidden.shape[1], device=device, dtype=torch.float64)
    weights = torch.linalg.solve(hidden.T @ hidden + ridge, hidden.T @ target)
    images, labels = _unit(test_set.images, device), test_set.labels.to(device)
    uniform = torch.rand(images.shape, generator=torch.Generator().manual_seed(1)).to(device)
    seen = {"test": images, "half_seen": masked(images, uniform, 0.5)}
    wrong = {k: (_with_one(model, x) @ weights).argmax(dim=1) != labels for k, x in seen.items()}
    return {f"{k}_error_percent": 100 * float(w.double().mean()) for k, w in wrong.items()}


def _unit(images: Tensor, device: torch.device) -> Float[Tensor, "images pixels"]:
    return images.flatten(1).to(device).float() / 255


def _with_one(model: TiedAutoencoder, x: Tensor) -> Float[Tensor, "images features"]:
    return F.pad(model.features(x), (0, 1), value=1.0).double()


def _key(share: float) -> str:
    return f"put_out_{round(100 * share)}"


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return (config.data,)


def models(run: Run) -> dict[float, TiedAutoencoder]:
    """Return every network of a run by its share, in evaluation mode."""
    found = {}
    for share in run.provenance["config"]["shares"]:
        state = run.part(_key(share))
        hidden, pixels = state["weight"].shape
        model = TiedAutoencoder(pixels, hidden, torch.Generator())
        model.load_state_dict(state)
        found[share] = model.eval().requires_grad_(False)
    return found


def restore(run: Run) -> TiedAutoencoder:
    """Return the network that was trained with the largest share."""
    found = models(run)
    return found[max(found)]


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure the features of a run's networks anew."""
    stored = run.provenance["config"]
    config = Config(**stored | {"shares": tuple(stored["shares"])})
    train_set, test_set = pictures.load(config.data)
    errors = {
        f"{name}_{_key(share)}": error
        for share, model in models(run).items()
        for name, error in probe(config, model.to(device), train_set, test_set).items()
    }
    return errors | {"test_images": float(len(test_set.images))}
