"""The card at a chapter's head, and the lists of chapters on the landing and index pages.

Proof: tests/book/test_cards.py.

Both are written from the chapters' own headers (``litgen:`` in the front matter):

    litgen:
      summary: one sentence for lists
      paper: key in references.bib
      made_possible: one sentence
      needs: what the reader should know (Markdown)
      minutes: 45
"""

from typing import Any

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

from litgen_book import chapters, pages

__all__ = ["card_lines", "listed", "setup"]

FIELDS = ("summary", "paper", "made_possible", "needs", "minutes")


def setup(app: Sphinx) -> None:
    """Register the directives."""
    app.add_directive("chapter-card", ChapterCard)
    app.add_directive("chapter-list", ChapterList)


def card_lines(about: dict[str, Any], result: Any) -> list[str]:
    """Return the card's Markdown.

    Args:
        about: the chapter's header.
        result: the metadata under ``litgen`` of the executed chapter.
    """
    runs = result["runs"]
    made = [f"`{r['recipe']}`: {r['line']} (fresh)" for r in runs]
    stand_in = any(record["stand_in"] for run in runs for record in run["data"])
    lines = [
        "::::{div} chapter-card",
        f"**Paper** {{cite:t}}`{about['paper']}`",
        "",
        f"**What it made possible** {about['made_possible']}",
        "",
        f"**You need** {about['needs']}",
        "",
        f"**Time** about {about['minutes']} minutes to read; the page's code ran in "
        f"{result['seconds']:.0f} s on {result['date'][:10]}.",
        "",
        "**Results from** " + ("; ".join(made) or "cells of this page") + ".",
        "",
        "**Take it along** {download-notebook}`this chapter as a notebook`, which installs litgen "
        "and runs on a laptop.",
        "::::",
    ]
    if stand_in:
        warning = "The real data could not be had: **a stand-in** made every result on this page."
        lines += ["", ":::{warning}", warning, ":::"]
    return lines


def listed(folder: str = "") -> list[tuple[str, str, dict[str, Any]]]:
    """Return (page, title, header) of the chapters in the table of contents, in its order."""
    contents = yaml.safe_load((chapters.ROOT / "_toc.yml").read_text("utf8"))
    found = []
    for name in _files(contents):
        about = chapters.front_matter(name) if (chapters.ROOT / f"{name}.md").is_file() else {}
        if about and f"{name}/".startswith(f"{folder}/" if folder else ""):
            found.append((name, _title(name), about))
    return found


def _files(node: Any) -> list[str]:
    """Return every ``file:`` of a table of contents, in order."""
    if isinstance(node, list):
        return [name for item in node for name in _files(item)]
    if not isinstance(node, dict):
        return []
    own = [str(node["file"])] if "file" in node else []
    return own + [name for key, value in node.items() if key != "file" for name in _files(value)]


def _title(name: str) -> str:
    lines = (chapters.ROOT / f"{name}.md").read_text("utf8").splitlines()
    return next(line.removeprefix("# ") for line in lines if line.startswith("# "))


class ChapterCard(SphinxDirective):
    """What a chapter is about, what made its results, and its download."""

    def run(self) -> list[nodes.Node]:
        """Write the card as Markdown and let the page's own parser read it."""
        name = self.env.docname
        about = chapters.front_matter(name)
        lacking = [field for field in FIELDS if field not in about]
        if lacking:
            raise ExtensionError(f"{name}.md: its header lacks litgen: {', '.join(lacking)}")
        result = pages.results(self.env.app)[name].metadata["litgen"]
        box = nodes.container()
        lines = StringList(card_lines(about, result), name)
        self.state.nested_parse(lines, self.content_offset, box)
        return list(box.children)


class ChapterList(SphinxDirective):
    """Cards of the chapters below a folder of the book, or of all of them."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Write a grid of cards as Markdown and let the page's own parser read it."""
        self.env.note_dependency(str(chapters.ROOT / "_toc.yml"))
        found = listed(self.arguments[0] if self.arguments else "")
        if not found:
            return [nodes.paragraph(text="The chapters of this part are still to come.")]
        lines = ["::::{grid} 1 1 2 2", ":gutter: 3", ""]
        for name, title, about in found:
            self.env.note_dependency(str(chapters.ROOT / f"{name}.md"))
            lines += [f":::{{grid-item-card}} {title}", f":link: /{name}", ":link-type: doc", ""]
            lines += [f"{about['summary']} ({{cite:t}}`{about['paper']}`)", ":::", ""]
        lines.append("::::")
        box = nodes.container()
        text = StringList(lines, self.env.docname)
        self.state.nested_parse(text, self.content_offset, box)
        return list(box.children)
