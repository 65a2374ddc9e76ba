"""Proof for litgen/checkpoints.py: a training killed at random moments ends with the same run."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from litgen import runs

ROOT = Path(__file__).parents[1]
NAME = "vae-shapes-cpu.safetensors"


def started(folder: Path) -> subprocess.Popen[str]:
    """Start the training in a process of its own; return when it begins."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    env |= {"LITGEN_CACHE": str(folder / "cache"), "TQDM_DISABLE": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.killed", str(folder)],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begins\n"
    return process


@pytest.mark.slow
def test_a_training_killed_at_random_moments(tmp_path: Path) -> None:
    """LITGEN_KILLS times (3 unless set), each in a folder of its own: equal to the last bit."""
    whole = tmp_path / "whole"
    begun = time.monotonic()
    process = started(whole)
    process.communicate(timeout=300)
    assert process.returncode == 0
    seconds = time.monotonic() - begun
    expected = runs.load(whole / NAME)
    resumed = 0
    for number in range(int(os.environ.get("LITGEN_KILLS", "3"))):
        folder = tmp_path / str(number)
        process = started(folder)
        time.sleep(random.Random(number).uniform(0.05, 0.9) * seconds)
        process.kill()
        process.communicate()
        process = started(folder)
        process.communicate(timeout=300)
        assert process.returncode == 0
        found = runs.load(folder / NAME)
        resumed += found.provenance["resumed"]
        assert found.tensors.keys() == expected.tensors.keys()
        for name, value in expected.tensors.items():
            assert torch.equal(found.tensors[name], value), (number, name)
        assert found.metrics == expected.metrics
        assert found.history == expected.history
    assert resumed, "no training went on from a checkpoint"
