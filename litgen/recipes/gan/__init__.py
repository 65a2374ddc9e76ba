"""Recipes of the family gan."""
