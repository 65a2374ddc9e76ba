"""Translation from pairs: a critic that sees both images of a pair, and a distance to the second.

Chapter: book/gan/pix2pix.md.  Proof: tests/gan/test_pix2pix.py.
Reference: Isola, Zhu, Zhou & Efros, "Image-to-Image Translation with Conditional Adversarial
Networks" (2017), equations 1 to 4.

The paper's x, what is translated, is ``condition``; its y is ``target``; lambda is ``weight``.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from litgen.gan import losses
from litgen.shapes import Float
from litgen.training import Player, mixed_precision

__all__ = ["Terms", "critic_loss", "distance", "objective", "players"]

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Terms:
    """What a translator is after.

    Attributes:
        weight: of the mean absolute difference from the target; 0 for none.
        adversarial: weight of the critic's verdict; 0 for a game without a critic.
        told: whether the critic sees the condition beside the image.
        mixed: let networks compute in bfloat16 where the hardware has it.

    Raises:
        ValueError: a negative weight, or nothing that counts.
    """

    weight: float = 100.0
    adversarial: float = 1.0
    told: bool = True
    mixed: bool = False

    def __post_init__(self) -> None:
        if min(self.weight, self.adversarial) < 0 or not self.weight + self.adversarial:
            raise ValueError(f"weights {self.weight} and {self.adversarial}: one must be positive")


def distance(
    target: Float[Tensor, "batch *event"], image: Float[Tensor, "batch *event"]
) -> Float[Tensor, " batch"]:
    """Return each image's mean absolute difference from its target. Implements eq:p2p-l1.

    The mean is over pixels and channels, in the images' unit.

    Raises:
        ValueError: images and targets of different shapes.
    """
    if target.shape != image.shape:
        raise ValueError(f"targets have shape {tuple(target.shape)}, images {tuple(image.shape)}")
    return (target - image).abs().flatten(1).mean(dim=1)


def objective(
    fake_logits: Float[Tensor, "batch *places"] | None,
    target: Float[Tensor, "batch *event"],
    image: Float[Tensor, "batch *event"],
    terms: Terms,
) -> Float[Tensor, ""]:
    """Return the translator's loss, to be lowered: nats plus weighted units of the images.

    Implements eq:p2p-objective with the non-saturating loss; the mean is over images and places.
    """
    loss = image.new_zeros(())
    if fake_logits is not None and terms.adversarial:
        loss = loss + terms.adversarial * losses.generator_loss(fake_logits.float()).mean()
    if terms.weight:
        loss = loss + terms.weight * distance(target, image).mean()
    return loss


def critic_loss(
    critic: Callable[..., Tensor],
    condition: Float[Tensor, "batch inputs height width"],
    target: Float[Tensor, "batch outputs height width"],
    image: Float[Tensor, "batch outputs height width"],
    told: bool = True,
    apart: bool = False,
) -> Float[Tensor, ""]:
    """Return the critic's loss in nats, over places and pairs. Implements eq:p2p-value.

    Args:
        critic: maps images (and conditions) to logits.
        condition: what is translated.
        target: the other halves of the pairs.
        image: translations; no gradient goes back through them.
        told: whether the critic sees the condition; without it, eq:p2p-untold.
        apart: show targets and translations in two batches, as batch normalisation needs.
    """
    image = image.detach()
    if apart:
        beside = (condition,) if told else ()
        return losses.discriminator_loss(
            critic(target, *beside).float(), critic(image, *beside).float()
        )
    twice = (torch.cat([condition, condition]),) if told else ()
    real, fake = critic(torch.cat([target, image]), *twice).float().chunk(2)
    return losses.discriminator_loss(real, fake)


def players(
    translator: nn.Module,
    critic: nn.Module,
    optimizers: tuple[torch.optim.Optimizer, torch.optim.Optimizer],
    terms: Terms,
    load: Callable[[Tensor], Pair],
    apart: bool = False,
) -> list[Player]:
    """Return the translator and, if it counts, the critic, for `litgen.training.play`.

    The translator moves first, and its images are kept for the critic's move: they are made once a
    turn. Nothing is computed for the critic's weights in the translator's move: `play` asks for
    the moving player's gradients alone. The critic's own batch is not looked at: it judges the
    pairs that were just translated.

    Args:
        translator: maps conditions to images.
        critic: maps images (and conditions) to logits.
        optimizers: the translator's and the critic's.
        terms: what counts.
        load: turns a batch into conditions and targets.
        apart: see `critic_loss`.
    """
    made: list[tuple[Tensor, Tensor, Tensor]] = []

    def fooling(batch: Tensor) -> Tensor:
        condition, target = load(batch)
        with mixed_precision(target.device, terms.mixed):
            image = translator(condition).to(target.dtype)
            logits = None
            if terms.adversarial:
                beside = (condition,) if terms.told else ()
                logits = critic(image, *beside)
                made[:] = [(condition, target, image.detach())]
        return objective(logits, target, image, terms)

    def judging(batch: Tensor) -> Tensor:
        condition, target, image = made.pop()
        with mixed_precision(target.device, terms.mixed):
            return critic_loss(critic, condition, target, image, terms.told, apart)

    found = [Player("translator", optimizers[0], fooling)]
    return [*found, Player("critic", optimizers[1], judging)] if terms.adversarial else found
