"""Solutions to the exercises of book/gan/faces.md, each against another way to the same number."""

import math

import pytest
import torch
from torch import Tensor

from litgen.data import drawn_faces
from litgen.gan import codes


def square_length_in_a_cube(latent: int, share: float) -> float:
    """Return the mean square length on the straight way between two codes uniform in [-1, 1]."""
    return latent / 3 * ((1 - share) ** 2 + share**2)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_square_length_in_a_cube(share: float) -> None:
    """The mean over draws."""
    generator = torch.Generator().manual_seed(0)
    a, b = (2 * torch.rand(40_000, 6, generator=generator) - 1 for _ in range(2))
    walk = codes.straight(a, b, torch.tensor([share]))[0]
    found = walk.square().sum(dim=1).mean().item()
    assert square_length_in_a_cube(6, share) == pytest.approx(found, rel=0.02)


def codes_for_an_edit(longer: float) -> int:
    """Return how many codes each mean needs for an edit that lengthens a code by a factor."""
    return math.ceil(2 / (longer**2 - 1))


def test_codes_for_an_edit() -> None:
    """Twenty by formula; by draws they are enough, and half of them are not."""
    assert codes_for_an_edit(1.05) == 20
    generator = torch.Generator().manual_seed(0)

    def length(count: int) -> float:
        """Return the root mean square length of edited codes, in units of sqrt(d)."""
        have, lack = (torch.randn(10_000, count, 6, generator=generator) for _ in range(2))
        base = torch.randn(10_000, 1, 6, generator=generator)
        edited = codes.combined(have, lack, base)
        return float(edited.square().mean().sqrt())

    assert length(20) == pytest.approx(1.05, abs=0.01)
    assert length(10) == pytest.approx(1.2**0.5, abs=0.01)


def confounded(have: Tensor, lack: Tensor, target: int, tolerance: float = 0.1) -> list[int]:
    """Return the attributes other than the target whose shares differ between two groups."""
    gap = (have.double().mean(dim=0) - lack.double().mean(dim=0)).abs()
    return [k for k, far in enumerate((gap > tolerance).tolist()) if far and k != target]


def test_confounded_groups_are_named() -> None:
    """Attributes of drawn faces are independent; where glasses come with long hair, it is said."""
    has = drawn_faces.attributes(drawn_faces.load("test").labels)
    glasses, long = (drawn_faces.ATTRIBUTES.index(name) for name in ("glasses", "long hair"))
    wearing, without = has[has[:, glasses]], has[~has[:, glasses]]
    assert confounded(wearing, without, glasses) == []
    assert confounded(wearing[wearing[:, long]], without, glasses) == [long]
    assert confounded(wearing, without, long) == [glasses]
