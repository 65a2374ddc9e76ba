"""Train a plain VAE on the pictures of `litgen.recipes.vae.dcign`: nothing is clamped.

Chapter: book/vae/dcign.md.  Proof: tests/recipes/test_vae_dcign.py.
"""

import dataclasses

from litgen.recipes.vae.dcign import CPU as CLAMPED_CPU
from litgen.recipes.vae.dcign import GPU as CLAMPED_GPU
from litgen.recipes.vae.dcign import Config, data, evaluate, restore, sample, train

__all__ = ["CPU", "GPU", "Config", "data", "evaluate", "restore", "sample", "train"]

CPU = dataclasses.replace(CLAMPED_CPU, clamp=False)
GPU = dataclasses.replace(CLAMPED_GPU, clamp=False)
