"""Proof for the DCGAN recipes, dcgan.py, dcgan_clothes.py, dcgan_faces.py:
tiny games, whose results are looked at."""

import dataclasses
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from litgen import runs
from litgen.data import drawn_faces
from litgen.data.sources import ImageSet, Record, checksum
from litgen.gan.game import Rules
from litgen.gan.networks import ConvGenerator
from litgen.recipes import pictures
from litgen.recipes.gan import dcgan, dcgan_clothes, dcgan_faces

CPU = torch.device("cpu")
TINY = dataclasses.replace(
    dcgan.CPU,
    side=8,
    widths=(8, 6),
    critic_widths=(6, 8),
    latent=4,
    turns=30,
    batch_size=16,
    learning_rate=1e-3,
    snapshots=4,
    test_images=40,
)


def bars(count: int) -> Tensor:
    """Return black images with a white bar, upright or lying."""
    images = torch.zeros(count, 1, 8, 8, dtype=torch.uint8)
    images[::2, :, :, 3:5] = 255
    images[1::2, :, 3:5] = 255
    return images


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put bars in the place of digits."""

    def load(name: str) -> tuple[ImageSet, ImageSet]:
        labels = torch.zeros(200, dtype=torch.int64)
        record = Record("bars", "here", "none", "us", checksum(bars(200), labels), {}, False)
        return ImageSet(bars(200), labels, record), ImageSet(bars(60), labels[:60], record)

    monkeypatch.setattr(pictures, "load", load)


def test_the_game_learns_bars() -> None:
    """Samples become mostly black with white in the middle rows or columns; losses stay finite."""
    config = dataclasses.replace(TINY, turns=150, learning_rate=5e-3, average=0.95)
    for now in dcgan.fit(config, bars(200), seed=0):
        assert now.warning == ""
        assert now.kept == now.turn
        assert now.critic_loss.isfinite()
        assert now.generator_loss.isfinite()
    assert now.turn == 149
    dcgan.settled(now.averaged, config)
    with torch.no_grad():
        images = now.averaged(torch.randn(200, 4, generator=torch.Generator().manual_seed(1)))
    real = pictures.to_unit(bars(200))
    assert (images.mean(dim=0) - real.mean(dim=0)).abs().mean() < 0.25
    upright = images[:, 0, :2, 3:5].mean(dim=(1, 2))
    assert upright.std() > 0.3  # some are, and some are not


def test_what_samples_is_the_average_with_its_own_moments(small: None) -> None:
    """The averaged weights follow the played ones; their norms are settled and say evaluation."""
    config = dataclasses.replace(TINY, turns=3, average=0.5)
    states = []
    for now in dcgan.fit(config, bars(200), seed=0):
        states.append({n: p.detach().clone() for n, p in now.players.generator.named_parameters()})
    for name, found in now.averaged.named_parameters():
        expected = 0.25 * states[0][name] + 0.25 * states[1][name] + 0.5 * states[2][name]
        torch.testing.assert_close(found.detach(), expected)
    dcgan.settled(now.averaged, config)
    norm = now.averaged.stages[0][2]
    z = torch.randn(8, 250, 4, generator=torch.Generator().manual_seed(0))
    h = now.averaged.stages[0][:2](z.flatten(0, 1))
    torch.testing.assert_close(norm.running_mean, h.mean(dim=(0, 2, 3)), atol=1e-4, rtol=1e-3)
    assert not now.averaged.training


def test_rates_and_rules() -> None:
    """Adam's first step is the learning rate; the last third slows down; rules can be others."""
    config = dataclasses.replace(TINY, turns=30)
    moved = []
    before: dict[str, Tensor] = {}
    for now in dcgan.fit(config, bars(100), seed=0):
        after = {n: p.detach().clone() for n, p in now.players.critic.named_parameters()}
        if before:
            moved.append(max((after[n] - before[n]).abs().max().item() for n in after))
        before = after
    assert max(moved[:19]) < 3 * config.learning_rate
    assert moved[-1] < 0.3 * config.learning_rate < 0.5 * max(moved[:19])
    usual = next(dcgan.fit(config, bars(100), seed=0))
    other = next(dcgan.fit(config, bars(100), 0, Rules(critic_loss=lambda r, f: (f - r).mean())))
    assert usual.critic_loss > 1 > other.critic_loss.abs()
    assert next(dcgan.fit(config, bars(100), seed=1)).critic_loss != usual.critic_loss


def test_a_run_survives_the_store(small: None, tmp_path: Path) -> None:
    """Measured again after it, its weights give the same numbers; snapshots are of fixed codes."""
    run = runs.train("gan/dcgan", "cpu", config=TINY)
    assert run.metrics["turns"] == 30
    assert run.metrics["diverged"] == 0
    assert run.tensors["snapshots.turn"].tolist() == [1, 3, 10, 30]
    shots = run.tensors["snapshots.images"]
    assert shots.shape == (4, dcgan.SHOWN, 1, 8, 8)
    assert shots.dtype == torch.uint8
    assert (shots[0].float() - shots[-1].float()).abs().mean() > 2
    path = tmp_path / "a.safetensors"
    runs.save(run, path)
    again = runs.load(path)
    assert dcgan.config_of(again) == TINY
    measured = dcgan.evaluate(again, CPU)
    for name, value in measured.items():
        assert value == pytest.approx(run.metrics[name], rel=1e-4, abs=1e-5), name
    players = dcgan.restore(again)
    assert not players.training
    z = run.tensors["examples.z"].float()
    last = pictures.to_grey(players.generator(z))
    assert (last.float() - shots[-1].float()).abs().mean() < 1.5
    drawn = dcgan.sample(again, 7, torch.Generator().manual_seed(0))
    assert drawn.shape == (7, 1, 8, 8)
    assert 0 <= drawn.min() < drawn.max() <= 1
    assert torch.equal(drawn, dcgan.sample(again, 7, torch.Generator().manual_seed(0)))


def test_measures_of_a_known_critic(small: None) -> None:
    """A critic that looks at one black corner: right on data, wrong on white samples."""
    players = dcgan.Players(TINY).eval()

    class Corner(nn.Module):
        """Says data where the corner is black."""

        def forward(self, x: Tensor) -> Tensor:
            """Return the corner's darkness."""
            return -x[:, 0, 0, 0] - 0.5

    class White(ConvGenerator):
        """Draws white images."""

        def forward(self, z: Tensor) -> Tensor:
            """Return ones."""
            return torch.ones(len(z), 1, 8, 8)

    players.critic, players.generator = Corner(), White(4, (8, 6), 1, 8)  # type: ignore[assignment]
    found = dcgan.measure(TINY, players, bars(60))
    assert found["test_critic_accuracy"] == 1.0
    # twice E|X-Y| less E|X-X'|: 48 of 64 pixels differ by 2 from white, 24 between unlike bars
    x = pictures.to_unit(bars(40)).flatten(1).double()
    between = (x - 1).norm(dim=1).mean().item()
    within = torch.cdist(x, x).sum().item() / (40 * 39)
    assert found["test_energy_distance"] == pytest.approx(2 * between - within, rel=1e-4)
    assert found["test_images"] == 40
    players.generator = nn.Sequential()  # type: ignore[assignment]


@pytest.mark.parametrize("rate", [1e25])
def test_a_game_that_diverges_is_stopped_and_says_so(small: None, rate: float) -> None:
    """The kept state is finite, the run says the turn, and a warning the rest."""
    config = dataclasses.replace(TINY, turns=120, learning_rate=rate)
    with pytest.warns(RuntimeWarning, match="the game diverged.*kept"):
        run = dcgan.train(config, 0, CPU)
    assert run.metrics["diverged"] == 1
    assert run.metrics["turns"] < 120
    weights = [t for n, t in run.tensors.items() if n.startswith("model.")]
    assert all(t.isfinite().all() for t in weights if t.is_floating_point())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dcgan.train(dataclasses.replace(TINY, turns=4, snapshots=2), 0, CPU)


def test_the_three_recipes() -> None:
    """They differ in data, shape and pace only, and publish runs that are small enough."""
    for recipe, name, shape in (
        (dcgan, "mnist", (1, 28)),
        (dcgan_clothes, "fashion_mnist", (1, 28)),
        (dcgan_faces, "drawn_faces", (3, 32)),
    ):
        for config in (recipe.CPU, recipe.GPU):
            assert recipe.data(config) == (name,)
            assert (config.channels, config.side, config.norm) == (*shape, "batch")
            assert config.momentum == 0.5
        players = dcgan.Players(recipe.GPU)
        assert 2 * sum(p.numel() for p in players.parameters()) < 3.9e6
    assert dcgan_faces.CPU.side == drawn_faces.SIDE
