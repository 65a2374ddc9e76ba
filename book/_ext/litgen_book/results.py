"""The table of runs: what every recipe measured in the run that this build shows.

Proof: tests/book/test_results.py.
"""

from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from litgen_book import pages

__all__ = ["MARK", "rows", "setup"]

MARK = "litgen_lists_results"
MOST = 4  # metrics in a row
HEAD = [
    "| Recipe | Shown in | Config | Device | Seconds | Measured |",
    "|---|---|---|---|---|---|",
]


def setup(app: Sphinx) -> None:
    """Register the directive."""
    app.add_directive("run-table", RunTable)


def rows(results: dict[str, dict[str, Any]]) -> list[str]:
    """Return one Markdown row a recipe, in the order of the chapters that show it first.

    Args:
        results: of each chapter the metadata under ``litgen``, by page name.
    """
    shown: dict[str, list[str]] = {}
    found: dict[str, dict[str, Any]] = {}
    for page, result in results.items():
        for run in result["runs"]:
            shown.setdefault(run["recipe"], []).append(page)
            found[run["recipe"]] = run
    return [_row(recipe, found[recipe], shown[recipe]) for recipe in found]


def _row(recipe: str, run: dict[str, Any], shown: list[str]) -> str:
    links = ", ".join(f"{{doc}}`/{page}`" for page in shown)
    config = {"cpu": "reduced", "gpu": "full"}[run["profile"]]
    measured = "; ".join(
        f"{name.replace('_', ' ')} {value:.4g}"
        for name, value in list(run["metrics"].items())[:MOST]
    )
    more = len(run["metrics"]) - MOST
    rest = f"; {more} more" if more > 0 else ""
    made = f"{config}, {run['seconds']:.0f} s, {run['device'].replace('|', '/')}"
    return f"| `{recipe}` {made} | {links} | {measured}{rest} |"


class RunTable(SphinxDirective):
    """The runs of all chapters of the book."""

    def run(self) -> list[nodes.Node]:
        """Write the table as Markdown and let the page's own parser read it."""
        self.env.metadata[self.env.docname][MARK] = "yes"
        found = pages.results(self.env.app)
        about = {name: found[name].metadata["litgen"] for name in sorted(found)}
        box = nodes.container(classes=["run-table"])
        text = StringList([*HEAD, *rows(about)], self.env.docname)
        self.state.nested_parse(text, self.content_offset, box)
        return [box]
