"""Train many small beta-VAEs side by side on moving ellipses, and score how they part the factors.

Chapter: book/vae/beta.md.  Proof: tests/recipes/test_vae_shapes.py.
References: Higgins et al. (2017); Locatello et al. (2019), on seeds that matter more than methods.

Only three factors vary (size, x, y), finely enough to be continuous, so that a score of three
latents against three factors means something. All models are one stack of matrices: a step costs
one product for each layer, whatever their number.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from litgen import checkpoints, gaussian
from litgen.data import ellipses
from litgen.evaluation import disentanglement
from litgen.recipes.pictures import one_thread
from litgen.recipes.vae.digits import binarize
from litgen.runs import Run
from litgen.shapes import Float, Int, UInt8
from litgen.training import Player, half_rounded, play
from litgen.vae import surgery
from litgen.vae.beta import rate_by_dimension
from litgen.vae.likelihoods import bernoulli

__all__ = ["CPU", "GPU", "Config", "Price", "StackedVAE", "data", "evaluate", "fit", "measure"]
__all__ += ["moving_ellipses", "records", "restore", "train"]

Price = Callable[[int, Tensor, Tensor], Tensor]
"""From turn, means and log-variances (models, batch, latent) to nats, one number a model."""


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        betas: weights of the KL; each is trained ``repeats`` times.
        repeats: models for each weight: other starts, other batches, other noise.
        hidden: widths of an encoder's layers; the decoder's are the same, reversed.
        latent: dimensions of z.
        steps: updates.
        batch_size: images in a step, of each model.
        learning_rate: of Adam at the start; it falls to zero along half a cosine.
    """

    betas: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)
    repeats: int = 5
    hidden: tuple[int, ...] = (64, 32)
    latent: int = 6
    steps: int = 1_600
    batch_size: int = 32
    learning_rate: float = 4e-3

    @property
    def each(self) -> tuple[float, ...]:
        """The weight of every model of the stack."""
        return tuple(beta for beta in self.betas for _ in range(self.repeats))


CPU = Config()
GPU = Config(
    betas=(1.0, 2.0, 3.0, 4.0, 6.0, 8.0),
    repeats=50,
    hidden=(256, 128),
    latent=10,
    steps=20_000,
    batch_size=64,
    learning_rate=1e-3,
)


class Stack(nn.Module):
    """Fully connected layers of many models at once, with ReLU between them."""

    def __init__(self, sizes: tuple[int, ...], models: int):
        super().__init__()
        pairs = list(itertools.pairwise(sizes))
        self.weights = nn.ParameterList(
            [nn.Parameter(_uniform(models, a, b, fan=a)) for a, b in pairs]
        )
        self.biases = nn.ParameterList(
            [nn.Parameter(_uniform(models, 1, b, fan=a)) for a, b in pairs]
        )

    def forward(self, x: Float[Tensor, "models batch inputs"]) -> Float[Tensor, "models batch _"]:
        """Return each model's outputs for its own batch."""
        last = len(self.weights) - 1
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x, weight)
            x = x if i == last else x.relu()
        return x


def _uniform(*shape: int, fan: int) -> Tensor:
    """Return a start as torch's linear layers have it."""
    return (2 * torch.rand(shape) - 1) / math.sqrt(fan)


class StackedVAE(nn.Module):
    """Encoders and decoders of many models.

    Args:
        config: sizes.
        models: how many.
        causal: let each pixel's logit also depend, linearly, on the pixels before it in reading
            order: a decoder that can do much without a code.
    """

    def __init__(self, config: Config, models: int, causal: bool = False):
        super().__init__()
        pixels = ellipses.SIDE**2
        self.encoder = Stack((pixels, *config.hidden, 2 * config.latent), models)
        self.decoder = Stack((config.latent, *config.hidden[::-1], pixels), models)
        self.before = nn.Parameter(torch.zeros(models, pixels, pixels)) if causal else None

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (mean, log_var), each (models, batch, latent)."""
        mean, log_var = self.encoder(x).chunk(2, dim=-1)
        return mean, log_var

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """Return log p(x|z) in nats, (models, batch)."""
        logits = self.decoder(z)
        if self.before is not None:
            logits = logits + x @ self.before.triu(diagonal=1)
        return bernoulli(x, logits)


class Progress(NamedTuple):
    """Where a training stands after a step; the loss, the sum over models, is detached."""

    turn: int
    model: StackedVAE
    loss: Tensor


def moving_ellipses() -> tuple[UInt8[Tensor, "images pixels"], Int[Tensor, "images 3"]]:
    """Return ellipses of 4 sizes at 16x16 places as rows of pixels, and their factors."""
    found = ellipses.load()
    return found.images.flatten(1), found.factors


def fit(
    config: Config,
    pixels: UInt8[Tensor, "images pixels"],
    seed: int,
    price: Price | None = None,
    models: int | None = None,
    causal: bool = False,
) -> Iterator[Progress]:
    """Yield after every step of a training of all models, on the device where the pixels lie.

    Args:
        config: sizes, pace, and the weights of the KL.
        pixels: grey values 0..255, drawn black or white anew in every step.
        seed: of weights, batches and noise.
        price: of the codes, for each model; beta times the mean KL unless given.
        models: how many, where a price is given.
        causal: as in `StackedVAE`.
    """
    torch.manual_seed(seed)  # weights
    device = pixels.device
    draw = torch.Generator(device).manual_seed(seed)
    count = len(config.each) if models is None else models
    model = StackedVAE(config, count, causal).to(device)
    betas = torch.tensor(config.each, device=device)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=config.steps)
    turn = [0]

    def weighted(_: int, mean: Tensor, log_var: Tensor) -> Tensor:
        return betas * gaussian.kl_to_standard(mean, log_var).mean(dim=1)

    def loss(chosen: Tensor) -> Tensor:
        x = binarize(pixels[chosen].flatten(0, 1), draw).view(count, config.batch_size, -1)
        mean, log_var = model.encode(x)
        noise = torch.randn(mean.shape, generator=draw, device=device)
        z = gaussian.reparameterize(mean, log_var, noise)
        paid = (price or weighted)(turn[0], mean, log_var)
        return (paid - model.log_likelihood(x, z).mean(dim=1)).sum()

    shape = (count, config.batch_size)
    batches = iter(lambda: torch.randint(len(pixels), shape, generator=draw, device=device), None)
    memory = checkpoints.current()
    memory.keep(model=model, optimizer=optimizer, schedule=schedule, draw=draw, turn=turn)
    game = play([Player("stack", optimizer, loss)], batches, memory.turns(config.steps))
    for step in tqdm(game, total=config.steps, desc="shapes", unit="step"):
        schedule.step()
        turn[0] += 1
        yield Progress(step.turn, model, step.loss)


@torch.no_grad()
def measure(
    model: StackedVAE, pixels: UInt8[Tensor, "images pixels"], levels: Int[Tensor, "images 3"]
) -> dict[str, Float[Tensor, " models"]]:
    """Return, for each model, rate, distortion, the rate's three parts and both scores.

    Codes are those of all images, drawn black and white once; nats, except for the scores.
    """
    draw = torch.Generator(pixels.device).manual_seed(0)
    x = binarize(pixels, draw)
    models = model.encoder.weights[0].shape[0]
    mean, log_var = model.encode(x.expand(models, *x.shape))
    noise = torch.randn(mean.shape, generator=draw, device=x.device)
    z = gaussian.reparameterize(mean, log_var, noise)
    distortion = -model.log_likelihood(x.expand(models, *x.shape), z).mean(dim=1)
    entropy = disentanglement.entropies(levels)
    weights = surgery.exhaustive_log_weights(len(x))
    rows = []
    for m, v, e in zip(mean.cpu(), log_var.cpu(), noise.cpu(), strict=True):
        parts = surgery.surgery(m, v, e, weights)
        informed = disentanglement.information(m, v, levels)
        gap = disentanglement.information_gap(informed, entropy).mean()
        votes = disentanglement.vote_score(m, levels, torch.Generator().manual_seed(0))
        active = (rate_by_dimension(m, v).mean(dim=0) > 0.1).sum()
        rows.append(torch.stack([*parts, gap, torch.tensor(votes), active]).float())
    names = (*surgery.Surgery._fields, "mig", "votes", "active")
    found = dict(zip(names, torch.stack(rows, dim=1), strict=True))
    rate = gaussian.kl_to_standard(mean, log_var).mean(dim=1).cpu()
    return {"rate": rate, "distortion": distortion.cpu(), **found}


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train all models; return the first ones' weights, and what every model measures."""
    pixels, levels = moving_ellipses()
    losses: list[Tensor] = []
    checkpoints.current().keep(losses=losses)
    with one_thread(device):
        for now in fit(config, pixels.to(device), seed):
            losses.append(now.loss)
        half_rounded(now.model)
        found = measure(now.model, pixels.to(device), levels)
    curve = torch.stack(losses).cpu().tensor_split(min(100, len(losses)))
    tensors = {f"measured.{name}": values for name, values in found.items()}
    tensors["measured.beta"] = torch.tensor(config.each)
    kept = _kept(config)
    tensors |= {f"model.{name}": value[kept] for name, value in now.model.state_dict().items()}
    tensors["model.chosen"] = kept
    mean = {
        f"{name}_beta_{beta:g}": found[name][tensors["measured.beta"] == beta].mean().item()
        for name in ("rate", "distortion", "mig", "votes")
        for beta in config.betas
    }
    return Run(
        tensors=tensors,
        metrics=mean,
        history={"train_loss_nats": [part.mean().item() / len(config.each) for part in curve]},
        data=records(),
    )


def _kept(config: Config) -> Tensor:
    """Return which models' weights are kept: all, up to 30, as many of each weight."""
    each = min(config.repeats, max(1, 30 // len(config.betas)))
    return torch.tensor(
        [b * config.repeats + i for b in range(len(config.betas)) for i in range(each)]
    )


def records() -> list[dict[str, Any]]:
    """Return where the images came from, as runs keep it."""
    return [dataclasses.asdict(ellipses.load().record) | {"name": "ellipses", "split": "train"}]


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return ("ellipses",)


def restore(run: Run) -> StackedVAE:
    """Return the models whose weights the run keeps, in evaluation mode."""
    stored = dict(run.provenance["config"])
    config = Config(
        **stored | {"betas": tuple(stored["betas"]), "hidden": tuple(stored["hidden"])}
    )
    state = run.part("model")
    model = StackedVAE(config, len(state.pop("chosen")))
    model.load_state_dict(state)
    return model.eval().requires_grad_(False)


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure the kept models anew: the means over all of them."""
    pixels, levels = moving_ellipses()
    found = measure(restore(run).to(device), pixels.to(device), levels)
    return {name: values.mean().item() for name, values in found.items()}
