"""Proof for litgen/recipes/flows/moons.py: a small fit has the shared metrics and comes back."""

import dataclasses
import math

import pytest
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


def test_what_a_step_lowers_and_by_how_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean of -log p over a batch, at a rate that falls along half a cosine."""
    heard: list[tuple] = []
    whole = moons.play

    def watching(players, batches, turns):
        heard.append((players, batches))
        return whole(players, batches, turns)

    monkeypatch.setattr(moons, "play", watching)
    points = moons.comparison.train_points()[:300]
    config = dataclasses.replace(TINY, couplings=3, turns=4, batch_size=100, learning_rate=2e-3)
    rates = []
    for step in moons.fit(config, points, 0):
        (player,), model = heard[0][0], step.model
        rates.append(player.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([1e-3 * (1 + math.cos(math.pi * k / 4)) for k in range(1, 5)])
    assert player.optimizer.defaults["lr"] == 2e-3
    expected = -sum(model.log_prob(points[i : i + 1]).item() for i in range(50)) / 50
    assert player.loss(points[:50]).item() == pytest.approx(expected, rel=1e-4)
    owned = [p for group in player.optimizer.param_groups for p in group["params"]]
    assert [id(p) for p in owned] == [id(p) for p in model.parameters()]
    assert len(owned) == 3 * 4, "a conditioner of two layers in each of three couplings"


def test_what_is_measured_is_what_is_stored() -> None:
    """Weights are rounded before anything is said about them; what comes back is not trained."""
    config = dataclasses.replace(TINY, turns=3)
    run = moons.train(config, 0, torch.device("cpu"))
    weights = run.part("model")
    assert all(torch.equal(w, w.half().float()) for w in weights.values())
    run.provenance["config"] = dataclasses.asdict(config)
    model = moons.restore(run)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())


def test_the_recipe_is_listed() -> None:
    """By its family's name."""
    assert runs.planned("flows/moons")[0] == "cpu"
