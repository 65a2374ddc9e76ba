"""Recipes of the family diffusion."""
