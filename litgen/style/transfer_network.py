"""A feed-forward network from a picture and a style's numbers to the picture in that style.

Chapter: book/style/arbitrary.md.  Proof: tests/style/test_transfer_network.py.
Papers: Johnson, Alahi & Fei-Fei, "Perceptual losses for real-time style transfer and
super-resolution" (2016); Dumoulin, Shlens & Kudlur, "A learned representation for artistic style"
(2017), appendix.

Strided convolutions halve a picture once or more often, residual blocks follow, enlargements bring
it back. Each convolution but the last is followed by a norm whose gains and biases are the style
(`instance_norm.modulated`). All that a network knows of a style is this one row of numbers.
"""

import itertools
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from litgen.shapes import Float
from litgen.style.instance_norm import modulated

__all__ = ["LEAST", "MOST", "Norm", "Padding", "TransferNetwork", "Upsampling", "field", "steps"]

Norm = Literal["instance", "batch"]
Padding = Literal["reflect", "zeros"]
Upsampling = Literal["nearest", "transposed"]
LEAST, MOST = 16, 4096
"""Shortest and longest side of a picture, in pixels."""


class TransferNetwork(nn.Module):
    """Pictures and styles to pictures.

    Args:
        widths: channels at full size, at half of it, and so on: one halving less than widths.
        blocks: residual blocks at the smallest size.
        kernel: side of the first and the last convolution, odd; all others have 3.
        norm: "instance", or "batch" to see what goes wrong with it.
        padding: "reflect", or "zeros" to see the border.
        upsampling: "nearest" and a convolution, or "transposed" to see a checkerboard.

    Raises:
        ValueError: fewer than two widths, or an even kernel.
    """

    def __init__(
        self,
        widths: Sequence[int] = (16, 24),
        blocks: int = 3,
        kernel: int = 5,
        norm: Norm = "instance",
        padding: Padding = "reflect",
        upsampling: Upsampling = "nearest",
    ):
        super().__init__()
        if len(widths) < 2 or min(widths) < 1:
            raise ValueError(f"two widths or more are needed, got {tuple(widths)}")
        if kernel % 2 == 0:
            raise ValueError(f"the kernel's side must be odd, got {kernel}")
        self.norm, self.upsampling = norm, upsampling
        self.divisor, pairs = 2 ** (len(widths) - 1), list(itertools.pairwise(widths))
        fine, coarse = widths[0], widths[-1]

        def conv(inputs: int, outputs: int, side: int = 3, stride: int = 1) -> nn.Conv2d:
            return nn.Conv2d(inputs, outputs, side, stride, side // 2, padding_mode=padding)

        def larger(inputs: int, outputs: int) -> nn.Module:
            if upsampling == "transposed":
                return nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, 1)
            return nn.Sequential(nn.UpsamplingNearest2d(scale_factor=2), conv(inputs, outputs))

        self.down = nn.ModuleList([conv(3, fine, kernel), *(conv(a, b, 3, 2) for a, b in pairs)])
        self.blocks = nn.ModuleList(conv(coarse, coarse) for _ in range(2 * blocks))
        self.up = nn.ModuleList(larger(b, a) for a, b in reversed(pairs))
        self.last = conv(fine, 3, kernel)
        self.channels = (*widths, *(coarse for _ in range(2 * blocks)), *reversed(widths[:-1]))
        self.style_numbers = 2 * sum(self.channels)

    def plain(self) -> Float[Tensor, " numbers"]:
        """Return a style of gains 1 and biases 0: the norms alone."""
        return torch.cat([torch.cat([torch.ones(c), torch.zeros(c)]) for c in self.channels])

    def forward(
        self,
        images: Float[Tensor, "batch _ height width"],
        style: Float[Tensor, "styles _"],
    ) -> Float[Tensor, "batch 3 height width"]:
        """Return pictures in [0, 1]. Implements eq:arb-network.

        Args:
            images: red, green and blue in [0, 1].
            style: gains and biases of all norms in order, a row for each picture or one for all.

        Raises:
            ValueError: pictures not in three colours, too small, too large, or of a side that
                cannot be halved; a style of another length, or not one for each picture.
        """
        self._check(images, style)
        parts = list(style.to(images.dtype).split([2 * c for c in self.channels], dim=1))
        x = images - 0.5
        for layer in self.down:
            x = self._normed(layer(x), parts.pop(0)).relu()
        for first, second in _pairs(self.blocks):
            h = self._normed(first(x), parts.pop(0)).relu()
            x = x + self._normed(second(h), parts.pop(0))
        for layer in self.up:
            x = self._normed(layer(x), parts.pop(0)).relu()
        painted: Tensor = self.last(x).sigmoid()
        return painted

    def _normed(self, x: Tensor, part: Tensor) -> Tensor:
        """Return normalised features times the part's gains plus its biases."""
        gain, bias = part.chunk(2, dim=1)
        if self.norm == "instance":
            return modulated(x, gain, bias)
        variance, mean = torch.var_mean(x, (0, 2, 3), correction=0, keepdim=True)
        normed = (x - mean) / (variance + 1e-5).sqrt()
        return gain[:, :, None, None] * normed + bias[:, :, None, None]

    def _check(self, images: Tensor, style: Tensor) -> None:
        count, channels, height, width = images.shape
        if channels != 3:
            kind = {1: "grey pictures", 4: "pictures with transparency"}.get(channels, "pictures")
            raise ValueError(
                f"pictures need red, green and blue; got {kind} of {channels} channels"
            )
        if not LEAST <= min(height, width) <= max(height, width) <= MOST:
            raise ValueError(f"sides must be {LEAST} to {MOST} pixels, got {height}x{width}")
        if height % self.divisor or width % self.divisor:
            raise ValueError(f"sides must be divisible by {self.divisor}, got {height}x{width}")
        if style.shape[1] != self.style_numbers or len(style) not in (1, count):
            raise ValueError(
                f"a style has {self.style_numbers} numbers, one style or one a picture; got "
                f"{tuple(style.shape)} for {count} pictures"
            )


def _pairs(layers: nn.ModuleList) -> list[tuple[nn.Module, nn.Module]]:
    """Return the convolutions of residual blocks, two by two."""
    listed = list(layers)
    return list(zip(listed[::2], listed[1::2], strict=True))


def steps(network: TransferNetwork) -> tuple[list[dict[str, Any]], Tensor]:
    """Return what a network does, step by step, and its weights in that order: for the page.

    A step is a "conv" (inputs, outputs, kernel, stride, and where its weights begin), a "norm"
    (the next part of the style), "relu", "larger" (twice the size), "keep" or "add" (that).

    Raises:
        ValueError: a network with batch norm, zero padding or transposed convolutions.
    """
    variants = network.norm, network.last.padding_mode, network.upsampling
    if variants != ("instance", "reflect", "nearest"):
        raise ValueError(f"the page knows the papers' network only, not {variants}")
    found: list[dict[str, Any]] = []
    weights: list[Tensor] = []

    def conv(layer: nn.Module) -> dict[str, Any]:
        assert isinstance(layer, nn.Conv2d)
        assert layer.bias is not None
        shape = {"inputs": layer.in_channels, "outputs": layer.out_channels}
        size = {"kernel": layer.kernel_size[0], "stride": layer.stride[0]}
        offset = sum(w.numel() for w in weights)
        weights.extend([layer.weight.flatten(), layer.bias])
        return {"type": "conv", "offset": offset} | shape | size

    norm, relu = {"type": "norm"}, {"type": "relu"}
    for layer in network.down:
        found += [conv(layer), norm, relu]
    for first, second in _pairs(network.blocks):
        found += [{"type": "keep"}, conv(first), norm, relu, conv(second), norm, {"type": "add"}]
    for up in network.up:
        assert isinstance(up, nn.Sequential)
        found += [{"type": "larger"}, conv(up[1]), norm, relu]
    found.append(conv(network.last))
    return found, torch.cat(weights)


def field(network: TransferNetwork, place: int) -> tuple[int, int]:
    """Return the first and last row that a row of the result sees, norms aside. eq:arb-field.

    Reflection aside, too: rows may lie outside the picture. With the norms, all pixels are seen.

    Args:
        network: whose layers are walked through backwards.
        place: of the row in the result.
    """
    low, high = place, place

    def before(side: int, stride: int = 1) -> None:
        nonlocal low, high
        low, high = low * stride - side // 2, high * stride + side // 2

    side = network.last.kernel_size[0]
    before(side)
    for _ in network.up:
        before(3)
        low, high = low // 2, high // 2
    for _ in network.blocks:
        before(3)
    for _ in network.down[1:]:
        before(3, 2)
    before(side)
    return low, high
