"""Slices of one average head, 160x192 pixels, grey, with grey and white matter known to the pixel.

Proof: tests/data/test_brain.py.
Reference: Fonov, Evans, Botteron, Almli, McKinstry & Collins, "Unbiased average age-appropriate
atlases for pediatric studies", NeuroImage 54 (2011); the template is in nilearn's wheel.

The volume is the average of many heads (MNI152, 2009, nonlinear, symmetric), cut free of the
skull. A pixel is a cube of 1 mm; a tissue is where its own map exceeds one half. There is one
head: slices of a slab in the middle are for testing, those of two slabs below and above it for
training, with 8 mm between. Left and right are mirror images and would be no split at all.
"""

import gzip
import struct
from dataclasses import dataclass

import numpy as np
import torch

from litgen.data import cells, packages
from litgen.data.sources import (
    DataUnavailable,
    Record,
    Split,
    WrongBytes,
    check_split,
    checksum,
)
from litgen.shapes import UInt8

__all__ = ["CHECKSUM", "SLABS", "TISSUES", "SliceSet", "decode_nifti", "load"]

TISSUES = ("other", "grey matter", "white matter")
CHECKSUM: dict[str, str] = {
    "train": "27702ea934ba0a63855680ae8561e54dfba4aee43e17609125bbd7522ff7081f",
    "test": "b3b84f5736a96ebd8b5bba03c820ed20078b63e38705cd15ec84fd3ac877821f",
}
SLABS: dict[str, tuple[range, ...]] = {
    "train": (range(24, 64), range(104, 144)),
    "test": (range(72, 96),),
}
"""Horizontal slices, counted from below in millimetres."""
COUNTS = {name: sum(map(len, slabs)) for name, slabs in SLABS.items()}
ROWS, COLUMNS = slice(22, 214), slice(18, 178)  # the brain lies inside
LICENCE = "MNI's, free for any use with notice; nilearn's copy: BSD-3-Clause"
CITATION = (
    "Fonov, Evans, Botteron, Almli, McKinstry & Collins (2011), Unbiased average age-appropriate "
    "atlases for pediatric studies, NeuroImage 54, 313-327"
)
NAMES = {
    part: f"mni_icbm152_{part}_tal_nlin_sym_09a_converted.nii.gz" for part in ("t1", "gm", "wm")
}
PATHS = {name: f"datasets/data/{name}" for name in NAMES.values()}
BRAIN = packages.FileSet(
    name="brain",
    sha256={
        NAMES["t1"]: "421a10e872fd6cadae7f61d358dffbcc1795a497d61ee76c5dda2503e1a1e9e6",
        NAMES["gm"]: "97a5ca69bd24db37a9cb7b32525e1733a209af904129bf1cd36da06d24243bed",
        NAMES["wm"]: "382d92812de4744f9c86c7a0e4f680dc317a0a50e4da1f0153618a6798c7b7db",
    },
    origins=(
        packages.in_installed("nilearn", PATHS),
        packages.in_wheel("nilearn==0.14.1", {k: f"nilearn/{v}" for k, v in PATHS.items()}),
    ),
)


@dataclass(frozen=True, eq=False)
class SliceSet:
    """Slices in 0..255, the tissue of each pixel, and where they came from.

    Attributes:
        images: grey values.
        tissue: 0 for other, 1 for grey matter, 2 for white matter.
        record: what they are.
    """

    images: UInt8[torch.Tensor, "count 1 height width"]
    tissue: UInt8[torch.Tensor, "count height width"]
    record: Record

    def describe(self) -> str:
        """Return how much there is, for a line of the command line."""
        return f"{len(self.images):,} slices {'x'.join(map(str, self.images.shape[1:]))}"


def load(split: Split = "train", stand_in: bool = True) -> SliceSet:
    """Return horizontal slices, (80, 1, 192, 160) or (24, 1, 192, 160), the front at the top.

    Args:
        split: "train", a lower and an upper slab, or "test", the slab between them.
        stand_in: where the volume cannot be had, return drawn cells, labelled as a stand-in.

    Raises:
        WrongBytes: a file in LITGEN_DATA is not what its name says.
        DataUnavailable: nothing has the files, and no stand-in is wanted.
    """
    check_split(split)
    try:
        contents, source = packages.read(BRAIN)
    except DataUnavailable as reason:
        if not stand_in:
            raise
        return _standing_in(split, reason)
    t1, grey, white = (_slices(contents[name], name, split) for name in NAMES.values())
    found_where = np.where(np.maximum(grey, white) > 127, np.where(white > grey, 2, 1), 0)
    images, tissue = torch.from_numpy(t1)[:, None], torch.from_numpy(found_where.astype(np.uint8))
    found = checksum(images, tissue)
    if found != CHECKSUM[split]:
        raise WrongBytes(f"brain {split} has checksum {found}, expected {CHECKSUM[split]}")
    about = "brain", source, LICENCE, CITATION, found, COUNTS
    return SliceSet(images, tissue, Record(*about, stand_in=False))


def _slices(content: bytes, name: str, split: Split) -> UInt8[np.ndarray, "count height width"]:
    """Return one map's slices of a split, cropped, the front at the top."""
    volume = decode_nifti(content, name)
    chosen = volume[[k for slab in SLABS[split] for k in slab]]
    return np.ascontiguousarray(chosen[:, ::-1][:, ROWS, COLUMNS])


def decode_nifti(content: bytes, name: str) -> UInt8[np.ndarray, "upward forward right"]:
    """Return a volume of bytes from a packed NIfTI file, the slowest axis first.

    Raises:
        WrongBytes: no such file, one of other numbers than bytes, or one cut short.
    """
    try:
        plain = gzip.decompress(content)
        (header,) = struct.unpack_from("<i", plain, 0)
        dimensions = struct.unpack_from("<8h", plain, 40)
        kind, bits = struct.unpack_from("<2h", plain, 70)
        (start,) = struct.unpack_from("<f", plain, 108)
    except (EOFError, OSError, struct.error) as error:
        raise WrongBytes(f"{name} is no packed NIfTI file: {error}") from None
    if header != 348 or plain[344:347] != b"n+1":
        raise WrongBytes(f"{name} is no NIfTI file in one piece, or of another byte order")
    if dimensions[0] != 3 or (kind, bits) != (2, 8):
        raise WrongBytes(f"{name} has {dimensions[0]} axes and kind {kind}, wanted 3 of bytes (2)")
    shape = dimensions[3:0:-1]
    size = shape[0] * shape[1] * shape[2]
    if min(shape) < 1 or len(plain) < int(start) + size:
        raise WrongBytes(f"{name} is cut short: {len(plain)} bytes for a volume of {shape}")
    return np.frombuffer(plain, np.uint8, size, offset=int(start)).reshape(shape)


def _standing_in(split: Split, reason: DataUnavailable) -> SliceSet:
    """Return drawn cells, six to a slice, even ones white and odd ones grey; say so on stdout."""
    drawn = cells.load(split)
    print(f"STAND-IN: drawn cells in place of slices of a brain, because {reason}")
    count = COUNTS[split]
    chosen = torch.arange(6 * count) % len(drawn.images)
    numbers = drawn.cells[chosen]
    kinds = torch.where(numbers > 0, 1 + (numbers + 1) % 2, 0).to(torch.uint8)
    images = _laid(drawn.images[chosen, 0])[:, None]
    tissue = _laid(kinds)
    about = "drawn cells standing in for a brain", drawn.record.source, drawn.record.licence
    found = checksum(images, tissue)
    record = Record(*about, drawn.record.citation, found, COUNTS, stand_in=True)
    return SliceSet(images, tissue, record)


def _laid(parts: UInt8[torch.Tensor, "six_each 64 64"]) -> UInt8[torch.Tensor, "count 192 160"]:
    """Lay six pictures, two abreast, on one slice, and cut it to the slices' size."""
    grid = parts.view(-1, 3, 2, 64, 64).transpose(2, 3).reshape(-1, 192, 128)
    return torch.nn.functional.pad(grid, (16, 16)).contiguous()
