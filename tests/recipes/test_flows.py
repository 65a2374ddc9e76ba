"""Proof for litgen/recipes/flows/moons.py: a small fit has the shared metrics and comes back."""

import dataclasses

import torch

from litgen import runs
from litgen.recipes.flows import moons

TINY = dataclasses.replace(moons.CPU, couplings=2, hidden=(8,), turns=60)


def test_moons_leaves_what_the_comparison_needs() -> None:
    """Samples, density on the grid, metrics; the restored flow is the one that was measured."""
    run = moons.train(TINY, 0, torch.device("cpu"))
    assert run.tensors["samples"].shape == (2_000, 2)
    assert run.tensors["log_density"].shape == (100, 100)
    assert run.metrics["parameters"] == 2 * (1 * 8 + 8 + 8 * 2 + 2)
    run.provenance["config"] = dataclasses.asdict(TINY)
    again = moons.evaluate(run, torch.device("cpu"))
    assert abs(again["test_nll_nats"] - run.metrics["test_nll_nats"]) < 1e-6
    losses = run.history["train_loss_nats"]
    assert losses[-1] < losses[0] - 0.1
    drawn = moons.sample(run, 7, torch.Generator().manual_seed(0))
    assert drawn.shape == (7, 2)
    assert moons.data(TINY) == ("moons",)


def test_the_same_seed_gives_the_same_flow() -> None:
    """Bit for bit; another seed another one."""
    points = moons.comparison.train_points()[:1_000]
    config = dataclasses.replace(TINY, turns=5, batch_size=100)
    ends = []
    for seed in (0, 0, 1):
        *_, now = moons.fit(config, points, seed)
        ends.append(torch.cat([p.detach().flatten() for p in now.model.parameters()]))
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


def test_the_recipe_is_listed() -> None:
    """By its family's name."""
    assert runs.planned("flows/moons")[0] == "cpu"
