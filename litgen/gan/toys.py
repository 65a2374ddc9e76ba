"""Sets in the plane whose modes are known, and a count of those that samples reach.

Chapter: book/gan/stability.md.  Proof: tests/gan/test_toys.py.
References: Gulrajani et al., "Improved Training of Wasserstein GANs" (2017), for the three sets;
Srivastava et al., "VEEGAN" (2017), and Lin et al., "PacGAN" (2018), for the counts.

All three are scaled to about unit variance. They are drawn fresh in each step and never stored.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = ["Coverage", "Modes", "coverage", "eight_gaussians", "grid_of_gaussians", "swiss_roll"]


class Modes(NamedTuple):
    """Gaussians of equal weight and standard deviation.

    Attributes:
        centres: one row each.
        std: the same in both directions.
    """

    centres: Float[Tensor, "modes 2"]
    std: float

    def sample(self, count: int, generator: torch.Generator) -> Float[Tensor, "count 2"]:
        """Draw points, on the generator's device."""
        device, centres = generator.device, self.centres.to(generator.device)
        which = torch.randint(len(centres), (count,), generator=generator, device=device)
        noise = torch.randn(count, 2, generator=generator, device=device)
        return centres[which] + self.std * noise

    def log_prob(self, x: Float[Tensor, "count 2"]) -> Float[Tensor, " count"]:
        """Return the log-density in nats."""
        squares = (x[:, None] - self.centres.to(x)).square().sum(dim=2) / self.std**2
        parts = -0.5 * squares - math.log(2 * math.pi * self.std**2 * len(self.centres))
        return parts.logsumexp(dim=1)


def grid_of_gaussians(side: int = 5, std: float = 0.05) -> Modes:
    """Return side x side Gaussians at whole places around the origin, all divided by 2 sqrt 2.

    Args:
        side: Gaussians along each axis.
        std: before the division, as the distance of neighbours is 1 before it.
    """
    axis = torch.arange(side) - (side - 1) / 2
    scale = 2 * math.sqrt(2)
    return Modes(torch.cartesian_prod(axis, axis) / scale, std / scale)


def eight_gaussians(std: float = 0.02) -> Modes:
    """Return eight Gaussians on a circle of radius 2, all divided by sqrt 2."""
    angle = torch.arange(8) * math.pi / 4
    circle = 2 * torch.stack([angle.cos(), angle.sin()], dim=1)
    return Modes(circle / math.sqrt(2), std / math.sqrt(2))


def swiss_roll(
    count: int, generator: torch.Generator, std: float = 0.25
) -> Float[Tensor, "count 2"]:
    """Draw from a spiral: radius t at angle t, t uniform from 1.5 pi to 4.5 pi, divided by 7.5.

    Args:
        count: points.
        generator: draws them, on its device.
        std: of noise in both directions, before the division.
    """
    device = generator.device
    t = 1.5 * math.pi * (1 + 2 * torch.rand(count, generator=generator, device=device))
    spiral = torch.stack([t * t.cos(), t * t.sin()], dim=1)
    return (spiral + std * torch.randn(count, 2, generator=generator, device=device)) / 7.5


class Coverage(NamedTuple):
    """How samples spread over known modes.

    Attributes:
        counts: near samples of each mode.
        covered: modes with at least one near sample in a hundred of their fair share.
        near: share of all samples that lie within three standard deviations of a mode.
        divergence: of the modes' shares among near samples from equal shares, in nats; infinite
            without a near sample.
    """

    counts: Tensor
    covered: int
    near: float
    divergence: float


def coverage(points: Float[Tensor, "count 2"], modes: Modes, reach: float = 3.0) -> Coverage:
    """Return how many modes samples reach, and how many samples reach a mode.

    A point belongs to its nearest mode, and is near if it lies within ``reach`` standard
    deviations of the centre. 98.9 % of a Gaussian's own points in the plane lie within three
    (eq:stable-near). The divergence is eq:stable-divergence.

    Raises:
        ValueError: no points, or a point that is not finite.
    """
    if not len(points) or not points.isfinite().all():
        raise ValueError(f"finite points are needed, got {len(points)} with some that are not")
    centres = modes.centres.to(points)
    exact = "donot_use_mm_for_euclid_dist"  # a product may be rounded to TF32, by more than std^2
    distance, which = torch.cdist(points, centres, compute_mode=exact).min(dim=1)
    near = distance <= reach * modes.std
    counts = torch.bincount(which[near], minlength=len(modes.centres))
    share = counts.double() / counts.sum()
    kept = share[share > 0]
    divergence = (kept * (kept * len(counts)).log()).sum().item() if len(kept) else math.inf
    fair = len(points) / len(counts)
    return Coverage(
        counts=counts,
        covered=int((counts >= max(1.0, 0.01 * fair)).sum()),
        near=near.double().mean().item(),
        divergence=divergence,
    )
