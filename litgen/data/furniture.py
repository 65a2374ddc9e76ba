"""Chairs and tables of 32x32x32 voxels, made from the meshes of five catalogues of furniture.

Chapter: book/gan/voxel.md.  Proof: tests/data/test_furniture.py.
Source: the Debian package sweethome3d-furniture 1.8, models for Sweet Home 3D (E. Puybaret and
others). Their makers are kept with the voxels, as the licences ask: ``FurnitureSet.credits``.

The package weighs 120 MB; what is kept is one file of voxels, made on this machine and the same
on every other (`litgen.data.meshes`), whose checksum is known.
"""

import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from litgen.data import drawn_furniture, meshes, packages, sources
from litgen.data.sources import (
    DataUnavailable,
    Record,
    Split,
    WrongBytes,
    check_split,
    checksum,
)
from litgen.shapes import Bool, Int, UInt8

__all__ = [
    "CHECKSUM",
    "CLASSES",
    "SIDE",
    "FurnitureSet",
    "catalogue",
    "coarse",
    "load",
    "mirrored",
]

SIDE = 32
CLASSES = ("chair", "table")
"""Seats with and without arms, sofas among them; tables and desks."""
WORDS = ({"chair", "armchair", "sofa", "couch"}, {"table", "desk"})
ROOMS = {"Living room", "Kitchen", "Office", "Exterior"}
"""Categories of the catalogues in which a table is a table and no game, lamp or cupboard."""
CHECKSUM: dict[str, str] = {
    "train": "7d9794ededf67a5c1c372079ec97e39bac838efcc9d8bc39f358588fb974c561",
    "test": "ae3651b7777f1ca8bdc59fbe2eae8ad904cb632cbf171ffd69ba543f16a02898",
}
COUNTS = {"train": 93, "test": 30}
PACKAGE = "sweethome3d-furniture"
CATALOGUES = ("BlendSwap-CC-0", "BlendSwap-CC-BY", "KatorLegaz", "Reallusion", "Scopia")
LICENCE = "CC BY 3.0 (Scopia, Kator Legaz, Blend Swap CC-BY) and CC0 (Blend Swap CC-0)"
CITATION = (
    "Puybaret et al., models for Sweet Home 3D 1.8, with models by Scopia, Andrew Kator & "
    "Jennifer Legaz, and the contributors of Blend Swap"
)
FILE = "furniture.voxels"
BARE_EDGE = re.compile(r"^f\s+\S+\s+\S+[ \t\r]*$", re.MULTILINE)
"""Four of the models have edges among their faces; they touch nothing that their faces do not."""


@dataclass(frozen=True, eq=False)
class FurnitureSet:
    """Voxels, classes, names and makers, and where they came from.

    Attributes:
        voxels: 1 where something is, 0 elsewhere; axes are up, deep, wide.
        labels: see ``CLASSES``.
        names: of the models.
        credits: their makers, and the catalogue they are from.
        record: what they are.
    """

    voxels: UInt8[Tensor, "count up deep wide"]
    labels: Int[Tensor, " count"]
    names: tuple[str, ...]
    credits: tuple[str, ...]
    record: Record

    def describe(self) -> str:
        """Return how much there is, for a line of the command line."""
        return f"{len(self.voxels):,} models {'x'.join(map(str, self.voxels.shape[1:]))}"


def load(split: Split = "train", stand_in: bool = True) -> FurnitureSet:
    """Return the furniture: every fourth model of a class is a test model.

    Args:
        split: "train" or "test".
        stand_in: where the package cannot be had, return drawn furniture, labelled as a stand-in.

    Raises:
        WrongBytes: a file in LITGEN_DATA is not what its name says.
        DataUnavailable: nothing has the package, and no stand-in is wanted.
    """
    check_split(split)
    try:
        contents, source = packages.read(FURNITURE)
    except DataUnavailable as reason:
        if not stand_in:
            raise
        return _standing_in(split, reason)
    about, voxels = _unpacked(contents[FILE])
    rows = [i for i, one in enumerate(about) if (one["place"] % 4 == 3) == (split == "test")]
    cubes = torch.from_numpy(voxels[rows])
    labels = torch.tensor([about[i]["label"] for i in rows])
    found = checksum(cubes, labels)
    if found != CHECKSUM[split]:
        raise WrongBytes(f"furniture {split} has checksum {found}, expected {CHECKSUM[split]}")
    record = Record("furniture", source, LICENCE, CITATION, found, COUNTS, stand_in=False)
    names, makers = (tuple(about[i][key] for i in rows) for key in ("name", "credit"))
    return FurnitureSet(cubes, labels, names, makers, record)


def coarse(voxels: UInt8[Tensor, "*batch side side side"]) -> UInt8[Tensor, "*batch s s s"]:
    """Halve the side: a voxel is filled if any of its eight parts is.

    Raises:
        ValueError: an odd side.
    """
    side = voxels.shape[-1]
    if side % 2:
        raise ValueError(f"a side of {side} cannot be halved")
    half = side // 2
    parts = voxels.reshape(*voxels.shape[:-3], half, 2, half, 2, half, 2)
    return parts.amax(dim=(-5, -3, -1))


def mirrored(voxels: UInt8[Tensor, "count up deep wide"]) -> UInt8[Tensor, "more up deep wide"]:
    """Return the objects, then their mirror images from left to right."""
    return torch.cat([voxels, voxels.flip(-1)])


# -- from the catalogues ------------------------------------------------------------------------


def catalogue(text: str) -> list[dict[str, str]]:
    """Return the entries of a catalogue's properties file, in the order of their numbers."""
    entries: dict[int, dict[str, str]] = {}
    for line in text.splitlines():
        found = re.match(r"(\w+)#(\d+)\s*=\s*(.*)", line)
        if found:
            entries.setdefault(int(found[2]), {})[found[1]] = found[3].strip()
    return [entries[number] for number in sorted(entries)]


def class_of(entry: dict[str, str]) -> int | None:
    """Return the class that an entry's name and category say, or None."""
    words = set(entry.get("name", "").lower().split())
    found = [i for i, wanted in enumerate(WORDS) if words & wanted]
    return found[0] if len(found) == 1 and entry.get("category") in ROOMS else None


def made(archive: zipfile.ZipFile, name: str) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """Yield what is known of each chair and table of a catalogue, and its voxels.

    Raises:
        WrongBytes: a catalogue without its list of models, or a model without its file.
        ValueError: a broken model; the message names the file.
    """
    files = set(archive.namelist())
    if "PluginFurnitureCatalog.properties" not in files:
        raise WrongBytes(f"{name} has no list of models")
    text = archive.read("PluginFurnitureCatalog.properties").decode("latin-1")
    for entry in catalogue(text):
        label = class_of(entry)
        if label is None:
            continue
        path = entry.get("model", "").lstrip("/")
        if path not in files:
            raise WrongBytes(f"{name} has no file {path!r} for {entry['name']!r}")
        text = BARE_EDGE.sub("", archive.read(path).decode("latin-1"))
        mesh = meshes.parse_obj(text, path)
        mesh = meshes.Mesh(_rotated(mesh.corners, entry.get("modelRotation", ""), path), mesh[1])
        # the catalogues look along z, against the direction in which deep counts
        voxels = meshes.filled(meshes.surface(mesh, SIDE, path))[:, ::-1]
        credit = f"{entry.get('creator', 'unknown')}, {name}"
        yield {"name": entry["name"], "credit": credit, "file": path, "label": label}, voxels


def _rotated(corners: np.ndarray, words: str, name: str) -> np.ndarray:
    """Turn corners by a catalogue's nine numbers, one product and one sum at a time."""
    if not words:
        return corners
    numbers = [float(word) for word in words.split()]
    if len(numbers) != 9:
        raise ValueError(f"{name} has a rotation of {len(numbers)} numbers, not 9")
    x, y, z = corners.T
    rows = [a * x + b * y + c * z for a, b, c in zip(*[iter(numbers)] * 3, strict=True)]
    return np.stack(rows, axis=1)


def packed(models: list[tuple[dict[str, Any], Bool[np.ndarray, "s s s"]]]) -> bytes:
    """Return models as one file: a line of JSON, then the voxels' bits. Twins are left out."""
    seen: set[bytes] = set()
    lines, bits, places = [], [], [0, 0]
    for about, voxels in models:
        packed_bits = np.packbits(voxels).tobytes()
        if packed_bits not in seen:
            seen.add(packed_bits)
            lines.append(about | {"place": places[about["label"]]})
            places[about["label"]] += 1
            bits.append(packed_bits)
    return json.dumps(lines).encode("ascii") + b"\n" + b"".join(bits)


def _unpacked(content: bytes) -> tuple[list[dict[str, Any]], UInt8[np.ndarray, "n s s s"]]:
    """Return what `packed` put in."""
    line, bits = content.split(b"\n", 1)
    about = json.loads(line)
    cubes = np.unpackbits(np.frombuffer(bits, np.uint8)).reshape(-1, SIDE, SIDE, SIDE)
    if len(about) != len(cubes):
        raise WrongBytes(f"{FILE} names {len(about)} models and holds {len(cubes)}")
    return about, cubes


def _bring(folder: Path) -> dict[str, bytes]:
    """Fetch the Debian package and make the file of voxels of it."""
    home = sources.apt_unpack(PACKAGE, folder) / "usr/share/sweethome3d/furniture"
    models = []
    for name in CATALOGUES:
        path = home / f"{name}.sh3f"
        if not path.is_file():
            raise DataUnavailable(f"the package has no {name}.sh3f")
        with zipfile.ZipFile(path) as archive:
            models += list(made(archive, name))
    return {FILE: packed(models)}


FURNITURE = packages.FileSet(
    name="furniture",
    sha256={FILE: "3305646da34a0834d462c03c8983d1f23380b91648357d163d7c34cc8c30045e"},
    origins=(packages.Origin(f"Debian package {PACKAGE}", _bring),),
)


def _standing_in(split: Split, reason: DataUnavailable) -> FurnitureSet:
    """Return as many drawn chairs and tables, twice as fine, and say so on stdout."""
    print(f"STAND-IN: drawn furniture in place of furniture, because {reason}")
    drawn = drawn_furniture.load(split)
    cubes = drawn.voxels[: COUNTS[split]]
    for axis in (1, 2, 3):
        cubes = cubes.repeat_interleave(2, dim=axis)
    labels = drawn.labels[: COUNTS[split]]
    about = "drawn furniture standing in for furniture", drawn.record.source, drawn.record.licence
    found = checksum(cubes, labels)
    record = Record(*about, drawn.record.citation, found, COUNTS, stand_in=True)
    names = tuple(CLASSES[label] for label in labels)
    return FurnitureSet(cubes, labels, names, ("this book",) * len(names), record)
