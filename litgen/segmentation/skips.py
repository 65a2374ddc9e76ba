"""A U whose long and short skips can be switched, all variants with the same weights.

Chapter: book/segmentation/skips.md.  Proof: tests/segmentation/test_skips.py.
Reference: Drozdzal et al., "The Importance of Skip Connections in Biomedical Image Segmentation"
(2016). Long skips are sums, as there. All layers have the same width here, so that a short skip is
the identity everywhere: no variant has a weight that another one lacks.
"""

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from litgen.shapes import Float, Int

__all__ = [
    "VARIANTS",
    "Block",
    "SkipNet",
    "Skips",
    "added",
    "around",
    "dice",
    "layer_gradients",
    "without",
]


class Skips(NamedTuple):
    """Which skips a network has."""

    long: bool
    short: bool


VARIANTS = {
    "both": Skips(long=True, short=True),
    "long": Skips(long=True, short=False),
    "short": Skips(long=False, short=True),
    "none": Skips(long=False, short=False),
}
"""The four networks of the ablation, by name."""


class Block(nn.Module):
    """Normalisation, rectifier, 3x3 convolution. Implements eq:skips-block.

    Args:
        width: channels, of input and output.
        short: whether the input is added to the output.
        norm: whether there is batch normalisation.
    """

    def __init__(self, width: int, short: bool, norm: bool):
        super().__init__()
        self.norm = nn.BatchNorm2d(width) if norm else nn.Identity()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.short = short

    def forward(
        self, x: Float[Tensor, "batch width rows columns"]
    ) -> Float[Tensor, "batch width rows columns"]:
        """Return the block's maps."""
        h: Tensor = self.conv(self.norm(x).relu())
        return x + h if self.short else h


def added(up: Tensor, kept: Tensor) -> Tensor:
    """Return the sum of what comes from below and what comes across. Implements eq:skips-long.

    Raises:
        ValueError: maps of different shape, which a sum might broadcast.
    """
    if up.shape != kept.shape:
        raise ValueError(
            f"a long skip of shape {tuple(kept.shape)} does not fit maps of {tuple(up.shape)}"
        )
    return up + kept


class SkipNet(nn.Module):
    """Images in, one logit a pixel out.

    Args:
        width: channels of every layer.
        levels: how often height and width are halved.
        blocks: in each of the ``2 levels + 1`` stages.
        long: whether stages of equal size are joined.
        short: whether blocks are residual.
        norm: whether blocks normalise.
        gain: mean squared gain of a block's convolution at the start; PyTorch's own start, which
            is 1/6, if none is given.
        block: the class of the blocks.
        join: how the two sides of a long skip become one.

    Raises:
        ValueError: no width, levels or blocks, or a negative gain.
    """

    def __init__(
        self,
        width: int = 8,
        levels: int = 3,
        blocks: int = 1,
        long: bool = True,
        short: bool = True,
        norm: bool = True,
        gain: float | None = None,
        block: type[Block] = Block,
        join: Callable[[Tensor, Tensor], Tensor] = added,
    ):
        super().__init__()
        if min(width, levels, blocks) < 1 or (gain is not None and gain < 0):
            raise ValueError(
                f"width, levels and blocks must be positive, a gain not negative: "
                f"{width}, {levels}, {blocks}, {gain}"
            )
        self.levels, self.long, self.join = levels, long, join
        self.first = nn.Conv2d(1, width, 3, padding=1)
        self.stages = nn.ModuleList(
            nn.Sequential(*(block(width, short, norm) for _ in range(blocks)))
            for _ in range(2 * levels + 1)
        )
        self.norm = nn.BatchNorm2d(width) if norm else nn.Identity()
        self.last = nn.Conv2d(width, 1, 1)
        for conv in self.convolutions()[1:-1] if gain is not None else []:
            nn.init.normal_(conv.weight, std=(2 * (gain or 0) / (9 * width)) ** 0.5)

    def blocks(self) -> list[Block]:
        """Return the blocks, in the order in which the signal meets them."""
        return [m for m in self.modules() if isinstance(m, Block)]

    def convolutions(self) -> list[nn.Conv2d]:
        """Return all convolutions, in the order in which the signal meets them."""
        return [self.first, *(block.conv for block in self.blocks()), self.last]

    def states(self, x: Float[Tensor, "batch 1 rows columns"]) -> list[Tensor]:
        """Return what the first convolution and every block say, and last the logits.

        Raises:
            ValueError: a size that cannot be halved so often.
        """
        factor = 2**self.levels
        if x.shape[-2] % factor or x.shape[-1] % factor or not x.numel():
            raise ValueError(
                f"height and width must be positive multiples of {factor}: {tuple(x.shape)}"
            )
        said, kept = [self.first(x)], []
        for i, stage in enumerate(self.stages):
            h = said[-1]
            if 0 < i <= self.levels:
                kept.append(h)
                h = nn.functional.max_pool2d(h, 2)
            elif i > self.levels:
                h = nn.functional.interpolate(h, scale_factor=2.0, mode="nearest")
                h = self.join(h, kept.pop()) if self.long else h
            for part in stage.children():
                h = part(h)
                said.append(h)
        return [*said, self.last(self.norm(said[-1]).relu())]

    def forward(
        self, x: Float[Tensor, "batch 1 rows columns"]
    ) -> Float[Tensor, "batch 1 rows columns"]:
        """Return a logit for every pixel, positive for "cell"."""
        return self.states(x)[-1]


def layer_gradients(
    model: SkipNet,
    x: Float[Tensor, "batch 1 rows columns"],
    pull: Float[Tensor, "batch 1 rows columns"] | None = None,
) -> list[Tensor]:
    """Return the gradient of a sum of logits in each layer's maps, the logits' own left out.

    Args:
        model: a network whose weights, at least, ask for gradients.
        x: images.
        pull: the logits' weights in the sum; the same for all, so that it is their mean, if None.
    """
    *layers, logits = model.states(x)
    weights = torch.full_like(logits, 1 / logits.numel()) if pull is None else pull
    return list(torch.autograd.grad(logits, layers, weights))


def around(
    model: SkipNet, x: Float[Tensor, "batch 1 rows columns"]
) -> Float[Tensor, "batch 1 rows columns"]:
    """Return the gradient of the logits' sum in the image if the middle stage says nothing.

    What is left of it has gone around the middle. Implements eq:skips-around.
    """
    end = list(model.stages[model.levels].children())[-1]
    silenced = end.register_forward_hook(lambda *call: torch.zeros_like(call[2]))
    try:
        image = x.detach().clone().requires_grad_()
        total = model(image).sum()
    finally:
        silenced.remove()
    if not total.requires_grad:
        return torch.zeros_like(image)
    return torch.autograd.grad(total, image, materialize_grads=True)[0]


def without(model: SkipNet, removed: int) -> SkipNet:
    """Return a copy in which one block is taken out: what comes in goes on as it is.

    Raises:
        ValueError: there is no such block.
    """
    cut = copy.deepcopy(model)
    blocks = cut.blocks()
    if not 0 <= removed < len(blocks):
        raise ValueError(f"there are {len(blocks)} blocks, 0 to {len(blocks) - 1}, not {removed}")
    stage, place = divmod(removed, len(blocks) // len(cut.stages))
    chain = cut.stages[stage]
    assert isinstance(chain, nn.Sequential)
    chain[place] = nn.Identity()
    return cut


def dice(counts: Int[Tensor, "2 2"]) -> float:
    """Return twice the shared pixels of class 1 over those of both maps. Implements eq:skips-dice.

    Args:
        counts: pixels by true class (row) and predicted class, as `scores.confusion` gives them.
    """
    found, missed, wrong = counts[1, 1], counts[1, 0], counts[0, 1]
    return (2 * found / (2 * found + missed + wrong)).item()
