"""Named experiments: one module a recipe, found by its path (``vae/digits``)."""

import importlib
import pkgutil
from types import ModuleType

__all__ = ["load", "names"]


def names() -> list[str]:
    """Return every recipe's name, ``family/name``, sorted; what they share has no family."""
    found = pkgutil.walk_packages(__path__, __name__ + ".")
    paths = (m.name.removeprefix(__name__ + ".") for m in found if not m.ispkg)
    return sorted(path.replace(".", "/") for path in paths if "." in path)


def load(name: str) -> ModuleType:
    """Import a recipe by name.

    Raises:
        ValueError: there is no such recipe; the message lists those that exist.
    """
    if name not in names():
        raise ValueError(f"unknown recipe {name!r}; there are: {', '.join(names())}")
    return importlib.import_module(f"{__name__}.{name.replace('/', '.')}")
