"""Recipes of the family primer."""
