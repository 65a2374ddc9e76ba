"""What this book adds to Jupyter Book; each module does one thing."""

from typing import Any

from sphinx.application import Sphinx

from litgen_book import assets, cards, downloads, equations, pages

__all__ = ["setup"]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register everything with Sphinx."""
    for module in (assets, cards, downloads, equations, pages):
        module.setup(app)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
