"""Every page of the built site, as a visitor's browser sees it."""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import numpy as np
import pytest
from PIL import Image

from tests.browser.visits import CHAPTER, SITE, Visit, pages

pytestmark = pytest.mark.browser

Visits = Callable[[str], Visit]
PAGE_LIMIT = 2_000_000
"""Bytes of a page's own files, late ones included; what all pages share is fetched once."""
FIRST_VISIT_LIMIT = 2_500_000
"""Bytes, uncompressed, that a first visitor fetches before scrolling, shared files included."""
SHARED = ("_static/", "searchindex.js")
FETCHED = {"stylesheet", "icon", "preload", "modulepreload", "preconnect", "dns-prefetch"}
"""What a ``link`` may be that makes a browser ask for its address."""


@dataclass
class Document(HTMLParser):
    """What links can find in a page, and what it links to.

    Attributes:
        text: of the page.
        ids: targets of links.
        links: (tag, address) wherever a reader may go.
        parts: (tag, address) that a browser fetches by itself.
        images: the attributes of every image.
    """

    text: str
    ids: set[str] = field(default_factory=set)
    links: list[tuple[str, str]] = field(default_factory=list)
    parts: list[tuple[str, str]] = field(default_factory=list)
    images: list[dict[str, str | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Read the text."""
        super().__init__()
        self.feed(self.text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note one element."""
        found = dict(attributes)
        self.ids.update(v for k, v in attributes if v and (k == "id" or (tag, k) == ("a", "name")))
        if tag == "img":
            self.images.append(found)
        reference = found.get("href") or found.get("src") or found.get("data")
        if reference and (tag in ("a", "area")):
            self.links.append((tag, reference))
        elif reference and (tag != "link" or FETCHED & set((found.get("rel") or "").split())):
            self.parts.append((tag, reference))
        if late := found.get("data-src"):
            self.parts.append((tag, late))


@cache
def read(path: str) -> Document:
    """Parse a page of the site."""
    return Document((SITE / path).read_text("utf8"))


def test_there_are_pages_of_every_kind(site: Path) -> None:
    """Else the checks below would walk nowhere."""
    some = {"index.html", "search.html", "genindex.html", "404.html", "book/intro.html", CHAPTER}
    assert some <= set(pages())
    assert any(path.startswith("_modules/") for path in pages())


def test_page_loads_without_trouble(visit: Visits, walked_path: str) -> None:
    """No error on the console or in a script, no failed request, no answer of 400 and above."""
    assert not visit(walked_path).record.trouble


def test_page_asks_nobody_else(visit: Visits, walked_path: str) -> None:
    """No request to anywhere but the site."""
    assert not visit(walked_path).record.outside


def test_page_is_light(visit: Visits, walked_path: str) -> None:
    """Its own files stay below PAGE_LIMIT, a first visit below FIRST_VISIT_LIMIT."""
    seen = visit(walked_path)

    def weight(paths: set[str]) -> int:
        return sum((SITE / unquote(path)).stat().st_size for path in paths)

    assert walked_path in seen.first
    assert any(path.startswith("_static/") for path in seen.first)
    own = weight({path for path in seen.whole if not path.startswith(SHARED)})
    assert own < PAGE_LIMIT, f"{walked_path} weighs {own:,} bytes"
    first = weight(seen.first)
    assert first < FIRST_VISIT_LIMIT, f"a first visit to {walked_path} costs {first:,} bytes"


def test_page_is_accessible(visit: Visits, walked_path: str) -> None:
    """The rules of WCAG 2.1 A and AA that axe can judge, in light and in dark."""
    assert not visit(walked_path).violations


def test_page_fits_a_phone(visit: Visits, walked_path: str) -> None:
    """At 375 pixels nothing scrolls sideways, no text is below 12 pixels, no picture is bent."""
    narrow = visit(walked_path).narrow
    assert narrow["width"] <= 375, narrow["culprits"]
    assert not narrow["figures"]
    assert not narrow["small"]
    assert not narrow["bent"]


def test_parts_are_the_sites_own(site: Path, page_path: str) -> None:
    """Nothing that a page's source tells a browser to fetch, or to prepare for, lies elsewhere."""
    assert read(page_path).parts or page_path == "index.html"
    assert not [part for part in read(page_path).parts if urlsplit(part[1]).netloc]


def test_images_say_what_they_show(site: Path, page_path: str) -> None:
    """Every image has an alternative text, or says that it is decoration."""
    silent = [
        image.get("src")
        for image in read(page_path).images
        if "alt" not in image
        or (not (image["alt"] or "").strip() and image.get("role") not in ("presentation", "none"))
    ]
    assert not silent


def test_links_lead_somewhere(site: Path, page_path: str) -> None:
    """Every file and every anchor that a page names exists."""
    broken = []
    for _, reference in read(page_path).links + read(page_path).parts:
        parts = urlsplit(reference)
        if parts.scheme or parts.netloc:
            continue
        path = unquote(urljoin("/" + page_path, parts.path or "/" + page_path)).lstrip("/")
        path = path + "index.html" if path.endswith("/") or not path else path
        ids = read(path).ids if path.endswith(".html") and (SITE / path).is_file() else set()
        if not (SITE / path).is_file() or (ids and not {unquote(parts.fragment)} <= ids | {""}):
            broken.append(reference)
    assert not broken


def test_the_front_door_opens_the_book(browser: Any, address: str) -> None:
    """The site's address leads to the introduction, and from there to the chapter."""
    page = browser.new_page()
    page.goto(address)
    page.wait_for_url("**/book/intro.html")
    page.locator(".sd-card", has=page.locator('a[href$="vae/elbo.html"]')).click()
    page.wait_for_url(f"**/{CHAPTER}")
    assert "autoencoder" in page.locator("article h1").inner_text()
    page.close()


def test_a_wrong_address_shows_the_way_back(browser: Any, address: str) -> None:
    """However deep the address: the page has its style and a link to the book that works."""
    page = browser.new_page()
    answer = page.goto(address + "book/no/such/page.html")
    assert answer.status == 404
    assert "not found" in page.locator("article h1").inner_text().lower()
    assert page.evaluate("[...document.styleSheets].every((sheet) => sheet.cssRules.length > 0)")
    page.locator("a.navbar-brand, .navbar-brand a").first.click()
    page.wait_for_url("**/book/intro.html")
    page.close()


def test_the_sitemap_lists_the_books_pages(site: Path) -> None:
    """All of them, and none that is not there."""
    tree = ElementTree.parse(site / "sitemap.xml")
    found = [element.text or "" for element in tree.iterfind(".//{*}loc")]
    listed = {url[url.index("book/") :] for url in found if "book/" in url}
    assert listed == {path for path in pages() if path.startswith("book/")}


@pytest.mark.parametrize("word", ["encoder", "collapsed"])
def test_search_finds_a_word_of_the_chapter(open_page: Callable[..., Any], word: str) -> None:
    """The site's own search leads to the chapter, and asks nobody else."""
    page = open_page(f"search.html?q={word}")
    page.locator(f'#search-results li a[href*="{CHAPTER}"]').first.wait_for()


def test_search_knows_when_there_is_nothing(open_page: Callable[..., Any]) -> None:
    """A word that no page has finds no page."""
    page = open_page("search.html?q=xyzzyplugh")
    page.get_by_text("did not match any documents").wait_for()
    assert page.locator("#search-results li").count() == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_theme_shows_its_own_pictures(open_page: Callable[..., Any], theme: str) -> None:
    """A stored choice wins over the system's; each figure shows one picture and its caption."""
    page = open_page(CHAPTER, theme, formulas=False)
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    figures = page.evaluate(
        """[...document.querySelectorAll("figure.litgen-figure")].map((figure) =>
          [...figure.querySelectorAll("img, figcaption")].map((image) => {
            const { display, backgroundColor, filter } = getComputedStyle(image);
            return [image.className, display !== "none", backgroundColor, filter];
          }))"""
    )
    assert len(figures) > 5
    clear = "rgba(0, 0, 0, 0)"
    for figure in figures:
        shown = [part for part in figure if part[1]]
        assert [part[0] for part in figure] == ["only-light", "only-dark", ""]
        assert shown == [[f"only-{theme}", True, clear, "none"], ["", True, clear, "none"]]


@pytest.mark.parametrize("path", [p for p in pages() if p.startswith("book/")] or ["(no site)"])
def test_pictures_have_a_clear_ground(site: Path, path: str) -> None:
    """Corners are transparent; ink is dark in light pictures and light in dark ones."""
    figures = [image for image in read(path).images if "only-" in (image.get("class") or "")]
    ink: dict[str, list[float]] = {"only-light": [], "only-dark": []}
    for image in figures:
        with Image.open(site / urljoin("/" + path, image["src"]).lstrip("/")) as opened:
            pixels = np.asarray(opened.convert("RGBA")).astype(int)
        assert (pixels[[0, 0, -1, -1], [0, -1, 0, -1], 3] == 0).all(), image["src"]
        colour, alpha = pixels[..., :3], pixels[..., 3]
        grey = (alpha > 200) & (colour.max(axis=-1) - colour.min(axis=-1) < 30)
        if grey.any():  # a picture of coloured objects alone has no ink
            ink[image["class"] or ""].append(colour[grey].mean())
    assert len(ink["only-light"]) == len(ink["only-dark"])
    assert all(a <= b + 1 for a, b in zip(*ink.values(), strict=True))
    if path == CHAPTER:
        assert sum(a + 100 < b for a, b in zip(*ink.values(), strict=True)) >= 5


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_formulas_are_set_and_learned_symbols_coloured(
    open_page: Callable[..., Any], theme: str
) -> None:
    """Nothing is left as TeX; learned quantities have one colour, one that can be told apart."""
    page = open_page(CHAPTER, theme)
    found = page.evaluate(
        """() => {
          const all = (selector) => [...document.querySelectorAll(selector)];
          const colour = (element) => getComputedStyle(element).color;
          const probe = document.body.appendChild(document.createElement("span"));
          probe.style.color = "var(--litgen-learned)";
          const plain = all("mjx-container mjx-mi").filter((e) => !e.closest(".learned"));
          return {
            formulas: all(".math").length,
            set: all(".math").filter((e) => e.querySelector("mjx-container")).length,
            errors: all("mjx-merror, mjx-container [data-mjx-error]").length,
            tex: all("article .math").filter((e) => e.innerText.includes("\\\\")).length,
            ground: getComputedStyle(document.body).backgroundColor,
            named: colour(probe),
            learned: all("mjx-container .learned").map(colour),
            insides: all("mjx-container .learned *").map(colour),
            plain: [...new Set(plain.map(colour))],
          };
        }"""
    )
    assert found["set"] == found["formulas"] > 100
    assert found["errors"] == found["tex"] == 0
    assert len(found["learned"]) > 20
    assert {*found["learned"], *found["insides"]} == {found["named"]}
    assert found["named"] not in found["plain"]
    assert contrast(found["named"], found["ground"]) >= 4.5


def contrast(one: str, other: str) -> float:
    """Return WCAG's contrast ratio of two CSS colours."""

    def luminance(colour: str) -> float:
        channels = np.array([float(n) for n in re.findall(r"[\d.]+", colour)[:3]]) / 255
        power = ((channels + 0.055) / 1.055) ** 2.4
        linear = np.where(channels <= 0.04045, channels / 12.92, power)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)
