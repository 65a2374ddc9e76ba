"""Two translators and two critics on data without pairs: losses, and whose move it is.

Chapter: book/gan/cyclegan.md.  Proof: tests/gan/test_cycle.py.
References: Zhu, Park, Isola & Efros, "Unpaired Image-to-Image Translation using Cycle-Consistent
Adversarial Networks" (2017), equations 1 to 3 and section 5.2; Mao et al., "Least Squares
Generative Adversarial Networks" (2017), for the adversarial loss.

Notation: the paper's G, from domain X to Y, is ``there``, its F ``back``; D_Y judges what
``there`` makes. A batch is one tensor, (2, batch, channels, height, width): images of X and of Y.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from litgen.shapes import Float
from litgen.training import Minibatches, Player, mixed_precision

__all__ = [
    "Made",
    "Objective",
    "Translators",
    "UnpairedBatches",
    "critic_loss",
    "distance",
    "fooling_loss",
    "made",
    "players",
    "translators_loss",
]


def critic_loss(real: Float[Tensor, "*real"], fake: Float[Tensor, "*fake"]) -> Float[Tensor, ""]:
    """Return half the mean square of D(y) - 1, and half that of D(G(x)).

    Implements eq:cycle-critic. Its minimum over critics is eq:cycle-best-critic. In squares of the
    critic's own units; to be lowered.

    Raises:
        ValueError: an empty batch.
    """
    if real.numel() == 0 or fake.numel() == 0:
        raise ValueError(f"{real.numel()} real and {fake.numel()} fake values, need some of both")
    return ((real - 1).square().mean() + fake.square().mean()) / 2


def fooling_loss(fake: Float[Tensor, "batch *places"]) -> Float[Tensor, " batch"]:
    """Return the mean square of D(G(x)) - 1 for each image, to be lowered.

    Implements eq:cycle-fool.
    """
    return (fake - 1).square().flatten(1).mean(dim=1)


def distance(
    x: Float[Tensor, "batch *event"], other: Float[Tensor, "batch *event"]
) -> Float[Tensor, " batch"]:
    """Return the mean absolute difference over an image's pixels, for each pair of images.

    Implements eq:cycle-loss and eq:cycle-identity, which differ in what is compared.

    Raises:
        ValueError: images of different shapes, which torch would broadcast.
    """
    if x.shape != other.shape:
        raise ValueError(f"images have shapes {tuple(x.shape)} and {tuple(other.shape)}")
    return (x - other).abs().flatten(1).mean(dim=1)


@dataclass(frozen=True)
class Objective:
    """What the translators are after. Implements eq:cycle-objective.

    Attributes:
        cycle: weight of the way there and back, the paper's lambda.
        identity: weight of leaving alone what is in the domain already; the paper's is half of
            lambda, and only for some of its data.
        noise: standard deviation of noise on a translation before the way back; the paper has
            none. With it nothing can be hidden below the noise.

    Raises:
        ValueError: a negative weight.
    """

    cycle: float = 10.0
    identity: float = 5.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        if min(self.cycle, self.identity, self.noise) < 0:
            raise ValueError(f"weights and noise must not be negative: {self}")


class Translators(nn.Module):
    """G, from X to Y, and F, from Y to X."""

    def __init__(self, there: nn.Module, back: nn.Module):
        super().__init__()
        self.there, self.back = there, back


class Made(NamedTuple):
    """What two translators make of a batch: translations, ways back, and what should stay."""

    fake_y: Tensor
    fake_x: Tensor
    back_x: Tensor | None
    back_y: Tensor | None
    same_y: Tensor | None
    same_x: Tensor | None


def made(
    translators: Translators,
    x: Float[Tensor, "batch *event"],
    y: Float[Tensor, "batch *event"],
    objective: Objective,
    noise: Callable[[Tensor], Tensor] | None = None,
) -> Made:
    """Return all that an objective compares; what it does not weigh is not computed.

    Translation and identity go through a translator in one pass. Implements eq:cycle-made.

    Args:
        translators: must not mix the images of a batch (no batch normalisation).
        x: of domain X.
        y: of domain Y.
        objective: says what is needed.
        noise: standard normal noise of a tensor's shape; needed if the objective has noise.
    """
    there, back = translators.there, translators.back
    same_x = same_y = back_x = back_y = None
    if objective.identity:
        fake_y, same_y = there(torch.cat([x, y])).chunk(2)
        fake_x, same_x = back(torch.cat([y, x])).chunk(2)
    else:
        fake_y, fake_x = there(x), back(y)
    if objective.cycle:
        through_y, through_x = fake_y, fake_x
        if objective.noise and noise is not None:
            through_y = fake_y + objective.noise * noise(fake_y)
            through_x = fake_x + objective.noise * noise(fake_x)
        back_x, back_y = back(through_y), there(through_x)
    return Made(fake_y, fake_x, back_x, back_y, same_y, same_x)


def translators_loss(
    found: Made,
    x: Float[Tensor, "batch *event"],
    y: Float[Tensor, "batch *event"],
    judged_y: Float[Tensor, "batch *places"],
    judged_x: Float[Tensor, "batch *places"],
    objective: Objective,
) -> Float[Tensor, " batch"]:
    """Return both translators' loss, one number for each pair of a batch, to be lowered.

    Implements eq:cycle-objective.

    Args:
        found: by `made`.
        x: of domain X.
        y: of domain Y.
        judged_y: critics' values of ``found.fake_y``.
        judged_x: critics' values of ``found.fake_x``.
        objective: the weights.
    """
    loss = fooling_loss(judged_y) + fooling_loss(judged_x)
    if found.back_x is not None and found.back_y is not None:
        loss = loss + objective.cycle * (distance(found.back_x, x) + distance(found.back_y, y))
    if found.same_x is not None and found.same_y is not None:
        loss = loss + objective.identity * (distance(found.same_x, x) + distance(found.same_y, y))
    return loss


def players(
    translators: Translators,
    critics: nn.ModuleDict,
    optimizers: tuple[torch.optim.Optimizer, torch.optim.Optimizer],
    buffers: tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]],
    objective: Objective,
    load: Callable[[Tensor], Tensor] = lambda batch: batch,
    mixed: bool = False,
    noise: Callable[[Tensor], Tensor] | None = None,
) -> list[Player]:
    """Return the translators and the critics, in this order, for `litgen.training.play`.

    Implements eq:cycle-turns. The critics' move shows, through the buffers, the images that the
    translators' move has just made: nothing is made twice. No gradient of the critics' weights is
    taken in the translators' move, for `play` asks for the mover's alone.

    Args:
        translators: G and F.
        critics: "x" and "y", images to maps of values near 1 for data.
        optimizers: the translators' and the critics'.
        buffers: for images made in Y, and in X; see `litgen.gan.buffer`.
        objective: the weights.
        load: makes a batch of `UnpairedBatches` into numbers in [-1, 1].
        mixed: let networks compute in bfloat16 where the hardware has it.
        noise: see `made`.
    """
    latest: list[Tensor] = []

    def translate(batch: Tensor) -> Tensor:
        x, y = load(batch).unbind()
        with mixed_precision(x.device, mixed):
            found = made(translators, x, y, objective, noise)
            judged_y, judged_x = critics["y"](found.fake_y), critics["x"](found.fake_x)
        found = Made(*(None if part is None else part.to(x.dtype) for part in found))  # type: ignore[arg-type]
        latest[:] = [found.fake_y.detach(), found.fake_x.detach()]
        judged = judged_y.to(x.dtype), judged_x.to(x.dtype)
        return translators_loss(found, x, y, *judged, objective).mean()

    def judge(batch: Tensor) -> Tensor:
        x, y = load(batch).unbind()
        total = x.new_zeros(())
        for name, real, fresh, buffer in zip("yx", (y, x), latest, buffers, strict=True):
            fake = buffer(fresh)
            with mixed_precision(x.device, mixed):
                values = critics[name](torch.cat([real, fake])).to(x.dtype)
            total = total + critic_loss(*values.chunk(2))
        return total

    return [
        Player("translators", optimizers[0], translate),
        Player("critics", optimizers[1], judge),
    ]


class UnpairedBatches:
    """Batches for ever from two sets of images, each shuffled by itself.

    Args:
        x: images of one domain.
        y: of the other, of the same shape; not necessarily as many.
        batch_size: images of each.
        generator: draws both orders, on the CPU.
        names: of the domains, for errors.

    Raises:
        ValueError: a domain with no image or with fewer than a batch, or images of two sizes.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        batch_size: int,
        generator: torch.Generator,
        names: tuple[str, str] = ("x", "y"),
    ):
        for name, images in zip(names, (x, y), strict=True):
            if len(images) == 0:
                raise ValueError(f"domain {name} has no images")
            if len(images) < batch_size:
                raise ValueError(f"domain {name} has {len(images)} images, a batch {batch_size}")
        if x.shape[1:] != y.shape[1:]:
            sizes = ["x".join(map(str, images.shape[1:])) for images in (x, y)]
            raise ValueError(
                f"images of domain {names[0]} are {sizes[0]}, those of {names[1]} {sizes[1]}: "
                "bring them to one size first"
            )
        self.parts = Minibatches(x, batch_size, generator), Minibatches(y, batch_size, generator)

    def __iter__(self) -> Iterator[Tensor]:
        """Return itself: it has no end."""
        return self

    def __next__(self) -> Tensor:
        """Return images of X and, independently drawn, images of Y."""
        return torch.stack([next(part) for part in self.parts])

    def state_dict(self) -> dict[str, Any]:
        """Return where both stand, for a checkpoint."""
        return {name: part.state_dict() for name, part in zip("xy", self.parts, strict=True)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where another one stood, over the same data."""
        for name, part in zip("xy", self.parts, strict=True):
            part.load_state_dict(state[name])
