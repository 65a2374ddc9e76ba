"""Five photographs in colour, their shorter side 256 pixels: what a style is put on.

Proof: tests/data/test_photographs.py.
Sources: three come with scikit-image, two with scikit-learn.

* astronaut: Eileen Collins, NASA; public domain.
* chelsea: a cat, by Stefan van der Walt; CC0.
* coffee: a cup, by Rachel Michetti, courtesy of Pikolo Espresso Bar; CC0.
* china: a temple, by Daniel Buechele; CC BY 2.0.
* flower: a dahlia, by "vultilion" of Flickr; CC BY 2.0.

Files are verified before use; decoders may round differently, so that the record's checksum is of
the files (as in `litgen.data.paintings`).
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from litgen.data import packages, paintings, scenes, sources
from litgen.data.sources import DataUnavailable, Record, WrongBytes
from litgen.shapes import UInt8

__all__ = ["CHECKSUM", "NAMES", "PhotographSet", "load"]

NAMES = ("astronaut", "chelsea", "coffee", "china", "flower")
CHECKSUM: dict[str, str] = {
    "train": "c330113b027bee7332e7709a1841f817a526c98fda4fd51b8d4e73b43da98dee",
}
COUNTS = {"train": 5}
LICENCE = "astronaut: public domain; chelsea, coffee: CC0; china, flower: CC BY 2.0"
CITATION = (
    "astronaut: NASA; chelsea: S. van der Walt; coffee: R. Michetti; all in scikit-image 0.26.0. "
    "china: D. Buechele; flower: vultilion (Flickr); both in scikit-learn"
)
THREE = ("astronaut.png", "chelsea.png", "coffee.png")
TWO = ("china.jpg", "flower.jpg")
PHOTOGRAPHS = packages.FileSet(
    name="photographs",
    sha256={
        "astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        "chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
        "coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    },
    origins=(
        packages.in_installed("skimage", {name: f"data/{name}" for name in THREE}),
        packages.in_wheel(
            "scikit-image==0.26.0", {name: f"skimage/data/{name}" for name in THREE}
        ),
    ),
)
SAMPLES = packages.FileSet(
    name="photographs_two",
    sha256={
        "china.jpg": "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
        "flower.jpg": "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638",
    },
    origins=(
        packages.in_installed("sklearn", {name: f"datasets/images/{name}" for name in TWO}),
        packages.in_wheel(
            "scikit-learn==1.9.1", {name: f"sklearn/datasets/images/{name}" for name in TWO}
        ),
    ),
)


@dataclass(frozen=True, eq=False)
class PhotographSet:
    """Photographs of different shapes, their names, and where they came from.

    Attributes:
        images: levels 0..255 of red, green and blue, (3, height, width) each.
        names: see ``NAMES``.
        record: what they are.
    """

    images: tuple[UInt8[Tensor, "3 _ _"], ...]
    names: tuple[str, ...]
    record: Record

    def describe(self) -> str:
        """Return how much there is, for a line of the command line."""
        return f"{len(self.images)} photographs, shorter side {min(self.images[0].shape[1:])}"


def load(split: str = "train", stand_in: bool = True) -> PhotographSet:
    """Return the five photographs, in the order of ``NAMES``.

    Args:
        split: "train"; there is no other.
        stand_in: where a package cannot be had, return drawn scenes, labelled as a stand-in.

    Raises:
        ValueError: another split.
        WrongBytes: a file in LITGEN_DATA is not what its name says.
        DataUnavailable: nothing has the files, and no stand-in is wanted; or Pillow is missing.
    """
    if split not in CHECKSUM:
        raise ValueError(f"split must be 'train', got {split!r}")
    try:
        three, source = packages.read(PHOTOGRAPHS)
        two, second = packages.read(SAMPLES)
    except DataUnavailable as reason:
        if not stand_in:
            raise
        return _standing_in(reason)
    contents = three | two
    found = paintings.identity(contents)
    if found != CHECKSUM[split]:
        raise WrongBytes(f"photographs {split} has checksum {found}, expected {CHECKSUM[split]}")
    images = tuple(paintings.decoded(c, name, paintings.SIDE) for name, c in contents.items())
    source = source if second == source else f"{source}; {second}"
    record = Record("photographs", source, LICENCE, CITATION, found, COUNTS, stand_in=False)
    return PhotographSet(images, NAMES, record)


def _standing_in(reason: DataUnavailable) -> PhotographSet:
    """Return five drawn scenes, four times as large, and say so on stdout."""
    print(f"STAND-IN: drawn scenes in place of photographs, because {reason}")
    drawn = scenes.load("train")
    large = F.interpolate(drawn.images[: len(NAMES)].float(), scale_factor=4, mode="nearest")
    images = tuple(large.to(drawn.images.dtype))
    about = "drawn scenes standing in for photographs", drawn.record.source, drawn.record.licence
    found = sources.checksum(*images)
    record = Record(*about, drawn.record.citation, found, COUNTS, stand_in=True)
    return PhotographSet(images, tuple(f"scene {i + 1}" for i in range(len(images))), record)
