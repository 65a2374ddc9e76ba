"""Proof for litgen/recipes/gan/stability.py: tiny games, whose rules and counts are looked at."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from litgen import runs
from litgen.gan import losses, toys
from litgen.gan.stability import smoothed_loss
from litgen.recipes.gan import stability

TINY = dataclasses.replace(
    stability.CPU,
    copies=2,
    hidden=(16, 16),
    turns=60,
    batch_size=16,
    looks=4,
    points=200,
    average_every=3,
)
CPU = torch.device("cpu")


def played(
    config: stability.Config, remedies: stability.Remedies, seed: int = 0
) -> Iterator[stability.Progress]:
    """Return the turns of a game from its start."""
    game = stability.begin(config, remedies, seed, CPU)
    return stability.fit(config, remedies, game, seed)


def test_each_variant_switches_one_thing() -> None:
    """All but the last differ from the baseline in one field, and all fields are switched once."""
    base = dataclasses.asdict(stability.VARIANTS["baseline"])
    switched = [
        [k for k, v in dataclasses.asdict(remedies).items() if v != base[k]]
        for name, remedies in stability.VARIANTS.items()
        if name not in ("baseline", "together")
    ]
    assert all(len(fields) == 1 for fields in switched)
    assert sorted(field for fields in switched for field in fields) == sorted(base)


def test_the_rules_are_sums_over_copies() -> None:
    """Each copy's own loss, added; data are labelled 0.9 where labels are smoothed."""
    generator = torch.Generator().manual_seed(0)
    real, fake = torch.randn(2, 3, 16, 1, generator=generator, dtype=torch.float64)
    plain, smooth, saturating = (
        stability.rules_of(stability.VARIANTS[name], 3)
        for name in ("baseline", "smoothing", "saturating")
    )
    expected = sum(losses.discriminator_loss(r, f) for r, f in zip(real, fake, strict=True))
    torch.testing.assert_close(plain.critic_loss(real, fake), expected)
    expected = sum(smoothed_loss(r, f, 0.9) for r, f in zip(real, fake, strict=True))
    torch.testing.assert_close(smooth.critic_loss(real, fake), expected)
    fooling = losses.generator_loss(fake).mean(dim=(1, 2)).sum()
    torch.testing.assert_close(plain.generator_loss(fake).mean(), fooling)
    other = losses.saturating_loss(fake).mean(dim=(1, 2)).sum()
    torch.testing.assert_close(saturating.generator_loss(fake).mean(), other)
    assert all(rules.apart for rules in (plain, smooth, saturating))


def test_copies_play_without_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spoil one copy's data: the other copies' games are what they were, in every variant."""
    config, drawn = dataclasses.replace(TINY, copies=3, turns=4), toys.Modes.sample
    for name, remedies in stability.VARIANTS.items():
        ends = []
        for factor in (1.0, 5.0):
            scale = torch.tensor([1.0, factor, 1.0]).repeat_interleave(16)[:, None]
            monkeypatch.setattr(toys.Modes, "sample", lambda *a, s=scale: drawn(*a) * s)
            *_, now = played(config, remedies)
            ends.append(torch.cat([p.detach().reshape(-1) for p in weights_of(now.game, [0, 2])]))
            ends.append(torch.cat([p.detach().reshape(-1) for p in weights_of(now.game, [1])]))
        torch.testing.assert_close(ends[0], ends[2], msg=name)
        assert (ends[1] - ends[3]).abs().max() > 1e-4, name


def weights_of(game: stability.Game, copies: list[int]) -> list[torch.Tensor]:
    """Return the critic's and generator's parameters of some copies."""
    nets = (game.generator, game.critic)
    found = [(n, p) for net in nets for n, p in net.named_parameters()]
    return [p.view(3, -1)[copies] if "norm" in n else p[copies] for n, p in found]


def test_rates_momentum_and_average_are_what_the_variant_says() -> None:
    """Adam's first step moves a weight by its rate; rates fall to zero; the average follows."""
    config = dataclasses.replace(TINY, turns=3)
    starts = {}
    for name in ("baseline", "two time scales"):
        torch.manual_seed(0)
        start = stability.Game(config, stability.VARIANTS[name])
        turns = played(config, stability.VARIANTS[name])
        now = next(turns)
        for part in ("generator", "critic"):
            before, after = getattr(start, part).parameters(), getattr(now.game, part).parameters()
            moved = max((b - a).abs().max() for b, a in zip(before, after, strict=True))
            starts[name, part] = moved.item()
        before = now.game.generator.head.weight.detach().clone()
        rest = list(turns)
        assert (rest[-1].game.generator.head.weight - before).abs().max() > 0
    assert starts["baseline", "generator"] == pytest.approx(3e-3, rel=1e-3)
    assert starts["baseline", "critic"] == pytest.approx(3e-3, rel=1e-3)
    assert starts["two time scales", "generator"] == pytest.approx(3e-3, rel=1e-3)
    assert starts["two time scales", "critic"] == pytest.approx(12e-3, rel=1e-3)
    average, own = (getattr(rest[-1].game, n).state_dict() for n in ("average", "generator"))
    first = average["module.head.weight"]  # updated once, after turn 3: a copy
    torch.testing.assert_close(first, own["head.weight"])


def test_the_average_is_the_recursion() -> None:
    """Updated each third turn: what is kept of the old and what is taken of the new."""
    config = dataclasses.replace(TINY, turns=9, average=0.8)
    remedies = stability.VARIANTS["baseline"]
    kept = None
    for now in played(config, remedies):
        if (now.turn + 1) % 3 == 0:
            own = now.game.generator.head.weight.detach()
            kept = own.clone() if kept is None else 0.8 * kept + 0.2 * own
            torch.testing.assert_close(now.game.average.module.head.weight, kept)


def test_feature_matching_moves_the_generator_by_its_own_loss() -> None:
    """The generator's loss is a squared distance, not a logarithm; another game results."""
    ends = {
        name: [now.generator_loss for now in played(TINY, remedies)]
        for name, remedies in stability.VARIANTS.items()
        if name in ("baseline", "feature matching")
    }
    assert ends["baseline"][0].item() == pytest.approx(2 * 0.69, abs=0.3)
    assert 0 < ends["feature matching"][0] < 0.6
    assert min(ends["feature matching"]) >= 0


def test_drawing_is_done_in_evaluation_mode() -> None:
    """A point does not depend on how many are drawn beside it, and the mode is put back."""
    game = stability.Game(TINY, stability.VARIANTS["batch norm"])
    for _ in range(3):
        game.generator(torch.randn(2, 8, 2))
    few, many = (
        stability.draw(game.generator, 2, n, 2, torch.Generator().manual_seed(3)) for n in (1, 1)
    )
    torch.testing.assert_close(few, many)
    z = torch.randn(2, 5, 2, generator=torch.Generator().manual_seed(4))
    drawn = stability.draw(game.generator, 2, 5, 2, torch.Generator().manual_seed(4))
    assert game.generator.training
    game.generator.eval()
    torch.testing.assert_close(drawn[:, :1], game.generator(z[:, :1]).detach())


def test_a_run_survives_the_store(tmp_path: Path) -> None:
    """Measured again after it, its weights give the same numbers; nothing is read from a set."""
    config = dataclasses.replace(TINY, turns=16)
    run = runs.train("gan/stability", "cpu", config=config)
    runs.save(run, tmp_path / "run.safetensors")
    back = runs.load(tmp_path / "run.safetensors")
    assert run.data == []
    assert stability.data(TINY) == ()
    assert set(run.history) == {
        f"{name.replace(' ', '_')}_{player}_loss_nats"
        for name in stability.VARIANTS
        for player in ("critic", "generator")
    }
    assert run.history["baseline_critic_loss_nats"][0] == pytest.approx(2 * 0.69, abs=0.2)
    assert run.history["baseline_generator_loss_nats"][0] == pytest.approx(0.69, abs=0.2)
    assert stability.sample(back, 7, torch.Generator().manual_seed(0)).std() > 0
    again = stability.evaluate(back, CPU)
    assert again == pytest.approx({k: run.metrics[k] for k in again}, rel=1e-6)
    assert len(again) == 2 * 3 * len(stability.VARIANTS)
    assert len(run.metrics) == len(again) + len(stability.VARIANTS)
    drawn = stability.sample(back, 200, torch.Generator().manual_seed(99))
    assert drawn.shape == (200, 2)
    assert back.tensors["looks.baseline.points"].shape == (5, 2, 400, 2)
    assert back.tensors["looks.baseline.turn"].tolist() == [0, 4, 8, 12, 16]
    assert back.tensors["looks.together.measures"].shape == (5, 3, 2)
    counts = back.tensors["counts.smoothing.averaged"]
    assert counts.shape == (2, 25)
    assert (counts.sum(dim=1) / 200).mean().item() == pytest.approx(
        back.metrics["smoothing_averaged_near"]
    )
    games = stability.restore(back)
    assert list(games) == list(stability.VARIANTS)
    assert not any(game.training for game in games.values())
    field = stability.field(games["baseline"])
    corner = games["baseline"].critic(torch.tensor([-1.1, 1.1]).expand(2, 1, 2)).sigmoid()
    torch.testing.assert_close(field[:, 0, 0], corner[:, 0, 0])


def test_a_game_that_diverges_is_stopped_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last finite state is kept, the turn is noted, and the other games are played."""
    broken = {"baseline": stability.VARIANTS["baseline"]}
    monkeypatch.setattr(stability, "VARIANTS", broken)
    config = dataclasses.replace(TINY, turns=150, learning_rate=1e38)
    with pytest.warns(RuntimeWarning, match="the game diverged"):
        run = stability.train(config, 0, CPU)
    assert run.metrics["baseline_diverged_turn"] == 36
    assert all(t.isfinite().all() for k, t in run.tensors.items() if k.startswith("model."))


def test_averaged_batch_moments_are_measured_anew() -> None:
    """After `refresh` the average's running moments are its own activations' moments."""
    config, remedies = dataclasses.replace(TINY, turns=12), stability.VARIANTS["batch norm"]
    *_, now = played(config, remedies)
    net = now.game.average.module
    norm = next(m for m in net.modules() if isinstance(m, nn.BatchNorm1d))
    stale = norm.running_mean.clone()
    stability.refresh(now.game, config, CPU)
    z = torch.randn(2, 20_000, 2, generator=torch.Generator().manual_seed(1))
    before = net.body[0](z).detach()  # what the first normalisation sees
    torch.testing.assert_close(
        norm.running_mean.view(2, -1), before.mean(dim=1), atol=0.05, rtol=0.05
    )
    assert (norm.running_mean - stale).abs().max() > 0.02


def test_the_configs_are_two_sizes_of_one_game() -> None:
    """The GPU's is larger; a seed determines a game."""
    assert stability.GPU.turns > stability.CPU.turns
    assert stability.GPU.copies == stability.CPU.copies == 5
    remedies = stability.VARIANTS["baseline"]
    one, again, other = (next(played(TINY, remedies, seed)).critic_loss for seed in (1, 1, 2))
    assert one == again != other


def test_who_is_given_what(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each variant's rates, momenta and critic; rates fall along a line to zero."""
    given: list[tuple] = []
    whole = stability.adversaries

    def watching(*args):
        given.append(args)
        return whole(*args)

    monkeypatch.setattr(stability, "adversaries", watching)
    config = dataclasses.replace(TINY, turns=4, learning_rate=1e-3)
    for remedies in stability.VARIANTS.values():
        rates = []
        for _ in played(config, remedies):
            rates.append([o.param_groups[0]["lr"] for o in given[-1][2]])
        generator, critic, optimizers = given[-1][:3]
        for net, optimizer in zip((critic, generator), optimizers, strict=True):
            owned = [p for group in optimizer.param_groups for p in group["params"]]
            assert [id(p) for p in owned] == [id(p) for p in net.parameters()]
            assert optimizer.defaults["betas"] == (remedies.momentum, 0.99)
        for turn, pair in enumerate(rates, start=1):
            left = 1e-3 * (1 - turn / 4)
            assert pair == pytest.approx([remedies.critic_rate * left, left], abs=1e-12)


def test_networks_are_what_the_variant_says() -> None:
    """Leaks of 0.2 in critics alone; bounds, statistics and norms where they are asked for."""
    for remedies in stability.VARIANTS.values():
        game = stability.Game(TINY, remedies)
        slopes = [m.negative_slope for m in game.critic.modules() if isinstance(m, nn.LeakyReLU)]
        assert slopes == [0.2, 0.2]
        assert not any(isinstance(m, nn.LeakyReLU) for m in game.generator.modules())
        bounds = {m.bound for m in game.critic.modules() if hasattr(m, "bound")}
        assert bounds == {remedies.bound or None}
        assert {m.bound for m in game.generator.modules() if hasattr(m, "bound")} == {None}
        assert bool(game.critic.statistics) is remedies.statistics
        assert not game.generator.statistics
        for net, normed in ((game.generator, remedies.norm), (game.critic, False)):
            assert any("Norm" in type(m).__name__ for m in net.modules()) is normed


def test_what_is_counted_is_whose(monkeypatch: pytest.MonkeyPatch) -> None:
    """Played and averaged, over copies, with the config's modes; samples are the average's."""
    config = dataclasses.replace(TINY, std=0.02, points=300)
    game = stability.Game(config, stability.VARIANTS["baseline"])
    with torch.no_grad():
        for parameter in game.average.parameters():
            parameter.mul_(1.7)
    points, numbers = stability.score(config, "x", game.eval())
    for kind, net in (("played", game.generator), ("averaged", game.average)):
        draw = torch.Generator().manual_seed(99)
        z = torch.randn(2, 300, 2, generator=draw)
        with torch.no_grad():
            made = net(z)
        assert torch.equal(points[f"samples.x.{kind}"], made[:, : stability.SHOWN])
        found = [toys.coverage(copy, toys.grid_of_gaussians(std=0.02)) for copy in made]
        assert numbers[f"x_{kind}_modes"] == sum(c.covered for c in found) / 2
        assert numbers[f"x_{kind}_near"] == pytest.approx(sum(c.near for c in found) / 2)
        expected = sum(c.divergence for c in found) / 2
        assert numbers[f"x_{kind}_divergence_nats"] == pytest.approx(expected, rel=1e-5)


def test_averages_are_measured_anew_before_they_are_kept() -> None:
    """With batch normalisation, running moments of a run's average are its own activations'."""
    config, remedies = dataclasses.replace(TINY, turns=12), stability.VARIANTS["batch norm"]
    game = stability.play_variant(config, remedies, 0, CPU)[0]
    for name, value in game.state_dict().items():
        assert not value.is_floating_point() or torch.equal(value, value.half().float()), name
    norm = next(m for m in game.average.modules() if isinstance(m, nn.BatchNorm1d))
    z = torch.randn(2, 20_000, 2, generator=torch.Generator().manual_seed(1))
    before = game.average.module.body[0](z).detach()
    found = norm.running_mean.view(2, -1)
    torch.testing.assert_close(found, before.mean(dim=1), atol=0.05, rtol=0.05)


def test_samples_come_from_the_average_of_all_remedies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first copy of the averaged generator that was played with everything together."""
    games = {name: stability.Game(TINY, r).eval() for name, r in stability.VARIANTS.items()}
    for game in games.values():
        with torch.no_grad():
            for parameter in game.average.parameters():
                parameter.mul_(1.7)
    monkeypatch.setattr(stability, "restore", lambda run: games)
    found = stability.sample(runs.Run({}, {}, {}, []), 30, torch.Generator().manual_seed(4))
    z = torch.randn(2, 30, 2, generator=torch.Generator().manual_seed(4))
    assert torch.equal(found, games["together"].average(z)[0].detach())


def test_a_curve_has_a_hundred_stretches() -> None:
    """Of equal length; a short one keeps its points."""
    line = [torch.tensor(float(k)) for k in range(300)]
    assert stability.stretches(line) == [3 * k + 1 for k in range(100)]
    assert stability.stretches(line[:3]) == [0, 1, 2]
    assert stability.stretches([]) == []


def test_a_look_is_watched_and_leaves_the_game_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is drawn at a look has to be finite, too; modes are as they were before."""
    heard: list[tuple] = []
    whole = stability.LastGood.fine

    def watching(self, turn, *seen):
        heard.append((turn, *seen))
        return whole(self, turn, *seen)

    monkeypatch.setattr(stability.LastGood, "fine", watching)
    config = dataclasses.replace(TINY, turns=8, looks=4)
    game, _, history, _ = stability.play_variant(config, stability.Remedies(), 0, CPU)
    assert [len(args) for args in heard] == [3, 4] * 4
    assert heard[1][3].shape == (2, 1_000, 2)
    assert history["critic"] == pytest.approx([args[1].item() / 2 for args in heard])
    assert history["generator"] == pytest.approx([args[2].item() / 2 for args in heard])
    for training in (True, False):
        game.train(training)
        stability.field(game)
        stability.look(game.generator, config, 10)
        assert game.critic.training is game.generator.training is training


def test_the_matching_loss_is_a_sum_over_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of squared distances between the critic's mean features of data and of samples."""
    heard: list[list] = []
    monkeypatch.setattr(stability, "play", lambda players, *_: iter(heard.append(players) or ()))
    remedies = stability.VARIANTS["feature matching"]
    game = stability.begin(TINY, remedies, 0, CPU)
    list(stability.fit(TINY, remedies, game, 5))
    real = torch.randn(2, 16, 2)
    found = heard[0][1].loss(real)
    z = torch.randn(2, 16, 2, generator=torch.Generator().manual_seed(5))
    features = [game.critic.features(x).mean(dim=1) for x in (real, game.generator(z))]
    expected = sum(((a - b) ** 2).sum() for a, b in zip(*features, strict=True))
    torch.testing.assert_close(found, expected)
    assert heard[0][1].optimizer.param_groups[0]["params"][0] is next(game.generator.parameters())
