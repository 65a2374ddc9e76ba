"""How much gradient reaches each layer of a chain and of a U, known without a network.

Chapter: book/segmentation/skips.md.  Proof: tests/segmentation/test_paths.py.
References: Veit, Wilber & Belongie, "Residual Networks Behave Like Ensembles of Relatively Shallow
Networks" (2016), for the paths; He et al., "Delving Deep into Rectifiers" (2015), for the gain.
"""

import math

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = ["chain", "convolution_gain", "path_terms", "u_profile"]


def chain(factor: float, layers: int, short: bool) -> float:
    """Return what a gradient is multiplied by on its way through a chain. Implements
    eq:skips-chain without short skips and eq:skips-short with them.

    Args:
        factor: a layer's slope a; or its mean squared gain, for mean squares.
        layers: how many.
        short: whether every layer's input is added to its output.

    Raises:
        ValueError: fewer than no layers.
    """
    if layers < 0:
        raise ValueError(f"a chain cannot have {layers} layers")
    return (factor + 1) ** layers if short else factor**layers


def path_terms(factor: float, layers: int) -> Float[Tensor, " lengths"]:
    """Return what all paths of length 0, 1, ..., layers carry together. Implements eq:skips-paths.

    A path either goes through a layer or past it; ``layers`` choices make the path's length.
    """
    counts = torch.tensor([math.comb(layers, k) for k in range(layers + 1)], dtype=torch.float64)
    return counts * factor ** torch.arange(layers + 1, dtype=torch.float64)


def u_profile(
    factor: float, levels: int, blocks: int, long: bool, short: bool
) -> Float[Tensor, " layers"]:
    """Return the output's slope in what each layer of a U says. Implements eq:skips-u.

    Entry 0 is the U's input, which is the first convolution's output; then one entry for each
    block, in the order in which the signal meets them.

    Args:
        factor: slope of a block without its short skip, or its mean squared gain.
        levels: how often the size is halved, and doubled again.
        blocks: in each of the ``2 levels + 1`` stages.
        long: whether each contracting stage's output is added to the expanding stage's input.
        short: whether each block's input is added to its output.

    Raises:
        ValueError: fewer than one block or no level.
    """
    if blocks < 1 or levels < 1:
        raise ValueError(f"a U needs levels and blocks, got {levels} and {blocks}")
    stage = chain(factor, blocks, short)
    after = [stage**i for i in range(levels + 1)]  # of expanding stages, from the last one back
    for level in reversed(range(levels)):  # then of contracting ones, from the lowest up
        across = stage ** (level + 1) if long else 0.0
        after.append(across + stage * after[-1])
    slopes = [slope * chain(factor, k, short) for slope in after for k in range(blocks)]
    slopes.append(slopes[-1] * chain(factor, 1, short))
    return torch.tensor(slopes[::-1], dtype=torch.float64)


def convolution_gain(weight: Float[Tensor, "outputs inputs height width"]) -> float:
    """Return by what a mean squared gradient is multiplied on its way back through a convolution
    and the rectifier before it, if half of the units are on. Implements eq:skips-gain.

    Gradients of different outputs are taken to be unrelated, and the image to have no border.
    """
    return 0.5 * weight.square().sum().item() / len(weight)
