"""Proof for litgen/recipes/gan: voxels.py, voxel_furniture.py, voxel_pots.py, voxel_rules.py.

All games are tiny.
"""

import copy
import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from litgen import runs
from litgen.data import drawn_furniture, pottery
from litgen.recipes.gan import voxel_furniture, voxel_pots, voxel_rules, voxels

CPU = torch.device("cpu")
TINY = dataclasses.replace(
    voxels.CPU, latent=3, widths=(4, 2), turns=6, batch_size=4, moments=3, mixed=False
)


@pytest.mark.parametrize("data", ["drawn_furniture", "furniture", "pottery"])
def test_a_run_has_what_the_chapter_shows(data: str, tmp_path: Path) -> None:
    """Snapshots of the same codes, accuracies, and weights that draw the same when restored."""
    config = dataclasses.replace(TINY, data=data)
    run = runs.train("gan/voxels", "cpu", seed=1, config=config)
    runs.save(run, tmp_path / "run.safetensors")
    run = runs.load(tmp_path / "run.safetensors")
    kept = run.tensors["snapshots.samples"]
    assert kept.shape == (3, voxels.KEPT, 16, 16, 16)
    assert run.tensors["snapshots.turn"].tolist() == [1, 2, 6]
    assert set(kept.unique().tolist()) <= {0, 1}
    assert len(run.history["accuracy"]) == 6
    assert all(0 <= share <= 1 for share in run.history["accuracy"])
    assert run.metrics["moved"] == 1
    assert {r["name"] for r in run.data} == set(voxels.data(config)) == {data}
    again = voxels.evaluate(run, CPU)
    assert again == pytest.approx(run.metrics, abs=1e-6)
    made = voxels.sample(run, 300, torch.Generator().manual_seed(0))
    assert made.shape == (300, 1, 16, 16, 16)
    assert made.dtype == torch.bool


def test_the_threshold_stops_the_critic() -> None:
    """At 0 it hardly ever moves and its weights stay; the generator moves on."""
    objects = voxels.load("drawn_furniture")[0]
    still = dataclasses.replace(TINY, threshold=0.0, learning_rate=1e-3)
    *_, last = voxels.fit(still, objects, 0)
    assert last.gate.asked == 6
    torch.manual_seed(0)
    start = voxels.Pair(still)

    def stayed(player: str) -> list[bool]:
        """Say which of a player's parameters are where they started."""
        pairs = [list(getattr(pair, player).parameters()) for pair in (start, last.pair)]
        return [torch.equal(a, b) for a, b in zip(*pairs, strict=True)]

    assert all(stayed("critic")) == (last.gate.taken == 0)
    assert not any(stayed("generator"))


def test_the_critic_sees_noise_of_the_chosen_scale() -> None:
    """Fresh noise in every pass; without it the object itself."""
    seen: list[torch.Tensor] = []

    class Eye(torch.nn.Module):
        """Keep what it sees."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            """Return sums."""
            seen.append(x)
            return x.flatten(1).sum(dim=1)

    x = torch.zeros(8, 1, 16, 16, 16)
    draws = torch.Generator().manual_seed(0)
    noisy = voxels.Noisy(Eye(), 0.7, draws)
    noisy(x)
    noisy(x)
    assert abs(seen[0].std().item() - 0.7) < 0.01
    assert not torch.equal(seen[0], seen[1])
    voxels.Noisy(Eye(), 0.0, draws)(x + 1)
    torch.testing.assert_close(seen[2], x + 1)


def test_how_a_game_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is given what; rates fall along half a cosine; the average by a weighted sum."""
    given: list[tuple] = []
    whole = voxels.adversaries

    def watching(*args):
        given.append(args)
        return whole(*args)

    monkeypatch.setattr(voxels, "adversaries", watching)
    config = dataclasses.replace(TINY, average=0.8, turns=5, learning_rate=1e-2, critic_rate=3e-3)
    objects = voxels.load("drawn_furniture")[0]
    weights, moments, rates, seen = [], [], [], []
    for now in voxels.fit(config, objects, 0):
        generator, critic, players = given[0][:3]
        weights.append([p.detach().clone() for p in generator.parameters()])
        moments.append([b.clone() for b in generator.buffers() if b.is_floating_point()])
        rates.append([player.param_groups[0]["lr"] for player in players])
        seen.append(now.accuracy.item())
    gate, plain = players
    assert gate is now.gate
    assert gate.threshold == config.threshold
    for net, optimizer in ((now.pair.critic, gate.optimizer), (generator, plain)):
        owned = [p for group in optimizer.param_groups for p in group["params"]]
        assert [id(p) for p in owned] == [id(p) for p in net.parameters()]
    for turn, pair in enumerate(rates, start=1):
        left = (1 + math.cos(math.pi * turn / 5)) / 2
        assert pair == pytest.approx([left * 3e-3, left * 1e-2], abs=1e-12)
    factors = [0.8**4, *(0.2 * 0.8 ** (5 - t) for t in range(2, 6))]
    assert now.generator is not generator
    floats = [b for b in now.generator.buffers() if b.is_floating_point()]
    for line, averaged in ((weights, now.generator.parameters()), (moments, floats)):
        for k, found in enumerate(averaged):
            expected = sum(f * each[k] for f, each in zip(factors, line, strict=True))
            torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    assert max(seen) > 0, "the gate heard how often the critic was right"
    assert isinstance(critic, voxels.Noisy)
    assert (critic.critic, critic.scale) == (now.pair.critic, config.noise)
    rules, load = given[0][4:]
    for norm in (False, True):
        next(voxels.fit(dataclasses.replace(config, norm=norm), objects, 0))
        assert given[-1][4].apart == norm
        norms = [m for m in given[-1][1].modules() if isinstance(m, torch.nn.BatchNorm3d)]
        assert bool(norms) == norm
    assert not rules.apart
    (cubes,) = load(objects[:2])
    torch.testing.assert_close(cubes, objects[:2, None].float())


def test_a_run_keeps_the_average_and_draws_with_running_moments() -> None:
    """Rounded weights of another game from the same seed, and its objects on the way."""
    run = voxels.train(TINY, 1, CPU)
    objects, test, _ = voxels.load(TINY.data)
    z = voxels.codes(voxels.KEPT, TINY.latent, torch.Generator().manual_seed(0))
    shots = []
    for now in voxels.fit(TINY, objects, 1):
        if now.turn in (0, 1, 5):
            assert now.generator.training
            other = copy.deepcopy(now.generator).eval()
            with torch.no_grad():
                shots.append((other(z)[:, 0] > 0.5).to(torch.uint8))
    assert torch.equal(run.tensors["snapshots.samples"], torch.stack(shots))
    stored = run.part("model")
    for name, value in now.generator.state_dict().items():
        kept = value.half().to(value.dtype) if value.is_floating_point() else value
        assert torch.equal(stored[f"generator.{name}"], kept)
    assert run.metrics["data_full"] == pytest.approx(objects.double().mean().item())
    assert run.metrics["data_full"] != pytest.approx(test.double().mean().item(), rel=1e-6)
    run.provenance["config"] = dataclasses.asdict(TINY)
    pair = voxels.restore(run)
    z = voxels.codes(voxels.DRAWN, TINY.latent, torch.Generator().manual_seed(1))
    made = pair.generator(z).double()
    assert run.metrics["full"] == pytest.approx((made > 0.5).double().mean().item())
    grey = (made - 0.5).abs() < 0.4
    assert run.metrics["grey"] == pytest.approx(grey.double().mean().item(), abs=1e-6)
    z = voxels.codes(300, TINY.latent, torch.Generator().manual_seed(5))
    sampled = voxels.sample(run, 300, torch.Generator().manual_seed(5))
    assert torch.equal(sampled, pair.generator(z) > 0.5)
    one, other = (next(voxels.fit(TINY, objects, s)).generator for s in (1, 2))
    first, second = (next(iter(net.parameters())) for net in (one, other))
    assert not torch.equal(first, second)


def test_a_waiting_critic_is_counted() -> None:
    """The share of moves that passed the gate."""
    run = voxels.train(dataclasses.replace(TINY, threshold=0.0), 0, CPU)
    assert run.metrics["moved"] < 1


def test_pots_stand_as_tall_as_they_are() -> None:
    """The first 2,000 of both splits, by their own heights."""
    train, test, _ = voxels.load("pottery")
    vessels = pottery.load("train")
    expected = pottery.solid(vessels.profiles[100:103], 16, vessels.tall[100:103])
    assert torch.equal(train[100:103].bool(), expected)
    assert (len(train), len(test)) == (2_000, 2_000)


def test_furniture_is_mirrored() -> None:
    """Two views of each piece at half the side, of both splits."""
    train, test, records = voxels.load("furniture")
    assert (len(train), len(test)) == (2 * 93, 2 * 30)
    assert train.shape[1:] == test.shape[1:] == (16, 16, 16)
    assert [r["split"] for r in records] == ["train", "test"]
    half = len(train) // 2
    assert not torch.equal(train[:half], train[half:])
    assert voxel_furniture.CPU.data == voxel_furniture.GPU.data == "furniture"
    assert voxel_pots.CPU.data == voxel_pots.GPU.data == "pottery"


def test_rules_play_one_game_for_each_choice() -> None:
    """Likeness, variety and moves of each, between 0 and 1; the players are not kept."""
    game = dataclasses.replace(TINY, widths=(3,))
    config = voxel_rules.Config(
        game=game, thresholds=(0.5, 1.0), noises=(0.0,), seeds=2, samples=20
    )
    run = voxel_rules.train(config, 0, CPU)
    found = voxel_rules.restore(run)
    assert found.shape == (3, 2, 3)
    assert ((found >= 0) & (found <= 1)).all()
    assert (found[1:, :, 2] == 1).all()
    assert len(run.history) == 6
    assert voxel_rules.games(config) == [(0.5, 0.7), (1.0, 0.7), (1.0, 0.0)]
    assert voxel_rules.evaluate(run, CPU) == run.metrics


def test_full_and_grey_are_counted() -> None:
    """Of ten voxels two are nearly empty, five nearly full, three grey, one of them above half."""
    row = torch.tensor([0.0, 0.05, 0.2, 0.4, 0.6, 0.95, 0.99, 1.0, 0.93, 0.91])

    class Fixed(torch.nn.Module):
        """Makes the same ten voxels whatever the code is."""

        def forward(self, z: Tensor) -> Tensor:
            """Return one object for each code."""
            return row.expand(len(z), 1, 10)

    pair = voxels.Pair(voxels.CPU)
    pair.generator = Fixed()
    found = voxels.measure(voxels.CPU, pair, CPU)
    assert found["grey"] == pytest.approx(0.3)
    assert found["full"] == pytest.approx(0.6)
    objects = drawn_furniture.load("train").voxels
    assert found["data_full"] == pytest.approx(objects.sum().item() / objects.numel())


def test_rules_of_each_game_and_what_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thresholds and noises of games, seeds in turn; coarse training objects; scores by hand."""
    train, test, _ = voxels.load("drawn_furniture")
    heard: list[tuple] = []
    known: list[Tensor] = []
    whole, judging = voxels.fit, voxel_rules._judged

    def judged(config, now, among):
        known.append(among)
        return judging(config, now, among)

    monkeypatch.setattr(voxel_rules, "_judged", judged)

    def listening(rule, objects, seed):
        heard.append((rule.threshold, rule.noise, seed, objects))
        return whole(rule, objects, seed)

    monkeypatch.setattr(voxels, "fit", listening)
    game = dataclasses.replace(TINY, widths=(3,), turns=2, noise=0.25)
    config = voxel_rules.Config(game, (0.6,), (0.0, 0.4), seeds=2, samples=30)
    run = voxel_rules.train(config, 5, CPU)
    rules = [(0.6, 0.25), (1.0, 0.0), (1.0, 0.4)]
    assert [h[:3] for h in heard] == [(*rule, 5 + s) for rule in rules for s in range(2)]
    blocks = train[:20].view(20, 8, 2, 8, 2, 8, 2).sum(dim=(2, 4, 6)) > 0
    assert torch.equal(heard[0][3][:20].bool(), blocks)
    assert len(heard[0][3]) == len(train)
    assert len(known[0]) == len(train) + len(test), "all objects that there are"
    assert run.metrics == {"games": 6}
    assert run.tensors["likeness"].shape == (3, 2, 3)


def test_likeness_variety_and_moves_by_hand() -> None:
    """Of four samples three are whole objects, one of them twice; drawn in evaluation mode."""
    known = torch.zeros(3, 2, 2, 2, dtype=torch.bool)
    known[0, 0], known[1, 1], known[2, :, 0] = True, True, True
    shown = torch.stack([known[0], known[0], known[2], known[1]]).float()
    shown[3, 1, 0, 0] = 0.45  # below half: three of four voxels are left

    class Fixed(torch.nn.Module):
        """Four samples in evaluation mode, noise in training mode."""

        def forward(self, z: Tensor) -> Tensor:
            """Return them whatever the code is."""
            again = shown.repeat(len(z) // 4, 1, 1, 1)[:, None]
            return torch.ones_like(again) if self.training else again

    class Counted:
        """Of eight moves six were taken."""

        taken, asked = 6, 8

    now = voxels.Progress(0, Fixed().train(), None, torch.tensor(0.0), Counted())
    config = dataclasses.replace(voxel_rules.CPU, samples=40)
    found = voxel_rules._judged(config, now, known)
    assert found.tolist() == pytest.approx([(1 + 1 + 1 + 3 / 4) / 4, 3 / 40, 6 / 8])
