"""What the recipes of adversarial networks on images share: data, scales, records, snapshots.

Chapter: book/gan/dcgan.md.  Proof: tests/recipes/test_pictures.py.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor

from litgen.data import celeba, drawn_faces, fashion_mnist, mnist
from litgen.data.sources import ImageSet
from litgen.shapes import Float, UInt8

__all__ = ["Name", "curve", "load", "one_thread", "records", "to_grey", "to_unit"]

Name = Literal["mnist", "fashion_mnist", "drawn_faces", "celeba"]
LOADERS: dict[Name, Callable[..., ImageSet]] = {
    "mnist": mnist.load,
    "fashion_mnist": fashion_mnist.load,
    "drawn_faces": drawn_faces.load,
    "celeba": celeba.load,
}


def load(name: Name) -> tuple[ImageSet, ImageSet]:
    """Return the training and the test set."""
    train_set, test_set = (LOADERS[name](split) for split in ("train", "test"))
    return train_set, test_set


def to_unit(grey: UInt8[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Map grey values 0..255 to [-1, 1]."""
    return grey.float() / 127.5 - 1


def to_grey(images: Float[Tensor, "..."]) -> UInt8[Tensor, "..."]:
    """Map [-1, 1] to grey values 0..255, rounded; what lies outside is cut."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def records(name: Name, train_set: ImageSet, test_set: ImageSet) -> list[dict[str, Any]]:
    """Return where both sets came from, as runs keep it."""
    return [
        dataclasses.asdict(part.record) | {"name": name, "title": part.record.name, "split": split}
        for split, part in (("train", train_set), ("test", test_set))
    ]


def curve(values: Iterable[Tensor], points: int = 100) -> list[float]:
    """Return the means of equal stretches of a curve of detached numbers.

    Raises:
        ValueError: no values.
    """
    line = torch.stack(list(values)).float().cpu()
    return [part.mean().item() for part in line.tensor_split(min(points, len(line)))]


@contextmanager
def one_thread(device: torch.device) -> Iterator[None]:
    """Compute on one thread while it lasts, on a CPU: two get in each other's way on small steps.

    Measured with 24 images of 28x28 in a step: 16 ms a turn with one thread, 20 ms with two.
    """
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
