"""Proof for book/_ext/litgen_book/downloads.py; slowly: each download, run as learners do."""

import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
from litgen_book import assets, chapters, downloads, pages

from tests.book.test_pages import BOOK, write

# notebook ----------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the root of the tiny book."""
    write(tmp_path, BOOK)
    monkeypatch.setattr(chapters, "ROOT", tmp_path)
    monkeypatch.setattr(assets, "wheel", lambda: Path("somewhere/litgen-7-py3-none-any.whl"))
    return tmp_path


def result() -> nbformat.NotebookNode:
    """Return the tiny chapter as if it had been executed."""
    notebook = chapters.read("book/one/light")
    prefix = "application/papermill.record/"
    (cell,) = [cell for cell in notebook.cells if cell.cell_type == "code"]
    cell.execution_count = 1
    cell.outputs = [
        nbformat.v4.new_output(
            "display_data",
            data={f"{prefix}text/plain": "42"},
            metadata={"scrapbook": {"name": "number", "mime_prefix": prefix}},
        )
    ]
    return notebook


@pytest.mark.parametrize("site", ["https://example.org/deep", "https://example.org/deep/"])
def test_a_download_knows_its_site(root: Path, site: str) -> None:
    """The page it comes from and the wheel it installs."""
    notebook = downloads.notebook("book/one/light", result(), site)
    assert "(https://example.org/deep/book/one/light.html)" in notebook.cells[0].source
    wheel = "litgen[data,plot] @ https://example.org/deep/litgen-7-py3-none-any.whl"
    assert f'"{wheel}"' in notebook.cells[1].source
    prose = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    assert "One (2001) wrote equation (1):" in prose
    assert "The number is 42.0, by (2)." in prose
    assert "* One, Ada: *First*. Ed, 2001." in prose


def test_a_download_takes_the_numbers_of_its_page(root: Path) -> None:
    """Where they are known."""
    numbers = {"first": "3.1", "second": "3.2"}
    notebook = downloads.notebook("book/one/light", result(), "https://x.org", numbers)
    prose = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    assert "wrote equation (3.1):" in prose
    assert "\\tag{3.2}" in prose


def test_only_chapters_in_html_offer_a_download(root: Path, tmp_path: Path) -> None:
    """Not other pages, and not another format."""
    for form, name in (("html", "book/other"), ("latex", "book/one/light")):
        app: Any = SimpleNamespace(
            outdir=str(tmp_path / "out"), builder=SimpleNamespace(format=form)
        )
        pages.results(app)["book/one/light"] = result()
        context: dict[str, Any] = {}
        downloads._offer(app, name, "page.html", context, None)
        assert context == {}
        assert not (tmp_path / "out").exists()


# as a learner runs it ----------------------------------------------------------------------------

OWN = ("litgen", "__editable__", "_editable_impl_litgen", "pip", "pip-")
PROGRAM = """
import json, sys
import nbformat
from nbclient import NotebookClient
notebook = nbformat.read("download.ipynb", 4)
look = "import litgen, json\\nprint(json.dumps(litgen.__file__))"
notebook.cells.append(nbformat.v4.new_code_cell(look))
NotebookClient(notebook, timeout=900, kernel_name="python3").execute()
nbformat.write(notebook, "done.ipynb")
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and remembers what was asked for."""

    asked: list[str]

    def log_message(self, *arguments: object) -> None:
        """Remember instead of printing."""
        type(self).asked.append(self.path)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[SimpleNamespace]:
    """Serve a folder with litgen's wheel in it, as the book's site does."""
    folder = tmp_path / "site"
    folder.mkdir()
    shutil.copy(assets.wheel(), folder)
    Quiet.asked = []
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}", asked=Quiet.asked)
        server.shutdown()
        thread.join()


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """Return the Python of a fresh environment: everything that litgen needs, and no litgen.

    What the project's environment holds is linked, not downloaded: torch alone is gigabytes.
    """
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    linked = tmp_path / "linked"
    linked.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith(OWN) and path.suffix != ".pth":
            (linked / path.name).symlink_to(path)
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    remove = [str(python), "-m", "pip", "uninstall", "--quiet", "--yes", "setuptools"]
    subprocess.run(remove, check=True, capture_output=True)  # an old one, which would win
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = subprocess.check_output([python, "-c", ask], text=True).strip()
    Path(packages, "linked.pth").write_text(f"{linked}\n")
    return python


@pytest.mark.slow
@pytest.mark.parametrize("name", chapters.all_names())
def test_a_download_runs_from_top_to_bottom(
    real_data: None, site: SimpleNamespace, python: Path, tmp_path: Path, name: str
) -> None:
    """In an empty folder of a machine without litgen, which its first cell installs."""
    wanted = chapters.key(chapters.read(name))
    executed = chapters.load(name, wanted) or chapters.execute({name: wanted})[name]
    assert not isinstance(executed, Exception), executed
    folder = tmp_path / "empty"
    folder.mkdir()
    nbformat.write(downloads.notebook(name, executed, site.url), folder / "download.ipynb")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PIP_", "JUPYTER"))}
    env |= {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "NO_PROXY": "127.0.0.1"}
    env |= {"JUPYTER_DATA_DIR": str(tmp_path / "jupyter"), "IPYTHONDIR": str(tmp_path / "ipython")}
    env |= {"TQDM_DISABLE": "1"}
    missing = subprocess.run(
        [python, "-c", "import litgen"], capture_output=True, cwd=folder, env=env
    )
    assert missing.returncode != 0, "litgen must not be there before it is installed"
    done = subprocess.run(
        [python, "-c", PROGRAM], capture_output=True, text=True, cwd=folder, env=env
    )
    assert done.returncode == 0, done.stderr[-3000:]
    notebook = nbformat.read(folder / "done.ipynb", 4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    outputs = [output for cell in cells for output in cell.outputs]
    assert [o for o in outputs if o.output_type == "error"] == []
    assert [o.text for o in outputs if o.output_type == "stream" and o.name == "stderr"] == []
    assert sum("image/png" in o.get("data", {}) for o in outputs) >= 5
    where = Path(json.loads(cells[-1].outputs[0].text))
    assert where.is_relative_to(tmp_path / "venv")
    assert [path for path in site.asked if path.endswith(".whl")] == [f"/{assets.wheel().name}"]
    assert {p.name for p in folder.iterdir()} == {"download.ipynb", "done.ipynb"}
