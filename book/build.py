"""Build the book: one build at a time, warnings are errors, a killed build leaves no trace.

Proof: tests/book/test_build.py.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock, Timeout

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "_build"


def main(arguments: list[str]) -> int:
    """Build the site; arguments go to ``jupyter-book build``. Return its exit status."""
    BUILD.mkdir(exist_ok=True)
    lock = FileLock(BUILD / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print("another build is running here; waiting for it", flush=True)
        lock.acquire()
    with lock:
        return _build(arguments)


def _build(arguments: list[str]) -> int:
    unfinished = BUILD / ".unfinished"
    if unfinished.exists():  # killed or failed: pages may be half written; results are kept
        shutil.rmtree(BUILD / "html", ignore_errors=True)
        shutil.rmtree(BUILD / ".doctrees", ignore_errors=True)
    unfinished.touch()
    # -W alone would stop at the first warning, and a second run would then find nothing to warn of
    program = Path(sys.executable).with_name("jupyter-book")
    command = [str(program), "build", ".", "--path-output", "."]
    command += ["--warningiserror", "--nitpick", "--keep-going", *arguments]
    status = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": "0"}).returncode
    if status == 0:
        unfinished.unlink()
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
