"""Proof for litgen/autoencoders/fill_scores.py: loops, scikit-learn, data with a known reader."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from litgen.autoencoders import fill_scores


def test_psnr_by_hand() -> None:
    """eq:ctx-psnr: an error of 0.2 everywhere in colours from -1 to 1 is 20 dB."""
    x = torch.rand(3, 2, 4, 4, dtype=torch.float64)
    assert fill_scores.psnr(x, x + 0.2).item() == pytest.approx(20)
    uneven = x.clone()
    uneven[0] += 1.0  # a third of all pixels
    assert fill_scores.psnr(x, uneven).item() == pytest.approx(10 * math.log10(12))
    assert fill_scores.psnr(x, x + 0.2, peak=1.0).item() == pytest.approx(20 - 20 * math.log10(2))


def test_edges_are_differences_of_neighbours() -> None:
    """eq:ctx-edges, pair by pair; a flat image has none."""
    x = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    beside, above = [], []
    for image in x.reshape(-1, 4, 5).tolist():
        for r in range(4):
            for c in range(5):
                if c < 4:
                    beside.append((image[r][c + 1] - image[r][c]) ** 2)
                if r < 3:
                    above.append((image[r + 1][c] - image[r][c]) ** 2)
    expected = (sum(beside) / len(beside) + sum(above) / len(above)) / 2
    assert fill_scores.edge_energy(x).item() == pytest.approx(expected)
    assert fill_scores.edge_energy(torch.ones(1, 1, 3, 3)).item() == 0


def test_the_seam_is_where_the_hole_ends() -> None:
    """eq:ctx-seam, by a loop over all pairs of neighbours; changes elsewhere do nothing."""
    x = torch.randn(2, 3, 5, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    hole = torch.zeros(5, 6, dtype=torch.bool)
    hole[1:3, 2:6] = True
    pairs = []
    for image in x.reshape(-1, 5, 6).tolist():
        for r in range(5):
            for c in range(6):
                for down, right in ((1, 0), (0, 1)):
                    i, j = r + down, c + right
                    if i < 5 and j < 6 and bool(hole[r, c]) != bool(hole[i, j]):
                        pairs.append((image[r][c] - image[i][j]) ** 2)
    assert fill_scores.seam(x, hole).item() == pytest.approx(sum(pairs) / len(pairs))
    x[..., 4, 0] += 9
    assert fill_scores.seam(x, hole).item() == pytest.approx(sum(pairs) / len(pairs))
    assert fill_scores.seam(x, ~hole).item() == pytest.approx(sum(pairs) / len(pairs))
    with pytest.raises(ValueError, match="with an edge"):
        fill_scores.seam(x, torch.zeros_like(hole))


def test_the_spread_is_over_images_not_within() -> None:
    """The variance of each pixel over the images, as numpy has it."""
    x = torch.randn(7, 2, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert fill_scores.spread(x).item() == pytest.approx(np.var(x.numpy(), axis=0).mean())
    assert fill_scores.spread(x[:1].expand(5, -1, -1, -1)).item() == pytest.approx(0)


@pytest.mark.parametrize("count", [30, 200])
def test_the_probe_is_ridge_regression(count: int) -> None:
    """eq:ctx-probe: scikit-learn's answers, with more features than examples and with fewer."""
    random = np.random.default_rng(0)
    features = random.normal(size=(count, 60)) * random.uniform(0.1, 5, 60) + 3
    features[:, 7] = 1.5  # says nothing
    has = (features[:, :3] + 2 * random.normal(size=(count, 3))) > 3.5
    unseen = random.normal(size=(400, 60)) * 2 + 3
    sd = features.std(axis=0)
    kept = sd > 1e-9
    scaled = ((features - features.mean(0)) / np.where(kept, sd, 1))[:, kept]
    judge = Ridge(alpha=0.05 * count * 59 / 60).fit(scaled, 2.0 * has - 1)
    others = ((unseen - features.mean(0)) / np.where(kept, sd, 1))[:, kept]
    found = fill_scores.linear_probe(
        torch.from_numpy(features), torch.from_numpy(has), torch.from_numpy(unseen), ridge=0.05
    )
    expected = judge.predict(others) > 0
    assert np.array_equal(found.numpy(), expected)
    assert 0.1 < expected.mean() < 0.9


@pytest.mark.usefixtures("unchecked")
def test_what_does_not_fit_is_refused() -> None:
    """Fills of another shape, labels of another number, features of other dimensions."""
    x = torch.rand(3, 2, 4, 4)
    with pytest.raises(ValueError, match="differ in shape"):
        fill_scores.psnr(x, x[:1])
    for labels, dims in ((2, 2), (3, 4)):
        with pytest.raises(ValueError, match="do not fit"):
            fill_scores.linear_probe(
                torch.zeros(3, 2), torch.zeros(labels, 1).bool(), torch.zeros(5, dims)
            )
