"""Let a WGAN with gradient penalty draw clothes, exactly as gan/gp_digits draws digits.

Chapter: book/gan/gradient_penalty.md.  Proof: tests/recipes/test_gan_gp.py.
Reference: Gulrajani et al., "Improved Training of Wasserstein GANs" (2017), algorithm 1.
"""

import dataclasses

import torch

from litgen.recipes.gan import gp_digits
from litgen.recipes.gan.gp_digits import Config, data, evaluate, restore, sample
from litgen.runs import Run

__all__ = ["CPU", "GPU", "Config", "data", "evaluate", "restore", "sample", "train"]

CPU = dataclasses.replace(gp_digits.CPU, data="fashion_mnist", turns=200)
GPU = dataclasses.replace(gp_digits.GPU, data="fashion_mnist")


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Play; keep samples of the same codes on the way, and the critic's loss."""
    return gp_digits.train(config, seed, device)
