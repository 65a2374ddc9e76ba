"""Five games on 25 Gaussians that differ in nothing but their draws.

Chapter: book/gan/gradient_penalty.md.  Proof: tests/recipes/test_gan_gp.py.
Reference: Gulrajani et al., "Improved Training of Wasserstein GANs" (2017), section 3.

The players are those of gan/gp_planes, five pairs of them side by side, which share nothing.
"""

import torch

from litgen.recipes.gan import gp_planes
from litgen.recipes.gan.gp_planes import Config, data, evaluate, restore, sample
from litgen.runs import Run

__all__ = ["CPU", "GPU", "Config", "data", "evaluate", "restore", "sample", "train"]

CPU = Config(
    sets=("grid_of_gaussians",) * 5,
    torn=(True,) * 5,
    turns=900,
    critic_turns=0,
    moments=6,
)
GPU = Config(
    sets=("grid_of_gaussians",) * 5,
    torn=(True,) * 5,
    hidden=(256, 256, 256),
    critic_hidden=(256, 256, 256),
    turns=4_000,
    batch_size=512,
    learning_rate=3e-4,
    average=0.998,
    critic_turns=0,
    moments=6,
)


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Play all games; the metrics count modes and near samples of each."""
    return gp_planes.train(config, seed, device)
