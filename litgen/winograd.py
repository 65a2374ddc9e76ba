"""3x3 convolutions with a quarter of the multiplications.

Chapter: book/segmentation/unet.md.  Proof: tests/test_winograd.py.
Reference: Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks" (2016).

A tile of 4x4 results depends on 6x6 inputs, d. Summed up directly, it takes 144 multiplications
with the 3x3 weights w. In other coordinates it takes 36, one for each number of a tile:

    results = A ((G w G') * (B d B')) A'

A, B and G are sums with small constants. Over channels, what stands in the middle is 36 products
of matrices: tiles by inputs with inputs by outputs.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from litgen.shapes import Float

__all__ = ["Conv3x3", "convolve", "of_weights"]

SIDE = 4  # of a tile of results
SEEN = SIDE + 2  # of the inputs that it depends on
CACHED = 8192  # numbers that a core keeps at hand, of each of a tile's 36
WIDE = 64  # channels from which products of matrices are worth changing coordinates for

B = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
G = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
A = (
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)


def tiles(
    x: Float[Tensor, "batch channels height width"], side: int
) -> Float[Tensor, "side side batch down right channels"]:
    """Return a square around every fourth pixel, as views: what overlaps is shared."""
    cut = x.permute(0, 2, 3, 1).unfold(1, side, SIDE).unfold(2, side, SIDE)
    return cut.permute(4, 5, 0, 1, 2, 3)


def changed(
    matrix: Float[Tensor, "after before"], squares: Float[Tensor, "before before *others"]
) -> Float[Tensor, "after after *others"]:
    """Return M s M' for squares s."""
    after, before = matrix.shape
    rows = matrix @ squares.reshape(before, -1)
    return (matrix @ rows.view(after, before, -1)).view(after, after, *squares.shape[2:])


def bands(squares: Tensor) -> Iterator[tuple[slice, ...]]:
    """Yield places among tiles, few enough at once for a core's cache."""
    batch, down, right, channels = squares.shape[2:]
    many = max(64, CACHED // channels)
    images, rows = max(1, many // (down * right)), max(1, many // right)
    for i in range(0, batch, images):
        for j in range(0, down, rows):
            yield slice(None), slice(None), slice(i, i + images), slice(j, j + rows)


class Winograd(torch.autograd.Function):
    """The convolution of padded images, a band of tiles at a time. Implements eq:unet-winograd.

    Backwards, tiles are changed once more instead of being kept: they are 36/16 of the images.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrices: Tensor) -> Tensor:
        """Return results, channels last."""
        ctx.save_for_backward(x, matrices)
        into, back = x.new_tensor(B), x.new_tensor(A)
        seen = tiles(x, SEEN)
        batch, down, right = seen.shape[2:5]
        size = (batch, matrices.shape[2], SIDE * down, SIDE * right)
        found = torch.empty(size, dtype=x.dtype, memory_format=torch.channels_last)
        results = tiles(found, SIDE)
        for band in bands(seen):
            there = changed(into, seen[band])
            products = there.view(SEEN * SEEN, -1, there.shape[-1]) @ matrices
            results[band] = changed(back, products.view(*there.shape[:-1], -1))
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of images and matrices."""
        x, matrices = ctx.saved_tensors
        into, back = x.new_tensor(B), x.new_tensor(A)
        seen, results = tiles(x, SEEN), tiles(grad, SIDE)
        of_x, of_matrices = torch.zeros_like(x), torch.zeros_like(matrices)
        of_seen = tiles(of_x, SEEN)
        for band in bands(seen):
            there = changed(into, seen[band]).view(SEEN * SEEN, -1, x.shape[1])
            products = changed(back.T, results[band]).view(*there.shape[:2], -1)
            of_matrices += there.mT @ products
            of_tiles = changed(into.T, (products @ matrices.mT).view_as(seen[band]))
            own, next_ones = slice(0, SIDE), slice(SIDE, SEEN)  # no two tiles share either
            for part in ((own, own), (own, next_ones), (next_ones, own), (next_ones, next_ones)):
                of_seen[band][part] += of_tiles[part]
        return of_x, of_matrices


def of_weights(
    weight: Float[Tensor, "outputs inputs 3 3"],
) -> Float[Tensor, "36 inputs outputs"]:
    """Return G w G', a matrix for each number of a tile: the weights' part of eq:unet-winograd."""
    found = changed(weight.new_tensor(G), weight.permute(2, 3, 0, 1))
    return found.flatten(0, 1).mT


def convolve(
    x: Float[Tensor, "batch inputs height width"],
    matrices: Float[Tensor, "numbers channels outputs"],
    padding: int = 1,
) -> Float[Tensor, "batch outputs out_height out_width"]:
    """Return `torch.nn.functional.conv2d` with the weights of these matrices.

    Args:
        x: images, best on channels last.
        matrices: of `of_weights`.
        padding: zeros around an image.

    Raises:
        ValueError: shapes that do not fit, or nothing left of an image.
    """
    height, width = (side + 2 * padding - 2 for side in x.shape[2:])
    if len(matrices) != SEEN * SEEN or matrices.shape[1] != x.shape[1]:
        raise ValueError(f"matrices {tuple(matrices.shape)} do not fit images {tuple(x.shape)}")
    if padding < 0 or height < 1 or width < 1:
        raise ValueError(f"images {tuple(x.shape)} with padding {padding} leave nothing")
    border = (padding, padding + -width % SIDE, padding, padding + -height % SIDE)
    found: Tensor = Winograd.apply(nn.functional.pad(x, border), matrices)
    return found[:, :, :height, :width]


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution: on a processor, in full precision and where it is wide, by tiles.

    Its gradient cannot be differentiated again where it goes by tiles.

    Args:
        inputs: channels in.
        outputs: channels out.
        padding: zeros around an image.
        bias: whether a number is added to each output.
    """

    matrices: Tensor | None

    def __init__(self, inputs: int, outputs: int, padding: int = 1, bias: bool = True):
        super().__init__(inputs, outputs, 3, padding=padding, bias=bias)
        self.register_buffer("matrices", None, persistent=False)

    def prepare(self) -> None:
        """Change the weights' coordinates once for all images, until it trains again."""
        if self.by_tiles(self.weight):
            self.matrices = of_weights(self.weight.detach()).contiguous()

    def train(self, mode: bool = True) -> "Conv3x3":
        """Forget prepared matrices: weights that learn leave them behind."""
        self.matrices = None if mode else self.matrices
        return super().train(mode)

    def by_tiles(self, x: Tensor) -> bool:
        """Return whether numbers like these are convolved by tiles, if there are enough."""
        full = x.dtype in (torch.float32, torch.float64)
        halved = torch.is_autocast_enabled("cpu")
        wide = min(self.in_channels, self.out_channels) >= WIDE
        return x.device.type == "cpu" and full and not halved and wide

    def forward(
        self, x: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs out_height out_width"]:
        """Return the convolution. Few tiles do not pay for the weights' change of coordinates."""
        enough = 64 if self.matrices is None else 16
        if not self.by_tiles(x) or len(x) * x[0, 0].numel() < enough * SIDE**2:
            return super().forward(x)
        matrices = of_weights(self.weight) if self.matrices is None else self.matrices
        assert isinstance(self.padding[0], int)
        found = convolve(x, matrices, self.padding[0])
        return found if self.bias is None else found.add_(self.bias[:, None, None])
