"""Proof for litgen/recipes/gan/clipped.py: three tiny games, looked at move by move."""

import dataclasses
import math
from pathlib import Path

import pytest
import scipy.stats
import torch

from litgen import runs
from litgen.gan import toys, wasserstein
from litgen.recipes.gan import clipped

TINY = dataclasses.replace(
    clipped.CPU, hidden=(16,), critic_hidden=(8, 8), turns=40, batch_size=64, measured=200, looks=4
)
CPU = torch.device("cpu")


def test_the_clipped_critic_stays_clipped() -> None:
    """eq:wgan-clip: from the first move to the last; the others' weights grow beyond."""
    for kind in clipped.KINDS:
        *_, now = clipped.fit(TINY, kind, 0, CPU)
        largest = max(p.abs().max().item() for p in now.critic.parameters())
        assert (largest <= TINY.limit + 1e-6) == (kind == "clipped")
        if kind == "sorted":
            assert wasserstein.slope_bound(now.critic) == pytest.approx(1, rel=1e-5)
    start = clipped.players(TINY, "clipped")["critic"]
    assert max(p.abs().max().item() for p in start.parameters()) <= TINY.limit + 1e-6


def test_the_players_rates_are_their_own() -> None:
    """RMSprop's first step has a known size, ten times the rate."""
    config = dataclasses.replace(TINY, turns=1, critic_moves=1)
    for kind in clipped.KINDS[1:]:
        torch.manual_seed(3)
        start = clipped.players(config, kind)
        (now,) = clipped.fit(config, kind, 3, CPU)
        for part, rate in (("generator", config.learning_rate), ("critic", config.critic_rate)):
            before = dict(start[part].named_parameters())
            moved = [
                (p - before[name]).abs().max() for name, p in getattr(now, part).named_parameters()
            ]
            assert max(moved).item() == pytest.approx(10 * rate, rel=1e-2)


@pytest.mark.parametrize(("moves", "batches"), [(5, 18), (2, 9)])
def test_each_move_is_clipped(moves: int, batches: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three turns draw a batch for each move, and clip after each of the critic's.

    Clipping once a turn (eq:wgan-clip) would leave most moves of the critic unbounded.
    """
    drawn: list[int] = []
    cuts: list[float] = []
    cut = wasserstein.clip_weights

    def counted_cut(critic: torch.nn.Module, limit: float) -> None:
        cuts.append(limit)
        cut(critic, limit)

    monkeypatch.setattr(wasserstein, "clip_weights", counted_cut)
    original = toys.Modes.sample

    def counted(self: toys.Modes, count: int, chance: torch.Generator) -> torch.Tensor:
        assert len(self.centres) == 8
        drawn.append(count)
        return original(self, count, chance)

    monkeypatch.setattr(toys.Modes, "sample", counted)
    config = dataclasses.replace(TINY, turns=3, critic_moves=moves)
    assert len(list(clipped.fit(config, "clipped", 0, CPU))) == 3
    assert drawn == [TINY.batch_size] * batches
    assert cuts == [TINY.limit] * (3 * moves + 1)


def test_the_exact_distance_is_scipys() -> None:
    """Away from eight centres with an eighth each; near zero for the truth."""
    points = toys.eight_gaussians().sample(160, torch.Generator().manual_seed(0))
    repeated = toys.eight_gaussians().centres.repeat(20, 1)
    expected = scipy.stats.wasserstein_distance_nd(points, repeated)
    assert clipped.away(points) == pytest.approx(expected, rel=1e-6)
    assert clipped.away(torch.zeros(3, 2)) == pytest.approx(math.sqrt(2), rel=1e-6)
    assert clipped.floor(clipped.CPU) < 0.1


def test_games_bring_the_samples_nearer() -> None:
    """A hundred turns: each critic takes the generator towards the data."""
    config = dataclasses.replace(clipped.CPU, turns=100, learning_rate=1e-3, critic_rate=2e-3)
    for kind in clipped.KINDS:
        first, *_, last = clipped.fit(config, kind, 0, CPU)
        torch.manual_seed(0)
        before = clipped.distance(config, clipped.players(config, kind)["generator"])
        assert before > 1
        assert clipped.distance(config, last.generator) < 0.75 * before, kind
        assert first.says.isfinite()
        assert first.says > -0.3 or kind == "logits"  # a logit loss would start at -2 log 2


def test_a_game_that_diverges_keeps_its_last_good_state() -> None:
    """A rate beyond all numbers: the game ends with a warning, and everything is finite."""
    config = dataclasses.replace(TINY, turns=100, learning_rate=1e38)
    with pytest.warns(RuntimeWarning, match="the game diverged"):
        steps = list(clipped.fit(config, "logits", 0, CPU))
    assert len(steps) == 50
    assert steps[-1].turn == -1
    assert all(p.isfinite().all() for p in steps[-1].generator.parameters())


def test_a_run_survives_the_store(tmp_path: Path) -> None:
    """No data set; measured again after it, its generators give the same numbers."""
    assert clipped.data(clipped.CPU) == clipped.data(clipped.GPU) == ()
    run = runs.train("gan/clipped", "cpu", config=TINY)
    runs.save(run, tmp_path / "run.safetensors")
    back = runs.load(tmp_path / "run.safetensors")
    assert clipped.evaluate(back, CPU) == pytest.approx(run.metrics, rel=1e-6)
    drawn = clipped.sample(back, 2_000, torch.Generator().manual_seed(2))
    assert (drawn - back.tensors["samples.sorted"].float()).abs().max() < 2e-3
    for kind in clipped.KINDS:
        assert run.history[f"{kind}_turn"] == [1.0, 11.0, 21.0, 31.0, 40.0]
        assert len(run.history[f"{kind}_w1"]) == len(run.history[f"{kind}_says"]) == 5
        assert run.metrics[f"{kind}_last_turn"] == 39
        assert run.history[f"{kind}_w1"][-1] == pytest.approx(run.metrics[f"{kind}_w1"], rel=1e-2)
    assert run.history["sorted_says"][0] > 0 > run.history["logits_says"][0]
