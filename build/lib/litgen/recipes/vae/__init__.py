"""Recipes of book/vae/."""
