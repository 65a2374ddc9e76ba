"""Files that the site serves itself: MathJax and the wheel of litgen.

Proof: tests/book/test_assets.py and tests/browser/test_site.py.
"""

import html
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from filelock import FileLock
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ExtensionError

from litgen import digest
from litgen_book import chapters

__all__ = ["setup", "wheel"]

MATHJAX = "django-static-mathjax"
PARTS = (
    "startup.js",
    "core.js",
    "input/tex.js",
    "input/tex/extensions",
    "output/chtml.js",
    "output/chtml/fonts",
    "a11y/assistive-mml.js",
)
"""What pages load of MathJax (mathjax3_config): 0.6 MB less than its ready-made bundle."""


def setup(app: Sphinx) -> None:
    """Say early where the site will be; copy after the build."""
    app.connect("config-inited", _address, priority=100)
    app.connect("build-finished", _finish)


def _address(app: Sphinx, config: Config) -> None:
    """Let LITGEN_SITE name the address at which the site is published."""
    site = os.environ.get("LITGEN_SITE")
    if site:
        config.html_baseurl = config.ogp_site_url = site.rstrip("/") + "/"


def _finish(app: Sphinx, exception: Exception | None) -> None:
    if exception or app.builder.format != "html":
        return
    static = Path(app.outdir, "_static")
    _mathjax(static / "mathjax")
    # The theme's icons come from its web font; the script (half a megabyte) would draw them again.
    for script in static.rglob("fontawesome.js"):
        script.write_text("/* the web font draws the icons */\n", "utf8")
    Path(app.outdir, ".nojekyll").touch()  # some hosts hide folders that begin with an underscore
    _sitemap(app)
    built = wheel()
    shutil.copyfile(built, Path(app.outdir, built.name))


def _sitemap(app: Sphinx) -> None:
    """List every page, also those that this build did not write again."""
    pages = [f"{app.config.html_baseurl}{name}.html" for name in sorted(app.env.found_docs)]
    urls = "".join(f"<url><loc>{html.escape(page)}</loc></url>\n" for page in pages)
    head = '<?xml version="1.0" encoding="utf-8"?>\n'
    kind = "http://www.sitemaps.org/schemas/sitemap/0.9"
    text = f'{head}<urlset xmlns="{kind}">\n{urls}</urlset>\n'
    Path(app.outdir, "sitemap.xml").write_text(text, "utf8")


def _mathjax(target: Path) -> None:
    """Copy what pages load out of the package that carries MathJax."""
    files = importlib.metadata.files(MATHJAX) or []
    start = next(file for file in files if file.match("es5/startup.js"))
    source = Path(str(start.locate())).parent
    for part in PARTS:
        (target / part).parent.mkdir(parents=True, exist_ok=True)
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part, dirs_exist_ok=True)
        elif not (target / part).exists():
            shutil.copyfile(source / part, target / part)


def _build(folder: Path) -> subprocess.CompletedProcess[str]:
    """Build in a copy, since setuptools leaves its work beside the sources."""
    with tempfile.TemporaryDirectory(prefix="litgen-wheel-") as copy:
        shutil.copytree(chapters.ROOT / "litgen", Path(copy, "litgen"))
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copyfile(chapters.ROOT / name, Path(copy, name))
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
        command += ["--no-build-isolation", "--wheel-dir", str(folder), copy]
        return subprocess.run(command, capture_output=True, text=True)


def wheel() -> Path:
    """Return litgen as a wheel, built anew when its source has changed."""
    sources = sorted((chapters.ROOT / "litgen").rglob("*.py"))
    files = [*sources, chapters.ROOT / "pyproject.toml"]
    texts = {p.relative_to(chapters.ROOT).as_posix(): p.read_text("utf8") for p in files}
    folder = chapters.ROOT / "_build" / "wheels" / digest.combine(texts)
    name = f"litgen-{importlib.metadata.version('litgen')}-py3-none-any.whl"
    folder.parent.parent.mkdir(exist_ok=True)
    with FileLock(folder.parent.with_suffix(".lock")):  # tests may ask side by side
        if not (folder / name).exists():
            shutil.rmtree(folder.parent, ignore_errors=True)
            done = _build(folder)
            if done.returncode:
                raise ExtensionError(f"litgen's wheel could not be built:\n{done.stderr}")
    return folder / name
