"""Proof for book/build.py; jupyter-book itself is played by a function."""

import importlib.util
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import filelock
import pytest

ROOT = Path(__file__).parents[2]
Jupyter = Callable[[], int]


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the script, working in a folder of its own."""
    spec = importlib.util.spec_from_file_location("litgen_build", ROOT / "book" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "BUILD", tmp_path / "_build")
    return module


class Builder:
    """Stands for ``subprocess.run`` of jupyter-book: writes a page, returns a status."""

    def __init__(self, root: Path) -> None:
        self.root, self.status = root, 0
        self.calls: list[tuple[list[str], dict[str, Any]]] = []
        self.during: Callable[[], object] = lambda: None

    def __call__(self, command: list[str], **keywords: Any) -> Any:
        """Build."""
        self.calls.append((command, keywords))
        self.seen = sorted(p.name for p in (self.root / "_build").iterdir())
        for folder in ("html", ".doctrees", "chapters", ".jupyter_cache", "wheels"):
            (self.root / "_build" / folder).mkdir(exist_ok=True)
            (self.root / "_build" / folder / "file").touch()
        self.during()
        return SimpleNamespace(returncode=self.status)


@pytest.fixture
def jupyter(build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Builder:
    """Put the stand-in in jupyter-book's place."""
    builder = Builder(tmp_path)
    monkeypatch.setattr(build.subprocess, "run", builder)
    return builder


RESULTS = {"chapters", ".jupyter_cache", "wheels"}
PAGES = {"html", ".doctrees"}


def left(root: Path) -> set[str]:
    """Return what a build left, its lock apart."""
    return {p.name for p in (root / "_build").iterdir()} - {".lock"}


def test_a_build_is_strict(build: ModuleType, jupyter: Builder, tmp_path: Path) -> None:
    """Warnings are errors, all of them are shown, arguments go on, order is reproducible."""
    assert build.main(["--all"]) == 0
    ((command, keywords),) = jupyter.calls
    assert Path(command[0]).name == "jupyter-book"
    assert command[1:5] == ["build", ".", "--path-output", "."]
    assert {"--warningiserror", "--nitpick", "--keep-going"} <= set(command)
    assert command[-1] == "--all"
    assert keywords["cwd"] == tmp_path
    assert keywords["env"]["PYTHONHASHSEED"] == "0"
    assert "PATH" in keywords["env"]
    assert left(tmp_path) == RESULTS | PAGES


def test_a_second_build_starts_from_the_first(build: ModuleType, jupyter: Builder) -> None:
    """Nothing is cleared after a success."""
    build.main([])
    build.main([])
    assert set(jupyter.seen) >= RESULTS | PAGES


@pytest.mark.parametrize("status", [1, 2, -9])
def test_after_a_failure_pages_start_anew_and_results_are_kept(
    build: ModuleType, jupyter: Builder, tmp_path: Path, status: int
) -> None:
    """Otherwise a second run would read nothing, warn of nothing, and call that a success."""
    jupyter.status = status
    assert build.main([]) == status
    assert ".unfinished" in left(tmp_path)
    jupyter.status = 0
    assert build.main([]) == 0
    assert not PAGES & set(jupyter.seen)
    assert set(jupyter.seen) >= RESULTS
    assert left(tmp_path) == RESULTS | PAGES


@pytest.mark.parametrize("error", [KeyboardInterrupt, FileNotFoundError, MemoryError])
def test_a_killed_build_leaves_its_marker_and_no_lock(
    build: ModuleType, jupyter: Builder, tmp_path: Path, error: type[BaseException]
) -> None:
    """The next one waits for nobody and starts its pages anew."""

    def die() -> None:
        raise error

    jupyter.during = die
    with pytest.raises(error):
        build.main([])
    assert ".unfinished" in left(tmp_path)
    with filelock.FileLock(tmp_path / "_build" / ".lock", timeout=0):
        pass
    jupyter.during = lambda: None
    assert build.main([]) == 0
    assert not PAGES & set(jupyter.seen)


def test_the_marker_lies_there_while_a_build_runs(
    build: ModuleType, jupyter: Builder, tmp_path: Path
) -> None:
    """So that kill -9 leaves it, too; and the lock is held."""
    jupyter.during = lambda: found.append(filelock_is_free(tmp_path / "_build" / ".lock"))
    found: list[bool] = []
    build.main([])
    assert ".unfinished" in jupyter.seen
    assert found == [False]
    assert filelock_is_free(tmp_path / "_build" / ".lock")


def filelock_is_free(path: Path) -> bool:
    """Say whether nobody holds a lock."""
    try:
        with filelock.FileLock(path, timeout=0):
            return True
    except filelock.Timeout:
        return False


def test_one_build_at_a_time(
    build: ModuleType, jupyter: Builder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second one says that it waits, waits, and builds then."""
    (tmp_path / "_build").mkdir()
    held = filelock.FileLock(tmp_path / "_build" / ".lock", thread_local=False)
    held.acquire()
    status: list[int] = []
    other = threading.Thread(target=lambda: status.append(build.main([])))
    other.start()
    other.join(timeout=0.3)
    assert other.is_alive()
    assert jupyter.calls == []
    held.release()
    other.join(timeout=10)
    assert status == [0]
    assert "another build is running here; waiting" in capsys.readouterr().out
