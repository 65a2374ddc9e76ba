"""CelebA: 202,599 photographs of faces with forty attributes each, from the official files.

Proof: tests/data/test_celeba.py.
Reference: Liu, Luo, Wang & Tang, "Deep Learning Face Attributes in the Wild" (2015).

The official archive is for research that is not commercial, and comes from a server that not all
networks reach, so nothing of the book depends on it. Whoever has it unpacks it as torchvision
does, into a folder ``celeba`` in LITGEN_DATA or the cache: ``img_align_celeba/`` and the five
``.txt`` files beside it, whose checksums torchvision knows.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from litgen.data import sources
from litgen.data.sources import ImageSet, Record, Split, check_split, checksum
from litgen.shapes import Bool, Int

__all__ = ["ATTRIBUTES", "CHECKSUM", "attributes", "load"]

NAMES = (
    "5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose "
    "Black_Hair Blond_Hair Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee "
    "Gray_Hair Heavy_Makeup High_Cheekbones Male Mouth_Slightly_Open Mustache Narrow_Eyes "
    "No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks Sideburns Smiling "
    "Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace "
    "Wearing_Necktie Young"
)
ATTRIBUTES = tuple(NAMES.split())
"""In the order of the official file, which is that of the bits of a label, the lowest first."""

CHECKSUM: dict[str, str] = {}
"""Of nothing: it depends on how photographs are decoded and shrunk. The record has what it is."""

COUNTS = {"train": 162_770, "test": 19_962}
LICENCE = "non-commercial research purposes only"
CITATION = (
    "Liu, Luo, Wang & Tang (2015), Deep Learning Face Attributes in the Wild, arXiv:1411.7766"
)
CROP = 148  # pixels around the middle of the aligned 178x218: the face and some hair


def load(
    split: Split = "train", stand_in: bool = True, side: int = 32, limit: int | None = None
) -> ImageSet:
    """Return aligned faces as (count, 3, side, side) bytes; a label's bits are the attributes.

    Args:
        split: "train" (162,770 photographs) or "test" (19,962).
        stand_in: accepted so that all loaders are called alike; nothing stands in for CelebA.
            Drawn faces have a loader of their own.
        side: height and width after cutting out the middle and shrinking it.
        limit: take only that many photographs, the first ones.

    Raises:
        ValueError: an unknown split, or a side or a limit that is not positive.
        DataUnavailable: no torchvision, or no official files and no way to fetch them.
    """
    check_split(split)
    if side < 1 or (limit is not None and limit < 1):
        raise ValueError(f"side and limit must be positive, got {side} and {limit}")
    found, source = sources.torchvision_set(
        "CelebA", "CelebA", "celeba", "drawn_faces", split=split, target_type="attr"
    )
    count = min(len(found.attr), limit or len(found.attr))
    images = torch.empty(count, 3, side, side, dtype=torch.uint8)
    for i in range(count):
        images[i] = _small(found[i][0], side)
    bits = found.attr[:count].long() << torch.arange(len(ATTRIBUTES))
    labels = bits.sum(dim=1)
    about = "CelebA", source, LICENCE, CITATION, checksum(images, labels), COUNTS
    return ImageSet(images, labels, Record(*about, stand_in=False))


def attributes(labels: Int[Tensor, "*batch"]) -> Bool[Tensor, "*batch 40"]:
    """Return which of the forty attributes each label says."""
    return (labels[..., None] >> torch.arange(len(ATTRIBUTES), device=labels.device)) & 1 == 1


def _small(photograph: Any, side: int) -> Tensor:
    """Cut out the middle of an aligned photograph and shrink it."""
    width, height = photograph.size
    left, top = (width - CROP) // 2, (height - CROP) // 2
    middle = photograph.convert("RGB").crop((left, top, left + CROP, top + CROP))
    shrunk = middle.resize((side, side), 1)  # 1: Lanczos, anti-aliased
    return torch.from_numpy(np.asarray(shrunk).copy()).permute(2, 0, 1)
