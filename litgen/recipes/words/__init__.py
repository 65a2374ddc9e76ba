"""Recipes of word vectors."""
