"""Proof for litgen/recipes/applications: spikes.py, spikes_soft.py and spikes_free.py, tiny."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch

from litgen import runs
from litgen.data import spikes as drawn_spikes
from litgen.gan import wasserstein
from litgen.gan.gradient_penalty import weighted
from litgen.recipes.applications import spikes, spikes_free, spikes_soft

CPU = torch.device("cpu")
TINY = dataclasses.replace(
    spikes.CPU, latent=3, hidden=(8,), critic_hidden=(8,), turns=6, batch_size=16, moments=3
)


@pytest.mark.parametrize("name", ["spikes", "spikes_soft", "spikes_free"])
def test_a_run_survives_the_store(name: str, tmp_path: Path) -> None:
    """Measured again, the same numbers; samples are spikes; snapshots share their codes."""
    recipe = {"spikes": spikes, "spikes_soft": spikes_soft, "spikes_free": spikes_free}[name]
    config = dataclasses.replace(TINY, soft=recipe.CPU.soft, weight=recipe.CPU.weight)
    run = runs.train(f"applications/{name}", "cpu", config=config)
    runs.save(run, tmp_path / "run.safetensors")
    back = runs.load(tmp_path / "run.safetensors")
    assert recipe.evaluate(back, CPU) == pytest.approx(run.metrics)
    found = recipe.sample(back, 30, torch.Generator().manual_seed(0))
    assert found.shape == (30, drawn_spikes.NEURONS, drawn_spikes.BINS)
    assert set(found.unique().tolist()) == {0.0, 1.0}
    assert run.tensors["snapshots.turn"].tolist() == [1, 2, 6]
    assert run.tensors["snapshots.samples"].shape == (3, spikes.KEPT, 8, 32)
    assert recipe.data(config) == ("spikes",)
    assert len(run.history["critic_loss"]) == 6


def test_variants_differ_from_the_shipped_game_in_one_thing() -> None:
    """And in how long they play on a CPU."""
    for full, soft, free in (
        (spikes.CPU, spikes_soft.CPU, spikes_free.CPU),
        (spikes.GPU, spikes_soft.GPU, spikes_free.GPU),
    ):
        assert dataclasses.replace(soft, soft=False, turns=full.turns) == full
        assert dataclasses.replace(free, weight=full.weight, turns=full.turns) == full
        assert soft.soft
        assert free.weight == 0


def test_the_critic_sees_spikes_or_probabilities_and_the_run_keeps_the_average() -> None:
    """As the config says; and what is stored is the averaged generator, rounded."""
    for soft in (False, True):
        pair = spikes.Pair(dataclasses.replace(TINY, soft=soft))
        code = pair.generator.draw(20, torch.Generator().manual_seed(0))
        shown = pair.generator(code).detach()
        assert ((shown == 0) | (shown == 1)).all() == (not soft)
        assert 0.1 < shown.mean() < 0.3
    few = dataclasses.replace(TINY, trials=500)
    run = spikes.train(few, 0, CPU)
    *_, last = spikes.fit(few, drawn_spikes.load().spikes[:500], 0)
    stored = run.tensors["model.generator.net.0.weight"]
    averaged, playing = last.generator.net[0], last.pair.generator.net[0]
    assert torch.equal(stored, averaged.weight.half().float())
    assert run.metrics["diverged_at_turn"] == -1
    assert (stored - averaged.weight).abs().max() < 1e-3
    assert (averaged.weight - playing.weight).abs().max() > 1e-5


def test_how_a_game_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is given what; rates fall along half a cosine; the average by a weighted sum."""
    given: list[tuple] = []
    whole = spikes.adversaries

    def watching(*args):
        given.append(args)
        return whole(*args)

    penalties: list[float] = []

    def weighing(weight, draws):
        penalties.append(weight)
        return weighted(weight, draws)

    monkeypatch.setattr(spikes, "adversaries", watching)
    monkeypatch.setattr(spikes, "weighted", weighing)
    config = dataclasses.replace(TINY, average=0.8, turns=5, critic_moves=3, betas=(0.4, 0.8))
    weights, rates = [], []
    for now in spikes.fit(config, drawn_spikes.load().spikes, 0):
        averaged = now.generator
        generator, critic, optimizers, _, rules, _ = given[0]
        weights.append([p.detach().clone() for p in generator.parameters()])
        rates.append([o.param_groups[0]["lr"] for o in optimizers])
    for net, optimizer in zip((critic, generator), optimizers, strict=True):
        owned = [p for group in optimizer.param_groups for p in group["params"]]
        assert [id(p) for p in owned] == [id(p) for p in net.parameters()]
        assert optimizer.defaults["betas"] == (0.4, 0.8)
    for turn, pair in enumerate(rates, start=1):
        left = (1 + math.cos(math.pi * turn / 5)) / 2
        assert pair == pytest.approx([left * config.learning_rate] * 2, abs=1e-12)
    factors = [0.8**4, *(0.2 * 0.8 ** (5 - t) for t in range(2, 6))]
    for k, found in enumerate(averaged.parameters()):
        expected = sum(f * each[k] for f, each in zip(factors, weights, strict=True))
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    assert rules.critic_moves == 3
    assert rules.critic_loss is wasserstein.critic_loss
    assert rules.generator_loss is wasserstein.generator_loss
    assert penalties == [10.0]
    next(spikes.fit(dataclasses.replace(config, weight=0.0), drawn_spikes.load().spikes, 0))
    assert given[-1][4].penalty is None
    kinds = [type(layer).__name__ for layer in critic]
    assert kinds == ["Flatten", "Linear", "PiecewiseLeakyReLU", "Linear"]


def test_what_is_measured() -> None:
    """Rates, Fano factors and the critic's gain of drawn and of test trials, by numpy."""
    torch.manual_seed(1)
    pair = spikes.Pair(TINY)
    found = spikes.measure(pair, CPU)
    fake = spikes.drawn(pair.generator, 2_000, torch.Generator().manual_seed(1))
    real = drawn_spikes.load("test").spikes[:2_000]
    for name, trains in (("", fake), ("test_", real)):
        counts = trains.double().sum(dim=2).numpy()
        per_bin = counts.mean() / drawn_spikes.BINS
        ratio = found[f"{name}rate"] / per_bin
        assert ratio == pytest.approx(found["test_rate"] / real.double().mean().item(), rel=1e-4)
        fano = counts.var(axis=0, ddof=1) / counts.mean(axis=0)
        assert found[f"{name}fano"] == pytest.approx(fano.mean(), rel=2e-3)
    with torch.no_grad():
        gain = pair.critic(real.float()).mean() - pair.critic(fake.float()).mean()
    assert found["gain"] == pytest.approx(gain.item(), abs=1e-6)
    with torch.no_grad():
        p = pair.generator.probabilities(torch.randn(4_000, 3)).mean(dim=0)
    many = spikes.drawn(pair.generator, 4_000, torch.Generator().manual_seed(2)).float()
    assert (many.mean(dim=0) - p).abs().max() < 0.06
    assert p.max() < 0.5


def test_a_seed_determines_the_game() -> None:
    """Losses repeat with it, and differ without it."""
    trains = drawn_spikes.load().spikes
    one, again, other = (next(spikes.fit(TINY, trains, s)).critic_loss for s in (1, 1, 2))
    assert one == again != other


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_game_that_diverges_is_stopped_and_noted() -> None:
    """An absurd rate: the last good state is kept, and the run says in which turn."""
    run = spikes.train(dataclasses.replace(TINY, learning_rate=1e30, turns=60), 0, CPU)
    assert run.metrics["diverged_at_turn"] == 49
    assert all(t.isfinite().all() for t in run.part("model").values())


def test_snapshots_are_of_the_average_and_the_last_state_is_watched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From the same codes each time; both losses decide whether the game is fine."""
    few = dataclasses.replace(TINY, trials=200, average=0.5)
    run = spikes.train(few, 0, CPU)
    found = []
    for now in spikes.fit(few, drawn_spikes.load().spikes[:200], 0):
        if now.turn in (0, 1, 5):
            same = torch.Generator().manual_seed(0)
            found.append(spikes.drawn(now.generator, spikes.KEPT, same))
    assert torch.equal(run.tensors["snapshots.samples"], torch.stack(found))
    heard: list[tuple] = []
    monkeypatch.setattr(spikes.LastGood, "fine", lambda self, *seen: bool(heard.append(seen)) or 1)
    (now, *_) = spikes.fit(few, drawn_spikes.load().spikes[:200], 0)
    assert heard[0][0] == 0
    assert heard[0][1] is now.critic_loss
    assert len(heard[0]) == 3
    assert heard[0][2] is not now.critic_loss
