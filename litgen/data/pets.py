"""Oxford-IIIT Pet: 7,349 photographs of cats and dogs with the pet marked at every pixel.

Proof: tests/data/test_pets.py.
Reference: Parkhi, Vedaldi, Zisserman & Jawahar, "Cats and Dogs" (2012).

The archives come from a server that not all networks reach, so nothing of the book depends on
them. Whoever has them unpacks them as torchvision does, into a folder ``oxford-iiit-pet`` in
LITGEN_DATA or the cache: ``images/`` and ``annotations/``.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from litgen.data import sources
from litgen.data.sources import Record, Split, WrongBytes, check_split, checksum
from litgen.shapes import UInt8

__all__ = ["CHECKSUM", "CLASSES", "UNKNOWN", "PetSet", "load"]

CLASSES = ("ground", "pet")
UNKNOWN = 255
"""The label of the pixels along the outline, which the set leaves open."""

CHECKSUM: dict[str, str] = {}
"""Of nothing: it depends on how photographs are decoded and shrunk. The record has what it is."""

COUNTS = {"train": 3_680, "test": 3_669}
FILES = {"train": "trainval", "test": "test"}
TRIMAP = {1: 1, 2: 0, 3: UNKNOWN}  # the files': pet, ground, outline
LICENCE = "CC BY-SA 4.0"
CITATION = "Parkhi, Vedaldi, Zisserman & Jawahar (2012), Cats and Dogs, CVPR"


@dataclass(frozen=True, eq=False)
class PetSet:
    """Photographs, what each of their pixels shows, and where they came from.

    Attributes:
        images: levels 0..255 of red, green and blue.
        classes: 0 for the ground, 1 for the pet, UNKNOWN along the outline.
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
) -> PetSet:
    """Return the square middles of the photographs, shrunk, and the classes of their pixels.

    Args:
        split: "train" (the files' trainval, 3,680 photographs) or "test" (3,669).
        stand_in: accepted so that all loaders are called alike; nothing stands in for the pets.
            Drawn scenes have a loader of their own.
        side: height and width after shrinking; classes are never blended.
        limit: take only that many photographs, the first ones.

    Raises:
        ValueError: an unknown split, or a side or a limit that is not positive.
        DataUnavailable: no torchvision, or no files and no way to fetch them.
        WrongBytes: a map with an unknown label, or of another size than its photograph.
    """
    check_split(split)
    if side < 1 or (limit is not None and limit < 1):
        raise ValueError(f"side and limit must be positive, got {side} and {limit}")
    found, source = sources.torchvision_set(
        "the pets",
        "OxfordIIITPet",
        "oxford-iiit-pet",
        "scenes",
        split=FILES[split],
        target_types="segmentation",
    )
    count = min(len(found), limit or len(found))
    images = torch.empty(count, 3, side, side, dtype=torch.uint8)
    classes = torch.empty(count, side, side, dtype=torch.uint8)
    for i in range(count):
        try:
            photograph, trimap = found[i]
            with trimap:
                images[i], classes[i] = _small(photograph, trimap, side)
        except (OSError, WrongBytes) as error:
            reason = sources.one_line(error)
            raise WrongBytes(f"photograph {i} of the pets' {FILES[split]}: {reason}") from None
    about = "Oxford-IIIT Pet", source, LICENCE, CITATION, checksum(images, classes), COUNTS
    return PetSet(images, classes, Record(*about, stand_in=False))


def _small(photograph: Any, trimap: Any, side: int) -> tuple[Tensor, Tensor]:
    """Cut the square middle out of both and shrink them; a class comes from the nearest pixel."""
    if photograph.size != trimap.size:
        sizes = [" by ".join(map(str, part.size)) for part in (photograph, trimap)]
        raise WrongBytes("it has {} pixels, its map {}".format(*sizes))
    labels = np.asarray(trimap)
    unknown = sorted(set(np.unique(labels).tolist()) - TRIMAP.keys())
    if labels.ndim != 2 or unknown:
        raise WrongBytes(f"its map holds {unknown or 'colours'}, not 1, 2 and 3 alone")
    square = min(photograph.size)
    left, top = ((n - square) // 2 for n in photograph.size)
    box = (left, top, left + square, top + square)
    shrunk = photograph.convert("RGB").crop(box).resize((side, side), 1)  # 1: Lanczos
    nearest = np.asarray(trimap.crop(box).resize((side, side), 0))  # 0: nearest, no blending
    classes = np.full(nearest.shape, UNKNOWN, np.uint8)
    for label, value in TRIMAP.items():
        classes[nearest == label] = value
    pixels = torch.from_numpy(np.asarray(shrunk).copy()).permute(2, 0, 1)
    return pixels, torch.from_numpy(classes)
