"""Adversarial networks: a sampler learns from a critic that tells its samples from data."""
