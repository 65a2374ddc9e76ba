"""Proof for litgen/recipes/gan/ring.py: a tiny game, its snapshots, its store, its end in ruin."""

import dataclasses
from pathlib import Path

import pytest
import torch

from litgen import runs
from litgen.gan import losses, toys
from litgen.gan.field import places
from litgen.recipes.gan import ring

TINY = dataclasses.replace(
    ring.CPU,
    hidden=(32,),
    critic_hidden=(48,),
    turns=250,
    batch_size=128,
    learning_rate=4e-3,
    moments=5,
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def run() -> runs.Run:
    """Return a tiny run."""
    return runs.train("gan/ring", "cpu", config=TINY)


def test_the_generator_comes_nearer_to_the_ring(run: runs.Run) -> None:
    """Far nearer than before the first turn, and to most of the eight."""
    start = next(ring.fit(TINY, 0, CPU))
    before = ring._measured(TINY, start.players)
    assert run.metrics["energy_distance"] < before["energy_distance"] / 5
    assert run.metrics["modes"] >= 6 > before["modes"]
    assert run.metrics["energy_floor"] < 0.005
    assert run.metrics["near_floor"] == pytest.approx(0.989, abs=0.008)
    assert run.metrics["diverged_turn"] == -1


def test_snapshots_are_the_games_own_moments(run: runs.Run) -> None:
    """First the untrained players, last the stored ones; the same codes each time."""
    assert run.tensors["snapshots.turns"].tolist() == [0, 16, 62, 141, 250]
    start, *_, last = ring.fit(TINY, 0, CPU), *ring.fit(TINY, 0, CPU)
    players = ring.restore(run)
    drawn = ring.draw(players, 300, torch.Generator().manual_seed(3))
    assert (drawn - run.tensors["snapshots.samples"][-1].float()).abs().max() < 1e-2
    logits = players.critic(places(ring.EXTENT, ring.FIELD)).view(ring.FIELD, ring.FIELD)
    assert (logits - run.tensors["snapshots.logits"][-1].float()).abs().max() < 3e-2
    first = next(start).players
    with torch.no_grad():
        drawn = ring.draw(first, 300, torch.Generator().manual_seed(3))
    assert (drawn - run.tensors["snapshots.samples"][0].float()).abs().max() < 1e-2
    assert last.turn == 249


def test_each_turn_moves_both_and_the_critic_as_often_as_asked() -> None:
    """Adam's first step is the learning rate itself; three moves go further than one."""
    one = dataclasses.replace(TINY, turns=1)
    before = next(ring.fit(one, 5, CPU)).players.state_dict()
    for moves in (1, 3):
        *_, now = ring.fit(dataclasses.replace(one, critic_moves=moves), 5, CPU)
        after = now.players.state_dict()
        moved = {
            part: max((before[n] - after[n]).abs().max().item() for n in before if part in n)
            for part in ("generator", "critic")
        }
        assert moved["generator"] == pytest.approx(TINY.learning_rate, rel=1e-2)
        assert (
            moved["critic"]
            > (1 if moves == 1 else 2) * 0.99 * TINY.learning_rate * TINY.critic_rate
        )
    assert now.turn == 0


def test_learning_rates_fall_along_half_a_cosine() -> None:
    """Of two turns the second moves every weight by little more than half the rate."""
    two = dataclasses.replace(TINY, turns=2)
    states = []
    for now in ring.fit(two, 5, CPU):
        states.append({n: w.clone() for n, w in now.players.state_dict().items()})
    for part, rate in (("generator", 1.0), ("critic", TINY.critic_rate)):
        moved = max(
            (states[2][n] - states[1][n]).abs().max().item() for n in states[0] if part in n
        )
        assert 0.3 < moved / (rate * TINY.learning_rate) < 0.75


def test_the_other_loss_is_played_where_it_is_asked_for() -> None:
    """The saturating loss is negative, the usual one positive."""
    config = dataclasses.replace(TINY, turns=1)
    usual, other = (
        list(ring.fit(config, 0, CPU, loss))[-1]
        for loss in (losses.generator_loss, losses.saturating_loss)
    )
    assert usual.generator_loss > 0 > other.generator_loss
    assert usual.critic_loss == other.critic_loss


def test_a_diverging_game_keeps_its_last_good_state() -> None:
    """A ruinous rate: a warning, the turn among the metrics, finite weights and samples."""
    wild = dataclasses.replace(TINY, learning_rate=1e30, turns=120)
    with pytest.warns(RuntimeWarning, match="the game diverged"):
        run = runs.train("gan/ring", "cpu", config=wild)
    assert 0 <= run.metrics["diverged_turn"] < 119
    assert all(t.isfinite().all() for name, t in run.tensors.items() if name.startswith("model."))


def test_a_run_survives_the_store(run: runs.Run, tmp_path: Path) -> None:
    """Measured again, its weights give the same numbers; it needs no data."""
    runs.save(run, tmp_path / "run.safetensors")
    back = runs.load(tmp_path / "run.safetensors")
    again = ring.evaluate(back, CPU)
    assert again == pytest.approx({name: run.metrics[name] for name in again}, rel=1e-6)
    drawn = ring.sample(back, 200, torch.Generator().manual_seed(2))
    assert toys.coverage(drawn, toys.eight_gaussians(0.1)).covered >= 6
    assert run.data == []
    assert ring.data(ring.CPU) == ring.data(ring.GPU) == ()
    assert run.history["critic_loss_nats"][0] == pytest.approx(1.3, abs=0.2)
    assert 0 < run.metrics["js_bound_nats"] < 0.3
    assert ring.GPU.turns > ring.CPU.turns


def test_a_fresh_run_without_data_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store takes a recipe that names no data set."""
    monkeypatch.setattr(ring, "CPU", dataclasses.replace(TINY, turns=2))
    first = runs.get("gan/ring")
    assert runs.find("gan/ring", "cpu") is not None
    assert runs.get("gan/ring").provenance["date"] == first.provenance["date"]
