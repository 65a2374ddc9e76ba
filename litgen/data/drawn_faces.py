"""Drawn faces of 32x32 pixels in colour, each with six attributes that are known because we chose.

Proof: tests/data/test_drawn_faces.py.

A face is painted in layers, from the background to the hat. The edge of a layer is as soft as a
pixel: its share of a pixel falls from 1 to 0 over the pixel's width. Attributes are drawn
independently of one another; everything else (skin, width, tilt, eyes, colours, place) is free.

Only sums, products, quotients and roots of single-precision numbers are used, which all machines
round alike: they draw the same faces, byte for byte.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from litgen.data.drawing import blocks, verified
from litgen.data.sources import ImageSet, Split, check_split
from litgen.shapes import Bool, Int

__all__ = ["ATTRIBUTES", "CHECKSUM", "SIDE", "Look", "attributes", "load", "looks", "render"]

ATTRIBUTES = ("smile", "glasses", "moustache", "hat", "long hair", "light hair")
"""In the order of the bits of a label, the lowest first."""

SHARES = (0.5, 0.4, 0.3, 0.3, 0.5, 0.5)
SIDE = 32
PIXEL = np.float32(2 / SIDE)
CHECKSUM: dict[str, str] = {
    "train": "b4dac355b163251637744f3aa1012084450699987b6779e97979312860b2835e",
    "test": "47c9418a30ca3379b56a4d4379241909f82149bdbb15974cc49db3cbca8147e5",
}
COUNTS = {"train": 10_000, "test": 4_000}
SEEDS = {"train": 1, "test": 2}
BLOCK = 100  # faces at a time: their layers stay in the processor's cache


def _single(values: Any) -> np.ndarray:
    """Return numbers in single precision."""
    return np.asarray(values, np.float32)


SKIN = _single([[0.36, 0.22, 0.15], [0.98, 0.83, 0.72]])
"""The darkest and the lightest; colours are red, green, blue from 0 to 1."""
HAIR = _single(
    [[[0.08, 0.06, 0.06], [0.36, 0.19, 0.10]], [[0.90, 0.72, 0.36], [0.83, 0.82, 0.80]]]
)
"""From black to brown, and from blond to white."""
HATS = _single([[0.78, 0.16, 0.16], [0.13, 0.33, 0.72], [0.14, 0.52, 0.30], [0.55, 0.22, 0.60]])
SHIRTS = _single([[0.25, 0.30, 0.42], [0.62, 0.64, 0.66], [0.40, 0.55, 0.52], [0.66, 0.45, 0.38]])


class Look(NamedTuple):
    """What a face is drawn from: one entry a face, numbers from 0 to 1 unless said otherwise.

    Attributes:
        has: the six attributes, True or False.
        skin: from dark to light.
        width: of the head, from narrow to wide.
        tilt: of the head, half of it to the left.
        right: where the head is, 0.5 in the middle.
        down: the same from top to bottom.
        eyes: their size.
        apart: their distance.
        gaze: from left to right.
        mouth: how wide it is, and a smile how high.
        hair: its tone among the light or the dark ones.
        wall: lightness of the background.
        hat: which of four colours, a whole number from 0 to 3.
        shirt: which of four colours.
    """

    has: Bool[np.ndarray, "count 6"]
    skin: np.ndarray
    width: np.ndarray
    tilt: np.ndarray
    right: np.ndarray
    down: np.ndarray
    eyes: np.ndarray
    apart: np.ndarray
    gaze: np.ndarray
    mouth: np.ndarray
    hair: np.ndarray
    wall: np.ndarray
    hat: np.ndarray
    shirt: np.ndarray


def looks(count: int, random: np.random.Generator) -> Look:
    """Draw what faces look like: attributes by their shares, everything else evenly."""
    has = random.random((count, len(ATTRIBUTES))) < SHARES
    free = random.random((11, count)).astype(np.float32)
    return Look(has, *free, *random.integers(4, size=(2, count)))


def render(look: Look) -> np.ndarray:
    """Paint faces; return bytes of shape (count, 3, 32, 32).

    Raises:
        ValueError: parts of a look that differ in length.
    """
    parts = [_painted(part) for part in blocks(look, BLOCK, "a look")]
    return np.concatenate([np.zeros((0, 3, SIDE, SIDE), np.uint8), *parts])


class Canvas:
    """Pictures of a block of faces, and where each pixel's centre is seen from each head.

    ``u`` runs from left to right and ``v`` from top to bottom, both about from -1 to 1, with the
    middle of the head at the origin; both turn with the head.
    """

    def __init__(self, look: Look):
        axis = (np.arange(SIDE, dtype=np.float32) + np.float32(0.5)) * PIXEL - 1
        x = axis[None, None, :] - _of(0.16 * (look.right - 0.5))
        y = axis[None, :, None] - _of(0.16 * (look.down - 0.5) + 0.04)
        half = np.float32(0.24) * (look.tilt - np.float32(0.5))  # tangent of half the angle
        cosine, sine = (1 - half * half) / (1 + half * half), 2 * half / (1 + half * half)
        self.u = x * _of(cosine) + y * _of(sine)
        self.v = y * _of(cosine) - x * _of(sine)
        wall = _single([[0.55, 0.62, 0.70]]) + np.float32(0.3) * (look.wall[:, None] - 0.5)
        self.images = np.empty((len(look.skin), 3, SIDE, SIDE), np.float32)
        self.images[:] = wall.astype(np.float32)[:, :, None, None]

    def paint(self, share: np.ndarray, colour: np.ndarray, rows: slice = slice(None)) -> None:
        """Lay a colour, (3,) or one a face, over the pictures, by each pixel's share."""
        part = self.images[:, :, rows]
        part += share[:, None] * (np.atleast_2d(colour)[:, :, None, None] - part)


def _painted(look: Look) -> np.ndarray:
    """Paint a block of faces."""
    canvas = Canvas(look)
    smile, glasses, moustache, hat, long_hair, light = (_of(h) for h in look.has.T)
    wide = _of(0.44 + 0.14 * look.width)
    skin = _mixed(SKIN[0], SKIN[1], look.skin)
    tones = HAIR[light[:, 0, 0].astype(int)]
    hair = _mixed(tones[:, 0], tones[:, 1], look.hair)
    u, v = canvas.u, canvas.v
    whole = _ellipse(u, v, wide, 0.66)
    around = _ellipse(u, v + 0.05, wide + 0.10, 0.72)
    canvas.paint(long_hair * _ellipse(u, v - 0.12, wide + 0.17, 0.80) * _edge(v - 0.72), hair)
    low = slice(18, None)
    neck = _edge(abs(u[:, low]) - 0.19) * _edge(0.3 - v[:, low])
    canvas.paint(neck, skin * np.float32(0.82), low)
    canvas.paint(_ellipse(u[:, low], v[:, low] - 1.2, 0.80, 0.42), SHIRTS[look.shirt], low)
    middle = slice(9, 24)
    ears = _edge(_length(abs(u[:, middle]) - wide, 1.2 * v[:, middle]) - 0.10)
    canvas.paint(ears, skin * np.float32(0.85), middle)
    canvas.paint(whole, skin)
    canvas.paint(whole * _edge(0.5 * wide - u) * np.float32(0.25), skin * np.float32(0.7))
    _features(canvas, look, skin, hair, (smile, glasses, moustache))
    top = slice(0, 20)
    line = v[:, top] + 0.36 - 0.5 * u[:, top] * u[:, top]
    canvas.paint(around[:, top] * _edge(line), hair, top)
    strands = long_hair * _edge(0.80 * wide - abs(u)) * _edge(v - 0.72)
    canvas.paint(strands * _ellipse(u, v - 0.12, wide + 0.17, 0.80), hair)
    tall, colour = slice(0, 16), HATS[look.hat]
    crown = _ellipse(u[:, tall], v[:, tall] + 0.32, wide + 0.10, 0.62) * _edge(v[:, tall] + 0.40)
    canvas.paint(hat * crown, colour, tall)
    brim = _ellipse(u[:, tall], v[:, tall] + 0.40, wide + 0.26, 0.075)
    canvas.paint(hat * brim, colour * np.float32(0.7), tall)
    painted: np.ndarray = np.rint(255 * canvas.images.clip(0, 1)).astype(np.uint8)
    return painted


def _features(
    canvas: Canvas,
    look: Look,
    skin: np.ndarray,
    hair: np.ndarray,
    has: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    """Paint what lies inside a face: brows, eyes, glasses, nose, moustache, mouth."""
    smile, glasses, moustache = has
    rows = slice(7, 24)
    u, v = canvas.u[:, rows], canvas.v[:, rows]
    aside = abs(u) - _of(0.21 + 0.05 * look.apart)  # of the nearer eye's middle
    size = _of(0.85 + 0.4 * look.eyes)
    brows = _edge(abs(v + 0.25 + 0.6 * aside * aside) - 0.03) * _edge(abs(aside) - 0.13)
    canvas.paint(brows, hair * np.float32(0.7), rows)
    canvas.paint(_ellipse(aside, v + 0.08, 0.13 * size, 0.09 * size), _single([0.97] * 3), rows)
    turned = aside - np.where(u > 0, 1, -1).astype(np.float32) * _of(0.10 * (look.gaze - 0.5))
    canvas.paint(_edge(_length(turned, v + 0.08) - 0.065), _single([0.10, 0.10, 0.14]), rows)
    away = _length(aside, v + 0.08)
    canvas.paint(
        glasses * _edge(away - 0.19) * np.float32(0.35), _single([0.30, 0.45, 0.60]), rows
    )
    bridge = _edge(abs(v + 0.10) - 0.028) * _edge(0.17 - abs(aside))
    frame = np.maximum(_edge(abs(away - 0.19) - 0.036), bridge * _edge(abs(u) - 0.52))
    canvas.paint(glasses * frame, _single([0.07, 0.07, 0.09]), rows)
    canvas.paint(_ellipse(u, v - 0.12, 0.06, 0.11), skin * np.float32(0.78), rows)
    rows = slice(16, 28)
    u, v = canvas.u[:, rows], canvas.v[:, rows]
    bent = u * u
    bush = _edge(abs(v - 0.285 - 0.9 * bent) - 0.062 + 0.5 * bent) * _edge(abs(u) - 0.28)
    canvas.paint(moustache * bush, hair * np.float32(0.6), rows)
    open_ = _of(0.5 + 0.5 * look.mouth)
    reach = _of(0.15 + 0.05 * look.mouth) + 0.10 * smile
    across = bent / (reach * reach)
    upper = 0.40 - 0.05 * across * smile
    lower = upper + 0.17 * open_ * smile * (1 - across)
    inside = np.maximum(upper - v, v - lower)  # negative between the lips
    lips = _single([0.68, 0.20, 0.22])
    canvas.paint(_edge(inside - 0.045) * _edge(abs(u) - reach), lips, rows)
    canvas.paint(smile * _edge(inside + 0.01) * _edge(abs(u) - reach), _single([0.98] * 3), rows)


def _of(values: np.ndarray) -> np.ndarray:
    """Return one number a face, ready to meet pixels."""
    return _single(values)[:, None, None]


def _mixed(dark: np.ndarray, light: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return colours between two, one a face."""
    return _single(dark + share[:, None] * (light - dark))


def _length(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _single(np.sqrt(u * u + v * v))


def _edge(distance: np.ndarray) -> np.ndarray:
    """Return how much of a pixel lies inside, from the distance to its edge (< 0 inside)."""
    return np.clip(np.float32(0.5) - distance / PIXEL, 0, 1).astype(np.float32, copy=False)


def _ellipse(
    u: np.ndarray, v: np.ndarray, half_width: np.ndarray | float, half_height: np.ndarray | float
) -> np.ndarray:
    """Return how much of each pixel lies in an ellipse around the origin."""
    small = np.minimum(half_width, half_height)
    return _edge((_length(u / half_width, v / half_height) - 1) * small)


def attributes(labels: Int[Tensor, "*batch"]) -> Bool[Tensor, "*batch 6"]:
    """Return which of the six attributes each label says."""
    return (labels[..., None] >> torch.arange(len(ATTRIBUTES), device=labels.device)) & 1 == 1


def load(split: Split = "train", stand_in: bool = True) -> ImageSet:
    """Return faces as (count, 3, 32, 32) bytes; a label's bits are the attributes.

    Args:
        split: "train" (10,000 faces) or "test" (4,000).
        stand_in: accepted so that all loaders are called alike; the set is never replaced.

    Raises:
        WrongBytes: this machine draws other faces than all others.
    """
    check_split(split)
    images, labels = _drawn(split)
    record = verified((images, labels), "drawn faces", __name__, split, CHECKSUM, COUNTS)
    return ImageSet(images.clone(), labels.clone(), record)


@functools.cache
def _drawn(split: Split) -> tuple[Tensor, Tensor]:
    """Return images and labels; one drawing serves a whole session."""
    look = looks(COUNTS[split], np.random.default_rng(SEEDS[split]))
    bits = (look.has << np.arange(len(ATTRIBUTES))).sum(axis=1)
    return torch.from_numpy(render(look)), torch.from_numpy(bits)
