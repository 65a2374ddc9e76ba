"""Proof for litgen/recipes/gan/conditional_digits.py, on a tiny set in MNIST's format."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from litgen import runs
from litgen.data.sources import ImageSet, Record
from litgen.recipes import pictures
from litgen.recipes.gan import conditional_digits as recipe

CPU = torch.device("cpu")
TINY = dataclasses.replace(
    recipe.CPU,
    widths=(4, 2),
    critic_widths=(2, 4),
    latent=3,
    turns=12,
    batch_size=8,
    snapshots=4,
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
    made = {"train": bars(200, "train", 1), "test": bars(60, "test", 2)}
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
    assert first.history["critic_loss_nats"] != other.history["critic_loss_nats"]
    assert abs(first.history["critic_loss_nats"][0] - 2 * 0.6931) < 0.5


def test_both_players_hear_the_classes_of_the_batch(
    sets: Sets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images come with their own labels, and samples are asked for the very same ones."""
    heard: list[tuple[str, Any, Tensor]] = []

    def listen(name: str, player: type[nn.Module]) -> None:
        """Note what a player is called with."""
        inner: Callable[..., Tensor] = player.forward

        def forward(self: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
            heard.append((name, x.detach(), labels))
            return inner(self, x, labels)

        monkeypatch.setattr(player, "forward", forward)

    listen("generator", recipe.ConditionalGenerator)
    listen("critic", recipe.ConditionalCritic)
    play(dataclasses.replace(TINY, turns=1), sets)
    names = [name for name, _, _ in heard]
    assert names == ["generator", "critic", "critic", "generator", "critic"]
    (_, _, asked), (_, x, real), (_, _, fake), (_, _, mine), (_, _, judged) = heard
    assert torch.equal(asked, real)
    assert torch.equal(fake, real)
    assert torch.equal(mine, judged)
    assert not torch.equal(mine, real)  # a batch of its own
    brightest = x[:, 0].mean(dim=2).unfold(1, 8, 1).mean(dim=2).argmax(dim=1)
    assert torch.equal(brightest, 2 * real)
    assert -1 <= x.min() < -0.6 < 0.7 < x.max() <= 1


def test_the_generator_learns_to_obey(sets: Sets) -> None:
    """After a short game bars stand where the class says, far more often than by chance."""
    config = dataclasses.replace(
        TINY, widths=(8, 4), critic_widths=(4, 8), turns=150, batch_size=20, learning_rate=4e-3
    )
    *_, now = play(config, sets)
    recipe.settle(now.averaged)
    labels = torch.arange(100) % 10
    codes = torch.randn(100, 3, generator=torch.Generator().manual_seed(3))
    images = recipe.draw(now.averaged.eval(), labels, codes)
    assert images.min() >= -1e-6
    assert images.max() <= 1 + 1e-6
    rows = images[:, 0, :, 4:24].mean(dim=2).unfold(1, 8, 1).mean(dim=2)[:, ::2]
    assert (rows.argmax(dim=1) == labels).float().mean() > 0.5


def test_the_average_follows_the_weights(sets: Sets) -> None:
    """With decay 0 it is the generator itself, else behind it."""
    for decay, same in ((0.0, True), (0.9, False)):
        *_, now = play(dataclasses.replace(TINY, average=decay), sets)
        pairs = zip(now.averaged.parameters(), now.players.generator.parameters(), strict=True)
        assert all(torch.allclose(a, b) for a, b in pairs) is same


def test_settling_gives_the_moments_of_own_activations(sets: Sets) -> None:
    """The first normalisation's running mean is the mean of what it sees, and no weight moves."""
    *_, now = play(TINY, sets)
    generator = now.averaged
    before = [p.clone() for p in generator.parameters()]
    recipe.settle(generator, batches=40)
    assert all(torch.equal(a, b) for a, b in zip(before, generator.parameters(), strict=True))
    linear, _, norm, _ = generator.body.stages[0]
    shares = torch.eye(10).mean(dim=0) * generator.scale
    expected = linear.bias + linear.weight[:, 3:] @ shares  # codes are zero in the mean
    expected = expected.view(4, -1).mean(dim=1)
    assert expected.std() > 1e-4
    torch.testing.assert_close(norm.running_mean, expected.detach(), atol=3e-4, rtol=0)


def test_a_diverged_game_stops_and_says_so(sets: Sets) -> None:
    """The last good state is kept, with a warning, and the run notes the turn."""
    config = dataclasses.replace(TINY, turns=140, learning_rate=2e-3, average=0.5)
    original, calls = recipe.adversaries, []

    def poisoned(*arguments: Any, **named: Any) -> Any:
        """Let the critic's loss become nan in its 60th move."""
        critic, generator = original(*arguments, **named)

        def loss(batch: Tensor) -> Tensor:
            calls.append(1)
            return critic.loss(batch) * (float("nan") if len(calls) > 60 else 1.0)

        return [dataclasses.replace(critic, loss=loss), generator]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe, "adversaries", poisoned)
        with pytest.warns(RuntimeWarning, match="the state of turn 49 is kept"):
            run = recipe.train(config, 0, CPU)
    assert run.metrics["turns"] == 100
    assert run.metrics["diverged"] == 1
    kept = run.part("model")
    assert all(tensor.isfinite().all() for tensor in kept.values() if tensor.is_floating_point())
    assert run.tensors["snapshots.turn"][-1] == 100


def test_a_run_survives_the_store(tmp_path: Path, sets: Sets) -> None:
    """Measured again after it, its weights give the same numbers; snapshots end with the run's."""
    run = runs.train("gan/conditional_digits", "cpu", config=TINY)
    runs.save(run, tmp_path / "run.safetensors")
    back = runs.load(tmp_path / "run.safetensors")
    assert recipe.evaluate(back, CPU) == pytest.approx(run.metrics, rel=1e-5)
    assert recipe.config_of(back) == TINY
    drawn = recipe.sample(back, 12, torch.Generator().manual_seed(2))
    assert drawn.shape == (12, 1, 28, 28)
    shots = back.tensors["snapshots.images"]
    assert shots.shape[1:] == (recipe.SHOWN, 10, 28, 28)
    turns = back.tensors["snapshots.turn"].tolist()
    assert turns[0] == 1
    assert turns[-1] == 12
    codes = torch.randn(recipe.SHOWN, 3, generator=torch.Generator().manual_seed(1))
    again = recipe.shot(recipe.restore(back).generator, codes)
    assert (again.int() - shots[-1].int()).abs().max() < 8  # half precision
    assert len({shot.float().mean().item() for shot in shots[-1].flatten(0, 1)}) > 30
    assert [part["name"] for part in back.data] == ["mnist", "mnist"]


def test_distances_are_taken_class_by_class(sets: Sets) -> None:
    """A generator that repeats the test images is near in all; in wrong classes far in each."""
    test = sets["test"]
    config = dataclasses.replace(TINY, test_images=60)
    players = recipe.Players(config).eval()
    own = {c: pictures.to_unit(test.images[test.labels == c]) for c in range(10)}

    def measured(shift: int) -> dict[str, float]:
        """Measure a generator that answers with test images of a class shifted by so much."""

        class Repeats(nn.Module):
            def forward(self, z: Tensor, labels: Tensor) -> Tensor:
                """Return test images of the shifted class, in turn."""
                pools = [own[(int(c) + shift) % 10] for c in labels]
                return torch.stack([pool[i % len(pool)] for i, pool in enumerate(pools)])

        players.generator = Repeats()  # type: ignore[assignment]
        return recipe.measure(config, players, test.images, test.labels)

    right, wrong = measured(0), measured(1)
    assert right["test_class_energy_distance"] < 0.5
    assert wrong["test_class_energy_distance"] > 5
    assert wrong["test_energy_distance"] < 1


def test_the_configs_name_their_data() -> None:
    """Digits and nothing else; two sizes of one game."""
    assert recipe.data(recipe.CPU) == recipe.data(recipe.GPU) == ("mnist",)
    assert recipe.GPU.turns > recipe.CPU.turns
    for config in (recipe.CPU, recipe.GPU):
        size = sum(p.numel() for p in recipe.Players(config).parameters())
        assert 2 * size < runs.LIMIT - 14 * recipe.SHOWN * 10 * 784
