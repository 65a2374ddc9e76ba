"""Proof for litgen/gan/voxel_scores.py: sets of places, scipy's labels, scikit-learn's ridge."""

import inspect

import numpy as np
import pytest
import torch
from scipy import ndimage
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from litgen.gan import voxel_scores


def blobs(count: int, share: float = 0.4, seed: int = 0) -> torch.Tensor:
    """Return random objects of 4x5x3 voxels."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 4, 5, 3, generator=generator) < share


def places(volume: torch.Tensor) -> set[tuple[int, ...]]:
    """Return the places that are filled."""
    return {tuple(row) for row in volume.nonzero().tolist()}


def test_overlap_is_that_of_sets() -> None:
    """eq:vox-overlap: intersection over union, place by place; empty ones are alike."""
    a, b = blobs(4), blobs(3, 0.6, seed=1)
    b[2] = False
    found = voxel_scores.overlap(a, b)
    for i in range(4):
        for j in range(3):
            left, right = places(a[i]), places(b[j])
            assert found[i, j].item() == pytest.approx(len(left & right) / len(left | right))
    assert found.std() > 0.05
    assert voxel_scores.overlap(b[2:], b[2:]).item() == 1
    assert torch.equal(voxel_scores.overlap(a, a).diagonal(), torch.ones(4))
    single = torch.zeros(1, 4, 5, 3, dtype=torch.bool)
    single[0, 1, 2, 0] = True
    assert voxel_scores.overlap(single, single).item() == 1
    with pytest.raises(ValueError, match=r"objects of \(4, 5, 3\) and of \(4, 5, 2\) voxels"):
        inspect.unwrap(voxel_scores.overlap)(a, b[..., :2])


def test_nearest_is_the_largest_overlap() -> None:
    """For more objects than go at a time; an object is its own nearest."""
    known = blobs(300)
    found = voxel_scores.nearest(known, known)
    assert torch.equal(found.which, torch.arange(300))
    assert (found.overlap == 1).all()
    fresh = blobs(7, seed=3)
    like, which = voxel_scores.nearest(fresh, known)
    for i in range(7):
        all_of_them = [voxel_scores.overlap(fresh[i : i + 1], k[None]).item() for k in known]
        assert like[i].item() == max(all_of_them)
        assert all_of_them[int(which[i])] == max(all_of_them)
    with pytest.raises(ValueError, match="no known objects"):
        voxel_scores.nearest(fresh, known[:0])


def test_pieces_are_scipys() -> None:
    """Parts joined by faces; nothing has none; corners do not join."""
    counts = set()
    for share in (0.15, 0.3, 0.7):
        for volume in blobs(5, share):
            expected = ndimage.label(volume.numpy())[1]
            assert voxel_scores.pieces(volume) == expected
            counts.add(expected)
    assert len(counts) > 3
    assert voxel_scores.pieces(torch.zeros(2, 2, 2, dtype=torch.bool)) == 0
    corners = torch.zeros(2, 2, 2, dtype=torch.bool)
    corners[0, 0, 0] = corners[1, 1, 1] = True
    assert voxel_scores.pieces(corners) == 2


def test_a_direction_is_a_difference_of_means() -> None:
    """eq:vox-direction: by hand; all or none have no direction."""
    z = torch.tensor([[1.0, 2.0], [3.0, 8.0], [5.0, 1.0]])
    found = voxel_scores.direction(z, torch.tensor([True, False, True]))
    torch.testing.assert_close(found, torch.tensor([0.0, -6.5]))
    for has in ([True] * 3, [False] * 3):
        with pytest.raises(ValueError, match="no two means to compare"):
            voxel_scores.direction(z, torch.tensor(has))


@pytest.mark.parametrize("ridge", [0.1, 2.0])
def test_the_probe_is_scikit_learns_ridge(ridge: float) -> None:
    """eq:vox-probe: the same on standardised features, where the ridge counts features."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(30, 50, generator=generator, dtype=torch.float64)
    x = x * torch.linspace(3, 0.1, 50) + 1
    fresh = torch.randn(8, 50, generator=generator, dtype=torch.float64)
    y = x[:, :2] * torch.tensor([1.0, -2.0]).double() + 5
    found = voxel_scores.linear_probe(x, y, fresh, ridge)
    scaler = StandardScaler().fit(x.numpy())
    judge = Ridge(alpha=ridge * 50).fit(scaler.transform(x.numpy()), y.numpy())
    np.testing.assert_allclose(found.numpy(), judge.predict(scaler.transform(fresh.numpy())))
    assert found.std() > 0.5
    by_default = voxel_scores.linear_probe(x, y, fresh)
    torch.testing.assert_close(by_default, voxel_scores.linear_probe(x, y, fresh, 1.0))


def test_a_probe_needs_examples_and_a_ridge() -> None:
    """A feature that never varies does no harm."""
    x, y = torch.eye(3), torch.ones(3, 1)
    assert (
        voxel_scores.linear_probe(torch.cat([x, y], dim=1), y, torch.ones(2, 4)).isfinite().all()
    )
    with pytest.raises(ValueError, match="needs examples and a positive ridge"):
        voxel_scores.linear_probe(x, y, x, ridge=0.0)
    with pytest.raises(ValueError, match="needs examples and a positive ridge"):
        voxel_scores.linear_probe(x[:0], y[:0], x)
