"""Several small networks as one: a weight for each copy, and all copies multiplied at once.

Chapter: book/gan/stability.md.  Proof: tests/gan/test_stacked.py.

A small network leaves a processor idle most of the time. Copies that differ only in their start
cost little more than one, if each layer is a single batched product. The copies never meet: a
loss that is a sum over copies gives each of them its own gradient, and Adam works number by
number, so that a stack plays the very games that the copies would play one after the other.
"""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from litgen.gan.minibatch import deviation
from litgen.gan.spectral import power_step, spectral_norm
from litgen.shapes import Float

__all__ = ["StackedLinear", "StackedMLP", "StackedNorm"]


class StackedLinear(nn.Module):
    """Linear layers side by side, one a copy, drawn as torch draws a linear layer.

    Args:
        copies: how many.
        inputs: width before.
        outputs: width after.
        bound: keep each copy's largest singular value at this number, by one power step in each
            forward pass while training; free unless given.
    """

    u: Tensor

    def __init__(self, copies: int, inputs: int, outputs: int, bound: float | None = None):
        super().__init__()
        reach, self.bound = 1 / math.sqrt(inputs), bound
        self.weight = nn.Parameter(torch.empty(copies, outputs, inputs))
        self.bias = nn.Parameter(torch.empty(copies, 1, outputs))
        for parameter in (self.weight, self.bias):
            nn.init.uniform_(parameter, -reach, reach)
        if bound is not None:
            start = torch.linspace(1, 2, outputs).expand(copies, -1)
            self.register_buffer("u", start / start.norm(dim=1, keepdim=True))
            for _ in range(15):
                self.u = power_step(self.weight.detach(), self.u)[0]

    def matrix(self) -> Float[Tensor, "copies outputs inputs"]:
        """Return the weights that multiply, after normalisation if there is one.

        With a bound everywhere, the net is Lipschitz: eq:stable-lipschitz.
        """
        if self.bound is None:
            return self.weight
        u, v = power_step(self.weight.detach(), self.u)
        if self.training:
            self.u = u
        return self.bound * self.weight / spectral_norm(self.weight, u, v)[:, None, None]

    def forward(self, x: Float[Tensor, "copies batch inputs"]) -> Float[Tensor, "copies batch o"]:
        """Return every copy's answer to its own batch."""
        return torch.baddbmm(self.bias, x, self.matrix().mT)


class StackedNorm(nn.Module):
    """Batch normalisation of every copy by its own batch: torch's, with copies as channels."""

    def __init__(self, copies: int, width: int):
        super().__init__()
        self.norm = nn.BatchNorm1d(copies * width)

    def forward(self, x: Float[Tensor, "copies batch width"]) -> Float[Tensor, "copies batch w"]:
        """Return activations with mean zero and variance one in each copy, gain and bias added."""
        copies, batch, width = x.shape
        rows = x.transpose(0, 1).reshape(batch, copies * width)
        normed: Tensor = self.norm(rows).view(batch, copies, width).transpose(0, 1)
        return normed


class StackedMLP(nn.Module):
    """Networks side by side: linear layers with an activation between them.

    Args:
        copies: how many.
        sizes: widths from input to output, at least two.
        slope: of the activation where its input is negative; 0 is the ReLU.
        norm: batch normalisation before each activation.
        bound: largest singular value of every layer; free unless given.
        statistics: show the last layer the deviation of the batch as one more feature.

    Raises:
        ValueError: fewer than two sizes.
    """

    def __init__(
        self,
        copies: int,
        sizes: Sequence[int],
        slope: float = 0.0,
        norm: bool = False,
        bound: float | None = None,
        statistics: bool = False,
    ):
        super().__init__()
        if len(sizes) < 2:
            raise ValueError(f"a network needs an input and an output size, got {list(sizes)}")
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(sizes[:-1]):
            layers.append(StackedLinear(copies, inputs, outputs, bound))
            layers += [StackedNorm(copies, outputs)] if norm else []
            layers.append(nn.LeakyReLU(slope) if slope else nn.ReLU())
        self.body = nn.Sequential(*layers)
        self.statistics = statistics
        self.head = StackedLinear(copies, sizes[-2] + statistics, sizes[-1], bound)

    def features(self, x: Float[Tensor, "copies batch inputs"]) -> Float[Tensor, "copies batch f"]:
        """Return what the last layer sees, without the batch's deviation."""
        seen: Tensor = self.body(x)
        return seen

    def forward(self, x: Float[Tensor, "copies batch inputs"]) -> Float[Tensor, "copies batch o"]:
        """Return every copy's answer to its own batch."""
        seen = self.features(x)
        if self.statistics:
            seen = torch.cat([seen, deviation(seen)], dim=-1)
        answer: Tensor = self.head(seen)
        return answer
