"""Noise removal from images: what it is measured in, the filter to beat, and the networks.

Chapter: book/autoencoders/denoising.md.  Proof: tests/autoencoders/test_denoising_images.py.
Reference: Vincent, Larochelle, Bengio & Manzagol, "Extracting and Composing Robust Features with
Denoising Autoencoders" (2008), equations 1 and 2, for the tied autoencoder.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from litgen.blocks import MLP
from litgen.shapes import Float
from litgen.unet import UNet

__all__ = ["Denoiser", "TiedAutoencoder", "gaussian_filter", "psnr"]


def psnr(
    x: Float[Tensor, "images *dims"], answer: Float[Tensor, "..."]
) -> Float[Tensor, " images"]:
    """Return the peak signal-to-noise ratio of each image in decibels; larger is better.

    Implements eq:dae-psnr, for pixels whose peak is 1.

    Raises:
        ValueError: the shapes differ.
    """
    if x.shape != answer.shape:
        raise ValueError(f"clean images {tuple(x.shape)}, answers {tuple(answer.shape)}")
    return -10 * (x - answer).square().flatten(1).mean(dim=1).log10()


def gaussian_filter(
    images: Float[Tensor, "images channels height width"], width: float
) -> Float[Tensor, "images channels height width"]:
    """Average each pixel with its neighbours, by weights that fall as a Gaussian of the distance.

    Implements eq:dae-filter. Beyond the border there is black, as around a photographed shoe.

    Args:
        images: of one or more channels, each filtered alone.
        width: the Gaussian's standard deviation in pixels; it is cut off at four of them.

    Raises:
        ValueError: a width that is not positive.
    """
    if not width > 0:
        raise ValueError(f"the filter's width must be positive, got {width}")
    across, down = (_weights(side, width, images) for side in (images.shape[3], images.shape[2]))
    return down @ images @ across


def _weights(side: int, width: float, like: Tensor) -> Float[Tensor, "side side"]:
    """Return what each pixel of a line gives to each other; those beyond the line count too."""
    reach = int(4 * width + 0.5)
    kernel = [math.exp(-0.5 * (offset / width) ** 2) for offset in range(reach + 1)]
    total = kernel[0] + 2 * sum(kernel[1:])
    line = torch.zeros(side).to(like)
    line[: reach + 1] = torch.tensor(kernel[:side]).to(like) / total
    place = torch.arange(side, device=like.device)
    return line[(place[:, None] - place).abs()]


class Denoiser(nn.Module):
    """A network from noisy to clean pixels, given as vectors: dense, or a U-Net.

    Nothing is cut to [0, 1], inside or at the end: the noise stays Gaussian, and the answer can
    be a posterior mean.

    Args:
        network: dense, or unet.
        widths: of the hidden layers, or channels at each resolution of the U-Net.
        pixels: of a square, one-channel image.

    Raises:
        ValueError: an unknown network, or pixels that make no square.
    """

    def __init__(self, network: str, widths: Sequence[int], pixels: int):
        super().__init__()
        self.side = math.isqrt(pixels)
        if self.side**2 != pixels:
            raise ValueError(f"{pixels} pixels make no square")
        if network == "dense":
            self.net: nn.Module = MLP([pixels, *widths, pixels])
        elif network == "unet":
            image = nn.Unflatten(1, (1, self.side, self.side))
            self.net = nn.Sequential(image, UNet(1, 1, widths), nn.Flatten())
        else:
            raise ValueError(f"unknown network {network!r}; there are: dense, unet")

    def forward(self, y: Float[Tensor, "images pixels"]) -> Float[Tensor, "images pixels"]:
        """Return the clean image that is expected."""
        answer: Tensor = self.net(y)
        return answer


class TiedAutoencoder(nn.Module):
    """One hidden layer whose way back is the transposed way in. Implements eq:dae-tied.

    Args:
        pixels: of the data, in [0, 1].
        hidden: units.
        generator: draws the weights.
    """

    def __init__(self, pixels: int, hidden: int, generator: torch.Generator):
        super().__init__()
        bound = math.sqrt(6 / (pixels + hidden))
        uniform = torch.rand(hidden, pixels, generator=generator)
        self.weight = nn.Parameter(bound * (2 * uniform - 1))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        self.visible_bias = nn.Parameter(torch.zeros(pixels))

    def features(self, y: Float[Tensor, "batch pixels"]) -> Float[Tensor, "batch hidden"]:
        """Return the hidden units, in (0, 1)."""
        return torch.sigmoid(y @ self.weight.T + self.hidden_bias)

    def forward(self, y: Float[Tensor, "batch pixels"]) -> Float[Tensor, "batch pixels"]:
        """Return the logits of the pixels."""
        return self.features(y) @ self.weight + self.visible_bias
