"""Diffusion models: destroy data step by step, learn to go back."""
