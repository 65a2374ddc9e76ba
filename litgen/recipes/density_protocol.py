"""The data and the unit in which the three density chapters state their held-out likelihoods.

Proof: tests/recipes/test_density_protocol.py.
Reference: Theis, van den Oord & Bethge, "A note on the evaluation of generative models" (2016),
section 3.1.

A grey value is one of 256 levels and has no density. Uniform noise within a level's width gives it
one, and keeps likelihoods from growing without bound on pixels that never change.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor

from litgen import checkpoints, gaussian
from litgen.data import faces, mnist
from litgen.data.sources import ImageSet
from litgen.shapes import Float, UInt8

__all__ = [
    "TEST_DIGITS",
    "TRAIN_DIGITS",
    "bits_per_pixel",
    "dequantize",
    "grey_digits",
    "grey_faces",
    "resumed",
]

Model = TypeVar("Model", bound=Any)

LEVELS = 256
FINE = 2**16  # 8 bits of grey and 16 of noise: exact in single precision, and never rounded to 1
TRAIN_DIGITS = 10_000
TEST_DIGITS = 2_000


def dequantize(
    images: UInt8[Tensor, "*shape"], generator: torch.Generator
) -> Float[Tensor, "*shape"]:
    """Return (grey value + u) / 256 with u uniform in [0, 1): in [0, 1), on the images' device.

    Raises:
        ValueError: images that are not bytes.
    """
    if images.dtype != torch.uint8:
        raise ValueError(f"grey values are bytes, 0..255, not {images.dtype}")
    uniform = torch.rand(images.shape, generator=generator, device=images.device)
    return (images + (uniform * FINE).floor() / FINE) / LEVELS


def bits_per_pixel(log_prob: Float[Tensor, "*batch"], pixels: int) -> Float[Tensor, "*batch"]:
    """Turn a log-density of dequantised images in nats into bits per pixel of the 8-bit image.

    It is no less than what a code of the grey values needs, in the mean over the noise. A density
    that is uniform on [0, 1) needs 8; smaller is better.

    Args:
        log_prob: of an image, at values in [0, 1).
        pixels: in an image, 784 for digits and 625 for faces.
    """
    return gaussian.bits_per_dim(log_prob, pixels) + 8


def grey_digits() -> tuple[Float[Tensor, "train pixels"], Float[Tensor, "test pixels"]]:
    """Return the first 10,000 training and 2,000 test digits, with noise that is always the same.

    Fewer where a stand-in takes MNIST's place, see litgen/data/mnist.py.
    """
    return flat(mnist.load("train"), TRAIN_DIGITS, 0), flat(mnist.load("test"), TEST_DIGITS, 1)


def grey_faces() -> tuple[Float[Tensor, "train pixels"], Float[Tensor, "test pixels"]]:
    """Return the 80 training and the 20 test faces, with noise that is always the same."""
    train, test = faces.load("train"), faces.load("test")
    return flat(train, len(train.images), 0), flat(test, len(test.images), 1)


def resumed(
    em: Callable[[Tensor, Model, int, float], Iterator[tuple[Model, Tensor]]],
    x: Float[Tensor, "batch dims"],
    first: Model,
    steps: int,
    floor: float,
    generator: torch.Generator,
) -> Iterator[tuple[Model, Tensor]]:
    """Yield the model and what ``em`` says of it after every step; go on where one was stopped.

    Args:
        em: of `litgen.density.mixture` or `litgen.density.factors`.
        x: data.
        first: where a fit begins; a dataclass of tensors.
        steps: in all.
        floor: the smallest variance.
        generator: has drawn ``first``, and may be asked for more after the fit.
    """
    names = [field.name for field in dataclasses.fields(first)]
    state = {name: getattr(first, name) for name in names}
    memory = checkpoints.current()
    memory.keep(state=state, generator=generator)
    fit: Iterator[tuple[Model, Tensor]] | None = None
    for turn in memory.turns(steps):
        if fit is None:  # the state is that of the file by now
            fit = em(x, dataclasses.replace(first, **state), steps - turn, floor)
        model, value = next(fit)
        state |= {name: getattr(model, name) for name in names}
        yield model, value


def flat(images: ImageSet, count: int, seed: int) -> Float[Tensor, "count pixels"]:
    """Return the first images as rows, dequantised by a generator with this seed."""
    chosen = images.images[:count].flatten(1)
    return dequantize(chosen, torch.Generator().manual_seed(seed))
