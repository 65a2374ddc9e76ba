"""Proof for litgen/data/ellipses.py: counting, and the drawing of litgen/data/shapes.py."""

import pytest
import torch

from litgen.data import ellipses, shapes, sources


def test_every_combination_is_drawn_once() -> None:
    """1,024 different images; one in the middle is that of `shapes.render`, averaged."""
    found = ellipses.load()
    assert found.images.shape == (1_024, 1, 14, 14)
    assert len(found.images.flatten(1).unique(dim=0)) == 1_024
    assert len(found.factors.unique(dim=0)) == 1_024
    assert found.factors.amax(dim=0).tolist() == [n - 1 for n in ellipses.LEVELS]
    for level in ((1, 15, 4), (3, 2, 9)):
        i = int((found.factors == torch.tensor(level)).all(dim=1).nonzero())
        finer = [0.0, level[0], 2.0, level[1] * 7 / 15, level[2] * 7 / 15]
        image = shapes.render(torch.tensor([finer])).double()[0, 0]
        by_hand = image.reshape(14, 2, 14, 2).mean(dim=(1, 3))
        assert (found.images[i, 0].double() - by_hand).abs().max() <= 0.5


def test_the_record_names_what_was_drawn() -> None:
    """Its checksum is that of images and factors, and is the module's."""
    found = ellipses.load()
    expected = sources.checksum(found.images, found.factors)
    assert found.record.checksum == expected == ellipses.CHECKSUM["train"]
    assert found.describe() == "1,024 images 1x14x14"
    assert not found.record.stand_in
    found.images.zero_()
    assert ellipses.load().images.any(), "a caller's changes are its own"


def test_what_cannot_be_had_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another split, and a machine that draws something else."""
    with pytest.raises(ValueError, match="no split 'test'"):
        ellipses.load("test")
    monkeypatch.setitem(ellipses.CHECKSUM, "train", "0" * 64)
    with pytest.raises(sources.WrongBytes, match="drawn ellipses train has checksum"):
        ellipses.load()
