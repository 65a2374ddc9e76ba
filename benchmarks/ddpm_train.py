"""The denoiser's training step against its peers: see benchmarks/ddpm.py."""

from benchmarks.ddpm import train as run

__all__ = ["run"]
