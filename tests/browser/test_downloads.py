"""The notebooks that the site offers: whole, plain, with outputs, and able to install litgen."""

import re
import zipfile
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from tests.browser.visits import CHAPTER, ROOT, SITE

pytestmark = pytest.mark.browser

NAMES = sorted(p.relative_to(SITE).as_posix() for p in SITE.glob("_sources/**/*.ipynb"))
MYST = {
    "directive": r"^\s*(`{3,}|~{3,}|:{3,})\s*\{[\w:+-]+\}",
    "colon fence": r"^:{3,}",
    "role": r"\{[\w:+-]+\}`",
    "target": r"^\([\w:-]+\)=\s*$",
    "comment": r"^% ",
    "equation label": r"^\$\$ *\([\w-]+\)",
    "macro of the site": r"\\learned\b",
    "relative link": r"\]\((?!https?://|#|attachment:|mailto:)",
}
"""What Jupyter would show as it stands."""


@pytest.fixture(params=NAMES or ["(no download)"])
def notebook(site: Path, request: pytest.FixtureRequest) -> NotebookNode:
    """Return a download, read as strictly as nbformat reads."""
    return nbformat.read(site / request.param, as_version=nbformat.NO_CONVERT)


def test_the_chapter_offers_its_notebook(site: Path) -> None:
    """The card's link leads to the file (that links exist at all is checked in test_site.py)."""
    text = (site / CHAPTER).read_text("utf8")
    link = re.search(r'<a class="download-notebook" href="([^"]+)"[^>]*\bdownload\b', text)
    assert link
    assert ((site / CHAPTER).parent / link[1]).resolve() == (
        site / "_sources" / CHAPTER.replace(".html", ".ipynb")
    ).resolve()
    assert f"_sources/{CHAPTER.replace('.html', '.ipynb')}" in NAMES


def test_download_is_valid(notebook: NotebookNode) -> None:
    """Its form is that of the notebook format."""
    nbformat.validate(notebook)
    assert notebook.nbformat == 4
    assert notebook.metadata.kernelspec.name == "python3"


def test_download_has_outputs(notebook: NotebookNode) -> None:
    """Every cell but the first ran, in order and without an error; figures are inside, once."""
    ran = [cell for cell in notebook.cells if cell.cell_type == "code"][1:]
    assert [cell.execution_count for cell in ran] == list(range(1, len(ran) + 1))
    outputs = [output for cell in ran for output in cell.outputs]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert not [output for output in outputs if output.output_type == "error"]
    assert len(pictures) >= 5
    assert all(len(output.metadata["image/png"]["alt"]) > 20 for output in pictures)
    assert not [output for output in outputs if "litgen" in output.get("metadata", {})]


@pytest.mark.parametrize("what", MYST)
def test_download_is_plain(notebook: NotebookNode, what: str) -> None:
    """Outside code blocks no Markdown cell holds what only the site's parser knows."""
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    assert texts
    fence = r"^```\w*\n.*?^```$"
    prose = "\n".join(re.sub(fence, "", text, flags=re.MULTILINE | re.DOTALL) for text in texts)
    assert not re.findall(MYST[what], prose, flags=re.MULTILINE)


def test_download_installs_the_sites_wheel(site: Path, notebook: NotebookNode) -> None:
    """The wheel that its first code cell names lies on the site and holds litgen."""
    first = next(cell.source for cell in notebook.cells if cell.cell_type == "code")
    url = re.search(r"@ (\S+/)([\w.+-]+\.whl)", first)
    assert url
    assert f"<loc>{url[1]}" in (site / "sitemap.xml").read_text("utf8")
    with zipfile.ZipFile(site / url[2]) as wheel:
        assert wheel.testzip() is None
        assert {"litgen/__init__.py", "litgen/vae/elbo.py"} <= set(wheel.namelist())


def test_download_has_the_sites_colour(
    site: Path, notebook: NotebookNode, request: pytest.FixtureRequest
) -> None:
    """Learned quantities look as they do on light pages; a chapter may have none."""
    style = (site / "_static" / "litgen.css").read_text("utf8")
    colour = re.search(r"--litgen-learned: (#\w{6});", style)
    assert colour
    used = set(re.findall(r"\\color\{(#\w{6})\}", "".join(c.source for c in notebook.cells)))
    name = request.node.callspec.params["notebook"]
    source = (ROOT / name.removeprefix("_sources/")).with_suffix(".md").read_text("utf8")
    assert used == ({colour[1]} if "\\learned" in source else set())
