"""Chapters as notebooks: read them, know what they depend on, execute them once, keep the result.

Proof: tests/book/test_chapters.py.

A result is an executed notebook in ``_build/chapters``, filed under a key that knows the code
cells, the litgen source that they import, the runs that they load, the profile and the locked
versions. Prose, captions and comments are not part of it. The tests and the build share results: a
chapter is executed once.
"""

import ast
import asyncio
import copy
import datetime
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nbformat
import yaml
from myst_nb.core.read import is_myst_markdown_notebook, read_myst_markdown_notebook
from nbformat import NotebookNode

from litgen import digest, profiles, runs

__all__ = [
    "ROOT",
    "all_names",
    "execute",
    "front_matter",
    "key",
    "load",
    "read",
    "recipes",
    "stored",
]

ROOT = Path(__file__).resolve().parents[3]
TIMEOUT = 600
"""Seconds that one cell may take."""
UNUSABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, nbformat.ValidationError)
"""What reading a result raises that is missing, cut short, or of an older build."""


def all_names() -> list[str]:
    """Return the chapters of the book by their path without suffix: ``book/vae/elbo``."""
    files = sorted((ROOT / "book").rglob("*.md"))
    names = [f.relative_to(ROOT).with_suffix("").as_posix() for f in files]
    return [n for n in names if is_chapter(n)]


def is_chapter(name: str) -> bool:
    """Return whether a page has code cells to execute."""
    path = ROOT / f"{name}.md"
    return path.is_file() and bool(is_myst_markdown_notebook(path.read_text("utf8")))


def read(name: str) -> NotebookNode:
    """Return a chapter as a notebook without outputs."""
    path = ROOT / f"{name}.md"
    return read_myst_markdown_notebook(path.read_text("utf8"), path=str(path))


def front_matter(name: str) -> dict[str, Any]:
    """Return what a chapter says of itself under ``litgen:`` in its header."""
    match = re.match(r"---\n(.*?)\n---\n", (ROOT / f"{name}.md").read_text("utf8"), re.DOTALL)
    header = yaml.safe_load(match[1]) if match else {}
    return dict((header or {}).get("litgen") or {})


def code(notebook: NotebookNode) -> list[str]:
    """Return the sources of the code cells."""
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def recipes(notebook: NotebookNode) -> list[str]:
    """Return the recipes whose runs the cells load with ``runs.get("...")``, in order."""
    names = []
    for source in code(notebook):
        for node in ast.walk(ast.parse(source)):
            if (
                isinstance(node, ast.Call)
                and ast.unparse(node.func) == "runs.get"
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                names.append(str(node.args[0].value))
    return list(dict.fromkeys(names))


def key(notebook: NotebookNode) -> str:
    """Return the hash of everything that a chapter's outputs depend on."""
    cells = code(notebook)
    modules = digest.closure(set().union(*(digest.imported(source) for source in cells)))
    shown = {name: runs.planned(name) for name in recipes(notebook)}
    lock = ROOT / "requirements.lock"
    return digest.combine(
        [digest.normalized(source) for source in cells],
        digest.sources(modules),
        shown,
        profiles.allowed(),
        lock.read_text("utf8") if lock.is_file() else "",
    )


def stored(name: str) -> Path:
    """Return where a chapter's result is kept."""
    return ROOT / "_build" / "chapters" / (name.replace("/", "-") + ".ipynb")


def load(name: str, wanted: str) -> NotebookNode | None:
    """Return a chapter's result if it is the one that executing it now would give, or None."""
    try:
        result = nbformat.read(stored(name), 4)
        found = result.metadata["litgen"]
        if found["key"] != wanted or not found.keys() >= {"runs", "date", "seconds"}:
            return None
    except UNUSABLE:
        return None
    if any(record["stand_in"] for run in found["runs"] for record in run["data"]):
        return (
            result
            if all(runs.find(run["recipe"], run["profile"]) for run in found["runs"])
            else None
        )
    return result


def execute(
    names: Mapping[str, str], report: Callable[[str], None] = print, jobs: int | None = None
) -> dict[str, NotebookNode | Exception]:
    """Execute chapters side by side and store each as soon as it is done.

    Args:
        names: chapters with their keys.
        report: gets one line a chapter.
        jobs: kernels at a time; LITGEN_JOBS or the number of cores unless given.

    Returns:
        For each name the result, or what went wrong.
    """
    if os.name == "posix":
        _sweep()
    cores = os.cpu_count() or 1
    jobs = jobs or int(os.environ.get("LITGEN_JOBS", cores))
    threads = max(1, cores // min(jobs, max(1, len(names))))

    async def one(name: str, gate: asyncio.Semaphore) -> NotebookNode | Exception:
        async with gate:
            start = time.perf_counter()
            try:
                result = await _run(name, threads)
            except Exception as error:  # reported by the caller, all chapters at once
                report(f"failed: {name}")
                return error
            seconds = time.perf_counter() - start
            result.metadata["litgen"] = _provenance(result, names[name], seconds)
            _write(result, stored(name))
            report(f"executed: {name}, {seconds:.1f} s")
            return result

    async def every() -> list[NotebookNode | Exception]:
        gate = asyncio.Semaphore(jobs)
        return await asyncio.gather(*(one(name, gate) for name in names))

    return dict(zip(names, asyncio.run(every()), strict=True))


def _sweep() -> None:
    """Remove the connection files of builds that were killed."""
    for folder in Path(tempfile.gettempdir()).glob("litgen-kernel-*-*"):
        owner = folder.name.split("-")[2]
        try:
            os.kill(int(owner), 0)  # asks whether the process lives, and does nothing to it
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (OSError, ValueError):  # another user's, or no name of ours
            continue


async def _run(name: str, threads: int) -> NotebookNode:
    """Execute a copy of a chapter in a kernel of its own, in the chapter's folder."""
    from nbclient import NotebookClient
    from traitlets.config import Config

    notebook = copy.deepcopy(read(name))
    env = os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "1000",  # long enough for the next small operation, and no longer
        "TQDM_DISABLE": "1",
        "MPLBACKEND": "agg",
    }
    with tempfile.TemporaryDirectory(prefix=f"litgen-kernel-{os.getpid()}-") as folder:
        connection = {"connection_file": f"{folder}/kernel.json"}
        if os.name == "posix":  # sockets as files: no ports that two kernels could both pick
            connection["transport"] = "ipc"
        client = NotebookClient(
            notebook,
            config=Config({"AsyncKernelManager": connection}),
            kernel_name="python3",
            timeout=TIMEOUT,
            shutdown_kernel="immediate",
            resources={"metadata": {"path": str((ROOT / name).parent)}},
        )
        await client.async_execute(env=env)
    return notebook


def _provenance(result: NotebookNode, wanted: str, seconds: float) -> dict[str, Any]:
    used = [runs.find(name, runs.planned(name)[0]) for name in recipes(result)]
    return {
        "key": wanted,
        "seconds": round(seconds, 1),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "runs": [
            run.provenance | {"data": run.data, "line": run.describe(), "metrics": run.metrics}
            for run in used
            if run
        ],
    }


def _write(notebook: NotebookNode, path: Path) -> None:
    """Write whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    nbformat.write(notebook, part)
    os.replace(part, path)
