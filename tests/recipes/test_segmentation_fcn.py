"""Proof for litgen/recipes/segmentation/fcn.py: windows by hand, and a short training."""

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import sklearn.metrics
import torch
import torch.nn.functional as F
from torch import Tensor

from litgen import runs
from litgen.data import scenes
from litgen.recipes.segmentation import fcn
from litgen.segmentation import fcn as network
from litgen.segmentation.fcn import SIDE
from tests.recipes import watched

TINY = dataclasses.replace(
    fcn.CPU,
    **{"widths": (4, 4, 8), "hidden": 8, "classifier_turns": 3, "classifier_batch": 10},
    **{"turns": 6, "own_turns": 3, "batch_size": 4},
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trained() -> runs.Run:
    """Return a run of a short training."""
    return runs.train("segmentation/fcn", "cpu", config=TINY)


def test_a_window_lies_around_its_pixel() -> None:
    """The pixel is at (23, 23); beyond the border all is 0."""
    images = torch.arange(64 * 64).remainder(251).to(torch.uint8).view(1, 1, 64, 64)
    images = images.expand(2, 3, 64, 64)
    rows = torch.tensor([[1, 30, 40, 2], [0, 0, 63, 1]])
    found = fcn.windows(images, rows)
    assert found.shape == (2, 3, SIDE, SIDE)
    grey = (found + 1) * 127.5
    assert grey[0, 0, 23, 23].item() == pytest.approx((30 * 64 + 40) % 251)
    assert grey[0, 0, 0, 45].item() == pytest.approx((7 * 64 + 62) % 251)
    assert grey[1, 2, 23, 23].item() == pytest.approx(63)
    assert (found[1, :, :23] == 0).all()
    assert (found[1, :, :, 24:] == 0).all()
    assert grey[1, 0, 45, 0].item() == pytest.approx((22 * 64 + 40) % 251)


def test_a_run_is_measured_again(trained: runs.Run, tmp_path: Path) -> None:
    """The same scores from the stored weights; three networks and the classifier come back."""
    path = tmp_path / "fcn.safetensors"
    runs.save(trained, path)
    stored = runs.load(path)
    for name, value in fcn.evaluate(stored, CPU).items():
        assert value == pytest.approx(trained.metrics[name], abs=2e-3), name
    assert [m.stride for m in fcn.models(stored).values()] == [16, 8, 4]
    assert fcn.restore(stored).stride == 4
    test = scenes.load("test").images[:3]
    assert fcn.predict(fcn.restore(stored), test).shape == (3, 64, 64)
    assert set(trained.history) == {
        f"{n}_loss_nats" for n in ("classifier", "start", "FCN-16s", "FCN-8s", "FCN-4s")
    }


def test_the_largest_logit_is_predicted_and_counted() -> None:
    """A stand-in whose logits are known: rows of the counts are the truth, columns the answer."""

    class Third(torch.nn.Module):
        """Says class 3 on the left and class 1 on the right."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            """Return five logits a pixel."""
            logits = torch.zeros(len(x), 5, *x.shape[2:])
            logits[:, 3, :, :2], logits[:, 1, :, 2:] = 2.0, 1.0
            return logits

    images = torch.zeros(2, 3, 4, 6, dtype=torch.uint8)
    masks = torch.zeros(2, 4, 6, dtype=torch.uint8)
    counts = fcn.measure(Third(), images, masks)
    assert counts[0].tolist() == [0, 32, 0, 16, 0]
    assert counts.sum() == 48


def test_scores_of_a_table_by_hand() -> None:
    """Two classes out of five, counted."""
    counts = torch.zeros(5, 5, dtype=torch.long)
    counts[0, 0], counts[0, 1], counts[1, 1] = 6, 2, 2
    found = fcn.table("x", counts)
    assert found["x_pixel_accuracy"] == pytest.approx(0.8)
    assert found["x_mean_accuracy"] == pytest.approx((6 / 8 + 1) / 2)
    assert found["x_mean_iou"] == pytest.approx((6 / 8 + 2 / 4) / 2)
    assert found["x_weighted_iou"] == pytest.approx(0.8 * 6 / 8 + 0.2 * 2 / 4)
    assert found["x_iou_disk"] == pytest.approx(0.5)


def test_the_full_config_stays_under_the_limit_of_a_run() -> None:
    """Four networks in half precision, under four megabytes."""
    config = fcn.GPU
    named = fcn.classifier(config.widths, config.hidden, fcn.CLASSES)
    weights = sum(p.numel() for p in named.parameters())
    assert 4 * weights * 2 < 3.9 * 2**20


def some(count: int) -> tuple[Tensor, Tensor]:
    """Return training scenes that show every class, and their masks."""
    part = scenes.load("train")
    return part.images[:count], part.classes[:count]


def test_the_classifiers_first_loss_and_its_rate() -> None:
    """Windows of all classes alike, as the seed draws them; the peak is half the rate."""
    images, masks = some(20)
    config = dataclasses.replace(TINY, classifier_turns=8, learning_rate=0.02, mixed=False)
    memory, steps = watched.watched(lambda: fcn.fit_classifier(config, images, masks, 3))
    assert memory.line() == pytest.approx(watched.one_cycle(0.01, 8, 0.25), rel=1e-6)
    draw = torch.Generator().manual_seed(3)
    each, rows = 8 * 10 // 5 + 1, []
    for label in range(5):
        where = (masks == label).nonzero()
        rows += [
            (*where[k].tolist(), label) for k in torch.randint(len(where), (each,), generator=draw)
        ]
    batches = memory.things["batches"]
    assert batches.data.tolist() == [list(row) for row in rows]
    assert batches.batch_size == 10
    order = torch.randperm(len(rows), generator=draw)[:10].tolist()
    wide = torch.zeros(20, 3, 64 + SIDE, 64 + SIDE)
    wide[:, :, 23:-23, 23:-23] = images / 127.5 - 1
    seen = torch.stack(
        [wide[i, :, r : r + SIDE, c : c + SIDE] for i, r, c, _ in (rows[k] for k in order)]
    )
    torch.manual_seed(3)
    model = network.classifier((4, 4, 8), 8, 5)
    with torch.no_grad():
        log_p = model(seen).log_softmax(dim=1)
    expected = -sum(log_p[k, rows[i][3]].item() for k, i in enumerate(order)) / 10
    assert steps[0].loss.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("skips", [0, 1, 2])
def test_the_first_loss_on_whole_scenes_and_its_rate(skips: int) -> None:
    """A mean over images of weighted means over pixels; the ground counts less than the rest."""
    images, masks = some(9)
    config = dataclasses.replace(TINY, ground=0.2, learning_rate=0.004, mixed=False, batch_size=4)
    torch.manual_seed(1)
    model = network.FCN(network.classifier((4, 4, 8), 8, 5), skips)
    torch.nn.init.normal_(model.head[-1].weight, std=3.0)
    expected_model = copy.deepcopy(model).train()
    memory, steps = watched.watched(lambda: fcn.fit(config, model.eval(), images, masks, 8, 6))
    assert memory.line() == pytest.approx(watched.one_cycle(0.004, 8, 0.25), rel=1e-6)
    assert memory.things["batches"].batch_size == 4
    assert memory.things["batches"].generator.initial_seed() == 6
    assert all(step.model is model for step in steps)
    assert model.training
    rows = torch.randperm(9, generator=torch.Generator().manual_seed(6))[:4]
    with torch.no_grad():
        log_p = expected_model(images[rows] / 127.5 - 1).log_softmax(dim=1)
    means = []
    for each, truth in zip(log_p, masks[rows].long(), strict=True):
        counts = torch.where(truth == 0, 0.2, 1.0)
        picked = each.gather(0, truth[None])[0]
        means.append(-((counts * picked).sum() / counts.sum()).item())
    assert steps[0].loss.item() == pytest.approx(sum(means) / 4, rel=1e-4)


def test_who_is_trained_from_what_on_what(monkeypatch: pytest.MonkeyPatch) -> None:
    """The classifier, then FCN-16s of it, then three that start there and see the same batches."""
    train_set, test_set = scenes.load("train"), scenes.load("test")
    few = dataclasses.replace(test_set, images=test_set.images[:6], classes=test_set.classes[:6])
    small = {"train": train_set, "test": few}
    monkeypatch.setattr(scenes, "load", small.__getitem__)
    checked = watched.calls(monkeypatch, fcn, "check_masks")
    first = watched.calls(monkeypatch, fcn, "fit_classifier")
    measured = watched.calls(monkeypatch, fcn, "measure")
    starts: list[dict[str, Tensor]] = []
    fitted, real = [], fcn.fit

    def spy(config: fcn.Config, model: network.FCN, *rest: Any) -> Any:
        fitted.append((model, *rest))
        starts.append({k: v.clone() for k, v in model.state_dict().items()})
        return real(config, model, *rest)

    monkeypatch.setattr(fcn, "fit", spy)
    run = fcn.train(TINY, 5, CPU)
    assert torch.equal(checked[0][0], train_set.images.float())
    assert torch.equal(checked[0][1], train_set.classes.long())
    assert [call[3] for call in first] == [5]
    assert [call[3:5] for call in fitted] == [(6, 5), (3, 6), (3, 6), (3, 6)]
    assert all(call[1] is fitted[0][1] for call in fitted)
    assert torch.equal(fitted[0][1], train_set.images)
    assert torch.equal(fitted[0][2], train_set.classes)
    for call, state, skips in zip(fitted[1:], starts[1:], range(3), strict=True):
        assert len(call[0].skips) == skips
        for name, value in state.items():
            if name.startswith("skips"):
                assert value.abs().max() == 0
            elif "num_batches" not in name:
                assert torch.equal(value, starts[1][name])
        last = [name for name in state if name.startswith("head") and name.endswith("weight")][-1]
        assert (state[last] - starts[0][last]).abs().max() > 0
    assert len({id(call[0]) for call in fitted}) == 4
    assert len({call[0].fine[0].weight.data_ptr() for call in fitted}) == 4
    for call, name in zip(measured, ("classifier", *fcn.NAMES.values()), strict=True):
        assert torch.equal(call[1], small["test"].images)
        assert torch.equal(call[2], small["test"].classes)
        assert call[-1]["half"]
        counts = fcn.scores.confusion(call[2], fcn.predict(call[0], call[1]), 5)
        for key, value in fcn.table(name, counts).items():
            assert run.metrics[key] == pytest.approx(value, nan_ok=True)
    for name, value in starts[0].items():  # the classifier's, before it saw a scene
        if name == "fine.0.weight":
            assert torch.equal(run.tensors["classifier.0.weight"], value.half().float())
    assert run.metrics["test_images"] == 6
    assert len(run.history["start_loss_nats"]) == 6
    assert [len(run.history[f"{n}_loss_nats"]) for n in fcn.NAMES.values()] == [3, 3, 3]
    watched.check_records(run.data, "scenes", train=train_set.record, test=test_set.record)
    run.provenance["config"] = dataclasses.asdict(TINY)
    check_networks(run)
    assert fcn.evaluate(run, CPU) == pytest.approx(run.metrics, abs=2e-3, nan_ok=True)


def check_networks(trained: runs.Run) -> None:
    """Hold what comes back of a run against its tensors: at rest, with their own weights."""
    found = fcn.models(trained)
    for name, model in (*found.items(), ("classifier", fcn.restore_classifier(trained))):
        assert watched.is_at_rest(model)
        part = trained.part(name)
        assert all(torch.equal(v, part[k]) for k, v in model.state_dict().items())
    assert list(found) == ["FCN-16s", "FCN-8s", "FCN-4s"]
    chosen = fcn.restore(trained).state_dict()
    assert all(torch.equal(v, chosen[k]) for k, v in found["FCN-4s"].state_dict().items())
    assert fcn.data(TINY) == ("scenes",)


def test_networks_come_back_as_they_were_measured(trained: runs.Run) -> None:
    """At rest, with their own weights; the classifier's scores too are measured again."""
    check_networks(trained)
    assert trained.metrics["test_images"] == len(scenes.load("test").images)


def test_all_images_are_asked_about_in_order_and_rows_are_the_truth() -> None:
    """A stand-in that names what the first colour says, and is put into evaluation mode."""

    class Red(torch.nn.Module):
        """Says the class that red is, one image in ten wrongly if it is in training."""

        def forward(self, x: Tensor) -> Tensor:
            """Return logits."""
            red = ((x[:, 0] + 1) * 127.5).round().long()
            return F.one_hot((red + int(self.training)) % 5, 5).movedim(3, 1).float()

    truth = torch.randint(0, 5, (120, 3, 4), generator=torch.Generator().manual_seed(1))
    said = torch.where(truth == 2, 4, truth)
    images = said[:, None].expand(-1, 3, -1, -1).to(torch.uint8)
    assert torch.equal(fcn.predict(Red(), images), said)
    counts = fcn.measure(Red(), images, truth.to(torch.uint8))
    expected = sklearn.metrics.confusion_matrix(truth.flatten(), said.flatten())
    assert counts.tolist() == expected.tolist()


def test_each_class_has_its_own_score() -> None:
    """Intersection over union, not accuracy, under the class's name; four unlike numbers."""
    counts = torch.tensor(
        [[30, 2, 1, 0, 4], [3, 9, 0, 2, 0], [0, 1, 5, 0, 3], [2, 2, 0, 7, 1], [0, 0, 4, 1, 6]]
    )
    truth = counts.sum(1).cumsum(0)
    a = torch.repeat_interleave(torch.arange(5), counts.sum(1))
    b = torch.cat([torch.repeat_interleave(torch.arange(5), row) for row in counts])
    assert len(a) == len(b) == truth[-1]
    found = fcn.table("x", counts)
    each = sklearn.metrics.jaccard_score(a, b, average=None)
    assert [found[f"x_iou_{c}"] for c in scenes.CLASSES] == pytest.approx(list(each))
    assert found["x_weighted_iou"] == pytest.approx(
        sklearn.metrics.jaccard_score(a, b, average="weighted")
    )
    assert found["x_mean_iou"] == pytest.approx(each.mean())
    assert found["x_mean_accuracy"] == pytest.approx(sklearn.metrics.balanced_accuracy_score(a, b))
    assert found["x_pixel_accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(a, b))
