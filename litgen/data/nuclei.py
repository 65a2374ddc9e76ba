"""One fluorescence image of 125 nuclei, each with its mask: train on its left, test on its right.

Proof: tests/data/test_nuclei.py.
References: Caicedo et al., "Nucleus segmentation across imaging experiments: the 2018 Data Science
Bowl", Nature Methods 16 (2019); the image is in StarDist's wheel (Schmidt, Weigert, Broaddus &
Myers, 2018).

The masks are numbered up to 183 with gaps: there are 125. Both files are TIFFs of 512x512 pixels
of 16 bits in one piece, not packed; the few lines that read such files are here. The left 320
columns are for training, the other 192 for testing: parts of one image say nothing about other
images.
"""

import struct

import numpy as np
import torch
from torch import Tensor

from litgen.data import cells, packages
from litgen.data.cells import CellSet
from litgen.data.sources import (
    DataUnavailable,
    Record,
    Split,
    WrongBytes,
    check_split,
    checksum,
)
from litgen.shapes import Int, UInt8

__all__ = ["CHECKSUM", "CUT", "decode_tiff", "load"]

CHECKSUM: dict[str, str] = {
    "train": "b634b9bdc59ee903179bb6edb888c8e307442229a25caabd8d3fc09c89c8d310",
    "test": "18ef2ac1b40eedddedee5f86509e39d41e985363fed4f43f7b7f5b92a3567a95",
}
COUNTS = {"train": 1, "test": 1}
CUT = 320  # columns of the training part
LICENCE = "CC0-1.0 (Data Science Bowl 2018, BBBC038); StarDist's copy: BSD-3-Clause"
CITATION = (
    "Caicedo et al. (2019), Nucleus segmentation across imaging experiments: the 2018 Data "
    "Science Bowl, Nature Methods 16, 1247-1253"
)
PATHS = {name: f"data/images/{name}" for name in ("img2d.tif", "mask2d.tif")}
NUCLEI = packages.FileSet(
    name="nuclei",
    sha256={
        "img2d.tif": "f9ccc1571b92c861ff87e28463068b43f61bd47357ed0503f711e5cd1eb97750",
        "mask2d.tif": "59ad5e820b7982ca9d13e946fa6e7f64e2714899e00a2ae6c69aa79aad53d46f",
    },
    origins=(
        packages.in_installed("stardist", PATHS),
        packages.in_wheel("stardist==0.9.2", {k: f"stardist/{v}" for k, v in PATHS.items()}),
    ),
)


def load(split: Split = "train", stand_in: bool = True) -> CellSet:
    """Return one grey image, (1, 1, 512, 320) or (1, 1, 512, 192), and its nuclei.

    Args:
        split: "train", the left part, or "test", the right one.
        stand_in: where the image cannot be had, return drawn cells, labelled as a stand-in.

    Raises:
        WrongBytes: a file in LITGEN_DATA is not what its name says.
        DataUnavailable: nothing has the files, and no stand-in is wanted.
    """
    check_split(split)
    try:
        contents, source = packages.read(NUCLEI)
    except DataUnavailable as reason:
        if not stand_in:
            raise
        return _standing_in(split, reason)
    whole = [decode_tiff(contents[name], name) for name in PATHS]
    columns = slice(0, CUT) if split == "train" else slice(CUT, None)
    image, mask = (np.ascontiguousarray(part[:, columns]).astype(np.uint8) for part in whole)
    images, numbers = torch.from_numpy(image)[None, None], torch.from_numpy(mask)[None]
    found = checksum(images, numbers)
    if found != CHECKSUM[split]:
        raise WrongBytes(f"nuclei {split} has checksum {found}, expected {CHECKSUM[split]}")
    about = "nuclei", source, LICENCE, CITATION, found, COUNTS
    return CellSet(images, numbers, Record(*about, stand_in=False))


def decode_tiff(content: bytes, name: str) -> Int[np.ndarray, "height width"]:
    """Return a grey picture of 8 or 16 bits a pixel from a TIFF in one piece that is not packed.

    Raises:
        WrongBytes: no TIFF, or one of another kind.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(content[:4])
    if order is None:
        raise WrongBytes(f"{name} is no TIFF: it starts with {content[:4].hex()}")
    try:
        fields = _fields(content, order)
        width, height, bits, start = (fields[tag] for tag in (256, 257, 258, 273))
        plain = fields.get(259, 1) == 1 and fields.get(277, 1) == 1 and bits in (8, 16)
        if not plain:
            raise WrongBytes(f"{name} is packed, in colour, or has {bits} bits a pixel")
        pixels = np.frombuffer(content, f"{order}u{bits // 8}", height * width, offset=start)
    except (KeyError, ValueError, struct.error) as error:
        if isinstance(error, WrongBytes):
            raise
        raise WrongBytes(f"{name} is cut short, or a TIFF in several pieces") from None
    return pixels.reshape(height, width).astype(np.int64)


def _fields(content: bytes, order: str) -> dict[int, int]:
    """Return the numbers of a TIFF's first directory by tag, those with one value each."""
    (start,) = struct.unpack_from(order + "I", content, 4)
    (count,) = struct.unpack_from(order + "H", content, start)
    fields = {}
    for i in range(count):
        tag, kind, values = struct.unpack_from(order + "HHI", content, start + 2 + 12 * i)
        code = {3: "H", 4: "I"}.get(kind)
        if code and values == 1:
            (fields[tag],) = struct.unpack_from(order + code, content, start + 10 + 12 * i)
    return fields


def _standing_in(split: Split, reason: DataUnavailable) -> CellSet:
    """Return drawn cells, laid side by side on one image, and say so on stdout."""
    drawn = cells.load(split)
    across = 5 if split == "train" else 4
    print(f"STAND-IN: drawn cells in place of nuclei, because {reason}")
    images = _laid(drawn.images[: across**2, 0], across)[None, None]
    numbers = drawn.cells[: across**2].long()
    offset = torch.arange(across**2)[:, None, None] * cells.PLACES
    unique = _laid(torch.where(numbers > 0, numbers + offset, 0), across)
    ordered = torch.unique(unique, return_inverse=True)[1]
    labels = ordered.reshape(unique.shape).to(torch.uint8)[None]
    about = "drawn cells standing in for nuclei", drawn.record.source, drawn.record.licence
    record = Record(*about, drawn.record.citation, checksum(images, labels), COUNTS, stand_in=True)
    return CellSet(images, labels, record)


def _laid(
    parts: UInt8[Tensor, "count side side"] | Int[Tensor, "count side side"], across: int
) -> Tensor:
    """Lay square pictures side by side, as many rows as columns."""
    side = parts.shape[-1]
    grid = parts.view(across, across, side, side).transpose(1, 2)
    return grid.reshape(across * side, across * side).contiguous()
