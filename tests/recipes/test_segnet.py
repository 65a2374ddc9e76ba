"""Proof for litgen/recipes/segmentation/segnet.py: a short training, classes by hand."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch import Tensor

from litgen import runs
from litgen.data import cells
from litgen.data.sources import Record
from litgen.recipes.segmentation import segnet

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
