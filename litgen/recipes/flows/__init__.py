"""Recipes of the family flows."""
