"""Proof for litgen/recipes/segmentation/cells.py: what it trains on, what it measures."""

import dataclasses

import pytest
import torch

from litgen import runs
from litgen.data import cells as drawn
from litgen.recipes.segmentation import cells
from litgen.segmentation import weights
from litgen.segmentation.unet import UNet

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
