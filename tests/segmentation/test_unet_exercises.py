"""Proof for the exercises of book/segmentation/unet.md; they use litgen/segmentation/tiles.py."""

import math

import numpy as np
import pytest
import torch

from litgen.segmentation import tiles, unet


def image_side_for(answer: int, levels: int = 5) -> int:
    """Return the smallest side of an image whose answer has at least this side."""
    return tiles.fitting(answer + 2 * tiles.margin(levels), levels)


def best_probability(share: float, cell: float, ground: float) -> float:
    """Return the probability that minimises the weighted loss, by gradient descent on a logit."""
    logit = torch.zeros((), dtype=torch.float64, requires_grad=True)
    for _ in range(300):
        p = torch.sigmoid(logit)
        loss = -cell * share * p.log() - ground * (1 - share) * (1 - p).log()
        (slope,) = torch.autograd.grad(loss, logit)
        logit = (logit - 2 * slope).detach().requires_grad_()
    return torch.sigmoid(logit).item()


def work_of_tiles(tile: float, edge: float) -> float:
    """Return how many pixels are computed for each one that is kept."""
    return (1 + 2 * edge / tile) ** 2


def standard_error(share: float, count: int) -> float:
    """Return the standard deviation of a share of independent cases."""
    return math.sqrt(share * (1 - share) / count)


@pytest.mark.parametrize("answer", [1, 100, 387, 388, 389, 500])
def test_the_image_is_the_smallest_that_answers(answer: int) -> None:
    """eq:unet-valid, eq:unet-margin, eq:unet-fitting: smaller sides give less or fail."""
    side = image_side_for(answer)
    assert unet.valid_side(side, 5) >= answer
    for smaller in range(side - 40, side):
        try:
            assert unet.valid_side(smaller, 5) < answer
        except ValueError:
            continue
    assert image_side_for(500) == 684


@pytest.mark.parametrize(("share", "ground"), [(0.75, 2.0), (0.75, 4.0), (0.4, 1.0)])
def test_a_weight_moves_the_threshold(share: float, ground: float) -> None:
    """The minimum lies at w1 q / (w1 q + w0 (1 - q)); at three times the weight it crosses 1/2."""
    found = best_probability(share, 1.0, ground)
    assert found == pytest.approx(share / (share + ground * (1 - share)), abs=1e-6)
    assert (found < 0.5) == (ground > share / (1 - share))


def test_tiles_of_444_pixels_cost_twice_the_work() -> None:
    """Counted on a grid of tiles: pixels of all windows over pixels of the image."""
    edge = tiles.margin()
    assert work_of_tiles(2 * edge / (math.sqrt(2) - 1), edge) == pytest.approx(2)
    counted = sum((64 + 2 * edge) ** 2 for _ in range(10 * 10)) / (640 * 640)
    assert work_of_tiles(64, edge) == pytest.approx(counted)
    assert round(2 * edge / (math.sqrt(2) - 1)) == 444


def test_the_standard_error_is_that_of_drawn_shares() -> None:
    """Twenty thousand shares of 41 cases."""
    shares = np.random.default_rng(0).binomial(41, 0.8, 20_000) / 41
    assert shares.std() == pytest.approx(standard_error(0.8, 41), rel=0.02)
    assert standard_error(0.8, 41) == pytest.approx(0.062, abs=1e-3)
