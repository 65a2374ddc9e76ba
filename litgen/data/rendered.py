"""Rendered heads of 28x28 pixels whose pose, light and shape are known: our own ray caster.

Chapter: book/vae/dcign.md.  Proof: tests/data/test_rendered.py.

A head is a few ellipsoids. Along every ray (orthographic, two by two to a pixel) a quadratic
equation has the nearest hit; Lambert's law shades it. x runs to the right, y up, z towards the
viewer; a solid has a frame of its own, which the pose turns.

The set is made of sums, products, quotients and roots of single-precision numbers alone, which
all machines round alike (sines are rounded to ``GRID`` first): it is the same on all of them.
"""

import functools
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from litgen.data.drawing import verified
from litgen.data.sources import Record, Split, check_split
from litgen.shapes import Float, Int, UInt8

__all__ = [
    "BATCH",
    "CHECKSUM",
    "FACTORS",
    "LIMITS",
    "SIDE",
    "SceneSet",
    "Solid",
    "clamped_factors",
    "head",
    "light_direction",
    "load",
    "pose",
    "render",
    "shaded",
]

FACTORS = ("azimuth", "elevation", "light", "shape")
LIMITS = (50.0, 35.0, 60.0, 1.2)
"""What a factor of 1 stands for: degrees of the three angles; the shape is a number."""

SIDE = 28
BATCH = 32
AMBIENT = 0.35
LAMP_HEIGHT = 25.0  # degrees of the lamp above the horizon
SCALE = 1.2  # half the width of the window that the rays fill
GRID = 2.0**-20
BLOCK = 32  # scenes at a time: their rays stay in the processor's cache
COUNTS = {"train": 12_800, "test": 1_000}
SEEDS = {"train": 1, "test": 2}
CHECKSUM: dict[str, str] = {
    "train": "481698b556541954362a62ed084a66bda07c622cc034c7fbce9adeeaddd0622a",
    "test": "d86b9bcb38154e7ab61702a78dd4989fdc137f901528e2be23e7d22aeebf1ca1",
}


class Solid(NamedTuple):
    """Ellipsoids with axes along those of their own frame.

    Attributes:
        centre: of each part.
        radii: half axes of each part.
        albedo: share of light that each part gives back.
    """

    centre: Float[Tensor, "scenes parts 3"]
    radii: Float[Tensor, "scenes parts 3"]
    albedo: Float[Tensor, " parts"]


@dataclass(frozen=True, eq=False)
class SceneSet:
    """Pictures, the factors that made them, and which one varies where.

    Attributes:
        images: grey values.
        factors: azimuth, elevation, light and shape, each in [-1, 1] (``LIMITS`` says of what).
        varied: for each run of ``BATCH`` pictures the one factor that varies in it; the test set
            has none, all factors vary at once.
        record: where the set came from.
    """

    images: UInt8[Tensor, "count 1 28 28"]
    factors: Float[Tensor, "count 4"]
    varied: Int[Tensor, " batches"]
    record: Record

    def describe(self) -> str:
        """Return how much there is, for a line of the command line."""
        return f"{len(self.images):,} rendered heads {SIDE}x{SIDE}"


def head(shape: Float[Tensor, " scenes"]) -> Solid:
    """Return heads: at shape -1 narrow and long-nosed, at 1 wide and short-nosed."""
    one = torch.ones_like(shape)
    width = 0.60 + 0.16 * shape
    nose = 0.30 - 0.10 * shape
    parts = [
        ((0 * one, 0 * one, 0 * one), (width, 0.82 * one, 0.68 * one), 0.85),  # skull
        ((0 * one, -0.08 * one, 0.66 * one), (0.13 * one, 0.20 * one, nose), 0.95),
        ((-0.42 * width, 0.16 * one, 0.56 * one), (0.13 * one, 0.09 * one, 0.12 * one), 0.10),
        ((0.42 * width, 0.16 * one, 0.56 * one), (0.13 * one, 0.09 * one, 0.12 * one), 0.10),
        ((0 * one, 0.26 * one, -0.16 * one), (width + 0.06, 0.68 * one, 0.66 * one), 0.30),  # hair
    ]
    centre = torch.stack([torch.stack(c, dim=-1) for c, _, _ in parts], dim=1)
    radii = torch.stack([torch.stack(r, dim=-1) for _, r, _ in parts], dim=1)
    return Solid(centre, radii, torch.tensor([a for _, _, a in parts]).to(shape))


def pose(
    azimuth: Float[Tensor, " scenes"], elevation: Float[Tensor, " scenes"]
) -> Float[Tensor, "scenes 3 3"]:
    """Return rotations from a solid's frame to the viewer's; angles in degrees.

    Implements eq:dcign-pose: first the azimuth turns the front to the right, then the elevation
    lifts it.
    """
    (s, c), (t, k), zero = _wave(azimuth), _wave(elevation), torch.zeros_like(azimuth)
    rows = [[c, zero, s], [-t * s, k, t * c], [-k * s, -t, k * c]]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def light_direction(angle: Float[Tensor, " scenes"]) -> Float[Tensor, "scenes 3"]:
    """Return unit vectors towards the lamp in the viewer's frame; degrees to the right."""
    (sine, cosine), (up, level) = _wave(angle), _wave(torch.full_like(angle, LAMP_HEIGHT))
    return torch.stack([sine * level, up, cosine * level], dim=-1)


def shaded(
    solid: Solid,
    turn: Float[Tensor, "scenes 3 3"],
    light: Float[Tensor, "scenes 3"],
    rays: int = 2 * SIDE,
) -> Float[Tensor, "scenes rays rays"]:
    """Return what each ray brings back, from 0 to 1; a ray that hits nothing brings 0.

    Implements eq:dcign-hit and eq:dcign-lambert.

    Args:
        solid: in its own frame.
        turn: from that frame to the viewer's.
        light: unit vectors towards the lamp, in the viewer's frame.
        rays: along each side of the window, which reaches from -1.2 to 1.2.

    Raises:
        ValueError: other numbers of solids, turns and lights.
    """
    if not len(solid.centre) == len(solid.radii) == len(turn) == len(light):
        raise ValueError(
            f"{len(solid.centre)} solids, {len(turn)} turns and {len(light)} lights: "
            "expected one of each for every scene"
        )
    axis = ((torch.arange(rays, dtype=turn.dtype) + 0.5) * (2 / rays) - 1) * SCALE
    u, v = axis, -axis[:, None]
    right, up, way = (
        [turn[:, j, i, None] / solid.radii[..., i] for i in range(3)] for j in range(3)
    )
    middle = [solid.centre[..., i] / solid.radii[..., i] for i in range(3)]
    # a part is a unit ball in units of its half axes; a ray runs through u right + v up - middle
    a, to_right, to_up = (_of(_dot(one, way)) for one in (way, right, up))
    b = to_right * u - _of(_dot(middle, way)) + to_up * v
    along = _of(_dot(right, right)) * u * u - 2 * _of(_dot(right, middle)) * u
    across = _of(_dot(up, up)) * v * v - 2 * _of(_dot(up, middle)) * v
    slanted = 2 * _of(_dot(right, up)) * u * v
    square = along + across + slanted + (_of(_dot(middle, middle)) - 1)
    under_root = b * b - a * square
    height = torch.where(under_root > 0, (under_root.clamp(min=0).sqrt() - b) / a, -math.inf)
    nearest, part = height.flatten(2).max(dim=1)
    hit = nearest > -math.inf
    depth = nearest.where(hit, 0)
    u, v = u.expand(rays, rays).flatten(), v.expand(rays, rays).flatten()

    def own(table: Tensor) -> Tensor:
        """Return an entry of (scenes, parts) for the part that each ray hits."""
        return table.gather(1, part)

    normal = [
        (own(right[i]) * u + own(up[i]) * v - own(middle[i]) + own(way[i]) * depth)
        / own(solid.radii[..., i])
        for i in range(3)
    ]
    lamp = [_dot([turn[:, j, i] for j in range(3)], list(light.T))[:, None] for i in range(3)]
    cosine = (_dot(normal, lamp) / _dot(normal, normal).sqrt()).clamp(min=0)
    grey = solid.albedo[part] * (AMBIENT + (1 - AMBIENT) * cosine)
    return grey.where(hit, 0).view(-1, rays, rays)


def render(
    factors: Float[Tensor, "count 4"], limits: tuple[float, float, float, float] = LIMITS
) -> UInt8[Tensor, "count 1 28 28"]:
    """Return pictures of heads; each pixel is the mean of four rays.

    Args:
        factors: azimuth, elevation, light and shape as shares of ``limits``.
        limits: degrees of the three angles, and the shape's, that 1 stands for.

    Raises:
        ValueError: other than four factors.
    """
    if factors.dim() != 2 or factors.shape[1] != 4:
        raise ValueError(f"factors have shape {tuple(factors.shape)}, expected (count, 4)")
    pictures = [torch.zeros(0, 1, SIDE, SIDE, dtype=torch.uint8)]
    for block in factors.split(BLOCK):
        azimuth, elevation, lamp, shape = (f * m for f, m in zip(block.T, limits, strict=True))
        fine = shaded(head(shape), pose(azimuth, elevation), light_direction(lamp))
        grey = fine[:, ::2, ::2] + fine[:, ::2, 1::2] + fine[:, 1::2, ::2] + fine[:, 1::2, 1::2]
        pictures.append((grey * (255 / 4)).round().clamp(0, 255).to(torch.uint8)[:, None])
    return torch.cat(pictures)


def clamped_factors(
    varied: Int[Tensor, " batches"], random: np.random.Generator
) -> Float[Tensor, "count 4"]:
    """Draw factors in runs of ``BATCH``: one varies evenly in [-1, 1], the others stay.

    Raises:
        ValueError: a number that is no factor's.
    """
    if len(varied) and not (int(varied.min()) >= 0 and int(varied.max()) < len(FACTORS)):
        raise ValueError(f"factors are numbered 0 to 3, got {sorted(set(varied.tolist()))}")
    fixed = random.uniform(-1, 1, (len(varied), 1, len(FACTORS)))
    drawn = random.uniform(-1, 1, (len(varied), BATCH, 1))
    active = np.arange(len(FACTORS)) == varied.numpy()[:, None, None]
    return torch.from_numpy(np.where(active, drawn, fixed).reshape(-1, len(FACTORS))).float()


def load(split: Split = "train", stand_in: bool = True) -> SceneSet:
    """Return 400 clamped batches, 100 of each factor in turn, or 1,000 free test scenes.

    Args:
        split: "train" or "test".
        stand_in: accepted so that all loaders are called alike; the set is never replaced.

    Raises:
        WrongBytes: this machine renders other pictures than all others.
    """
    check_split(split)
    images, factors, varied = _made(split)
    record = verified((images, varied), "rendered heads", __name__, split, CHECKSUM, COUNTS)
    return SceneSet(images.clone(), factors.clone(), varied.clone(), record)


@functools.cache
def _made(split: Split) -> tuple[Tensor, Tensor, Tensor]:
    """Return pictures, factors and what varies; one rendering serves a whole session."""
    random = np.random.default_rng(SEEDS[split])
    if split == "train":
        varied = torch.arange(COUNTS[split] // BATCH) % len(FACTORS)
        factors = clamped_factors(varied, random)
    else:
        varied = torch.zeros(0, dtype=torch.long)
        factors = torch.from_numpy(random.uniform(-1, 1, (COUNTS[split], 4))).float()
    return render(factors), factors, varied


def _wave(degrees: Tensor) -> tuple[Tensor, Tensor]:
    """Return sine and cosine, rounded so that all machines agree."""
    angle = degrees.double() * (math.pi / 180)
    waves = (torch.sin(angle), torch.cos(angle))
    sine, cosine = ((w / GRID).round().mul(GRID).to(degrees) for w in waves)
    return sine, cosine


def _of(table: Tensor) -> Tensor:
    """Return one number a part, ready to meet rays."""
    return table[..., None, None]


def _dot(a: list[Tensor], b: list[Tensor]) -> Tensor:
    """Return the inner product of two vectors given by coordinates, always in the same order."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
