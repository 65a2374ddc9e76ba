"""Offer every chapter as a portable notebook, made from its executed result.

Proof: tests/book/test_downloads.py.
"""

from pathlib import Path
from typing import Any

import nbformat
from docutils import nodes
from pybtex.database import parse_file
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxRole

from litgen_book import assets, chapters, pages
from litgen_book.portable import Page, portable

__all__ = ["notebook", "setup"]


def setup(app: Sphinx) -> None:
    """Register the role and write a notebook beside every chapter's page."""
    app.add_role("download-notebook", DownloadNotebook())
    app.connect("html-page-context", _offer, priority=400)  # before the theme looks for sources


def notebook(
    name: str, result: nbformat.NotebookNode, site: str, numbers: dict[str, str] | None = None
) -> nbformat.NotebookNode:
    """Return a chapter's download for a site at the given address.

    Args:
        name: of the page.
        result: the executed chapter.
        site: where the page and litgen's wheel are published.
        numbers: of the equations on the page, by label; counted from 1 unless given.
    """
    site = site.rstrip("/")
    page = Page(
        folder=(chapters.ROOT / name).parent,
        url=f"{site}/{name}.html",
        site=site,
        wheel=assets.wheel().name,
        values={},
        references=parse_file(chapters.ROOT / "book" / "references.bib"),
        numbers=numbers or {},
        cited={},
    )
    return portable(chapters.read(name), result, page)


def _offer(app: Sphinx, pagename: str, template: str, context: dict[str, Any], tree: Any) -> None:
    if pagename not in pages.results(app) or app.builder.format != "html":
        return
    result, site = pages.results(app)[pagename], app.config.html_baseurl
    content = notebook(pagename, result, site, _numbers(app.env, pagename))
    path = Path(app.outdir, "_sources", f"{pagename}.ipynb")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    nbformat.write(content, part)
    part.replace(path)
    context["ipynb_source"] = f"{pagename}.ipynb"


def _numbers(env: BuildEnvironment, name: str) -> dict[str, str]:
    """Return the equation numbers that a page shows, by label."""
    figures = env.toc_fignumbers.get(name, {}).get("displaymath", {})
    equations = env.get_domain("math").data["objects"].items()
    found = {label: number for label, (page, number) in equations if page == name}
    return {
        label: ".".join(map(str, figures.get(nodes.make_id(f"equation-{label}"), (number,))))
        for label, number in found.items()
    }


class DownloadNotebook(SphinxRole):
    """A link to this page's notebook."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the link."""
        name = self.env.docname
        href = f"{'../' * name.count('/')}_sources/{name}.ipynb"
        link = f'<a class="download-notebook" href="{href}" download>{self.text}</a>'
        return [nodes.raw("", link, format="html")], []
