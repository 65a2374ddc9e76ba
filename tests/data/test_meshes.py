"""Proof for litgen/data/meshes.py: solids whose volume is known, and judges that share no code."""

import itertools
import math

import numpy as np
import pytest
from scipy import ndimage
from scipy.optimize import linprog

from litgen.data import meshes
from litgen.data.meshes import Mesh

CUBE = """v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv 0 0 1\nv 1 0 1\nv 1 1 1\nv 0 1 1
f 1 4 3 2\nf 5 6 7 8\nf 1 2 6 5\nf 2 3 7 6\nf 3 4 8 7\nf 4 1 5 8
"""
TETRAHEDRON = """v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"""


def ball(rings: int, radius: float = 1.0) -> Mesh:
    """Return a ball's mesh between two poles, anticlockwise seen from outside."""
    around = 2 * rings
    corners = [(0.0, radius, 0.0), (0.0, -radius, 0.0)]
    for i in range(1, rings):
        up, away = (radius * f(math.pi * i / rings) for f in (math.cos, math.sin))
        angles = [2 * math.pi * j / around for j in range(around)]
        corners += [(away * math.cos(a), up, away * math.sin(a)) for a in angles]
    lines = [f"v {x} {y} {z}" for x, y, z in corners]

    def at(i: int, j: int) -> int:
        return 3 + (i - 1) * around + j % around

    for j in range(around):
        lines += [
            f"f 1 {at(1, j + 1)} {at(1, j)}",
            f"f 2 {at(rings - 1, j)} {at(rings - 1, j + 1)}",
        ]
        lines += [
            f"f {at(i, j)} {at(i, j + 1)} {at(i + 1, j + 1)} {at(i + 1, j)}"
            for i in range(1, rings - 1)
        ]
    return meshes.parse_obj("\n".join(lines), "ball")


def moved(mesh: Mesh, matrix: np.ndarray, by: np.ndarray) -> Mesh:
    """Return a mesh under a linear map and a shift."""
    return Mesh(mesh.corners @ matrix.T + by, mesh.triangles)


def test_volumes_of_a_cube_a_tetrahedron_and_a_ball() -> None:
    """eq:vox-volume: 1, 1/6, nearly 4/3 pi; wherever they lie; a linear map scales by its det."""
    random = np.random.default_rng(0)
    cube, corner = (meshes.parse_obj(text, "x") for text in (CUBE, TETRAHEDRON))
    for mesh, exact in ((cube, 1.0), (corner, 1 / 6)):
        matrix, by = random.normal(size=(3, 3)), 5 * random.normal(size=3)
        assert meshes.volume(mesh) == pytest.approx(exact)
        found = meshes.volume(moved(mesh, matrix, by))
        assert found == pytest.approx(exact * np.linalg.det(matrix))
        assert abs(found - exact) > 0.05
    errors = [4 / 3 * math.pi - meshes.volume(ball(rings)) for rings in (8, 16, 32)]
    assert 0 < errors[2] < errors[1] / 3.5 < errors[0] / 12


def test_a_cube_fills_its_box_and_a_tetrahedron_a_staircase() -> None:
    """All centres lie in the cube; in the tetrahedron those whose coordinates sum up to 1."""
    assert meshes.solid(meshes.parse_obj(CUBE, "cube"), 5).all()
    side = 9
    found = meshes.solid(meshes.parse_obj(TETRAHEDRON, "corner"), side)
    y, z, x = np.indices((side,) * 3) + 0.5
    assert 0 < found.sum() < side**3
    away = x + y + z - side
    assert found[away < -0.1].all()
    assert not found[away > 0.1].any()


@pytest.mark.parametrize("side", [7, 16])
def test_solids_are_what_a_ball_or_a_tilted_box_says(side: int) -> None:
    """eq:vox-winding: a centre is inside if it is nearer than the radius, or within the box."""
    sphere = ball(48)
    size = meshes.voxel_size(sphere, side)
    assert size == pytest.approx(2 / side, rel=0.01)
    y, z, x = (np.indices((side,) * 3) + 0.5) * size
    middle = side * size / 2
    away = np.sqrt((x - middle) ** 2 + (y - 1) ** 2 + (z - middle) ** 2)
    found = meshes.solid(sphere, side)
    sure = np.abs(away - 1) > 0.02
    assert (found == (away < 1))[sure].all()
    assert found.sum() * size**3 == pytest.approx(4 / 3 * math.pi, rel=0.08)
    random = np.random.default_rng(1)
    turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    tilted = moved(meshes.parse_obj(CUBE, "box"), turn * [1.0, 2.0, 3.0], random.normal(size=3))
    size = meshes.voxel_size(tilted, side)
    low, high = tilted.corners.min(axis=0), tilted.corners.max(axis=0)
    room = (side * size - (high - low)) / 2
    room[1] = 0
    y, z, x = (np.indices((side,) * 3) + 0.5) * size
    at = np.stack([x, y, z], axis=-1) - room + low - tilted.corners[0]
    share = at @ turn / [1.0, 2.0, 3.0]
    off = np.abs(share - 0.5).max(axis=-1) - 0.5
    found = meshes.solid(tilted, side)
    sure = np.abs(off) > 0.05
    assert (found == (off < 0))[sure].all()
    assert 0 < found.sum() < side**3


def test_inside_out_or_nested_solids_are_solid() -> None:
    """The winding is then -1 or 2, not zero; a hollow ball keeps its hole."""
    sphere = ball(12)
    other = Mesh(sphere.corners, sphere.triangles[:, ::-1])
    np.testing.assert_array_equal(meshes.solid(sphere, 9), meshes.solid(other, 9))
    both = np.concatenate([sphere.corners, 0.6 * sphere.corners])
    count = len(sphere.corners)
    nested = Mesh(both, np.concatenate([sphere.triangles, sphere.triangles + count]))
    hollow = Mesh(both, np.concatenate([sphere.triangles, other.triangles + count]))
    np.testing.assert_array_equal(meshes.solid(sphere, 9), meshes.solid(nested, 9))
    hole = meshes.solid(hollow, 9)
    assert not hole[4, 4, 4]
    assert hole[1, 4, 4]
    assert meshes.filled(hole)[4, 4, 4]


def prism(outline: list[tuple[float, float]]) -> Mesh:
    """Return an upright prism over a triangle of (x, z), of height 1."""
    lines = [f"v {x} {y} {z}" for y in (0, 1) for x, z in outline]
    lines += ["f 1 2 3", "f 6 5 4", "f 1 4 5 2", "f 2 5 6 3", "f 3 6 4 1"]
    return meshes.parse_obj("\n".join(lines), "prism")


@pytest.mark.parametrize("side", [3, 4])
def test_a_wall_through_centres_belongs_to_one_side(side: int) -> None:
    """eq:vox-winding: two halves of a cube, cut along a diagonal, share no voxel and lack none."""
    for halves in (
        ([(0, 0), (1, 0), (0, 1)], [(1, 0), (1, 1), (0, 1)]),
        ([(0, 0), (1, 0), (1, 1)], [(0, 0), (1, 1), (0, 1)]),
    ):
        one, other = (meshes.solid(prism(outline), side) for outline in halves)
        assert (one ^ other).all()
        assert 0 < one.sum() < side**3


def test_what_lies_below_a_solid_is_outside() -> None:
    """A slab on a foot: its lower face is cut along one diagonal, its upper along the other."""
    slab, foot = meshes.parse_obj(CUBE, "slab"), meshes.parse_obj(CUBE, "foot")
    turned = slab.triangles.copy()
    upper = (slab.corners[turned][:, :, 1] == 1).all(axis=1)
    a, b, c, d = turned[upper][0][0], turned[upper][0][1], turned[upper][0][2], turned[upper][1][2]
    turned[upper] = [[b, c, d], [b, d, a]]
    assert meshes.open_edges(Mesh(slab.corners, turned)) == 0
    high = slab.corners * [1.0, 0.25, 1.0] + [0.0, 0.75, 0.0]
    corners = np.concatenate([high, foot.corners * [0.2, 0.75, 0.1]])
    found = meshes.solid(Mesh(corners, np.concatenate([turned, foot.triangles + 8])), 8)
    assert found[6:].all()
    assert not found[:6, 1:].any()
    assert found[:6, 0, 0].all()


def test_large_meshes_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few triangles at a time make the same solid and the same surface as all at once."""
    sphere, random = ball(6), np.random.default_rng(6)
    stairs = (np.arange(12)[:, None, None] + random.random((12, 3, 3))).reshape(36, 3)
    apart = Mesh(stairs, np.arange(36).reshape(12, 3))
    whole = meshes.solid(sphere, 7), meshes.surface(apart, 24)
    monkeypatch.setattr(meshes, "CHUNK", 5)
    np.testing.assert_array_equal(meshes.solid(sphere, 7), whole[0])
    np.testing.assert_array_equal(meshes.surface(apart, 24), whole[1])


def test_corners_go_to_the_nearest_place_of_the_lattice() -> None:
    """No further than half a step of 1/64 voxel, and a voxel's side leaves one at both ends."""
    random = np.random.default_rng(5)
    mesh = Mesh(random.normal(size=(40, 3)), np.arange(39).reshape(13, 3))
    unit = meshes.voxel_size(mesh, 6) / 128
    exact = (mesh.corners[:, 1] - mesh.corners[:, 1].min()) / unit
    found = meshes._on_lattice(mesh, 6, "x")
    assert np.abs(found[:, 1] - 1 - exact).max() < 1 + 1e-6
    assert (found % 2 == 1).all()
    assert meshes.voxel_size(meshes.parse_obj(CUBE, "cube"), 4) == pytest.approx(128 / 510)


def test_a_surface_that_meets_an_edge_touches() -> None:
    """A wall on a diagonal, through two voxels of four, meets the others in the middle."""
    for x in (0, 1):
        wall = f"v {x} 0 0\nv {1 - x} 0 1\nv {1 - x} 1 1\nv {x} 1 0\nf 1 2 3 4\nf 4 3 2 1\n"
        assert meshes.surface(meshes.parse_obj(wall, "wall"), 2).all()


def apart(triangle: np.ndarray, middle: np.ndarray, half: float) -> float:
    """Return how far a cube must grow to meet a triangle, by linear programming."""
    # weights of the corners, and the slack that is wanted beyond half
    rows = np.concatenate([triangle.T, -triangle.T])
    limits = half + np.concatenate([middle, -middle])
    found = linprog(
        [0, 0, 0, 1],
        A_ub=np.concatenate([rows, -np.ones((6, 1))], axis=1),
        b_ub=limits,
        A_eq=[[1, 1, 1, 0]],
        b_eq=[1],
        bounds=[(0, 1)] * 3 + [(None, None)],
    )
    return float(found.fun)


def test_surfaces_are_the_cubes_that_linear_programming_finds() -> None:
    """A point in both the triangle and the cube exists, or none does, for every cube."""
    random = np.random.default_rng(3)
    side, counted = 4, []
    for _ in range(5):
        corners = random.normal(size=(3, 3))
        mesh = Mesh(corners, np.array([[0, 1, 2]]))
        size = meshes.voxel_size(mesh, side)
        low = corners.min(axis=0)
        room = (side * size - (corners.max(axis=0) - low)) / 2
        room[1] = 0
        found = meshes.surface(mesh, side)
        for place in itertools.product(range(side), repeat=3):
            x, y, z = place
            gap = apart(corners - low + room, (np.array(place) + 0.5) * size, size / 2)
            if abs(gap) > 0.02 * size:
                assert found[y, z, x] == (gap < 0), (place, gap / size)
                counted.append(gap < 0)
    assert 20 < sum(counted) < len(counted) - 20


def test_filling_is_what_scipy_fills() -> None:
    """Holes that no path through faces leads to; a gap lets the air in."""
    random = np.random.default_rng(4)
    for share in (0.5, 0.8, 0.9):
        walls = random.random((9, 9, 9)) < share
        expected = ndimage.binary_fill_holes(walls)
        np.testing.assert_array_equal(meshes.filled(walls), expected)
        assert expected.sum() > walls.sum()
    room = np.ones((5, 5, 5), bool)
    room[1:4, 1:4, 1:4] = False
    assert meshes.filled(room).all()
    room[4, 2, 2] = False
    assert not meshes.filled(room)[2, 2, 2]


def test_where_a_mesh_stands() -> None:
    """On the floor, in the middle; its longest extent fills the box; axes are up, deep, wide."""
    corner = meshes.parse_obj(TETRAHEDRON, "x")
    flat = moved(corner, np.diag([4.0, 0.9, 1.9]), np.array([7.0, -3.0, 1.0]))
    y, z, x = np.nonzero(meshes.surface(flat, 8))
    assert (x.min(), x.max()) == (0, 7)
    assert (y.min(), y.max()) == (0, 1)
    assert (z.min(), z.max()) == (2, 5)


def test_closed_and_open_meshes() -> None:
    """A missing or turned face leaves open edges; corners at one place count as one."""
    cube = meshes.parse_obj(CUBE, "cube")
    assert meshes.open_edges(cube) == 0
    assert meshes.open_edges(Mesh(cube.corners, cube.triangles[1:])) == 3
    turned = cube.triangles.copy()
    turned[0] = turned[0][::-1]
    assert meshes.open_edges(Mesh(cube.corners, turned)) == 6
    soup = Mesh(cube.corners[cube.triangles.reshape(-1)], np.arange(36).reshape(12, 3))
    assert meshes.open_edges(soup) == 0
    np.testing.assert_array_equal(meshes.solid(soup, 4), meshes.solid(cube, 4))


def test_an_obj_file_is_read() -> None:
    """Fans, slashes, corners counted from the last one, words that are not used."""
    text = "# x\no thing\nv 0 0 0 1\nv 1 0 0\nvn 0 0 1\nv 1 1 0\nv 0 1 0.5\nf 1/2/3 2//1 3 -1\n"
    found = meshes.parse_obj(text, "x.obj")
    np.testing.assert_array_equal(found.triangles, [[0, 1, 2], [0, 2, 3]])
    np.testing.assert_array_equal(found.corners, [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.5]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x.obj has 0 corners and 0 triangles"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\n", "x.obj has 3 corners and 0 triangles"),
        ("v 0 0\n", r"x.obj, line 1, 'v 0 0': a corner needs three finite"),
        ("v 0 0 nan\n", r"x.obj, line 1.*three finite"),
        ("v" + 40 * " x" + "\n", r"x.obj, line 1, 'v( x){19} ': could not convert"),
        ("v 0 0 zero\n", r"x.obj, line 1.*could not convert"),
        (
            "v 0 0 0\nv 1 0 0\nf 1 2\n",
            r"x.obj, line 3, 'f 1 2': a face needs three corners, has 2",
        ),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 4\n", r"x.obj, line 4.*not among the 3 so far"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 0 1 2\n", r"x.obj, line 4.*not among the 3 so far"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf -4 1 2\n", r"x.obj, line 4.*not among the 3 so far"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf a b c\n", r"x.obj, line 4.*invalid literal"),
    ],
)
def test_broken_files_are_named(text: str, message: str) -> None:
    """With the line, and what is wrong with it."""
    with pytest.raises(ValueError, match=message):
        meshes.parse_obj(text, "x.obj")


def test_meshes_without_volume_are_refused() -> None:
    """An open one, a flat one, a point; the message names the file."""
    cube = meshes.parse_obj(CUBE, "cube")
    with pytest.raises(ValueError, match=r"chair.obj is not closed: 3 edges have no neighbour"):
        meshes.solid(Mesh(cube.corners, cube.triangles[1:]), 4, "chair.obj")
    flat = moved(cube, np.diag([1.0, 0.0, 1.0]), np.zeros(3))
    with pytest.raises(ValueError, match=r"chair.obj has no volume: no centre of 4\^3"):
        meshes.solid(flat, 4, "chair.obj")
    point = moved(cube, np.zeros((3, 3)), np.ones(3))
    for function in (meshes.solid, meshes.surface, meshes.voxel_size):
        with pytest.raises(ValueError, match=r"chair.obj has no volume: all its corners"):
            function(point, 4, "chair.obj")
    with pytest.raises(ValueError, match="a box needs voxels, got side 0"):
        meshes.voxel_size(cube, 0)
