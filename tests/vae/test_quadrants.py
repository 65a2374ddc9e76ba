"""Proof for litgen/vae/quadrants.py, on images of numbered pixels and by double loops."""

import pytest
import torch
from scipy.spatial.distance import cdist

from litgen.vae.quadrants import ORDER, Quadrants, nearest, neighbour_probabilities

NAMED = {
    "top left": [0, 1, 4, 5],
    "top right": [2, 3, 6, 7],
    "bottom left": [8, 9, 12, 13],
    "bottom right": [10, 11, 14, 15],
}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_split_takes_the_named_quadrants(count: int) -> None:
    """Pixels of a numbered 4x4 image, row by row, in every leading axis."""
    image = torch.arange(16.0)
    x, condition = Quadrants(4, count).split(torch.stack([image, image + 100])[None])
    given = sorted(p for name in ORDER[:count] for p in NAMED[name])
    rest = [p for p in range(16) if p not in given]
    assert condition.tolist() == [[given, [p + 100 for p in given]]]
    assert x.tolist() == [[rest, [p + 100 for p in rest]]]
    assert ORDER == ("bottom left", "top left", "bottom right")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_join_undoes_split(count: int, generator: torch.Generator) -> None:
    """Every pixel is back in its place; bytes are cut like numbers."""
    images = torch.rand(2, 3, 36, generator=generator)
    cut = Quadrants(6, count)
    assert torch.equal(cut.join(*cut.split(images)), images)
    whole = (images * 255).to(torch.uint8)
    assert torch.equal(cut.join(*(part.float() for part in cut.split(whole))), whole.float())


def test_bad_cuts_are_errors() -> None:
    """Each message names what was given."""
    for count in (0, 4):
        with pytest.raises(ValueError, match=f"1, 2 or 3 quadrants can be seen, got {count}"):
            Quadrants(4, count)
    for side in (0, 5, -2):
        with pytest.raises(ValueError, match=f"side must be even and positive, got {side}"):
            Quadrants(side, 1)
    with pytest.raises(ValueError, match=r"images have shape \(2, 15\), expected \(..., 16\)"):
        Quadrants(4, 1).split(torch.zeros(2, 15))
    with pytest.raises(ValueError, match="x and condition have 4 and 12 pixels, expected 12 and"):
        Quadrants(4, 1).join(torch.zeros(2, 4), torch.zeros(2, 12))


def test_nearest_by_scipy(generator: torch.Generator) -> None:
    """Squared distances of every pair, sorted."""
    condition, known = (torch.rand(n, 7, generator=generator) for n in (5, 30))
    expected = torch.from_numpy(cdist(condition, known, "sqeuclidean")).sort(dim=1).indices
    assert torch.equal(nearest(condition, known, 6), expected[:, :6])
    assert len(set(expected[:, 0].tolist())) > 2
    for wanted in (0, 31):
        with pytest.raises(ValueError, match=f"{wanted} neighbours asked for among 30 examples"):
            nearest(condition, known, wanted)


@pytest.mark.usefixtures("unchecked")
def test_neighbours_must_show_the_same_pixels() -> None:
    """The message says how many both have."""
    with pytest.raises(ValueError, match="conditions have 3 pixels, the examples 4"):
        nearest(torch.zeros(2, 3), torch.zeros(5, 4), 1)


def test_neighbour_probabilities_by_a_loop(generator: torch.Generator) -> None:
    """eq:cvae-neighbour: neighbours and pseudo-counts, pixel by pixel."""
    x = torch.rand(9, 4, generator=generator)
    chosen = torch.tensor([[0, 3, 3], [8, 1, 5]])
    found = neighbour_probabilities(x, chosen, 0.4)
    for n in range(2):
        for j in range(4):
            total = sum(x[i, j].item() for i in chosen[n].tolist())
            assert found[n, j].item() == pytest.approx((total + 0.4) / (3 + 0.8))
    for bad in (0.0, -1.0):
        with pytest.raises(ValueError, match=f"pseudo_count must be positive, got {bad}"):
            neighbour_probabilities(x, chosen, bad)
