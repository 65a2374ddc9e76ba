"""Drawn scenes of 64x64 pixels in colour, with a known class at every pixel.

Proof: tests/data/test_scenes.py.

On a ground of one colour lie two to five things, the later ones in front: disks, boxes, triangles
and rings, of any size, turn and colour. Colour tells nothing of the class: it is seen from the
outline of the thing that a pixel belongs to, some ten pixels away, and a ring is two or three
pixels wide. So a network needs a wide view and a fine one. Light falls unevenly, and there is
noise.

Only sums, products, quotients and roots of single-precision numbers are used, which all machines
round alike: they draw the same scenes, byte for byte.
"""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from litgen.data.drawing import blocks, equal_lengths, per_image, verified
from litgen.data.sources import Record, Split, check_split
from litgen.shapes import Int, UInt8

__all__ = ["CHECKSUM", "CLASSES", "SIDE", "SceneSet", "Things", "load", "render", "things"]

SIDE = 64
MOST = 5  # things in a scene
CLASSES = ("ground", "disk", "box", "triangle", "ring")
CHECKSUM: dict[str, str] = {
    "train": "12a8cccbb926109b68b78798a2f463a7dda3f127dc8df3fc0602abe273e9c7de",
    "test": "42598e2a5fd3d656d6d67333735db4a0dfb382f1e96587b18c90ae7d6333706a",
}
COUNTS = {"train": 1_000, "test": 200}
SEEDS = {"train": 1, "test": 2}
BLOCK = 50  # scenes at a time: they stay in the processor's cache


@dataclass(frozen=True, eq=False)
class SceneSet:
    """Images, the class of each of their pixels, and where they came from.

    Attributes:
        images: levels 0..255 of red, green and blue.
        classes: 0 for the ground, 1 disk, 2 box, 3 triangle, 4 ring.
        record: what they are.
    """

    images: UInt8[Tensor, "count 3 height width"]
    classes: UInt8[Tensor, "count height width"]
    record: Record

    def describe(self) -> str:
        """Return how much there is, for a line of the command line."""
        return f"{len(self.images):,} images {'x'.join(map(str, self.images.shape[1:]))}"


class Things(NamedTuple):
    """What scenes are drawn from, one row a scene; numbers from 0 to 1 unless said otherwise.

    Attributes:
        kind: class of each of the five things, 1 to 4; 0 for none. The last lies in front.
        right: place of each thing's middle, from left to right.
        down: the same from top to bottom.
        size: how large it is.
        turned: how far it is turned.
        colour: red, green and blue of each thing, and last of the ground.
        slope: how the light grows to the right, and down; 0.5 for not at all.
        noise: one number a pixel and colour.
    """

    kind: Int[np.ndarray, "count 5"]
    right: np.ndarray
    down: np.ndarray
    size: np.ndarray
    turned: np.ndarray
    colour: np.ndarray
    slope: np.ndarray
    noise: np.ndarray


def things(count: int, random: np.random.Generator) -> Things:
    """Draw what scenes show: two to five things, everything evenly."""
    kind = random.integers(1, len(CLASSES), (count, MOST))
    shown = random.integers(2, MOST + 1, (count, 1))
    kind = np.where(np.arange(MOST) < shown, kind, 0)
    right, down, size, turned = random.random((4, count, MOST)).astype(np.float32)
    colour = random.random((count, MOST + 1, 3)).astype(np.float32)
    slope = random.random((count, 2)).astype(np.float32)
    noise = random.random((count, 3, SIDE, SIDE), dtype=np.float32)
    return Things(kind, right, down, size, turned, colour, slope, noise)


def render(scene: Things) -> tuple[np.ndarray, np.ndarray]:
    """Paint scenes; return their bytes (count, 3, 64, 64), and classes (count, 64, 64).

    Raises:
        ValueError: parts that differ in length, or a kind that is no class.
    """
    equal_lengths(scene, "the scenes")
    if len(scene.kind) and not (scene.kind.min() >= 0 and scene.kind.max() < len(CLASSES)):
        raise ValueError(f"a kind must lie in 0..{len(CLASSES) - 1}, found {scene.kind.max()}")
    parts = [_painted(part) for part in blocks(scene, BLOCK, "the scenes")]
    empty = np.zeros((0, 3, SIDE, SIDE), np.uint8), np.zeros((0, SIDE, SIDE), np.uint8)
    images, classes = zip(empty, *parts, strict=True)
    return np.concatenate(images), np.concatenate(classes)


def outside(scene: Things, thing: int) -> np.ndarray:
    """Return about how far each pixel lies outside a thing: negative inside, 64 without one."""
    axis = np.arange(SIDE, dtype=np.float32) + np.float32(0.5)
    x = axis[None, None, :] - per_image(8 + 48 * scene.right[:, thing])
    y = axis[None, :, None] - per_image(8 + 48 * scene.down[:, thing])
    half = 2 * scene.turned[:, thing] - 1  # tangent of half the angle: from -90 to 90 degrees
    cosine, sine = (1 - half * half) / (1 + half * half), 2 * half / (1 + half * half)
    radius = per_image(np.float32(9) + np.float32(7) * scene.size[:, thing])
    u, v = x * per_image(cosine) + y * per_image(sine), y * per_image(cosine) - x * per_image(sine)
    far = np.sqrt(u * u + v * v)
    box = np.maximum(abs(u) - np.float32(0.9) * radius, abs(v) - np.float32(0.6) * radius)
    # a triangle that points to the right: slanted sides of direction (12, -7), nearly equal sides
    length = np.sqrt(np.float32(12**2 + 7**2))
    slanted = (7 * u + 12 * abs(v)) / length - np.float32(0.5) * radius
    triangle = np.maximum(slanted, -u - np.float32(0.5) * radius)
    ring = abs(far - np.float32(0.85) * radius) - np.float32(1.25)
    kind = scene.kind[:, thing, None, None]
    found: np.ndarray = np.select(
        [kind == 1, kind == 2, kind == 3, kind == 4],
        [far - np.float32(0.8) * radius, box, triangle, ring],
        np.float32(SIDE),
    )
    return found


def _painted(scene: Things) -> tuple[np.ndarray, np.ndarray]:
    """Paint a block of scenes, from the ground to the front."""
    colour = np.float32(0.15) + np.float32(0.7) * scene.colour
    image = np.broadcast_to(colour[:, MOST, :, None, None], scene.noise.shape).copy()
    classes = np.zeros((len(image), SIDE, SIDE), np.uint8)
    for thing in range(MOST):
        far = outside(scene, thing)
        share = np.clip(np.float32(0.5) - far, 0, 1)[:, None]
        image += share * (colour[:, thing, :, None, None] - image)
        classes = np.where(far <= 0, scene.kind[:, thing, None, None], classes).astype(np.uint8)
    axis = (np.arange(SIDE, dtype=np.float32) + np.float32(0.5)) / SIDE - np.float32(0.5)
    across, along = (per_image(part - np.float32(0.5)) for part in scene.slope.T)
    light = np.float32(0.3) * (across * axis[None, None, :] + along * axis[None, :, None])
    image += light[:, None] + np.float32(0.16) * (scene.noise - np.float32(0.5))
    return np.clip(image * 255, 0, 255).astype(np.uint8), classes


def load(split: Split = "train", stand_in: bool = True) -> SceneSet:
    """Return the drawn scenes and the classes of their pixels.

    Args:
        split: "train" (1,000 scenes) or "test" (200).
        stand_in: accepted so that all loaders are called alike; the set is never replaced.

    Raises:
        WrongBytes: this machine draws other scenes than all others.
    """
    check_split(split)
    images, classes = _drawn(split)
    record = verified((images, classes), "drawn scenes", __name__, split, CHECKSUM, COUNTS)
    return SceneSet(images.clone(), classes.clone(), record)


@functools.cache
def _drawn(split: Split) -> tuple[Tensor, Tensor]:
    """Return images and classes; one drawing serves a whole session."""
    images, classes = render(things(COUNTS[split], np.random.default_rng(SEEDS[split])))
    return torch.from_numpy(images), torch.from_numpy(classes)
