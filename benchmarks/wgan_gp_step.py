"""WGAN-GP's turn with dense players against the usual one: see benchmarks/gan.py."""

from collections.abc import Iterator
from typing import Any

from benchmarks import gan
from benchmarks.harness import Options

__all__ = ["run"]


def run(options: Options) -> Iterator[dict[str, Any]]:
    """Yield the result."""
    return gan.raced("wgan-gp-step", gan.Game(gan.dense, side=28, penalised=True), options)
