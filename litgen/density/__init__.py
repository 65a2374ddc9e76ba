"""Density models with exact likelihoods."""
