"""Proof for litgen/processes.py: two processes against one, with the same batches."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from litgen import processes
from tests import together

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], Path]:
    """Start two processes as a user would; return what each wrote."""
    folder = tmp_path_factory.mktemp("two")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "tests.together", str(folder)]
    env = os.environ | {"LITGEN_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    env["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"{i}.pt", weights_only=True) for i in range(2)], folder


def test_two_processes_give_the_weights_of_one(two: Any) -> None:
    """Both hold the same weights, those of a single process with the whole batch, to 1e-5."""
    alone, losses = together.game()
    first, second = two[0]
    assert first["count"] == second["count"] == 2
    for name, value in alone.items():
        assert torch.equal(first["weights"][name], second["weights"][name])
        torch.testing.assert_close(first["weights"][name], value, rtol=0, atol=1e-5)
    mean = (first["losses"] + second["losses"]) / 2
    assert not torch.allclose(first["losses"], second["losses"], rtol=1e-2), "rows are shared"
    torch.testing.assert_close(mean, losses, rtol=1e-4, atol=1e-5)


def test_a_run_is_written_once(two: Any) -> None:
    """Both return it, it says how many made it, and a second call trains nothing."""
    (first, second), folder = two
    written = sorted(path.name for path in (folder / "runs").glob("*.safetensors"))
    assert written == ["vae-shapes-cpu.safetensors"]
    assert first["metrics"] == second["metrics"]
    assert first["device"].endswith(", 2 processes")
    assert len({*first["dates"], *second["dates"]}) == 1


def test_one_process_is_as_it_was() -> None:
    """Nothing is joined, shared or wrapped."""
    with processes.joined():
        assert processes.count() == 1
        assert processes.rank() == 0
    rows = torch.arange(5)
    assert processes.share(rows) is not None
    assert torch.equal(processes.share(rows), rows)

    def loss(batch: torch.Tensor) -> torch.Tensor:
        return batch.sum()

    assert processes.averaging(loss, []) is loss
    assert processes.agreed("x") == "x"


def test_uneven_shares_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three processes the second gets every third row from the second one on."""
    monkeypatch.setattr(processes, "count", lambda: 3)
    monkeypatch.setattr(processes, "rank", lambda: 1)
    assert processes.share(torch.arange(9)).tolist() == [1, 4, 7]
    with pytest.raises(ValueError, match="3 processes cannot share 8 rows evenly"):
        processes.share(torch.arange(8))
