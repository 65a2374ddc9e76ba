"""Proof for litgen/recipes/autoencoders/context.py: what is hidden, what counts, a short run."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from litgen import runs
from litgen.data import drawn_faces
from litgen.recipes import pictures
from litgen.recipes.autoencoders import context as recipe

CPU = torch.device("cpu")
TINY = dataclasses.replace(
    recipe.CPU, widths=(8, 12), critic_widths=(4, 8), turns=30, batch_size=16, test_faces=40
)
HOLE = torch.zeros(32, 32, dtype=torch.bool)
HOLE[8:28, 6:26] = True


@pytest.fixture(scope="module")
def trained() -> runs.Run:
    """Return a run of a short training."""
    return runs.train("autoencoders/context", "cpu", config=TINY)


def test_the_hole_hides_all_that_is_redrawn_and_nothing_else_changes() -> None:
    """Not one byte outside the hole; inside nearly every face changes; labels say the same."""
    look = drawn_faces.looks(300, np.random.default_rng(4))
    first, second = recipe.redrawn(look, 2, np.random.default_rng(5))
    whole = torch.from_numpy(drawn_faces.render(look))
    for drawn in (first, second):
        assert torch.equal(drawn[..., ~HOLE], whole[..., ~HOLE])
        changed = (drawn != whole)[..., HOLE].flatten(1).any(dim=1)
        assert changed.double().mean() > 0.99
    assert not torch.equal(first, second)


def test_hidden_attributes_are_drawn_with_their_shares() -> None:
    """The mean of the redrawn faces is brighter or darker where the attribute's share says so."""
    look = drawn_faces.looks(1, np.random.default_rng(4))
    drawn = recipe.redrawn(look, 400, np.random.default_rng(5)).float()
    centre = drawn[:, 0, :, 14:16, 9:23].mean(dim=(1, 2, 3))  # the rows of the glasses' frames
    assert centre.std() > 3
    assert recipe.redrawn(look, 3, np.random.default_rng(5)).shape == (3, 1, 3, 32, 32)


def test_what_each_variant_hides_counts_and_shows() -> None:
    """Holes, weights and the critic's view of every variant, by their corners and sums."""
    x = torch.rand(5, 3, 32, 32) * 2 - 1
    fill = torch.zeros_like(x)
    for variant in recipe.Config.variants:
        game = recipe.Game(recipe.CPU, variant, CPU, torch.Generator().manual_seed(0))
        holes = game.holes(5)
        weights = game.weights(holes)
        missing = {"roaming": 256, "copying": 0}.get(variant, 400)
        assert holes.shape == (5, 32, 32)
        assert holes.sum(dim=(1, 2)).tolist() == [missing] * 5
        if variant in ("copying", "everywhere"):
            assert torch.equal(weights, torch.ones(5, 32, 32))
        elif variant == "roaming":
            assert len({tuple(hole.nonzero()[0].tolist()) for hole in holes}) > 1
            assert torch.equal(weights == 1, holes)
        else:
            assert torch.equal(holes[0], HOLE)
            assert weights[0].sum() == 400 + 10 * (24**2 - 400)
            assert bool((weights[0, 6:30, 4:28] > 0).all())
        shown = game.seen(x, fill)
        if variant == "seeing":
            assert torch.equal(shown[..., ~HOLE], x[..., ~HOLE])
            assert shown[..., HOLE].abs().max() == 0
        else:
            assert torch.equal(game.seen(x, x), x[..., 6:30, 4:28])
    shares = {v: recipe.Game(recipe.CPU, v, CPU, torch.Generator()).share for v in ("l2", "joint")}
    assert shares == {"l2": 1.0, "joint": recipe.CPU.share}


def test_scores_count_the_hole_alone() -> None:
    """Changes outside do nothing; an error of 0.2 is 20 dB; a constant has no edges."""
    x = torch.rand(6, 3, 32, 32) * 2 - 1
    other = torch.where(HOLE, x + 0.2, torch.zeros_like(x))
    found = recipe.scores(x, other)
    assert found["psnr_db"] == pytest.approx(20, abs=1e-3)
    assert found["edges"] == pytest.approx(1, abs=1e-3)
    assert found["spread"] == pytest.approx(1, abs=1e-3)
    assert recipe.scores(x, torch.where(HOLE, x, x + 5))["seam"] > 5
    flat = recipe.scores(x, torch.zeros_like(x))
    assert flat["edges"] == flat["spread"] == 0


def test_a_fill_changes_the_hole_alone(trained: runs.Run) -> None:
    """Faces come back as they were outside; holes of one's own are used one by one."""
    model = recipe.restore(trained)
    faces = pictures.load("drawn_faces")[1].images[:4]
    x = pictures.to_unit(faces)
    filled = recipe.fills(model, faces)
    torch.testing.assert_close(filled[..., ~HOLE], x[..., ~HOLE], rtol=0, atol=0)
    assert (filled - x)[..., HOLE].abs().mean() > 0.01
    holes = torch.stack([HOLE, HOLE.roll(-3, 0), HOLE, HOLE.roll(2, 1)])
    many = recipe.fills(model, faces, holes)
    for i, hole in enumerate(holes):
        alone: Tensor = recipe.fills(model, faces[i : i + 1], hole)
        torch.testing.assert_close(many[i : i + 1], alone, atol=1e-5, rtol=1e-4)


def test_training_helps_and_the_store_keeps_it(trained: runs.Run, tmp_path: Path) -> None:
    """Losses fall, every variant is there, and evaluation finds the same scores."""
    for variant in ("l2", "roaming", "copying", "islands", "everywhere"):
        line = trained.history[f"{variant}_network_loss"]
        assert line[-1] < 0.7 * line[0], variant
        assert f"{variant}_critic_loss" not in trained.history
    for variant in ("adversarial", "joint", "seeing"):
        assert len(trained.history[f"{variant}_critic_loss"]) == 30
    path = tmp_path / "run.safetensors"
    runs.save(trained, path)
    again = recipe.evaluate(runs.load(path), CPU)
    for name, value in again.items():
        assert value == pytest.approx(trained.metrics[name], abs=5e-3), name


def test_the_best_fill_and_the_sampler_are_as_the_mathematics_says(trained: runs.Run) -> None:
    """eq:ctx-price: the sampler is 3.01 dB behind, as far as 40 faces tell."""
    gap = trained.metrics["best_psnr_db"] - trained.metrics["sampler_psnr_db"]
    assert gap == pytest.approx(3.01, abs=0.6)
    assert trained.metrics["sampler_edges"] == pytest.approx(1, abs=0.1)
    assert trained.metrics["best_edges"] < 0.8
    assert trained.metrics["best_spread"] < trained.metrics["sampler_spread"]
