"""Recipes of book/style/."""
