"""Convolution from its definition: a weighted sum over every window of an image.

Chapter: book/primer/convolution.md.  Proof: tests/primer/test_convolution.py.
Reference: LeCun, Bottou, Bengio & Haffner, "Gradient-Based Learning Applied to Document
Recognition" (1998); Dumoulin & Visin, "A guide to convolution arithmetic for deep learning"
(2016).

As in every network library the kernel is not turned around, so this is cross-correlation. The
functions are written to be read; networks call torch's.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from litgen.shapes import Float

__all__ = [
    "circular_conv2d",
    "conv2d",
    "matched_filter",
    "matched_filter_accuracy",
    "output_size",
    "toeplitz",
    "transposed_conv2d",
    "transposed_size",
]


def output_size(
    size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1
) -> int:
    """Return how many windows fit along one axis. Implements eq:conv-output-size.

    Raises:
        ValueError: an impossible geometry, or a kernel that does not fit once.
    """
    if min(size, kernel, stride, dilation) < 1 or padding < 0:
        raise ValueError(
            f"size {size}, kernel {kernel}, stride {stride}, dilation {dilation} must be "
            f"positive and padding {padding} not negative"
        )
    room = size + 2 * padding - _extent(kernel, dilation)
    if room < 0:
        raise ValueError(
            f"a kernel that spans {_extent(kernel, dilation)} pixels does not fit into {size} "
            f"with padding {padding}"
        )
    return room // stride + 1


def conv2d(
    x: Float[Tensor, "batch inputs height width"],
    kernel: Float[Tensor, "outputs inputs rows columns"],
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> Float[Tensor, "batch outputs out_height out_width"]:
    """Return the weighted sum over every window. Implements eq:conv-definition.

    The loop runs over the kernel's places: one of them, for all windows at once, is a matrix
    product over channels of a shifted, strided picture.

    Raises:
        ValueError: other channels than the kernel's, or a kernel that does not fit.
    """
    _check_channels(x.shape[1], kernel.shape[1], "x", "kernel's inputs")
    rows, columns = kernel.shape[2:]
    height = output_size(x.shape[2], rows, stride, padding, dilation)
    width = output_size(x.shape[3], columns, stride, padding, dilation)
    padded = F.pad(x, [padding] * 4)
    y = x.new_zeros(len(x), len(kernel), height, width)
    for i in range(rows):
        for j in range(columns):
            seen = _every(padded, i * dilation, j * dilation, height, width, stride)
            y = y + torch.einsum("oc,bchw->bohw", kernel[:, :, i, j], seen)
    return y


def circular_conv2d(
    x: Float[Tensor, "batch inputs height width"],
    kernel: Float[Tensor, "outputs inputs rows columns"],
) -> Float[Tensor, "batch outputs height width"]:
    """Convolve an image that goes on at the other side where it ends.

    The sizes stay; an odd kernel is centred. Without a border, shift and convolution commute:
    eq:conv-equivariance.

    Raises:
        ValueError: other channels than the kernel's.
    """
    _check_channels(x.shape[1], kernel.shape[1], "x", "kernel's inputs")
    rows, columns = kernel.shape[2:]
    y = x.new_zeros(len(x), len(kernel), *x.shape[2:])
    for i in range(rows):
        for j in range(columns):
            seen = x.roll((rows // 2 - i, columns // 2 - j), dims=(2, 3))
            y = y + torch.einsum("oc,bchw->bohw", kernel[:, :, i, j], seen)
    return y


def transposed_size(
    size: int,
    kernel: int,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    output_padding: int = 0,
) -> int:
    """Return the length along an axis after a transposed convolution.

    Implements eq:conv-transposed-size. A stride of 2 maps two input sizes to one output size;
    ``output_padding`` says which of them the way back leads to.

    Raises:
        ValueError: an impossible geometry, or an ``output_padding`` that is not below the stride.
    """
    if not 0 <= output_padding < stride:
        raise ValueError(f"output_padding {output_padding} must be in 0..{stride - 1}, stride - 1")
    length = (size - 1) * stride + _extent(kernel, dilation) - 2 * padding + output_padding
    if size < 1 or length < 1:
        raise ValueError(f"nothing is left of {size} pixels after padding {padding}")
    return length


def transposed_conv2d(
    y: Float[Tensor, "batch outputs out_height out_width"],
    kernel: Float[Tensor, "outputs inputs rows columns"],
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    output_padding: int = 0,
) -> Float[Tensor, "batch inputs height width"]:
    """Return the adjoint of ``conv2d`` with the same kernel: every number paints its window.

    Implements eq:conv-transposed.

    Raises:
        ValueError: other channels than the kernel's outputs, or an impossible geometry.
    """
    _check_channels(y.shape[1], kernel.shape[0], "y", "kernel's outputs")
    geometry = (stride, padding, dilation, output_padding)
    height, width = (
        transposed_size(n, k, *geometry)
        for n, k in zip(y.shape[2:], kernel.shape[2:], strict=True)
    )
    x = y.new_zeros(len(y), kernel.shape[1], height + 2 * padding, width + 2 * padding)
    for i in range(kernel.shape[2]):
        for j in range(kernel.shape[3]):
            painted = _every(x, i * dilation, j * dilation, y.shape[2], y.shape[3], stride)
            painted += torch.einsum("oc,bohw->bchw", kernel[:, :, i, j], y)
    return x[:, :, padding : padding + height, padding : padding + width]


def toeplitz(
    kernel: Float[Tensor, " taps"], size: int, stride: int = 1, padding: int = 0
) -> Float[Tensor, "out_size size"]:
    """Return the matrix that convolves a signal of ``size`` numbers. Implements eq:conv-matrix.

    Every row holds the same taps, ``stride`` further to the right; zeros of the padding have no
    column.

    Raises:
        ValueError: a kernel that does not fit.
    """
    count = output_size(size, len(kernel), stride, padding)
    matrix = kernel.new_zeros(count, size + 2 * padding)
    for row in range(count):
        matrix[row, row * stride : row * stride + len(kernel)] = kernel
    return matrix[:, padding : padding + size]


def matched_filter(
    pattern: Float[Tensor, "rows columns"], sd: float
) -> tuple[Float[Tensor, "1 1 rows columns"], float]:
    """Return kernel and bias of the log-odds that a pattern lies in white noise of this sd.

    Implements eq:conv-matched-filter: even odds beforehand.

    Raises:
        ValueError: ``sd`` is not positive.
    """
    if sd <= 0:
        raise ValueError(f"sd must be positive, got {sd}")
    return pattern[None, None] / sd**2, -pattern.square().sum().item() / (2 * sd**2)


def matched_filter_accuracy(pattern: Float[Tensor, "rows columns"], sd: float) -> float:
    """Return how often the best detector is right. Implements eq:conv-matched-accuracy.

    Raises:
        ValueError: ``sd`` is not positive.
    """
    if sd <= 0:
        raise ValueError(f"sd must be positive, got {sd}")
    return 0.5 * (1 + math.erf(pattern.norm().item() / (2 * sd) / math.sqrt(2)))


def _extent(kernel: int, dilation: int) -> int:
    """Return the pixels from a kernel's first to its last place."""
    return dilation * (kernel - 1) + 1


def _every(x: Tensor, top: int, left: int, height: int, width: int, stride: int) -> Tensor:
    """Return a view of every stride-th pixel from (top, left) on."""
    bottom, right = top + stride * (height - 1) + 1, left + stride * (width - 1) + 1
    return x[:, :, top:bottom:stride, left:right:stride]


def _check_channels(found: int, wanted: int, name: str, other: str) -> None:
    if found != wanted:
        raise ValueError(f"{name} has {found} channels, the {other} are {wanted}")
