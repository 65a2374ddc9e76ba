"""DDIM steps against the peers': see benchmarks/ddpm.py."""

from benchmarks.ddpm import sample as run

__all__ = ["run"]
