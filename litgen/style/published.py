"""A network for 26 styles as it was published, run through this book's norm and blend.

Chapter: book/style/arbitrary.md.  Proof: tests/style/test_published.py.
Paper: Dumoulin, Shlens & Kudlur, "A learned representation for artistic style" (2017). Weights:
`litgen.data.published_styles`.

Its layers are those of `transfer_network.TransferNetwork` with three differences: convolutions
have no biases, the last one is normed too, and no half is subtracted from the picture (which
changes nothing: the first norm takes constants away).
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from litgen.shapes import Float
from litgen.style.instance_norm import blend, modulated
from litgen.style.transfer_network import LEAST, MOST

__all__ = ["LAYERS", "PublishedNetwork"]

DOWN = ("contract.0", "contract.1", "contract.2")
BLOCKS = tuple((f"res.{i}.0", f"res.{i}.1") for i in range(6))
UP = ("expand.0", "expand.1")
LAST = "expand.2"
LAYERS = (*DOWN, *(name for pair in BLOCKS for name in pair), *UP, LAST)
"""Convolutions in order; of each there are ``.w``, ``.norm.gamma``, ``.norm.beta``."""


class PublishedNetwork(nn.Module):
    """Pictures and shares of styles to pictures.

    Args:
        weights: by name: kernels (out, in, side, side), gains and biases (styles, out).

    Raises:
        ValueError: a weight is missing, or does not fit the one before it.
    """

    styles: Tensor

    def __init__(self, weights: Mapping[str, Tensor]):
        super().__init__()
        self.channels: list[int] = []
        rows: list[Tensor] = []
        inputs = 3
        for name in LAYERS:
            parts = [f"{name}.{part}" for part in ("w", "norm.gamma", "norm.beta")]
            missing = [part for part in parts if part not in weights]
            if missing:
                raise ValueError(f"there is no weight {missing[0]!r}")
            kernel, gain, bias = (weights[part] for part in parts)
            count = len(rows[0]) if rows else len(gain)
            if kernel.shape[1] != inputs or not gain.shape == bias.shape == (count, len(kernel)):
                shapes = ", ".join(str(tuple(weights[part].shape)) for part in parts)
                raise ValueError(
                    f"{name} of {shapes} does not fit {inputs} channels and {count} styles"
                )
            self.register_buffer(name.replace(".", "_"), kernel)
            self.channels.append(len(kernel))
            rows += [gain, bias]
            inputs = len(kernel)
        self.register_buffer("styles", torch.cat(rows, dim=1))

    def forward(
        self,
        images: Float[Tensor, "batch _ height width"],
        shares: Float[Tensor, "rows _"],
    ) -> Float[Tensor, "batch 3 height width"]:
        """Return pictures in [0, 1]. Implements eq:arb-network, its last layer normed too.

        Args:
            images: red, green and blue in [0, 1], sides divisible by 4.
            shares: how much of each style, a row for each picture or one for all; they sum to 1.

        Raises:
            ValueError: pictures not in three colours, too small, too large, or of a side that
                cannot be halved twice; shares of other styles, that do not sum to 1, or not one
                row for each picture.
        """
        self._check(images, shares)
        parts = blend(self.styles, shares.to(images.dtype)).split(
            [2 * c for c in self.channels], 1
        )
        style = dict(zip(LAYERS, parts, strict=True))

        def normed(name: str, x: Tensor, stride: int = 1) -> Tensor:
            kernel: Tensor = getattr(self, name.replace(".", "_"))
            padded = F.pad(x, [kernel.shape[-1] // 2] * 4, mode="reflect")
            return modulated(F.conv2d(padded, kernel, stride=stride), *style[name].chunk(2, dim=1))

        x = images
        for name in DOWN:
            x = normed(name, x, 1 if name == DOWN[0] else 2).relu()
        for first, second in BLOCKS:
            x = x + normed(second, normed(first, x).relu())
        for name in UP:
            x = normed(name, F.interpolate(x, scale_factor=2, mode="nearest")).relu()
        return normed(LAST, x).sigmoid()

    def _check(self, images: Tensor, shares: Tensor) -> None:
        count, channels, height, width = images.shape
        if channels != 3:
            raise ValueError(f"pictures need red, green and blue; got {channels} channels")
        if not LEAST <= min(height, width) <= max(height, width) <= MOST:
            raise ValueError(f"sides must be {LEAST} to {MOST} pixels, got {height}x{width}")
        if height % 4 or width % 4:
            raise ValueError(f"sides must be divisible by 4, got {height}x{width}")
        if len(shares) not in (1, count):
            raise ValueError(f"{len(shares)} rows of shares for {count} pictures")
