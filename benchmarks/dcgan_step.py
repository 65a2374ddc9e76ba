"""DCGAN's turn against the usual one: see benchmarks/gan.py."""

from collections.abc import Iterator
from typing import Any

from benchmarks import gan
from benchmarks.harness import Options

__all__ = ["run"]


def run(options: Options) -> Iterator[dict[str, Any]]:
    """Yield the results with the collections' players and with the paper's strided ones."""
    for players, build in (("upsampling", gan.upsampling), ("strided", gan.strided)):
        game = gan.Game(build, side=32, apart=True)
        for record in gan.raced("dcgan-step", game, options):
            yield {"name": record["name"], "players": players, **record}
