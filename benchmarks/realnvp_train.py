"""RealNVP's training step against its peers: see benchmarks/realnvp.py."""

from benchmarks.realnvp import train as run

__all__ = ["run"]
