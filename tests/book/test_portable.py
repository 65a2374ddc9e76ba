"""Proof for book/_ext/litgen_book/portable.py: what Jupyter cannot show is lowered or refused."""

import ast
import copy
import re
from pathlib import Path
from textwrap import dedent
from typing import Any

import nbformat
import pytest
from litgen_book import chapters
from litgen_book.portable import Page, plain, portable, source_of
from nbformat import NotebookNode
from pybtex.database import BibliographyData, parse_file, parse_string

REFERENCES = parse_string(
    r"""
    @article{one2001, author = {M{\"u}ller, Ada}, title = {On {GAN}s \& {\'e}clairs},
      journal = {Journal of Things}, year = {2001}, url = {https://example.org/1}}
    @inproceedings{two2002, author = {Alpha, A. and van Beta, B.}, title = {Two},
      booktitle = {Proceedings}, year = {2002}}
    @book{three2003, author = {Gamma, C. and Delta, D. and Eta, E.}, title = {Three},
      publisher = {Press}, year = {2003}}
    """,
    "bibtex",
)
MODULE = '''\
"""A module."""

import functools


@functools.cache
def cached(x):
    """Return x. See {eq}`nothing`."""
    # % no comment of the book
    return x


class Net:
    """A net."""

    size = 3

    def forward(self, x):
        """Go."""

        def inner():
            return x

        return inner()


async def later(): pass
'''


def page(folder: Path = Path("."), **values: Any) -> Page:
    """Return what lowering a chapter needs."""
    return Page(
        folder=folder,
        url="https://example.org/book/one/first.html",
        site="https://example.org",
        wheel="litgen-1.whl",
        values=values,
        references=REFERENCES,
        numbers={"alpha": "1.3", "beta-2": "1.4"},
        cited={},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a chapter's folder beside a module."""
    (tmp_path / "litgen").mkdir()
    (tmp_path / "litgen" / "module.py").write_text(MODULE)
    (tmp_path / "book").mkdir()
    return tmp_path / "book"


# roles -------------------------------------------------------------------------------------------

ROLES = {
    "{eq}`alpha`": "(1.3)",
    "{eq}`beta-2`": "(1.4)",
    "{cite:t}`one2001`": "Müller (2001)",
    "{cite:p}`one2001`": "(Müller, 2001)",
    "{cite}`one2001`": "(Müller, 2001)",
    "{cite:t}`two2002`": "Alpha and Beta (2002)",
    "{cite}`three2003`": "(Gamma et al., 2003)",
    "{cite}`one2001,two2002`": "(Müller, 2001; Alpha and Beta, 2002)",
    "{cite:t}`one2001, two2002`": "Müller (2001), Alpha and Beta (2002)",
    "{glue:text}`number`": "1234.5678",
    "{glue:text}`number:.2f`": "1234.57",
    "{glue:text}`number:,.0f`": "1,235",
    "{glue:text}`word`": "CPU",
    "{ref}`somewhere`": "somewhere",
    "{ref}`Some place <somewhere>`": "Some place",
    "{numref}`Figure 3 <somewhere>`": "Figure 3",
    "{term}`entropy`": "entropy",
    "{abbr}`ELBO`": "ELBO",
    "{doc}`second`": "[second](https://example.org/book/one/second.html)",
    "{doc}`the next <second>`": "[the next](https://example.org/book/one/second.html)",
    "{doc}`up <../two/third>`": "[up](https://example.org/book/two/third.html)",
    "{doc}`/book/notation`": "[notation](https://example.org/book/notation.html)",
    "{py:func}`litgen.gaussian.log_prob`": "`litgen.gaussian.log_prob`",
    "{py:obj}`~litgen.gaussian.log_prob`": "`log_prob`",
    "{download-notebook}`this one`": "this one",
}


@pytest.mark.parametrize("role", ROLES)
def test_each_role_is_lowered(role: str) -> None:
    """To what it shows on the page; twice in a sentence as well."""
    about = page(number=1234.5678, word="CPU")
    assert plain(f"Look at {role}, and\n{role} again.", about) == (
        f"Look at {ROLES[role]}, and\n{ROLES[role]} again.\n"
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{kbd}`x`", "cannot hold a {kbd} role"),
        ("{nothing:at-all}`x`", "cannot hold a {nothing:at-all} role"),
        ("{glue}`x`", "cannot hold a {glue} role"),
        ("{glue:text}`nobody`", "no cell glues 'nobody'"),
        ("{cite}`nobody1999`", "the bibliography has no 'nobody1999'"),
        ("{cite:t}`one2001,nobody1999`", "the bibliography has no 'nobody1999'"),
        ("```{nothing}\n```", "cannot hold a {nothing} directive"),
        (":::{nothing} here\n:::", "cannot hold a {nothing} directive"),
        ("::::{note}\n```{nothing}\n```\n::::", "cannot hold a {nothing} directive"),
        ("```{figure} a.png\n```", "cannot hold a {figure} directive"),
        (r"$\learned{a{b{c{d{e}}}}}$", r"cannot hold this \learned"),
        (r"$\learned\theta$", r"cannot hold this \learned"),
    ],
)
def test_what_cannot_be_lowered_is_an_error(text: str, problem: str) -> None:
    """At build time, by name; never a surprise for a learner."""
    with pytest.raises(ValueError, match=re.escape(problem)):
        plain(text, page())


def test_cited_works_are_remembered_once() -> None:
    """In the order of the text; the list at the end sorts them."""
    about = page()
    plain("{cite}`two2002,one2001` and {cite:t}`two2002`", about)
    assert list(about.cited) == ["two2002", "one2001"]


# directives --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("```{note}\nAn aside.\n```", "**Note**\n\nAn aside."),
        (":::{note} Title\nText.\n:::", "**Note: Title**\n\nText."),
        (":::{tip}\n:class: dropdown\nText.\n:::", "**Tip**\n\nText."),
        (":::{warning}\nText.\n:::", "**Warning**\n\nText."),
        (":::{important}\nText.\n:::", "**Important**\n\nText."),
        (":::{seealso}\nText.\n:::", "**See also**\n\nText."),
        (":::{admonition} Mind\n:class:\nText.\n:::", "**Mind**\n\nText."),
        (":::{dropdown} Why?\nText.\n:::", "**Why?**\n\nText."),
        (":::{exercise} The one\n:label: ex-1\nDo.\n:::", "**Exercise: The one**\n\nDo."),
        (":::{exercise}\n:label: ex-1\nDo.\n:::", "**Exercise**\n\nDo."),
        (":::{solution} ex-1\n:class: dropdown\nDone.\n:::", "**Solution**\n\nDone."),
        (":::{div} box\nText.\n:::", "Text."),
        ("```{bibliography}\n:filter: docname\n```", ""),
        ("```{contents}\n```", ""),
        (
            "```{chapter-card}\n```",
            "[This chapter on the site](https://example.org/book/one/first.html)",
        ),
        ("```{math}\nx\n```", "$$\nx\n$$"),
        ("```{math}\n:label: alpha\n\nx = 1\n```", "$$\n\nx = 1\n\\tag{1.3}\n$$"),
    ],
)
def test_each_directive_is_lowered(text: str, expected: str) -> None:
    """To a bold title and its text, a formula, or nothing; what stands around it stays."""
    found = plain(text, page())
    assert re.sub(r"\n+", "\n", found).strip() == re.sub(r"\n+", "\n", expected).strip()
    around = plain(f"Before.\n\n{text}\n\nAfter {{eq}}`alpha`.", page())
    assert around.startswith("Before.\n")
    assert around.endswith("\nAfter (1.3).\n")
    assert expected.split("\n")[0] in around


def test_boxes_are_paragraphs_of_their_own() -> None:
    """A bold title that clings to the text before it would be part of that paragraph."""
    found = plain("Before.\n:::{note}\nText.\n:::\nAfter.", page())
    assert "Before.\n\n**Note**\n\nText.\n\nAfter." in found


def test_nested_fences(folder: Path) -> None:
    """The inner directives are lowered too, whatever the fence; the outer one ends at its own."""
    text = dedent("""\
        :::::{exercise} Outer
        ::::{dropdown} Inner
        ```{literalinclude} ../litgen/module.py
        :pyobject: Net.forward
        ```
        :::{tip}
        Deep {eq}`alpha`.
        :::
        ::::
        Still inside.
        :::::
        Outside.""")
    found = plain(text, page(folder))
    order = ["**Exercise: Outer**", "**Inner**", "def forward", "**Tip**", "Deep (1.3).", "Still"]
    places = [found.index(part) for part in [*order, "Outside."]]
    assert places == sorted(places)
    assert ":::" not in found
    assert "{" not in found.replace("```python", "")


def test_included_definitions_are_shown_whole(folder: Path) -> None:
    """As a code block of Python under the file's name, at the left margin."""
    text = "```{literalinclude} ../litgen/module.py\n:pyobject: cached\n"
    text += ":caption: litgen/module.py\n```"
    assert plain(text, page(folder)) == dedent('''\
        `litgen/module.py`
        ```python
        @functools.cache
        def cached(x):
            """Return x. See {eq}`nothing`."""
            # % no comment of the book
            return x
        ```
        ''')
    assert plain(text.replace(":caption: litgen/module.py\n", ""), page(folder)).startswith(
        "`module.py`\n"
    )


def test_source_of_finds_nested_definitions(folder: Path) -> None:
    """Compiled by themselves; a name that is not there is an error."""
    path = folder.parent / "litgen" / "module.py"
    assert source_of(path, "Net.forward").startswith('def forward(self, x):\n    """Go."""\n')
    assert source_of(path, "Net.forward.inner") == "def inner():\n    return x"
    assert source_of(path, "Net").endswith("return inner()")
    assert source_of(path, "later") == "async def later(): pass"
    for dotted in ("Net", "Net.forward", "cached", "later", "Net.forward.inner"):
        ast.parse(source_of(path, dotted))
    for dotted in ("nothing", "Net.nothing", "forward", "cached.inner"):
        with pytest.raises(ValueError, match=rf"module\.py defines no {dotted}"):
            source_of(path, dotted)


# everything else ---------------------------------------------------------------------------------


def test_labelled_equations_get_their_number_as_a_tag() -> None:
    """Jupyter knows no labels; formulas without one stay as they are."""
    text = (
        "As in {eq}`alpha`:\n\n$$\nx = 1\n$$ (alpha)\n\nand\n\n$$\ny = 2\n$$\n\nand $z$ (beta-2)."
    )
    assert plain(text, page()) == (
        "As in (1.3):\n\n$$\nx = 1\n\\tag{1.3}\n$$\n\nand\n\n$$\ny = 2\n$$\n\nand $z$ (beta-2).\n"
    )


def test_the_colour_of_learned_quantities_is_plain_tex() -> None:
    """Also around an index or a hat; braces stay balanced."""
    for inner in (r"\theta", r"x_{ij}", r"\hat{\mu}_{k}", r"\tilde{\boldsymbol{\mu}_{a}}"):
        found = plain(rf"$a + \learned{{{inner}}}^2$", page())
        assert found == rf"$a + {{\color{{#b3540b}}{{{inner}}}}}^2$" + "\n"
        assert found.count("{") == found.count("}")


def test_comments_and_targets_are_dropped() -> None:
    """Those of the book, not those of code, and not what a percent sign means elsewhere."""
    text = dedent("""\
        % theory only: a
        %another
        (some-target)=
        ## Title

        99 % of it.
        % between
        50% more

        ```python
        % (kept)
        x = (5
        % 3)  # {eq}`kept`
        ```
        """)
    assert plain(text, page()) == dedent("""\
        ## Title

        99 % of it.
        50% more

        ```python
        % (kept)
        x = (5
        % 3)  # {eq}`kept`
        ```
        """)


@pytest.mark.parametrize(
    "block",
    [
        "```\n{eq}`alpha`\n```",
        "```python\n(target)=\n$$ (alpha)\nx\n```",
        "````md\n```{note}\n{nothing}`x`\n```\n````",
        "~~~\n```{nothing}\n```\n\\learned{x}\n~~~",
        "```text\n:::{note}\n:::\n```",
        "```\n\n\n% 1\n\n```",
    ],
)
def test_plain_code_blocks_stay_as_they_are(block: str) -> None:
    """Line by line; what follows them is lowered again."""
    assert plain(f"A:\n\n{block}\n\nB {{eq}}`alpha`.", page()) == f"A:\n\n{block}\n\nB (1.3).\n"
    inside = plain(f"::::::{{note}}\n{block}\n\n{{eq}}`alpha`\n::::::", page())
    assert block in inside
    assert "(1.3)" in inside


# portable ----------------------------------------------------------------------------------------

CHAPTER = [
    ("markdown", "# Title\n\nSee {eq}`second` and {cite:t}`three2003`, {glue:text}`x:.1f`."),
    ("code", "glue('x', 2.25)"),
    ("markdown", "$$\na\n$$ (first)\n\n```{math}\n:label: second\nb\n```"),
    ("code", "show()"),
    ("markdown", "$$\nc\n$$ (third)\n\n{eq}`first`, {eq}`second`, {eq}`third`, {cite}`one2001`"),
]


def chapter() -> tuple[NotebookNode, NotebookNode]:
    """Return a chapter and its result."""
    make = {"markdown": nbformat.v4.new_markdown_cell, "code": nbformat.v4.new_code_cell}
    source = nbformat.v4.new_notebook(cells=[make[kind](text) for kind, text in CHAPTER])
    result = copy.deepcopy(source)
    glued = nbformat.v4.new_output(
        "display_data",
        data={"application/papermill.record/text/plain": "2.25"},
        metadata={"scrapbook": {"name": "x", "mime_prefix": "application/papermill.record/"}},
    )
    shown = nbformat.v4.new_output(
        "display_data",
        data={"image/png": "aGVsbG8=", "text/plain": "A figure."},
        metadata={"litgen": {"dark": "eA==", "payload": [1]}, "image/png": {"alt": "A figure."}},
    )
    said = nbformat.v4.new_output("stream", name="stdout", text="hello\n")
    result.cells[1].outputs, result.cells[1].execution_count = [glued, said], 1
    result.cells[3].outputs, result.cells[3].execution_count = [shown], 2
    return source, result


def test_a_chapter_becomes_a_notebook_for_everyone() -> None:
    """Where it comes from, how to install, its cells with outputs, its references."""
    source, result = chapter()
    before = copy.deepcopy((source, result))
    about = page()
    about.numbers = {}
    notebook = portable(source, result, about)
    nbformat.validate(notebook)
    assert (source, result) == before
    kinds = [cell.cell_type for cell in notebook.cells]
    assert kinds == ["markdown", "code", *(kind for kind, _ in CHAPTER), "markdown"]
    assert "](https://example.org/book/one/first.html)" in notebook.cells[0].source
    assert "CC BY 4.0" in notebook.cells[0].source
    assert notebook.metadata["kernelspec"]["name"] == "python3"
    assert notebook.cells[2].source == "# Title\n\nSee (2) and Gamma et al. (2003), 2.2.\n"
    assert notebook.cells[6].source.endswith("\n(1), (2), (3), (Müller, 2001)\n")
    assert [f"\\tag{{{n}}}" in notebook.cells[c].source for n, c in ((1, 4), (2, 4), (3, 6))] == [
        *(True, True, True),
    ]


def test_the_first_cell_installs_litgen_once() -> None:
    """From the site; it is Python but for its one magic line, and nothing if litgen is there."""
    notebook = portable(*chapter(), page())
    text = notebook.cells[1].source
    assert '%pip install -q "litgen[data,plot] @ https://example.org/litgen-1.whl"' in text
    assert notebook.cells[1].outputs == []
    code = re.sub(r"^( *)%pip .*$", r"\1installed.append(1)", text, flags=re.MULTILINE)
    installed: list[int] = []
    exec(compile(code, "cell", "exec"), {"installed": installed})
    assert installed == []
    exec(
        compile(code.replace("litgen\n", "no_such_module\n"), "cell", "exec"),
        {"installed": installed},
    )
    assert installed == [1]


def test_outputs_stay_without_what_only_the_site_needs() -> None:
    """Glue is in the prose; the dark picture and the widget's data are the site's."""
    notebook = portable(*chapter(), page())
    first, second = notebook.cells[3], notebook.cells[5]
    assert [output.output_type for output in first.outputs] == ["stream"]
    (shown,) = second.outputs
    assert shown.data == {"image/png": "aGVsbG8=", "text/plain": "A figure."}
    assert shown.metadata == {"image/png": {"alt": "A figure."}}
    assert (first.execution_count, second.execution_count) == (1, 2)
    assert [first.source, second.source] == ["glue('x', 2.25)", "show()"]


def test_numbers_of_the_page_are_used_where_they_are_given() -> None:
    """The page counts equations by chapter."""
    about = page()
    about.numbers = {"first": "4.1", "second": "4.2", "third": "4.3"}
    notebook = portable(*chapter(), about)
    assert "See (4.2)" in notebook.cells[2].source
    assert "\\tag{4.3}" in notebook.cells[6].source


def test_references_are_listed_at_the_end() -> None:
    """Those that are cited, by key, with a link where there is one, without TeX."""
    notebook = portable(*chapter(), page())
    assert notebook.cells[-1].source == (
        "## References\n\n"
        "* Müller, Ada: *On GANs & éclairs*. Journal of Things, 2001. https://example.org/1\n"
        "* Gamma, C., Delta, D., Eta, E.: *Three*. Press, 2003."
    )
    source, result = chapter()
    for notebook in (source, result):
        notebook.cells = notebook.cells[1:4]
    assert "References" not in portable(source, result, page()).cells[-1].source


def test_the_same_chapter_gives_the_same_file() -> None:
    """Cell ids too."""
    one, two = (nbformat.writes(portable(*chapter(), page())) for _ in range(2))
    assert one == two


# the book's chapters -----------------------------------------------------------------------------

LEFT = {
    "directive": r"^\s*(`{3,}|~{3,}|:{3,}) *\{",
    "colon fence": r"^:{3,}",
    "role": r"\{[\w:+-]+\}`",
    "comment": r"^ {0,3}%",
    "target": r"^\([\w:-]+\)=$",
    "label": r"^\$\$ *\([\w-]+\)",
    "macro": r"\\(learned|KL|E|N)\b",
    "substitution": r"\{\{\s*\w+\s*\}\}",
    "file link": r"\]\((?!https?:|#)",
}


def stand_in_result(source: NotebookNode) -> NotebookNode:
    """Return a result in which every value that the prose prints is 3."""
    result = copy.deepcopy(source)
    texts = "\n".join(c.source for c in source.cells if c.cell_type == "markdown")
    names = sorted(set(re.findall(r"\{glue:text\}`([\w-]+)", texts)))
    code = [cell for cell in result.cells if cell.cell_type == "code"]
    for count, cell in enumerate(code, start=1):
        cell.execution_count = count
    kind, prefix = "display_data", "application/papermill.record/"
    code[0].outputs = [
        nbformat.v4.new_output(
            kind,
            data={f"{prefix}text/plain": "3"},
            metadata={"scrapbook": {"name": name, "mime_prefix": prefix}},
        )
        for name in names
    ]
    return result


@pytest.mark.parametrize("name", chapters.all_names())
def test_real_chapters_are_lowered_without_leftovers(name: str) -> None:
    """No directive, role, comment, target or label outside code; what is cited is listed."""
    source = chapters.read(name)
    references: BibliographyData = parse_file(chapters.ROOT / "book" / "references.bib")
    about = page((chapters.ROOT / name).parent)
    about.numbers, about.references = {}, references
    notebook = portable(source, stand_in_result(source), about)
    prose = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    code = re.findall(r"^```python\n.*?^```$", prose, flags=re.DOTALL | re.MULTILINE)
    texts = "\n".join(c.source for c in source.cells if c.cell_type == "markdown")
    assert len(code) == texts.count("{literalinclude}") > 5
    for block in code:
        ast.parse(block.removeprefix("```python\n").removesuffix("```"))
    prose = re.sub(r"^```\w*\n.*?^```$", "", prose, flags=re.DOTALL | re.MULTILINE)
    assert "```" not in prose
    for what, pattern in LEFT.items():
        found = re.search(pattern, prose, re.MULTILINE)
        assert found is None, f"{what}: {prose[found.start() - 40 : found.end() + 40]!r}"
    labels = re.findall(r"^\$\$ \(([\w-]+)\)$", texts, re.MULTILINE)
    assert re.findall(r"\\tag\{(\d+)\}", prose) == [str(i + 1) for i in range(len(labels))]
    for number, label in enumerate(labels, start=1):
        assert prose.count(f"({number})") >= texts.count(f"{{eq}}`{label}`")
    cited = {
        key.strip()
        for keys in re.findall(r"\{cite[:\w]*\}`([^`]+)`", texts)
        for key in keys.split(",")
    }
    listed = notebook.cells[-1].source
    assert len(re.findall(r"^\* ", listed, re.MULTILINE)) == len(cited) > 3
    for key in cited:
        assert references.entries[key].fields["year"] in listed


def test_a_caption_follows_its_figure() -> None:
    """Jupyter shows no caption of its own; a figure without one, and text, get none."""
    chapter = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("show()")])
    result = copy.deepcopy(chapter)
    figures = [{"litgen": {"caption": text}} for text in ("Ten digits.", "")]
    result.cells[0].outputs = [
        nbformat.v4.new_output("display_data", {"text/plain": "x"}, metadata=m) for m in figures
    ]
    cells = portable(chapter, result, page()).cells
    assert [c.source for c in cells[2:]] == ["show()", "*Ten digits.*"]
