"""Show the critic of applications/spikes probabilities in the place of spikes, as Spike-GAN does.

Chapter: book/applications/neurobiology.md.  Proof: tests/recipes/test_applications_spikes.py.
Reference: Molano-Mazon, Onken, Piasini & Panzeri, "Synthesizing realistic neural population
activity patterns using Generative Adversarial Networks" (2018).
"""

import dataclasses

import torch

from litgen.recipes.applications import spikes
from litgen.recipes.applications.spikes import Config, data, evaluate, restore, sample
from litgen.runs import Run

__all__ = ["CPU", "GPU", "Config", "data", "evaluate", "restore", "sample", "train"]

CPU = dataclasses.replace(spikes.CPU, soft=True, turns=300)
GPU = dataclasses.replace(spikes.GPU, soft=True)


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Play; keep trials on the way, and the critic's loss."""
    return spikes.train(config, seed, device)
