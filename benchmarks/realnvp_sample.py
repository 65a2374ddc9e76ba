"""RealNVP's sampler against its peers: see benchmarks/realnvp.py."""

from benchmarks.realnvp import sample as run

__all__ = ["run"]
