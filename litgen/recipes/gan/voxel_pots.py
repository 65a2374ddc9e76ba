"""Play the game of gan/voxels for drawn vessels, which are solids of revolution.

Chapter: book/gan/voxel.md.  Proof: tests/recipes/test_gan_voxels.py.
Reference: Wu et al. (2016).
"""

import dataclasses

from litgen.recipes.gan import voxels
from litgen.recipes.gan.voxels import Config, data, evaluate, restore, sample, train

__all__ = ["CPU", "GPU", "Config", "data", "evaluate", "restore", "sample", "train"]

CPU = dataclasses.replace(voxels.CPU, data="pottery", turns=200, batch_size=10)
GPU = dataclasses.replace(voxels.GPU, data="pottery", turns=6_000)
