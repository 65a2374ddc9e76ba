"""Emoji of two vendors: 3,786 pairs of 32x32 pictures in colour, paired by character.

Proof: tests/data/test_emoji.py.
Sources: Google's Noto Emoji and Twitter's Twemoji, as the npm packages emoji-datasource-google and
emoji-datasource-twitter hold them, 64x64 pixels with transparency.

A pair shows the same characters as two houses drew them. Each picture is laid on white and made
half as large, by means of two by two pixels in whole numbers, so that all machines make the same
bytes. Emoji that begin with the same character (the skin tones of a hand, the professions of a
woman) look alike, so they lie all in training or all in testing; man, woman and person, who share
their professions, count as one.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from litgen.data import drawn_faces, packages, sources
from litgen.data.sources import (
    DataUnavailable,
    Record,
    Split,
    WrongBytes,
    check_split,
    checksum,
)
from litgen.shapes import Int, UInt8

__all__ = ["CATEGORIES", "CHECKSUM", "VENDORS", "EmojiSet", "halved", "held_out", "load"]

VENDORS = ("google", "twitter")
SIDE = 32
CATEGORIES = (
    "Smileys & Emotion",
    "People & Body",
    "Animals & Nature",
    "Food & Drink",
    "Travel & Places",
    "Activities",
    "Objects",
    "Symbols",
    "Flags",
    "Component",
)
CHECKSUM: dict[str, str] = {
    "train": "23a29b9a9b9d1b73f1dc3ca019653a11f8ba8cdf8586f558eaa57469c6b7f401",
    "test": "3ac172c4f8ae326a464af68afcfdf37fe6a4b63cbbc418c4ec3cca755cb28f32",
}
COUNTS = {"train": 3218, "test": 568}
LICENCE = "Noto Emoji: Apache-2.0; Twemoji: CC-BY-4.0 (graphics by Twitter and contributors)"
CITATION = "Google, Noto Emoji; Twitter, Twemoji; both as in emoji-datasource 16.0.0 (Henderson)"
ARCHIVES = {
    "google": "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
    "twitter": "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
}
PICTURES, NAMES = "pictures.npy", "names.txt"
ALIKE = {"1f469": "1f468", "1f9d1": "1f468"}  # woman and person, drawn as man is


@dataclass(frozen=True, eq=False)
class EmojiSet:
    """Two vendors' pictures in 0..255 in the same order, and where they came from.

    Attributes:
        google: Google's.
        twitter: Twitter's.
        categories: an index into CATEGORIES for each pair.
        names: the characters of each pair in hexadecimal, such as "1f44b-1f3fd".
        record: what they are.
    """

    google: UInt8[torch.Tensor, "count 3 32 32"]
    twitter: UInt8[torch.Tensor, "count 3 32 32"]
    categories: Int[torch.Tensor, " count"]
    names: tuple[str, ...]
    record: Record

    def describe(self) -> str:
        """Return how much there is, for a line of the command line."""
        return f"{len(self.google):,} pairs of images 3x32x32"


def load(split: Split = "train", stand_in: bool = True) -> EmojiSet:
    """Return pairs of emoji; a test pair begins with a character that no training pair has.

    Args:
        split: "train" (3,218 pairs) or "test" (568).
        stand_in: where the packages cannot be had, return drawn faces and the same faces in other
            colours, labelled as a stand-in.

    Raises:
        WrongBytes: a file in LITGEN_DATA is not what its name says.
        DataUnavailable: nothing has the files, and no stand-in is wanted.
    """
    check_split(split)
    try:
        contents, source = packages.read(EMOJI)
    except DataUnavailable as reason:
        if not stand_in:
            raise
        return _standing_in(split, reason)
    pictures = torch.from_numpy(np.load(io.BytesIO(contents[PICTURES]), allow_pickle=False))
    rows = [line.split("\t") for line in contents[NAMES].decode("ascii").splitlines()]
    chosen = [i for i, (name, _) in enumerate(rows) if held_out(name) == (split == "test")]
    google, twitter = (pictures[chosen, vendor] for vendor in range(2))
    categories = torch.tensor([int(rows[i][1]) for i in chosen])
    found = checksum(google, twitter, categories)
    if found != CHECKSUM[split]:
        raise WrongBytes(f"emoji {split} has checksum {found}, expected {CHECKSUM[split]}")
    record = Record("emoji", source, LICENCE, CITATION, found, COUNTS, stand_in=False)
    return EmojiSet(google, twitter, categories, tuple(rows[i][0] for i in chosen), record)


def held_out(name: str) -> bool:
    """Return whether an emoji is for testing: its first character alone decides."""
    first = name.split("-")[0]
    first = ALIKE.get(first, first)
    return hashlib.sha256(first.encode("ascii")).digest()[0] % 5 == 0


def halved(picture: UInt8[np.ndarray, "height width 4"]) -> UInt8[np.ndarray, "3 rows columns"]:
    """Lay a picture with transparency on white and halve its sides, rounding half up.

    Raises:
        ValueError: an odd side.
    """
    if picture.shape[0] % 2 or picture.shape[1] % 2:
        raise ValueError(f"sides must be even, got {picture.shape[:2]}")
    values = picture.astype(np.int64)
    opacity = values[..., 3:]
    on_white = values[..., :3] * opacity + 255 * (255 - opacity)  # 255 times the colour
    height, width = picture.shape[0] // 2, picture.shape[1] // 2
    sums = on_white.reshape(height, 2, width, 2, 3).sum(axis=(1, 3))
    rounded = (2 * sums + 4 * 255) // (2 * 4 * 255)
    return np.ascontiguousarray(rounded.transpose(2, 0, 1).astype(np.uint8))


def _bring(folder: Path) -> dict[str, bytes]:
    """Download both packages and join their pictures into one array, in the order of names."""
    archives = {}
    for vendor, sha256 in ARCHIVES.items():
        place = folder / vendor
        place.mkdir()
        package = f"emoji-datasource-{vendor}@16.0.0"
        archives[vendor] = sources.npm_pack(package, sha256, place)
    return joined(archives)


def joined(archives: Mapping[str, Path]) -> dict[str, bytes]:
    """Return the pictures of both packages as one array, and names with categories as a text.

    Raises:
        DataUnavailable: Pillow is missing, or a vendor lacks a picture that the other has.
    """
    pictures, listed = {}, {}
    for vendor in VENDORS:
        with tarfile.open(archives[vendor]) as archive:
            pictures[vendor] = _pictures(archive, f"package/img/{vendor}/64/")
            file = archive.extractfile("package/emoji.json")
            assert file is not None
            listed = _categories(json.load(file))
    if pictures["google"].keys() != pictures["twitter"].keys():
        odd = sorted(pictures["google"].keys() ^ pictures["twitter"].keys())
        raise DataUnavailable(f"one vendor alone has {', '.join(odd[:3])}")
    names = sorted(pictures["google"])
    stacked = np.stack([[pictures[vendor][name] for vendor in VENDORS] for name in names])
    buffer = io.BytesIO()
    np.save(buffer, stacked)
    text = "".join(f"{name}\t{listed[name]}\n" for name in names)
    return {PICTURES: buffer.getvalue(), NAMES: text.encode("ascii")}


def _pictures(archive: tarfile.TarFile, folder: str) -> dict[str, UInt8[np.ndarray, "3 32 32"]]:
    """Decode and halve all pictures of one folder, by name without the ending."""
    try:
        from PIL import Image  # not needed by those who have the joined file
    except ImportError:
        raise DataUnavailable("Pillow is not installed (it comes with litgen[data])") from None
    found = {}
    for member in archive:
        if member.name.startswith(folder) and (file := archive.extractfile(member)) is not None:
            with Image.open(file) as image:
                found[Path(member.name).stem] = halved(np.asarray(image.convert("RGBA")))
    return found


def _categories(listed: list[dict[str, object]]) -> dict[str, int]:
    """Return each picture's category, its variants' included, from the package's list."""
    found = {}
    for entry in listed:
        variants = entry.get("skin_variations", {})
        assert isinstance(variants, dict)
        for each in (entry, *variants.values()):
            found[Path(str(each["image"])).stem] = CATEGORIES.index(str(entry["category"]))
    return found


def _standing_in(split: Split, reason: DataUnavailable) -> EmojiSet:
    """Return drawn faces, and the same faces with their colours in another order."""
    drawn = drawn_faces.load(split)
    print(f"STAND-IN: drawn faces in place of emoji, because {reason}")
    count = {"train": 3000, "test": 700}
    first = drawn.images[: count[split]].clone()
    second = first[:, [2, 0, 1]].contiguous()
    categories = torch.zeros(len(first), dtype=torch.int64)
    found = checksum(first, second, categories)
    about = "drawn faces standing in for emoji", drawn.record.source, drawn.record.licence
    record = Record(*about, drawn.record.citation, found, count, stand_in=True)
    return EmojiSet(first, second, categories, ("1f642",) * len(first), record)


EMOJI = packages.FileSet(
    name="emoji",
    sha256={
        PICTURES: "e0bb828fe60e81f357c6a8e7a81ce30e8f571cfc7ec7a7d020f3605c051e61ad",
        NAMES: "70596449c1b42eeccd3ce3ff28eba14a238b2484c9719b65ade769897df2af5a",
    },
    origins=(packages.Origin("npm packages emoji-datasource-google and -twitter 16.0.0", _bring),),
)
