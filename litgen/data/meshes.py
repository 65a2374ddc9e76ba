"""From a mesh of triangles to voxels: read OBJ files, measure volumes, fill a box of cubes.

Chapter: book/gan/voxel.md.  Proof: tests/data/test_meshes.py.
References: Akenine-Moller, "Fast 3D Triangle-Box Overlap Testing" (2001), for the thirteen axes;
the volume is the divergence theorem's.

A mesh's axes are those of OBJ: wide (x), up (y), deep (z). Voxels have the axes up, deep, wide.
Corners are rounded to a lattice of whole numbers, 64 to a voxel, before anything is decided; from
there on all arithmetic is exact, and all machines find the same voxels.
"""

from typing import NamedTuple

import numpy as np

from litgen.shapes import Bool, Float, Int

__all__ = ["Mesh", "filled", "open_edges", "parse_obj", "solid", "surface", "volume", "voxel_size"]

UNITS = 128
"""Whole numbers to a voxel's side. Corners lie on the odd ones, walls between voxels on even
multiples: no corner and no upright or level face ever lies on a wall."""
CHUNK = 20_000  # triangles at a time


class Mesh(NamedTuple):
    """Corners in space and the triangles between them.

    Attributes:
        corners: places, in the file's unit of length.
        triangles: numbers of three corners each, counted from 0, anticlockwise seen from outside.
    """

    corners: Float[np.ndarray, "corners 3"]
    triangles: Int[np.ndarray, "triangles 3"]


def parse_obj(text: str, name: str) -> Mesh:
    """Return the mesh in an OBJ file: its lines ``v`` and ``f``; faces become fans of triangles.

    Args:
        text: of the file.
        name: of the file, for errors.

    Raises:
        ValueError: no corners or faces, a corner without three finite numbers, or a face with
            fewer than three corners or one that does not exist.
    """
    corners: list[list[float]] = []
    triangles: list[list[int]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        kind, *words = line.split() or [""]
        try:
            if kind == "v":
                corners.append([float(word) for word in words[:3]])
                if len(words) < 3 or not np.isfinite(corners[-1]).all():
                    raise ValueError("a corner needs three finite numbers")
            elif kind == "f":
                triangles += _fan([int(word.split("/")[0]) for word in words], len(corners))
        except ValueError as error:
            raise ValueError(f"{name}, line {number}, {line.strip()[:40]!r}: {error}") from None
    if not corners or not triangles:
        raise ValueError(f"{name} has {len(corners)} corners and {len(triangles)} triangles")
    return Mesh(np.array(corners), np.array(triangles, np.int64))


def _fan(numbers: list[int], count: int) -> list[list[int]]:
    """Return a face's triangles; OBJ counts corners from 1, and from the last one with a minus."""
    if len(numbers) < 3:
        raise ValueError(f"a face needs three corners, has {len(numbers)}")
    if any(n == 0 or abs(n) > count for n in numbers):
        raise ValueError(f"a face names a corner that is not among the {count} so far")
    found = [n - 1 if n > 0 else count + n for n in numbers]
    return [[found[0], found[i], found[i + 1]] for i in range(1, len(found) - 1)]


def open_edges(mesh: Mesh) -> int:
    """Return how many edges of triangles have no neighbour that runs the other way: 0 if closed.

    Corners at the same place count as one. Triangles with two equal corners are left out.
    """
    _, place = np.unique(mesh.corners, axis=0, return_inverse=True)
    found = place.reshape(-1)[mesh.triangles]
    a, b, c = found.T
    found = found[(a != b) & (b != c) & (c != a)]
    edges = np.concatenate([found[:, [0, 1]], found[:, [1, 2]], found[:, [2, 0]]])
    low, high = edges.min(axis=1), edges.max(axis=1)
    sign = np.where(edges[:, 0] == low, 1, -1)
    _, which = np.unique(np.stack([low, high], axis=1), axis=0, return_inverse=True)
    balance = np.zeros(which.max(initial=-1) + 1, np.int64)
    np.add.at(balance, which.reshape(-1), sign)
    return int(np.abs(balance).sum())


def volume(mesh: Mesh) -> float:
    """Return the volume inside a closed mesh, in cubed units of length. Implements eq:vox-volume.

    It is negative where the triangles are anticlockwise seen from inside.
    """
    a, b, c = (mesh.corners[mesh.triangles[:, i]] for i in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


def voxel_size(mesh: Mesh, side: int, name: str = "the mesh") -> float:
    """Return the side of a voxel in the mesh's unit: its longest extent fills the box.

    Raises:
        ValueError: a box without voxels, or a mesh without extent.
    """
    extent = float((mesh.corners.max(axis=0) - mesh.corners.min(axis=0)).max())
    if side < 1:
        raise ValueError(f"a box needs voxels, got side {side}")
    if not extent > 0:
        raise ValueError(f"{name} has no volume: all its corners are at one place")
    return extent * UNITS / (side * UNITS - 2)


def _on_lattice(mesh: Mesh, side: int, name: str) -> Int[np.ndarray, "corners 3"]:
    """Return corners in whole units: standing on the floor, in the middle of the box."""
    unit = voxel_size(mesh, side, name) / UNITS
    away = mesh.corners - mesh.corners.min(axis=0)
    halves = np.rint(away / (2 * unit)).astype(np.int64)  # one rounding each, the same everywhere
    room = (side * UNITS // 2 - 1 - halves.max(axis=0)) // 2
    room[1] = 0
    return np.asarray(2 * (halves + room) + 1)


def solid(mesh: Mesh, side: int, name: str = "the mesh") -> Bool[np.ndarray, "side side side"]:
    """Return the voxels whose centre lies inside a closed mesh. Implements eq:vox-winding.

    Upwards from each centre, count the triangles that are met, those seen from inside as 1, those
    from outside as -1: inside the sum is not zero. A ray along an edge meets one of its triangles.

    Raises:
        ValueError: a mesh that is not closed, or that has no volume.
    """
    missing = open_edges(mesh)
    if missing:
        raise ValueError(f"{name} is not closed: {missing} edges have no neighbour")
    corners = _on_lattice(mesh, side, name)
    winding = np.zeros((side, side, side), np.int64)
    for start in range(0, len(mesh.triangles), CHUNK):
        _count_crossings(corners[mesh.triangles[start : start + CHUNK]], winding)
    inside: np.ndarray = winding != 0
    if not inside.any():
        raise ValueError(f"{name} has no volume: no centre of {side}^3 voxels lies inside")
    return inside


def _count_crossings(
    triangles: Int[np.ndarray, "n 3 3"], winding: Int[np.ndarray, "s s s"]
) -> None:
    """Add to the winding of all centres below each triangle."""
    side = len(winding)
    flat = triangles[:, :, [0, 2]]  # seen from above: wide, deep
    (ax, az), (bx, bz), (cx, cz) = (flat[:, i].T for i in range(3))
    area = (bx - ax) * (cz - az) - (bz - az) * (cx - ax)
    sign = np.sign(area)
    # with the area made positive; upright triangles are met by no ray
    order = np.where((sign < 0)[:, None], [[0, 2, 1]], [[0, 1, 2]])
    triangles = np.take_along_axis(triangles, order[:, :, None], axis=1)[sign != 0]
    sign = sign[sign != 0]
    first = -(-(triangles.min(axis=1) - UNITS // 2) // UNITS)  # the first centre, and the last
    last = (triangles.max(axis=1) - UNITS // 2) // UNITS
    pairs, offset = _expanded((last - first + 1)[:, [0, 2]])
    x, z = (first[pairs][:, [0, 2]] + offset).T
    at = np.stack([x, z], axis=1) * UNITS + UNITS // 2
    weights = []
    hit = np.ones(len(pairs), bool)
    for i in range(3):  # the weight of a corner: twice the area of the centre with the far edge
        start, end = (triangles[pairs, (i + k) % 3] for k in (1, 2))
        run, rise = end[:, 0] - start[:, 0], end[:, 2] - start[:, 2]
        weight = run * (at[:, 1] - start[:, 2]) - rise * (at[:, 0] - start[:, 0])
        hit &= (weight > 0) | ((weight == 0) & ((rise < 0) | ((rise == 0) & (run > 0))))
        weights.append(weight)
    weights_of = np.stack(weights, axis=1)
    height = (weights_of * triangles[pairs, :, 1]).sum(axis=1)  # times the area
    whole = weights_of.sum(axis=1)
    below = (height[hit] - whole[hit] * (UNITS // 2)) // (whole[hit] * UNITS) + 1  # centres
    columns = np.zeros((side + 1, side, side), np.int64)
    np.add.at(columns, (np.clip(below, 0, side), z[hit], x[hit]), -sign[pairs][hit])
    winding += columns[::-1].cumsum(axis=0)[::-1][1:]


def surface(mesh: Mesh, side: int, name: str = "the mesh") -> Bool[np.ndarray, "side side side"]:
    """Return the voxels that some triangle touches, open mesh or closed.

    A triangle and a cube are apart exactly if some axis parts them: the cube's three, the
    triangle's normal, or a product of one of the cube's edges with one of the triangle's.

    Raises:
        ValueError: a mesh without extent.
    """
    corners = _on_lattice(mesh, side, name)
    found = np.zeros((side, side, side), bool)
    for start in range(0, len(mesh.triangles), CHUNK):
        triangles = corners[mesh.triangles[start : start + CHUNK]]
        first, last = triangles.min(axis=1) // UNITS, triangles.max(axis=1) // UNITS
        pairs, offset = _expanded(last - first + 1)
        cube = first[pairs] + offset
        touch = _touching(triangles[pairs] - (cube * UNITS + UNITS // 2)[:, None])
        x, y, z = cube[touch].T
        found[y, z, x] = True
    return found


def _touching(triangles: Int[np.ndarray, "n 3 3"]) -> Bool[np.ndarray, " n"]:
    """Say which triangles touch the cube around 0; the cube's own axes are done already."""
    half = UNITS // 2
    a, b, c = (triangles[:, i] for i in range(3))
    edges = b - a, c - b, a - c
    normal = np.cross(edges[0], edges[1])
    touch = np.abs((normal * a).sum(axis=1)) <= half * np.abs(normal).sum(axis=1)
    for edge in edges:
        for i in range(3):
            j, k = (i + 1) % 3, (i + 2) % 3
            along = triangles[:, :, k] * edge[:, None, j] - triangles[:, :, j] * edge[:, None, k]
            reach = half * (np.abs(edge[:, j]) + np.abs(edge[:, k]))
            touch &= (along.min(axis=1) <= reach) & (along.max(axis=1) >= -reach)
    return np.asarray(touch)


def _expanded(counts: Int[np.ndarray, "n axes"]) -> tuple[np.ndarray, np.ndarray]:
    """List all places in boxes of these sizes: whose box it is, and the place in it, from 0."""
    counts = np.maximum(counts, 0)
    many = counts.prod(axis=1)
    pairs = np.repeat(np.arange(len(counts)), many)
    place = np.arange(len(pairs)) - np.repeat(many.cumsum() - many, many)
    offsets = []
    for axis in range(counts.shape[1]):
        size = counts[pairs, axis]
        offsets.append(place % size)
        place = place // size
    return pairs, np.stack(offsets, axis=1)


def filled(voxels: Bool[np.ndarray, "side side side"]) -> Bool[np.ndarray, "side side side"]:
    """Fill what air from outside cannot reach through faces of empty voxels."""
    empty = np.pad(~voxels, 1, constant_values=True)
    air = np.zeros_like(empty)
    air[0], before = True, 0
    while before != (before := int(air.sum())):
        grown = air.copy()
        for axis in range(3):
            for step in (1, -1):
                moved = np.roll(air, step, axis)  # the rim is air: nothing comes round
                grown |= moved
        air = (grown & empty) | air
    return np.asarray(~air[1:-1, 1:-1, 1:-1])
