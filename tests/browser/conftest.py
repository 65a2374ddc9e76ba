"""Fixtures of the browser checks: the built site, served and opened in Chromium.

``LITGEN_SITE_FOLDER`` names another folder than ``_build/html``, ``LITGEN_CHROMIUM`` the browser.
What is missing skips a check, and fails it where ``CI=true``.
"""

import functools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import visits

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-backgrounding-occluded-windows",  # a page that nobody sees draws its frames too
    "--disable-renderer-backgrounding",
    "--disable-background-timer-throttling",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # what a page asks of others fails
]
NO_MATHJAX = "window.MathJax = { startup: { promise: Promise.resolve() } };"
NAMES = ("chromium", "chromium-browser", "google-chrome")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run these checks last: Playwright's event loop stays until the session ends.

    The checks of a page stay together where tests run side by side, so that it is opened once.
    """
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)
    for item in items:
        params = item.callspec.params if hasattr(item, "callspec") else {}
        if path := params.get("walked_path", params.get("page_path")):
            item.add_marker(pytest.mark.xdist_group(str(path)))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run once for each page of the site, or of those to open (without a site: once, to skip)."""
    for name, paths in (("page_path", visits.pages), ("walked_path", visits.walked)):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, paths() or ["(no site)"])


@pytest.fixture(scope="session")
def site() -> Path:
    """Return the built site's folder."""
    if not (visits.SITE / "index.html").is_file():
        visits.missing(f"no site in {visits.SITE}: build it with `make book`")
    return visits.SITE


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    """Serve the site; return its address."""
    with visits.served() as url:
        yield url


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Return one Chromium for all checks."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        visits.missing("playwright is not installed (it is in litgen's test extra)")
    found = [os.environ.get("LITGEN_CHROMIUM"), *map(shutil.which, NAMES)]
    program = next((path for path in found if path), None)
    if program is None:
        visits.missing(f"no browser: LITGEN_CHROMIUM is not set and there is no {NAMES} on PATH")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def visit(browser: Any, address: str) -> Callable[[str], visits.Visit]:
    """Return ``visit(path)``; each page is visited once, whatever the number of checks."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")

    @functools.cache
    def walk(path: str) -> visits.Visit:
        page = context.new_page()
        try:
            return visits.visit(page, address, path)
        finally:
            page.close()

    return walk


@pytest.fixture
def open_page(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """Return ``open_page``, which opens a page for a new visitor; none may end with an error.

    Its arguments: the path, the theme that was chosen before, whether to set the formulas (which
    takes a second in a chapter).
    """
    contexts, record = [], visits.Record()

    def fresh(path: str, theme: str = "light", formulas: bool = True) -> Any:
        other = "dark" if theme == "light" else "light"
        contexts.append(
            browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=other)
        )
        contexts[-1].add_init_script(
            f'localStorage.setItem("mode", "{theme}"); localStorage.setItem("theme", "{theme}");'
        )
        if not formulas:
            startup = "**/mathjax/startup.js"
            contexts[-1].route(startup, lambda route: route.fulfill(body=NO_MATHJAX))
        page = contexts[-1].new_page()
        record.watch(page, address)
        page.goto(address + path)
        page.evaluate(visits.SETTLE, False)
        return page

    yield fresh
    for context in contexts:
        context.close()
    assert not record.trouble + record.outside
