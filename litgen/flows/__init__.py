"""Normalizing flows: densities by invertible networks."""
