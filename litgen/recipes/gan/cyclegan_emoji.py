"""Translate one vendor's emoji into the other's, without pairs and, as a bound, with them.

Chapter: book/gan/cyclegan.md.  Proof: tests/recipes/test_gan_cyclegan.py.
Everything but the configs is `litgen.recipes.gan.cyclegan`.
"""

import dataclasses

from litgen.recipes.gan import cyclegan
from litgen.recipes.gan.cyclegan import Config, data, evaluate, restore, sample, train

__all__ = ["CPU", "GPU", "Config", "data", "evaluate", "restore", "sample", "train"]

CPU = Config(data="emoji", variants=("full", "no_identity", "paired"), turns=150, test_images=568)
GPU = dataclasses.replace(
    cyclegan.GPU, data="emoji", variants=("full", "no_identity", "paired"), test_images=568
)
