"""Proof for litgen/recipes/gan: biggan.py, biggan_unbounded.py, on a tiny set of bars."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from litgen import runs
from litgen.data.sources import ImageSet, Record
from litgen.gan import hinge, orthogonal
from litgen.gan.biggan import Normalised
from litgen.gan.game import LastGood
from litgen.recipes import pictures
from litgen.recipes.gan import biggan as recipe
from litgen.recipes.gan import biggan_unbounded
from litgen.training import plain_products

CPU = torch.device("cpu")
TINY = dataclasses.replace(
    recipe.CPU,
    widths=(4, 3, 2),
    critic_widths=(2, 4),
    chunk=2,
    embedding=3,
    turns=10,
    batch_size=8,
    snapshots=3,
    test_images=40,
    mixed=False,
)
Sets = dict[str, ImageSet]


def bars(count: int, split: str, seed: int) -> ImageSet:
    """Return 28x28 images of one bright bar each, whose height on the page says the class."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 40, (count, 1, 28, 28), generator=generator)
    labels = torch.randint(0, 10, (count,), generator=generator)
    for image, label in zip(images, labels.tolist(), strict=True):
        image[0, 2 * label : 2 * label + 8, 4:24] = 230
    record = Record("bars", f"drawn, {split}", "none", "none", f"{split}{seed}", {}, True)
    return ImageSet(images.to(torch.uint8), labels, record)


@pytest.fixture(autouse=True)
def sets(monkeypatch: pytest.MonkeyPatch) -> Sets:
    """Put the bars in the place of both data sets."""
    made = {"train": bars(120, "train", 1), "test": bars(60, "test", 2)}
    for name in ("mnist", "fashion_mnist"):
        monkeypatch.setitem(pictures.LOADERS, name, made.__getitem__)
    return made


@pytest.fixture(autouse=True)
def _precision() -> Iterator[None]:
    """Undo what runs.train sets for the whole process."""
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def play(config: recipe.Config, sets: Sets, seed: int = 0) -> list[recipe.Progress]:
    """Return every turn of a game on the bars."""
    return list(recipe.fit(config, sets["train"].images, sets["train"].labels, seed))


def test_a_seed_reproduces_a_run_to_the_bit() -> None:
    """Same seed, same tensors, metrics and curves; another seed, others."""
    first = recipe.train(TINY, 1, CPU)
    torch.rand(7)
    again, other = recipe.train(TINY, 1, CPU), recipe.train(TINY, 2, CPU)
    torch.testing.assert_close(first.tensors, again.tensors, rtol=0, atol=0)
    assert first.metrics == again.metrics
    assert first.history == again.history
    assert first.history["critic_loss"] != other.history["critic_loss"]


def test_the_average_is_the_weighted_sum_of_all_weights(sets: Sets) -> None:
    """eq:big-average: d^(T-1) of the first, (1 - d) d^(T-t) of each that follows, by a sum."""
    config, seen = dataclasses.replace(TINY, average=0.8, turns=6), []
    for now in recipe.fit(config, sets["train"].images, sets["train"].labels, 0):
        seen.append([p.detach().clone() for p in now.players.generator.parameters()])
    factors = [0.8**5, *(0.2 * 0.8 ** (6 - t) for t in range(2, 7))]
    assert sum(factors) == pytest.approx(1)
    for k, found in enumerate(now.averaged.parameters()):
        expected = sum(f * weights[k] for f, weights in zip(factors, seen, strict=True))
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    moved = torch.stack([(a - b).abs().max() for a, b in zip(seen[0], seen[-1], strict=True)])
    assert moved.max() > 1e-3


def test_the_losses_are_the_hinges_and_the_generator_pays_its_penalty(
    sets: Sets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rules get the hinge's two losses; beta times the penalty is added for the generator."""
    heard: list[Any] = []
    original = recipe.adversaries

    def listen(*arguments: Any, **named: Any) -> Any:
        """Note the rules, and let the generator's own loss be zero."""
        critic, generator = original(*arguments, **named)
        heard.append((arguments[4], arguments[0]))
        silent = dataclasses.replace(generator, loss=lambda b: 0 * generator.loss(b))
        return [critic, silent]

    monkeypatch.setattr(recipe, "adversaries", listen)
    for beta in (0.5, 0.0):
        config = dataclasses.replace(TINY, orthogonal=beta, turns=1, learning_rate=0.0)
        (now,) = play(config, sets)
        rules, generator = heard[-1]
        assert rules.critic_loss is hinge.critic_loss
        assert rules.generator_loss is hinge.generator_loss
        assert not rules.apart
        expected = beta * orthogonal.total_penalty(generator)
        torch.testing.assert_close(now.generator_loss, expected.detach(), rtol=1e-3, atol=0)
        assert bool(now.generator_loss > 0.01) is bool(beta)


def test_a_power_step_for_each_weight_in_a_move(
    sets: Sets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The penalty is on the very weights that made the samples: no second step between them."""
    heard: list[Any] = []
    original, forward = recipe.adversaries, Normalised.forward

    def listen(*arguments: Any, **named: Any) -> Any:
        players = original(*arguments, **named)
        heard.append((arguments[0], players))
        return players

    stepped: list[int] = []

    def stepping(self: Normalised, weight: torch.Tensor) -> torch.Tensor:
        stepped.append(id(self))
        return forward(self, weight)

    monkeypatch.setattr(recipe, "adversaries", listen)
    monkeypatch.setattr(recipe, "play", lambda movers, *_: iter(heard.append(movers) or ()))
    list(play(TINY, sets))
    (generator, _), movers = heard
    monkeypatch.setattr(Normalised, "forward", stepping)
    movers[1].loss(torch.arange(8))
    rules = [id(m) for m in generator.modules() if isinstance(m, Normalised)]
    assert sorted(rules) == sorted(found for found in stepped if found in rules)


def test_who_is_given_what(sets: Sets, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rates, moves and momenta of each player; images with their own labels."""
    heard: list[tuple[Any, ...]] = []
    original = recipe.adversaries

    def listen(*arguments: Any, **named: Any) -> Any:
        heard.append((*arguments, named))
        return original(*arguments, **named)

    monkeypatch.setattr(recipe, "adversaries", listen)
    config = dataclasses.replace(
        TINY, critic_moves=3, learning_rate=1e-3, critic_rate=4e-3, turns=1, convolutions=2
    )
    (now,) = play(config, sets)
    generator, critic, optimizers, codes, rules, named = heard[0]
    for net, optimizer, rate in zip((critic, generator), optimizers, (4e-3, 1e-3), strict=True):
        owned = [p for group in optimizer.param_groups for p in group["params"]]
        assert [id(p) for p in owned] == [id(p) for p in net.parameters()]
        assert optimizer.defaults["lr"] == rate
        assert optimizer.defaults["betas"] == (0.0, 0.99)
    assert rules.critic_moves == 3
    assert codes(4).shape == (4, 6)
    rows = torch.tensor([3, 7, 1])
    images, labels = named["load"](rows)
    torch.testing.assert_close(images, pictures.to_unit(sets["train"].images[rows]))
    assert torch.equal(labels, sets["train"].labels[rows])
    assert [len(block.layers) for block in now.players.generator.blocks] == [2, 2]
    plain = recipe.Players(dataclasses.replace(TINY, spectral_norm=False))
    assert not any(parametrize.is_parametrized(layer) for layer in plain.modules())


def test_a_run_keeps_what_another_game_comes_to(sets: Sets) -> None:
    """Snapshots by settled averages on the way; the weights divided, settled and rounded."""
    run = recipe.train(TINY, 0, CPU)
    latent = TINY.chunk * len(TINY.widths)
    codes = torch.randn(recipe.SHOWN, latent, generator=torch.Generator().manual_seed(1))
    shots = []
    with pictures.one_thread(CPU), plain_products(CPU):
        for now in recipe.fit(TINY, sets["train"].images, sets["train"].labels, 0):
            if now.turn + 1 in (1, 3, 10):
                recipe.settle(now.averaged)
                shots.append(recipe.shot(now.averaged, codes))
                now.averaged.train()
    assert torch.equal(run.tensors["snapshots.images"], torch.stack(shots))
    one = recipe.draw(now.averaged.eval(), torch.arange(10), codes[:1].expand(10, -1))
    grey = (one[:, 0] * 255).round().to(torch.uint8)
    assert (grey.int() - shots[-1][0].int()).abs().max() <= 2
    players = now.players
    test = sets["test"].images, sets["test"].labels
    recipe.settle(players.generator)
    found = recipe.measure(TINY, players, *test)["test_energy_distance"]
    assert run.metrics["unaveraged_energy_distance"] == pytest.approx(found, rel=1e-6)
    players.generator.load_state_dict(now.averaged.state_dict())
    recipe.settle(players.generator)
    recipe.baked(players.eval())
    for name, value in players.state_dict().items():
        kept = value.half().to(value.dtype) if value.is_floating_point() else value
        assert torch.equal(run.tensors[f"model.{name}"], kept)


def test_settling_takes_the_moments_of_the_codes_it_is_told(sets: Sets) -> None:
    """The first normalisation's running moments are those of W z + b, cut or not; no step back."""
    *_, now = play(TINY, sets)
    generator = now.averaged
    before = [p.clone() for p in generator.parameters()]
    seen = {}
    for threshold in (None, 0.5):
        recipe.settle(generator, threshold, batches=20)
        assert not generator.training
        norm = generator.blocks[0].norms[0].norm
        with torch.no_grad():
            weight, bias = generator.first.weight, generator.first.bias
            spread = weight.square().sum(dim=1) * (1.0 if threshold is None else 0.08063)
            variance = (spread + bias.square()).view(4, -1).mean(dim=1)
            expected = variance - bias.view(4, -1).mean(dim=1).square()
        torch.testing.assert_close(norm.running_var, expected, rtol=0.06, atol=1e-4)
        seen[threshold] = norm.running_var.clone()
    assert (seen[None] > 3 * seen[0.5]).all()
    assert all(torch.equal(a, b) for a, b in zip(before, generator.parameters(), strict=True))


def test_settling_asks_for_all_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four batches of fresh codes unless said otherwise, classes in turn, by the seed given."""
    heard: list[list[tuple[torch.Tensor, torch.Tensor]]] = []
    monkeypatch.setattr(recipe.networks, "settle", lambda net, given: heard.append(list(given)))
    generator = recipe.Players(TINY).generator
    recipe.settle(generator)
    recipe.settle(generator, seed=3, batches=2)
    recipe.settle(generator, seed=3, batches=2)
    assert [len(given) for given in heard] == [4, 2, 2]
    for z, labels in heard[0]:
        assert labels.tolist() == list(range(10)) * 25
        assert z.shape == (250, generator.latent)
    assert not torch.equal(heard[0][0][0], heard[0][1][0])
    assert not torch.equal(heard[0][0][0], heard[1][0][0])
    assert torch.equal(heard[1][1][0], heard[2][1][0])


def test_a_run_survives_the_store(tmp_path: Path) -> None:
    """Measured again after it, its weights give the same numbers; snapshots end with the run's."""
    run = runs.train("gan/biggan", "cpu", config=TINY)
    runs.save(run, tmp_path / "run.safetensors")
    back = runs.load(tmp_path / "run.safetensors")
    assert recipe.evaluate(back, CPU) == pytest.approx(run.metrics, rel=1e-5)
    assert recipe.config_of(back) == TINY
    drawn = recipe.sample(back, 12, torch.Generator().manual_seed(2))
    assert drawn.shape == (12, 1, 28, 28)
    assert 0 <= drawn.min() < drawn.max() <= 1
    shots = back.tensors["snapshots.images"]
    assert shots.shape[1:] == (recipe.SHOWN, 10, 28, 28)
    assert back.tensors["snapshots.turn"].tolist() == [1, 3, 10]
    codes = torch.randn(recipe.SHOWN, 6, generator=torch.Generator().manual_seed(1))
    again = recipe.shot(recipe.restore(back).generator, codes)
    assert (again.int() - shots[-1].int()).abs().max() < 8  # half precision, and power steps
    assert back.metrics["unaveraged_energy_distance"] != back.metrics["test_energy_distance"]
    assert [part["name"] for part in back.data] == ["fashion_mnist", "fashion_mnist"]


def test_a_diverged_game_stops_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last good state is kept, with a warning, and the run notes it."""
    original = recipe.adversaries

    def poisoned(*arguments: Any, **named: Any) -> Any:
        """Let the critic's loss become nan."""
        critic, generator = original(*arguments, **named)
        return [
            dataclasses.replace(critic, loss=lambda b: critic.loss(b) * float("nan")),
            generator,
        ]

    monkeypatch.setattr(recipe, "adversaries", poisoned)
    monkeypatch.setattr(recipe, "LastGood", lambda model: LastGood(model, 5))
    with pytest.warns(RuntimeWarning, match="the start is kept"):
        run = recipe.train(TINY, 0, CPU)
    assert run.metrics["diverged"] == 1
    assert run.metrics["turns"] == 5
    weights = run.part("model").values()
    assert all(tensor.isfinite().all() for tensor in weights if tensor.is_floating_point())


def test_distances_are_taken_class_by_class(sets: Sets) -> None:
    """A generator that repeats the test images is near in all; in wrong classes far in each."""
    test = sets["test"]
    players = recipe.Players(TINY).eval()
    own = {c: pictures.to_unit(test.images[test.labels == c]) for c in range(10)}

    def measured(shift: int) -> dict[str, float]:
        """Measure a generator that answers with test images of a class shifted by so much."""

        class Repeats(nn.Module):
            latent = 6

            def forward(self, z: Tensor, labels: Tensor) -> Tensor:
                """Return test images of the shifted class, in turn."""
                pools = [own[(int(c) + shift) % 10] for c in labels]
                return torch.stack([pool[i % len(pool)] for i, pool in enumerate(pools)])

        players.generator = Repeats()  # type: ignore[assignment]
        config = dataclasses.replace(TINY, test_images=60)
        return recipe.measure(config, players, test.images, test.labels)

    right, wrong = measured(0), measured(1)
    assert right["test_class_energy_distance"] < 0.5
    assert wrong["test_class_energy_distance"] > 5
    assert wrong["test_energy_distance"] < 1


def test_the_configs_differ_in_what_they_say() -> None:
    """Clothes and nothing else; the variant has no spectral norms; runs fit into the store."""
    assert recipe.data(recipe.CPU) == recipe.data(recipe.GPU) == ("fashion_mnist",)
    for config, other in ((recipe.CPU, biggan_unbounded.CPU), (recipe.GPU, biggan_unbounded.GPU)):
        same = dataclasses.replace(
            other, spectral_norm=True, turns=config.turns, snapshots=config.snapshots
        )
        assert same == config
        assert not other.spectral_norm
        size = sum(p.numel() for p in recipe.Players(config).parameters())
        assert 2 * size < runs.LIMIT - 10 * recipe.SHOWN * 10 * 784
