"""Proof for litgen/segmentation/upsampling.py: torch's interpolation, loops, ramps, borders."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from litgen.segmentation.upsampling import (
    bilinear_kernel,
    margin,
    painted,
    tent_matrix,
    upsample,
)
from tests.oracles import between_neighbours, painted_tents

FACTORS = [1, 2, 3, 4, 5, 8, 16]


def some(*shape: int) -> Tensor:
    """Return seeded numbers in double precision."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.mark.parametrize("factor", FACTORS)
def test_the_tent_is_what_interpolation_paints_for_one_unit(factor: int) -> None:
    """eq:fcn-tent: torch's interpolation of a single lit unit, far from the border."""
    lit = torch.zeros(1, 1, 7, dtype=torch.float64)
    lit[0, 0, 3] = 1
    found = F.interpolate(lit, scale_factor=factor, mode="linear", align_corners=False)[0, 0]
    torch.testing.assert_close(bilinear_kernel(factor), found[found > 0], rtol=0, atol=1e-14)
    start = 3 * factor - margin(factor)
    assert int(found.nonzero()[0]) == start + (factor == 1) * 0


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("shape", [(2, 3, 4, 6), (1, 2, 1, 5)])
def test_three_ways_to_upsample_are_one(factor: int, shape: tuple[int, ...]) -> None:
    """eq:fcn-upsampling, eq:fcn-matrix: the sum of tents, written as loops; a transposed
    convolution; the product of two matrices."""
    x = some(*shape)
    tent = bilinear_kernel(factor)
    expected = painted_tents(x, factor)
    torch.testing.assert_close(upsample(x, factor), expected, rtol=0, atol=1e-13)
    torch.testing.assert_close(
        painted(x, torch.outer(tent, tent), factor), expected, rtol=0, atol=1e-13
    )
    assert expected.shape[2:] == (shape[2] * factor, shape[3] * factor)
    assert expected.std() > 0.1


@pytest.mark.parametrize("factor", FACTORS)
def test_away_from_the_border_it_is_bilinear_interpolation(factor: int) -> None:
    """eq:fcn-upsampling: exactly, from half a unit inside; outside that it differs, except for
    factor 1."""
    x = some(2, 3, 5, 6)
    found = upsample(x, factor)
    expected = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    torch.testing.assert_close(expected, between_neighbours(x, factor), rtol=0, atol=1e-13)
    m = margin(factor)
    inside = (..., slice(m, 5 * factor - m), slice(m, 6 * factor - m))
    torch.testing.assert_close(found[inside], expected[inside], rtol=0, atol=1e-13)
    differs = (found - expected).abs() > 1e-9
    rows = differs.any(dim=3).any(dim=0).any(dim=0)
    assert rows[:m].all()
    assert rows[len(rows) - m :].all()
    assert bool(differs.any()) == (factor > 1)


@pytest.mark.parametrize("factor", FACTORS)
def test_tents_add_up_to_one_and_ramps_stay_ramps(factor: int) -> None:
    """eq:fcn-unity, eq:fcn-ramp: constants and linear maps come back, on the finer pixels."""
    n, m = 6, margin(factor)
    unit = torch.arange(n, dtype=torch.float64)
    pixel = (torch.arange(n * factor, dtype=torch.float64) + 0.5) / factor - 0.5
    ramp = 2 * unit[:, None] - 3 * unit[None] + 0.7
    found = upsample(torch.stack([torch.ones(n, n, dtype=torch.float64), ramp])[None], factor)[0]
    expected = 2 * pixel[:, None] - 3 * pixel[None] + 0.7
    inside = (slice(m, n * factor - m), slice(m, n * factor - m))
    torch.testing.assert_close(
        found[0][inside], torch.ones_like(expected)[inside], rtol=0, atol=1e-12
    )
    torch.testing.assert_close(found[1][inside], expected[inside], rtol=0, atol=1e-12)


@pytest.mark.parametrize("factor", FACTORS)
def test_at_the_border_values_fade_and_their_order_stays(factor: int) -> None:
    """eq:fcn-border: the outer pixels are interpolation's times a factor that channels share."""
    x = some(2, 4, 3, 5)
    found = upsample(x, factor)
    plain = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    fade = upsample(torch.ones(1, 1, 3, 5, dtype=torch.float64), factor)
    torch.testing.assert_close(found, plain * fade, rtol=0, atol=1e-13)
    assert torch.equal(found.argmax(dim=1), plain.argmax(dim=1))
    m = margin(factor)
    outer = [0.5 + (r + 0.5) / factor for r in range(m)]
    middle = fade[0, 0, :, 2 * factor]
    assert middle[:m].tolist() == pytest.approx(outer)
    assert middle.flip(0)[:m].tolist() == pytest.approx(outer)


def test_bad_factors_and_kernels_are_refused() -> None:
    """The message names what is wrong."""
    for call in (lambda: bilinear_kernel(0), lambda: upsample(some(1, 1, 2, 2), -1)):
        with pytest.raises(ValueError, match="factor of an upsampling must be positive"):
            call()
    with pytest.raises(ValueError, match="factor 4 takes 8 taps, the kernel has 7"):
        painted(some(1, 1, 2, 2), some(7, 7), 4)
    assert tent_matrix(3, 2).shape == (6, 3)
