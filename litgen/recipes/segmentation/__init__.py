"""Recipes of book/segmentation/."""
