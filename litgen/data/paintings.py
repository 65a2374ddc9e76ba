"""Eight paintings by Vincent van Gogh in colour, their shorter side 256 pixels.

Proof: tests/data/test_paintings.py.
Source: the Debian package gcompris-qt-data, files of the activity "details" of GCompris (Coudoin
and others), kept in a resource file of Qt: a tree of names (`entries`), then the files themselves.

The works are in the public domain, and GCompris declares its pictures of them to be so too. What
is kept is the eight WebP files, 0.7 MB, whose checksums are known. They are decoded and made
smaller each time; decoders may round differently, so that the record's checksum is of the files.
"""

import hashlib
import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from litgen.data import packages, sources
from litgen.data.sources import DataUnavailable, Record, WrongBytes
from litgen.shapes import UInt8

__all__ = ["CHECKSUM", "NAMES", "SIDE", "PaintingSet", "decoded", "entries", "identity", "load"]

SIDE = 256  # of the shorter side, in pixels
FOLDER = "/gcompris/src/activities/details/resource/image"
WORKS = {
    "church": "Eglise_dAuvers-sur-Oise",
    "cafe at night": "Gogh4",
    "night cafe": "Van_Gogh_The_Night_Cafe",
    "tanguy": "PortraitOfPereTanguy",
    "bridge": "VincentVanGoghBridge",
    "vestibule": "VincentVanGogh0012",
    "road": "VincentVanGogh0013",
    "harvest": "VincentVanGogh0019",
}
NAMES = tuple(WORKS)
CHECKSUM: dict[str, str] = {
    "train": "73b680bd6c2d5ccec9ad005ecd219422d8ee2e14c6f09bbe056ce5e23bdbc539",
}
COUNTS = {"train": 8}
PACKAGE = "gcompris-qt-data"
RESOURCE = "usr/share/gcompris-qt/rcc/details.rcc"
LICENCE = "public domain (the works; and their pictures, as GCompris declares)"
CITATION = (
    "Vincent van Gogh, paintings of 1887-1890: the church at Auvers, the cafe terrace at night, "
    "the night cafe, Pere Tanguy, the Langlois bridge, the vestibule of the asylum, the painter "
    "on the road to Tarascon, the harvest; pictures by B. Coudoin and others, GCompris"
)
PAINTINGS = packages.FileSet(
    name="paintings",
    sha256={
        "church.webp": "6605f1dd5519ecd1e66220343dd27c3873f72a52b4c91f041e80c698554b9093",
        "cafe_at_night.webp": "cd41f9e0ad142148fc4dbb86bd98641cd56c7be95b650131066aaaa3e1d52957",
        "night_cafe.webp": "ce4d535bc04fb59a177873a1b3ed7a2edeb81af82ede5e28d85fad82533ba33b",
        "tanguy.webp": "5dc91d4230a20c5e488149b3b624a1acd023309b11acb08e89af19745965e96c",
        "bridge.webp": "865df5627716d3175d8350d6a98f63de866827de12e03c2def785aaa4098a65a",
        "vestibule.webp": "45f038919ae8216a927d35cd6766c6a99cbb622873185c5fb0af615f1525caf6",
        "road.webp": "ddc28715a60a357f9f887df332d49dbdc5815b1fd1fbe8343035861a84938cdd",
        "harvest.webp": "53f7fae4fb52354272b6596acbff439f1b851029a16f0bbdf94d8cd727de49f4",
    },
    origins=(packages.Origin(f"Debian package {PACKAGE}", lambda folder: _bring(folder)),),
)


@dataclass(frozen=True, eq=False)
class PaintingSet:
    """Paintings of different shapes, their names, and where they came from.

    Attributes:
        images: levels 0..255 of red, green and blue, (3, height, width) each.
        names: of the works, see ``NAMES``.
        record: what they are.
    """

    images: tuple[UInt8[Tensor, "3 _ _"], ...]
    names: tuple[str, ...]
    record: Record

    def describe(self) -> str:
        """Return how much there is, for a line of the command line."""
        return f"{len(self.images)} paintings, shorter side {min(self.images[0].shape[1:])}"


def load(split: str = "train", stand_in: bool = True) -> PaintingSet:
    """Return the eight paintings, in the order of ``NAMES``.

    Args:
        split: "train"; there is no other.
        stand_in: where the package cannot be had, return drawn textures, labelled as a stand-in.

    Raises:
        ValueError: another split.
        WrongBytes: a file in LITGEN_DATA is not what its name says.
        DataUnavailable: nothing has the files, and no stand-in is wanted; or Pillow is missing.
    """
    if split not in CHECKSUM:
        raise ValueError(f"split must be 'train', got {split!r}")
    try:
        contents, source = packages.read(PAINTINGS)
    except DataUnavailable as reason:
        if not stand_in:
            raise
        print(f"STAND-IN: drawn textures in place of paintings, because {reason}")
        images = drawn_textures(len(NAMES))
        about = "drawn textures standing in for paintings", "drawn by litgen.data.paintings"
        found = sources.checksum(*images)
        return PaintingSet(
            images,
            tuple(f"texture {i + 1}" for i in range(len(NAMES))),
            Record(*about, "CC0-1.0", "this book", found, COUNTS, stand_in=True),
        )
    found = identity(contents)
    if found != CHECKSUM[split]:
        raise WrongBytes(f"paintings {split} has checksum {found}, expected {CHECKSUM[split]}")
    images = tuple(decoded(content, name, SIDE) for name, content in contents.items())
    record = Record("paintings", source, LICENCE, CITATION, found, COUNTS, stand_in=False)
    return PaintingSet(images, NAMES, record)


def identity(contents: packages.Contents) -> str:
    """Return a sha256 over names and bytes of files in their order: what training goes back to."""
    sha256 = hashlib.sha256()
    for name, content in contents.items():
        sha256.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
    return sha256.hexdigest()


def decoded(content: bytes, name: str, side: int) -> UInt8[Tensor, "3 height width"]:
    """Return a picture file's levels, its shorter side made ``side`` pixels long.

    Transparent parts are laid on white, grey pictures get three equal colours. The filter is
    Pillow's bilinear one, a triangle as wide as two pixels of the result.

    Args:
        content: of a file that Pillow can read, such as JPEG, PNG or WebP.
        name: for messages.
        side: in pixels; a smaller picture is not made larger.

    Raises:
        ValueError: a side below 1.
        WrongBytes: no picture.
        DataUnavailable: Pillow is not installed.
    """
    if side < 1:
        raise ValueError(f"side must be at least 1, got {side}")
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise DataUnavailable("Pillow is not installed (it comes with litgen[data])") from None
    try:
        with Image.open(io.BytesIO(content)) as image:
            opaque = Image.new("RGBA", image.size, "white")
            opaque.alpha_composite(image.convert("RGBA"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        reason = "unknown format" if isinstance(error, UnidentifiedImageError) else error
        raise WrongBytes(f"{name} is no picture: {reason}") from None
    plain, scale = opaque.convert("RGB"), side / min(opaque.size)
    if scale < 1:
        width, height = (max(1, round(length * scale)) for length in plain.size)
        plain = plain.resize((width, height), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(plain).transpose(2, 0, 1).copy())


# -- out of the package -------------------------------------------------------------------------


def entries(resource: bytes, name: str = "the resource") -> dict[str, bytes]:
    """Return the files of a Qt resource file (.rcc) by path.

    The header is "qres", a version, and where tree, data and names begin. A node of the tree is
    14 bytes, from version 2 on 22: where its name is, flags (1 compressed with zlib, 2 a folder,
    4 compressed with Zstandard), then a folder's count and first child, or a file's country,
    language and place in the data. All numbers are written with the highest byte first.

    Raises:
        WrongBytes: another format, a file cut short, or one compressed with Zstandard.
    """
    found: dict[str, bytes] = {}
    try:
        if resource[:4] != b"qres":
            raise WrongBytes(f"{name} does not begin with 'qres'")
        version, tree, data, names = struct.unpack_from(">4I", resource, 4)
        size = 22 if version >= 2 else 14
        waiting, seen = [(0, "")], 0
        while waiting:
            node, path = waiting.pop()
            seen += 1
            if seen * size > len(resource):
                raise WrongBytes(f"{name} has a tree that runs in a circle")
            at, flags = struct.unpack_from(">IH", resource, tree + node * size)
            if node:
                (length,) = struct.unpack_from(">H", resource, names + at)
                start = names + at + 6
                path += "/" + resource[start : start + 2 * length].decode("utf-16-be")
            if flags & 2:
                count, first = struct.unpack_from(">II", resource, tree + node * size + 6)
                waiting += [(first + i, path) for i in range(min(count, len(resource)))]
                continue
            (place,) = struct.unpack_from(">I", resource, tree + node * size + 10)
            (length,) = struct.unpack_from(">I", resource, data + place)
            content = resource[data + place + 4 : data + place + 4 + length]
            if len(content) != length:
                raise WrongBytes(f"{name} is cut short at {path}")
            if flags & 4:
                raise WrongBytes(f"{name} has {path} compressed with Zstandard")
            found[path] = zlib.decompress(content[4:]) if flags & 1 else content
    except (struct.error, UnicodeDecodeError, zlib.error) as error:
        raise WrongBytes(f"{name} is no whole Qt resource file: {error}") from None
    return found


def _bring(folder: Path) -> packages.Contents:
    """Fetch the Debian package and take the eight files out of one of its resources."""
    path = sources.apt_unpack(PACKAGE, folder) / RESOURCE
    if not path.is_file():
        raise DataUnavailable(f"the package has no {path.name}")
    found = entries(path.read_bytes(), path.name)
    files = {
        file: f"{FOLDER}/{work}_background.webp"
        for file, work in zip(PAINTINGS.sha256, WORKS.values(), strict=True)
    }
    missing = [inside for inside in files.values() if inside not in found]
    if missing:
        raise DataUnavailable(f"{path.name} has no {missing[0]}")
    return {file: found[inside] for file, inside in files.items()}


# -- stand-in -----------------------------------------------------------------------------------


def drawn_textures(count: int, seed: int = 0) -> tuple[UInt8[Tensor, "3 _ _"], ...]:
    """Return textures of 256x256 pixels in three colours: stripes, dots and swirls in turn.

    Whole numbers alone are used, so that all machines draw the same.

    Raises:
        ValueError: a negative count.
    """
    if count < 0:
        raise ValueError(f"count must not be negative, got {count}")
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.int64)
    images = []
    for i in range(count):
        a, b = random.integers(3, 12, 2)
        period = int(random.integers(120, 220))
        if i % 3 == 0:
            field = a * x + b * y
        elif i % 3 == 1:
            field = (x % (4 * a) - 2 * a) ** 2 + (y % (4 * a) - 2 * a) ** 2
        else:
            field = ((x - 20 * a) ** 2 + (y - 20 * b) ** 2 + x * y) // 40
        colours = random.integers(0, 256, (3, 3)).astype(np.uint8)
        place = (3 * (field % period)) // period
        images.append(torch.from_numpy(colours[place].transpose(2, 0, 1).copy()))
    return tuple(images)
