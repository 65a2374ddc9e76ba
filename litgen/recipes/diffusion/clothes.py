"""Train the diffusion model of diffusion/digits on Fashion-MNIST's clothes.

Chapter: book/diffusion/ddpm.md.  Proof: tests/recipes/test_diffusion.py.
Reference: Ho, Jain & Abbeel, "Denoising Diffusion Probabilistic Models" (2020).
"""

import dataclasses

from litgen.recipes.diffusion import digits
from litgen.recipes.diffusion.digits import Config, data, evaluate, restore, sample, train

__all__ = ["CPU", "GPU", "Config", "data", "evaluate", "restore", "sample", "train"]

CPU = dataclasses.replace(digits.CPU, data="fashion_mnist", turns=250)
GPU = dataclasses.replace(digits.GPU, data="fashion_mnist")
