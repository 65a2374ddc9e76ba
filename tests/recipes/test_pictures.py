"""Proof for litgen/recipes/pictures.py: scales by hand, records of stand-ins, curves."""

from contextlib import suppress
from typing import Any

import pytest
import torch

from litgen.data import drawn_faces
from litgen.data.sources import ImageSet, Record
from litgen.recipes import pictures


def test_scales_by_hand() -> None:
    """0 and 255 go to -1 and 1, the middle to 0; back again nothing is lost."""
    grey = torch.tensor([0, 51, 255], dtype=torch.uint8)
    torch.testing.assert_close(pictures.to_unit(grey), torch.tensor([-1.0, -0.6, 1.0]))
    every = torch.arange(256).to(torch.uint8).view(4, 1, 8, 8)
    assert torch.equal(pictures.to_grey(pictures.to_unit(every)), every)
    outside = torch.tensor([-3.0, -1.0, 0.003, 0.005, 1.2])
    assert pictures.to_grey(outside).tolist() == [0, 0, 128, 128, 255]
    assert pictures.to_grey(outside.to(torch.bfloat16)).dtype == torch.uint8


def test_faces_are_loaded_by_name() -> None:
    """Training faces first; another name is no set."""
    train_set, test_set = pictures.load("drawn_faces")
    assert (len(train_set.images), len(test_set.images)) == (10_000, 4_000)
    assert train_set.record.checksum == drawn_faces.CHECKSUM["train"]
    assert set(pictures.LOADERS) == {"mnist", "fashion_mnist", "drawn_faces", "celeba"}
    for name, load in pictures.LOADERS.items():
        assert load.__module__ == f"litgen.data.{name}"


def test_records_say_name_title_and_split() -> None:
    """What the store of runs asks for; a stand-in stays one."""

    def some(stand_in: bool) -> ImageSet:
        record = Record("A title", "here", "none", "nobody", "0" * 64, {"train": 1}, stand_in)
        return ImageSet(torch.zeros(1, 1, 2, 2).byte(), torch.zeros(1).long(), record)

    found: list[dict[str, Any]] = pictures.records("mnist", some(False), some(True))
    assert [(r["name"], r["split"], r["title"], r["stand_in"]) for r in found] == [
        ("mnist", "train", "A title", False),
        ("mnist", "test", "A title", True),
    ]
    assert found[0]["checksum"] == "0" * 64


def test_a_curve_is_made_of_means() -> None:
    """Of equal stretches, in order; a short one keeps its points; none is an error."""
    line = [torch.tensor(float(i)) for i in range(10)]
    assert pictures.curve(line, 5) == [0.5, 2.5, 4.5, 6.5, 8.5]
    assert pictures.curve(iter(line[:3])) == [0.0, 1.0, 2.0]
    assert len(pictures.curve(line * 30)) == 100
    with pytest.raises((ValueError, RuntimeError)):
        pictures.curve([])


def test_one_thread_while_it_lasts() -> None:
    """Set back after it, also when the work breaks off; a GPU's host is left alone."""
    torch.set_num_threads(2)
    try:
        with pictures.one_thread(torch.device("cpu")):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        with suppress(ZeroDivisionError), pictures.one_thread(torch.device("cpu")):
            raise ZeroDivisionError
        assert torch.get_num_threads() == 2
        with pictures.one_thread(torch.device("cuda")):
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
