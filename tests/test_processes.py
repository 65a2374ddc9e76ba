"""Proof for litgen/processes.py: two processes against one, with the same batches."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from litgen import processes, runs
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
    alone, losses, seen = together.game()
    first, second = two[0]
    assert first["count"] == second["count"] == 2
    for name, value in alone.items():
        assert torch.equal(first["weights"][name], second["weights"][name])
        torch.testing.assert_close(first["weights"][name], value, rtol=0, atol=1e-5)
    for batch, one, other in zip(seen, first["seen"], second["seen"], strict=True):
        assert torch.equal(one, batch[0::2])
        assert torch.equal(other, batch[1::2])
    for found in (first, second):
        torch.testing.assert_close(found["losses"], losses, rtol=1e-4, atol=1e-5)


def test_noise_and_moments_are_those_of_the_whole_batch(two: Any) -> None:
    """Draws for rows are one process's to the bit; those for no rows are alike."""
    alone = together.parts()
    for found in two[0]:
        assert found["parts"].keys() == alone.keys()
        for name, value in alone.items():
            exact = name not in ("out", "gradient", "norm.running_mean", "norm.running_var")
            close = 0.0 if exact else 1e-5
            torch.testing.assert_close(found["parts"][name], value, rtol=0, atol=close)


def same(first: dict[str, Any], second: dict[str, Any], close: float = 0.0) -> None:
    """Hold weights and curves against each other, to the bit unless told otherwise."""
    for name in first.keys() - {"resumed"}:
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=close)


def test_noise_dropout_and_normalisation_train_as_alone(two: Any) -> None:
    """Weights after noise, dropout, batch normalisation and kept rows: those of one process."""
    alone = together.train()
    for found in two[0]:
        same(found["whole"], alone, 1e-5)
        same(found["whole"], two[0][0]["whole"])


def test_two_processes_go_on_where_they_were(two: Any) -> None:
    """Abandoned or out of time after every turn, they end as if never stopped, to the bit."""
    for found in two[0]:
        same(found["killed"], found["whole"])
        same(found["late"], found["whole"])
        same(found["cut"], found["whole"])
        assert found["killed"]["resumed"] == 1
        assert found["late"]["resumed"] == found["calls"] == together.TURNS - 1
        assert found["cut"]["resumed"] == 0, "half a file was taken for a whole one"


def test_the_first_process_alone_writes(two: Any) -> None:
    """The second has a folder of its own, in which nothing is ever written."""
    first, second = two[0]
    assert first["files"] == ["late.pt", "one.pt", "other.pt"]
    assert second["files"] == []


def test_one_process_goes_on_with_what_two_began(two: Any, tmp_path: Path, caplog: Any) -> None:
    """The file says nothing of single processes, so their number may change; it is said."""
    path = tmp_path / "one.pt"
    path.write_bytes((two[1] / "unfinished.pt").read_bytes())
    with caplog.at_level(logging.INFO):
        found = together.train(path)
    assert found["resumed"] == 1
    same(found, together.train(), 1e-5)
    assert "one.pt goes on with 1 processes, it had 2" in caplog.text


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


def turn(folder: Path) -> int:
    """Return the turn of the checkpoint in a folder's cache; it is whole whenever it is read."""
    for path in (folder / "cache" / "unfinished").glob("*.pt"):
        return int(torch.load(path)["turn"])
    return 0


def start(folder: Path) -> "subprocess.Popen[bytes]":
    """Start two processes that train through the store, in a group of their own."""
    folder.mkdir(exist_ok=True)
    env = os.environ | {"LITGEN_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    env["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "tests.together", str(folder), "stored"]
    with (folder / "said").open("ab") as out:
        return subprocess.Popen(command, cwd=ROOT, env=env, stdout=out, stderr=out)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs signal 9")
def test_killed_in_the_midst(tmp_path: Path) -> None:
    """Signal 9 for one of two processes or for all of them: the run is the unbroken one."""
    assert start(tmp_path / "whole").wait(120) == 0
    folder, reached = tmp_path / "broken", []
    for victim in ("1", "all", "0", "all"):
        running, before = start(folder), turn(folder)
        while turn(folder) <= before + 3:
            assert running.poll() is None, (folder / "said").read_text()[-3000:]
            time.sleep(0.01)
        if victim == "all":
            members = [int(path.read_text()) for path in folder.glob("*.pid")]
            for pid in [running.pid, *members]:
                os.kill(pid, signal.SIGKILL)
        else:
            os.kill(int((folder / f"{victim}.pid").read_text()), signal.SIGKILL)
        assert running.wait(120) != 0
        reached.append(turn(folder))
    assert start(folder).wait(120) == 0
    assert reached == sorted(reached)
    assert not list((folder / "cache" / "unfinished").iterdir())
    folders = tmp_path / "whole", folder
    whole, broken = (runs.load(f / "vae-shapes-cpu.safetensors") for f in folders)
    assert (whole.provenance["resumed"], broken.provenance["resumed"]) == (0, 4)
    torch.testing.assert_close(broken.tensors, whole.tensors, rtol=0, atol=0)
    assert (broken.metrics, broken.history) == (whole.metrics, whole.history)
