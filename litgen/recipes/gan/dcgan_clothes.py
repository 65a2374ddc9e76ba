"""Train the DCGAN of gan/dcgan on Fashion-MNIST's clothes.

Chapter: book/gan/dcgan.md.  Proof: tests/recipes/test_gan_dcgan.py.
Reference: Radford, Metz & Chintala (2016).
"""

import dataclasses

from litgen.recipes.gan import dcgan
from litgen.recipes.gan.dcgan import Config, data, evaluate, restore, sample, train

__all__ = ["CPU", "GPU", "Config", "data", "evaluate", "restore", "sample", "train"]

CPU = dataclasses.replace(dcgan.CPU, data="fashion_mnist", turns=350)
GPU = dataclasses.replace(dcgan.GPU, data="fashion_mnist")
