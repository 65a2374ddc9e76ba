"""Proof for litgen/recipes/segmentation/skips.py: a short training, scores counted by hand."""

import dataclasses
import statistics
from pathlib import Path

import pytest
import sklearn.metrics
import torch

from litgen import runs
from litgen.data import cells
from litgen.recipes.segmentation import skips
from litgen.recipes.segmentation.skips import Job
from litgen.segmentation.skips import SkipNet
from tests.recipes import watched

TINY = skips.Config(
    normalised=(1, 2), bare=(1,), repeats=2, width=4, levels=2, steps=12, crop=16, moments=4
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trained() -> runs.Run:
    """Return a run of a short training."""
    return runs.train("segmentation/skips", "cpu", config=TINY)


def test_every_network_is_trained_and_the_deepest_kept(trained: runs.Run) -> None:
    """Four variants at two depths, and at one without normalisation; two starts of each."""
    assert len(skips.jobs(TINY)) == len(set(skips.jobs(TINY))) == 4 * 3 * 2
    assert len(skips.jobs(skips.CPU)) == 4 * 4
    names = {job.name for job in skips.jobs(TINY)}
    assert len(names) == 12
    assert {name for name in trained.metrics if name.endswith("_iou")} == {
        f"{name}_mean_iou" for name in names
    }
    assert set(skips.restored(trained)) == {
        f"{variant}_{depth}" for variant in skips.VARIANTS for depth in ("2", "1_bare")
    }
    assert set(trained.history) == {f"{name}_loss_nats" for name in names}
    for name in ("both_1", "long_1", "short_1"):
        assert trained.history[f"{name}_loss_nats"][-1] < trained.history[f"{name}_loss_nats"][0]


def test_a_stored_run_measures_the_same(trained: runs.Run, tmp_path: Path) -> None:
    """`evaluate` on the stored weights; the spread is that of the two starts."""
    runs.save(trained, tmp_path / "run.safetensors")
    again = runs.load(tmp_path / "run.safetensors")
    assert len(again.tensors["examples.pairs"]) == 8
    one = dataclasses.replace(TINY, repeats=1)
    single = skips.train(one, 0, CPU).metrics
    for name, value in skips.evaluate(again, CPU).items():
        assert value == pytest.approx(single[name], abs=2e-3), name
        if name != "test_images":
            spread = trained.metrics[f"{name}_spread"]
            assert abs(value - trained.metrics[name]) == pytest.approx(spread / 2, abs=2e-3)
    best = max(skips.restored(again), key=lambda name: again.metrics[f"{name}_mean_iou"])
    chosen = skips.restore(again).state_dict()
    torch.testing.assert_close(chosen, dict(skips.restored(again)[best].state_dict()))


def test_slopes_are_mean_absolute_gradients(trained: runs.Run) -> None:
    """Of the first step, computed anew from the first batch."""
    job = Job("long", 2, True)
    _, pairs = skips.load("train")
    torch.manual_seed(0)
    model = skips.build(TINY, job)
    draw = torch.Generator().manual_seed(0)
    rows = torch.randperm(len(pairs), generator=draw)[:8]
    top, left = torch.randint(64 - 16 + 1, (2,), generator=draw).tolist()
    piece = pairs[rows, :, top : top + 16, left : left + 16].float()
    said = model(piece[:, :1] / 127.5 - 1).sigmoid()
    truth = piece[:, 1:]
    loss = -(truth * said.log() + (1 - truth) * (1 - said).log()).mean()
    weights = [conv.weight for conv in model.convolutions()]
    expected = torch.stack([g.abs().mean() for g in torch.autograd.grad(loss, weights)]).log10()
    found = trained.part("slopes")[job.name]
    assert found.shape == (4, 2 * 5 + 2)
    torch.testing.assert_close(found[0], expected, atol=5e-3, rtol=0)
    assert trained.tensors["slopes.turn"].tolist() == [0, 4, 7, 11]
    assert expected.std() > 0.1


def test_a_gradient_that_vanishes_is_kept_as_a_number() -> None:
    """Half precision has no 1e-12, but its logarithm; nothing at all counts as 1e-30."""
    model = SkipNet(width=2, levels=1)
    for i, conv in enumerate(model.convolutions()):
        conv.weight.grad = torch.full_like(conv.weight, -(10.0 ** -(3 * i)))
    model.last.weight.grad = torch.zeros_like(model.last.weight)
    assert skips.slopes(model).tolist() == pytest.approx([0, -3, -6, -9, -30], abs=1e-5)


def test_masks_part_touching_cells() -> None:
    """The second channel is 1 on cells whose neighbours are their own, 0 elsewhere."""
    found, pairs = skips.load("test")
    assert torch.equal(found.images, cells.load("test").images)
    assert len(skips.load()[1]) == len(cells.load("train").images)
    assert torch.equal(pairs[:, 0], found.images[:, 0])
    image = found.cells[3].tolist()
    for i, j in ((a, b) for a in range(1, 63) for b in range(1, 63)):
        own = image[i][j]
        near = {image[i - 1][j], image[i + 1][j], image[i][j - 1], image[i][j + 1]}
        assert pairs[3, 1, i, j] == (own > 0 and near <= {0, own})
    assert 0.3 < pairs[:, 1].float().mean() < 0.6


def test_scores_are_counted(trained: runs.Run) -> None:
    """IoU of both classes and Dice, pixel by pixel."""
    pairs = skips.load("test")[1][:5]
    model = skips.restored(trained)["both_2"]
    said = skips.predicted(model, pairs).bool()
    with torch.no_grad():
        assert torch.equal(said, model(pairs[:, :1].float() / 127.5 - 1)[:, 0] > 0)
    truth = pairs[:, 1].bool()
    ious = [
        ((said == c) & (truth == c)).sum() / ((said == c) | (truth == c)).sum() for c in (0, 1)
    ]
    found = skips.measure(model, pairs)
    assert found["mean_iou"] == pytest.approx(sum(ious).item() / 2, rel=1e-5)  # type: ignore[union-attr]
    both = (said & truth).sum()
    assert found["dice"] == pytest.approx((2 * both / (said.sum() + truth.sum())).item(), rel=1e-5)


def test_networks_that_do_not_normalise_have_a_rate_of_their_own() -> None:
    """A first step of Adam moves a weight by the rate."""
    _, pairs = skips.load("train")
    config = dataclasses.replace(TINY, learning_rate=0.03, bare_rate=0.002, steps=2)
    for norm, rate in ((True, 0.03), (False, 0.002)):
        job = Job("both", 1, norm)
        torch.manual_seed(0)
        start = skips.build(config, job)
        now = next(skips.fit(config, job, pairs, 0))
        moved = (now.model.last.weight - start.last.weight).abs()
        assert moved.max().item() == pytest.approx(rate, rel=0.01)


@pytest.mark.parametrize("norm", [True, False])
def test_the_first_loss_and_the_rates_are_those_of_seed_and_repeat(norm: bool) -> None:
    """A mean over pixels of a random piece's logistic loss; the rate falls along half a cosine."""
    pairs = skips.load("train")[1][:21]
    config = dataclasses.replace(TINY, steps=9, crop=40, batch_size=5)
    job = Job("long", 2, norm, repeat=4)
    memory, steps = watched.watched(lambda: skips.fit(config, job, pairs, 3))
    peak = config.learning_rate if norm else config.bare_rate
    assert memory.line() == pytest.approx(watched.half_cosine(peak, 9), rel=1e-6)
    assert memory.things["batches"].batch_size == 5
    assert [step.turn for step in steps] == list(range(9))
    torch.manual_seed(7)
    model = SkipNet(4, 2, 2, long=True, short=False, norm=norm)
    draw = torch.Generator().manual_seed(7)
    rows = torch.randperm(21, generator=draw)[:5]
    top, left = (int(torch.randint(25, (1,), generator=draw)) for _ in range(2))
    assert top != left
    piece = pairs[rows, :, top : top + 40, left : left + 40].double()
    with torch.no_grad():
        logits = model((piece[:, :1] / 127.5 - 1).float()).double()
    sure = torch.where(piece[:, 1:] > 0, logits, -logits)
    expected = (1 + (-sure).exp()).log().mean().item()
    assert steps[0].loss.item() == pytest.approx(expected, rel=1e-4)


def test_pieces_lie_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the last row and column, as often at the end as at the beginning."""
    pairs = torch.zeros(4, 2, 10, 10, dtype=torch.uint8)
    pairs[:, 0] = torch.arange(100).view(10, 10)
    config = dataclasses.replace(TINY, crop=8, batch_size=2, steps=60, levels=1, width=1)
    seen = []
    monkeypatch.setattr(skips, "to_unit", lambda grey: (seen.append(grey), grey.float())[1])
    for _ in skips.fit(config, Job("both", 1, True), pairs, 0):
        pass
    corners = [divmod(int(grey[0, 0, 0, 0]), 10) for grey in seen]
    assert set(corners) == {(i, j) for i in range(3) for j in range(3)}


def test_a_network_is_built_of_what_is_asked_for() -> None:
    """Long and short skips of the variant; another block and another way to join, if given."""

    class Own(skips.Block):
        """A block like the others."""

    def joined(up: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        return up * kept

    for variant in skips.VARIANTS:
        for norm in (True, False):
            model = skips.build(TINY, Job(variant, 3, norm), Own, joined)
            assert (model.long, model.blocks()[0].short) == tuple(skips.VARIANTS[variant])
            assert isinstance(model.norm, torch.nn.BatchNorm2d) == norm
            assert all(isinstance(part, Own) for part in model.blocks())
            assert len(model.blocks()) == 3 * 5
            assert model.join is joined
    pairs = skips.load("test")[1][:8]
    model = next(skips.fit(TINY, Job("both", 1, True), pairs, 0, Own, joined)).model
    assert isinstance(model.blocks()[0], Own)
    assert model.join is joined


def test_what_is_measured_is_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounded networks in evaluation mode on the first test images; means and spreads of three."""
    config = dataclasses.replace(
        TINY, normalised=(1, 2), bare=(1,), repeats=3, steps=3, moments=5, test_images=7
    )
    monkeypatch.setattr(skips, "VARIANTS", {"both": skips.VARIANTS["both"]})
    measured = watched.calls(monkeypatch, skips, "measure")
    fitted = watched.calls(monkeypatch, skips, "fit")
    threads: list[int] = []
    real = skips.slopes
    monkeypatch.setattr(
        skips, "slopes", lambda model: (threads.append(torch.get_num_threads()), real(model))[1]
    )
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run = skips.train(config, 3, CPU)
    finally:
        torch.set_num_threads(before)
    assert set(threads) == {1}
    measured = list(measured)  # further calls are the test's own
    (train_set, pairs), (test_set, test_pairs) = skips.load("train"), skips.load("test")
    assert [call[3] for call in fitted] == [3] * 9
    assert all(torch.equal(call[2], pairs) for call in fitted)
    assert [call[1] for call in fitted] == skips.jobs(config)
    scores: dict[str, list[float]] = {}
    for call, job in zip(measured, skips.jobs(config), strict=True):
        assert call[-1] == {"training": False, "half": True}
        assert torch.equal(call[1], test_pairs[:7])
        for key, value in skips.measure(call[0], test_pairs[:7]).items():
            scores.setdefault(f"{job.name}_{key}", []).append(value)
        if job.name in ("both_2", "both_1_bare"):
            kept = torch.equal(run.tensors[f"{job.name}.last.weight"], call[0].last.weight)
            assert kept == (job.repeat == 0)
    assert not any(name.startswith("both_1.") for name in run.tensors)
    for name, values in scores.items():
        assert run.metrics[name] == pytest.approx(statistics.mean(values))
        spread = sorted(values)[-1] - sorted(values)[0]
        assert run.metrics[f"{name}_spread"] == pytest.approx(spread)
    assert run.metrics["test_images"] == 7
    assert torch.equal(run.tensors["examples.pairs"], test_pairs[:7])
    assert run.tensors["slopes.turn"].tolist() == [0, 0, 1, 2, 2]
    slopes = run.tensors["slopes.both_2"]
    assert slopes.shape[0] == 5
    assert torch.equal(slopes[0], slopes[1])
    watched.check_records(run.data, "cells", train=train_set.record, test=test_set.record)
    run.provenance["config"] = dataclasses.asdict(config)
    found = skips.restored(run)
    assert list(found) == ["both_2", "both_1_bare"]
    assert all(watched.is_at_rest(model) for model in found.values())
    for job, call in zip(skips.jobs(config), measured, strict=False):
        if job.repeat == 0 and job.name in found:
            expected = skips.measure(call[0], test_pairs[:7])
            again = skips.evaluate(run, CPU)
            assert again["test_images"] == 7
            for key, value in expected.items():
                assert again[f"{job.name}_{key}"] == pytest.approx(value, abs=1e-6)
    run.metrics |= {"both_2_mean_iou": 0.4, "both_1_bare_mean_iou": 0.6}
    run.metrics |= {"both_2_dice": 0.9, "both_1_bare_dice": 0.1}
    assert not isinstance(skips.restore(run).norm, torch.nn.BatchNorm2d)
    assert skips.data(config) == ("cells",)


def test_all_images_are_asked_about() -> None:
    """Against a network that says what the image's sign is, over more than one batch."""

    class Sign(SkipNet):
        """Says a small multiple of the grey value, the middle taken off."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            """Return logits."""
            return x / 100

    generator = torch.Generator().manual_seed(0)
    pairs = torch.randint(0, 256, (120, 2, 4, 8), generator=generator).to(torch.uint8)
    said = skips.predicted(Sign(2, 1), pairs)
    assert torch.equal(said, (pairs[:, 0] >= 128).to(torch.uint8))
    pairs[:, 1] = (pairs[:, 0] + 40 > 128) & (pairs[:, 0] < 200)
    a, b = pairs[:, 1].flatten().numpy(), said.flatten().numpy()
    found = skips.measure(Sign(2, 1), pairs)
    assert found["dice"] == pytest.approx(sklearn.metrics.f1_score(a, b))
    assert found["mean_iou"] == pytest.approx(sklearn.metrics.jaccard_score(a, b, average="macro"))
