"""Tools of the browser checks: a server for the built site, and what one visit to a page shows."""

import functools
import http.server
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[2]
SITE = Path(os.environ.get("LITGEN_SITE_FOLDER") or ROOT / "_build" / "html")
CHAPTER = "book/vae/elbo.html"

WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
COLOUR_RULES = ["color-contrast", "link-in-text-block"]
"""The axe rules whose verdict depends on the theme; they are asked about samples of the text."""

SAMPLE = """() => {
  document.querySelectorAll("[data-sample]").forEach((e) => e.removeAttribute("data-sample"));
  const grounds = new Map([[null, ""]]);
  const ground = (e) => {
    if (!grounds.has(e)) {
      const { backgroundColor, backgroundImage, opacity } = getComputedStyle(e);
      const own = [backgroundColor, backgroundImage, opacity].join();
      const clear = own === "rgba(0, 0, 0, 0),none,1";
      grounds.set(e, (clear ? "" : own + "/") + ground(e.parentElement));
    }
    return grounds.get(e);
  };
  const kinds = new Set();
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const e = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim()) continue;
    if (!e.checkVisibility({ visibilityProperty: true })) continue;
    const { color, fontSize, fontWeight } = getComputedStyle(e);
    const around = getComputedStyle(e.parentElement).color; // links must differ from it
    const kind = [color, around, fontSize, fontWeight, ground(e)].join();
    if (!kinds.has(kind)) e.dataset.sample = "";
    kinds.add(kind);
  }
  document.querySelectorAll("input, button, select").forEach((e) => (e.dataset.sample = ""));
}"""
"""Mark one text of each combination of colour, size and ground; axe needs a minute for all."""

SETTLE = """async (wholePage) => {
  const until = async (what, test) => {
    for (let i = 0; i < 400; i++) {
      if (test()) return;
      await new Promise((done) => setTimeout(done, 25));
    }
    throw new Error(`waited 10 s for ${what}`);
  };
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  const within = (seconds, what, promise) => {
    const late = () => { throw new Error(`waited ${seconds} s for ${what}`); };
    return Promise.race([promise, pause(1000 * seconds).then(late)]);
  };
  const seen = (element) => element.getClientRects().length > 0;
  const all = (selector) => [...document.querySelectorAll(selector)].filter(seen);
  if (document.querySelector('script[src*="/mathjax/"]')) {
    await until("MathJax", () => window.MathJax?.startup?.promise);
    await within(60, "the formulas", MathJax.startup.promise);
  }
  if (!wholePage) return;
  // a frame, or a quarter of a second where the browser draws none
  const turn = () => Promise.race([new Promise(requestAnimationFrame), pause(250)]);
  for (let top = 0; top < document.documentElement.scrollHeight; top += innerHeight) {
    scrollTo({ top, behavior: "instant" });
    await turn().then(turn);
  }
  await until("in-page models", () => all("figure[data-widget]").every((f) => f.dataset.ready));
  await until("images", () => all("img").every((image) => image.complete));
  await within(10, "fonts", document.fonts.ready);
  scrollTo({ top: 0, behavior: "instant" });
}"""
"""Wait for the formulas; with ``wholePage`` also scroll, and wait for what is fetched late."""

NARROW = """() => {
  const article = document.querySelector("article") ?? document.body;
  const say = (e) => e.cloneNode().outerHTML.slice(0, 120);
  const wide = (e) => {
    const { left, right } = e.getBoundingClientRect();
    return left < -0.5 || right > 375.5;
  };
  const clipped = (e) => {
    for (let p = e.parentElement; p && p !== document.body; p = p.parentElement)
      if (getComputedStyle(p).overflowX !== "visible" && !wide(p)) return true;
    return false;
  };
  const all = (selector) => [...article.querySelectorAll(selector)];
  const small = new Set();
  const texts = document.createTreeWalker(article, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const parent = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || parent.closest("mjx-container, script, style")) continue;
    const size = parseFloat(getComputedStyle(parent).fontSize); // 0: a card's invisible link
    if (parent.getClientRects().length && size > 0 && size < 12)
      small.add(`${say(parent)}: ${texts.currentNode.data.trim().slice(0, 40)}`);
  }
  const bent = (e) => {
    const { clientWidth, clientHeight, naturalWidth, naturalHeight, width, height } = e;
    const own = e.tagName === "IMG" ? naturalWidth / naturalHeight : width / height;
    return clientHeight > 0 && Math.abs(clientWidth / clientHeight / own - 1) > 0.03;
  };
  return {
    width: document.documentElement.scrollWidth,
    bent: all("figure img, canvas").filter(bent).map(say),
    culprits: all("*").filter((e) => wide(e) && !clipped(e)).slice(0, 5).map(say),
    small: [...small],
    figures: all("figure, img, canvas, video").filter((e) => wide(e) && !clipped(e)).map(say),
  };
}"""
"""What is too wide, too small or out of proportion on a phone."""


def missing(what: str) -> NoReturn:
    """Skip, and say why; in continuous tests nothing may be missing."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


def pages() -> list[str]:
    """Return the site's pages, as paths from its root; the theme's own templates are none."""
    found = (path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html"))
    return sorted(path for path in found if not path.startswith("_static/"))


def walked() -> list[str]:
    """Return the pages to open: all that do not just lead to another one.

    The listed sources share one template: the largest and the one with the longest name stand for
    all of them.
    """
    found = [p for p in pages() if 'http-equiv="refresh"' not in _text(p).lower()]
    sources = [path for path in found if path.startswith("_modules/litgen/")]
    some = {max(sources, key=how) for how in (len, lambda p: len(_text(p))) if sources}
    return sorted({*found} - {*sources} | some)


def _text(path: str) -> str:
    return (SITE / path).read_text("utf8")


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves as static hosts do: what is not there is answered with 404.html."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def send_error(self, code: int, *arguments: Any) -> None:
        """Send the site's own page."""
        page = SITE / "404.html"
        if code != 404 or not page.is_file():
            super().send_error(code, *arguments)
            return
        content = page.read_bytes()
        self.send_response(code)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextmanager
def served() -> Iterator[str]:
    """Serve the site on a free port of this machine; yield its address, slash included."""
    handler = functools.partial(_Handler, directory=str(SITE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@dataclass
class Record:
    """What happens while a page is open.

    Attributes:
        requested: paths of the site's own files.
        outside: addresses anywhere else.
        trouble: errors on the console or in scripts, requests that failed.
    """

    requested: set[str] = field(default_factory=set)
    outside: list[str] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)

    def watch(self, page: "Page", address: str) -> None:
        """Note all of it from now on."""
        page.on("request", lambda request: self._request(request.url, address))
        page.on("websocket", lambda socket: self.outside.append(socket.url))
        page.on("pageerror", lambda error: self.trouble.append(f"script: {error}"))
        page.on("console", self._console)
        page.on("requestfailed", lambda r: self.trouble.append(f"failed: {r.url} ({r.failure})"))
        page.on(
            "response",
            lambda r: self.trouble.append(f"{r.status}: {r.url}") if r.status >= 400 else None,
        )

    def _request(self, url: str, address: str) -> None:
        if url.startswith(address):
            self.requested.add(url.removeprefix(address).partition("?")[0].partition("#")[0])
        elif not url.startswith(("data:", "blob:")):
            self.outside.append(url)

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self.trouble.append(f"console: {message.text} ({message.location['url']})")


@dataclass
class Visit:
    """What one visit to a page shows: on a large screen, then in the dark, then on a phone.

    Attributes:
        record: requests and trouble.
        first: paths of the files that are fetched before anyone scrolls.
        whole: the same after scrolling through all of it, in the light theme.
        violations: what axe finds, a line each.
        narrow: the answer of NARROW at 375 pixels.
    """

    record: Record
    first: set[str]
    whole: set[str]
    violations: list[str]
    narrow: dict[str, Any]


def visit(page: "Page", address: str, path: str) -> Visit:
    """Open a page and walk through all of it."""
    record = Record()
    record.watch(page, address)
    page.goto(address + path)
    page.evaluate(SETTLE, False)
    first = set(record.requested)
    page.evaluate(SETTLE, True)
    whole = set(record.requested)
    violations = _violations(page, "whole page", "html", set(WCAG))
    for theme in ("light", "dark"):
        show_theme(page, theme)
        page.evaluate(SAMPLE)
        violations += _violations(page, theme, "[data-sample]", set(COLOUR_RULES))
    page.set_viewport_size({"width": 375, "height": 800})
    return Visit(record, first, whole, violations, page.evaluate(NARROW))


def eventually(condition: Callable[[], bool]) -> bool:
    """Wait up to 10 s: pages draw when the browser has time to."""
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.03)
    return condition()


def stop_the_clock(page: "Page") -> None:
    """Let a page's time stand still but for what ``page.clock.run_for`` adds to it.

    An installed clock alone still moves with the machine's: a slow moment between two lines of a
    test would be time for the page to play on.
    """
    page.clock.install(time=0)
    page.clock.pause_at(60_000)


def show_theme(page: "Page", theme: str) -> None:
    """Switch an open page's theme as its button does."""
    page.evaluate(
        """(theme) => {
          document.documentElement.dataset.mode = document.documentElement.dataset.theme = theme;
          const ended = document.getAnimations().map((a) => a.finished.catch(() => 0));
          return Promise.race([Promise.all(ended), new Promise((done) => setTimeout(done, 5000))]);
        }""",
        theme,
    )


def _violations(page: "Page", where: str, part: str, rules: set[str]) -> list[str]:
    """Ask axe about a part of a page."""
    from axe_playwright_python.sync_playwright import Axe

    options = {
        "resultTypes": ["violations"],
        "runOnly": sorted(rules),
        "rules": {rule: {"enabled": rule in rules} for rule in COLOUR_RULES},
        "preload": False,  # it looks for the theme's imported style sheets in the wrong folder
    }
    return [
        f"{where}: {violation['id']}: {' '.join(map(str, node['target']))}: {node['html'][:120]}"
        f" ({'; '.join(check['message'] for check in node['any'][:1])})"
        for violation in Axe().run(page, part, options).response["violations"]
        for node in violation["nodes"]
    ]
