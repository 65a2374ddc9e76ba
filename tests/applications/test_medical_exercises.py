"""Solutions of the exercises of book/applications/medical.md, and their proof."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from litgen.applications import augment, paired, translation


def samples_needed(n: int, loss: float) -> int:
    """Return how many samples alone lose at most this share of n data's effective number."""
    return math.ceil(n * (1 - loss) / loss)


def seeds_needed(comparisons: int, level: float = 0.05) -> int:
    """Return how many seeds flipping signs needs to reach a level after Bonferroni."""
    seeds = 1
    while paired.smallest_p(seeds) > level / comparisons:
        seeds += 1
    return seeds


def flip_projector(side: int) -> Tensor:
    """Return the matrix (side^2, side^2) that averages an image with its mirror image."""
    pixels = torch.eye(side**2, dtype=torch.float64).view(-1, side, side)
    return ((pixels + pixels.flip(-1)) / 2).flatten(1)


def arriving_contrast(share: float, kept: float) -> tuple[float, float]:
    """Return where ill and healthy slices come out, in units of the contrast, target at 0."""
    return (1 - share) * kept, -share * kept


def test_samples_needed() -> None:
    """It is enough, and one less is not; of eq:med-effective."""
    for n, loss in ((20, 0.1), (7, 0.3)):
        m = samples_needed(n, loss)
        assert augment.effective_number(n, m, samples_alone=True) >= (1 - loss) * n * (1 - 1e-12)
        assert augment.effective_number(n, m - 1, samples_alone=True) < (1 - loss) * n
    assert samples_needed(20, 0.1) == 180


def test_seeds_needed() -> None:
    """Nine for twelve comparisons, six for one."""
    assert seeds_needed(12) == 9
    assert seeds_needed(1) == 6


@pytest.mark.parametrize("side", [4, 5])
def test_flips_project(side: int) -> None:
    """Twice is once, the rank is the trace, and the risk is that of eq:med-prior-risk."""
    matrix = flip_projector(side)
    torch.testing.assert_close(matrix @ matrix, matrix)
    rank = int(np.linalg.matrix_rank(matrix.numpy()))
    assert rank == round(matrix.trace().item()) == side * math.ceil(side / 2)
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(side**2, generator=generator, dtype=torch.float64)
    own = mean + 0.8 * torch.randn(40_000, side**2, generator=generator, dtype=torch.float64)
    found = ((own + own @ matrix) / 2 - mean).square().sum(dim=1).mean().item()
    bias = (mean - matrix @ mean).square().sum().item()
    assert found == pytest.approx(augment.prior_risk(side**2, rank, bias, 0.64, 0.5), rel=0.01)


def test_where_lesions_arrive() -> None:
    """By a fitted translator of one direction, for some and for all: eq:med-translate."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(2, 100_000, 1, generator=generator, dtype=torch.float64)
    for share in (0.3, 1.0):
        there = (torch.rand(100_000, 1, generator=generator, dtype=torch.float64) < share).double()
        translate = translation.fit_translator(3 * there + 0.7 * noise[0], 0.7 * noise[1])
        kept = translation.kept_share(share, 3.0, 0.7)
        ill, healthy = (translate(torch.full((1, 1), v, dtype=torch.float64)) for v in (3.0, 0.0))
        found = ill.item() / 3, healthy.item() / 3
        assert found == pytest.approx(arriving_contrast(share, kept), abs=0.01)
