"""Encoders and decoders for images given as vectors of pixels: dense and convolutional.

Chapter: book/vae/elbo.md.  Proof: tests/vae/test_networks.py.
Reference: Kingma & Welling, "Auto-Encoding Variational Bayes" (2014), appendix C.

An encoder maps (..., pixels) to (mean, log_var), each (..., latent); a decoder maps (..., latent)
to (..., pixels), the likelihood's logits or means.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from litgen.blocks import MLP, ConvBlock
from litgen.shapes import Float

__all__ = ["VAE", "ConvDecoder", "ConvEncoder", "DenseDecoder", "DenseEncoder"]


class DenseEncoder(nn.Module):
    """Fully connected layers from pixels to the posterior's mean and log-variance."""

    def __init__(self, pixels: int, hidden: Sequence[int], latent: int):
        super().__init__()
        self.net = MLP([pixels, *hidden, 2 * latent])

    def forward(
        self, x: Float[Tensor, "*batch pixels"]
    ) -> tuple[Float[Tensor, "*batch latent"], Float[Tensor, "*batch latent"]]:
        """Return (mean, log_var) of q(z|x)."""
        mean, log_var = self.net(x).float().chunk(2, dim=-1)
        return mean, log_var


class DenseDecoder(nn.Module):
    """Fully connected layers from the latent code to one number a pixel."""

    def __init__(self, latent: int, hidden: Sequence[int], pixels: int):
        super().__init__()
        self.net = MLP([latent, *hidden, pixels])

    def forward(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch pixels"]:
        """Return the likelihood's parameters, one a pixel."""
        pixels: Tensor = self.net(z).float()
        return pixels


class ConvEncoder(nn.Module):
    """Two strided blocks, then a linear layer.

    Args:
        side: height and width of the square, one-channel image; a multiple of 4.
        channels: of the first block; the second has twice as many.
        latent: dimensions of the code.

    Raises:
        ValueError: ``side`` is not a multiple of 4.
    """

    def __init__(self, side: int, channels: int, latent: int):
        super().__init__()
        self.side = _checked_side(side)
        self.blocks = nn.Sequential(
            ConvBlock(1, channels),
            ConvBlock(channels, 2 * channels, stride=2),
            ConvBlock(2 * channels, 2 * channels, stride=2),
        )
        self.head = nn.Linear(2 * channels * (side // 4) ** 2, 2 * latent)

    def forward(
        self, x: Float[Tensor, "batch pixels"]
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Return (mean, log_var) of q(z|x)."""
        features = self.blocks(x.view(-1, 1, self.side, self.side))
        mean, log_var = self.head(features.flatten(1)).float().chunk(2, dim=-1)
        return mean, log_var


class ConvDecoder(nn.Module):
    """A linear layer, then two blocks that each follow an upsampling by 2.

    Args:
        latent: dimensions of the code.
        channels: as in the encoder, of which this is the mirror.
        side: height and width of the image; a multiple of 4.

    Raises:
        ValueError: ``side`` is not a multiple of 4.
    """

    def __init__(self, latent: int, channels: int, side: int):
        super().__init__()
        self.coarse = (2 * channels, _checked_side(side) // 4, side // 4)
        self.head = nn.Linear(latent, 2 * channels * (side // 4) ** 2)
        self.blocks = nn.Sequential(
            ConvBlock(2 * channels, 2 * channels),
            nn.Upsample(scale_factor=2),
            ConvBlock(2 * channels, channels),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(channels, 1, 3, padding=1),
        )

    def forward(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch pixels"]:
        """Return the likelihood's parameters, one a pixel."""
        features = self.head(z.reshape(-1, z.shape[-1])).view(-1, *self.coarse)
        pixels: Tensor = self.blocks(features).float()
        return pixels.flatten(1).view(*z.shape[:-1], -1)


class VAE(nn.Module):
    """An encoder and a decoder that are trained and stored together."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder


def _checked_side(side: int) -> int:
    if side < 4 or side % 4:
        raise ValueError(f"side must be a positive multiple of 4, got {side}")
    return side
