"""Proof for all recipes in two processes: the weights of one, and the same ones in both.

Covers litgen/processes.py and litgen/rows.py, and what recipes do with them.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from litgen import recipes
from tests.recipes.test_every_recipe import TINY

ROOT = Path(__file__).parents[2]
FEW = (
    "gan/cyclegan",
    "gan/dcgan",
    "gan/voxels",
    "segmentation/cells",
    "applications/slices_brain",
    "style/fast",
)
"""Recipes with a buffer, kept samples, a gate, counts, shares of a batch, places in a batch."""
COARSE = {"gan/voxel_rules": 1e-3}
"""What is counted after rounding; otherwise weights agree to 5e-5."""


def run(names: list[str], folder: Path) -> list[dict[str, Any]]:
    """Train in one process and in two; return what each of the three found."""
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for start in ([], torchrun):
        command = [sys.executable, *start, "-m", "tests.recipes.together", str(folder), *names]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"{name}.pt") for name in ("1-0", "2-0", "2-1")]


def compare(alone: Any, one: Any, other: Any, close: float) -> None:
    """Hold a recipe's three trainings against each other."""
    assert alone["tensors"].keys() == one["tensors"].keys()
    for name, value in alone["tensors"].items():
        torch.testing.assert_close(one["tensors"][name], other["tensors"][name], rtol=0, atol=0)
        if value.is_floating_point():
            found = one["tensors"][name]
            torch.testing.assert_close(found, value, rtol=5e-5, atol=close, equal_nan=True)
        else:  # a grey value or a count may fall to the other side of a half
            assert (one["tensors"][name].long() - value.long()).abs().max() <= 1, name
    for name, values in alone["history"].items():
        if "seconds" not in name:
            assert one["history"][name] == other["history"][name]
            assert one["history"][name] == pytest.approx(values, rel=1e-4, abs=1e-4), name


def test_a_few_recipes_in_two_processes(tmp_path: Path) -> None:
    """Those that do more than share rows and draw noise."""
    alone, one, other = run(list(FEW), tmp_path)
    for name in FEW:
        compare(alone[name], one[name], other[name], 5e-5)


@pytest.mark.slow
def test_every_recipe_in_two_processes(tmp_path: Path) -> None:
    """Weights and curves are those of one process with the whole batches."""
    names = sorted(set(TINY) & set(recipes.names()))
    alone, one, other = run(names, tmp_path)
    for name in names:
        assert isinstance(one[name], dict), (name, one[name])
        compare(alone[name], one[name], other[name], COARSE.get(name, 5e-5))
