"""A picture that has the content of one picture and the style of another, found by descent.

Chapter: book/style/gatys.md.  Proof: tests/style/test_gatys.py.
Paper: Gatys, Ecker & Bethge, "A neural algorithm of artistic style" (2015), and "Image style
transfer using convolutional neural networks" (CVPR 2016).

    p, a, x       content, style, and the picture that is sought
    alpha, beta   weights of content and style
    w_l           share of layer l in the style

Losses are one number an example, so that a batch can seek several pictures at once, each with
weights of its own.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from litgen.shapes import Float
from litgen.style import gram as second_moments
from litgen.style.features import VGG, receptive_field
from litgen.training import Player, Step, play

__all__ = ["Goal", "Terms", "Weights", "aim", "losses", "paint", "seeker"]

Weights = Mapping[str, float | Float[Tensor, " batch"]]
"""Of layers by name: one number for all examples, or one for each."""


@dataclass(frozen=True, eq=False)
class Goal:
    """What a picture shall have: computed once, before the descent.

    Attributes:
        content: features P of content layers, by name.
        style: Gram matrices A of style layers, by name.
    """

    content: dict[str, Float[Tensor, "_ _ _ _"]]
    style: dict[str, Float[Tensor, "_ _ _"]]


class Terms(NamedTuple):
    """Weighted sums over layers for each example."""

    content: Float[Tensor, " batch"]
    style: Float[Tensor, " batch"]


@torch.no_grad()
def aim(
    network: VGG,
    content: Float[Tensor, "_ 3 _ _"] | None,
    style: Float[Tensor, "_ 3 _ _"] | None,
    content_layers: Sequence[str] = ("conv4_2",),
    style_layers: Sequence[str] = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"),
) -> Goal:
    """Return the features and Gram matrices to be met, in float32 or finer.

    Args:
        network: what sees the pictures.
        content: its picture, or a batch; None for none.
        style: its picture, or a batch, of any size; None for none.
        content_layers: where features shall be met.
        style_layers: where Gram matrices shall be met.

    Raises:
        ValueError: neither picture; or a style smaller than what one number of a layer sees.
    """
    if content is None and style is None:
        raise ValueError("a goal needs a content or a style")
    if style is not None:
        for name in style_layers:
            field = receptive_field(network.names, name)
            if min(style.shape[2:]) < field:
                size = "x".join(map(str, style.shape[2:]))
                raise ValueError(
                    f"the style is {size}, but {name} sees {field}x{field}: take a larger picture "
                    "or fewer layers"
                )
    wanted = {} if content is None else network(content, content_layers)
    seen = {} if style is None else network(style, style_layers)
    return Goal(
        {name: _fine(features) for name, features in wanted.items()},
        {name: second_moments.gram(features) for name, features in seen.items()},
    )


def losses(
    network: VGG,
    images: Float[Tensor, "batch 3 height width"],
    goal: Goal,
    content_weights: Weights,
    style_weights: Weights,
) -> Terms:
    """Return alpha L_content and beta sum_l w_l E_l for each picture. Implements eq:gatys-style.

    Args:
        network: what sees the pictures.
        images: x.
        goal: see `aim`.
        content_weights: alpha for each layer of the goal's content.
        style_weights: beta w_l for each layer of the goal's style.

    Raises:
        ValueError: weights of other layers than the goal's.
    """
    for what, of, weights in (
        ("content", goal.content, content_weights),
        ("style", goal.style, style_weights),
    ):
        if of.keys() != weights.keys():
            raise ValueError(f"{what} is wanted at {list(of)}, weights are for {list(weights)}")
    found = network(images, [*goal.content, *goal.style])
    content = style = images.new_zeros(len(images))
    for name, wanted in goal.content.items():
        part = second_moments.content_loss(_fine(found[name]), wanted)
        content = content + content_weights[name] * part
    for name, wanted in goal.style.items():
        part = second_moments.style_loss(second_moments.gram(found[name]), wanted)
        style = style + style_weights[name] * part
    return Terms(content, style)


def seeker(
    canvas: nn.Parameter,
    optimizer: torch.optim.Optimizer,
    network: VGG,
    goal: Goal,
    content_weights: Weights,
    style_weights: Weights,
) -> Player:
    """Return the player that moves the pictures: its loss is eq:gatys-total, summed over them.

    Args:
        canvas: x, (batch, 3, height, width), the only parameter of the optimiser.
        optimizer: who moves it, once for each loss.
        network: what sees the pictures.
        goal: see `aim`.
        content_weights: see `losses`.
        style_weights: see `losses`.
    """

    def total(_: Tensor) -> Tensor:
        terms = losses(network, canvas, goal, content_weights, style_weights)
        return (terms.content + terms.style).sum()

    return Player("picture", optimizer, total)


def paint(player: Player, turns: int | Iterator[int]) -> Iterator[Step]:
    """Yield after every step of the descent; the picture needs no batches of data.

    After each step its pixels are cut to [0, 1], what can be shown: a descent that leaves this
    range gains there what the cut at the end takes away.
    """
    canvases = [canvas for group in player.optimizer.param_groups for canvas in group["params"]]
    for step in play([player], itertools.repeat(torch.empty(0)), turns):
        with torch.no_grad():
            for canvas in canvases:
                canvas.clamp_(0, 1)
        yield step


def _fine(features: Tensor) -> Tensor:
    """Return features in float32 where they are coarser: sums over places need it."""
    return features.float() if features.dtype.itemsize < 4 else features
