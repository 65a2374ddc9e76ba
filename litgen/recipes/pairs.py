"""What the recipes of translation from pairs share: one training of a translator and its critic.

Chapter: book/gan/pix2pix.md.  Proof: tests/recipes/test_gan_pix2pix.py.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from litgen import checkpoints
from litgen.gan import pix2pix
from litgen.gan.networks import settle
from litgen.gan.patch import PatchCritic
from litgen.gan.pix2pix import Terms
from litgen.gan.translator import Translator
from litgen.training import Minibatches, play

__all__ = ["Pace", "Progress", "fit", "settled"]


class Pace(NamedTuple):
    """How a training goes.

    Attributes:
        turns: updates of each player.
        batch_size: pairs in a step.
        learning_rate: of the translator's Adam at the start; it falls to zero along half a cosine.
        critic_rate: of the critic's Adam, which stays.
    """

    turns: int
    batch_size: int
    learning_rate: float
    critic_rate: float


class Progress(NamedTuple):
    """Where a training stands after a move; the loss is detached."""

    turn: int
    translator: Translator
    player: str
    loss: Tensor


def fit(
    networks: tuple[Translator, PatchCritic],
    terms: Terms,
    load: Callable[[Tensor], tuple[Tensor, Tensor]],
    rows: Tensor,
    pace: Pace,
    seed: int,
    name: str,
) -> Iterator[Progress]:
    """Yield after every move of a training.

    Args:
        networks: the translator and its critic, on the device of the data.
        terms: what counts.
        load: turns row numbers into conditions and targets.
        rows: numbers of the pairs.
        pace: how long, and how fast.
        seed: of the order of the pairs.
        name: for the progress bar.
    """
    translator, critic = networks
    betas = (0.5, 0.99)
    optimizer = torch.optim.Adam(translator.parameters(), pace.learning_rate, betas, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, pace.turns)
    critic_optimizer = torch.optim.Adam(critic.parameters(), pace.critic_rate, betas, fused=True)
    shuffle = torch.Generator().manual_seed(seed)
    batches = Minibatches(rows, pace.batch_size, shuffle)
    memory = checkpoints.current()
    memory.keep(translator=translator, critic=critic, optimizer=optimizer, schedule=schedule)
    memory.keep(critic_optimizer=critic_optimizer, batches=batches)
    optimizers = optimizer, critic_optimizer
    players = pix2pix.players(translator, critic, optimizers, terms, load, apart=True)
    game = play(players, batches, memory.turns(pace.turns))
    for step in tqdm(game, total=pace.turns * len(players), desc=name, unit="step"):
        if step.player == "translator":
            schedule.step()
        yield Progress(step.turn, translator, step.player, step.loss)


def settled(
    translator: Translator, load: Callable[[Tensor], tuple[Tensor, Tensor]], rows: Tensor
) -> Translator:
    """Give batch normalisation the moments of the final weights, over some of the pairs."""
    some = rows[:400].split(100)
    settle(translator, ((load(part)[0],) for part in some))
    return translator.eval()
