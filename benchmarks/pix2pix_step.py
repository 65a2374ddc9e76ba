"""Steps of pix2pix: litgen's against the usual one, with equal networks and data.

Proof: tests/test_benchmarks.py.

The peer is the step as public collections of PyTorch GANs have it, written out here since they are
no packages: plain Adam; the translator's loss reaches back through the critic's weights, whose
gradients are thrown away; the critic sees targets and translations one after the other. Both sides
start from the same weights and see the same pairs. The networks are those of the paper, narrowed:
a U-Net of 4x4 convolutions with dropout, and a critic of 70x70 patches, on 64x64 pixels. With
instance normalisation, as the collections have it, the critic may see both in one batch; with
batch normalisation it may not.

litgen-float32   litgen's step, float32 products configured as recipes do while they stay float32
litgen-shipped   litgen's step as its recipes run it: bfloat16 where the processor has it
"""

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss

from benchmarks import harness
from benchmarks.harness import Contender, Options
from litgen.gan.patch import Norm, PatchCritic
from litgen.gan.pix2pix import Terms, players
from litgen.gan.translator import Translator
from litgen.training import play

__all__ = ["build", "contenders", "run"]

SIDE, BATCH, WEIGHT = 64, 4, 100.0
WIDTHS, CRITIC_WIDTH = (32, 64, 128, 128), 32


def build(norm: Norm) -> tuple[Translator, PatchCritic]:
    """Return both players."""
    translator = Translator(3, 3, WIDTHS, norm=norm)
    return translator, PatchCritic(6, CRITIC_WIDTH, 3, norm)


def endless() -> Iterator[Tensor]:
    """Return the same batches of pairs again and again, in [-1, 1]; six channels, three each."""
    shape = 8, BATCH, 6, SIDE, SIDE
    x = 2 * torch.rand(shape, generator=torch.Generator().manual_seed(0)) - 1
    return itertools.cycle(x.unbind())


def usual(norm: Norm) -> Iterator[Tensor]:
    """Yield after one update of each player."""
    translator, critic = build(norm)
    for_g, for_d = (
        torch.optim.Adam(n.parameters(), 2e-4, (0.5, 0.999)) for n in (translator, critic)
    )
    for batch in endless():
        condition, target = batch.chunk(2, dim=1)
        for_g.zero_grad()
        image = translator(condition)
        logits = critic(image, condition)
        real, fake = torch.ones_like(logits), torch.zeros_like(logits)
        fooled = binary_cross_entropy_with_logits(logits, real)
        (fooled + WEIGHT * l1_loss(image, target)).backward()
        for_g.step()
        for_d.zero_grad()
        seen = binary_cross_entropy_with_logits(critic(target, condition), real)
        caught = binary_cross_entropy_with_logits(critic(image.detach(), condition), fake)
        loss = (seen + caught) / 2
        loss.backward()
        for_d.step()
        yield loss


def litgen(norm: Norm, mixed: bool) -> Iterator[object]:
    """Yield after each turn of litgen's game."""
    translator, critic = build(norm)
    for network in (translator, critic):
        network.to(memory_format=torch.channels_last)
    for_g, for_d = (
        torch.optim.Adam(n.parameters(), 2e-4, (0.5, 0.999), fused=True)
        for n in (translator, critic)
    )

    def load(batch: Tensor) -> tuple[Tensor, Tensor]:
        halves = (h.to(memory_format=torch.channels_last) for h in batch.chunk(2, dim=1))
        first, second = halves
        return first, second

    terms = Terms(WEIGHT, mixed=mixed)
    game = players(translator, critic, (for_g, for_d), terms, load, apart=norm == "batch")
    steps = play(game, endless(), 10**9)
    while True:
        next(steps)
        yield next(steps)


def contenders(norm: Norm) -> list[Contender]:
    """Return the usual step and litgen's two, all from one start."""
    torch.manual_seed(0)
    found = [Contender("usual", harness.steps(usual(norm)))]
    for name, around, mixed in (
        ("litgen-float32", harness.float32, False),
        ("litgen-shipped", harness.as_shipped, True),
    ):
        torch.manual_seed(0)
        found.append(Contender(name, harness.steps(litgen(norm, mixed)), around))
    return found


def run(options: Options) -> Iterator[dict[str, Any]]:
    """Yield one record for each normalisation."""
    norms: tuple[Norm, ...] = ("instance", "batch")
    for norm in norms:
        rates = harness.race(contenders(norm), options.rounds, options.seconds)
        yield {
            "name": "pix2pix-step",
            "norm": norm,
            **harness.verdict(rates, ["usual"]),
            "parameters": {
                part: sum(p.numel() for p in net.parameters())
                for part, net in zip(("translator", "critic"), build(norm), strict=True)
            },
            "units": f"turns a CPU second, one move each, batches of {BATCH}",
            "rounds": options.rounds,
            "versions": harness.versions(("litgen", "torch")),
        }
