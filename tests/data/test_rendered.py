"""Proof for litgen/data/rendered.py: closed forms of ellipsoids, symmetry, marching."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from litgen.data import rendered, sources
from litgen.data.rendered import Solid, head, light_direction, pose, shaded


def f64(*values: float) -> Tensor:
    """Return numbers in double precision."""
    return torch.tensor(values, dtype=torch.float64)


def ball(radii: tuple[float, float, float], centre: tuple[float, ...] = (0, 0, 0)) -> Solid:
    """Return one white ellipsoid."""
    return Solid(f64(*centre).view(1, 1, 3), f64(*radii).view(1, 1, 3), f64(1.0))


def window(rays: int) -> tuple[Tensor, Tensor]:
    """Return x and y of each ray: 2.4 wide, x to the right, y up."""
    axis = -1.2 + 2.4 * (torch.arange(rays).double() + 0.5) / rays
    return axis.expand(rays, rays), axis.flip(0)[:, None].expand(rays, rays)


def test_a_pose_turns_the_front_to_the_right_and_then_up() -> None:
    """eq:dcign-pose: products of two rotations by hand, and where the front goes."""
    for azimuth, elevation in ((30.0, 0.0), (0.0, 40.0), (-50.0, 20.0), (70.0, -35.0)):
        a, e = math.radians(azimuth), math.radians(elevation)
        about_y = np.array(
            [[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]]
        )
        about_x = np.array(
            [[1, 0, 0], [0, math.cos(e), math.sin(e)], [0, -math.sin(e), math.cos(e)]]
        )
        found = pose(f64(azimuth), f64(elevation))[0].numpy()
        np.testing.assert_allclose(found, about_x @ about_y, atol=2e-6)
        assert np.linalg.det(found) == pytest.approx(1, abs=1e-5)
    front = torch.tensor([0.0, 0.0, 1.0]).double()
    assert (pose(f64(30.0), f64(0.0))[0] @ front)[0] > 0.4
    assert (pose(f64(0.0), f64(30.0))[0] @ front)[1] > 0.4


def test_the_lamp_goes_round_to_the_right_at_its_height() -> None:
    """Unit vectors; 25 degrees above the horizon; x is the sine of the angle."""
    lamp = light_direction(f64(-80.0, 0.0, 35.0))
    torch.testing.assert_close(lamp.norm(dim=1), torch.ones(3).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        lamp[:, 1], torch.full((3,), math.sin(math.radians(25))).double(), atol=1e-6, rtol=0
    )
    bearing = torch.atan2(lamp[:, 0], lamp[:, 2]) * (180 / math.pi)
    torch.testing.assert_close(bearing, f64(-80.0, 0.0, 35.0), atol=1e-3, rtol=0)


def test_a_sphere_is_a_disc_shaded_by_lambert() -> None:
    """eq:dcign-hit and eq:dcign-lambert: 0.35 + 0.65 max(0, n.l) inside its radius, else 0."""
    rendered_ambient = 0.35
    x, y = window(60)
    r, turn = 0.8, pose(f64(33.0), f64(-20.0))
    for angle in (-60.0, 0.0, 45.0):
        lamp = light_direction(f64(angle))
        found = shaded(ball((r, r, r), centre=(0, 0, 0)), turn, lamp, 60)[0]
        inside = x**2 + y**2 < r**2
        z = (r**2 - x**2 - y**2).clamp(min=0).sqrt()
        cosine = (x * lamp[0, 0] + y * lamp[0, 1] + z * lamp[0, 2]) / r
        expected = torch.where(
            inside, rendered_ambient + (1 - rendered_ambient) * cosine.clamp(min=0), 0
        )
        torch.testing.assert_close(found, expected.double(), atol=1e-5, rtol=0)
        assert found.std() > 0.1
    assert (found > 0).double().mean().item() * 2.4**2 == pytest.approx(math.pi * r**2, rel=0.01)


def test_an_ellipsoids_shadow_has_the_known_area_in_every_pose() -> None:
    """pi sqrt((bc n1)^2 + (ca n2)^2 + (ab n3)^2), n being the view in the solid's frame."""
    a, b, c = 0.4, 0.9, 0.7
    areas = []
    for azimuth, elevation in ((0.0, 0.0), (90.0, 0.0), (0.0, 80.0), (40.0, -30.0)):
        turn = pose(f64(azimuth), f64(elevation))
        found = (
            shaded(ball((a, b, c)), turn, light_direction(f64(0.0)), 240) > 0
        ).double().mean() * 2.4**2
        n = turn[0, 2].tolist()
        expected = math.pi * math.sqrt(
            (b * c * n[0]) ** 2 + (c * a * n[1]) ** 2 + (a * b * n[2]) ** 2
        )
        assert found.item() == pytest.approx(expected, rel=0.005)
        areas.append(expected)
    assert max(areas) > 1.3 * min(areas)


def test_rays_find_what_marching_finds() -> None:
    """eq:dcign-hit: walk along each ray in small steps; normals by differences."""
    turn, lamp = pose(f64(35.0), f64(15.0)), light_direction(f64(-30.0))
    solid = head(f64(0.4))
    found = shaded(solid, turn, lamp, 24)[0]
    x, y = window(24)
    z = torch.linspace(1.3, -1.3, 2601, dtype=torch.float64)
    points = torch.stack(
        [
            x[..., None].expand(-1, -1, len(z)),
            y[..., None].expand(-1, -1, len(z)),
            z.expand(24, 24, -1),
        ],
        dim=-1,
    )

    def fields(p: Tensor) -> Tensor:
        own = p @ turn[0]  # R^T p, written for rows
        return (((own[..., None, :] - solid.centre[0]) / solid.radii[0]) ** 2).sum(dim=-1) - 1

    values = fields(points)
    inside = (values < 0).any(dim=-1)
    first = inside.double().argmax(dim=-1)
    checked = 0
    for row in range(24):
        for column in range(24):
            if not inside[row, column].any():
                continue
            at = points[row, column, first[row, column]]
            inner = values[row, column, first[row, column]]
            part = int(inner.argmin())
            nudges = 1e-5 * torch.eye(3).double()
            normal = torch.stack([fields(at + e)[part] - fields(at - e)[part] for e in nudges])
            cosine = (normal @ lamp[0] / normal.norm()).clamp(min=0)
            expected = solid.albedo[part] * (0.35 + 0.65 * cosine)
            checked += abs(expected.item() - found[row, column].item()) < 0.03
    hits = int((found > 0).sum())
    assert hits > 150
    assert checked >= 0.95 * hits  # edges may fall to a neighbour
    assert abs(int(inside.any(dim=-1).sum()) - hits) <= 4


def test_turning_head_and_lamp_together_moves_the_viewer_only() -> None:
    """A point seen in both views is equally bright: its normal and the lamp turn together."""
    solid, azimuth = ball((0.6, 0.8, 0.7)), 25.0
    views = []
    for turned in (0.0, azimuth):
        turn = pose(f64(10.0 + turned), f64(0.0))
        views.append(shaded(solid, turn, light_direction(f64(-20.0 + turned)), 241)[0])
    start, way = pose(f64(10.0), f64(0.0))[0], pose(f64(10.0 + azimuth), f64(0.0))[0]
    compared = []
    for u, v in ((0.0, 0.1), (0.3, 0.4), (-0.2, 0.2), (0.1, -0.5)):
        direction = torch.tensor([u, v, 0.8]).double()
        own = direction @ start  # in the solid's frame
        on = own / (own / solid.radii[0, 0]).norm()
        brightness = []
        for image, rotation in zip(views, (start, way), strict=True):
            p = rotation @ on
            column, row = (p[0] + 1.2) / 2.4 * 241 - 0.5, (1.2 - p[1]) / 2.4 * 241 - 0.5
            brightness.append(image[round(row.item()), round(column.item())].item())
        assert brightness[0] == pytest.approx(brightness[1], abs=0.01)
        compared.append(brightness[0])
    assert max(compared) - min(compared) > 0.05


def test_the_mirror_turns_azimuth_and_lamp_round() -> None:
    """Heads are alike on both sides; elevation and shape stay."""
    factors = torch.tensor([[0.7, -0.4, 0.5, 0.3], [-0.2, 0.9, -1.0, -0.8]])
    mirrored = factors * torch.tensor([-1, 1, -1, 1])
    one, other = rendered.render(factors).double(), rendered.render(mirrored).double().flip(-1)
    assert (one - other).abs().mean() < 0.2
    assert (one - one.flip(-1)).abs().mean() > 5


def test_each_factor_does_what_its_name_says() -> None:
    """Azimuth moves the nose right, elevation up; light brightens the right, shape widens."""
    low, high = (rendered.render(v * torch.eye(4)).double()[:, 0] for v in (-0.8, 0.8))

    def nose(image: Tensor) -> tuple[float, float]:
        bright = (image > 190).double()
        rows, columns = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
        return ((bright * columns).sum() / bright.sum()).item(), (
            (bright * rows).sum() / bright.sum()
        ).item()

    assert nose(high[0])[0] > nose(low[0])[0] + 3
    assert nose(high[1])[1] < nose(low[1])[1] - 0.4
    right = [im[:, 14:].sum() / im.sum() for im in (low[2], high[2])]
    assert right[1] > right[0] + 0.2
    widths = [(im > 0).any(dim=0).sum() for im in (low[3], high[3])]
    assert widths[1] >= widths[0] + 4


def test_a_pixel_is_the_mean_of_four_rays_in_grey_levels() -> None:
    """By average pooling of the fine picture; nothing but the head is lit."""
    factors = torch.tensor([[0.3, -0.2, 0.4, 0.1]])
    f = (factors[0] * torch.tensor(rendered.LIMITS)).double()
    fine = shaded(head(f[3:]), pose(f[:1], f[1:2]), light_direction(f[2:3]), 56)
    expected = torch.nn.functional.avg_pool2d(fine[:, None], 2) * 255
    found = rendered.render(factors)
    assert (
        (found.double() - expected).abs() > 0.51
    ).sum() <= 2  # rays at an edge, in single precision
    assert found[0, 0, 0].sum() == 0
    assert rendered.render(torch.zeros(0, 4)).shape == (0, 1, 28, 28)
    whole = rendered.render(factors, (0.0, 0.0, 0.0, 0.0))
    assert torch.equal(whole, rendered.render(torch.zeros(1, 4)))


def test_clamped_factors_vary_one_at_a_time() -> None:
    """In a batch the named factor spreads evenly over [-1, 1], the others have one value."""
    varied = torch.tensor([2, 0, 3, 1] * 30)
    factors = rendered.clamped_factors(varied, np.random.default_rng(0)).view(120, 32, 4)
    spread = factors.std(dim=1)
    for batch, which in enumerate(varied.tolist()):
        assert spread[batch, which] > 0.3
        assert spread[batch].argsort(descending=True)[0] == which
        assert (spread[batch][torch.arange(4) != which] == 0).all()
    assert factors.abs().max() <= 1
    active = torch.stack([factors[b, :, w] for b, w in enumerate(varied.tolist())])
    assert abs(active.mean().item()) < 0.05
    assert active.var().item() == pytest.approx(1 / 3, rel=0.05)
    assert factors[:, 0].var(dim=0).min() > 0.2
    with pytest.raises(ValueError, match="numbered 0 to 3"):
        rendered.clamped_factors(torch.tensor([0, 4]), np.random.default_rng(0))


def test_bad_scenes_are_refused() -> None:
    """Other than four factors; other numbers of solids, turns and lights."""
    with pytest.raises(ValueError, match=r"\(2, 3\), expected \(count, 4\)"):
        getattr(rendered.render, "__wrapped__", rendered.render)(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="1 solids, 2 turns and 1 lights"):
        getattr(shaded, "__wrapped__", shaded)(
            ball((1, 1, 1)), torch.eye(3).double().expand(2, 3, 3), f64(0, 0, 1)[None]
        )


def test_the_test_set_is_the_published_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its checksum, counts and range; a machine that renders otherwise is told so."""
    found = rendered.load("test")
    assert found.images.shape == (1000, 1, 28, 28)
    assert found.factors.shape == (1000, 4)
    assert found.record.checksum == rendered.CHECKSUM["test"]
    assert "1,000 rendered heads" in found.describe()
    assert len(found.varied) == 0
    assert torch.equal(rendered.render(found.factors[:40]), found.images[:40])
    assert np.abs(np.corrcoef(found.factors.T.numpy()) - np.eye(4)).max() < 0.12
    monkeypatch.setitem(rendered.CHECKSUM, "test", "0" * 64)
    with pytest.raises(sources.WrongBytes, match="expected 000"):
        rendered.load("test")
