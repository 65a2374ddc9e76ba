"""Recipes of book/autoencoders/."""
