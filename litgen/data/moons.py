"""Two moons: the 2-D set on which every family of the book is compared. Its density is known.

Proof: tests/data/test_moons.py.

A point lies on one of two half circles of radius 1, which reach into each other, and is moved by
Gaussian noise of standard deviation ``NOISE`` in both directions. The mean of all points is the
origin.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from litgen.data.drawing import verified
from litgen.data.sources import Record, Split, check_split
from litgen.shapes import Float, Int

__all__ = ["CHECKSUM", "NOISE", "PointSet", "arcs", "joint_log_prob", "load", "log_prob", "sample"]

NOISE = 0.1
CHECKSUM: dict[str, str] = {
    "train": "033659c7cf3e1fecd8eaf2e564b5830342a05add418c5fa4fea5d758e4d11730",
    "test": "cb2a0dc56842386c9ab95e8f374a765ad26e2b0261bae5b5ca90ca92e426650a",
}
COUNTS = {"train": 10_000, "test": 10_000}
SEEDS = {"train": 1, "test": 2}
GRID = 2.0**-16  # points are rounded to it, so that all machines draw the same set


@dataclass(frozen=True, eq=False)
class PointSet:
    """Points of the plane, the moon that each belongs to, and where they came from."""

    points: Float[Tensor, "count 2"]
    labels: Int[Tensor, " count"]
    record: Record

    def describe(self) -> str:
        """Return how much there is, for a line of the command line."""
        return f"{len(self.points):,} points of the plane"


def arcs(t: Float[Tensor, "*batch"], moon: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch 2"]:
    """Return the point of moon 0 (upper) or 1 (lower) at angle t in [0, pi]."""
    upper = torch.stack([t.cos() - 0.5, t.sin() - 0.25], dim=-1)
    lower = torch.stack([0.5 - t.cos(), 0.25 - t.sin()], dim=-1)
    return torch.where(moon.bool()[..., None], lower, upper)


def sample(count: int, generator: torch.Generator) -> Float[Tensor, "count 2"]:
    """Draw points from the density of `log_prob`, on the generator's device."""
    device = generator.device
    t = math.pi * torch.rand(count, generator=generator, device=device)
    moon = torch.randint(2, (count,), generator=generator, device=device)
    noise = torch.randn(count, 2, generator=generator, device=device)
    return arcs(t, moon) + NOISE * noise


def log_prob(x: Float[Tensor, "*batch 2"], nodes: int = 256) -> Float[Tensor, "*batch"]:
    """Return the log-density in nats, summed over both moons and all angles.

    Implements eq:why-latent.

    Raises:
        ValueError: the last axis does not hold two coordinates.
    """
    return torch.logsumexp(joint_log_prob(x, nodes), dim=-1)


def joint_log_prob(x: Float[Tensor, "*batch 2"], nodes: int = 256) -> Float[Tensor, "*batch 2"]:
    """Return log p(x, moon) for moon 0 and moon 1: the noise's density averaged over the angle.

    The average is Gauss-Legendre quadrature, exact to rounding with 256 nodes.

    Raises:
        ValueError: the last axis does not hold two coordinates.
    """
    if x.shape[-1:] != (2,):
        raise ValueError(f"points of the plane have 2 coordinates, got shape {tuple(x.shape)}")
    places, weights = (torch.from_numpy(values).to(x) for values in _legendre(nodes))
    t = places * (math.pi / 2) + math.pi / 2
    log_weights = weights.log() - math.log(4)  # the weights' sum is 2; 1/2 of each moon
    joint = []
    for moon in (0, 1):
        centres = arcs(t, torch.full((nodes,), moon, device=x.device))
        squares = (x[..., 0, None] - centres[:, 0]).square()
        squares += (x[..., 1, None] - centres[:, 1]).square()
        joint.append(torch.logsumexp(log_weights - squares / (2 * NOISE**2), dim=-1))
    return torch.stack(joint, dim=-1) - math.log(2 * math.pi * NOISE**2)


@functools.cache
def _legendre(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    places, weights = np.polynomial.legendre.leggauss(nodes)
    return places, weights


def load(split: Split = "train", stand_in: bool = True) -> PointSet:
    """Return the fixed training or test set, 10,000 points each.

    Args:
        split: "train" or "test".
        stand_in: accepted so that all loaders are called alike; the set is never replaced.

    Raises:
        WrongBytes: this machine draws other points than all others.
    """
    check_split(split)
    random = np.random.default_rng(SEEDS[split])
    count = COUNTS[split]
    moon = torch.from_numpy(random.integers(2, size=count))
    t = torch.from_numpy(random.random(count)) * math.pi
    noise = torch.from_numpy(random.standard_normal((count, 2)))
    points = ((arcs(t, moon) + NOISE * noise) / GRID).round().mul(GRID).float()
    record = verified((points, moon), "two moons", __name__, split, CHECKSUM, COUNTS)
    return PointSet(points, moon, record)
