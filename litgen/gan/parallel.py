"""Several small networks of one shape, side by side: one product a layer does for all of them.

Chapter: book/gan/gradient_penalty.md.  Proof: tests/gan/test_parallel.py.
References: Tancik et al., "Fourier Features Let Networks Learn High Frequency Functions in Low
Dimensional Domains" (2020), for the waves.

Games on toy sets spend their time on calls, not on numbers. Five seeds, or three sets, played at
once cost little more than one. Row i of a batch belongs to network i mod copies, so that batches
can be put one behind the other.
"""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from litgen.gan.activations import piecewise_leaky_relu
from litgen.shapes import Float

__all__ = ["StackedMLP", "interleave", "separate"]


class StackedMLP(nn.Module):
    """As many multilayer perceptrons as ``copies``, which share nothing.

    Weights and biases start uniform within 1 / sqrt(inputs), as `torch.nn.Linear`'s do.

    Args:
        copies: networks.
        sizes: widths from input to output, at least two.
        negative_slope: of the activation on negative numbers; 0 for ReLU.
        waves: standard deviation of fixed random frequencies, in radians per unit of the input;
            the networks then see sines and cosines beside the input. None if 0.
        frequencies: how many of them.

    Raises:
        ValueError: no copies, or fewer than two sizes.
    """

    waves: Tensor

    def __init__(
        self,
        copies: int,
        sizes: Sequence[int],
        negative_slope: float = 0.0,
        waves: float = 0.0,
        frequencies: int = 32,
    ):
        super().__init__()
        if copies < 1 or len(sizes) < 2:
            raise ValueError(f"at least 1 copy and 2 sizes, got {copies} and {list(sizes)}")
        self.copies, self.negative_slope = copies, negative_slope
        count = frequencies if waves else 0
        angles = torch.zeros(copies, sizes[0], count)
        self.register_buffer("waves", nn.init.normal_(angles, std=waves) if count else angles)
        widths = [sizes[0] + 2 * count, *sizes[1:]]
        pairs = list(itertools.pairwise(widths))
        self.weights = nn.ParameterList(_uniform(copies, a, b, scale=a) for a, b in pairs)
        self.biases = nn.ParameterList(_uniform(copies, 1, b, scale=a) for a, b in pairs)

    def forward(self, x: Float[Tensor, "rows inputs"]) -> Float[Tensor, "rows outputs"]:
        """Return the outputs; row i is network i mod copies' answer.

        Raises:
            ValueError: rows that cannot be dealt out evenly.
        """
        if len(x) % self.copies:
            raise ValueError(f"{len(x)} rows for {self.copies} networks")
        h = x.view(-1, self.copies, x.shape[1]).transpose(0, 1)
        if self.waves.shape[2]:
            angle = torch.bmm(h, self.waves)
            h = torch.cat([h, angle.sin(), angle.cos()], dim=2)
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = torch.baddbmm(
                bias, h if not i else piecewise_leaky_relu(h, self.negative_slope), weight
            )
        return h.transpose(0, 1).flatten(0, 1)


def _uniform(*shape: int, scale: int) -> nn.Parameter:
    """Return numbers within 1 / sqrt(scale)."""
    bound = 1 / math.sqrt(scale)
    return nn.Parameter(nn.init.uniform_(torch.empty(shape), -bound, bound))


def interleave(parts: Sequence[Float[Tensor, "count dims"]]) -> Float[Tensor, "rows dims"]:
    """Return one batch for all networks from one for each."""
    return torch.stack(list(parts), dim=1).flatten(0, 1)


def separate(x: Float[Tensor, "rows dims"], copies: int) -> Float[Tensor, "copies count dims"]:
    """Undo `interleave`.

    Raises:
        ValueError: rows that cannot be dealt out evenly.
    """
    if len(x) % copies:
        raise ValueError(f"{len(x)} rows for {copies} networks")
    return x.view(-1, copies, x.shape[1]).transpose(0, 1)
