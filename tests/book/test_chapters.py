"""Proof for book/_ext/litgen_book/chapters.py, on a tiny book; and every chapter, executed."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
from litgen_book import chapters
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from litgen import digest, recipes, runs

NAME = "book/one/first"
HEADER = """\
---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  name: python3
litgen:
  summary: One.
  minutes: 3
---

"""
CHAPTER = HEADER + dedent('''\
    # The first

    Some prose about $x$.

    ```{code-cell} ipython3
    :tags: [hide-input]

    # a comment
    from mini import maths
    from litgen import runs


    def f(x):
        """What f does."""
        return maths.half(x) + 1


    run = runs.get("one/recipe")
    ```

    More prose.

    ```{code-cell} ipython3
    print(f(3), run)
    ```
    ''')
MINI = {
    "__init__.py": "",
    "maths.py": '"""Mathematics."""\nfrom mini import deep\n\ndef half(x):\n    return x / 2\n',
    "deep.py": "NUMBER = 1\n",
    "unused.py": "NUMBER = 1\n",
    "recipe.py": "from mini import net\n",
    "net.py": "WIDTH = 1\n",
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Of the recipe below."""

    steps: int = 1


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the root of a tiny book, with a package and a recipe of its own."""
    files = {f"{NAME}.md": CHAPTER, "requirements.lock": "torch==2.11\n"}
    files |= {f"mini/{name}": text for name, text in MINI.items()}
    for name, text in files.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    root = tmp_path / "root"
    recipe = SimpleNamespace(
        __name__="mini.recipe", CPU=Config(), GPU=Config(9), data=lambda config: ()
    )
    monkeypatch.setattr(chapters, "ROOT", root)
    monkeypatch.setattr(digest, "PACKAGE", root / "mini")
    monkeypatch.setattr(recipes, "names", lambda: ["one/recipe"])
    monkeypatch.setattr(recipes, "load", {"one/recipe": recipe}.__getitem__)
    monkeypatch.setenv("LITGEN_RUNS", str(tmp_path / "published"))
    return root


def key() -> str:
    """Return the tiny chapter's key."""
    return chapters.key(chapters.read(NAME))


def edit(path: Path, old: str, new: str) -> None:
    """Replace a text that is there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


# reading -----------------------------------------------------------------------------------------


def test_chapters_are_pages_with_code(book: Path) -> None:
    """A page without the header, or without cells, is none; names are paths without suffix."""
    (book / "book" / "intro.md").write_text("# Intro\n\n```python\nx = 1\n```\n")
    (book / "book" / "a" / "b").mkdir(parents=True)
    (book / "book" / "a" / "b" / "deep.md").write_text(CHAPTER)
    assert chapters.all_names() == ["book/a/b/deep", NAME]
    assert chapters.is_chapter(NAME)
    assert not chapters.is_chapter("book/intro")
    assert not chapters.is_chapter("book/nothing")


def test_code_is_the_code_cells(book: Path) -> None:
    """In order, without directives and options."""
    first, second = chapters.code(chapters.read(NAME))
    assert first.startswith("# a comment\nfrom mini")
    assert second == "print(f(3), run)"


def test_front_matter_is_what_the_header_says_of_litgen(book: Path) -> None:
    """And nothing where it says nothing, or where there is no header."""
    assert chapters.front_matter(NAME) == {"summary": "One.", "minutes": 3}
    for text in (
        "# No header\n",
        "---\nkernelspec: {}\n---\n",
        "---\n---\n",
        "---\nlitgen:\n---\n",
    ):
        (book / "book" / "plain.md").write_text(text)
        assert chapters.front_matter("book/plain") == {}


def test_recipes_are_what_runs_get_asks_for(book: Path) -> None:
    """Each once, in the order of the cells; not in comments, strings or of other objects."""
    cells = [
        "run = runs.get('b/two', seed=1)",
        "# runs.get('no/comment')\nx = 'runs.get(\"no/string\")'\nother.get('no/other')",
        "both = [runs.get('a/one'), f(runs.get('b/two'))]\nruns.get(name)\nruns.get()",
    ]
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells]
        + [nbformat.v4.new_markdown_cell("runs.get('no/prose')")]
    )
    assert chapters.recipes(notebook) == ["b/two", "a/one"]
    assert chapters.recipes(chapters.read(NAME)) == ["one/recipe"]


# key ---------------------------------------------------------------------------------------------

SAME = {
    "prose": (f"{NAME}.md", "Some prose", "Other prose"),
    "formula": (f"{NAME}.md", "$x$", "$y$"),
    "title": (f"{NAME}.md", "# The first", "# The 1st"),
    "header": (f"{NAME}.md", "summary: One.", "summary: Uno."),
    "tags": (f"{NAME}.md", ":tags: [hide-input]", ":tags: [hide-cell]"),
    "cell's comment": (f"{NAME}.md", "# a comment", "# another"),
    "cell's docstring": (f"{NAME}.md", "What f does", "What f is"),
    "cell's form": (f"{NAME}.md", "print(f(3), run)", "print(\n    f(3),\n    run,\n)"),
    "module's docstring": ("mini/maths.py", "Mathematics", "Maths"),
    "module's comment": ("mini/deep.py", "NUMBER = 1", "NUMBER = 1  # one"),
    "unused module": ("mini/unused.py", "1", "2"),
    "recipe's comment": ("mini/net.py", "WIDTH", "# width\nWIDTH"),
    "another chapter": ("book/one/second.md", None, CHAPTER),
}
OTHER = {
    "cell": (f"{NAME}.md", "print(f(3), run)", "print(f(4), run)"),
    "cell's order": (f"{NAME}.md", "+ 1\n", "- 1\n"),
    "new cell": (f"{NAME}.md", "More prose.", "```{code-cell} ipython3\nx = 1\n```\n"),
    "module": ("mini/maths.py", "x / 2", "x / 3"),
    "module's module": ("mini/deep.py", "1", "2"),
    "recipe's module": ("mini/net.py", "1", "2"),
    "recipe": ("mini/recipe.py", "import net", "import net as n"),
    "lock file": ("requirements.lock", "2.11", "2.12"),
}


@pytest.mark.parametrize("name", SAME)
def test_what_does_not_change_the_key(book: Path, name: str) -> None:
    """Prose, captions, tags, comments, docstrings, form: nothing is executed again."""
    before = key()
    file, old, new = SAME[name]
    if old is None:
        (book / file).write_text(new)
    else:
        edit(book / file, old, new)
    assert key() == before


@pytest.mark.parametrize("name", OTHER)
def test_what_changes_the_key(book: Path, name: str) -> None:
    """Cells, the formulas they import, the recipes they load, the locked versions."""
    before = key()
    edit(book / OTHER[name][0], *OTHER[name][1:])
    assert key() != before


def test_the_profile_and_the_config_change_the_key(
    book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each profile has its key; a hyper-parameter counts in the profile that is shown."""
    keys = []
    for word in ("auto", "cpu"):
        monkeypatch.setenv("LITGEN_PROFILE", word)
        keys.append(key())
    assert keys[0] != keys[1]
    recipe = recipes.load("one/recipe")
    monkeypatch.setattr(recipe, "GPU", Config(10))
    assert key() == keys[1]
    monkeypatch.setattr(recipe, "CPU", Config(2))
    assert key() not in keys
    monkeypatch.setenv("LITGEN_PROFILE", "tpu")
    with pytest.raises(ValueError, match="LITGEN_PROFILE"):
        key()


def test_a_published_run_changes_the_key(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the moment on at which it would be shown."""
    before = key()
    monkeypatch.setattr(runs, "find", lambda name, profile, seed=0: profile == "gpu" or None)
    assert key() != before


def test_a_chapter_without_a_lock_file_has_a_key(book: Path) -> None:
    """Such as one in a wheel or a fork."""
    before = key()
    (book / "requirements.lock").unlink()
    assert key() != before


def test_a_cell_that_is_no_python_is_an_error(book: Path) -> None:
    """Said before anything runs."""
    edit(book / f"{NAME}.md", "print(f(3), run)", "print(f(3)")
    with pytest.raises(SyntaxError):
        key()


# stored and load ---------------------------------------------------------------------------------


def result(run_data: list[dict[str, Any]] | None = None) -> Any:
    """Return an executed chapter with a key."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x = 1")])
    run = {"recipe": "one/recipe", "profile": "cpu", "data": run_data or []}
    notebook.metadata["litgen"] = {"key": "k" * 16, "runs": [run], "date": "d", "seconds": 1.0}
    return notebook


def store(notebook: NotebookNode) -> Path:
    """Put a result where the book looks."""
    path = chapters.stored(NAME)
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


def test_results_lie_in_the_build_folder(book: Path) -> None:
    """One file a chapter, named by its whole path."""
    assert chapters.stored(NAME) == book / "_build" / "chapters" / "book-one-first.ipynb"
    assert chapters.load(NAME, "k" * 16) is None


def test_a_result_is_shown_under_its_own_key_only(book: Path) -> None:
    """Another key is another chapter."""
    store(result())
    found = chapters.load(NAME, "k" * 16)
    assert found is not None
    assert found.cells[0].source == "x = 1"
    assert chapters.load(NAME, "l" * 16) is None
    assert chapters.load("book/one/other", "k" * 16) is None


def test_a_damaged_result_is_no_result(book: Path) -> None:
    """Cut short anywhere, empty, no notebook, of an older or of no build: it is made anew."""
    path = store(result())
    good = path.read_text()
    files = [good[: len(good) * i // 8] for i in range(8)]
    files += [
        "[]",
        "{}",
        "null",
        "42",
        '"text"',
        "\0",
        '{"nbformat": 4}',
        good.replace("key", "k"),
    ]
    for part in ("litgen", "runs", "date", "seconds"):
        broken = json.loads(good)
        (broken["metadata"] if part == "litgen" else broken["metadata"]["litgen"]).pop(part)
        files.append(json.dumps(broken))
    for value in ("null", "[]", '"text"', "{}"):
        broken = json.loads(good)
        broken["metadata"]["litgen"] = json.loads(value)
        files.append(json.dumps(broken))
    for text in files:
        path.write_text(text)
        assert chapters.load(NAME, "k" * 16) is None, text
    path.write_bytes(b"\xff\xfe" + os.urandom(200))
    assert chapters.load(NAME, "k" * 16) is None
    path.unlink()
    path.mkdir()
    assert chapters.load(NAME, "k" * 16) is None


def test_results_on_stand_ins_are_shown_while_their_runs_are_fresh(
    book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as the real data are missing; the store of runs knows."""
    asked: list[tuple[str, str]] = []
    fresh = True

    def find(recipe: str, profile: str, seed: int = 0) -> str | None:
        asked.append((recipe, profile))
        return "a run" if fresh else None

    monkeypatch.setattr(runs, "find", find)
    store(result([{"stand_in": False}]))
    assert chapters.load(NAME, "k" * 16) is not None
    assert asked == []
    store(result([{"stand_in": False}, {"stand_in": True}]))
    assert chapters.load(NAME, "k" * 16) is not None
    assert asked == [("one/recipe", "cpu")]
    fresh = False
    assert chapters.load(NAME, "k" * 16) is None


# execute -----------------------------------------------------------------------------------------

CELLS = {
    "good": [
        "import os, sys\nfrom pathlib import Path\nx = 6 * 7",
        "print(x, Path.cwd().name, Path('good.md').exists(), os.environ['OMP_NUM_THREADS'],"
        " os.environ['TQDM_DISABLE'], os.environ['MPLBACKEND'], os.environ['LITGEN_OFFLINE'])",
        "sys.executable",
    ],
    "bad": ["print('before')", "raise ValueError('on purpose')", "print('after')"],
    "dead": ["import os\nos.kill(os.getpid(), 9)"],
}


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Execute a chapter that works, one that raises and one whose kernel dies, side by side."""
    root = tmp_path_factory.mktemp("executed")
    (root / "book" / "two").mkdir(parents=True)
    for name, cells in CELLS.items():
        text = "\n".join(f"```{{code-cell}} ipython3\n{cell}\n```\n" for cell in cells)
        (root / "book" / "two" / f"{name}.md").write_text(f"{HEADER}# {name}\n\n{text}")
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(chapters, "ROOT", root)
        monkeypatch.setenv("LITGEN_OFFLINE", "1")
        monkeypatch.setattr(os, "cpu_count", lambda: 6)
        monkeypatch.setenv("LITGEN_CACHE", str(root / "cache"))
        store_before = chapters.stored("book/two/bad")
        store_before.parent.mkdir(parents=True)
        store_before.write_text("an old result")
        names = {f"book/two/{name}": f"key of {name}" for name in CELLS}
        results = chapters.execute(names, lines.append, jobs=2)
        yield SimpleNamespace(root=root, results=results, lines=lines)


def test_a_chapter_is_executed_in_its_folder_and_stored(executed: Any) -> None:
    """By this Python, with a share of the cores, no progress bars, and today's environment."""
    found = executed.results["book/two/good"]
    cells = [cell for cell in found.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == [1, 2, 3]
    assert cells[1].outputs[0].text == "42 two True 3 1 agg 1\n"
    assert cells[2].outputs[0].data["text/plain"] == repr(sys.executable)
    about = found.metadata["litgen"]
    assert about["key"] == "key of good"
    assert about["runs"] == []
    assert 0 < about["seconds"] < 60
    stored = executed.root / "_build" / "chapters" / "book-two-good.ipynb"
    assert nbformat.read(stored, 4) == found
    nbformat.validate(found)
    assert any(line.startswith("executed: book/two/good, ") for line in executed.lines)


def test_a_failing_chapter_is_reported_and_not_stored(executed: Any) -> None:
    """With its error; the old result stays, the others are executed all the same."""
    error = executed.results["book/two/bad"]
    assert isinstance(error, CellExecutionError)
    assert "on purpose" in str(error)
    assert "failed: book/two/bad" in executed.lines
    folder = executed.root / "_build" / "chapters"
    assert (folder / "book-two-bad.ipynb").read_text() == "an old result"
    assert {p.name for p in folder.iterdir()} == {"book-two-bad.ipynb", "book-two-good.ipynb"}


def test_a_chapter_whose_kernel_dies_is_a_failure(executed: Any) -> None:
    """Not a chapter without outputs."""
    assert isinstance(executed.results["book/two/dead"], Exception)
    assert list(executed.results) == [f"book/two/{name}" for name in CELLS]


def test_executing_leaves_nothing_else(executed: Any) -> None:
    """No files beside the chapters, none half written."""
    files = {p.relative_to(executed.root).as_posix() for p in executed.root.rglob("*")}
    assert {f for f in files if not f.startswith("_build/chapters")} == {
        *("book", "book/two", "_build", *(f"book/two/{name}.md" for name in CELLS)),
    }


def test_the_provenance_names_the_runs_that_were_loaded(
    book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the profile that is shown, with their data and the line for captions."""
    run = runs.Run(
        {}, {}, {}, [{"name": "mnist", "stand_in": False}], {"profile": "gpu", "device": "a GPU"}
    )
    run.provenance.update(recipe="one/recipe", seconds=3.2, date="2026-01-02T03:04:05")

    def find(name: str, profile: str, seed: int = 0) -> runs.Run | None:
        return run if (name, profile) == ("one/recipe", "gpu") else None

    monkeypatch.setattr(runs, "find", find)
    about = chapters._provenance(chapters.read(NAME), "a key", 1.234)
    (shown,) = about["runs"]
    assert (about["key"], about["seconds"]) == ("a key", 1.2)
    assert shown["data"] == run.data
    assert shown["line"] == run.describe()
    assert shown["profile"] == "gpu"
    json.dumps(about)


# the book's chapters -----------------------------------------------------------------------------


@pytest.fixture(scope="session")
def results() -> dict[str, NotebookNode | Exception]:
    """Execute what has no result yet, and keep it where the build looks: it executes nothing."""
    keys = {name: chapters.key(chapters.read(name)) for name in chapters.all_names()}
    found = {name: chapters.load(name, wanted) for name, wanted in keys.items()}
    missing = {name: keys[name] for name, notebook in found.items() if notebook is None}
    kept = {name: notebook for name, notebook in found.items() if notebook is not None}
    return kept | (chapters.execute(missing) if missing else {})


@pytest.mark.slow
@pytest.mark.parametrize("name", chapters.all_names())
def test_every_chapter_runs(
    real_data: None,
    results: dict[str, Any],
    name: str,
    record_property: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From top to bottom, without an error and without a word on stderr."""
    notebook = results[name]
    if isinstance(notebook, Exception):
        raise notebook
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert chapters.code(notebook) == chapters.code(chapters.read(name))
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    outputs = [output for cell in cells for output in cell.outputs]
    assert [o for o in outputs if o.output_type == "error"] == []
    assert [o.text for o in outputs if o.output_type == "stream" and o.name == "stderr"] == []
    assert any("litgen" in output.get("metadata", {}) for output in outputs), "it shows a figure"
    about = notebook.metadata["litgen"]
    assert chapters.load(name, about["key"]) is not None
    assert [run["recipe"] for run in about["runs"]] == chapters.recipes(notebook)
    record_property("seconds", about["seconds"])
    slow = "" if about["seconds"] <= 60 else ", more than the minute that a chapter may take"
    with capsys.disabled():
        print(f"\n{name}: {about['seconds']:.0f} s{slow}")


def test_what_a_killed_build_left_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connection files of a dead process go; those of a living one and strangers' stay."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = [f"litgen-kernel-{dead.pid}-a", f"litgen-kernel-{os.getpid()}-b", "litgen-kernel-x-y"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "kernel.json").write_text("{}")
    monkeypatch.setattr(chapters.tempfile, "gettempdir", lambda: str(tmp_path))
    chapters._sweep()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[1:])
