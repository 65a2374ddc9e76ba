"""Play the game of gan/biggan without spectral norms, to see what they are there for.

Chapter: book/gan/biggan.md.  Proof: tests/recipes/test_gan_biggan.py.
Reference: Brock, Donahue & Simonyan (2019), section 4.
"""

import dataclasses

from litgen.recipes.gan import biggan
from litgen.recipes.gan.biggan import Config, data, evaluate, restore, sample, train

__all__ = ["CPU", "GPU", "Config", "data", "evaluate", "restore", "sample", "train"]

CPU = dataclasses.replace(biggan.CPU, spectral_norm=False, turns=150, snapshots=3)
GPU = dataclasses.replace(biggan.GPU, spectral_norm=False, turns=5_000, snapshots=3)
