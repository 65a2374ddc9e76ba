"""Proof for litgen/recipes/segmentation/segnet.py: a short training, classes by hand."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import sklearn.metrics
import torch
from torch import Tensor

from litgen import runs
from litgen.data import cells
from litgen.data.sources import Record
from litgen.recipes.segmentation import segnet
from tests import oracles
from tests.recipes import watched

TINY = dataclasses.replace(
    segnet.CPU, variants=("indices", "unbalanced"), widths=(6, 12), turns=60, batch_size=6
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trained() -> runs.Run:
    """Return a run of a short training."""
    return runs.train("segmentation/segnet", "cpu", config=TINY)


def test_it_learns_and_the_store_keeps_it(trained: runs.Run, tmp_path: Path) -> None:
    """Better than chance on images not seen; the same scores after the store."""
    assert trained.metrics["indices_mean_accuracy"] > 0.4
    assert trained.metrics["unbalanced_accuracy_ground"] > 0.6
    assert trained.metrics["unbalanced_accuracy_seam"] < trained.metrics["indices_accuracy_seam"]
    losses = trained.history["indices_loss_nats"]
    assert losses[-1] < 0.85 * losses[0]
    path = tmp_path / "segnet.safetensors"
    runs.save(trained, path)
    again = segnet.evaluate(runs.load(path), CPU)
    for name, value in again.items():
        assert value == pytest.approx(trained.metrics[name], abs=5e-3)
    assert segnet.restore(trained).growth == "indices"
    assert segnet.data(TINY) == ("cells",)


def cell_set(found: Tensor) -> cells.CellSet:
    """Return maps of cells without pictures."""
    record = Record("drawn", "here", "none", "none", "0", {}, False)
    images = torch.zeros(len(found), 1, *found.shape[1:], dtype=torch.uint8)
    return cells.CellSet(images, found, record)


def test_classes_by_hand() -> None:
    """Rims are two pixels wide, seams lie where cells touch, and win over rims."""
    found = torch.zeros(1, 9, 14, dtype=torch.uint8)
    found[0, 1:8, 1:7], found[0, 1:8, 7:13] = 1, 2
    expected = [
        "00000000000000",
        "02222233222220",
        "02222233222220",
        "02211133111220",
        "02211133111220",
        "02211133111220",
        "02222233222220",
        "02222233222220",
        "00000000000000",
    ]
    classes = segnet.classes_of(cell_set(found))[0]
    assert ["".join(map(str, row)) for row in classes.tolist()] == expected


class Ground(segnet.SegNet):
    """Names the same class everywhere."""

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        logits = torch.tensor([1.0, 0.0, 0.0, 0.0]).view(1, 4, 1, 1)
        return logits.expand(len(x), 4, *x.shape[2:])


def test_scores_by_hand() -> None:
    """A network that sees ground everywhere: all of the ground, nothing else, no outline."""
    found = torch.zeros(1, 9, 14, dtype=torch.uint8)
    found[0, 1:8, 1:7], found[0, 1:8, 7:13] = 1, 2
    measured = segnet.measure(Ground(1, 4, (4,)), cell_set(found))
    ground = 9 * 14 - 7 * 12
    assert measured["pixel_accuracy"] == pytest.approx(ground / (9 * 14))
    assert measured["mean_accuracy"] == pytest.approx(1 / 4)
    assert measured["mean_iou"] == pytest.approx(ground / (9 * 14) / 4)
    assert measured["boundary_f1"] == 0
    assert [measured[f"accuracy_{name}"] for name in segnet.CLASSES] == [1, 0, 0, 0]


def test_the_band_by_hand() -> None:
    """Two pixels around the outlines of one square cell, by scipy's distances."""
    found = torch.zeros(1, 24, 24, dtype=torch.uint8)
    found[0, 6:18, 6:18] = 1
    edge = np.zeros((24, 24), bool)
    edge[[5, 18], 6:18] = edge[6:18, [5, 18]] = True
    for inset in (6, 7, 8):  # outside of the rim, its inside, and where the inside begins
        edge[[inset, 23 - inset], inset : 24 - inset] = True
        edge[inset : 24 - inset, [inset, 23 - inset]] = True
    within = scipy.ndimage.distance_transform_edt(~edge) <= 2
    share = (within & (found[0].numpy() == 0)).sum() / within.sum()
    measured = segnet.measure(Ground(1, 4, (4,)), cell_set(found))
    assert measured["band_iou"] == pytest.approx(share / 3)
    assert 0.3 < share < 0.7


def few(count: int) -> tuple[Tensor, Tensor]:
    """Return the first training images and their classes."""
    part = cells.load("train")
    return part.images[:count], segnet.classes_of(part)[:count]


def test_the_rate_rises_and_falls_over_all_turns() -> None:
    """One cycle, written out; batches of the size asked for, in an order that the seed draws."""
    images, classes = few(9)
    config = dataclasses.replace(TINY, turns=12, batch_size=3, learning_rate=0.007)
    memory, steps = watched.watched(lambda: segnet.fit(config, "indices", images, classes, 4))
    assert memory.line() == pytest.approx(watched.one_cycle(0.007, 12), rel=1e-6)
    assert memory.things["batches"].batch_size == 3
    assert memory.things["batches"].generator.initial_seed() == 4
    assert [step.turn for step in steps] == list(range(12))


@pytest.mark.parametrize("variant", ["indices", "bilinear", "transposed", "skip", "unbalanced"])
def test_the_first_loss_by_numpy(variant: segnet.Variant) -> None:
    """Median frequency over frequency weighs all variants but one; networks are the seed's."""
    images, classes = few(40)
    config = dataclasses.replace(TINY, mixed=False, depth=2)
    found = next(iter(segnet.fit(config, variant, images, classes, 5))).loss.item()
    torch.manual_seed(5)
    growth = {"unbalanced": "indices"}.get(variant, variant)
    model = segnet.SegNet(1, 4, (6, 12), growth, 2)  # type: ignore[arg-type]
    rows = torch.randperm(40, generator=torch.Generator().manual_seed(5))[:6]
    with torch.no_grad():
        log_p = model(images[rows] / 127.5 - 1).log_softmax(dim=1).double().numpy()
    truth = classes.numpy()
    shares = []
    for label in range(4):
        showing = truth[(truth == label).any(axis=(1, 2))]
        shares.append((showing == label).mean())
    weights = np.median(shares) / np.array(shares)
    if variant == "unbalanced":
        weights = np.ones(4)
    chosen = truth[rows.numpy()]
    picked = np.take_along_axis(log_p, chosen[:, None].astype(int), axis=1)[:, 0]
    assert found == pytest.approx(-(weights[chosen] * picked).mean(), rel=1e-4)


def test_the_test_images_are_measured_on_the_weights_that_are_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every variant, rounded and in evaluation mode; its name in metrics, records, weights."""
    few_turns = dataclasses.replace(TINY, turns=4, variants=("unbalanced", "indices", "skip"))
    few_turns = dataclasses.replace(few_turns, mixed=False)
    seen = watched.calls(monkeypatch, segnet, "measure")
    fitted = watched.calls(monkeypatch, segnet, "fit")
    run = segnet.train(few_turns, 3, CPU)
    assert [(call[1], call[4]) for call in fitted] == [(v, 3) for v in few_turns.variants]
    train_set, test_set = cells.load("train"), cells.load("test")
    for call, variant in zip(seen, few_turns.variants, strict=True):
        assert torch.equal(call[1].images, test_set.images)
        assert call[-1] == {"training": False, "half": True}
        for name, value in call[0].state_dict().items():
            assert torch.equal(run.tensors[f"{variant}.{name}"], value)
    assert run.metrics["test_images"] == 100
    watched.check_records(run.data, "cells", train=train_set.record, test=test_set.record)
    run.provenance["config"] = dataclasses.asdict(few_turns)
    models = segnet.models(run)
    assert list(models) == list(few_turns.variants)
    for call, model in zip(seen[:3], models.values(), strict=True):
        assert watched.is_at_rest(model)
        assert model.growth == call[0].growth
        for name, value in call[0].state_dict().items():
            assert torch.equal(model.state_dict()[name], value)
    assert segnet.evaluate(run, CPU) == pytest.approx(run.metrics, abs=1e-6)
    assert len(seen) == 6
    assert not any(call[2] for call in seen)  # as mixed as the config says
    assert torch.equal(segnet.restore(run).head.weight, models["indices"].head.weight)


class Shifted(segnet.SegNet):
    """Names the class that the grey value of a pixel says, moved to the right by one."""

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        grey = ((x[:, 0] + 1) * 127.5).round().long().roll(1, 2)
        return torch.nn.functional.one_hot(grey, 4).movedim(3, 1).float()


def test_scores_of_a_map_that_is_a_pixel_off() -> None:
    """scikit-learn's scores, and F1 by the distances of all pairs, a mean over images with edges.

    The cells of 51 images are taken, so that more than one batch is asked for, and one is empty.
    """
    part = cells.load("test")
    found = part.cells[:51].clone()
    found[7] = 0
    classes = segnet.classes_of(cell_set(found))
    shown = dataclasses.replace(cell_set(found), images=classes[:, None])
    measured = segnet.measure(Shifted(1, 4, (4,)), shown)
    said, truth = classes.roll(1, 2).numpy(), classes.numpy()
    flat = truth.ravel(), said.ravel()
    assert measured["pixel_accuracy"] == pytest.approx((said == truth).mean())
    recalls = sklearn.metrics.recall_score(*flat, average=None)
    ious = sklearn.metrics.jaccard_score(*flat, average=None)
    assert measured["mean_accuracy"] == pytest.approx(recalls.mean())
    assert measured["mean_iou"] == pytest.approx(ious.mean())
    for name, recall, iou in zip(segnet.CLASSES, recalls, ious, strict=True):
        assert measured[f"accuracy_{name}"] == pytest.approx(recall)
        assert measured[f"iou_{name}"] == pytest.approx(iou)
    edges = [oracles.outline_f1(t, s, 4, 1.0) for t, s in zip(truth[:9], said[:9], strict=True)]
    assert np.isnan(edges).sum() == 1
    ninth = dataclasses.replace(shown, images=shown.images[:9], cells=found[:9])
    measured = segnet.measure(Shifted(1, 4, (4,)), ninth)
    assert measured["boundary_f1"] == pytest.approx(np.nanmean(edges), abs=1e-6)
    assert measured["parameters"] == sum(p.numel() for p in Shifted(1, 4, (4,)).parameters())
