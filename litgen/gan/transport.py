"""Optimal transport between finite sets: the cheapest plan, its prices, the critic they make.

Chapter: book/gan/wasserstein.md.  Proof: tests/gan/test_transport.py.
References: Kantorovich, "On the translocation of masses" (1942); Peyré & Cuturi, "Computational
Optimal Transport" (2019), chapters 2, 3 and 6; Kuhn, "The Hungarian method for the assignment
problem" (1955), whose paths of falling prices `solve` follows, with masses in place of ones.

Notation: masses p_i at x_i and q_j at y_j, plan pi_ij, cost C_ij, prices f_i and g_j.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = [
    "Transport",
    "c_transform",
    "distances",
    "extension",
    "gap",
    "gaussian_line_distance",
    "line_distance",
    "solve",
    "wasserstein",
]

DUST = 1e-12
"""Mass that is left lying: rounding errors of sums that should be one."""


class Transport(NamedTuple):
    """What `solve` returns, in double precision.

    Attributes:
        plan: mass that goes from x_i to y_j.
        f: price at which mass is taken off at x_i, in the unit of the cost.
        g: price at which it is delivered to y_j; f_i + g_j is at most the cost.
        cost: of the whole plan; the distance if the cost is one.
    """

    plan: Float[Tensor, "source target"]
    f: Float[Tensor, " source"]
    g: Float[Tensor, " target"]
    cost: float


def distances(
    x: Float[Tensor, "source dims"], y: Float[Tensor, "target dims"]
) -> Float[Tensor, "source target"]:
    """Return Euclidean distances in double precision, as differences (squares would cancel)."""
    return torch.cdist(x.double(), y.double(), compute_mode="donot_use_mm_for_euclid_dist")


def solve(
    p: Float[Tensor, " source"],
    q: Float[Tensor, " target"],
    cost: Float[Tensor, "rows columns"],
) -> Transport:
    """Return the cheapest plan and the prices that prove it. Implements eq:transport-primal.

    Mass goes from each source along a path of least cost to an open target, and may push earlier
    mass aside; then prices move until every used edge costs exactly what its ends pay
    (eq:transport-slack), so that eq:transport-dual has the same value. Needs about n^3 operations.

    Raises:
        ValueError: masses that are negative or do not sum to one, or shapes that do not fit.
    """
    c, left, wanted = (t.detach().cpu().double().numpy().copy() for t in (cost, p, q))
    if c.shape != (len(left), len(wanted)):
        raise ValueError(f"{len(left)} sources and {len(wanted)} targets, but costs {c.shape}")
    for name, mass in (("p", left), ("q", wanted)):
        if not (mass >= 0).all() or abs(mass.sum() - 1) > 1e-6:
            raise ValueError(f"{name} must be masses that sum to 1, got a sum of {mass.sum():g}")
        mass /= mass.sum()
    plan, f, g = np.zeros_like(c), np.zeros(len(left)), c.min(axis=0)
    for source in range(len(left)):
        while left[source] > DUST:
            path = _cheapest_path(source, plan, c - f[:, None] - g, wanted)
            f += np.where(np.isfinite(path.to_source), path.length - path.to_source, 0.0)
            g -= np.maximum(path.length - path.to_target, 0.0)
            _push(path, plan, left, wanted)
    total = float((plan * c).sum())
    return Transport(torch.from_numpy(plan), torch.from_numpy(f), torch.from_numpy(g), total)


class _Path(NamedTuple):
    """Where the shortest path ends, how to walk it back, and how far everything else is."""

    start: int
    end: int
    length: float
    to_source: np.ndarray
    to_target: np.ndarray
    before_source: np.ndarray
    before_target: np.ndarray


def _cheapest_path(start: int, plan: np.ndarray, slack: np.ndarray, wanted: np.ndarray) -> _Path:
    """Walk to the nearest target that wants mass: forth along any edge, back along used ones.

    Dijkstra's algorithm; lengths are slacks, which are never negative and zero on used edges.
    """
    to_source, before_source = np.full(len(slack), np.inf), np.full(len(slack), -1)
    to_source[start] = 0.0
    to_target, before_target = slack[start].copy(), np.full(len(wanted), start)
    open_ = np.ones(len(wanted), dtype=bool)
    while True:
        j = int(np.where(open_, to_target, np.inf).argmin())
        open_[j] = False
        if wanted[j] > 0:
            break
        reached = np.flatnonzero((plan[:, j] > 0) & np.isinf(to_source))
        if len(reached):
            to_source[reached], before_source[reached] = to_target[j], j
            through = reached[slack[reached].argmin(axis=0)]
            length = to_target[j] + slack[through, np.arange(len(wanted))]
            nearer = open_ & (length < to_target)
            to_target[nearer], before_target[nearer] = length[nearer], through[nearer]
    return _Path(start, j, to_target[j], to_source, to_target, before_source, before_target)


def _push(path: _Path, plan: np.ndarray, left: np.ndarray, wanted: np.ndarray) -> None:
    """Send along the path, in place, as much as its start has, its end wants, its edges carry."""
    forth, back, j = [], [], path.end
    while True:
        i = int(path.before_target[j])
        forth.append((i, j))
        if i == path.start:
            break
        j = int(path.before_source[i])
        back.append((i, j))
    mass = min(left[path.start], wanted[path.end], *(plan[edge] for edge in back))
    for edge in forth:
        plan[edge] += mass
    for edge in back:
        plan[edge] -= mass
    left[path.start] -= mass
    wanted[path.end] -= mass


def wasserstein(x: Float[Tensor, "source dims"], y: Float[Tensor, "target dims"]) -> float:
    """Return W_1 between two sets of points of equal mass, in the unit of the points.

    Of a set and its shifted copy it is the shift (eq:transport-shift), for two parallel lines as
    for any other shape (eq:wgan-lines).

    Raises:
        ValueError: an empty set.
    """
    if not len(x) or not len(y):
        raise ValueError(f"{len(x)} and {len(y)} points, need some of both")
    p, q = (torch.full((len(points),), 1 / len(points)).double() for points in (x, y))
    return solve(p, q, distances(x, y)).cost


def gap(
    plan: Float[Tensor, "source target"],
    cost: Float[Tensor, "source target"],
    f: Float[Tensor, " source"],
    g: Float[Tensor, " target"],
) -> Float[Tensor, ""]:
    """Return what a plan costs beyond what prices earn. Implements eq:transport-gap.

    Zero says that plan and prices are both the best (eq:transport-slack).
    """
    return (plan * (cost - f[:, None] - g)).sum()


def c_transform(
    cost: Float[Tensor, "source target"], f: Float[Tensor, " source"]
) -> Float[Tensor, " target"]:
    """Return the highest prices g that f leaves room for. Implements eq:transport-c-transform."""
    return (cost - f[:, None]).amin(dim=0)


def extension(
    x: Float[Tensor, "count dims"], y: Float[Tensor, "target dims"], g: Float[Tensor, " target"]
) -> Float[Tensor, " count"]:
    """Return the least distance from a y_j minus g_j: the exact critic, of slope one, everywhere.

    Implements eq:transport-extension. With the prices of `solve` its mean over the sources minus
    its mean over the targets is the distance (eq:transport-lipschitz).
    """
    return c_transform(distances(y, x), g)


def line_distance(
    x: Float[Tensor, " source"],
    y: Float[Tensor, " target"],
    p: Float[Tensor, " masses"] | None = None,
    q: Float[Tensor, " others"] | None = None,
) -> Float[Tensor, ""]:
    """Return W_1 of numbers: the area between two staircases. Implements eq:transport-line.

    Args:
        x: places of the one.
        y: places of the other.
        p: masses at x, equal ones unless given; they are divided by their sum.
        q: masses at y.

    Raises:
        ValueError: an empty set, or another number of masses than of places.
    """
    steps = []
    for places, mass, sign in ((x, p, 1.0), (y, q, -1.0)):
        mass = torch.ones_like(places) if mass is None else mass
        if not len(places) or mass.shape != places.shape:
            raise ValueError(f"{len(places)} places with {len(mass)} masses")
        steps.append(sign * mass / mass.sum())
    places, order = torch.cat([x, y]).sort()
    above = torch.cat(steps)[order].cumsum(0)[:-1]  # F - G between neighbours
    return (above.abs() * places.diff()).sum()


def gaussian_line_distance(mean: float, std: float, other_mean: float, other_std: float) -> float:
    """Return W_1 of two Gaussians on a line: the mean size of shift + spread * noise.

    Implements eq:transport-gauss; for equal standard deviations it is the shift.
    """
    shift, spread = mean - other_mean, abs(std - other_std)
    if spread == 0:
        return abs(shift)
    ratio = shift / spread
    folded = math.sqrt(2 / math.pi) * math.exp(-(ratio**2) / 2)
    return spread * (folded + ratio * math.erf(ratio / math.sqrt(2)))
