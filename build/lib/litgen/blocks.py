"""Building blocks of networks that several families share.

Chapter: book/vae/elbo.md.  Proof: tests/test_blocks.py.
"""

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from litgen.shapes import Float

__all__ = ["MLP", "ConvBlock"]


class MLP(nn.Sequential):
    """Linear layers with an activation between them and none after the last.

    Args:
        sizes: widths from input to output, at least two.
        activation: the class of the activation.

    Raises:
        ValueError: fewer than two sizes.
    """

    def __init__(self, sizes: Sequence[int], activation: type[nn.Module] = nn.ReLU):
        if len(sizes) < 2:
            raise ValueError(f"an MLP needs an input and an output size, got {list(sizes)}")
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), activation()]
        super().__init__(*layers[:-1])


class ConvBlock(nn.Module):
    """3x3 convolution, group normalisation, SiLU; ``stride`` 2 halves height and width.

    Args:
        inputs: channels in.
        outputs: channels out, a multiple of ``groups``.
        stride: of the convolution.
        groups: of the normalisation.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, groups: int = 8):
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1)
        self.norm = nn.GroupNorm(min(groups, outputs), outputs)
        self.activation = nn.SiLU()

    def forward(
        self, x: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs out_height out_width"]:
        """Return the block's features."""
        features: Tensor = self.activation(self.norm(self.convolution(x)))
        return features
