"""Train the convolutional VAE of vae/evolution on binarised Fashion-MNIST.

Chapter: book/vae/convolutional.md.  Proof: tests/recipes/test_vae_evolution.py.
Reference: Xiao, Rasul & Vollgraf, "Fashion-MNIST" (2017).
"""

import dataclasses

from litgen.recipes.vae import evolution
from litgen.recipes.vae.evolution import Config, data, evaluate, restore, sample, train

__all__ = ["CPU", "GPU", "Config", "data", "evaluate", "restore", "sample", "train"]

CPU = dataclasses.replace(evolution.CPU, data="fashion_mnist")
GPU = dataclasses.replace(evolution.GPU, data="fashion_mnist")
