"""What this book adds to Jupyter Book; each module does one thing."""

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from litgen import digest
from litgen_book import assets, cards, downloads, equations, family_map, pages, results

__all__ = ["setup"]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register everything with Sphinx."""
    for module in (assets, cards, downloads, equations, family_map, pages, results):
        module.setup(app)
    sources = [path.read_text("utf8") for path in sorted(Path(__file__).parent.glob("*.py"))]
    return {
        "version": "1",
        "env_version": int(digest.combine(sources)[:7], 16),  # a change here renews every page
        "parallel_read_safe": False,
        "parallel_write_safe": True,
    }
