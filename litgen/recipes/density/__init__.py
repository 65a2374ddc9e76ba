"""Recipes of the family density."""
