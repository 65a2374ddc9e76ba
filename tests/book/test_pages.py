"""Proof for book/_ext/litgen_book/pages.py and its fellows, on a tiny book that Sphinx builds."""

import base64
import html
import io
import json
import re
import warnings
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
from litgen_book import assets, chapters, pages
from PIL import Image
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import docutils_namespace, patch_docutils

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
  summary: A chapter in one sentence.
  paper: one2001
  made_possible: Everything.
  needs: nothing at all.
  minutes: 5
---

"""
LIGHT = HEADER + dedent("""\
    # The light one

    ```{chapter-card}
    ```

    Prose. {cite:t}`one2001` wrote equation {eq}`first`:

    $$
    a = 1
    $$ (first)

    $$
    b = 2
    $$ (second)

    ```{code-cell} ipython3
    # a comment
    from IPython.display import display
    number = 6 * 7
    prefix = "application/papermill.record/"
    about = {"scrapbook": {"name": "number", "mime_prefix": prefix}}
    display({f"{prefix}text/plain": repr(number)}, raw=True, metadata=about)
    print("said", number)
    ```

    The number is {glue:text}`number:.1f`, by {eq}`second`.
    """)
FIGURE = HEADER + dedent("""\
    # The figure

    ```{chapter-card}
    ```

    $$
    c = 3
    $$ (third)

    See {eq}`third` and {eq}`first`.

    ```{code-cell} ipython3
    from litgen import notebook, plotting
    figure, (ax,) = plotting.figure(3.0, 2.0)
    plotting.curves(ax, [0, 1], {"a": [0, 1]}, "x", "y")
    payload = {"points": [1, 2]}
    notebook.show(figure, 'A "line" & more', "A <caption>", "latent-plane", payload)
    notebook.glue("slope", 1.0)
    ```

    The slope is {glue:text}`slope:.2f`.
    """)
BOOK = {
    "index.md": dedent("""\
        # A tiny book

        ```{toctree}
        :numbered:
        book/one/light
        book/two/figure
        book/equations
        book/references
        ```

        ```{chapter-list}
        ```
        """),
    "book/one/light.md": LIGHT,
    "book/two/figure.md": FIGURE,
    "book/equations.md": "# Equations\n\n```{equation-table}\n```\n",
    "book/references.md": "# References\n\n```{bibliography}\n```\n",
    "book/references.bib": dedent("""\
        @book{one2001,
          author = {One, Ada}, title = {First}, publisher = {Ed}, year = {2001}}
        """),
    "_toc.yml": dedent("""\
        format: jb-book
        root: index
        chapters:
          - file: book/one/light
          - file: book/two/figure
          - file: book/equations
        """),
    "litgen/maths.py": 'def f():\n    """Implements eq:first and eq:second."""\n',
    "litgen/deep.py": 'class Net:\n    def forward(self):\n        """Compute eq:third."""\n',
    "tests/test_maths.py": 'def test_f():\n    """Both: eq:first, eq:second."""\n',
    "tests/test_deep.py": 'def test_net():\n    """eq:third."""\n',
}
CONFIG = {
    "extensions": ["myst_nb", "sphinx_design", "sphinxcontrib.bibtex", "litgen_book"],
    "myst_enable_extensions": ["dollarmath", "colon_fence"],
    "nb_execution_mode": "cache",
    "nb_execution_raise_on_error": True,
    "bibtex_bibfiles": ["book/references.bib"],
    "bibtex_reference_style": "author_year",
    "exclude_patterns": ["_build"],
    "html_theme": "basic",
    "html_baseurl": "https://example.org/",
    "numfig": True,
    "nitpick_ignore_regex": [("py:.*", ".*")],
}


def write(root: Path, files: dict[str, str]) -> None:
    """Write a book's files."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, "utf8")


def build(root: Path, **config: Any) -> SimpleNamespace:
    """Build a book in this process; return warnings, the pages read, the chapters executed.

    MathJax and the wheel are those of the real book's tests.
    """
    said, problems = io.StringIO(), io.StringIO()
    read: list[str] = []
    executed: list[str] = []
    real = chapters.execute
    wheel = root / "_build" / "litgen-0-py3-none-any.whl"
    wheel.parent.mkdir(exist_ok=True)
    wheel.write_bytes(b"a wheel")

    def execute(names: dict[str, str], **keywords: Any) -> Any:
        executed.extend(names)
        return real(names, **keywords)

    with pytest.MonkeyPatch.context() as monkeypatch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        monkeypatch.setattr(chapters, "ROOT", root)
        monkeypatch.setattr(chapters, "execute", execute)
        monkeypatch.setattr(assets, "wheel", lambda: wheel)
        monkeypatch.setattr(assets, "_mathjax", lambda target: None)
        monkeypatch.setenv("LITGEN_CACHE", str(root / "_build" / "cache"))
        monkeypatch.setenv("LITGEN_OFFLINE", "1")
        out = root / "_build"
        cache = {"nb_execution_cache_path": str(out / ".jupyter_cache")}
        with patch_docutils(None), docutils_namespace():
            app = Sphinx(
                *(root, None, out / "html", out / ".doctrees", "html"),
                confoverrides=CONFIG | cache | config,
                status=said,
                warning=problems,
            )
            app.connect("source-read", lambda app, name, source: read.append(name))
            app.build()
    text = re.sub(r"\x1b\[[\d;]*m", "", problems.getvalue())
    return SimpleNamespace(
        app=app, warnings=text, said=said.getvalue(), read=sorted(read), executed=executed
    )


def edit(path: Path, old: str, new: str) -> None:
    """Replace a text that is there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


# the whole way -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Build the tiny book once."""
    root = tmp_path_factory.mktemp("tiny")
    write(root, BOOK)
    done = build(root)
    done.root, done.html = root, root / "_build" / "html"
    return done


def test_the_book_builds_without_a_warning(site: SimpleNamespace) -> None:
    """Each chapter is executed once, and its result kept."""
    assert site.warnings == ""
    assert sorted(site.executed) == ["book/one/light", "book/two/figure"]
    kept = site.root / "_build" / "chapters"
    assert {p.name for p in kept.iterdir()} == {"book-one-light.ipynb", "book-two-figure.ipynb"}


def test_a_page_shows_outputs_and_glued_values(site: SimpleNamespace) -> None:
    """What the cells printed stands below them, what they glued in the prose."""
    text = (site.html / "book" / "one" / "light.html").read_text("utf8")
    assert "said 42" in text
    assert re.search(r"The number is <span[^>]*>42\.0</span>", text)
    figure = (site.html / "book" / "two" / "figure.html").read_text("utf8")
    assert re.search(r"The slope is <span[^>]*>1\.00</span>", figure)
    assert "papermill" not in figure


def test_a_figure_is_one_element_for_light_and_dark_pages(site: SimpleNamespace) -> None:
    """Two pictures that exist, with text and size; a caption; a widget with its data beside it."""
    path = site.html / "book" / "two" / "figure.html"
    text = path.read_text("utf8")
    (figure,) = re.findall(r"<figure class=\"litgen-figure.*?</figure>", text, re.DOTALL)
    images = re.findall(
        r"<img class=\"only-(\w+)\" src=\"([^\"]+)\" alt=\"([^\"]*)\" (.*?)>", figure
    )
    assert [theme for theme, *_ in images] == ["light", "dark"]
    for _, source, alt, size in images:
        assert html.unescape(alt) == 'A "line" & more'
        assert source.startswith("../../_images/")
        with Image.open(path.parent / source) as picture:
            assert picture.size == (450, 300)
        assert 'width="288" height="192"' in size
    assert images[0][1] != images[1][1]
    assert "A &lt;caption&gt;" in figure
    match = re.search(
        r'data-widget="latent-plane" data-payload="(\w+)"\s+data-src="([^"]+)"', figure
    )
    assert match is not None
    script = (path.parent / match[2]).read_text("utf8")
    assert script == f'litgen.receive("{match[1]}",{{"points":[1,2]}});'
    assert "data:image/png" not in text


def test_the_download_is_offered_with_outputs_and_the_numbers_of_the_page(
    site: SimpleNamespace,
) -> None:
    """One chapter's equations are not counted from 1 where its page does not."""
    for name, count in (("book/one/light", 2), ("book/two/figure", 1)):
        text = (site.html / f"{name}.html").read_text("utf8")
        shown = re.findall(r'class="eqno">\(([\d.]+)\)', text)
        notebook = nbformat.read(site.html / "_sources" / f"{name}.ipynb", 4)
        prose = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
        assert re.findall(r"\\tag\{([\d.]+)\}", prose) == shown
        assert len(shown) == count
        assert all("." in number for number in shown)
        ran = [cell for cell in notebook.cells if cell.cell_type == "code"][1:]
        assert all(cell.outputs and cell.execution_count for cell in ran)
        assert "{eq}" not in prose
        link = re.search(r'<a class="download-notebook" href="([^"]+)" download>', text)
        assert link is not None
        assert (site.html / name).parent.joinpath(link[1]).is_file()
        assert "https://example.org/litgen-0-py3-none-any.whl" in notebook.cells[1].source
    first = nbformat.read(site.html / "_sources" / "book" / "one" / "light.ipynb", 4)
    assert "equation (1.1)" in first.cells[2].source


def test_the_site_serves_the_wheel_itself(site: SimpleNamespace) -> None:
    """Under the name that the downloads ask for; folders with an underscore are not hidden."""
    assert (site.html / "litgen-0-py3-none-any.whl").read_bytes() == b"a wheel"
    assert (site.html / ".nojekyll").exists()


def test_nothing_half_written_is_left(site: SimpleNamespace) -> None:
    """Neither on the site nor in the store."""
    assert not list((site.root / "_build").rglob("*.part"))


# what is read and executed again -----------------------------------------------------------------


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Edit a book step by step and build it each time; return what each step did."""
    root = tmp_path_factory.mktemp("walk")
    write(
        root, {k: v for k, v in BOOK.items() if k not in ("book/two/figure.md", "litgen/deep.py")}
    )
    (root / "tests" / "test_deep.py").unlink()
    edit(root / "index.md", "book/two/figure\n", "")
    edit(root / "_toc.yml", "  - file: book/two/figure\n", "")
    page, steps, texts = root / "book" / "one" / "light.md", {}, {}

    def step(name: str) -> None:
        steps[name] = build(root)
        assert steps[name].warnings == "", name
        texts[name] = (root / "_build" / "html" / "book" / "one" / "light.html").read_text("utf8")

    step("first")
    step("nothing")
    edit(page, "Prose.", "Other prose.")
    step("prose")
    edit(page, "# a comment", "# another comment")
    step("comment")
    edit(page, "6 * 7", "6 * 8")
    step("code")
    edit(page, "6 * 8", "6 * 7")
    step("back")
    (root / "_build" / "html" / "book" / "one" / "light.html").unlink()
    step("page deleted")
    (root / "requirements.lock").write_text("another==1\n")
    with pytest.MonkeyPatch.context() as monkeypatch:  # as the slow tests do
        monkeypatch.setattr(chapters, "ROOT", root)
        name = "book/one/light"
        chapters.execute({name: chapters.key(chapters.read(name))}, report=lambda line: None)
    step("executed elsewhere")
    edit(page, "The number is", "Again the number is")
    edit(page, "number = 6 * 7", "raise ValueError('on purpose')")
    with pytest.raises(ExtensionError) as failure:
        build(root)
    edit(page, "raise ValueError('on purpose')", "number = 6 * 7")
    step("mended")
    return SimpleNamespace(steps=steps, texts=texts, failure=failure.value, root=root)


def test_nothing_changed_nothing_done(walk: SimpleNamespace) -> None:
    """Neither read nor executed."""
    assert walk.steps["first"].executed == ["book/one/light"]
    assert walk.steps["nothing"].read == []
    assert walk.steps["nothing"].executed == []


@pytest.mark.parametrize(
    ("step", "shown"),
    [
        ("prose", "Other prose."),
        ("comment", "# another comment"),
        ("page deleted", "said 42"),
        ("executed elsewhere", "said 42"),
    ],
)
def test_what_has_its_result_is_read_and_not_executed(
    walk: SimpleNamespace, step: str, shown: str
) -> None:
    """The page is today's, its outputs are those it had."""
    assert "book/one/light" in walk.steps[step].read
    assert walk.steps[step].executed == []
    text = html.unescape(re.sub(r"<[^>]+>", "", walk.texts[step]))
    assert shown in text
    assert "said 42" in text


def test_code_is_executed_again(walk: SimpleNamespace) -> None:
    """And the page shows the new outputs; a way back is a new execution, not an old page."""
    assert walk.steps["code"].executed == ["book/one/light"]
    assert "said 48" in walk.texts["code"]
    assert "48.0" in walk.texts["code"]
    assert "said 42" not in walk.texts["code"]
    assert "said 42" in walk.texts["back"]
    assert "said 48" not in walk.texts["back"]


def test_a_failing_chapter_fails_the_build_and_keeps_its_result(walk: SimpleNamespace) -> None:
    """The message names chapter and error; the mended chapter needs no execution."""
    assert "book/one/light" in str(walk.failure)
    assert "on purpose" in str(walk.failure)
    assert walk.steps["mended"].executed == []
    assert "Again the number is" in walk.texts["mended"]


# page_output -------------------------------------------------------------------------------------


def png(colour: str) -> str:
    """Return a small picture in base64."""
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2), colour).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def output(**about: Any) -> Any:
    """Return what litgen.notebook.show leaves in a notebook."""
    known = {"alt": "A.", "caption": "", "dark": png("black"), "width": 30, "height": 20}
    known |= {"wide": False, "widget": "", "payload": None} | about
    return nbformat.v4.new_output(
        "display_data",
        data={"image/png": png("white"), "text/plain": "A."},
        metadata={"litgen": known, "image/png": {"alt": "A."}},
    )


def test_other_outputs_are_left_alone(tmp_path: Path) -> None:
    """Streams, results, pictures that litgen did not make."""
    stream = nbformat.v4.new_output("stream", text="hello")
    result = nbformat.v4.new_output("execute_result", data={"text/plain": "1"})
    for other in (stream, result):
        before = json.dumps(other)
        assert pages.page_output(other, tmp_path, "") is other
        assert json.dumps(other) == before
    assert list(tmp_path.iterdir()) == []


def test_a_figure_without_caption_and_widget(tmp_path: Path) -> None:
    """Has neither element; light and dark are told apart; files are named by their content."""
    found = pages.page_output(output(), tmp_path / "new" / "_images", "../")
    text = found.data["text/html"]
    assert "figcaption" not in text
    assert "data-widget" not in text
    assert "image/png" not in found.data
    assert found.data["text/plain"] == "A."
    assert found.metadata == {}
    light, dark = re.findall(r'src="\.\./_images/(\w+\.png)"', text)
    for name, colour in ((light, 255), (dark, 0)):
        with Image.open(tmp_path / "new" / "_images" / name) as image:
            assert image.getpixel((0, 0)) == (colour,) * 3
    again = pages.page_output(output(), tmp_path / "new" / "_images", "../")
    assert again.data["text/html"] == text
    assert len(list((tmp_path / "new" / "_images").iterdir())) == 2


def test_text_cannot_break_out_of_its_attribute(tmp_path: Path) -> None:
    """Quotes and angle brackets in alternative text and caption are text."""
    nasty = "\"><script>'&"
    text = pages.page_output(output(alt=nasty, caption=nasty), tmp_path, "").data["text/html"]
    assert "<script>" not in text
    assert html.unescape(re.findall(r'alt="([^"]*)"', text)[0]) == nasty
    assert html.unescape(re.findall(r"<figcaption>(.*?)</figcaption>", text)[0]) == nasty


def test_a_widget_gets_its_data_as_a_script(tmp_path: Path) -> None:
    """Named by its content, so that two figures with the same data load it once."""
    payload = {"a": [1, 2.5], "b": "é</script>"}
    texts = [
        pages.page_output(output(widget="plane", payload=payload, alt=alt), tmp_path, "").data[
            "text/html"
        ]
        for alt in ("one", "two")
    ]
    names = {re.findall(r'data-payload="(\w+)"', text)[0] for text in texts}
    scripts = list(tmp_path.glob("*.js"))
    assert len(names) == len(scripts) == 1
    match = re.fullmatch(r'litgen\.receive\("(\w+)",(.*)\);', scripts[0].read_text("utf8"))
    assert match is not None
    assert {match[1]} == names
    assert json.loads(match[2]) == payload
