"""Proof for litgen/recipes/autoencoders/context.py: what is hidden, what counts, a short run."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch import Tensor

from litgen import runs
from litgen.data import drawn_faces
from litgen.recipes import pictures
from litgen.recipes.autoencoders import context as recipe
from tests.recipes import watched

CPU = torch.device("cpu")
TINY = dataclasses.replace(
    recipe.CPU, widths=(8, 12), critic_widths=(4, 8), turns=30, batch_size=16, test_faces=40
)
HOLE = torch.zeros(32, 32, dtype=torch.bool)
HOLE[8:28, 6:26] = True


@pytest.fixture(scope="module")
def trained() -> runs.Run:
    """Return a run of a short training."""
    return runs.train("autoencoders/context", "cpu", config=TINY)


def test_the_hole_hides_all_that_is_redrawn_and_nothing_else_changes() -> None:
    """Not one byte outside the hole; inside nearly every face changes; labels say the same."""
    look = drawn_faces.looks(300, np.random.default_rng(4))
    first, second = recipe.redrawn(look, 2, np.random.default_rng(5))
    whole = torch.from_numpy(drawn_faces.render(look))
    for drawn in (first, second):
        assert torch.equal(drawn[..., ~HOLE], whole[..., ~HOLE])
        changed = (drawn != whole)[..., HOLE].flatten(1).any(dim=1)
        assert changed.double().mean() > 0.99
    assert not torch.equal(first, second)


def test_hidden_attributes_are_drawn_with_their_shares() -> None:
    """The mean of the redrawn faces is brighter or darker where the attribute's share says so."""
    look = drawn_faces.looks(1, np.random.default_rng(4))
    drawn = recipe.redrawn(look, 400, np.random.default_rng(5)).float()
    centre = drawn[:, 0, :, 14:16, 9:23].mean(dim=(1, 2, 3))  # the rows of the glasses' frames
    assert centre.std() > 3
    assert recipe.redrawn(look, 3, np.random.default_rng(5)).shape == (3, 1, 3, 32, 32)


def test_what_each_variant_hides_counts_and_shows() -> None:
    """Holes, weights and the critic's view of every variant, by their corners and sums."""
    x = torch.rand(5, 3, 32, 32) * 2 - 1
    fill = torch.zeros_like(x)
    for variant in recipe.Config.variants:
        game = recipe.Game(recipe.CPU, variant, CPU, torch.Generator().manual_seed(0))
        holes = game.holes(5)
        weights = game.weights(holes)
        missing = {"roaming": 256, "copying": 0}.get(variant, 400)
        assert holes.shape == (5, 32, 32)
        assert holes.sum(dim=(1, 2)).tolist() == [missing] * 5
        if variant in ("copying", "everywhere"):
            assert torch.equal(weights, torch.ones(5, 32, 32))
        elif variant == "roaming":
            assert len({tuple(hole.nonzero()[0].tolist()) for hole in holes}) > 1
            assert torch.equal(weights == 1, holes)
        else:
            assert torch.equal(holes[0], HOLE)
            assert weights[0].sum() == 400 + 10 * (24**2 - 400)
            assert bool((weights[0, 6:30, 4:28] > 0).all())
        shown = game.seen(x, fill)
        if variant == "seeing":
            assert torch.equal(shown[..., ~HOLE], x[..., ~HOLE])
            assert shown[..., HOLE].abs().max() == 0
        else:
            assert torch.equal(game.seen(x, x), x[..., 6:30, 4:28])
    shares = {v: recipe.Game(recipe.CPU, v, CPU, torch.Generator()).share for v in ("l2", "joint")}
    assert shares == {"l2": 1.0, "joint": recipe.CPU.share}


def test_scores_count_the_hole_alone() -> None:
    """Changes outside do nothing; an error of 0.2 is 20 dB; a constant has no edges."""
    x = torch.rand(6, 3, 32, 32) * 2 - 1
    other = torch.where(HOLE, x + 0.2, torch.zeros_like(x))
    found = recipe.scores(x, other)
    assert found["psnr_db"] == pytest.approx(20, abs=1e-3)
    assert found["edges"] == pytest.approx(1, abs=1e-3)
    assert found["spread"] == pytest.approx(1, abs=1e-3)
    assert recipe.scores(x, torch.where(HOLE, x, x + 5))["seam"] > 5
    flat = recipe.scores(x, torch.zeros_like(x))
    assert flat["edges"] == flat["spread"] == 0


def test_a_fill_changes_the_hole_alone(trained: runs.Run) -> None:
    """Faces come back as they were outside; holes of one's own are used one by one."""
    model = recipe.restore(trained)
    faces = pictures.load("drawn_faces")[1].images[:4]
    x = pictures.to_unit(faces)
    filled = recipe.fills(model, faces)
    torch.testing.assert_close(filled[..., ~HOLE], x[..., ~HOLE], rtol=0, atol=0)
    assert (filled - x)[..., HOLE].abs().mean() > 0.01
    holes = torch.stack([HOLE, HOLE.roll(-3, 0), HOLE, HOLE.roll(2, 1)])
    many = recipe.fills(model, faces, holes)
    for i, hole in enumerate(holes):
        alone: Tensor = recipe.fills(model, faces[i : i + 1], hole)
        torch.testing.assert_close(many[i : i + 1], alone, atol=1e-5, rtol=1e-4)


def test_training_helps_and_the_store_keeps_it(trained: runs.Run, tmp_path: Path) -> None:
    """Losses fall, every variant is there, and evaluation finds the same scores."""
    for variant in ("l2", "roaming", "copying", "islands", "everywhere"):
        line = trained.history[f"{variant}_network_loss"]
        assert line[-1] < 0.7 * line[0], variant
        assert f"{variant}_critic_loss" not in trained.history
    for variant in ("adversarial", "joint", "seeing"):
        assert len(trained.history[f"{variant}_critic_loss"]) == 30
    path = tmp_path / "run.safetensors"
    runs.save(trained, path)
    again = recipe.evaluate(runs.load(path), CPU)
    for name, value in again.items():
        assert value == pytest.approx(trained.metrics[name], abs=5e-3), name


def test_the_best_fill_and_the_sampler_are_as_the_mathematics_says(trained: runs.Run) -> None:
    """eq:ctx-price: the sampler is 3.01 dB behind, as far as 40 faces tell."""
    gap = trained.metrics["best_psnr_db"] - trained.metrics["sampler_psnr_db"]
    assert gap == pytest.approx(3.01, abs=0.6)
    assert trained.metrics["sampler_edges"] == pytest.approx(1, abs=0.1)
    assert trained.metrics["best_edges"] < 0.8
    assert trained.metrics["best_spread"] < trained.metrics["sampler_spread"]


def small_faces(count: int = 30) -> Tensor:
    """Return the first training faces."""
    return pictures.load("drawn_faces")[0].images[:count]


@pytest.mark.parametrize("variant", recipe.Config.variants)
def test_first_losses_and_rates(variant: recipe.Variant) -> None:
    """eq:ctx-joint, eq:ctx-critic: both players' first losses from the seed's weights."""
    images = small_faces()
    config = dataclasses.replace(
        TINY, turns=5, batch_size=6, learning_rate=0.006, critic_rate=0.002, share=0.7, mixed=False
    )
    config = dataclasses.replace(config, roaming_size=12)
    memory, steps = watched.watched(lambda: recipe.fit(config, variant, images, 4))
    against = variant in ("adversarial", "joint", "seeing")
    rates = dict(zip(memory.rates, memory.rates.values(), strict=True))
    falling = watched.half_cosine(0.006, 5)
    assert rates[id(memory.things["optimizer"])] == pytest.approx(falling, rel=1e-6)
    wanted = (0.5, 0.99) if against else (0.9, 0.99)
    assert set(memory.betas.values()) == {wanted}
    assert memory.things["batches"].batch_size == 6
    players = ["critic", "network"] if against else ["network"]
    assert [step.player for step in steps] == players * 5
    if against:
        assert rates[id(memory.things["critic_optimizer"])] == [0.002] * 5
    torch.manual_seed(4)
    model = recipe.ContextEncoder((8, 12), bridge=variant != "islands")
    critic = recipe.PatchCritic((4, 8), side=32 if variant == "seeing" else 24)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(4))
    first = images[order[:6]] / 127.5 - 1
    hole = HOLE.expand(6, 32, 32)
    if variant == "roaming":
        draw = torch.Generator().manual_seed(4)
        hole = recipe.context.roaming_holes(6, 32, 12, draw)
    if variant == "copying":
        hole = torch.zeros(6, 32, 32, dtype=torch.bool)

    def filled(x: Tensor) -> Tensor:
        shown = torch.cat([x.masked_fill(hole[:, None], 0), hole[:, None].float()], dim=1)
        with torch.no_grad():
            found: Tensor = model(shown)
        return found

    def judged(x: Tensor, fill: Tensor) -> np.ndarray:
        seen = torch.where(hole[:, None], fill, x) if variant == "seeing" else fill
        seen = seen if variant == "seeing" else seen[..., 6:30, 4:28]
        with torch.no_grad():
            return np.asarray(critic(seen).double())

    if against:
        real, fake = judged(first, first), judged(first, filled(first))
        expected = np.log1p(np.exp(-real)).mean() + np.log1p(np.exp(fake)).mean()
        assert steps[0].loss.item() == pytest.approx(expected, rel=1e-4)
        return  # the network's first loss comes after a move of the critic
    fill = filled(first)
    band = torch.zeros(32, 32, dtype=torch.bool)
    band[6:30, 4:28] = True
    weight = 10.0 * (band & ~HOLE) + 1.0 * HOLE
    weight = weight.expand(6, 32, 32)
    if variant in ("copying", "everywhere"):
        weight = torch.ones(6, 32, 32)
    if variant == "roaming":
        wide = scipy.ndimage.maximum_filter(hole.numpy(), size=(1, 5, 5))
        weight = hole.float() + 10.0 * torch.from_numpy(wide & ~hole.numpy())
    squares = (fill - first).pow(2).mean(dim=1) * weight
    counted = (weight > 0).sum(dim=(1, 2))
    expected = (squares.sum(dim=(1, 2)) / counted).mean().item()
    assert steps[0].loss.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("variant", ["adversarial", "joint", "seeing"])
def test_the_network_is_moved_by_its_share_of_both_losses(
    variant: recipe.Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """eq:ctx-joint: its loss after the critic's move, with what each player was shown."""
    config = dataclasses.replace(TINY, turns=1, batch_size=6, share=0.7, mixed=False)
    joined = watched.calls(monkeypatch, recipe.context, "joint_loss")
    fooled = watched.calls(monkeypatch, recipe.context, "fooling_loss")
    missed = watched.calls(monkeypatch, recipe.context, "reconstruction_loss")
    steps = list(recipe.fit(config, variant, small_faces(), 4))
    (error, fooling, share, _), (logits, _) = joined[0], fooled[0]
    assert share == (0.0 if variant == "adversarial" else 0.7)
    assert error.requires_grad
    assert logits.requires_grad
    assert logits.grad_fn is not None
    x, fill, weight, _ = missed[0]
    assert x.shape == fill.shape == (6, 3, 32, 32)
    by_hand = (x - fill).pow(2).mean(dim=1) * weight
    expected = by_hand.sum(dim=(1, 2)) / (weight != 0).sum(dim=(1, 2))
    torch.testing.assert_close(error, expected)
    torch.testing.assert_close(fooling, -torch.sigmoid(logits).log())
    total = (share * expected + (1 - share) * fooling).mean().item()
    assert steps[1].loss.item() == pytest.approx(total, rel=1e-5)
    model = steps[1].model
    again = next(iter(recipe.fit(config, variant, small_faces(), 4))).model
    names = [n for n, p in again.named_parameters() if n.startswith("up.3")]
    moved = [dict(model.named_parameters())[n] - dict(again.named_parameters())[n] for n in names]
    assert max(part.abs().max().item() for part in moved) > 1e-5


def test_what_is_trained_on_and_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training faces; the first test faces; rounded networks at rest; records and curves."""
    fitted = watched.calls(monkeypatch, recipe, "fit")
    measured = watched.calls(monkeypatch, recipe, "measure")
    variants: tuple[recipe.Variant, ...] = ("joint", "islands")
    config = dataclasses.replace(TINY, variants=variants, turns=3, test_faces=7)
    run = recipe.train(config, 5, CPU)
    train_set, test_set = pictures.load("drawn_faces")
    for call, variant in zip(fitted, variants, strict=True):
        assert (call[1], call[3]) == (variant, 5)
        assert torch.equal(call[2], train_set.images)
    for call, variant in zip(list(measured), variants, strict=True):
        assert call[-1] == {"training": False, "half": True}
        assert torch.equal(call[3], test_set.images[:7])
        for key, value in recipe.measure(*call[:4]).items():
            assert run.metrics[f"{variant}_{key}"] == pytest.approx(value)
        for key, value in call[2].state_dict().items():
            assert torch.equal(run.tensors[f"{variant}.{key}"], value)
    assert run.metrics["test_faces"] == 7
    assert len(run.history["joint_critic_loss"]) == len(run.history["joint_network_loss"]) == 3
    assert "islands_critic_loss" not in run.history
    watched.check_records(run.data, "drawn_faces", train=train_set.record, test=test_set.record)
    assert recipe.data(config) == ("drawn_faces",)
    run.provenance["config"] = dataclasses.asdict(config)
    found = recipe.models(run)
    assert list(found) == list(variants)
    assert all(watched.is_at_rest(model) for model in found.values())
    assert isinstance(found["islands"].bridge, torch.nn.Identity)
    chosen = recipe.restore(run).state_dict()
    assert all(torch.equal(v, chosen[k]) for k, v in found["joint"].state_dict().items())
    assert recipe.evaluate(run, CPU) == pytest.approx(run.metrics, abs=1e-4)


def test_references_by_hand() -> None:
    """The first test faces; the mean of 32 drawings; its error without what the draws add."""
    config = dataclasses.replace(TINY, test_faces=3)
    found = recipe._references(config)
    random = np.random.default_rng(drawn_faces.SEEDS["test"])
    look = drawn_faces.looks(drawn_faces.COUNTS["test"], random)
    look = drawn_faces.Look(*(part[:3] for part in look))
    drawn = recipe.redrawn(look, 32, np.random.default_rng(7)).double().numpy() / 127.5 - 1
    x = pictures.load("drawn_faces")[1].images[:3].double().numpy() / 127.5 - 1
    hole = HOLE.numpy()
    error = ((x - drawn.mean(axis=0))[..., hole] ** 2).mean() * 32 / 33
    assert found["best_psnr_db"] == pytest.approx(10 * np.log10(4 / error), abs=1e-3)
    error = ((x - drawn[0])[..., hole] ** 2).mean()
    assert found["sampler_psnr_db"] == pytest.approx(10 * np.log10(4 / error), abs=1e-3)


def test_scores_are_those_of_the_fill_over_those_of_data() -> None:
    """Edges, spread and seam of a fill that is half as strong: a quarter of those of data."""
    x = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0)) - 0.5
    found = recipe.scores(x, x / 2)
    for name in ("edges", "spread", "seam"):
        assert found[name] == pytest.approx(0.25, rel=1e-4)
    outside = torch.where(HOLE, x, x + 0.3 * x.roll(5, 3))
    assert recipe.scores(x, outside)["edges"] == pytest.approx(1)


def test_holes_of_ones_own_beyond_the_first_batch() -> None:
    """The last of 502 faces is filled where its own hole is."""
    torch.manual_seed(0)
    model = recipe.ContextEncoder((4, 6)).eval()
    faces = small_faces(502)
    holes = torch.stack([HOLE, HOLE.roll(3, 0)])[torch.arange(502) % 2]
    holes[501] = HOLE.roll(-5, 1)
    found = recipe.fills(model, faces, holes)
    alone = recipe.fills(model, faces[501:], holes[501])
    torch.testing.assert_close(found[501:], alone, atol=1e-5, rtol=1e-4)


def test_all_that_the_hole_hides_is_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Smile, glasses, moustache, eyes and mouth are another draw's; the rest is the face's own."""
    look = drawn_faces.looks(40, np.random.default_rng(4))
    painted = watched.calls(monkeypatch, drawn_faces, "render")
    recipe.redrawn(look, 2, np.random.default_rng(5))
    random = np.random.default_rng(5)
    for call in painted:
        fresh = drawn_faces.looks(40, random)
        for name, value in call[0]._asdict().items():
            own, new = getattr(look, name), getattr(fresh, name)
            if name == "has":
                own, new = np.concatenate([new[:, :3], own[:, 3:]], axis=1), own
            expected = new if name in ("eyes", "apart", "gaze", "mouth") else own
            assert np.array_equal(value, expected), name
    assert len(painted) == 2
