"""CycleGAN's turn against the usual one, with equal networks, weights and data.

Proof: tests/test_benchmarks.py.

The peer is the step as public collections of PyTorch GANs have it, written out here since they are
no packages: each job (identity, translation, way back) is a pass of its own, all parameters that
a loss reaches get gradients, the critics' from the translators' loss too, which are thrown away;
a critic sees data and samples one after the other; replay buffers clone images one by one; plain
Adam. Both sides compute the same six terms and the same four critics' terms.

litgen-float32   litgen's step, float32 products configured as recipes do while they stay float32
litgen-shipped   litgen's step as its recipes run it: bfloat16 where the processor has it
"""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import harness
from benchmarks.harness import Contender, Options
from litgen.gan import cycle
from litgen.gan.buffer import ImageBuffer
from litgen.gan.patch import PatchCritic
from litgen.gan.residual_translator import ResidualTranslator
from litgen.training import play

__all__ = ["Sizes", "contenders", "litgen_turns", "run", "usual_networks", "usual_turns"]

RATE, BETAS = 2e-4, (0.5, 0.999)


@dataclass(frozen=True)
class Sizes:
    """What is raced: images, networks, and how many images of each domain are in a step."""

    side: int = 64
    batch: int = 1
    width: int = 32
    blocks: int = 6
    critic_width: int = 32
    critic_halvings: int = 3


class UsualBlock(nn.Module):
    """A residual block in the collections' layers."""

    def __init__(self, width: int):
        super().__init__()
        self.block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            nn.InstanceNorm2d(width, affine=True),
            nn.ReLU(inplace=True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            nn.InstanceNorm2d(width, affine=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return x and what the block adds."""
        total: Tensor = x + self.block(x)
        return total


def usual_translator(sizes: Sizes) -> nn.Sequential:
    """Return the collections' translator; instance normalisation has gains, as litgen's has."""
    w = sizes.width
    layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, w, 7)]
    layers += [nn.InstanceNorm2d(w, affine=True), nn.ReLU(inplace=True)]
    for a, b in ((w, 2 * w), (2 * w, 4 * w)):
        layers += [nn.Conv2d(a, b, 3, 2, 1, padding_mode="reflect")]
        layers += [nn.InstanceNorm2d(b, affine=True), nn.ReLU(inplace=True)]
    layers += [UsualBlock(4 * w) for _ in range(sizes.blocks)]
    for a, b in ((4 * w, 2 * w), (2 * w, w)):
        layers += [nn.Upsample(scale_factor=2), nn.Conv2d(a, b, 3, padding=1)]
        layers += [nn.InstanceNorm2d(b, affine=True), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(w, 3, 7), nn.Tanh())


def litgen_networks(sizes: Sizes) -> tuple[cycle.Translators, nn.ModuleDict]:
    """Return litgen's networks."""
    made = [ResidualTranslator(3, sizes.width, 2, sizes.blocks) for _ in range(2)]
    critics = {
        name: PatchCritic(3, sizes.critic_width, sizes.critic_halvings, norm="instance")
        for name in "xy"
    }
    return cycle.Translators(*made), nn.ModuleDict(critics)


def usual_networks(
    sizes: Sizes, ours: tuple[cycle.Translators, nn.ModuleDict]
) -> tuple[list[nn.Module], nn.ModuleDict]:
    """Return the usual networks with litgen's weights: the same functions.

    The usual convolutions have a bias before a normalisation, which takes it out again; it is 0.
    """
    translators: list[nn.Module] = []
    for source in (ours[0].there, ours[0].back):
        target = usual_translator(sizes)
        given = [m for m in source.modules() if isinstance(m, nn.Conv2d | nn.GroupNorm)]
        taken = [m for m in target.modules() if isinstance(m, nn.Conv2d | nn.InstanceNorm2d)]
        for a, b in zip(given, taken, strict=True):
            assert b.weight is not None
            b.weight.data.copy_(a.weight.data)
            if b.bias is not None:
                b.bias.data.zero_() if a.bias is None else b.bias.data.copy_(a.bias.data)
        translators.append(target)
    critics = nn.ModuleDict(
        {
            name: PatchCritic(3, sizes.critic_width, sizes.critic_halvings, norm="instance")
            for name in "xy"
        }
    )
    critics.load_state_dict(ours[1].state_dict())
    return translators, critics


class UsualBuffer:
    """The collections' replay buffer."""

    def __init__(self, most: int = 50):
        self.most, self.data = most, list[Tensor]()

    def push_and_pop(self, images: Tensor) -> Tensor:
        """Store and hand on, image by image."""
        shown = []
        for image in images.data:
            element = image.unsqueeze(0)
            if len(self.data) < self.most:
                self.data.append(element)
                shown.append(element)
            elif random.uniform(0, 1) > 0.5:
                i = random.randint(0, self.most - 1)
                shown.append(self.data[i].clone())
                self.data[i] = element
            else:
                shown.append(element)
        return torch.cat(shown)


def endless(sizes: Sizes) -> Iterator[Tensor]:
    """Return the same batches again and again, in [-1, 1]: (2, batch, 3, side, side)."""
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(16, 2, sizes.batch, 3, sizes.side, sizes.side, generator=draw)
    return itertools.cycle((2 * x - 1).unbind())


def usual_turns(
    sizes: Sizes, networks: tuple[list[nn.Module], nn.ModuleDict], batches: Iterator[Tensor]
) -> Iterator[Tensor]:
    """Yield the translators' loss after one update of all networks."""
    (there, back), critics = networks
    squared, absolute = nn.MSELoss(), nn.L1Loss()
    for_g = torch.optim.Adam(itertools.chain(there.parameters(), back.parameters()), RATE, BETAS)
    for_d = {name: torch.optim.Adam(critics[name].parameters(), RATE, BETAS) for name in "xy"}
    buffers = {name: UsualBuffer() for name in "xy"}
    for x, y in batches:
        with torch.no_grad():
            places = critics["x"](x).shape
        valid, false = torch.ones(places), torch.zeros(places)
        for_g.zero_grad()
        identity = (absolute(back(x), x) + absolute(there(y), y)) / 2
        fake_y, fake_x = there(x), back(y)
        fooled = (squared(critics["y"](fake_y), valid) + squared(critics["x"](fake_x), valid)) / 2
        cycles = (absolute(back(fake_y), x) + absolute(there(fake_x), y)) / 2
        loss = fooled + 10.0 * cycles + 5.0 * identity
        loss.backward()
        for_g.step()
        for name, real, fake in (("x", x, fake_x), ("y", y, fake_y)):
            for_d[name].zero_grad()
            seen = squared(critics[name](real), valid)
            shown = buffers[name].push_and_pop(fake)
            caught = squared(critics[name](shown.detach()), false)
            ((seen + caught) / 2).backward()
            for_d[name].step()
        yield loss


def litgen_turns(
    networks: tuple[cycle.Translators, nn.ModuleDict], batches: Iterator[Tensor], mixed: bool
) -> Iterator[Tensor]:
    """Yield the translators' loss after each turn of litgen's game."""
    optimizers = tuple(torch.optim.Adam(n.parameters(), RATE, BETAS, fused=True) for n in networks)
    buffers = tuple(ImageBuffer(50, torch.Generator().manual_seed(i)) for i in range(2))
    movers = cycle.players(
        networks[0],
        networks[1],
        (optimizers[0], optimizers[1]),
        (buffers[0], buffers[1]),
        cycle.Objective(),
        mixed=mixed,
    )
    steps = play(movers, batches, 10**9)
    while True:
        loss = next(steps).loss
        next(steps)
        yield loss


def contenders(sizes: Sizes) -> list[Contender]:
    """Return the usual step and litgen's two, all from one start."""
    torch.manual_seed(0)
    start = litgen_networks(sizes)
    usual = usual_turns(sizes, usual_networks(sizes, start), endless(sizes))
    found = [Contender("usual", harness.steps(usual))]
    for name, around, mixed in (
        ("litgen-float32", harness.float32, False),
        ("litgen-shipped", harness.as_shipped, True),
    ):
        networks = litgen_networks(sizes)
        for net, first in zip(networks, start, strict=True):
            net.load_state_dict(first.state_dict())
        turns = litgen_turns(networks, endless(sizes), mixed)
        found.append(Contender(name, harness.steps(turns), around))
    return found


def run(options: Options) -> Iterator[dict[str, Any]]:
    """Yield the result for single images, as the paper has it, and for batches of eight."""
    for sizes in (Sizes(), Sizes(side=32, batch=8, blocks=3)):
        rates = harness.race(contenders(sizes), options.rounds, options.seconds)
        networks = litgen_networks(sizes)
        yield {
            "name": "cyclegan-step",
            "batch": sizes.batch,
            "side": sizes.side,
            **harness.verdict(rates, ["usual"]),
            "parameters": {
                part: sum(p.numel() for p in net.parameters())
                for part, net in zip(("translators", "critics"), networks, strict=True)
            },
            "units": "turns a CPU second: one move of both translators, one of both critics",
            "rounds": options.rounds,
            "versions": harness.versions(("litgen", "torch")),
        }
