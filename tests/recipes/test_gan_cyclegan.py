"""Proof for litgen/recipes/gan: cyclegan.py and cyclegan_emoji.py, with tiny networks."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch

from litgen import runs
from litgen.data import animals, emoji
from litgen.data.sources import Record
from litgen.recipes import pictures
from litgen.recipes.gan import cyclegan, cyclegan_emoji

CPU = torch.device("cpu")
TINY = {"width": 3, "blocks": 1, "critic_width": 2, "turns": 4, "batch_size": 3, "test_images": 6}
HERD = dataclasses.replace(cyclegan.CPU, variants=("full", "noisy", "no_cycle"), **TINY)
FACES = dataclasses.replace(cyclegan_emoji.CPU, **TINY)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a handful of drawn images in the place of both sets."""
    draw = torch.Generator().manual_seed(0)
    record = Record("few", "drawn", "none", "none", "few", {}, stand_in=True)

    def herd(split: str) -> animals.AnimalSet:
        images = torch.randint(256, (30, 1, 28, 28), generator=draw, dtype=torch.uint8)
        return animals.AnimalSet(images, torch.arange(30) % 10, record)

    def faces(split: str) -> emoji.EmojiSet:
        both = torch.randint(256, (2, 12, 3, 32, 32), generator=draw, dtype=torch.uint8)
        names = ("1f642",) * 12
        return emoji.EmojiSet(both[0], both[1], torch.zeros(12).long(), names, record)

    herds = {split: herd(split) for split in ("train", "test")}
    pairs = {split: faces(split) for split in ("train", "test")}
    monkeypatch.setattr(animals, "load", herds.__getitem__)
    monkeypatch.setattr(emoji, "load", pairs.__getitem__)


@pytest.mark.parametrize(("name", "config"), [("cyclegan", HERD), ("cyclegan_emoji", FACES)])
def test_a_run_survives_the_store(name: str, config: cyclegan.Config, tmp_path: Path) -> None:
    """Measured again after it, its weights give the same numbers; all variants are there."""
    run = runs.train(f"gan/{name}", "cpu", config=config)
    runs.save(run, tmp_path / "run.safetensors")
    back = runs.load(tmp_path / "run.safetensors")
    assert cyclegan.evaluate(back, CPU) == pytest.approx(run.metrics)
    assert set(cyclegan.models(back)) == set(config.variants)
    assert cyclegan.sample(back, 2, torch.Generator()).shape[0] == 2
    for variant in config.variants:
        assert f"{variant}_cycle_x" in run.metrics
        assert set(cyclegan.critics_of(back, variant)) == {"x", "y"}
    assert ("identity_error" in run.metrics) == (name == "cyclegan_emoji")


def test_errors_are_shares_of_the_scale() -> None:
    """Translators that invert colours: cycles close, and the errors are by hand."""
    found = cyclegan.domains("emoji")
    inverting = torch.nn.Module()
    inverting.forward = lambda x: -x  # type: ignore[method-assign]
    nets = cyclegan.Translators(inverting, inverting)
    errors = cyclegan.measure(FACES, nets, found)
    x, y = found.test_x[:6].double() / 255, found.test_y[:6].double() / 255
    assert errors["cycle_x"] == pytest.approx(0, abs=1e-6)
    assert errors["moved_y"] == pytest.approx((1 - 2 * x).abs().mean().item(), abs=1e-5)
    assert errors["error_y"] == pytest.approx((1 - x - y).abs().mean().item(), abs=1e-5)
    assert errors["error_x"] == errors["error_y"]
    nothing = cyclegan.reference(FACES, found)["identity_error"]
    assert nothing == pytest.approx((x - y).abs().mean().item(), abs=1e-5)


def test_errors_of_two_translators_that_differ() -> None:
    """One inverts, one halves: every error has its own way, and ways back begin as bytes."""
    found = cyclegan.domains("emoji")
    ways = [torch.nn.Module(), torch.nn.Module()]
    ways[0].forward = lambda x: -x  # type: ignore[method-assign]
    ways[1].forward = lambda x: x / 2  # type: ignore[method-assign]
    errors = cyclegan.measure(FACES, cyclegan.Translators(*ways), found)
    x, y = found.test_x[:6].double() / 127.5 - 1, found.test_y[:6].double() / 127.5 - 1
    halved = ((y / 2 + 1) * 127.5).round() / 127.5 - 1  # as a file keeps it
    expected = {
        "cycle_x": -x / 2 - x,
        "cycle_y": -halved - y,
        "moved_y": -x - x,
        "moved_x": halved - y,
        "error_y": -x - y,
        "error_x": halved - x,
    }
    assert errors.keys() == expected.keys()
    for name, off in expected.items():
        assert errors[name] == pytest.approx(off.abs().mean().item() / 2, abs=1e-6)
    turned = cyclegan.Translators(ways[1], ways[0])
    found_again = cyclegan.measure(FACES, turned, found)["cycle_x"]
    kept = ((x / 2 + 1) * 127.5).round() / 127.5 - 1
    assert found_again == pytest.approx((-kept - x).abs().mean().item() / 2, abs=1e-7)


def test_domains_are_what_their_names_say() -> None:
    """Horses are x, zebras y, of both splits; of emoji the vendors in their order."""
    found = cyclegan.domains("animals")
    assert found.names == ("horse", "zebra")
    for split, x, y in (("train", found.x, found.y), ("test", found.test_x, found.test_y)):
        for kind, images in (("horse", x), ("zebra", y)):
            assert torch.equal(images, animals.one_class(animals.load(split), kind))
    faces = cyclegan.domains("emoji")
    assert faces.names == emoji.VENDORS
    assert torch.equal(faces.x, emoji.load("train").google)
    assert torch.equal(faces.test_y, emoji.load("test").twitter)


def test_critics_judge_an_image_by_its_own_moments() -> None:
    """Batches would mix data and translations; a critic with pairs has twice the channels."""
    for paired, channels in ((False, 3), (True, 6)):
        critics = cyclegan.networks(FACES, 3, paired)[1]
        for critic in critics.values():
            assert critic.channels == channels
            norms = [m for m in critic.modules() if "Norm" in type(m).__name__]
            assert norms
            assert all(isinstance(norm, torch.nn.InstanceNorm2d) for norm in norms)


def test_how_a_training_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is given what; rates fall along half a cosine; the average by a weighted sum."""
    given: list[tuple] = []
    whole = cyclegan.cycle.players

    def watching(*args):
        given.append(args)
        return whole(*args)

    monkeypatch.setattr(cyclegan.cycle, "players", watching)
    config = dataclasses.replace(HERD, turns=5, average=0.8)
    weights, rates = [], []
    for now in cyclegan.fit(config, "full", cyclegan.domains("animals"), 3):
        translators, critics, optimizers = given[0][:3]
        if now.player == "translators":
            weights.append([p.detach().clone() for p in translators.parameters()])
        else:
            rates.append([o.param_groups[0]["lr"] for o in optimizers])
    for net, optimizer in zip((translators, critics), optimizers, strict=True):
        owned = [p for group in optimizer.param_groups for p in group["params"]]
        assert [id(p) for p in owned] == [id(p) for p in net.parameters()]
        assert optimizer.defaults["betas"] == (0.5, 0.99)
    for turn, pair in enumerate(rates, start=1):
        left = (1 + math.cos(math.pi * turn / 5)) / 2
        assert pair == pytest.approx([left * config.learning_rate] * 2, abs=1e-12)
    factors = [0.8**4, *(0.2 * 0.8 ** (5 - t) for t in range(2, 6))]
    for k, found in enumerate(now.translators.parameters()):
        expected = sum(f * each[k] for f, each in zip(factors, weights, strict=True))
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    moved = [(a - b).abs().max() for a, b in zip(weights[0], weights[-1], strict=True)]
    assert max(moved) > 1e-4
    first, second = given[0][3]
    assert first is not second
    states = [b.generator.initial_seed() for b in (first, second)]
    assert states[0] != states[1]
    noise = given[0][7](torch.zeros(100, 100))
    assert abs(noise.mean().item()) < 0.05
    assert noise.std().item() == pytest.approx(1, rel=0.05)


def test_a_seed_determines_the_training() -> None:
    """First losses repeat with it, and differ with another one."""
    found = cyclegan.domains("animals")
    one, again, other = (
        next(cyclegan.fit(HERD, "full", found, seed)).loss.item() for seed in (1, 1, 2)
    )
    assert one == again != other


def test_a_run_keeps_the_average_rounded_and_an_early_snapshot() -> None:
    """What is stored is what another training from the same seed ends with, in half precision."""
    run = cyclegan.train(HERD, 0, CPU)
    found = cyclegan.domains("animals")
    with pictures.one_thread(CPU):
        for now in cyclegan.fit(HERD, "full", found, 0):
            if (now.turn, now.player) == (HERD.turns // 3, "translators"):
                old = cyclegan.translated(now.translators.there, found.x[: cyclegan.KEPT])
    assert torch.equal(run.tensors["old.full"], pictures.to_grey(old))
    for name, value in now.translators.state_dict().items():
        assert torch.equal(run.tensors[f"full.{name}"], value.half().float())
    run.provenance["config"] = dataclasses.asdict(HERD)
    models = cyclegan.models(run)
    assert not any(m.training for m in models["noisy"].modules())
    draw = torch.Generator().manual_seed(2)
    rows = torch.randint(len(found.test_x), (4,), generator=draw)
    made = cyclegan.translated(models["full"].there, found.test_x[rows])
    sampled = cyclegan.sample(run, 4, torch.Generator().manual_seed(2))
    torch.testing.assert_close(sampled, (made.clamp(-1, 1) + 1) / 2)


class Scaled(torch.nn.Module):
    """A translator that multiplies by one number."""

    def __init__(self, factor: float):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(factor))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the product."""
        return self.factor * x


class Judging(torch.nn.Module):
    """A critic of both images of a pair: weighted means."""

    def __init__(self, weight: float):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(weight))

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Return one value an image."""
        means = (x + 0.3 * condition).flatten(1).mean(dim=1)
        return self.weight * means[:, None]


def test_the_game_with_pairs_by_hand() -> None:
    """Both players' losses from numbers; the critics' move leaves the translators alone."""
    nets = cyclegan.Translators(Scaled(0.5), Scaled(-0.7))
    critics = torch.nn.ModuleDict({"x": Judging(1.5), "y": Judging(-0.4)})
    optimizers = [torch.optim.SGD(n.parameters(), 0.1) for n in (nets, critics)]
    config = dataclasses.replace(FACES, paired=7.0, mixed=False)
    movers = cyclegan.told(config, nets, critics, optimizers)
    assert [mover.name for mover in movers] == ["translators", "critics"]
    assert [mover.optimizer for mover in movers] == optimizers
    draw = torch.Generator().manual_seed(0)
    batch = torch.randint(256, (3, 2, 1, 4, 4), generator=draw, dtype=torch.uint8)
    x, y = (batch.double() / 127.5 - 1).unbind(1)

    def value(weight: float, image: torch.Tensor, beside: torch.Tensor) -> torch.Tensor:
        return weight * (image + 0.3 * beside).mean(dim=(1, 2, 3))

    expected = 7 * ((0.5 * x - y).abs().mean() + (-0.7 * y - x).abs().mean())
    expected = expected + (value(-0.4, 0.5 * x, x) - 1).square().mean()
    expected = expected + (value(1.5, -0.7 * y, y) - 1).square().mean()
    assert movers[0].loss(batch).item() == pytest.approx(expected.item(), rel=1e-5)
    loss = movers[1].loss(batch)
    expected = (value(-0.4, y, x) - 1).square().mean() + value(-0.4, 0.5 * x, x).square().mean()
    expected = expected + (value(1.5, x, y) - 1).square().mean()
    expected = expected + value(1.5, -0.7 * y, y).square().mean()
    assert loss.item() == pytest.approx(expected.item() / 2, rel=1e-5)
    slopes = torch.autograd.grad(loss, list(nets.parameters()), allow_unused=True)
    assert slopes == (None, None)


def test_pairs_are_shown_as_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """First the image of X, then its partner, each batch."""
    found, shown = cyclegan.domains("emoji"), []

    def watching(movers, batches, turns):
        shown.append(next(batches))
        return iter([])

    monkeypatch.setattr(cyclegan, "play", watching)
    list(cyclegan.fit(FACES, "paired", found, 0))
    for first, second in shown[0]:
        (row,) = (found.x == first).flatten(1).all(dim=1).nonzero()[0].tolist()
        assert torch.equal(found.y[row], second)


def test_quantised_is_what_a_file_keeps() -> None:
    """Cut to the scale and rounded: 256 levels are bytes, two are black and white."""
    x = torch.tensor([-1.3, -1.0, -0.2, 0.1, 0.999, 1.7])
    bytes_ = ((x.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
    torch.testing.assert_close(cyclegan.quantised(x, 256), bytes_)
    assert cyclegan.quantised(x, 2).tolist() == [-1, -1, -1, 1, 1, 1]
    with pytest.raises(ValueError, match="at least 2 levels, got 1"):
        cyclegan.quantised(x, 1)


def test_a_critic_with_pairs_sees_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """The paired game moves both translators towards the partners, and needs partners."""
    config = dataclasses.replace(FACES, variants=("paired",), turns=30, learning_rate=3e-3)
    run = cyclegan.train(config, 0, CPU)
    line = run.history["paired_translators_loss"]
    assert sum(line[-5:]) < sum(line[:5])
    with pytest.raises(ValueError, match="needs pairs, which animals do not have"):
        cyclegan.train(dataclasses.replace(HERD, variants=("paired",)), 0, CPU)


def test_variants_leave_out_what_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each variant's weights, noise and buffer, as the players are given them."""
    given = {}
    whole = cyclegan.cycle.players

    def watching(*args, **options):
        given["objective"], given["buffers"] = args[4], args[3]
        return whole(*args, **options)

    monkeypatch.setattr(cyclegan.cycle, "players", watching)
    found = cyclegan.domains("animals")
    expected = {
        "full": (5.0, 1.0, 0.0, 50),
        "no_cycle": (0.0, 1.0, 0.0, 50),
        "no_identity": (5.0, 0.0, 0.0, 50),
        "noisy": (5.0, 1.0, 0.1, 50),
        "no_buffer": (5.0, 1.0, 0.0, 0),
    }
    for variant, (back, same, noise, size) in expected.items():
        next(cyclegan.fit(dataclasses.replace(HERD, turns=1), variant, found, 0))
        asked = given["objective"]
        assert (asked.cycle, asked.identity, asked.noise) == (back, same, noise)
        assert [b.capacity for b in given["buffers"]] == [size, size]


def test_an_empty_domain_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A herd without zebras."""
    herd = animals.load("train")
    no_zebras = dataclasses.replace(
        herd, images=herd.images[herd.labels < 9], labels=herd.labels[herd.labels < 9]
    )
    monkeypatch.setattr(animals, "load", lambda split: no_zebras)
    with pytest.raises(ValueError, match="few has no image of class 'zebra'"):
        cyclegan.domains("animals")


def test_what_is_stored_of_pairs_and_critics() -> None:
    """No early snapshot of the game with pairs; critics are rounded, and curves are their own."""
    config = dataclasses.replace(FACES, variants=("full", "paired"))
    run, found = cyclegan.train(config, 0, CPU), cyclegan.domains("emoji")
    assert [name for name in run.tensors if name.startswith("old.")] == ["old.full"]
    losses: dict[str, list[float]] = {"translators": [], "critics": []}
    with pictures.one_thread(CPU):
        for now in cyclegan.fit(config, "paired", found, 0):
            losses[now.player].append(now.loss.item())
    for player, line in losses.items():
        assert run.history[f"paired_{player}_loss"] == pytest.approx(line)
    for name, value in now.critics.state_dict().items():
        assert torch.equal(run.tensors[f"critics.paired.{name}"], value.half().float())
    run.provenance["config"] = dataclasses.asdict(config)
    for net in (cyclegan.critics_of(run, "paired"), cyclegan.restore(run)):
        assert not any(m.training for m in net.modules())
        assert not any(p.requires_grad for p in net.parameters())


def test_both_domains_are_counted() -> None:
    """Three horses and one zebra are four images to be told apart."""
    found = cyclegan.domains("animals")
    found = found._replace(test_y=found.test_y[:1])
    assert cyclegan.reference(HERD, found) == {"test_x": 3, "test_y": 1}
