"""Steps of adversarial games: litgen's against the usual ones, with equal networks and data.

Proof: tests/test_benchmarks.py.

The peer is the step as public collections of PyTorch GANs have it, written out here since they are
no packages: codes from numpy, plain Adam, data and samples shown to the critic one after the
other; in the game of logits the samples that trained the generator are shown to the critic
again, without their graph; in WGAN-GP the critic's loss reaches back through the generator, whose
gradients are thrown away. Both sides compute the same functions from the same weights on the same
batches; litgen's layers do it their way (see by_litgen).

litgen-float32   litgen's step, float32 products configured as recipes do while they stay float32
litgen-shipped   litgen's step as its recipes run it: bfloat16 where the processor has it
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks import harness
from benchmarks.harness import Contender, Options
from litgen.gan import wasserstein
from litgen.gan.activations import PiecewiseLeakyReLU
from litgen.gan.game import Rules, adversaries
from litgen.gan.gradient_penalty import gradient_penalty
from litgen.training import play
from litgen.unet import GrowingConv

__all__ = ["Game", "by_litgen", "contenders", "dense", "raced", "strided", "upsampling"]

LATENT, BATCH = 100, 64
MOVES, WEIGHT = 5, 10.0
Networks = tuple[nn.Module, nn.Module]


@dataclass(frozen=True)
class Game:
    """What is raced.

    Attributes:
        build: makes generator and critic.
        side: height and width of the images.
        penalised: WGAN-GP, five critic moves to one of the generator's; else logits, one to one.
        apart: the critic has batch normalisation.
    """

    build: Callable[[], Networks]
    side: int
    penalised: bool = False
    apart: bool = False


class Reshaped(nn.Module):
    """A view of another shape for each row."""

    def __init__(self, *shape: int):
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        """Return the rows in their new shape."""
        return x.view(len(x), *self.shape)


def dense() -> Networks:
    """Return the collections' multilayer players for 28x28 pixels."""
    layers: list[nn.Module] = [nn.Linear(LATENT, 128), nn.LeakyReLU(0.2)]
    for inputs, outputs in itertools.pairwise([128, 256, 512, 1024]):
        layers += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.LeakyReLU(0.2)]
    generator = nn.Sequential(*layers, nn.Linear(1024, 784), nn.Tanh(), Reshaped(1, 28, 28))
    critic = nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, 512),
        nn.LeakyReLU(0.2),
        nn.Linear(512, 256),
        nn.LeakyReLU(0.2),
        nn.Linear(256, 1),
        Reshaped(),
    )
    return generator, critic


def strided() -> Networks:
    """Return players after DCGAN's paper for 32x32 pixels, by strided convolutions."""
    widths = (128, 64, 32)
    layers: list[nn.Module] = [
        nn.Linear(LATENT, widths[0] * 16),
        Reshaped(widths[0], 4, 4),
        nn.BatchNorm2d(widths[0]),
        nn.ReLU(),
    ]
    for inputs, outputs in itertools.pairwise(widths):
        layers += [
            nn.ConvTranspose2d(inputs, outputs, 4, 2, 1),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        ]
    generator = nn.Sequential(*layers, nn.ConvTranspose2d(widths[-1], 1, 4, 2, 1), nn.Tanh())
    layers = [nn.Conv2d(1, widths[2], 4, 2, 1), nn.LeakyReLU(0.2)]
    for inputs, outputs in itertools.pairwise(widths[::-1]):
        layers += [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]
    critic = nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[0] * 16, 1), Reshaped())
    return generator, critic


def upsampling() -> Networks:
    """Return the collections' convolutional players for 32x32 pixels, by upsampling."""
    layers: list[nn.Module] = [
        nn.Linear(LATENT, 128 * 64),
        Reshaped(128, 8, 8),
        nn.BatchNorm2d(128),
    ]
    for inputs, outputs in ((128, 128), (128, 64)):
        layers += [
            nn.Upsample(scale_factor=2),
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.BatchNorm2d(outputs),
            nn.LeakyReLU(0.2),
        ]
    generator = nn.Sequential(*layers, nn.Conv2d(64, 1, 3, padding=1), nn.Tanh())
    layers = []
    for inputs, outputs in itertools.pairwise([1, 16, 32, 64, 128]):
        layers += [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.LeakyReLU(0.2), nn.Dropout2d(0.25)]
        if inputs > 1:
            layers.append(nn.BatchNorm2d(outputs))
    critic = nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * 4, 1), Reshaped())
    return generator, critic


def by_litgen(networks: Networks) -> Networks:
    """Return the same functions with the same weights, in the layers that litgen computes with.

    A convolution after upsampling is one transposed convolution, LeakyReLU's second derivative is
    not looked for, and images lie in memory with their channels last.
    """
    for network in networks:
        _exchange(network)
        network.to(memory_format=torch.channels_last)
    return networks


def _exchange(network: nn.Module) -> None:
    """Exchange layers in place."""
    before: nn.Module | None = None
    for name, layer in list(network.named_children()):
        if isinstance(layer, nn.LeakyReLU):
            setattr(network, name, PiecewiseLeakyReLU(layer.negative_slope))
        if isinstance(layer, nn.Upsample):
            setattr(network, name, nn.Identity())
        if isinstance(layer, nn.Conv2d) and isinstance(before, nn.Upsample):
            growing = GrowingConv(layer.in_channels, layer.out_channels)
            growing.load_state_dict(layer.state_dict())
            setattr(network, name, growing)
        before = layer


def endless(side: int) -> Iterator[Tensor]:
    """Return the same batches again and again, in [-1, 1]."""
    x = torch.rand(16, BATCH, 1, side, side, generator=torch.Generator().manual_seed(0))
    return itertools.cycle((2 * x - 1).unbind())


def usual_codes() -> Tensor:
    """Return codes as the collections draw them."""
    return torch.from_numpy(np.random.normal(0, 1, (BATCH, LATENT))).float()


def usual_game(game: Game) -> Iterator[Tensor]:
    """Yield after one update of each player."""
    generator, critic = game.build()
    for_g, for_d = (
        torch.optim.Adam(n.parameters(), 2e-4, (0.5, 0.999)) for n in (generator, critic)
    )
    real, fake = torch.ones(BATCH), torch.zeros(BATCH)
    for x in endless(game.side):
        for_g.zero_grad()
        images = generator(usual_codes())
        fooled = binary_cross_entropy_with_logits(critic(images), real)
        fooled.backward()
        for_g.step()
        for_d.zero_grad()
        seen = binary_cross_entropy_with_logits(critic(x), real)
        caught = binary_cross_entropy_with_logits(critic(images.detach()), fake)
        loss = (seen + caught) / 2
        loss.backward()
        for_d.step()
        yield loss


def usual_penalty(critic: nn.Module, x: Tensor, images: Tensor) -> Tensor:
    """Return the penalty as the collections compute it."""
    share = torch.from_numpy(np.random.random((BATCH, 1, 1, 1))).float()
    middle = (share * x + (1 - share) * images).requires_grad_(True)
    values = critic(middle)
    (slope,) = torch.autograd.grad(
        values, middle, torch.ones_like(values), create_graph=True, retain_graph=True
    )
    found: Tensor = ((slope.view(BATCH, -1).norm(2, dim=1) - 1) ** 2).mean()
    return found


def usual_penalised_game(game: Game) -> Iterator[Tensor]:
    """Yield after five updates of the critic and one of the generator."""
    generator, critic = game.build()
    for_g, for_d = (
        torch.optim.Adam(n.parameters(), 2e-4, (0.5, 0.999)) for n in (generator, critic)
    )
    batches = endless(game.side)
    while True:
        for _ in range(MOVES):
            x = next(batches)
            for_d.zero_grad()
            images = generator(usual_codes())
            loss = -critic(x).mean() + critic(images).mean()
            loss = loss + WEIGHT * usual_penalty(critic, x.data, images.data)
            loss.backward()
            for_d.step()
        for_g.zero_grad()
        fooled = -critic(generator(usual_codes())).mean()
        fooled.backward()
        for_g.step()
        yield fooled


def litgen_game(game: Game, mixed: bool) -> Iterator[object]:
    """Yield after each turn of litgen's game."""
    generator, critic = by_litgen(game.build())
    for_d, for_g = (
        torch.optim.Adam(n.parameters(), 2e-4, (0.5, 0.999), fused=True)
        for n in (critic, generator)
    )
    rules = Rules(apart=game.apart, mixed=mixed, thrifty=True)
    if game.penalised:
        rules = Rules(
            wasserstein.critic_loss,
            wasserstein.generator_loss,
            lambda f, x, y: WEIGHT * gradient_penalty(f, x, y, torch.rand(len(x))).mean(),
            critic_moves=MOVES,
            mixed=mixed,
            thrifty=True,
        )
    players = adversaries(
        generator, critic, (for_d, for_g), lambda count: torch.randn(count, LATENT), rules
    )
    steps = play(players, endless(game.side), 10**9)
    while True:
        for _ in range(rules.critic_moves + 1):
            last = next(steps)
        yield last


def contenders(game: Game) -> list[Contender]:
    """Return the usual step and litgen's two, all from one start."""
    found = []
    usual = usual_penalised_game if game.penalised else usual_game
    torch.manual_seed(0)
    found.append(Contender("usual", harness.steps(usual(game))))
    for name, around, mixed in (
        ("litgen-float32", harness.float32, False),
        ("litgen-shipped", harness.as_shipped, True),
    ):
        torch.manual_seed(0)
        found.append(Contender(name, harness.steps(litgen_game(game, mixed)), around))
    return found


def raced(name: str, game: Game, options: Options) -> Iterator[dict[str, Any]]:
    """Yield one record."""
    rates = harness.race(contenders(game), options.rounds, options.seconds)
    moves = MOVES if game.penalised else 1
    yield {
        "name": name,
        **harness.verdict(rates, ["usual"]),
        "parameters": {
            part: sum(p.numel() for p in net.parameters())
            for part, net in zip(("generator", "critic"), game.build(), strict=True)
        },
        "units": f"turns a CPU second, {moves} critic moves each, batches of {BATCH}",
        "rounds": options.rounds,
        "versions": harness.versions(("litgen", "torch", "numpy")),
    }
