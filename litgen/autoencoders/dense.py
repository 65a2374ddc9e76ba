"""Dense autoencoders: linear, bent, and a bent one that starts as the best linear one.

Chapter: book/autoencoders/dense.md.  Proof: tests/autoencoders/test_dense.py.
References: Hinton & Salakhutdinov, "Reducing the Dimensionality of Data with Neural Networks"
(2006); Baldi & Hornik (1989) for the linear case.

Notation: f is ``encode``, g is ``decode``, z the code. Images are vectors of pixels in [0, 1].
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from litgen.blocks import MLP
from litgen.shapes import Float

__all__ = [
    "CorrectedAutoencoder",
    "DenseAutoencoder",
    "LinearAutoencoder",
    "single_stack",
    "squared_error",
]


def squared_error(
    x: Float[Tensor, "*#batch pixels"], reconstruction: Float[Tensor, "*#batch pixels"]
) -> Float[Tensor, "*#batch"]:
    """Return the squared distance of each image from its reconstruction. Implements eq:ae-loss.

    The sum over pixels, not their mean.

    Raises:
        ValueError: shapes that differ.
    """
    if x.shape != reconstruction.shape:
        raise ValueError(f"data {tuple(x.shape)}, reconstruction {tuple(reconstruction.shape)}")
    return (x - reconstruction).square().sum(dim=-1)


class LinearAutoencoder(nn.Module):
    """A matrix to the code and a matrix back, each with an offset. Implements eq:ae-linear."""

    def __init__(self, pixels: int, latent: int):
        super().__init__()
        _check_sizes(pixels, latent)
        self.encode = nn.Linear(pixels, latent)
        self.decode = nn.Linear(latent, pixels)

    def forward(self, x: Float[Tensor, "*batch pixels"]) -> Float[Tensor, "*batch pixels"]:
        """Return the reconstruction."""
        reconstruction: Tensor = self.decode(self.encode(x))
        return reconstruction

    @torch.no_grad()
    def start_at(
        self,
        mean: Float[Tensor, " pixels"],
        directions: Float[Tensor, "pixels latent"],
        variances: Float[Tensor, " latent"],
    ) -> None:
        """Become the best one, with codes of variance 1. Implements eq:ae-start.

        Raises:
            ValueError: a variance that is not positive.
        """
        if not (variances > 0).all():
            raise ValueError(f"variances must be positive, the least is {variances.min():.3g}")
        sd = variances.sqrt()
        self.encode.weight.copy_((directions / sd).T)
        self.encode.bias.copy_(-(mean @ directions) / sd)
        self.decode.weight.copy_(directions * sd)
        self.decode.bias.copy_(mean)


class DenseAutoencoder(nn.Module):
    """Layers with bends between them on both sides of the code, none at the code itself.

    Args:
        pixels: of an image.
        hidden: widths from the image to the code; the decoder has them in reverse.
        latent: numbers in the code.
        activation: the class of the bends.
    """

    def __init__(
        self,
        pixels: int,
        hidden: Sequence[int],
        latent: int,
        activation: type[nn.Module] = nn.ReLU,
    ):
        super().__init__()
        _check_sizes(pixels, latent, *hidden)
        self.encode = MLP([pixels, *hidden, latent], activation)
        self.decode = MLP([latent, *hidden[::-1], pixels], activation)

    def forward(self, x: Float[Tensor, "*batch pixels"]) -> Float[Tensor, "*batch pixels"]:
        """Return the reconstruction."""
        reconstruction: Tensor = self.decode(self.encode(x))
        return reconstruction


class CorrectedAutoencoder(nn.Module):
    """A linear autoencoder and a bent one in parallel, of which only the first speaks at first.

    Implements eq:ae-corrected: the last layers of the bent one start at zero.
    """

    def __init__(self, pixels: int, hidden: Sequence[int], latent: int):
        super().__init__()
        self.line = LinearAutoencoder(pixels, latent)
        self.bend = DenseAutoencoder(pixels, hidden, latent)
        for stack in (self.bend.encode, self.bend.decode):
            for parameter in stack[-1].parameters():
                nn.init.zeros_(parameter)

    def encode(self, x: Float[Tensor, "*batch pixels"]) -> Float[Tensor, "*batch latent"]:
        """Return the code."""
        z: Tensor = self.line.encode(x) + self.bend.encode(x)
        return z

    def decode(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch pixels"]:
        """Return the image of a code."""
        x: Tensor = self.line.decode(z) + self.bend.decode(z)
        return x

    def forward(self, x: Float[Tensor, "*batch pixels"]) -> Float[Tensor, "*batch pixels"]:
        """Return the reconstruction."""
        return self.decode(self.encode(x))


def single_stack(line: nn.Linear, bend: nn.Sequential) -> nn.Sequential:
    """Return one stack of linear layers and ReLUs that computes line(z) + bend(z).

    z passes the bends as its positive and its negative part, two numbers for one: the page's
    interpreter knows stacks only. Implements eq:ae-parts.

    Raises:
        ValueError: bends other than ReLU.
    """
    linear = [layer for layer in bend if isinstance(layer, nn.Linear)]
    if not all(isinstance(layer, nn.Linear | nn.ReLU) for layer in bend) or len(linear) < 2:
        raise ValueError("the stack must be linear layers with ReLU between them")
    eye = torch.eye(line.in_features)
    first = torch.cat([linear[0].weight, eye, -eye]), _extended(linear[0].bias, 2 * len(eye))
    middle = [
        (
            torch.block_diag(layer.weight, torch.eye(2 * len(eye))),
            _extended(layer.bias, 2 * len(eye)),
        )
        for layer in linear[1:-1]
    ]
    last = torch.cat([linear[-1].weight, line.weight, -line.weight], dim=1)
    made: list[nn.Module] = []
    for weight, bias in [first, *middle, (last, linear[-1].bias + line.bias)]:
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
        made += [layer, nn.ReLU()]
    return nn.Sequential(*made[:-1])


def _extended(bias: Tensor, zeros: int) -> Tensor:
    return torch.cat([bias, bias.new_zeros(zeros)])


def _check_sizes(*sizes: int) -> None:
    if min(sizes) < 1:
        raise ValueError(f"widths must be positive, got {sizes}")
