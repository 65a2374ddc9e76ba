"""Drawn slices of heads, 32x32 pixels, grey, whose tissues are known to the pixel.

Proof: tests/data/test_heads.py.

A head is an ellipse with a rippled outline. From outside in: a bright ring (skin and bone, counted
as ground), a ring of fluid, a ribbon of grey matter, white matter, and in it two chambers of fluid
and, in half of the slices, one round lesion. A lesion is as light as grey matter: only its place
tells it apart. Every slice has a scanner of its own, which changes the contrast of the tissues,
the gain and its slope across the image, and adds noise. It is no model of any patient.

Slices are painted with 64x64 pixels; four of them make one, whose tissue is the commonest of the
four. Only sums, products, quotients and roots of single-precision numbers are used, which all
machines round alike: they draw the same slices, byte for byte.
"""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from litgen.data.drawing import blocks, per_image, verified
from litgen.data.sources import Record, Split, check_split
from litgen.shapes import Bool, Float, UInt8

__all__ = ["CHECKSUM", "SIDE", "TISSUES", "Anatomy", "HeadSet", "anatomies", "load", "render"]

SIDE = 32
FINE = 2 * SIDE
TISSUES = ("ground", "fluid", "grey matter", "white matter", "lesion")
CHECKSUM: dict[str, str] = {
    "train": "76d14d777443629580f02115f82356da3a0f426af5051a7a0d02889023356e9e",
    "test": "f464b5176f7af9cf456ae86233273e33e212ba3a54895e7b5ac8fa09812d0948",
}
COUNTS = {"train": 400, "test": 200}
SEEDS = {"train": 1, "test": 2}
BLOCK = 50


@dataclass(frozen=True)
class HeadSet:
    """Slices in 0..255, the tissue of each pixel, and where they came from.

    Attributes:
        images: grey values.
        tissue: places in `TISSUES`.
        record: what they are.
    """

    images: UInt8[Tensor, "count 1 height width"]
    tissue: UInt8[Tensor, "count height width"]
    record: Record

    def describe(self) -> str:
        """Return how much there is, for a line of the command line."""
        return f"{len(self.images):,} slices {'x'.join(map(str, self.images.shape[1:]))}"


class Anatomy(NamedTuple):
    """What slices are drawn from, one entry a slice; numbers from 0 to 1 unless said otherwise.

    Attributes:
        size: of the longer half axis, and the other one's share of it.
        place: of the middle, right and down, and how the axis is turned; 0.5 for straight.
        ripple: strength of the outline's six waves, as cosine and sine; 0.5 for none.
        ribbon: how thick the grey matter is.
        chambers: how long, how wide and how far apart they are.
        there: whether there is a lesion, True or False.
        lesion: its side (left below 0.5), its height, its distance from the middle line, its size.
        tissue: how light ground, fluid, grey and white matter, the lesion and the ring are.
        gain: of the scanner.
        slope: how the gain grows to the right, and down; 0.5 for not at all.
        noise: one number a pixel.
    """

    size: Float[np.ndarray, "count 2"]
    place: Float[np.ndarray, "count 3"]
    ripple: Float[np.ndarray, "count 2"]
    ribbon: Float[np.ndarray, " count"]
    chambers: Float[np.ndarray, "count 3"]
    there: Bool[np.ndarray, " count"]
    lesion: Float[np.ndarray, "count 4"]
    tissue: Float[np.ndarray, "count 6"]
    gain: Float[np.ndarray, " count"]
    slope: Float[np.ndarray, "count 2"]
    noise: Float[np.ndarray, "count side side"]


def anatomies(count: int, random: np.random.Generator) -> Anatomy:
    """Draw what slices show: a lesion in one of two, everything else evenly."""
    there = random.random(count) < 0.5
    widths = (2, 3, 2, 1, 3, 4, 6, 1, 2)
    parts = [random.random((count, width)).astype(np.float32) for width in widths]
    size, place, ripple, ribbon, chambers, lesion, tissue, gain, slope = parts
    # three uniform numbers together are nearly normal, and are rounded alike everywhere
    noise = random.random((3, count, SIDE, SIDE)).astype(np.float32)
    grain = (noise[0] + noise[1] + noise[2]) / 3
    before = size, place, ripple, ribbon[:, 0], chambers, there, lesion, tissue
    return Anatomy(*before, gain[:, 0], slope, grain)


def render(anatomy: Anatomy) -> tuple[np.ndarray, np.ndarray]:
    """Paint slices; return their bytes (count, 1, 32, 32), and tissues (count, 32, 32).

    Raises:
        ValueError: parts of an anatomy that differ in length.
    """
    parts = [_painted(part) for part in blocks(anatomy, BLOCK, "an anatomy")]
    empty = np.zeros((0, 1, SIDE, SIDE), np.uint8), np.zeros((0, SIDE, SIDE), np.uint8)
    images, tissue = zip(empty, *parts, strict=True)
    return np.concatenate(images), np.concatenate(tissue)


def layers(anatomy: Anatomy) -> UInt8[np.ndarray, "count fine fine"]:
    """Return the layer of each fine pixel: places in `TISSUES`, and 5 for the bright ring."""
    x, y, shorter = _straightened(anatomy)
    radius = np.sqrt(x * x + y * y)
    c, s = (part / np.maximum(radius, np.float32(1e-6)) for part in (x, y))
    waves = (anatomy.ripple - np.float32(0.5)) * np.float32(0.09)
    six = _sixfold(c, s)
    outline = 1 + per_image(waves[:, 0]) * six[0] + per_image(waves[:, 1]) * six[1]
    depth = (outline - radius) * per_image(shorter)  # in fine pixels, from the outside
    ribbon = np.float32(3) + np.float32(3) * per_image(anatomy.ribbon)
    inner = depth - np.float32(5)  # from the outside of the grey matter
    found = np.select(
        [depth <= 0, depth <= 3, inner <= 0, inner <= ribbon], [0, 5, 1, 2], default=3
    )
    return _opened(found, x * per_image(shorter), y * per_image(shorter), anatomy).astype(np.uint8)


def _straightened(anatomy: Anatomy) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return places in a head's own axes, in units of its half axes, and the shorter half axis."""
    axis = np.arange(FINE, dtype=np.float32) + np.float32(0.5)
    longer = np.float32(26) + np.float32(4) * anatomy.size[:, 0]
    shorter = longer * (np.float32(0.78) + np.float32(0.14) * anatomy.size[:, 1])
    right, down = (SIDE + 4 * (anatomy.place[:, i] - np.float32(0.5)) for i in (0, 1))
    half = (anatomy.place[:, 2] - np.float32(0.5)) * np.float32(0.3)  # tangent of half the angle
    cosine, sine = (1 - half * half) / (1 + half * half), 2 * half / (1 + half * half)
    x, y = axis[None, None, :] - per_image(right), axis[None, :, None] - per_image(down)
    u = (x * per_image(cosine) + y * per_image(sine)) / per_image(shorter)
    v = (y * per_image(cosine) - x * per_image(sine)) / per_image(longer)
    return u, v, shorter


def _sixfold(c: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return cosine and sine of six times an angle, from its cosine and sine."""
    c2, s2 = c * c - s * s, 2 * c * s
    c4, s4 = c2 * c2 - s2 * s2, 2 * c2 * s2
    return c4 * c2 - s4 * s2, s4 * c2 + c4 * s2


def _opened(found: np.ndarray, x: np.ndarray, y: np.ndarray, anatomy: Anatomy) -> np.ndarray:
    """Put chambers and lesion into the white matter; x and y in fine pixels from the middle."""
    white = found == 3
    length = np.float32(4) + np.float32(4) * anatomy.chambers[:, 0]
    width = np.float32(1.5) + np.float32(2) * anatomy.chambers[:, 1]
    apart = np.float32(2.5) + np.float32(1.5) * anatomy.chambers[:, 2]
    across = (np.abs(x) - per_image(apart)) / per_image(width)
    along = y / per_image(length)
    chamber = across * across + along * along <= 1
    side = np.where(anatomy.lesion[:, 0] < np.float32(0.5), np.float32(-1), np.float32(1))
    down = np.float32(16) * (anatomy.lesion[:, 1] - np.float32(0.5))
    right = side * (np.float32(6) + np.float32(5) * anatomy.lesion[:, 2])
    radius = np.float32(3) + np.float32(2.5) * anatomy.lesion[:, 3]
    dx, dy = x - per_image(right), y - per_image(down)
    lesion = (dx * dx + dy * dy <= per_image(radius * radius)) & per_image(anatomy.there)
    return np.where(white & chamber, 1, np.where(white & lesion, 4, found))


def _painted(anatomy: Anatomy) -> tuple[np.ndarray, np.ndarray]:
    """Paint a block of slices."""
    fine = layers(anatomy)
    darkest = np.array([0.02, 0.14, 0.40, 0.66, 0.36, 0.70], np.float32)
    spread = np.array([0.04, 0.12, 0.14, 0.16, 0.14, 0.25], np.float32)
    lights = darkest + spread * anatomy.tissue
    light = _quartered(np.take_along_axis(lights, fine.reshape(len(fine), -1), 1), fine.shape) / 4
    shares = [_quartered((fine == k).astype(np.float32), fine.shape) for k in range(len(TISSUES))]
    shares[0] = shares[0] + _quartered((fine == 5).astype(np.float32), fine.shape)
    axis = (np.arange(SIDE, dtype=np.float32) + np.float32(0.5)) / SIDE - np.float32(0.5)
    across, down = ((anatomy.slope[:, i] - np.float32(0.5)) * np.float32(0.6) for i in (0, 1))
    gain = np.float32(0.75) + np.float32(0.35) * per_image(anatomy.gain)
    gain = gain * (
        1 + per_image(across) * axis[None, None, :] + per_image(down) * axis[None, :, None]
    )
    image = light * gain + np.float32(0.30) * (anatomy.noise - np.float32(0.5))
    levels = np.clip(image * 255, 0, 255).astype(np.uint8)
    return levels[:, None], np.stack(shares).argmax(axis=0).astype(np.uint8)


def _quartered(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the sum of each two by two fine pixels."""
    fine = values.reshape(shape)
    even, odd = fine[:, 0::2], fine[:, 1::2]
    return np.asarray((even[..., 0::2] + even[..., 1::2]) + (odd[..., 0::2] + odd[..., 1::2]))


def load(split: Split = "train", stand_in: bool = True) -> HeadSet:
    """Return the drawn slices and their tissues.

    Args:
        split: "train" (400 slices) or "test" (200).
        stand_in: accepted so that all loaders are called alike; the set is never replaced.

    Raises:
        WrongBytes: this machine draws other slices than all others.
    """
    check_split(split)
    images, tissue = _drawn(split)
    record = verified((images, tissue), "drawn heads", __name__, split, CHECKSUM, COUNTS)
    return HeadSet(images.clone(), tissue.clone(), record)


@functools.cache
def _drawn(split: Split) -> tuple[Tensor, Tensor]:
    """Return slices and tissues; one drawing serves a whole session."""
    anatomy = anatomies(COUNTS[split], np.random.default_rng(SEEDS[split]))
    images, tissue = render(anatomy)
    return torch.from_numpy(images), torch.from_numpy(tissue)
