"""Proof for litgen/recipes/segmentation/cells.py: what it trains on, what it measures."""

import dataclasses

import numpy as np
import pytest
import torch

from litgen import runs
from litgen.data import cells as drawn
from litgen.recipes.segmentation import cells
from litgen.segmentation import elastic, weights
from litgen.segmentation.unet import UNet
from tests.recipes import watched

CPU = torch.device("cpu")
TINY = dataclasses.replace(
    cells.CPU, images=6, test_images=5, widths=(2, 3), turns=2, batch_size=3
)


@pytest.fixture(scope="module")
def run() -> runs.Run:
    """Return one tiny run of all variants."""
    return runs.train("segmentation/cells", "cpu", 0, TINY)


def test_a_run_has_every_variant(run: runs.Run) -> None:
    """Weights that can be put back, curves, scores, the data's records."""
    assert list(cells.models(run)) == ["full", "no_border", "no_skips"]
    assert cells.restore(run).skips
    assert not cells.models(run)["no_skips"].skips
    for name in TINY.variants:
        assert len(run.history[f"{name}_loss_nats"]) == 2
        assert 0 < run.metrics[f"{name}_mean_iou"] < 1
    assert {r["checksum"] for r in run.data} == set(drawn.CHECKSUM.values())
    assert cells.data(TINY) == ("cells",)
    assert torch.equal(run.tensors["examples.cells"], drawn.load("test").cells[:20])


def test_measuring_again_gives_the_same(run: runs.Run) -> None:
    """The weights in the run are those that were measured."""
    again = cells.evaluate(run, CPU)
    assert again == pytest.approx(run.metrics, abs=1e-6)
    assert again.keys() == run.metrics.keys()


def test_examples_know_the_ground_between_cells() -> None:
    """Borders' weights at height 1, computed on cells with their gaps."""
    test_set = drawn.load("test")
    given = cells.examples(test_set.images[:2], test_set.cells[:2], sigma=3.0)
    numbers = test_set.cells[1].long()
    expected = weights.border(numbers * drawn.separated(numbers), 1.0, 3.0)
    torch.testing.assert_close(given.near[1], expected.float())
    assert given.near.max() > 0.5


def first_loss(
    height: float, labels: torch.Tensor, skips: bool = True, bend: float = 0.0
) -> float:
    """Return the loss of the first step on one image."""
    config = dataclasses.replace(TINY, bend=bend, batch_size=1, mixed=False)
    images = drawn.load("train").images[:1]
    given = cells.Examples(images, labels, torch.full((1, 64, 64), 0.5))
    return next(cells.fit(config, given, cells.inside, 0, 2, skips, height)).loss.item()


def test_the_loss_is_balance_plus_border() -> None:
    """The border's weight counts on the ground alone, in proportion to its height."""
    labels = drawn.load("train").cells[:1]
    losses = [first_loss(height, labels) for height in (0.0, 1.0, 2.0)]
    assert losses[2] - losses[1] == pytest.approx(losses[1] - losses[0], rel=1e-4)
    assert losses[1] > losses[0]
    full = torch.ones(1, 64, 64, dtype=torch.uint8)  # no ground: no border
    assert first_loss(5.0, full) == pytest.approx(first_loss(0.0, full))
    assert first_loss(0.0, labels, skips=False) != losses[0]
    assert first_loss(0.0, labels, bend=2.0) != losses[0]


def test_perfect_and_merged_maps_are_counted() -> None:
    """The truth with gaps finds all cells apart; without gaps, touching ones are lost."""
    test_set = drawn.load("test")
    numbers = test_set.cells[:10]
    perfect = cells.counted(numbers, drawn.separated(numbers.long()).long())
    assert (perfect["found_apart"], perfect["right_pieces"]) == (1.0, 1.0)
    assert perfect["cells"] == sum(each[each > 0].unique().numel() for each in numbers)
    merged = cells.counted(numbers, (numbers > 0).long())
    assert merged["found_apart"] < 0.6
    nothing = cells.counted(numbers, torch.zeros(10, 64, 64, dtype=torch.long))
    assert (nothing["found_apart"], nothing["right_pieces"]) == (0.0, 0.0)


def test_scores_of_a_network_that_says_cell_everywhere() -> None:
    """Mean IoU is half the share of cells; no gap is found."""
    model = UNet(1, 2, (2, 3)).eval().requires_grad_(False)
    model.head.weight.zero_()
    model.head.bias.copy_(torch.tensor([0.0, 1.0]))
    test_set = drawn.load("test")
    found = cells.measure(model, test_set.images[:4], test_set.cells[:4])
    share = drawn.separated(test_set.cells[:4].long()).double().mean().item()
    assert found["mean_iou"] == pytest.approx(share / 2, rel=1e-5)
    assert found["gap_accuracy"] == 0


def test_the_first_loss_of_bent_cells_and_the_rate() -> None:
    """Field by field as the seed draws it; classes in balance over the batch, borders on top."""
    config = dataclasses.replace(
        TINY, bend=1.5, turns=9, batch_size=4, learning_rate=0.003, mixed=False
    )
    part = drawn.load("train")
    given = cells.examples(part.images[:11], part.cells[:11], 3.0)
    for skips, height in ((True, 2.5), (False, 0.0)):
        memory, steps = watched.watched(
            lambda h=height, s=skips: cells.fit(config, given, cells.inside, 6, 2, s, h)  # type: ignore[misc]
        )
        assert memory.line() == pytest.approx(watched.one_cycle(0.003, 9), rel=1e-6)
        assert memory.things["batches"].batch_size == 4
        assert [step.turn for step in steps] == list(range(9))
        torch.manual_seed(6)
        model = UNet(1, 2, (2, 3), skips=skips)
        rows = torch.randperm(11, generator=torch.Generator().manual_seed(6))[:4]
        vectors = 1.5 * torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(7))
        there = elastic.field(vectors, 64, 64)
        image = elastic.warp(given.images[rows] / 127.5 - 1, there)
        near = elastic.warp(given.near[rows][:, None], there)[:, 0]
        truth = drawn.separated(elastic.warp_labels(given.labels[rows].long(), there)).numpy()
        with torch.no_grad():
            log_p = model(image).log_softmax(dim=1).double().numpy()
        weight = np.where(truth, 0.5 / truth.mean(), 0.5 / (1 - truth.mean()))
        weight = weight + height * near.numpy() * ~truth
        nats = -np.where(truth, log_p[:, 1], log_p[:, 0])
        assert steps[0].loss.item() == pytest.approx((weight * nats).mean(), rel=1e-4)


def test_what_is_trained_on_and_what_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first training images; rounded networks at rest on the first test images."""
    fitted = watched.calls(monkeypatch, cells, "fit")
    measured = watched.calls(monkeypatch, cells, "measure")
    config = dataclasses.replace(TINY, sigma=2.5, height=1.7)
    run = cells.train(config, 4, CPU)
    train_set, test_set = drawn.load("train"), drawn.load("test")
    numbers = train_set.cells[:6].long()
    near = weights.border(numbers[2] * drawn.separated(numbers)[2], 1.0, 2.5)
    for call, name in zip(fitted, ("full", "no_border", "no_skips"), strict=True):
        assert torch.equal(call[1].images, train_set.images[:6])
        assert torch.equal(call[1].labels, train_set.cells[:6])
        torch.testing.assert_close(call[1].near[2], near.float())
        assert call[3:5] == (4, 2)
        assert call[5] == (name != "no_skips")
        assert call[6] == (0.0 if name == "no_border" else 1.7)
        assert call[7] == name
    again = [step.loss.item() for step in cells.fit(*fitted[2][:8])]
    assert run.history["no_skips_loss_nats"] == pytest.approx(again, rel=1e-4)
    for call, name in zip(list(measured), config.variants, strict=True):
        assert call[-1] == {"training": False, "half": True}
        assert torch.equal(call[1], test_set.images[:5])
        assert torch.equal(call[2], test_set.cells[:5])
        for key, value in cells.measure(*call[:3]).items():
            assert run.metrics[f"{name}_{key}"] == pytest.approx(value)
    assert run.metrics["test_images"] == 5
    assert torch.equal(run.tensors["examples.images"], test_set.images[:20])
    watched.check_records(run.data, "cells", train=train_set.record, test=test_set.record)
    run.provenance["config"] = dataclasses.asdict(config)
    assert all(watched.is_at_rest(model) for model in cells.models(run).values())
    full = cells.models(run)["full"].state_dict()
    assert all(torch.equal(v, full[k]) for k, v in cells.restore(run).state_dict().items())


def test_the_larger_logit_is_found_over_several_batches() -> None:
    """For more images than are asked about at once."""
    model = UNet(1, 2, (2, 3)).eval().requires_grad_(False)
    images = drawn.load("test").images[:60]
    first = model(images / 127.5 - 1)
    model.head.bias[0] += (first[:, 1] - first[:, 0]).median()  # about half of the pixels each
    found = cells.found(model, images)
    margin = model(images / 127.5 - 1).diff(dim=1)[:, 0]
    sure = margin.abs() > 1e-5
    assert torch.equal(found[sure], (margin > 0).long()[sure])
    assert 0.4 < found.double().mean() < 0.6


def test_counts_and_scores_by_hand() -> None:
    """Four cells, one of them tiny; three pieces, one of them wrong and one too small."""
    labels = torch.zeros(1, 24, 24, dtype=torch.uint8)
    labels[0, 0:6, 0:6], labels[0, 0:6, 6:12] = 1, 2  # these two touch
    labels[0, 12:17, 0:5], labels[0, 20:23, 20:23] = 3, 4
    predicted = torch.zeros(1, 24, 24, dtype=torch.long)
    predicted[0, 0:6, 0:5] = 1
    predicted[0, 12:16, 14:20] = 1
    predicted[0, 20:23, 20:23] = 1
    found = cells.counted(labels, predicted)
    assert found == {"cells": 3.0, "found_apart": 1 / 3, "right_pieces": 1 / 2}
    predicted[0, 20:23, 19:23] = 1  # twelve pixels: now it is a piece
    assert cells.counted(labels, predicted)["right_pieces"] == 1 / 3

    class Says(UNet):
        """Says what was predicted by hand."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            """Return logits."""
            return torch.stack([1.0 - predicted, predicted.float()], dim=1)

    scores = cells.measure(Says(1, 2, (2, 3)), labels[:, None], labels)
    truth = labels > 0
    truth[0, 0:6, 5:7] = False  # the gap
    agreed = (truth & (predicted > 0)).sum() / (truth | (predicted > 0)).sum()
    ground = (~truth & (predicted == 0)).sum() / (~truth | (predicted == 0)).sum()
    assert scores["mean_iou"] == pytest.approx(((agreed + ground) / 2).item())
    predicted[0, 0:3, 5:7] = 1
    assert cells.measure(Says(1, 2, (2, 3)), labels[:, None], labels)["gap_accuracy"] == 0.5
