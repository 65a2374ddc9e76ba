"""Train the dense rival of vae/evolution on digits: the same steps, many times its weights.

Chapter: book/vae/convolutional.md.  Proof: tests/recipes/test_vae_evolution.py.
"""

import dataclasses

from litgen.recipes.vae import evolution
from litgen.recipes.vae.evolution import Config, data, evaluate, restore, sample, train

__all__ = ["CPU", "GPU", "Config", "data", "evaluate", "restore", "sample", "train"]

CPU = dataclasses.replace(evolution.CPU, network="dense", hidden=(128, 64), learning_rate=3e-3)
GPU = dataclasses.replace(evolution.GPU, network="dense", hidden=(400, 200))
