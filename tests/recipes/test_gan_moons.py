"""Proof for litgen/recipes/gan/moons.py: a tiny game, whose rules and results are looked at."""

import dataclasses
from pathlib import Path

import pytest
import torch

from litgen import runs
from litgen.gan import losses
from litgen.recipes import comparison
from litgen.recipes.gan import moons

TINY = dataclasses.replace(
    moons.CPU,
    hidden=(32, 32),
    critic_hidden=(64, 64),
    turns=400,
    batch_size=100,
    learning_rate=2e-3,
    average=0.98,
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def played() -> list[moons.Progress]:
    """Return every turn of a tiny game."""
    return list(moons.fit(TINY, comparison.train_points(), seed=0))


def test_the_generator_learns_both_moons(played: list[moons.Progress]) -> None:
    """Nearer to the data than the best Gaussian (0.0138), and on both moons about as often."""
    model = moons.MoonGAN(TINY)
    model.generator.load_state_dict(played[-1].generator.state_dict())
    model.requires_grad_(False)
    scores = comparison.score(lambda count, generator: moons.draw(model, count, generator))
    assert len(played) == 400
    assert scores["energy_distance"] < 0.0135  # 0.4 untrained
    assert "test_nll_nats" not in scores
    moon = comparison.moons.joint_log_prob(
        moons.draw(model, 2_000, torch.Generator().manual_seed(1))
    ).argmax(dim=1)
    assert 0.3 < moon.double().mean() < 0.7
    assert 0.8 < played[-1].critic_loss < 1.45


def test_the_critic_never_moves_the_generator() -> None:
    """The averaged generator follows the played one slowly; each turn moves both players once."""
    config = dataclasses.replace(TINY, turns=1)
    points = comparison.train_points()[:200]
    torch.manual_seed(3)
    start = moons.MoonGAN(config)
    *_, now = moons.fit(config, points, seed=3)
    for part in ("generator", "critic"):
        before, after = getattr(start, part).state_dict(), getattr(now.model, part).state_dict()
        assert all((before[name] != after[name]).any() for name in before), part
    # Adam's first step moves each weight by its learning rate, whatever the gradient
    rates = {
        "generator": config.learning_rate,
        "critic": config.learning_rate * config.critic_rate,
    }
    for part, rate in rates.items():
        before, after = getattr(start, part).state_dict(), getattr(now.model, part).state_dict()
        moved = torch.cat([(before[n] - after[n]).abs().flatten() for n in before])
        assert moved.max().item() == pytest.approx(rate, rel=1e-2)


def test_the_other_loss_is_played_where_it_is_asked_for() -> None:
    """The saturating loss is negative at the start, the usual one positive."""
    points = comparison.train_points()[:200]
    config = dataclasses.replace(TINY, turns=2)
    usual = list(moons.fit(config, points, seed=0))
    other = list(moons.fit(config, points, seed=0, generator_loss=losses.saturating_loss))
    assert usual[0].generator_loss > 0 > other[0].generator_loss
    assert usual[0].critic_loss == other[0].critic_loss != usual[1].critic_loss


def test_a_run_survives_the_store(tmp_path: Path) -> None:
    """Measured again after it, its weights give the same numbers; samples come from them."""
    config = dataclasses.replace(TINY, turns=100)
    run = runs.train("gan/moons", "cpu", config=config)
    runs.save(run, tmp_path / "run.safetensors")
    back = runs.load(tmp_path / "run.safetensors")
    assert moons.evaluate(back, CPU) == pytest.approx(run.metrics, rel=1e-7)
    drawn = moons.sample(back, 2_000, torch.Generator().manual_seed(2))
    assert (drawn - back.tensors["samples"].float()).abs().max() < 2e-3
    assert "log_density" not in run.tensors
    assert len(run.history["critic_loss_nats"]) == 100
    assert abs(run.history["critic_loss_nats"][0] - 2 * 0.6931) < 0.2
    *_, last = moons.fit(config, comparison.train_points(), 0)
    averaged = last.generator.state_dict()["0.weight"]
    assert (back.tensors["model.generator.0.weight"] - averaged).abs().max() < 1e-3
    assert (last.model.generator.state_dict()["0.weight"] - averaged).abs().max() > 1e-3


def test_the_configs_name_their_data() -> None:
    """The moons and nothing else; two sizes of one game, which a seed determines."""
    assert moons.data(moons.CPU) == moons.data(moons.GPU) == ("moons",)
    assert moons.GPU.turns > moons.CPU.turns
    points = comparison.train_points()[:200]
    one, again, other = (next(moons.fit(TINY, points, seed)).critic_loss for seed in (1, 1, 2))
    assert one == again != other
