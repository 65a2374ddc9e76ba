"""Named experiments: one module a recipe, found by its path (``vae/digits``)."""

import importlib
import pkgutil
from types import ModuleType

__all__ = ["by_value", "load", "names"]

FIRST = (
    "primer/classifier",
    "primer/digit_classifier",
    "vae/digits",
    "diffusion/digits",
    "gan/conditional_digits",
    "gan/dcgan",
    "diffusion/clothes",
    "flows/digits",
)
"""What gains most from a full training, or judges the others; see `by_value`."""


def names() -> list[str]:
    """Return every recipe's name, ``family/name``, sorted; what they share has no family."""
    found = pkgutil.walk_packages(__path__, __name__ + ".")
    paths = (m.name.removeprefix(__name__ + ".") for m in found if not m.ispkg)
    return sorted(path.replace(".", "/") for path in paths if "." in path)


def by_value() -> list[str]:
    """Return every recipe's name, those first whose full training shows readers most."""
    known = names()
    return [name for name in FIRST if name in known] + [n for n in known if n not in FIRST]


def load(name: str) -> ModuleType:
    """Import a recipe by name.

    Raises:
        ValueError: there is no such recipe; the message lists those that exist.
    """
    if name not in names():
        raise ValueError(f"unknown recipe {name!r}; there are: {', '.join(names())}")
    return importlib.import_module(f"{__name__}.{name.replace('/', '.')}")
