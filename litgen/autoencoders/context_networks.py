"""The network that fills a hole, its channel-wise fully connected layer, and the critic.

Chapter: book/autoencoders/context.md.  Proof: tests/autoencoders/test_context_networks.py.
Reference: Pathak et al., "Context Encoders: Feature Learning by Inpainting" (2016), section 3.1.

The paper's encoder is AlexNet's; here one convolution takes patches of 4 x 4 pixels, one mixes
neighbouring patches, and two transposed ones double what comes out. In between lie m maps of n x n
units, and a layer that lets every unit of a map see all the others.
"""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from litgen.shapes import Float

__all__ = [
    "ChannelwiseLinear",
    "ContextEncoder",
    "PatchCritic",
    "channelwise_parameters",
    "dense_parameters",
]


class ChannelwiseLinear(nn.Module):
    """Connect every place of a map with every place of the same map: eq:ctx-channelwise.

    At the start each place passes its own value on, and little of the others' (random weights of
    standard deviation 0.1 / side): large random weights would end as speckle in the fills.

    Args:
        maps: channels in and out.
        side: height and width of a map.
    """

    def __init__(self, maps: int, side: int):
        super().__init__()
        places = side**2
        self.weight = nn.Parameter(torch.empty(maps, places, places))
        self.bias = nn.Parameter(torch.zeros(maps, places))
        nn.init.normal_(self.weight, std=0.1 / side)
        self.weight.data += torch.eye(places)

    def forward(
        self, x: Float[Tensor, "batch maps side side"]
    ) -> Float[Tensor, "batch maps side side"]:
        """Return maps of the same shape.

        Raises:
            ValueError: other maps than the weights were made for.
        """
        maps, places, _ = self.weight.shape
        if x.shape[1] != maps or x.shape[2] * x.shape[3] != places:
            raise ValueError(f"{maps} maps of {places} places expected, got {tuple(x.shape[1:])}")
        columns = x.flatten(2).permute(1, 2, 0)  # maps, places, batch
        moved = torch.matmul(self.weight, columns).permute(2, 0, 1) + self.bias
        return moved.reshape(x.shape)


def channelwise_parameters(maps: int, side: int) -> int:
    """Return the weights of a channel-wise layer, m n^4. Implements eq:ctx-channelwise-count."""
    return maps * side**4


def dense_parameters(maps: int, side: int) -> int:
    """Return the weights of a layer that connects all with all, m^2 n^4. eq:ctx-dense-count."""
    return maps**2 * side**4


class ContextEncoder(nn.Module):
    """Images with a hole, and the hole, to images that are whole.

    Args:
        widths: channels of the encoder's two stages: patches of 4 x 4 pixels, and maps of them.
        channels: of the image; the input has one more, which says where the hole is.
        side: of the image, divisible by 4.
        bridge: put the channel-wise layer between encoder and decoder; without it a unit of the
            decoder sees what its own convolutions reach.

    Raises:
        ValueError: a side that is no multiple of 4, or other than two widths.
    """

    def __init__(
        self,
        widths: Sequence[int] = (24, 48),
        channels: int = 3,
        side: int = 32,
        bridge: bool = True,
    ):
        super().__init__()
        if len(widths) != 2 or side % 4:
            raise ValueError(f"two widths and a multiple of 4, got {tuple(widths)} and {side}")
        fine, maps = widths
        self.down = nn.Sequential(
            *_stage(nn.Conv2d(channels + 1, fine, 4, 4)),
            *_stage(nn.Conv2d(fine, maps, 3, padding=1)),
        )
        self.bridge: nn.Module = ChannelwiseLinear(maps, side // 4) if bridge else nn.Identity()
        self.up = nn.Sequential(
            *_stage(nn.Conv2d(maps, maps, 1)),
            *_stage(nn.ConvTranspose2d(maps, fine, 4, 2, 1)),
            nn.ConvTranspose2d(fine, channels, 4, 2, 1),
            nn.Tanh(),
        )

    def features(
        self, x: Float[Tensor, "batch inputs side side"]
    ) -> Float[Tensor, "batch maps small small"]:
        """Return the maps behind the bridge, before channels are mixed."""
        found: Tensor = self.bridge(self.down(x))
        return found

    def forward(
        self, x: Float[Tensor, "batch inputs side side"]
    ) -> Float[Tensor, "batch channels side side"]:
        """Return images in [-1, 1]."""
        images: Tensor = self.up(self.features(x))
        return images


class PatchCritic(nn.Module):
    """Patches to one logit each, positive for "data".

    Args:
        widths: channels of the stages, each of which halves the patch.
        channels: of the patch.
        side: of the patch, divisible by 2 for each width.

    Raises:
        ValueError: a side that cannot be halved so often, or no widths.
    """

    def __init__(self, widths: Sequence[int] = (16, 32, 64), channels: int = 3, side: int = 24):
        super().__init__()
        if not widths or side % 2 ** len(widths):
            raise ValueError(f"a side of {side} cannot be halved {len(widths)} times")
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise([channels, *widths]):
            layers += [nn.Conv2d(a, b, 4, 2, 1), nn.LeakyReLU(0.2)]
        places = (side // 2 ** len(widths)) ** 2
        self.net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * places, 1))

    def forward(self, x: Float[Tensor, "batch channels side side"]) -> Float[Tensor, " batch"]:
        """Return logits."""
        logits: Tensor = self.net(x).squeeze(1)
        return logits


def _stage(layer: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
    """Return a convolution, normalised, with what is negative cut."""
    return [layer, nn.BatchNorm2d(layer.out_channels), nn.ReLU()]
