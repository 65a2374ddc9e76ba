"""Autoencoders: codes, noise and holes."""
