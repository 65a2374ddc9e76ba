"""A plain convolutional encoder and decoder, what they assume, and how far they keep to it.

Chapter: book/vae/convolutional.md.  Proof: tests/vae/test_convolutional.py.
References: Dumoulin & Visin, "A guide to convolution arithmetic for deep learning" (2016); Azulay
& Weiss, "Why do deep convolutional networks generalize so poorly to small image transformations?"
(2019), for what a stride leaves of equivariance.

Both networks are flat stacks of layers, without normalisation, so that a page can compute them.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from litgen.shapes import Float

__all__ = [
    "StridedEncoder",
    "TransposedDecoder",
    "convolution_parameters",
    "dense_parameters",
    "equivariance_error",
    "translated",
]


class StridedEncoder(nn.Module):
    """Two convolutions of stride 2, then a linear layer.

    Args:
        side: height and width of the square, one-channel image; a multiple of 4.
        channels: of the first convolution; the second has twice as many.
        latent: dimensions of the code.

    Raises:
        ValueError: ``side`` is not a multiple of 4.
    """

    def __init__(self, side: int, channels: int, latent: int):
        super().__init__()
        self.side = _checked_side(side)
        self.features = nn.Sequential(
            nn.Conv2d(1, channels, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Linear(2 * channels * (side // 4) ** 2, 2 * latent)

    def forward(
        self, x: Float[Tensor, "batch pixels"]
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Return (mean, log_var) of q(z|x)."""
        maps = self.features(x.view(-1, 1, self.side, self.side))
        mean, log_var = self.head(maps.flatten(1)).float().chunk(2, dim=-1)
        return mean, log_var


class TransposedDecoder(nn.Module):
    """A linear layer, then two transposed convolutions of stride 2: the encoder, mirrored.

    Args:
        latent: dimensions of the code.
        channels: as in the encoder.
        side: height and width of the image; a multiple of 4.

    Raises:
        ValueError: ``side`` is not a multiple of 4.
    """

    def __init__(self, latent: int, channels: int, side: int):
        super().__init__()
        coarse = (2 * channels, _checked_side(side) // 4, side // 4)
        self.net = nn.Sequential(
            nn.Linear(latent, 2 * channels * (side // 4) ** 2),
            nn.ReLU(),
            nn.Unflatten(1, coarse),
            nn.ConvTranspose2d(2 * channels, channels, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(channels, 1, 4, stride=2, padding=1),
            nn.Flatten(),
        )

    def forward(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch pixels"]:
        """Return the likelihood's parameters, one a pixel."""
        pixels: Tensor = self.net(z.reshape(-1, z.shape[-1])).float()
        return pixels.view(*z.shape[:-1], -1)


def convolution_parameters(inputs: int, outputs: int, kernel: int) -> int:
    """Count the weights and biases of a convolution. Implements eq:evo-parameters, left side.

    The image's size does not enter.
    """
    return outputs * (inputs * kernel**2 + 1)


def dense_parameters(inputs: int, outputs: int, side: int, out_side: int) -> int:
    """Count those of a dense layer between the same images. Implements eq:evo-parameters, right.

    Args:
        inputs: channels in.
        outputs: channels out.
        side: height and width of the image that enters.
        out_side: height and width of the image that leaves.
    """
    return outputs * out_side**2 * (inputs * side**2 + 1)


def translated(
    images: Float[Tensor, "*batch height width"], down: int, right: int
) -> Float[Tensor, "*batch height width"]:
    """Shift images by whole pixels; zeros come in at the edge. Negative: up, left."""
    height, width = images.shape[-2:]
    shifted = torch.zeros_like(images)
    top, left = max(down, 0), max(right, 0)
    bottom, end = min(height, height + down), min(width, width + right)
    if top < bottom and left < end:
        shifted[..., top:bottom, left:end] = images[
            ..., top - down : bottom - down, left - right : end - right
        ]
    return shifted


def equivariance_error(
    features: Callable[[Tensor], Tensor],
    images: Float[Tensor, "count channels height width"],
    shift: int,
    stride: int,
    border: int = 0,
) -> Float[Tensor, ""]:
    """Say how far a shifted image's features are from the shifted features; 0 is equivariant.

    Implements eq:evo-equivariance: the root mean square of the difference over that of the
    features, away from a border of the feature map that the edge of the image reaches. A shift
    that is no multiple of the stride is compared with the nearest whole one, halves downwards.

    Args:
        features: from images to maps (count, channels, rows, columns).
        images: padded generously, so that a shift loses nothing.
        shift: pixels to the right.
        stride: pixels of the image between neighbouring places of the map.
        border: rows and columns of the map left out on each side.

    Raises:
        ValueError: nothing is left inside the border.
    """
    before, after = features(images), features(translated(images, 0, shift))
    steps = -((stride - 2 * shift) // (2 * stride))  # shift / stride, rounded half down
    rows, columns = before.shape[-2:]
    inner = (..., slice(border, rows - border), slice(border, columns - border))
    wanted = translated(before, 0, steps)[inner]
    if wanted.numel() == 0:
        raise ValueError(f"a border of {border} leaves nothing of {rows} x {columns} places")
    apart = (after[inner] - wanted).square().mean()
    return (apart / wanted.square().mean()).sqrt()


def _checked_side(side: int) -> int:
    if side < 4 or side % 4:
        raise ValueError(f"side must be a positive multiple of 4, got {side}")
    return side
