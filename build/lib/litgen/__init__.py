"""litgen: small, tested implementations of deep generative models."""

__version__ = "0.1.0"
