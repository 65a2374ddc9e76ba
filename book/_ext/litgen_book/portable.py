"""Chapters as notebooks for everyone: plain Markdown, with outputs, installing litgen first.

Proof: tests/book/test_portable.py and, slowly, tests/book/test_downloads.py.

Jupyter knows none of MyST's directives and roles, so each is lowered to what any Markdown shows.
One that is not known here is an error at build time, not a surprise for a learner.
"""

import ast
import codecs
import copy
import itertools
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import latexcodec  # noqa: F401  (registers the codec)
import nbformat
from nbformat import NotebookNode
from pybtex.database import BibliographyData

from litgen_book import family_map
from litgen_book.equations import LABEL

__all__ = ["Page", "plain", "portable", "source_of"]

INSTALL = """\
# litgen and what it needs; a second run finds it installed
try:
    import litgen
except ModuleNotFoundError:
    %pip install -q "litgen[data,plot] @ {site}/{wheel}"
"""
BOXES = {
    "admonition": "",
    "note": "Note",
    "tip": "Tip",
    "warning": "Warning",
    "important": "Important",
    "seealso": "See also",
    "dropdown": "",
    "exercise": "Exercise",
    "solution": "Solution",
}
DROPPED = {"bibliography", "contents", "tableofcontents"}
OPEN = re.compile(r"^(?P<fence>`{3,}|:{3,}) *\{(?P<name>[\w:-]+)\} *(?P<argument>.*)$")
ROLE = re.compile(r"\{(?P<name>[\w:-]+)\}`(?P<text>[^`]+)`")
EQUATION = re.compile(r"^\$\$ *\((?P<label>[\w-]+)\) *$", re.MULTILINE)
FENCE = re.compile(r"^(`{3,}(?!.*`)|~{3,})")
COMMENT = re.compile(r"^ {0,3}%")
BRACED = r"(?:[^{}]|\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\})*"
COLOURED = re.compile(rf"\\learned\{{({BRACED})\}}")
LEARNED = "#b3540b"


@dataclass
class Page:
    """What lowering a chapter needs to know.

    Attributes:
        folder: the chapter's, for paths in directives.
        url: of the page on the site.
        site: the site's address, without a slash at its end.
        wheel: file name of litgen's wheel on the site.
        values: what the cells glued, by name.
        references: the book's bibliography.
        numbers: equation labels with their numbers on the page; counted here unless given.
        cited: keys that the text cites, filled while lowering.
    """

    folder: Path
    url: str
    site: str
    wheel: str
    values: dict[str, Any]
    references: BibliographyData
    numbers: dict[str, str]
    cited: dict[str, None]


class Code(str):
    """Lines of a code block, which lowering leaves alone."""


def portable(chapter: NotebookNode, result: NotebookNode, page: Page) -> NotebookNode:
    """Return the notebook that a learner downloads.

    Args:
        chapter: as read from its source.
        result: the same, executed.
        page: where it stands.

    Raises:
        ValueError: a directive or role that cannot be lowered.
    """
    page.values.update(_glued(result))
    texts = "\n".join(cell.source for cell in chapter.cells if cell.cell_type == "markdown")
    labels = [one or other for one, other in LABEL.findall(texts)]
    page.numbers = {label: str(i) for i, label in enumerate(labels, start=1)} | page.numbers
    notebook = nbformat.v4.new_notebook()
    notebook.metadata = NotebookNode(
        kernelspec={"name": "python3", "display_name": "Python 3", "language": "python"},
        language_info={"name": "python"},
    )
    cells = [
        nbformat.v4.new_markdown_cell(
            f"*A chapter of [Literate Generative Models]({page.url}), which has the interactive "
            "figures. Text: CC BY 4.0; code: MIT.*"
        ),
        nbformat.v4.new_code_cell(INSTALL.format(site=page.site, wheel=page.wheel)),
    ]
    executed = iter([cell for cell in result.cells if cell.cell_type == "code"])
    for cell in chapter.cells:
        if cell.cell_type == "markdown":
            cells.append(nbformat.v4.new_markdown_cell(plain(cell.source, page)))
        elif cell.cell_type == "code":
            done = next(executed)
            outputs = [_plain_output(output) for output in done.outputs if not _is_glue(output)]
            count = done.execution_count
            cells.append(
                nbformat.v4.new_code_cell(cell.source, outputs=outputs, execution_count=count)
            )
            captions = [text for text in map(_caption, done.outputs) if text]
            cells += [nbformat.v4.new_markdown_cell(f"*{text}*") for text in captions]
    if page.cited:
        lines = [f"* {_reference(page.references, key)}" for key in sorted(page.cited)]
        cells.append(nbformat.v4.new_markdown_cell("## References\n\n" + "\n".join(lines)))
    for i, cell in enumerate(cells):
        cell.id = f"cell-{i}"  # the same from build to build
    notebook.cells = cells
    nbformat.validate(notebook)
    return notebook


def plain(text: str, page: Page) -> str:
    """Lower one Markdown cell.

    Raises:
        ValueError: a directive or role that cannot be lowered.
    """
    parts = itertools.groupby(_lowered(text.split("\n"), page), key=lambda x: isinstance(x, Code))
    return (
        "\n".join(
            "\n".join(lines) if code else _plain_prose("\n".join(lines), page)
            for code, lines in parts
        ).strip("\n")
        + "\n"
    )


def _plain_prose(text: str, page: Page) -> str:
    """Lower what is not code."""
    text = "\n".join(line for line in text.split("\n") if not COMMENT.match(line))
    text = re.sub(r"^\([\w:-]+\)=\n", "", text, flags=re.MULTILINE)
    text = _numbered(text, page)
    text = COLOURED.sub(rf"{{\\color{{{LEARNED}}}{{\1}}}}", text)
    if r"\learned" in text:
        raise ValueError(
            r"the download cannot hold this \learned: braces nested too deeply, or none"
        )
    return ROLE.sub(lambda match: _role(match, page), text)


def source_of(path: Path, dotted: str) -> str:
    """Return the text of one (possibly nested) definition in a Python file, decorators included.

    Raises:
        ValueError: there is no such definition.
    """
    text = path.read_text("utf8")
    node: Any = ast.parse(text)
    for name in dotted.split("."):
        found = [child for child in node.body if getattr(child, "name", None) == name]
        if not found:
            raise ValueError(f"{path.name} defines no {dotted}")
        node = found[0]
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    return textwrap.dedent("\n".join(text.split("\n")[first - 1 : node.end_lineno]))


def _lowered(lines: list[str], page: Page) -> list[str]:
    """Replace directives, the inner ones too."""
    result: list[str] = []
    i = 0
    while i < len(lines):
        match = OPEN.match(lines[i])
        i += 1
        if match is None:
            fence = FENCE.match(lines[i - 1])
            if fence is None:
                result.append(lines[i - 1])
                continue
            begin = i - 1  # a plain code block: copy it whole
            while i < len(lines) and not re.match(rf"^{fence[1]}{fence[1][0]}* *$", lines[i]):
                i += 1
            i += 1
            result.append(Code("\n".join(lines[begin:i])))
            continue
        end = re.compile(rf"^{match['fence'][0]}{{{len(match['fence'])},}} *$")
        body: list[str] = []
        while i < len(lines) and not end.match(lines[i]):
            body.append(lines[i])
            i += 1
        i += 1
        options = {}
        while body and (option := re.match(r"^:([\w-]+): *(.*)$", body[0])):
            options[option[1]] = option[2]
            body.pop(0)
        argument = match["argument"].strip()
        result += _directive(match["name"], argument, options, body, page)
    return result


def _directive(
    name: str, argument: str, options: dict[str, str], body: list[str], page: Page
) -> list[str]:
    if name == "literalinclude":
        source = source_of(page.folder / argument, options["pyobject"])
        caption = options.get("caption", Path(argument).name)
        return [f"`{caption}`", Code(f"```python\n{source}\n```")]
    if name == "math":
        return ["$$", *body, f"$$ ({options['label']})" if "label" in options else "$$"]
    if name in BOXES:
        inner = _lowered(body, page)
        argument = re.sub(r"^[\w-]+$", "", argument) if name == "solution" else argument
        head = ": ".join(part for part in (BOXES[name], argument) if part)
        return ["", *([f"**{head}**", ""] if head else []), *inner, ""]
    if name in ("div", "container"):
        return _lowered(body, page)
    if name == "chapter-card":
        return [f"[This chapter on the site]({page.url})"]
    if name == "family-map":
        return ["", *family_map.plain_lines(page.site), ""]
    if name in DROPPED:
        return []
    raise ValueError(f"the download cannot hold a {{{name}}} directive")


def _numbered(text: str, page: Page) -> str:
    """Move equation labels into the formulas as tags."""

    def tag(match: re.Match[str]) -> str:
        return f"\\tag{{{page.numbers[match['label']]}}}\n$$"

    return EQUATION.sub(tag, text)


def _role(match: re.Match[str], page: Page) -> str:
    name, text = match["name"], match["text"]
    if name.startswith("cite"):
        keys = [key.strip() for key in text.split(",")]
        page.cited.update(dict.fromkeys(keys))
        cited = [_author_year(page.references, key, name == "cite:t") for key in keys]
        return ", ".join(cited) if name == "cite:t" else f"({'; '.join(cited)})"
    titled = re.match(r"^(.*?) *<([^>]+)>$", text, re.DOTALL)
    roles: dict[str, Callable[[], str]] = {
        "eq": lambda: f"({page.numbers.get(text, text)})",
        "glue:text": lambda: _value(text, page),
        "ref": lambda: titled[1] if titled else text,
        "numref": lambda: titled[1] if titled else text,
        "term": lambda: titled[1] if titled else text,
        "doc": lambda: _link(titled[1] if titled else "", titled[2] if titled else text, page),
        "download-notebook": lambda: text,
        "abbr": lambda: text,
    }
    if name in roles:
        return roles[name]()
    if name.startswith("py:"):
        return f"`{text.split('.')[-1] if text.startswith('~') else text}`"
    raise ValueError(f"the download cannot hold a {{{name}}} role")


def _link(title: str, target: str, page: Page) -> str:
    start = f"{page.site}/" if target.startswith("/") else page.url
    return f"[{title or Path(target).name}]({urljoin(start, target.lstrip('/') + '.html')})"


def _value(text: str, page: Page) -> str:
    name, _, form = text.partition(":")
    if name not in page.values:
        raise ValueError(f"no cell glues {name!r}")
    return format(page.values[name], form)


def _glued(result: NotebookNode) -> dict[str, Any]:
    """Return what the cells glued; the values are Python literals."""
    found = {}
    for cell in result.cells:
        for output in cell.get("outputs", []):
            if _is_glue(output):
                mime = "application/papermill.record/text/plain"
                found[output.metadata["scrapbook"]["name"]] = ast.literal_eval(output.data[mime])
    return found


def _caption(output: NotebookNode) -> str:
    """Return the caption of a figure, which Jupyter itself does not show."""
    return str(output.get("metadata", {}).get("litgen", {}).get("caption", ""))


def _is_glue(output: NotebookNode) -> bool:
    return "scrapbook" in output.get("metadata", {})


def _plain_output(output: NotebookNode) -> NotebookNode:
    """Drop what only the site needs: the dark picture and the widget's data."""
    kept = copy.deepcopy(output)
    if "litgen" in kept.get("metadata", {}):
        del kept.metadata["litgen"]
    return kept


def _author_year(references: BibliographyData, key: str, textual: bool) -> str:
    entry = _entry(references, key)
    names = [_tex(" ".join(person.last_names)) for person in entry.persons["author"]]
    shown = f"{names[0]} et al." if len(names) > 2 else " and ".join(names)
    year = entry.fields["year"]
    return f"{shown} ({year})" if textual else f"{shown}, {year}"


def _reference(references: BibliographyData, key: str) -> str:
    entry = _entry(references, key)
    names = ", ".join(_tex(str(person)) for person in entry.persons["author"])
    fields = entry.fields
    where = fields.get("journal") or fields.get("booktitle") or fields.get("publisher") or ""
    link = f" {fields['url']}" if "url" in fields else ""
    return f"{names}: *{_tex(fields['title'])}*. {_tex(where)}, {fields['year']}.{link}"


def _entry(references: BibliographyData, key: str) -> Any:
    if key not in references.entries:
        raise ValueError(f"the bibliography has no {key!r}")
    return references.entries[key]


def _tex(text: str) -> str:
    decoded: str = codecs.decode(text, "ulatex")  # type: ignore[call-overload]
    return decoded.replace("{", "").replace("}", "")
