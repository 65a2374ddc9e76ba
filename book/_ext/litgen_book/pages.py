"""Give myst-nb the outputs that each page shows; make page elements of litgen's figures.

Proof: tests/book/test_pages.py.

myst-nb looks for outputs in jupyter-cache, whose own key sees nothing but the cells. So every
result is chosen or made here first (``chapters``) and put into that cache; myst-nb then only
merges.
"""

import base64
import copy
import hashlib
import html
import json
import re
from pathlib import Path
from typing import Any

from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from nbformat import NotebookNode
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError
from sphinx.util import logging

from litgen_book import chapters

__all__ = ["page_output", "results", "setup"]

OWN_FILE = re.compile(r"[0-9a-f]{20}\.(?:png|js)")

log = logging.getLogger(__name__)


def setup(app: Sphinx) -> None:
    """Hook into reading."""
    app.connect("env-get-outdated", _outdated)
    app.connect("env-before-read-docs", _prepare)
    app.connect("doctree-read", _remember)
    app.connect("build-finished", _sweep)


def results(app: Sphinx) -> dict[str, NotebookNode]:
    """Return the result of every chapter in this build, by page name."""
    found: dict[str, NotebookNode] = app.__dict__.setdefault("litgen_results", {})
    return found


def _outdated(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> set[str]:
    """Name the pages that do not show the result that they should."""
    keys = {name: chapters.key(chapters.read(name)) for name in _chapters(env)}
    app.__dict__["litgen_keys"] = keys
    stale = set()
    for name, wanted in keys.items():
        result = chapters.load(name, wanted)
        if result is not None:
            results(app)[name] = result
        shown = env.metadata.get(name, {}).get("litgen_result")
        written = Path(app.outdir, f"{name}.html").exists()  # its pictures lie beside it
        if result is None or shown != _identity(result) or not written:
            stale.add(name)
    lists = {name for name, about in env.metadata.items() if "litgen_lists_results" in about}
    return stale | lists if stale else stale


def _prepare(app: Sphinx, env: BuildEnvironment, docnames: list[str]) -> None:
    """Execute what has no result, then file every result where myst-nb will look."""
    keys: dict[str, str] = app.__dict__["litgen_keys"]
    missing = {name: wanted for name, wanted in keys.items() if name not in results(app)}
    if missing:
        log.info("litgen: executing %d chapter(s)", len(missing))
        done = chapters.execute(missing, report=lambda line: log.info("litgen: %s", line))
        failed = [f"{n}: {r}" for n, r in done.items() if isinstance(r, Exception)]
        if failed:
            raise ExtensionError("litgen: chapters failed:\n" + "\n".join(failed))
        results(app).update({n: r for n, r in done.items() if not isinstance(r, Exception)})
    cache = get_cache(env.mystnb_config.execution_cache_path)  # type: ignore[attr-defined]
    for name in set(docnames) & set(keys):
        env.metadata.setdefault(name, {})
        cache.cache_notebook_bundle(
            CacheBundleIn(_merged(app, name), env.doc2path(name)),
            check_validity=False,
            overwrite=True,
        )


def _remember(app: Sphinx, doctree: Any) -> None:
    """Note which result a page shows, so that the next build sees a change."""
    name = app.env.docname
    if name in results(app):
        app.env.metadata[name]["litgen_result"] = _identity(results(app)[name])


def _sweep(app: Sphinx, exception: Exception | None) -> None:
    """Remove pictures and data of earlier results, which no page shows any more."""
    if exception or app.builder.format != "html":
        return
    shown = set()
    for page in Path(app.outdir, "book").rglob("*.html"):
        shown |= set(OWN_FILE.findall(page.read_text("utf8")))
    for file in Path(app.outdir, "_images").glob("*"):
        if OWN_FILE.fullmatch(file.name) and file.name not in shown:
            file.unlink()


def _identity(result: NotebookNode) -> str:
    found = result.metadata["litgen"]
    return f"{found['key']} {found['date']}"


def _chapters(env: BuildEnvironment) -> list[str]:
    return [name for name in sorted(env.found_docs) if chapters.is_chapter(name)]


def _merged(app: Sphinx, name: str) -> NotebookNode:
    """Return a result with today's cells (comments may differ) and outputs that fit a page."""
    result, source = copy.deepcopy(results(app)[name]), chapters.read(name)
    folder = Path(app.outdir, "_images")
    old_cells = [cell for cell in result.cells if cell.cell_type == "code"]
    new_cells = [cell for cell in source.cells if cell.cell_type == "code"]
    for old, new in zip(old_cells, new_cells, strict=True):
        old.source, old.metadata = new.source, new.metadata
        old.outputs = [page_output(o, folder, "../" * name.count("/")) for o in old.outputs]
    result.metadata["kernelspec"] = source.metadata["kernelspec"]
    return result


def page_output(output: NotebookNode, folder: Path, prefix: str) -> NotebookNode:
    """Turn an output of ``litgen.notebook.show`` into a figure for light and dark pages.

    Pictures and data become files in ``folder``; ``prefix`` leads from the page to its parent.
    """
    about = output.get("metadata", {}).get("litgen")
    if about is None:
        return output
    data = output.data.pop("image/png")
    size = f'width="{about["width"]}" height="{about["height"]}" loading="lazy"'
    alt = html.escape(about["alt"], quote=True)
    images = "".join(
        f'<img class="only-{theme}" src="{prefix}_images/{_file(folder, raw, "png")}" '
        f'alt="{alt}" {size}>'
        for theme, raw in (
            ("light", base64.b64decode(data)),
            ("dark", base64.b64decode(about["dark"])),
        )
    )
    caption = (
        f"<figcaption>{html.escape(about['caption'])}</figcaption>" if about["caption"] else ""
    )
    wide = ' class="wide" tabindex="0" role="group" aria-label="figure"' if about["wide"] else ""
    attributes = ""
    if about.get("widget"):
        text = json.dumps(about["payload"], separators=(",", ":"))
        name = hashlib.sha256(text.encode()).hexdigest()[:20]
        script = _file(folder, f'litgen.receive("{name}",{text});'.encode(), "js")
        attributes = (
            f' data-widget="{about["widget"]}" data-payload="{name}"'
            f' data-src="{prefix}_images/{script}"'
        )
    output.data = {
        # the theme hides a caption that follows a picture for the other theme: keep them apart
        "text/html": f'<figure class="litgen-figure"{attributes}>'
        f"<div{wide}>{images}</div>{caption}</figure>",
        "text/plain": about["alt"],
    }
    output.metadata = {}
    return output


def _file(folder: Path, content: bytes, suffix: str) -> str:
    """Write content under its own hash; return the file's name."""
    name = f"{hashlib.sha256(content).hexdigest()[:20]}.{suffix}"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / name).exists():
        part = folder / f"{name}.part"
        part.write_bytes(content)
        part.replace(folder / name)
    return name
