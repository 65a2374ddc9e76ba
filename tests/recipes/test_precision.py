"""Proof for litgen/recipes: whether a training computes in half precision is the config's word."""

import contextlib
import dataclasses
import sys
from typing import Any

import pytest
import torch

from litgen import recipes
from litgen.recipes.applications import slices, spikes
from litgen.recipes.gan import cyclegan, pix2pix_facades
from tests.recipes.test_chance import CPU, FEW, NAMES, PLANS
from tests.recipes.test_every_recipe import put_few, tiny


class Enough(Exception):
    """Raised when a training has said often enough how it computes."""


def words(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Patch every use of `mixed_precision`; return the list that its first words will fill."""
    heard: list[bool] = []

    def noted(device: torch.device, enabled: bool = True) -> contextlib.AbstractContextManager:
        heard.append(enabled)
        if len(heard) == 3:
            raise Enough
        return contextlib.nullcontext()

    for name, module in list(sys.modules.items()):
        if name.startswith("litgen.") and hasattr(module, "mixed_precision"):
            monkeypatch.setattr(module, "mixed_precision", noted)
    return heard


@pytest.mark.parametrize("mixed", [True, False])
@pytest.mark.parametrize("name", [n for n in NAMES if hasattr(tiny(n), "mixed")])
def test_players_compute_as_the_config_says(
    name: str, mixed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of the first three times that a network is asked."""
    put_few(monkeypatch)
    heard = words(monkeypatch)
    with contextlib.suppress(Enough):
        recipes.load(name).train(dataclasses.replace(tiny(name), mixed=mixed), 0, CPU)
    assert set(heard) == {mixed}


def shortened(name: str, mixed: bool) -> Any:
    """Return a tiny config of four turns that computes as said."""
    return dataclasses.replace(tiny(name), mixed=mixed)


@pytest.mark.parametrize("mixed", [True, False])
@pytest.mark.parametrize(
    "which", ["cyclegan", "painter", "segmenter", "reader", "facades", "spikes"]
)
def test_other_players_too(which: str, mixed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings within recipes, and those whose data are long in drawing."""
    heard = words(monkeypatch)
    some = slices.Slices(FEW[:, :1] / 127.5 - 1, (PLANS % 5).long())
    rows = torch.arange(4).expand(2, -1)
    of_two = dataclasses.replace(shortened("applications/slices", mixed), seeds=2)
    faces = cyclegan.Domains(FEW, FEW, FEW, FEW, ("x", "y"), [])
    front = shortened("gan/pix2pix_facades", mixed)
    trains = FEW[:, 0, :8].contiguous() % 2
    steps = {
        "cyclegan": lambda: cyclegan.fit(shortened("gan/cyclegan", mixed), "full", faces, 0),
        "painter": lambda: slices.fit_painter(of_two, some, rows, 0),
        "segmenter": lambda: slices.fit_segmenter(of_two, some, rows, 0),
        "reader": lambda: iter([pix2pix_facades.read_in(front, FEW, PLANS, 0)]),
        "facades": lambda: pix2pix_facades.fit(front, "both", FEW, PLANS, 0),
        "spikes": lambda: spikes.fit(shortened("applications/spikes", mixed), trains, 0),
    }[which]
    with contextlib.suppress(Enough):
        list(steps())
    assert set(heard) == {mixed}
