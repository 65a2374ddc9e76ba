"""Recipes of book/music/."""
