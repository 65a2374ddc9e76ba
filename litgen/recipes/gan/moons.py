"""Let a generator and a critic play on the two moons, and put the generator into the comparison.

Chapter: book/start/one_picture.md.  Proof: tests/recipes/test_gan_moons.py.
Reference: Goodfellow et al., "Generative Adversarial Nets" (2014).

What samples is the moving average of the generator's weights: the game circles around its end. A
generator has no density that could be evaluated, so the run has none.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from litgen import checkpoints
from litgen.blocks import MLP
from litgen.gan import losses
from litgen.gan.game import Rules, adversaries
from litgen.recipes import comparison, pictures
from litgen.runs import Run
from litgen.shapes import Float
from litgen.training import Minibatches, half_rounded, play

__all__ = [
    "CPU",
    "GPU",
    "Config",
    "MoonGAN",
    "data",
    "draw",
    "evaluate",
    "fit",
    "restore",
    "sample",
    "train",
]


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        hidden: widths of the generator's layers.
        critic_hidden: widths of the critic's, which has to be the better of the two.
        latent: dimensions of z.
        turns: updates of each player.
        batch_size: points in a step, and samples.
        learning_rate: of both Adams at the start; it falls to zero along half a cosine.
        critic_rate: the critic's learning rate over the generator's.
        momentum: of Adam's average of gradients; less than usual, since the game turns.
        average: decay of the moving average of the generator's weights.
    """

    hidden: tuple[int, ...] = (64, 64)
    critic_hidden: tuple[int, ...] = (96, 96)
    latent: int = 2
    turns: int = 1_500
    batch_size: int = 250
    learning_rate: float = 1e-3
    critic_rate: float = 2.0
    momentum: float = 0.5
    average: float = 0.998


CPU = Config()
GPU = Config(
    hidden=(256, 256, 256),
    critic_hidden=(256, 256, 256),
    turns=40_000,
    batch_size=1_000,
    learning_rate=2e-4,
)


class MoonGAN(nn.Module):
    """The two players: ``generator`` from codes to points, ``critic`` from points to logits."""

    def __init__(self, config: Config):
        super().__init__()
        self.latent = config.latent
        self.generator = MLP([config.latent, *config.hidden, 2])
        self.critic = MLP([2, *config.critic_hidden, 1], nn.LeakyReLU)


class Progress(NamedTuple):
    """Where a game stands after a turn; the generator is the averaged one, losses are detached."""

    turn: int
    generator: nn.Module
    model: MoonGAN
    critic_loss: Tensor
    generator_loss: Tensor


def fit(
    config: Config,
    points: Float[Tensor, "count 2"],
    seed: int,
    generator_loss: Callable[[Tensor], Tensor] = losses.generator_loss,
) -> Iterator[Progress]:
    """Yield after every turn of the game, on the device of the points.

    Args:
        config: the players and their pace.
        points: the data.
        seed: of weights, order of the data, and codes.
        generator_loss: of the logits of samples; the saturating one shows why it is not used.
    """
    torch.manual_seed(seed)  # weights
    device = points.device
    shuffle, codes = torch.Generator().manual_seed(seed), torch.Generator(device).manual_seed(seed)
    model = MoonGAN(config).to(device)
    averaged = AveragedModel(model.generator, multi_avg_fn=get_ema_multi_avg_fn(config.average))
    rates = (config.learning_rate * config.critic_rate, config.learning_rate)
    optimizers = [
        torch.optim.Adam(net.parameters(), lr=rate, betas=(config.momentum, 0.99), fused=True)
        for net, rate in zip((model.critic, model.generator), rates, strict=True)
    ]
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(o, config.turns) for o in optimizers]

    def codes_for(count: int) -> Tensor:
        return torch.randn(count, config.latent, generator=codes, device=device)

    players = adversaries(
        model.generator,
        model.critic,
        (optimizers[0], optimizers[1]),
        codes_for,
        Rules(generator_loss=generator_loss),
    )
    batches = Minibatches(points, config.batch_size, shuffle)
    memory = checkpoints.current()
    memory.keep(model=model, averaged=averaged, codes=codes, batches=batches)
    memory.keep(optimizers=dict(enumerate(optimizers)), schedules=dict(enumerate(schedules)))
    game = play(players, batches, memory.turns(config.turns))
    for step in tqdm(game, total=2 * config.turns, desc="gan", unit="step"):
        if step.player == "critic":
            last = step.loss
            continue
        for schedule in schedules:
            schedule.step()
        averaged.update_parameters(model.generator)
        yield Progress(step.turn, averaged.module, model, last, step.loss)


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Play on the shared points; return what every family leaves of them, without a density."""
    curves: dict[str, list[Tensor]] = {"critic_loss_nats": [], "generator_loss_nats": []}
    checkpoints.current().keep(curves=curves)
    for now in fit(config, comparison.train_points().to(device), seed):
        curves["critic_loss_nats"].append(now.critic_loss)
        curves["generator_loss_nats"].append(now.generator_loss)
    model = now.model
    model.generator.load_state_dict(now.generator.state_dict())
    model.eval().requires_grad_(False)
    half_rounded(model)
    return comparison.package(
        model.state_dict(),
        lambda count, generator: draw(model, count, generator),
        history={name: pictures.curve(values) for name, values in curves.items()},
    )


def draw(model: MoonGAN, count: int, generator: torch.Generator) -> Float[Tensor, "count 2"]:
    """Turn codes into points."""
    z = torch.randn(count, model.latent, generator=generator).to(next(model.parameters()))
    points: Tensor = model.generator(z)
    return points


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return ("moons",)


def restore(run: Run) -> MoonGAN:
    """Return both players of a run, in evaluation mode."""
    stored = run.provenance["config"]
    widths = {name: tuple(stored[name]) for name in ("hidden", "critic_hidden")}
    model = MoonGAN(Config(**stored | widths))
    model.load_state_dict(run.part("model"))
    return model.eval().requires_grad_(False)


def sample(run: Run, count: int, generator: torch.Generator) -> Float[Tensor, "count 2"]:
    """Return points of the plane."""
    return draw(restore(run), count, generator)


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights anew."""
    model = restore(run).to(device)
    return comparison.score(lambda count, generator: draw(model, count, generator)) | {
        "parameters": sum(p.numel() for p in model.parameters())
    }
