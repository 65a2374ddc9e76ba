"""Proof for litgen/recipes/diffusion/moons.py: a tiny training, its density and its samples."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch

from litgen import runs
from litgen.diffusion import schedule as schedules
from litgen.recipes import comparison
from litgen.recipes.diffusion import moons
from tests import oracles

TINY = dataclasses.replace(
    moons.CPU, hidden=(32, 32), turns=500, batch_size=100, sampling_steps=25, encoding_steps=25
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trained() -> tuple[moons.PlaneDenoiser, list[float]]:
    """Return a tiny denoiser and its losses."""
    steps = list(moons.fit(TINY, comparison.train_points(), seed=0))
    return steps[-1].model.eval().requires_grad_(False), [step.loss.item() for step in steps]


def test_training_lowers_the_error(trained: tuple[moons.PlaneDenoiser, list[float]]) -> None:
    """Below the error of always saying zero, which is the mean square of v."""
    losses, times = trained[1], moons.schedule_of(TINY)
    share = (torch.arange(1_000) + 0.5) / 1_000
    kept = times.at(1 + (share.square() * 1_000).long(), torch.zeros(1_000))
    zero = (kept + (1 - kept) * comparison.train_points().square().mean()).mean()
    assert len(losses) == 500
    assert losses[0] > 0.9 * zero
    assert sum(losses[-100:]) / 100 < 0.9 * zero


def test_samples_follow_the_density(trained: tuple[moons.PlaneDenoiser, list[float]]) -> None:
    """eq:onepic-encoded: one distribution, drawn and evaluated: masses of cells agree."""
    config = dataclasses.replace(TINY, sampling_steps=100, encoding_steps=100)
    model = trained[0]
    drawn = moons.draw(config, model, 20_000, torch.Generator().manual_seed(0))
    known: list[torch.Tensor] = []

    def density(x: torch.Tensor) -> torch.Tensor:
        if not known:  # the grid is the same for all quadrants
            known.append(moons.log_prob(config, model, x.float()).double().exp())
        return known[0]

    for quadrant in ((1, 1), (1, -1), (-1, 1)):
        sign = torch.tensor(quadrant)
        mass = oracles.integrate_plane(
            lambda x, sign=sign: density(x) * ((x * sign) > 0).all(dim=1), 3.2, 80
        )
        share = ((drawn * sign) > 0).all(dim=1).double().mean()
        assert abs(mass - share) < 0.025, quadrant
        assert mass > 0.02, quadrant
    scores = comparison.score(
        lambda count, generator: moons.draw(TINY, model, count, generator),
        lambda x: moons.log_prob(TINY, model, x),
    )
    assert scores["energy_distance"] < 0.02
    assert scores["entropy_nats"] < scores["test_nll_nats"] < 1.9  # the best Gaussian's is 1.907


def test_times_are_drawn_more_often_where_noise_is_small() -> None:
    """Half of them in the first quarter, the last time among them: the network sees 1..T."""
    seen = []
    points = comparison.train_points()[:2_000]
    config = dataclasses.replace(TINY, turns=3, batch_size=2_000)
    original = moons.PlaneDenoiser.forward

    def spy(self: moons.PlaneDenoiser, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        seen.append(t)
        return original(self, x_t, t)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moons.PlaneDenoiser, "forward", spy)
        list(moons.fit(config, points, seed=0))
    t = torch.cat(seen)
    assert len(t) == 3 * 2 * 2_000
    assert (t.min(), t.max()) == (1, 1_000)
    assert abs((t <= 250).double().mean() - 0.5) < 0.03


def test_the_network_is_told_the_time() -> None:
    """The same point at another time is answered differently; nothing mixes examples."""
    torch.manual_seed(0)
    model = moons.PlaneDenoiser(TINY)
    x = torch.randn(3, 2)
    t = torch.tensor([1, 500, 1_000])
    together = model(x, t)
    alone = torch.cat([model(x[i : i + 1], t[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone)
    assert (model(x, t.flip(0)) - together)[[0, 2]].abs().max() > 1e-3


def test_a_run_survives_the_store(tmp_path: Path) -> None:
    """Measured again after it, its weights give the same numbers; samples come from them."""
    config = dataclasses.replace(TINY, turns=60, sampling_steps=8, encoding_steps=8)
    run = runs.train("diffusion/moons", "cpu", config=config)
    runs.save(run, tmp_path / "run.safetensors")
    back = runs.load(tmp_path / "run.safetensors")
    assert moons.evaluate(back, CPU) == pytest.approx(run.metrics, rel=1e-6)
    assert set(run.metrics) >= {"energy_distance", "energy_floor", "test_nll_nats", "parameters"}
    drawn = moons.sample(back, 2_000, torch.Generator().manual_seed(2))
    assert (drawn - back.tensors["samples"].float()).abs().max() < 2e-3
    density = moons.log_prob(config, moons.restore(back), comparison.grid()[4_000:4_100])
    assert (density - back.tensors["log_density"].float()[40]).abs().median() < 0.05
    assert len(run.history["train_loss"]) == 60


def one_cycle(rate: float, turns: int, turn: int) -> float:
    """Return the rate after so many steps: up from 1/25 for a tenth, then down to nothing."""
    up, last = 0.1 * turns - 1, turns - 1
    if turn <= up:
        return rate / 25 + (rate - rate / 25) * (1 - math.cos(math.pi * turn / up)) / 2
    part = (1 - math.cos(math.pi * (turn - up) / (last - up))) / 2
    return rate + (rate / 25e4 - rate) * part


def test_what_a_step_lowers_and_by_how_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean error of v on each point twice, with two noises; the rate of one cycle."""
    heard: list[tuple] = []
    asked: list[tuple] = []
    whole, loss = moons.play, moons.ddpm.simple_loss

    def watching(players, batches, turns):
        heard.append(players)
        return whole(players, batches, turns)

    def listening(*args):
        asked.append((args, loss(*args)))
        return asked[-1][1]

    monkeypatch.setattr(moons, "play", watching)
    monkeypatch.setattr(moons.ddpm, "simple_loss", listening)
    config = dataclasses.replace(TINY, turns=30, batch_size=5, learning_rate=3e-3, steps=80)
    rates, losses = [], []
    for now in moons.fit(config, comparison.train_points()[:40], 0):
        rates.append(heard[0][0].optimizer.param_groups[0]["lr"])
        losses.append(now.loss.item())
    expected = [one_cycle(3e-3, 30, turn) for turn in range(1, 30)]
    assert rates[:29] == pytest.approx(expected, rel=1e-6)
    for ((_, x, t, noise, times, prediction), each), mean in zip(asked, losses, strict=True):
        assert torch.equal(x[:5], x[5:])
        assert not torch.equal(noise[:5], noise[5:])
        assert prediction == "v"
        assert times.steps == 80
        assert 1 <= t.min() <= t.max() <= 80
        assert mean == pytest.approx(sum(each.tolist()) / 10, rel=1e-5)


def test_ways_there_and_back_have_their_own_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """DDIM's for samples, the encoding's for densities, on the config's cosine schedule."""
    config = dataclasses.replace(TINY, sampling_steps=3, encoding_steps=7, steps=90)
    expected = schedules.cosine(90).alpha_bar
    torch.testing.assert_close(moons.schedule_of(config).alpha_bar, expected)
    asked: list[int] = []
    whole = moons.ddim.times

    def listening(times, count):
        asked.append(count)
        return whole(times, count)

    monkeypatch.setattr(moons.ddim, "times", listening)
    model = moons.PlaneDenoiser(config).eval().requires_grad_(False)
    moons.draw(config, model, 2, torch.Generator())
    moons.log_prob(config, model, torch.zeros(2, 2))
    assert asked == [3, 7]


def test_the_time_is_told_by_sines_and_cosines_of_quarter_turns() -> None:
    """At the last time the k-th wave has gone through k quarters."""
    model = moons.PlaneDenoiser(dataclasses.replace(TINY, frequencies=3, steps=60))
    seen: list[torch.Tensor] = []
    model.net.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
    model(torch.tensor([[0.3, -0.2]] * 2), torch.tensor([60, 20]))
    sixth = math.pi / 6
    rows = [[math.pi / 2 * k for k in (1, 2, 3)], [sixth * k for k in (1, 2, 3)]]
    for found, angles in zip(seen[0].tolist(), rows, strict=True):
        waves = [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
        assert found == pytest.approx([0.3, -0.2, *waves], abs=1e-6)


def test_the_configs_name_their_data() -> None:
    """The moons and nothing else; two sizes of one model."""
    assert moons.data(moons.CPU) == moons.data(moons.GPU) == ("moons",)
    assert moons.GPU.turns > moons.CPU.turns
    points = comparison.train_points()[:200]
    one, again, other = (next(moons.fit(TINY, points, seed)).loss for seed in (1, 1, 2))
    assert one == again != other
