"""Animals at 28x28 pixels: 10,000 grey pictures of ten species, most of them silhouettes.

Proof: tests/data/test_animals.py.
Source: Animal-MNIST, from the Python package animal-mnist; zebras keep their stripes, the others
are white on black.

The package holds its arrays as pickles. They are opened only after their sha256 is known to be
right, by an unpickler that can make arrays and nothing else (`litgen.data.sources`). The set has
no split of its own: here the last fifth of each species is for testing, less what is in training
to the pixel. Some pictures are cut or scaled versions of others, so the two are not independent.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from litgen.data import packages, sources
from litgen.data.sources import DataUnavailable, Record, Split, WrongBytes, check_split, checksum
from litgen.shapes import Int, UInt8

__all__ = ["CHECKSUM", "CLASSES", "AnimalSet", "load", "one_class"]

CLASSES = (
    *("bear", "bird", "cat", "cow", "dog"),
    *("elephant", "giraffe", "horse", "sheep", "zebra"),
)
CHECKSUM: dict[str, str] = {
    "train": "2844cfdd5640d6cd31973ec7ab5370fff4fec5889e21771b91bc5457a84356b7",
    "test": "1bc3f28cd9a4e302c2591a11ec916c3bf00b65b9bfb49cec0d5323d4a24f2ede",
}
COUNTS = {"train": 8_000, "test": 1_889}
TRAINING = 800
"""Pictures of each species, the first ones, that are for training."""

LICENCE = "MIT"
CITATION = "Mohammadi, Animal-MNIST 0.4, Python package animal-mnist (2025)"
PIXELS, LABELS = "animal_data_version_3.gz", "animal_label_version_3.gz"
FOLDER = "animal_mnist/data/Animal_MNIST"
ANIMALS = packages.FileSet(
    name="animals",
    sha256={
        PIXELS: "68a30346781a0984f839463a4615d2decb899d1ce65091bb92586311754a34ce",
        LABELS: "dec8dba7c469830989fbab46825021a08a38470753a512f27ada847eced97b57",
    },
    origins=(
        packages.in_installed(
            "animal_mnist",
            {name: f"data/Animal_MNIST/{name}" for name in (PIXELS, LABELS)},
        ),
        packages.in_wheel(
            "animal-mnist==0.4", {name: f"{FOLDER}/{name}" for name in (PIXELS, LABELS)}
        ),
    ),
)


@dataclass(frozen=True, eq=False)
class AnimalSet:
    """Pictures, species, and where they came from.

    Attributes:
        images: grey values 0..255.
        labels: an index into CLASSES for each.
        record: provenance.
    """

    images: UInt8[Tensor, "count 1 28 28"]
    labels: Int[Tensor, " count"]
    record: Record

    def describe(self) -> str:
        """Return how much there is, for a line of the command line."""
        return f"{len(self.images):,} images {'x'.join(map(str, self.images.shape[1:]))}"


def load(split: Split = "train", stand_in: bool = True) -> AnimalSet:
    """Return the animals.

    Args:
        split: "train" (800 of each species) or "test" (up to 200 of each).
        stand_in: where the package cannot be had, return drawn ellipses in the place of animals,
            labelled as a stand-in.

    Raises:
        WrongBytes: a file in LITGEN_DATA is not what its name says.
        DataUnavailable: nothing has the files, and no stand-in is wanted.
    """
    check_split(split)
    try:
        contents, source = packages.read(ANIMALS)
    except DataUnavailable as reason:
        if not stand_in:
            raise
        return _standing_in(split, reason)
    arrays = [sources.unpickle_arrays(contents[n], ANIMALS.sha256[n]) for n in (PIXELS, LABELS)]
    pixels, labels = (torch.from_numpy(array.copy()) for array in arrays)
    if pixels.shape != (len(labels), 28, 28) or pixels.dtype != torch.uint8:
        raise WrongBytes(f"{PIXELS} holds {pixels.dtype} {tuple(pixels.shape)}")
    images, labels = divided(pixels.unsqueeze(1), labels, split)
    found = checksum(images, labels)
    if found != CHECKSUM[split]:
        raise WrongBytes(f"animals {split} has checksum {found}, expected {CHECKSUM[split]}")
    record = Record("Animal-MNIST", source, LICENCE, CITATION, found, COUNTS, stand_in=False)
    return AnimalSet(images, labels, record)


def divided(images: Tensor, labels: Tensor, split: Split) -> tuple[Tensor, Tensor]:
    """Return one split's images and labels, species by species, in the file's order."""
    kept: list[int] = []
    for species in range(len(CLASSES)):
        places = torch.nonzero(labels == species).flatten().tolist()
        if split == "train":
            kept += places[:TRAINING]
            continue
        seen = {images[i].numpy().tobytes() for i in places[:TRAINING]}
        kept += [i for i in places[TRAINING:] if images[i].numpy().tobytes() not in seen]
    return images[kept], labels[kept]


def one_class(animals: AnimalSet, name: str) -> UInt8[Tensor, "count 1 28 28"]:
    """Return the pictures of one species.

    Raises:
        ValueError: a species that the set does not know, or of which it has no picture.
    """
    if name not in CLASSES:
        raise ValueError(f"unknown animal {name!r}; there are: {', '.join(CLASSES)}")
    found: Tensor = animals.images[animals.labels == CLASSES.index(name)]
    if not len(found):
        raise ValueError(f"{animals.record.name} has no image of class {name!r}")
    return found


def _standing_in(split: Split, reason: DataUnavailable) -> AnimalSet:
    """Return ellipses, white and striped, of species that a stand-in cannot tell apart."""
    print(f"STAND-IN: drawn ellipses in place of animals, because {reason}")
    count = TRAINING if split == "train" else 200
    draw = torch.Generator().manual_seed(len(split))
    each = torch.rand(len(CLASSES) * count, 5, generator=draw)
    rows, columns = torch.meshgrid(torch.arange(28), torch.arange(28), indexing="ij")
    labels = torch.arange(len(CLASSES)).repeat_interleave(count)
    images = torch.zeros(len(labels), 1, 28, 28, dtype=torch.uint8)
    for i, (a, b, c, d, phase) in enumerate(each.tolist()):
        y, x = (rows - 10 - 8 * a) / (5 + 5 * c), (columns - 10 - 8 * b) / (7 + 6 * d)
        inside = (x * x + y * y <= 1).to(torch.uint8)
        striped = ((columns + int(6 * phase)) % 6 < 3) if labels[i] == 9 else 0 * columns + 1
        images[i, 0] = inside * (60 + 195 * striped.to(torch.uint8))
    found = checksum(images, labels)
    counts = {"train": TRAINING * len(CLASSES), "test": 200 * len(CLASSES)}
    about = "drawn ellipses standing in for animals", "drawn by litgen.data.animals", "CC0-1.0"
    return AnimalSet(images, labels, Record(*about, "this book", found, counts, stand_in=True))
