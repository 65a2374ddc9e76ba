"""A residual convolutional encoder and decoder, for a likelihood that can be compared with papers.

Chapter: book/vae/convolutional.md.  Proof: tests/vae/test_residual.py.
Reference: He, Zhang, Ren & Sun, "Deep Residual Learning for Image Recognition" (2016).

Every block starts as the identity: the last convolution of its branch is zero, which keeps a deep
stack without normalisation stable at the start of a training.
"""

import torch
from torch import Tensor, nn

from litgen.shapes import Float

__all__ = ["ResidualBlock", "ResidualDecoder", "ResidualEncoder"]


class ResidualBlock(nn.Module):
    """x + f(x), with f two convolutions, each after a SiLU. Implements eq:evo-residual.

    Args:
        channels: in and out.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Return the block's features."""
        branch = self.second(nn.functional.silu(self.first(nn.functional.silu(x))))
        total: Tensor = x + branch
        return total


class ResidualEncoder(nn.Module):
    """Halve twice, with residual blocks after each halving, then a linear layer.

    Args:
        side: height and width of the square, one-channel image; a multiple of 4.
        channels: at half the side; twice as many at a quarter.
        blocks: residual blocks at each of the two sizes.
        latent: dimensions of the code.

    Raises:
        ValueError: ``side`` is not a multiple of 4, or ``blocks`` is negative.
    """

    def __init__(self, side: int, channels: int, blocks: int, latent: int):
        super().__init__()
        self.side = side
        _check(side, blocks)
        self.features = nn.Sequential(
            nn.Conv2d(1, channels, 4, stride=2, padding=1),
            *[ResidualBlock(channels) for _ in range(blocks)],
            nn.SiLU(),
            nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1),
            *[ResidualBlock(2 * channels) for _ in range(blocks)],
            nn.SiLU(),
        )
        self.head = nn.Linear(2 * channels * (side // 4) ** 2, 2 * latent)
        self.to(memory_format=torch.channels_last)  # faster; the numbers are the same

    def forward(
        self, x: Float[Tensor, "batch pixels"]
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Return (mean, log_var) of q(z|x)."""
        maps = self.features(x.view(-1, 1, self.side, self.side))
        mean, log_var = self.head(maps.flatten(1)).float().chunk(2, dim=-1)
        return mean, log_var


class ResidualDecoder(nn.Module):
    """A linear layer, then residual blocks before each of two doublings.

    Args:
        latent: dimensions of the code.
        channels: as in the encoder, of which this is the mirror.
        blocks: as in the encoder.
        side: height and width of the image; a multiple of 4.

    Raises:
        ValueError: ``side`` is not a multiple of 4, or ``blocks`` is negative.
    """

    def __init__(self, latent: int, channels: int, blocks: int, side: int):
        super().__init__()
        _check(side, blocks)
        self.net = nn.Sequential(
            nn.Linear(latent, 2 * channels * (side // 4) ** 2),
            nn.Unflatten(1, (2 * channels, side // 4, side // 4)),
            *[ResidualBlock(2 * channels) for _ in range(blocks)],
            nn.SiLU(),
            nn.ConvTranspose2d(2 * channels, channels, 4, stride=2, padding=1),
            *[ResidualBlock(channels) for _ in range(blocks)],
            nn.SiLU(),
            nn.ConvTranspose2d(channels, 1, 4, stride=2, padding=1),
            nn.Flatten(),
        )
        self.to(memory_format=torch.channels_last)

    def forward(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch pixels"]:
        """Return the likelihood's parameters, one a pixel."""
        pixels: Tensor = self.net(z.reshape(-1, z.shape[-1])).float()
        return pixels.view(*z.shape[:-1], -1)


def _check(side: int, blocks: int) -> None:
    if side < 4 or side % 4:
        raise ValueError(f"side must be a positive multiple of 4, got {side}")
    if blocks < 0:
        raise ValueError(f"blocks must not be negative, got {blocks}")
