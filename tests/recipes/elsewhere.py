"""What tests/recipes/test_elsewhere.py does with each recipe on a pretended GPU."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.pretended import GPU, Places, pretended
from litgen import checkpoints, profiles, recipes, runs
from tests.recipes import test_every_recipe as every

WIDER: dict[str, dict[str, Any]] = {
    "diffusion/digits": {"steps": 60},
    "diffusion/clothes": {"steps": 60},
}
"""What a recipe's sampling needs of its config beyond what its training does."""

SILENT = ("primer/optimisers",)
"""Whose ``sample`` says that there is nothing to draw."""


def config_of(name: str) -> Any:
    """Return a recipe's tiny config, rounding to bfloat16 where the full one does."""
    return dataclasses.replace(every.tiny(name), **WIDER.get(name, {}))


def trained(
    name: str, folder: Path, patch: pytest.MonkeyPatch, broken: bool = False
) -> tuple[runs.Run, Places]:
    """Train a recipe as the command line would on a GPU, evaluate its run there, and sample.

    Args:
        name: of the recipe.
        folder: of the run.
        patch: undoes what is changed meanwhile.
        broken: stop after every turn, write a checkpoint, and go on from it.
    """
    module = recipes.load(name)
    patch.setattr(module, "GPU", config_of(name))
    patch.setattr(profiles, "device_for", lambda profile: GPU)
    with pretended() as places:
        run = None
        while run is None:
            late = time.monotonic() - 1 if broken else None
            try:
                run = runs.train(name, "gpu", 2, folder=folder, deadline=late)
            except checkpoints.OutOfTime:
                continue
        assert {tensor.device.type for tensor in run.tensors.values()} == {"cpu"}
        for metric, value in module.evaluate(run, GPU).items():
            assert isinstance(value, float | int), metric
        if hasattr(module, "sample") and name not in SILENT:
            module.sample(run, 3, torch.Generator().manual_seed(1)).numpy()
    return run, places
