"""Proof for book/_ext/litgen_book/family_map.py: the map fills in as chapters land."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from litgen_book import chapters, family_map

from tests.book.test_pages import BOOK, HEADER, build, write

PAGES = {
    "book/density/kde": "Kernel *density* & more",
    "book/vae/elbo": "The variational autoencoder",
    "book/vae/second": "Another",
    "book/density/kdes/other": "Not listed",
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a book with chapters of two families in its table of contents."""
    write(tmp_path, {f"{name}.md": f"{HEADER}# {title}\n" for name, title in PAGES.items()})
    files = "".join(f"  - file: {name}\n" for name in list(PAGES)[:3])
    write(tmp_path, {"_toc.yml": f"root: index\nchapters:\n{files}"})
    monkeypatch.setattr(chapters, "ROOT", tmp_path)
    return tmp_path


def parsed() -> ET.Element:
    """Return the drawing as XML, links written as PAGE.html."""
    return ET.fromstring(family_map.drawing(lambda page: f"{page}.html?a&b"))


def test_boxes_of_families_with_a_chapter_are_links(root: Path) -> None:
    """To the first one in the table of contents; its title is in the label, escaped."""
    links = {a.get("href"): a.get("aria-label") for a in parsed().iter("a")}
    assert links == {
        "book/density/kde.html?a&b": "Kernel density: Kernel density & more",
        "book/vae/elbo.html?a&b": "VAE: The variational autoencoder",
    }


def test_all_others_are_planned_and_no_links(root: Path) -> None:
    """Every family is there once, with its name."""
    svg = parsed()
    planned = [g for g in svg.iter("g") if g.get("class") == "planned"]
    boxes = [box for band in family_map.BANDS for box in band.boxes]
    assert len(planned) == len(boxes) - 2
    assert all("planned" in [t.text for t in g.iter("text")] for g in planned)
    names = [t.text for t in svg.iter("text") if t.get("class") == "name"]
    assert names == [box.name for box in boxes]
    assert len(set(names)) == len(names)


def test_a_new_chapter_becomes_a_link(root: Path) -> None:
    """As soon as it is in the table of contents."""
    assert sum(1 for _ in parsed().iter("a")) == 2
    write(root, {"book/gan/dcgan.md": f"{HEADER}# Critics\n"})
    with (root / "_toc.yml").open("a") as file:
        file.write("  - file: book/gan/dcgan\n")
    assert "book/gan/dcgan.html?a&b" in [a.get("href") for a in parsed().iter("a")]


def test_the_drawing_is_named_and_nothing_overlaps(root: Path) -> None:
    """Title and description are what it is labelled by; boxes lie inside and apart."""
    svg = parsed()
    ids = {child.get("id"): child.text for child in svg if child.get("id")}
    assert svg.get("aria-labelledby", "").split() == list(ids)
    assert all(ids.values())
    assert svg.get("role") == "group", "an image would hide its links"
    _, _, width, height = map(float, svg.get("viewBox", "").split())
    frames = [
        tuple(float(r.get(k, "nan")) for k in ("x", "y", "width", "height"))
        for r in svg.iter("rect")
    ]
    for i, (x, y, w, h) in enumerate(frames):
        assert 0 <= x <= x + w <= width
        assert 0 <= y <= y + h <= height
        for a, b, c, d in frames[i + 1 :]:
            assert x + w <= a or a + c <= x or y + h <= b or b + d <= y
    longest = max((t.text or "" for t in svg.iter("text") if t.get("class") == "name"), key=len)
    assert len(longest) * 8 < frames[0][2] - 9, "bold names fit their boxes"


def test_the_download_has_a_list(root: Path) -> None:
    """With the site's addresses, and planned families without one."""
    lines = family_map.plain_lines("https://example.org")
    kde, gan = (next(x for x in lines if name in x) for name in ("Kernel", "Adversarial"))
    assert kde == "  * [Kernel density](https://example.org/book/density/kde.html): no training"
    assert gan == "  * Adversarial networks (planned): trained by a critic"
    assert sum(line.startswith("* **") for line in lines) == len(family_map.BANDS)


def test_every_chapter_of_the_book_is_on_the_map_or_introduces_it() -> None:
    """A prefix that no chapter's path begins with would be planned for ever."""
    prefixes = [box.prefix for band in family_map.BANDS for box in band.boxes]
    for name in chapters.all_names():
        if name.startswith("book/start/"):
            continue
        assert any(name.startswith(prefix) for prefix in prefixes), name


def test_the_map_on_a_page(tmp_path: Path) -> None:
    """Links are relative to the page that shows it."""
    files = {name: text for name, text in BOOK.items() if "deep" not in name}
    files.pop("book/two/figure.md")
    index = BOOK["index.md"].replace("book/two/figure\n", "book/vae/elbo\n")
    files["index.md"] = index + "\n```{family-map}\n```\n"
    files["book/vae/elbo.md"] = "# A list\n\n```{family-map}\n```\n"
    text = BOOK["_toc.yml"].replace("book/two/figure", "book/density/kde")
    files["_toc.yml"] = text
    files["book/density/kde.md"] = files.pop("book/one/light.md")
    for name in ("index.md", "_toc.yml"):
        files[name] = files[name].replace("book/one/light", "book/density/kde")
    files["_toc.yml"] = files["_toc.yml"].replace("  - file: book/density/kde\n", "", 1)
    write(tmp_path, files)
    assert build(tmp_path).warnings == ""
    site = tmp_path / "_build" / "html"
    front = (site / "index.html").read_text("utf8")
    assert re.search(r'<svg class="family-map".*href="book/density/kde\.html"', front, re.DOTALL)
    inner = (site / "book/vae/elbo.html").read_text("utf8")
    assert 'href="../density/kde.html" aria-label="Kernel density: The light one"' in inner
