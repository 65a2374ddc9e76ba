"""Convolutional autoencoders: strided convolutions down, transposed ones up, any size of image.

Chapter: book/autoencoders/convolutional.md.  Proof: tests/autoencoders/test_convolutional.py.
References: Masci, Meier, Ciresan & Schmidhuber, "Stacked Convolutional Auto-Encoders for
Hierarchical Feature Extraction" (2011); Odena, Dumoulin & Olah, "Deconvolution and Checkerboard
Artifacts" (2016), for the lattice.

Notation: a size n becomes m; k is ``kernel``, s ``stride``, p ``padding``, o ``missing``.
"""

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from litgen.shapes import Float

__all__ = [
    "ConvAutoencoder",
    "lattice_energy",
    "missing",
    "noisy_loss",
    "sizes",
    "smaller",
    "transposed",
]

Map = Callable[[Tensor], Tensor]

STRIDE = 2


def smaller(size: int, kernel: int, stride: int = STRIDE, padding: int = 1) -> int:
    """Return the size after a strided convolution. Implements eq:cae-size.

    Raises:
        ValueError: the kernel does not fit into the padded image.
    """
    room = size + 2 * padding - kernel
    if size < 1 or room < 0:
        raise ValueError(
            f"a kernel of {kernel} does not fit into {size} pixels, padded by {padding}"
        )
    return room // stride + 1


def transposed(
    size: int, kernel: int, stride: int = STRIDE, padding: int = 1, extra: int = 0
) -> int:
    """Return the size after a transposed convolution. Implements eq:cae-transposed."""
    return stride * (size - 1) + kernel - 2 * padding + extra


def missing(size: int, kernel: int, stride: int = STRIDE, padding: int = 1) -> int:
    """Return the pixels that the way down rounded off. Implements eq:cae-missing.

    Given to the transposed convolution as ``output_padding``, they bring the size back exactly.
    """
    return (size + 2 * padding - kernel) % stride


def sizes(size: int, layers: int, kernel: int) -> list[int]:
    """Return the size before, between and after the layers of an encoder.

    Raises:
        ValueError: an image too small for so many layers; the message says how small it became.
    """
    found = [size]
    for layer in range(layers):
        if found[-1] + 2 < kernel:
            raise ValueError(
                f"an image of {size} pixels has {found[-1]} left before layer {layer + 1} of "
                f"{layers}, too few for a kernel of {kernel}"
            )
        found.append(smaller(found[-1], kernel))
    return found


class ConvAutoencoder(nn.Module):
    """Strided convolutions, a linear layer to the code, and the mirror of both.

    Args:
        height: of the images, odd or even.
        width: of the images.
        channels: of the stages, the finest first.
        latent: numbers in the code.
        kernel: 4, which divides by the stride, or 3, which does not.
        inputs: channels of the images.

    Raises:
        ValueError: images too small for the stages, another kernel, or no stage.
    """

    def __init__(
        self,
        height: int,
        width: int,
        channels: Sequence[int] = (16, 32),
        latent: int = 16,
        kernel: int = 4,
        inputs: int = 1,
    ):
        super().__init__()
        if kernel not in (3, 4) or not channels or min(*channels, latent, inputs) < 1:
            raise ValueError(f"kernel {kernel}, channels {tuple(channels)}, latent {latent}")
        self.shape = (inputs, height, width)
        rows, columns = (sizes(n, len(channels), kernel) for n in (height, width))
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        stages = zip(itertools.pairwise([inputs, *channels]), rows[:-1], columns[:-1], strict=True)
        for (thin, thick), high, wide in stages:
            down += [nn.Conv2d(thin, thick, kernel, STRIDE, padding=1), nn.ReLU()]
            extra = missing(high, kernel), missing(wide, kernel)
            up[:0] = [nn.ReLU(), nn.ConvTranspose2d(thick, thin, kernel, STRIDE, 1, extra)]
        coarse = channels[-1], rows[-1], columns[-1]
        flat = channels[-1] * rows[-1] * columns[-1]
        self.encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(flat, latent))
        self.decoder = nn.Sequential(
            nn.Linear(latent, flat), nn.Unflatten(1, coarse), *up, nn.Sigmoid()
        )

    def encode(
        self, x: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch latent"]:
        """Return the codes.

        Raises:
            ValueError: images of another shape than the network was made for.
        """
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(f"made for images of {self.shape}, got {tuple(x.shape[1:])}")
        z: Tensor = self.encoder(x)
        return z.float()

    def decode(
        self, z: Float[Tensor, "batch latent"]
    ) -> Float[Tensor, "batch inputs height width"]:
        """Return images in [0, 1], of the size that `encode` takes."""
        x: Tensor = self.decoder(z)
        return x.float()

    def forward(
        self, x: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch inputs height width"]:
        """Return the reconstruction."""
        return self.decode(self.encode(x))


def noisy_loss(
    x: Float[Tensor, "batch *shape"],
    encode: Map,
    decode: Map,
    noise: Float[Tensor, "..."],
    weight: float,
) -> Float[Tensor, " batch"]:
    """Return the squared error from a disturbed code plus the weighted square of the code.

    Implements eq:cae-noisy; with no noise and weight 0 it is the plain autoencoder's loss. Summed
    over pixels and over the code.

    Raises:
        ValueError: noise of another shape than the codes, or a negative weight.
    """
    z = encode(x)
    if z.shape != noise.shape or weight < 0:
        raise ValueError(f"codes {tuple(z.shape)}, noise {tuple(noise.shape)}, weight {weight}")
    error = (x - decode(z + noise)).square().flatten(1).sum(dim=1)
    return error + weight * z.square().sum(dim=1)


def lattice_energy(x: Float[Tensor, "*batch height width"]) -> Float[Tensor, "*batch"]:
    """Return the power of an image in the three patterns that repeat every two pixels.

    Implements eq:cae-lattice. A last odd row or column is left out.

    Raises:
        ValueError: an image of fewer than two rows or columns.
    """
    if min(x.shape[-2:]) < 2:
        raise ValueError(f"at least 2 rows and columns, got {tuple(x.shape[-2:])}")
    even = x[..., : x.shape[-2] // 2 * 2, : x.shape[-1] // 2 * 2]
    phases = [even[..., r::2, c::2].mean(dim=(-2, -1)) for r in (0, 1) for c in (0, 1)]
    return torch.stack(phases).var(dim=0, correction=0)
