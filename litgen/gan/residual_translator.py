"""A network from images to images of the same size, with residual blocks in the middle.

Chapter: book/gan/cyclegan.md.  Proof: tests/gan/test_residual_translator.py.
References: Johnson, Alahi & Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and
Super-Resolution" (2016), for the shape; Zhu, Park, Isola & Efros, "Unpaired Image-to-Image
Translation using Cycle-Consistent Adversarial Networks" (2017), section 4 and appendix 7.2.

Departures: where the paper grows by a transposed convolution, this network doubles pixels and
convolves, computed as one; and ``shortcut``, which the paper does not have.
"""

import itertools

from torch import Tensor, nn

from litgen.gan.networks import initialise
from litgen.shapes import Float
from litgen.unet import GrowingConv

__all__ = ["ResidualBlock", "ResidualTranslator"]

QUIET = 0.002
"""Standard deviation of the last layer's weights at the start, where there is a shortcut."""


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, each normalised image by image, added to what came in."""

    def __init__(self, width: int):
        super().__init__()
        self.body = nn.Sequential(
            *(_convolved(width, width, 3), nn.ReLU(inplace=True), _convolved(width, width, 3))
        )

    def forward(self, x: Float[Tensor, "batch width h w"]) -> Float[Tensor, "batch width h w"]:
        """Return x and what the block adds to it."""
        after: Tensor = x + self.body(x)
        return after


class ResidualTranslator(nn.Module):
    """Images in [-1, 1] to images of the same size and number of channels.

    Normalisation takes an image's own moments, so that what becomes of an image does not depend
    on the images beside it: several jobs can share one pass.

    Args:
        channels: of the images.
        width: channels of the first layer; each halving doubles them.
        halvings: how often height and width are halved before the residual blocks.
        blocks: residual blocks.
        shortcut: add the input to the output, in the place of the last tanh: the network starts
            close to leaving images as they are, and says only what to change. Values may leave
            [-1, 1] where a critic lets them; who keeps an image cuts them off.
        fold: side of the squares of pixels that become channels before the first layer, and
            pixels again after the last: layers of the full size cost most and see least. With
            more than 1, the outer kernels are 3x3 instead of 7x7.

    Raises:
        ValueError: no channels, no width, no fold, or a negative number of halvings or blocks.
    """

    def __init__(
        self,
        channels: int = 3,
        width: int = 64,
        halvings: int = 2,
        blocks: int = 6,
        shortcut: bool = False,
        fold: int = 1,
    ):
        if min(channels, width, fold) < 1 or min(halvings, blocks) < 0:
            given = f"{channels} channels, width {width}, {halvings} halvings, {blocks} blocks"
            raise ValueError(f"a translator cannot have {given}, fold {fold}")
        super().__init__()
        self.channels, self.shortcut = channels, shortcut
        self.part = fold * 2**halvings
        inner, kernel = channels * fold**2, 7 if fold == 1 else 3
        widths = [width * 2**i for i in range(halvings + 1)]
        layers: list[nn.Module] = [nn.PixelUnshuffle(fold)] if fold > 1 else []
        layers += [_convolved(inner, width, kernel), nn.ReLU(inplace=True)]
        for a, b in itertools.pairwise(widths):
            layers += [_convolved(a, b, 3, stride=2), nn.ReLU(inplace=True)]
        layers += [ResidualBlock(widths[-1]) for _ in range(blocks)]
        for a, b in itertools.pairwise(widths[::-1]):
            layers += [nn.Sequential(GrowingConv(a, b), _norm(b)), nn.ReLU(inplace=True)]
        last = _mirrored(width, inner, kernel, bias=True)
        layers.append(last)
        layers += [nn.PixelShuffle(fold)] if fold > 1 else []
        self.layers = nn.Sequential(*layers)
        initialise(self)
        if shortcut:
            nn.init.normal_(last.weight, std=QUIET)

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Return translations.

        Raises:
            ValueError: other channels, or a height or width that cannot be halved so often.
        """
        if x.shape[1] != self.channels or any(n % self.part for n in x.shape[2:]):
            raise ValueError(
                f"the translator takes {self.channels} channels, sides divisible by {self.part}, "
                f"got shape {tuple(x.shape)}"
            )
        drawn = self.layers(x)
        images: Tensor = x + drawn if self.shortcut else drawn.tanh()
        return images


def _norm(channels: int) -> nn.Module:
    """Return instance normalisation with a gain and a bias; as groups of one it is quicker."""
    return nn.GroupNorm(channels, channels)


def _mirrored(
    inputs: int, outputs: int, kernel: int, stride: int = 1, bias: bool = False
) -> nn.Conv2d:
    """Return a convolution that sees mirrored pixels beyond the edge."""
    return nn.Conv2d(
        inputs, outputs, kernel, stride, kernel // 2, padding_mode="reflect", bias=bias
    )


def _convolved(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Return a convolution and its normalisation, which makes a bias superfluous."""
    return nn.Sequential(_mirrored(inputs, outputs, kernel, stride), _norm(outputs))
