"""Proof for litgen/recipes/segmentation/skips.py: a short training, scores counted by hand."""

import dataclasses
from pathlib import Path

import pytest
import torch

from litgen import runs
from litgen.recipes.segmentation import skips
from litgen.recipes.segmentation.skips import Job
from litgen.segmentation.skips import SkipNet

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
