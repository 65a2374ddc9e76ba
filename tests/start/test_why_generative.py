"""Proof for book/start/why_generative.md: the comparison shows every family that has landed."""

import math

import torch
from litgen_book import chapters
from torch import Tensor

from litgen import recipes
from litgen.data import moons
from tests import oracles

NAME = "book/start/why_generative"


def test_every_recipe_on_the_moons_is_in_the_comparison() -> None:
    """One line in the chapter's list is all that a new family needs; this is who reminds of it."""
    expected = {name for name in recipes.names() if name.split("_")[-1].endswith("moons")}
    assert len(expected) >= 4
    assert set(chapters.recipes(chapters.read(NAME))) == expected


def test_the_excess_code_is_the_divergence() -> None:
    """eq:why-kl, eq:why-gibbs, eq:why-cross-entropy by quadrature in the plane."""
    normal = torch.distributions.Normal(torch.zeros(2).double(), 0.8)

    def integral(f: "oracles.Function") -> float:
        def weighted(x: Tensor) -> Tensor:
            log_p = torch.cat([moons.log_prob(part) for part in x.split(500)])
            return log_p.exp() * f(torch.stack([log_p, normal.log_prob(x).sum(dim=1)]))

        return oracles.integrate_plane(weighted, extent=2.6, nodes=105).item()

    kl = integral(lambda both: both[0] - both[1])
    cross = integral(lambda both: -both[1])
    entropy = integral(lambda both: -both[0])
    assert kl > 0.5
    assert math.isclose(cross, entropy + kl, rel_tol=1e-9)
    points = moons.load("test").points.double()
    assert abs(-normal.log_prob(points).sum(dim=1).mean().item() - cross) < 0.03
    assert abs(-moons.log_prob(points).mean().item() - entropy) < 0.03
