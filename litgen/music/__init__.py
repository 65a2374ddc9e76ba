"""Chorales: four voices as arrays, a dependency network, and what is counted in the result."""
