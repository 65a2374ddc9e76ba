"""One hundred grey faces of 25x25 pixels from Labeled Faces in the Wild, in scikit-image's wheel.

Proof: tests/data/test_faces.py.
Reference: Huang, Ramesh, Berg & Learned-Miller, "Labeled Faces in the Wild", UMass Amherst
technical report 07-49 (2007).

The wheel's file holds 100 faces and 100 places without a face; only the faces are used. Every
fifth face is a test face.
"""

import io

import numpy as np
import torch

from litgen.data import packages
from litgen.data.sources import ImageSet, Record, Split, WrongBytes, check_split, checksum

__all__ = ["CHECKSUM", "load"]

CHECKSUM: dict[str, str] = {
    "train": "de4f51675ae7ed13c1617146cfbbac66eac2fe5e64d85a357285363e2c754dcf",
    "test": "808d256cc5c59dbf9fd5b48a5a9cee4a8d7615a728fae316e091cfc3931d3b8e",
}
COUNTS = {"train": 80, "test": 20}
LICENCE = "no known restriction; scikit-image's copy: BSD-3-Clause"
CITATION = (
    "Huang, Ramesh, Berg & Learned-Miller (2007), Labeled Faces in the Wild, University of "
    "Massachusetts, Amherst, technical report 07-49"
)
FILE = "lfw_subset.npy"
PATHS = {FILE: f"skimage/data/{FILE}"}
FACES = packages.FileSet(
    name="faces",
    sha256={FILE: "9560ec2f5edfac01973f63a8a99d00053fecd11e21877e18038fbe500f8e872c"},
    origins=(
        packages.in_installed("skimage", {FILE: f"data/{FILE}"}),
        packages.in_wheel("scikit-image==0.26.0", PATHS),
    ),
)


def load(split: Split = "train", stand_in: bool = True) -> ImageSet:
    """Return faces as (count, 1, 25, 25) bytes; labels are all 0, for there is one class.

    Args:
        split: "train" (80 faces) or "test" (20).
        stand_in: accepted so that all loaders are called alike; nothing stands in for faces.

    Raises:
        WrongBytes: a file in LITGEN_DATA is not what its name says.
        DataUnavailable: nothing has the file.
    """
    check_split(split)
    contents, source = packages.read(FACES)
    values = np.load(io.BytesIO(contents[FILE]), allow_pickle=False)[:100]  # the faces come first
    grey = torch.from_numpy(np.rint(255 * values).astype(np.uint8))[:, None]
    is_test = torch.arange(len(grey)) % 5 == 4
    images = grey[is_test if split == "test" else ~is_test]
    labels = torch.zeros(len(images), dtype=torch.int64)
    found = checksum(images, labels)
    if found != CHECKSUM[split]:
        raise WrongBytes(f"faces {split} has checksum {found}, expected {CHECKSUM[split]}")
    record = Record("LFW faces", source, LICENCE, CITATION, found, COUNTS, stand_in=False)
    return ImageSet(images, labels, record)
