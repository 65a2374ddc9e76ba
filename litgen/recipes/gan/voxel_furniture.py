"""Play the game of gan/voxels for the furniture of five catalogues and its mirror images.

Chapter: book/gan/voxel.md.  Proof: tests/recipes/test_gan_voxels.py.
Reference: Wu et al. (2016).
"""

import dataclasses

from litgen.recipes.gan import voxels
from litgen.recipes.gan.voxels import Config, data, evaluate, restore, sample, train

__all__ = ["CPU", "GPU", "Config", "data", "evaluate", "restore", "sample", "train"]

CPU = dataclasses.replace(voxels.CPU, data="furniture", turns=300, batch_size=10)
GPU = dataclasses.replace(voxels.GPU, data="furniture", turns=8_000)
