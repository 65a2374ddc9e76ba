"""Known defects for sets of real images, so that a metric's answer can be compared with the truth.

Chapter: book/evaluation/metrics.md.  Proof: tests/evaluation/test_defects.py.
References: Heusel et al. (2017), figure 3, who disturb images by noise, blur and others' pixels;
Lucic et al., "Are GANs Created Equal?" (2018), who leave classes out.

Defects of a *set* choose: they return indices into a pool of images. Defects of *images* change
pixels. ``strength`` runs from 0, nothing, to 1.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from litgen.shapes import Float, Int

__all__ = ["blurred", "collapsed", "noisy", "unbalanced", "with_foreign", "without_classes"]


def without_classes(
    labels: Int[Tensor, " pool"], strength: float, count: int, generator: torch.Generator
) -> Int[Tensor, " count"]:
    """Choose images, each at most once, of all but the last ``strength`` of the classes.

    Raises:
        ValueError: a strength that leaves no class, or a pool with too few images of the others.
    """
    _check(strength)
    classes = int(labels.max()) + 1
    kept = classes - round(strength * classes)
    return _drawn((labels < kept).double(), count, generator)


def unbalanced(
    labels: Int[Tensor, " pool"], strength: float, count: int, generator: torch.Generator
) -> Int[Tensor, " count"]:
    """Choose images, each at most once; class c has odds of (1 - strength)^c.

    Raises:
        ValueError: a strength outside [0, 1), or too few images.
    """
    _check(strength)
    odds = (1 - strength) ** torch.arange(int(labels.max()) + 1, dtype=torch.float64)
    wanted = (count * odds / odds.sum()).floor().long()
    wanted[0] += count - wanted.sum()
    chosen = [
        _drawn((labels == c).double(), int(number), generator)
        for c, number in enumerate(wanted)
        if number
    ]
    return torch.cat(chosen)


def collapsed(
    labels: Int[Tensor, " pool"], strength: float, count: int, generator: torch.Generator
) -> Int[Tensor, " count"]:
    """Choose ``count`` images of which only a share of 1 - strength (one at least) are different.

    Raises:
        ValueError: a strength outside [0, 1], or a pool with too few images.
    """
    _check(strength)
    different = max(1, round((1 - strength) * count))
    chosen = _drawn(torch.ones_like(labels, dtype=torch.float64), different, generator)
    return chosen.repeat(-(-count // different))[:count]


def blurred(
    images: Float[Tensor, "images 1 height width"], strength: float
) -> Float[Tensor, "images 1 height width"]:
    """Blur by a Gaussian whose standard deviation is 2 pixels at full strength; edges stay black.

    Raises:
        ValueError: a strength outside [0, 1].
    """
    _check(strength)
    if strength == 0:
        return images.clone()
    places = torch.arange(-6, 7, dtype=images.dtype, device=images.device)
    weights = torch.exp(-0.5 * (places / (2 * strength)).square())
    weights = weights / weights.sum()
    rows = F.conv2d(images, weights.view(1, 1, 1, -1), padding=(0, 6))
    return F.conv2d(rows, weights.view(1, 1, -1, 1), padding=(6, 0)).clamp(0, 1)


def noisy(
    images: Float[Tensor, "images 1 height width"], strength: float, generator: torch.Generator
) -> Float[Tensor, "images 1 height width"]:
    """Add normal noise of standard deviation ``strength`` to every pixel, then cut to [0, 1].

    Raises:
        ValueError: a strength outside [0, 1].
    """
    _check(strength)
    noise = torch.randn(images.shape, generator=generator, dtype=images.dtype)
    return (images + strength * noise.to(images.device)).clamp(0, 1)


def with_foreign(
    images: Float[Tensor, "images 1 height width"],
    strength: float,
    foreign: Float[Tensor, "others 1 height width"],
) -> Float[Tensor, "images 1 height width"]:
    """Replace the first ``strength`` of the images (one at least, unless 0) by foreign ones.

    Raises:
        ValueError: a strength outside [0, 1], or too few foreign images of that size.
    """
    _check(strength)
    number = math.ceil(strength * len(images))
    if len(foreign) < number or foreign.shape[1:] != images.shape[1:]:
        raise ValueError(f"{number} foreign images needed, got {tuple(foreign.shape)}")
    return torch.cat([foreign[:number], images[number:]])


def _drawn(odds: Float[Tensor, " pool"], count: int, generator: torch.Generator) -> Tensor:
    """Draw ``count`` different places with these odds."""
    there = int((odds > 0).sum())
    if not 1 <= count <= there:
        raise ValueError(f"{count} different images wanted of a pool with {there} such")
    return torch.multinomial(odds, count, generator=generator)


def _check(strength: float) -> None:
    if not 0 <= strength <= 1:
        raise ValueError(f"strength is {strength}, not in [0, 1]")
