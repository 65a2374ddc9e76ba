"""CMP Facades: 606 rectified photographs of house fronts, each with a plan of twelve classes.

Proof: tests/data/test_cmp_facades.py.
Reference: Tylecek & Sara, "Spatial Pattern Templates for Recognition of Objects with Regular
Structure" (2013).

The archives, ADDRESS and its "extended" sister, come from a server that not all networks reach,
and no checksum of them is published, so nothing here fetches them and nothing of the book depends
on them. Whoever has them unpacks them into a folder ``cmp-facades`` in LITGEN_DATA or the cache:
``base/`` with 378 pairs and ``extended/`` with 228, a photograph ``NAME.jpg`` beside each plan
``NAME.png``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from litgen.data import sources
from litgen.data.sources import (
    DataUnavailable,
    Record,
    Split,
    WrongBytes,
    check_split,
    checksum,
)
from litgen.shapes import UInt8

__all__ = ["ADDRESS", "CHECKSUM", "CLASSES", "CmpFacadeSet", "load"]

ADDRESS = "https://cmp.felk.cvut.cz/~tylecr1/facade/CMP_facade_DB_base.zip"
CLASSES = (
    "background",
    "facade",
    "window",
    "door",
    "cornice",
    "sill",
    "balcony",
    "blind",
    "deco",
    "molding",
    "pillar",
    "shop",
)
"""In the order of the files' labels 1 to 12; here they count from 0."""

CHECKSUM: dict[str, str] = {}
"""Of nothing: it depends on how photographs are decoded and shrunk. The record has what it is."""

FOLDERS = {"train": "base", "test": "extended"}
COUNTS = {"train": 378, "test": 228}
LICENCE = "not stated in the archives"
CITATION = "Tylecek & Sara (2013), Spatial Pattern Templates for Recognition of Objects, GCPR"


@dataclass(frozen=True, eq=False)
class CmpFacadeSet:
    """Photographs, the class of each of their pixels, and where they came from.

    Attributes:
        images: levels 0..255 of red, green and blue.
        classes: indices into CLASSES.
        record: what they are.
    """

    images: UInt8[Tensor, "count 3 height width"]
    classes: UInt8[Tensor, "count height width"]
    record: Record

    def describe(self) -> str:
        """Return how much there is, for a line of the command line."""
        return f"{len(self.images):,} images {'x'.join(map(str, self.images.shape[1:]))}"


def load(
    split: Split = "train", stand_in: bool = True, side: int = 64, limit: int | None = None
) -> CmpFacadeSet:
    """Return photographs and plans, both squeezed to squares.

    Args:
        split: "train" (the folder base, 378 pairs) or "test" (extended, 228).
        stand_in: accepted so that all loaders are called alike; nothing stands in for these.
            Drawn fronts have a loader of their own.
        side: height and width after shrinking; classes are never blended.
        limit: take only that many pairs, the first ones by name.

    Raises:
        ValueError: an unknown split, or a side or a limit that is not positive.
        DataUnavailable: no such folder, or no Pillow.
        WrongBytes: a photograph without a plan or a plan without a photograph, two sizes in one
            pair, an unknown label, or a file that cannot be read; the error names the file.
    """
    check_split(split)
    if side < 1 or (limit is not None and limit < 1):
        raise ValueError(f"side and limit must be positive, got {side} and {limit}")
    folder = _folder(split)
    found = _paired(folder)[:limit]
    images = torch.empty(len(found), 3, side, side, dtype=torch.uint8)
    classes = torch.empty(len(found), side, side, dtype=torch.uint8)
    for i, name in enumerate(found):
        images[i], classes[i] = _small(folder / f"{name}.jpg", folder / f"{name}.png", side)
    about = "CMP Facades", f"files in {folder.name}", LICENCE, CITATION, checksum(images, classes)
    return CmpFacadeSet(images, classes, Record(*about, COUNTS, stand_in=False))


def _folder(split: Split) -> Path:
    """Return where the files of a split lie."""
    for root in (sources.data_folder(), sources.cache_folder() / "data"):
        folder = root / "cmp-facades" / FOLDERS[split]
        if folder.is_dir():
            return folder
    raise DataUnavailable(
        f"CMP Facades: no folder cmp-facades/{FOLDERS[split]} in LITGEN_DATA or the cache. Unpack "
        f"the archive from {ADDRESS} there; facades needs no files"
    )


def _paired(folder: Path) -> list[str]:
    """Return the names that have a photograph and a plan."""
    photographs, plans = ({p.stem for p in folder.glob(f"*.{end}")} for end in ("jpg", "png"))
    for names, has, lacks in (
        (photographs - plans, "jpg", "png"),
        (plans - photographs, "png", "jpg"),
    ):
        if names:
            name = min(names)
            raise WrongBytes(f"{folder.name}/{name}.{has} has no partner {name}.{lacks}")
    if not photographs:
        raise DataUnavailable(f"CMP Facades: {folder.name} has no photographs (*.jpg)")
    return sorted(photographs)


def _small(photograph: Path, plan: Path, side: int) -> tuple[Tensor, Tensor]:
    """Read a pair and shrink it; a class comes from the nearest pixel."""
    first, second = _opened(photograph), _opened(plan)
    if first.size != second.size:
        sizes = [" by ".join(map(str, part.size)) for part in (first, second)]
        raise WrongBytes(f"{photograph.name} has {sizes[0]} pixels, {plan.name} {sizes[1]}")
    labels = np.asarray(second)
    if labels.ndim != 2 or labels.min() < 1 or labels.max() > len(CLASSES):
        what = "colours" if labels.ndim != 2 else f"labels {labels.min()} to {labels.max()}"
        raise WrongBytes(f"{plan.name} holds {what}, not labels 1 to {len(CLASSES)}")
    shrunk = np.asarray(first.convert("RGB").resize((side, side), 1))  # 1: Lanczos
    nearest = np.asarray(second.resize((side, side), 0))  # 0: nearest, no blending
    pixels = torch.from_numpy(shrunk.copy()).permute(2, 0, 1)
    return pixels, torch.from_numpy(nearest.astype(np.uint8) - 1)


def _opened(path: Path) -> Any:
    """Return a picture, read to its end."""
    try:
        from PIL import Image
    except ImportError:
        raise DataUnavailable("Pillow is not installed (it comes with litgen[data])") from None
    try:
        picture = Image.open(path)
        picture.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise WrongBytes(f"{path.name} cannot be read: {sources.one_line(error)}") from None
    return picture
