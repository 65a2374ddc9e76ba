"""Proof for litgen/autoencoders/holes.py: double loops, scipy's balls, known densities."""

import math

import pytest
import torch
from scipy.spatial import KDTree

from litgen.autoencoders import holes


def points(count: int, dims: int, seed: int) -> torch.Tensor:
    """Return points that lie nowhere special."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dims, generator=generator, dtype=torch.float64) + 1


def test_nearest_distance_is_that_of_a_double_loop() -> None:
    """eq:ae-nearest: the root of the least sum of squares, in blocks of any size."""
    x, data = points(7, 5, 0), points(23, 5, 1)
    expected = [min(math.dist(p, q) for q in data.tolist()) for p in x.tolist()]
    for block in (2, 500):
        found = holes.nearest_distance(x, data, block)
        assert found.tolist() == pytest.approx(expected)
    assert torch.tensor(expected).std() > 0
    assert holes.nearest_distance(data, data).max() < 1e-12
    with pytest.raises(ValueError, match=r"points \(7, 5\), data \(0, 5\)"):
        holes.nearest_distance(x, data[:0])


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_crowding_counts_codes_in_a_ball(dims: int) -> None:
    """eq:ae-crowding: k of n codes in the ball that reaches to scipy's k-th neighbour."""
    z, codes, k = points(6, dims, 0), points(50, dims, 1), 4
    radius = KDTree(codes.numpy()).query(z.numpy(), k=k)[0][:, -1]
    ball = {1: 2 * radius, 2: math.pi * radius**2, 3: 4 / 3 * math.pi * radius**3}[dims]
    expected = [math.log(k / 50 / volume) for volume in ball]
    assert holes.crowding(z, codes, k).tolist() == pytest.approx(expected)


def test_crowding_of_a_uniform_square_is_its_density() -> None:
    """10,000 codes on a square of side 3: the density inside is 1/9."""
    generator = torch.Generator().manual_seed(0)
    codes = 3 * torch.rand(10_000, 2, generator=generator, dtype=torch.float64)
    z = 0.5 + 2 * torch.rand(200, 2, generator=generator, dtype=torch.float64)
    found = holes.crowding(z, codes, 50).exp().mean().item()
    assert found == pytest.approx(1 / 9, rel=0.06)
    with pytest.raises(ValueError, match="k is 0"):
        holes.crowding(z, codes, 0)
    with pytest.raises(ValueError, match="k is 10001"):
        holes.crowding(z, codes, 10_001)


def test_return_distance_of_a_projection() -> None:
    """eq:cae-return: a decoder that flattens one coordinate loses just that one."""
    z = points(9, 2, 3)

    def decode(z: torch.Tensor) -> torch.Tensor:
        return z[:, :1] * torch.tensor([[2.0, 0.0, 1.0]], dtype=z.dtype)

    def encode(x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x[:, 2], x[:, 1]], dim=1)

    torch.testing.assert_close(holes.return_distance(z, encode, decode), z[:, 1].abs())
