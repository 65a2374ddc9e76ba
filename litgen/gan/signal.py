"""How large a signal is after layers with random weights, and how evenly a layer covers pixels.

Chapter: book/gan/dcgan.md.  Proof: tests/gan/test_signal.py.
References: He, Zhang, Ren & Sun, "Delving Deep into Rectifiers" (2015), section 2.2, for the
argument; Odena, Dumoulin & Olah, "Deconvolution and Checkerboard Artifacts" (2016), for overlap.

Weights are drawn independently with mean 0 and standard deviation ``scale``; there are no biases.
Then the mean over weights of each unit's square is known exactly, at any width.
"""

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = ["after_convolution", "after_rectifier", "after_transposed", "overlap", "reach"]


def reach(
    count: int, kernel: int, stride: int, padding: int, transposed: bool = False
) -> Float[Tensor, "outputs inputs"]:
    """Return 1 where an output sees an input along one axis, else 0. Implements eq:dcgan-reach.

    Output o of a convolution sees input i if 0 <= i - (o stride - padding) < kernel. A transposed
    convolution exchanges the two.

    Raises:
        ValueError: no outputs at all.
    """
    size = (count - 1) * stride - 2 * padding + kernel
    outputs = size if transposed else (count + 2 * padding - kernel) // stride + 1
    if count < 1 or outputs < 1:
        raise ValueError(f"{count} inputs give {outputs} outputs")
    o, i = torch.arange(outputs)[:, None], torch.arange(count)[None, :]
    tap = o + padding - i * stride if transposed else i + padding - o * stride
    return ((tap >= 0) & (tap < kernel)).float()


def overlap(count: int, kernel: int, stride: int, padding: int) -> Float[Tensor, " outputs"]:
    """Return how many inputs meet in each output of a transposed convolution, along one axis.

    Implements eq:dcgan-overlap: away from the border the counts repeat with the stride, and are
    equal only if the stride divides the kernel.
    """
    return reach(count, kernel, stride, padding, transposed=True).sum(dim=1)


def after_convolution(
    squares: Float[Tensor, "height width"],
    channels: int,
    kernel: int,
    stride: int,
    padding: int,
    scale: float = 0.02,
) -> Float[Tensor, "rows columns"]:
    """Return the mean square of each output pixel of a convolution. Implements eq:dcgan-square.

    Args:
        squares: mean square of each input pixel, the same in all channels.
        channels: of the input.
        kernel: its side.
        stride: of the kernel.
        padding: zeros around the input.
        scale: standard deviation of the weights.
    """
    rows, columns = (reach(n, kernel, stride, padding).to(squares) for n in squares.shape)
    return channels * scale**2 * rows @ squares @ columns.T


def after_transposed(
    squares: Float[Tensor, "height width"],
    channels: int,
    kernel: int,
    stride: int,
    padding: int,
    scale: float = 0.02,
) -> Float[Tensor, "rows columns"]:
    """Return the mean square of each output pixel of a transposed convolution; eq:dcgan-square."""
    rows, columns = (reach(n, kernel, stride, padding, True).to(squares) for n in squares.shape)
    return channels * scale**2 * rows @ squares @ columns.T


def after_rectifier(
    squares: Float[Tensor, "*places"], slope: float = 0.0
) -> Float[Tensor, "*places"]:
    """Return the mean square after (Leaky)ReLU of units that are as often negative as positive.

    Implements eq:dcgan-rectified.
    """
    return (1 + slope**2) / 2 * squares
