"""The game of two networks: whose move it is, against which fakes, and when to stop.

Chapter: book/gan/toy2d.md.  Proof: tests/gan/test_game.py.
References: Goodfellow et al., "Generative Adversarial Nets" (2014), algorithm 1; Arjovsky,
Chintala & Bottou, "Wasserstein GAN" (2017), whose critic moves several times a turn.

A generator maps codes to samples, a critic maps data or samples to logits; both may be told a
condition, such as a class, as a second argument.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from litgen import checkpoints
from litgen.gan import losses
from litgen.shapes import Float
from litgen.training import Player, mixed_precision

__all__ = ["LastGood", "Rules", "adversaries", "both_logits"]

Conditions = tuple[Tensor, ...]


@dataclass(frozen=True)
class Rules:
    """What the players are after.

    Attributes:
        critic_loss: of logits of data and logits of samples; one number, to be lowered.
        generator_loss: of logits of samples; one number a sample, to be lowered.
        penalty: of the critic (a function of x alone), data and samples; added to its loss.
        critic_moves: updates of the critic in each turn.
        apart: show data and samples to the critic in two batches, as one with batch
            normalisation needs: together, their statistics would be mixed.
        mixed: let networks compute in bfloat16 where the hardware has it.
        thrifty: make samples for the critic once a turn: with one move, show it those that the
            generator's last move made; with several, make all of them in one pass. For games
            without conditions. Batch normalisation in the generator then sees one large batch.

    Raises:
        ValueError: a critic that never moves.
    """

    critic_loss: Callable[[Tensor, Tensor], Tensor] = losses.discriminator_loss
    generator_loss: Callable[[Tensor], Tensor] = losses.generator_loss
    penalty: Callable[[Callable[[Tensor], Tensor], Tensor, Tensor], Tensor] | None = None
    critic_moves: int = 1
    apart: bool = False
    mixed: bool = False
    thrifty: bool = False

    def __post_init__(self) -> None:
        if self.critic_moves < 1:
            raise ValueError(f"critic_moves must be at least 1, got {self.critic_moves}")


def both_logits(
    critic: Callable[..., Tensor],
    real: Float[Tensor, "batch *event"],
    fake: Float[Tensor, "batch *event"],
    conditions: Conditions = (),
    apart: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the critic's logits of data and of samples, from one pass unless ``apart``.

    Raises:
        ValueError: data and samples of different shapes.
    """
    if real.shape != fake.shape:
        raise ValueError(f"data have shape {tuple(real.shape)}, samples {tuple(fake.shape)}")
    if apart:
        return critic(real, *conditions), critic(fake, *conditions)
    twice = [torch.cat([c, c]) for c in conditions]
    real_logits, fake_logits = critic(torch.cat([real, fake]), *twice).chunk(2)
    return real_logits, fake_logits


def adversaries(
    generator: nn.Module,
    critic: nn.Module,
    optimizers: tuple[torch.optim.Optimizer, torch.optim.Optimizer],
    draw: Callable[[int], Float[Tensor, "batch latent"]],
    rules: Rules | None = None,
    load: Callable[[Tensor], tuple[Tensor, ...]] = lambda x: (x,),
) -> list[Player]:
    """Return the two players of a game, the critic first, for `litgen.training.play`.

    Implements eq:game-turns. The critic's move needs no gradient of the generator, and samples
    for it are made without one. Nothing is wasted on the critic's weights in the generator's move:
    `play` asks for the moving player's gradients alone. (Running averages of a batch normalisation
    follow every pass through their network, whoever moves.)

    Args:
        generator: maps codes (and conditions) to samples.
        critic: maps data or samples (and conditions) to logits.
        optimizers: the critic's and the generator's.
        draw: returns that many codes, on the networks' device.
        rules: of the game; the non-saturating one if none are given.
        load: turns a batch (of data, or of their places) into data and conditions; the
            generator's move uses the conditions alone.
    """
    agreed = rules or Rules()
    ready: list[Tensor] = []  # samples that are made and not yet shown
    checkpoints.current().keep_rows(ready=ready)

    def samples(x: Tensor, conditions: Conditions) -> Tensor:
        if agreed.thrifty and not conditions:
            if not ready or len(ready[-1]) != len(x):
                many = generator(draw(agreed.critic_moves * len(x)))
                ready[:] = many.to(x.dtype).split(len(x))
            return ready.pop()
        made: Tensor = generator(draw(len(x)), *conditions).to(x.dtype)
        return made

    def critic_loss(batch: Tensor) -> Tensor:
        x, *told = load(batch)
        conditions = tuple(told)
        with mixed_precision(x.device, agreed.mixed):
            with torch.no_grad():
                fake = samples(x, conditions)
            real_logits, fake_logits = both_logits(critic, x, fake, conditions, agreed.apart)
            single = _at_least_single(real_logits), _at_least_single(fake_logits)
            loss = agreed.critic_loss(*single)
            if agreed.penalty is not None:
                loss = loss + agreed.penalty(lambda at: critic(at, *conditions), x, fake)
        return loss

    def fooling_loss(batch: Tensor) -> Tensor:
        x, *conditions = load(batch)
        with mixed_precision(x.device, agreed.mixed):
            fake = generator(draw(len(x)), *conditions)
            logits = critic(fake, *conditions)
        if agreed.thrifty and agreed.critic_moves == 1 and not conditions:
            ready[:] = [fake.detach().to(x.dtype)]
        return agreed.generator_loss(_at_least_single(logits)).mean()

    return [
        Player("critic", optimizers[0], critic_loss, moves=agreed.critic_moves),
        Player("generator", optimizers[1], fooling_loss),
    ]


def _at_least_single(logits: Tensor) -> Tensor:
    """Return logits of networks that computed in half precision as float32, others unchanged."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


class LastGood:
    """Watches a game, and keeps a copy of its last state in which everything was finite.

    Ask `fine` after every turn. Looking at losses waits for the device, so it looks every so many
    turns, and then keeps a copy.

    Args:
        model: what is to be kept: both players, the averaged generator, or a list of them.
        every: turns between two looks.

    Attributes:
        turn: of the state that is kept; -1 before the first look.
    """

    def __init__(self, model: nn.Module, every: int = 50):
        if every < 1:
            raise ValueError(f"every must be at least 1, got {every}")
        self.model, self.every, self.turn = model, every, -1
        self.state = copy.deepcopy(model.state_dict())

    def fine(self, turn: int, *values: Tensor) -> bool:
        """Return whether to play on: False where a loss or a weight is no longer finite.

        Args:
            turn: counted from 0.
            values: losses of this turn.
        """
        return True if (turn + 1) % self.every else self.look(turn, *values)

    def look(self, turn: int, *values: Tensor) -> bool:
        """Do what `fine` does, whatever the turn: after the last one of a game, say."""
        seen = [*values, *(t for t in self.model.state_dict().values() if t.is_floating_point())]
        if not all(bool(tensor.isfinite().all()) for tensor in seen):
            return False
        self.state, self.turn = copy.deepcopy(self.model.state_dict()), turn
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return what is kept, for a checkpoint."""
        return {"state": self.state, "turn": self.turn}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with what another one has kept."""
        self.state, self.turn = state["state"], state["turn"]

    def restore(self) -> str:
        """Put the kept state back into the model; return a sentence that says what happened."""
        self.model.load_state_dict(self.state)
        kept = f"the state of turn {self.turn} is" if self.turn >= 0 else "the start is"
        return f"the game diverged: a loss or weight is no longer finite; {kept} kept"
