"""Fit probabilistic PCA with one latent to the two moons: one Gaussian, which has no bend.

Chapter: book/density/ppca.md.  Proof: tests/recipes/test_ppca_moons.py.
Reference: Tipping & Bishop, "Probabilistic principal component analysis" (1999).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from litgen.density import ppca
from litgen.recipes import comparison
from litgen.runs import Run
from litgen.shapes import Float

__all__ = ["CPU", "GPU", "Config", "data", "evaluate", "restore", "sample", "train"]


@dataclass(frozen=True)
class Config:
    """What a fit depends on.

    Attributes:
        latent: dimensions of z; the plane leaves one for the noise.
    """

    latent: int = 1


CPU = Config()
GPU = Config()


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return ("moons",)


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Fit in closed form, in double precision; seed and device change nothing.

    Raises:
        ValueError: a number of latents that leaves no noise.
    """
    fitted = ppca.fit(comparison.train_points().double(), config.latent)
    parts = {"mean": fitted.mean, "weight": fitted.weight, "noise_var": fitted.noise_var}
    parts = {name: value.half().float() for name, value in parts.items()}  # as they are stored
    model = ppca.PPCA(**parts)
    return comparison.package(parts, lambda count, g: draw(model, count, g), model.log_prob)


def draw(model: ppca.PPCA, count: int, generator: torch.Generator) -> Float[Tensor, "count dims"]:
    """Draw points from a model."""
    dims, latent = model.weight.shape
    z_noise = torch.randn(count, latent, generator=generator)
    return model.sample(z_noise, torch.randn(count, dims, generator=generator))


def restore(run: Run) -> ppca.PPCA:
    """Return the model of a run."""
    return ppca.PPCA(**run.part("model"))


def sample(run: Run, count: int, generator: torch.Generator) -> Float[Tensor, "count 2"]:
    """Draw points from a run's model."""
    return draw(restore(run), count, generator)


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's model on the test points anew."""
    model = restore(run)
    return comparison.score(lambda count, g: draw(model, count, g), model.log_prob)
