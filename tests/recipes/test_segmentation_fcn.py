"""Proof for litgen/recipes/segmentation/fcn.py: windows by hand, and a short training."""

import dataclasses
from pathlib import Path

import pytest
import torch

from litgen import runs
from litgen.data import scenes
from litgen.recipes.segmentation import fcn
from litgen.segmentation.fcn import SIDE

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
