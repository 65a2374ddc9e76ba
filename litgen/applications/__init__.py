"""Generative models at work: vessels, slices and spike trains."""
