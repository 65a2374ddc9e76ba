"""Train a diffusion model on the two moons; sample it by DDIM, measure it as a flow.

Chapter: book/start/one_picture.md.  Proof: tests/recipes/test_diffusion_moons.py.
References: Ho, Jain & Abbeel (2020) for the loss; Song, Meng & Ermon (2021) for the deterministic
sampler; Song et al., "Score-Based Generative Modeling through Stochastic Differential Equations"
(2021) for the likelihood of the deterministic way to noise.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from litgen import checkpoints
from litgen.blocks import MLP
from litgen.diffusion import ddim, ddpm, likelihood
from litgen.diffusion import schedule as schedules
from litgen.diffusion.schedule import Schedule
from litgen.recipes import comparison
from litgen.runs import Run
from litgen.shapes import Float, Int
from litgen.training import Minibatches, Player, half_rounded, play

__all__ = [
    "CPU",
    "GPU",
    "Config",
    "PlaneDenoiser",
    "config_of",
    "data",
    "draw",
    "evaluate",
    "fit",
    "log_prob",
    "restore",
    "sample",
    "schedule_of",
    "train",
]


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        hidden: widths of the network's layers.
        frequencies: of the sines and cosines that tell the network the time.
        steps: T of the cosine schedule.
        turns: updates.
        batch_size: points in a step; each meets two noises.
        learning_rate: of Adam at its highest; it rises for a tenth of the training, then falls.
        sampling_steps: of DDIM.
        encoding_steps: of the way to noise whose Jacobian is the density.
    """

    hidden: tuple[int, ...] = (64, 64, 64)
    frequencies: int = 4
    steps: int = 1_000
    turns: int = 2_200
    batch_size: int = 250
    learning_rate: float = 1e-2
    sampling_steps: int = 50
    encoding_steps: int = 50


CPU = Config()
GPU = Config(
    hidden=(256, 256, 256),
    turns=30_000,
    batch_size=1_000,
    learning_rate=2e-3,
    sampling_steps=250,
    encoding_steps=250,
)


class PlaneDenoiser(nn.Module):
    """A small network that says v, given points of the plane and their times.

    Args:
        config: widths, frequencies and T.
    """

    def __init__(self, config: Config):
        super().__init__()
        self.steps, self.frequencies = config.steps, config.frequencies
        self.net = MLP([2 + 2 * config.frequencies, *config.hidden, 2])

    def forward(
        self, x_t: Float[Tensor, "batch 2"], t: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch 2"]:
        """Return the prediction: the noise's share of x_t minus the data's."""
        turns = torch.arange(1, self.frequencies + 1, device=x_t.device, dtype=x_t.dtype)
        angle = (torch.pi / 2) * (t.to(x_t)[:, None] / self.steps) * turns
        v: Tensor = self.net(torch.cat([x_t, angle.sin(), angle.cos()], dim=1))
        return v


class Progress(NamedTuple):
    """Where a training stands after a step; the loss is detached."""

    turn: int
    model: PlaneDenoiser
    loss: Tensor


def schedule_of(config: Config) -> Schedule:
    """Return the noise schedule of a config."""
    return schedules.cosine(config.steps)


def fit(config: Config, points: Float[Tensor, "count 2"], seed: int) -> Iterator[Progress]:
    """Yield after every step of lowering the denoising error, on the device of the points.

    Times are T u^2 with u uniform: half of them in the first quarter, where the noise is about as
    wide as the moons are thin and the score turns fastest.
    """
    torch.manual_seed(seed)  # weights
    device = points.device
    shuffle, noises = (
        torch.Generator().manual_seed(seed),
        torch.Generator(device).manual_seed(seed),
    )
    model, times = PlaneDenoiser(config).to(device), schedule_of(config)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, config.turns, pct_start=0.1
    )

    def loss(x: Tensor) -> Tensor:
        both = torch.cat([x, x])
        share = torch.rand(len(both), generator=noises, device=device).square()
        t = 1 + (share * config.steps).long().clamp(max=config.steps - 1)
        noise = torch.randn(both.shape, generator=noises, device=device)
        return ddpm.simple_loss(model, both, t, noise, times, "v").mean()

    batches = Minibatches(points, config.batch_size, shuffle)
    memory = checkpoints.current()
    memory.keep(model=model, optimizer=optimizer, rate=rate, noises=noises, batches=batches)
    game = play([Player("denoiser", optimizer, loss)], batches, memory.turns(config.turns))
    for step in tqdm(game, total=config.turns, desc="diffusion", unit="step"):
        rate.step()
        yield Progress(step.turn, model, step.loss)


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train on the shared points; return what every family leaves of them."""
    losses: list[Tensor] = []
    checkpoints.current().keep(losses=losses)
    for now in fit(config, comparison.train_points().to(device), seed):
        losses.append(now.loss)
    model = now.model.eval().requires_grad_(False)
    half_rounded(model)
    curve = torch.tensor_split(torch.stack(losses).cpu(), min(100, len(losses)))
    return comparison.package(
        model.state_dict(),
        lambda count, generator: draw(config, model, count, generator),
        lambda x: log_prob(config, model, x),
        {"train_loss": [part.mean().item() for part in curve]},
    )


def draw(
    config: Config, model: PlaneDenoiser, count: int, generator: torch.Generator
) -> Float[Tensor, "count 2"]:
    """Turn noise into points by deterministic steps of DDIM."""
    noise = torch.randn(count, 2, generator=generator).to(next(model.parameters()))
    times = schedule_of(config)
    *_, x = ddim.trajectory(
        model, noise, times, ddim.times(times, config.sampling_steps), prediction="v"
    )
    return x


def log_prob(
    config: Config, model: PlaneDenoiser, x: Float[Tensor, "count 2"]
) -> Float[Tensor, " count"]:
    """Return log p(x) in nats, by the Jacobian of the way to noise."""
    times = schedule_of(config)
    x = x.to(next(model.parameters()))
    return likelihood.log_prob(model, x, times, ddim.times(times, config.encoding_steps), "v")


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return ("moons",)


def config_of(run: Run) -> Config:
    """Return a run's config; a file's JSON holds the tuple as a list."""
    stored = run.provenance["config"]
    return Config(**stored | {"hidden": tuple(stored["hidden"])})


def restore(run: Run) -> PlaneDenoiser:
    """Return the network of a run, in evaluation mode."""
    model = PlaneDenoiser(config_of(run))
    model.load_state_dict(run.part("model"))
    return model.eval().requires_grad_(False)


def sample(run: Run, count: int, generator: torch.Generator) -> Float[Tensor, "count 2"]:
    """Return points of the plane."""
    return draw(config_of(run), restore(run), count, generator)


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights anew."""
    config, model = config_of(run), restore(run).to(device)
    return comparison.score(
        lambda count, generator: draw(config, model, count, generator),
        lambda x: log_prob(config, model, x),
    ) | {"parameters": sum(p.numel() for p in model.parameters())}
