"""Recipes of book/applications/."""
