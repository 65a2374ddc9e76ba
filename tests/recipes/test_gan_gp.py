"""Proof for litgen/recipes/gan: gp_planes.py, gp_seeds.py, gp_digits.py, gp_clothes.py, tiny."""

import dataclasses
from pathlib import Path

import pytest
import torch

from litgen import runs
from litgen.gan import toys
from litgen.recipes import pictures as shared
from litgen.recipes.gan import gp_clothes, gp_digits, gp_planes, gp_seeds

CPU = torch.device("cpu")
PLANES = dataclasses.replace(
    gp_planes.CPU,
    hidden=(24, 24),
    critic_hidden=(24, 24),
    symbols=6,
    turns=12,
    critic_turns=12,
    batch_size=32,
    moments=4,
)
DIGITS = dataclasses.replace(
    gp_digits.CPU, widths=(8, 4), turns=6, batch_size=8, moments=3, latent=5
)


@pytest.fixture
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the recipe see 2,100 images, which cost little."""
    whole = shared.load

    def part(name: shared.Name) -> tuple[shared.ImageSet, shared.ImageSet]:
        train_set, test_set = whole(name)
        return (
            dataclasses.replace(train_set, images=train_set.images[:2_100]),
            dataclasses.replace(test_set, images=test_set.images[:2_100]),
        )

    monkeypatch.setattr(shared, "load", part)


# in the plane ------------------------------------------------------------------------------------


def test_codes_have_a_symbol_where_the_game_has_one() -> None:
    """One place of the symbol's six is not zero, of mean square one; the last game's are zero."""
    players = gp_planes.Players(PLANES)
    codes = players.codes(400, torch.Generator().manual_seed(0))
    assert codes.shape == (400, 8)
    symbol = codes[:, 2:].view(100, 4, 6)
    assert symbol[:, 3].abs().max() == 0
    assert ((symbol[:, :3] > 0).sum(dim=2) == 1).all()
    assert symbol[:, :3].square().mean().item() == pytest.approx(1)
    assert {tuple(row) for row in (symbol[:, 0] > 0).tolist()} == {
        tuple(i == j for i in range(6)) for j in range(6)
    }
    assert abs(codes[:, :2].std().item() - 1) < 0.1


def test_a_run_of_planes_survives_the_store(tmp_path: Path) -> None:
    """Measured again after it, its weights give the same numbers; all parts are there."""
    run = runs.train("gan/gp_planes", "cpu", config=PLANES)
    runs.save(run, tmp_path / "run.safetensors")
    back = runs.load(tmp_path / "run.safetensors")
    assert gp_planes.evaluate(back, CPU) == pytest.approx(run.metrics)
    assert gp_planes.sample(back, 50, torch.Generator().manual_seed(1)).shape == (4, 50, 2)
    assert run.metrics["diverged_at_turn"] == -1
    assert {"modes_0", "modes_1", "modes_3"} <= run.metrics.keys() - {"modes_2"}
    assert run.tensors["snapshots.turn"].tolist() == [1, 2, 6, 12]
    assert run.tensors["snapshots.samples"].shape == (4, 4, gp_planes.KEPT, 2)
    assert run.tensors["critics.clipped"].shape == (4, gp_planes.GRID, gp_planes.GRID)
    assert (run.tensors["critics.clipped"] != run.tensors["critics.penalised"]).any()
    assert len(run.history["critic_loss"]) == len(run.history["clipped_loss"]) == 12


def test_what_is_stored_is_the_average() -> None:
    """The averaged generator, rounded to half precision, and not the one that plays."""
    run = gp_planes.train(dataclasses.replace(PLANES, critic_turns=0), 0, CPU)
    *_, last = gp_planes.fit(PLANES, 0, CPU)
    stored = run.tensors["model.generator.weights.0"]
    averaged = last.generator.state_dict()["weights.0"]
    assert (stored - averaged).abs().max() < 1e-3
    assert (stored - last.players.generator.weights[0]).abs().max() > 1e-3
    assert "critics.clipped" not in run.tensors


def test_clipping_holds_the_weights_and_the_penalty_does_not() -> None:
    """The two kinds of critics start alike, and one stays within its limit."""
    config = dataclasses.replace(PLANES, clip=0.05, critic_turns=3)
    *_, (clipped, _) = gp_planes.critics(config, 0, CPU, penalty=False)
    *_, (free, _) = gp_planes.critics(config, 0, CPU, penalty=True)
    assert max(p.abs().max().item() for p in clipped.parameters()) == pytest.approx(0.05)
    assert max(p.abs().max() for p in free.parameters()) > 0.2


def test_surfaces_are_read_as_pages_are() -> None:
    """The first row has the largest y; each copy has its own map, about its mean."""
    places = gp_planes.grid(4)
    assert places[0].tolist() == [-1.5, 1.5]
    assert places[-1].tolist() == [1.5, -1.5]
    critic = gp_planes.StackedMLP(2, [2, 1])
    with torch.no_grad():
        critic.weights[0].copy_(torch.tensor([[[1.0], [0.0]], [[0.0], [2.0]]]))
    across, up = gp_planes.surface(critic, 4)
    torch.testing.assert_close(across[0], torch.tensor([-1.5, -0.5, 0.5, 1.5]))
    torch.testing.assert_close(up[:, 2], torch.tensor([3.0, 1.0, -1.0, -3.0]))


@pytest.mark.usefixtures("unchecked")
def test_the_sets_are_those_of_toys() -> None:
    """By name, from one generator; an unknown one is refused."""
    draw = torch.Generator().manual_seed(0)
    points = gp_planes.draw_set("eight_gaussians", 500, draw)
    assert toys.coverage(points, toys.eight_gaussians()).near > 0.95
    assert gp_planes.draw_set("swiss_roll", 5, draw).shape == (5, 2)
    with pytest.raises(ValueError, match="unknown set 'ring'"):
        gp_planes.draw_set("ring", 5, draw)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_games_that_diverge_are_stopped_and_noted() -> None:
    """An absurd rate: the last good state is kept, and the run says in which turn."""
    config = dataclasses.replace(PLANES, learning_rate=1e30, turns=120, critic_turns=0)
    run = gp_planes.train(config, 0, CPU)
    assert run.metrics["diverged_at_turn"] == 49
    assert all(t.isfinite().all() for t in run.part("model").values())


def test_the_seeds_play_one_game() -> None:
    """Five times the same set and settings, other draws; nothing but a generator's game."""
    assert set(gp_seeds.CPU.sets) == {"grid_of_gaussians"}
    assert len(gp_seeds.CPU.sets) == len(gp_seeds.CPU.torn) == 5
    config = dataclasses.replace(
        PLANES, sets=gp_seeds.CPU.sets, torn=gp_seeds.CPU.torn, critic_turns=0, turns=3, moments=2
    )
    run = runs.train("gan/gp_seeds", "cpu", config=config)
    assert {f"near_{i}" for i in range(5)} <= run.metrics.keys()
    first = run.part("model")["generator.weights.0"]
    assert len({round(v, 5) for v in first[:, 0, 0].tolist()}) == 5
    assert gp_seeds.data(config) == gp_planes.data(config) == ()


# images ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("few_images")
@pytest.mark.parametrize("name", ["gp_digits", "gp_clothes"])
def test_a_run_of_images_survives_the_store(name: str, tmp_path: Path) -> None:
    """Measured again, the same numbers; samples are grey values; snapshots share their codes."""
    recipe = {"gp_digits": gp_digits, "gp_clothes": gp_clothes}[name]
    config = dataclasses.replace(DIGITS, data=recipe.CPU.data)
    run = runs.train(f"gan/{name}", "cpu", config=config)
    runs.save(run, tmp_path / "run.safetensors")
    back = runs.load(tmp_path / "run.safetensors")
    assert recipe.evaluate(back, CPU) == pytest.approx(run.metrics, rel=1e-3, abs=1e-4)
    images = recipe.sample(back, 7, torch.Generator().manual_seed(0))
    assert images.shape == (7, 1, 28, 28)
    assert images.min() >= 0 <= images.max() <= 1
    assert run.tensors["snapshots.samples"].shape == (3, gp_digits.KEPT, 1, 28, 28)
    assert run.tensors["snapshots.turn"].tolist() == [1, 2, 6]
    assert recipe.data(config) == (config.data,)
    assert run.data[0]["name"] == config.data
    assert {"train_gain", "test_gain"} < run.metrics.keys()


def test_batch_normalisation_is_refused() -> None:
    """The critic of a penalty judges images one by one."""
    with pytest.raises(ValueError, match="without batch normalisation"):
        gp_digits.Pair(dataclasses.replace(DIGITS, critic_norm="batch"))


@pytest.mark.usefixtures("few_images")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_game_of_images_that_diverges_is_stopped_and_noted() -> None:
    """As in the plane."""
    run = gp_digits.train(dataclasses.replace(DIGITS, learning_rate=1e30, turns=60), 0, CPU)
    assert run.metrics["diverged_at_turn"] == 49
    assert all(t.isfinite().all() for t in run.part("model").values())


def test_configs_differ_in_size_alone() -> None:
    """One game, two sizes; a seed determines it."""
    for clothes, digits in ((gp_clothes.CPU, gp_digits.CPU), (gp_clothes.GPU, gp_digits.GPU)):
        assert dataclasses.replace(clothes, data="mnist", turns=digits.turns) == digits
        assert clothes.turns <= digits.turns
        assert clothes.data == "fashion_mnist"
    grey = torch.randint(
        256, (40, 1, 28, 28), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    one, again, other = (next(gp_digits.fit(DIGITS, grey, seed)).critic_loss for seed in (1, 1, 2))
    assert one == again != other
