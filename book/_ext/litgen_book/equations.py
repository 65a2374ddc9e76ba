"""The table that leads from each labelled equation to its function and its test.

Proof: tests/book/test_equations.py.

A chapter labels an equation; a docstring in litgen says ``eq:label`` where it is computed; a
docstring in tests says ``eq:label`` where it is proved. What stays without function is listed in
its chapter in a comment, ``% theory only: label, label``. Anything else fails the build.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

from litgen_book import chapters

__all__ = ["Named", "labels", "named", "problems", "setup"]

LABEL = re.compile(
    r"^\$\$ *\(([\w-]+)\) *$|^`{3,}\{math\}\n(?:^:.*\n)*?^:label: +([\w-]+) *$", re.MULTILINE
)
THEORY = re.compile(r"^% theory only: *(.+)$", re.MULTILINE)
EQUATION = re.compile(r"\beq:([\w-]*\w)")

Named = dict[str, list[tuple[str, str]]]
"""For each label the (module or file, dotted name) pairs whose docstrings name it."""


def setup(app: Sphinx) -> None:
    """Register the directive and the check."""
    app.add_directive("equation-table", EquationTable)
    app.connect("builder-inited", _check)


def labels() -> dict[str, str]:
    """Return each labelled equation with its chapter."""
    return {
        label: name
        for name in _pages()
        for pair in LABEL.findall(_text(name))
        for label in pair
        if label
    }


def theory() -> set[str]:
    """Return the labels that chapters mark as theory only."""
    found = [match for name in _pages() for match in THEORY.findall(_text(name))]
    return {label.strip() for line in found for label in line.split(",")}


def named(folder: str) -> Named:
    """Return who names which equation in a docstring below ``folder`` (litgen or tests)."""
    found: Named = {}
    for path in sorted((chapters.ROOT / folder).rglob("*.py")):
        where = path.relative_to(chapters.ROOT).as_posix()
        if where.startswith("tests/book/"):  # these speak of the machinery, not of formulas
            continue
        for name, text in _docstrings(ast.parse(path.read_text("utf8"))):
            for label in dict.fromkeys(EQUATION.findall(text)):
                found.setdefault(label, []).append((where, name))
    return found


def problems() -> list[str]:
    """Return one line for each equation that lacks a function or a test, or is named wrongly."""
    known, spared = labels(), theory()
    functions, tests = named("litgen"), named("tests")
    lines = [
        f"eq:{label} in {chapter}.md has no function that names it and is not marked theory only"
        for label, chapter in known.items()
        if label not in functions and label not in spared
    ]
    lines += [
        f"eq:{label} is computed by {functions[label][0][1]} and proved by no test"
        for label in known
        if label in functions and label not in tests
    ]
    lines += [f"eq:{x} is marked theory only and is not labelled" for x in spared - set(known)]
    both = sorted(spared & set(functions))
    lines += [f"eq:{label} is marked theory only and computed" for label in both]
    for source in (functions, tests):
        lines += [
            f"{where} names eq:{label}, which no chapter labels"
            for label, places in source.items()
            if label not in known
            for where, _ in places[:1]
        ]
    return lines


def _check(app: Sphinx) -> None:
    found = problems()
    if found:
        raise ExtensionError("equations:\n" + "\n".join(found))


def _pages() -> list[str]:
    files = sorted((chapters.ROOT / "book").rglob("*.md"))
    return [f.relative_to(chapters.ROOT).with_suffix("").as_posix() for f in files]


def _text(name: str) -> str:
    return (chapters.ROOT / f"{name}.md").read_text("utf8")


def _docstrings(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the dotted name and the docstring of every function, class and method."""

    def walk(node: ast.AST, prefix: str) -> Iterator[tuple[str, str]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield prefix + child.name, ast.get_docstring(child) or ""
                yield from walk(child, f"{prefix}{child.name}.")

    yield from walk(tree, "")


class EquationTable(SphinxDirective):
    """One row an equation: number, what computes it, what proves it."""

    def run(self) -> list[nodes.Node]:
        """Write the table as Markdown and let the page's own parser read it."""
        functions, tests, spared = named("litgen"), named("tests"), theory()
        for folder in ("litgen", "tests", "book"):
            for path in (chapters.ROOT / folder).rglob("*.*"):
                if path.suffix in (".py", ".md"):
                    self.env.note_dependency(str(path))
        rows = ["| Equation | Label | Computed by | Proved by |", "|---|---|---|---|"]
        for label in labels():
            lines = ", ".join(_function(*place) for place in functions.get(label, []))
            proofs = _proofs(tests.get(label, []))
            lines = "theory only" if label in spared else lines
            rows.append(f"| {{eq}}`{label}` | `{label}` | {lines} | {proofs} |")
        box = nodes.container(classes=["equation-table"])
        self.state.nested_parse(StringList(rows, self.env.docname), self.content_offset, box)
        return [box]


def _proofs(places: list[tuple[str, str]]) -> str:
    """Return the names of tests, each file said once."""
    files = dict.fromkeys(where for where, _ in places)
    return "; ".join(
        f"{file}: " + ", ".join(f"`{name}`" for where, name in places if where == file)
        for file in files
    )


def _function(where: str, name: str) -> str:
    module = Path(where).with_suffix("").as_posix().replace("/", ".")
    short = f"{module.removeprefix('litgen.')}.{name}"
    return f"{{py:obj}}`{short} <{module}.{name}>`"
