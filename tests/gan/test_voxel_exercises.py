"""Solutions of the exercises in book/gan/voxel.md, tested."""

import itertools
import math

import numpy as np
import pytest
import torch

from litgen.data import meshes
from litgen.data.meshes import Mesh
from litgen.gan import voxel

BLOCK = """v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv 0 0 1\nv 1 0 1\nv 1 1 1\nv 0 1 1
f 1 4 3 2\nf 5 6 7 8\nf 1 2 6 5\nf 2 3 7 6\nf 3 4 8 7\nf 4 1 5 8
"""


def places_laid(kernel: int, padding: int, side: int = 6) -> tuple[int, set[int]]:
    """Return the side after stride 2, and how many kernel places lie on inner voxels of a row."""
    found = voxel.spread_side(side, kernel, 2, padding)
    laid = [0] * (2 * side + kernel)
    for i, k in itertools.product(range(side), range(kernel)):
        laid[2 * i + k] += 1
    return found, set(laid[kernel : 2 * side - 2])


def nested_volumes(side: int = 12) -> list[tuple[float, int]]:
    """Return volume and count of voxels of a cube with a cube inside: inwards, then outwards."""
    outer = meshes.parse_obj(BLOCK, "block")
    inner = (outer.corners + 0.5) / 2  # from a quarter to three quarters
    corners, found = np.concatenate([outer.corners, inner]), []
    for inside in (outer.triangles[:, ::-1], outer.triangles):
        both = Mesh(corners, np.concatenate([outer.triangles, inside + 8]))
        found.append((meshes.volume(both), int(meshes.solid(both, side).sum())))
    return found


def closed_by_chance(count: int, threshold: float = 0.8) -> float:
    """Return the probability that random answers are right more often than the threshold."""
    total = 2 * count
    ways = sum(math.comb(total, k) for k in range(total + 1) if k > threshold * total)
    return ways / 2**total


@pytest.mark.parametrize("padding", [0, 1, 2])
def test_even_kernels_double_the_side_evenly(padding: int) -> None:
    """eq:vox-side: kernel 2 p + 2; an odd one lays unequal numbers."""
    kernel = 2 * padding + 2
    assert places_laid(kernel, padding) == (12, {kernel // 2})
    assert places_laid(kernel + 1, padding)[0] == 13
    assert len(places_laid(kernel + 1, padding)[1]) == 2


def test_a_hole_and_no_hole() -> None:
    """eq:vox-winding and eq:vox-volume: 7/8 and hollow; 9/8 and full."""
    (hollow, few), (twice, all_of_them) = nested_volumes()
    assert hollow == pytest.approx(7 / 8)
    assert twice == pytest.approx(9 / 8)
    assert (few, all_of_them) == (12**3 - 6**3, 12**3)


def test_small_batches_close_the_gate_by_chance() -> None:
    """eq:vox-gate: by simulation, too."""
    assert closed_by_chance(8) == pytest.approx(0.0106, abs=1e-4)
    assert closed_by_chance(100) < 1e-15
    answers = torch.rand(40_000, 16, generator=torch.Generator().manual_seed(0)) < 0.5
    found = (answers.float().mean(dim=1) > 0.8).float().mean().item()
    assert found == pytest.approx(closed_by_chance(8), abs=0.003)
