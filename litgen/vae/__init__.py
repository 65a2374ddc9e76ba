"""Variational autoencoders: book/vae/."""
