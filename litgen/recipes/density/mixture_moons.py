"""Fit mixtures of Gaussians to the two moons; how many components, held-out points decide.

Chapter: book/density/mixture.md.  Proof: tests/recipes/test_mixture.py.
Reference: Dempster, Laird & Rubin, "Maximum likelihood from incomplete data via the EM algorithm"
(1977).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from litgen import checkpoints
from litgen.density import mixture
from litgen.recipes import comparison
from litgen.runs import Run
from litgen.shapes import Float

__all__ = ["CPU", "GPU", "Config", "data", "evaluate", "restore", "sample", "train"]


@dataclass(frozen=True)
class Config:
    """What a fit depends on.

    Attributes:
        candidates: numbers of components that are tried.
        held_out: training points, the last ones, that choose among them.
        starts: runs of EM for each number, of which the best counts.
        steps: of a run, at most.
        tolerance: nats per point; a run ends when a step gains less.
    """

    candidates: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    held_out: int = 2_000
    starts: int = 2
    steps: int = 60
    tolerance: float = 1e-4


CPU = Config()
GPU = Config((1, 2, 4, 8, 12, 16, 24, 32), starts=20, steps=1_000, tolerance=1e-6)


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Choose the number of components by held-out likelihood, and fit that many to all points."""
    points = comparison.train_points().to(device)
    kept, held_out = points[: -config.held_out], points[-config.held_out :]
    generator = torch.Generator(device).manual_seed(seed)
    seen: list[float] = []
    unseen: list[float] = []
    memory = checkpoints.current()
    memory.keep(seen=seen, unseen=unseen, generator=generator)
    for turn in memory.turns(len(config.candidates) + 1):
        if turn < len(config.candidates):
            model = _fit(config, kept, config.candidates[turn], generator)
            seen.append(-mixture.log_prob(kept, model).mean().item())
            unseen.append(-mixture.log_prob(held_out, model).mean().item())
        else:
            best = config.candidates[unseen.index(min(unseen))]
            model = _rounded(_fit(config, points, best, generator))
    run = comparison.package(
        {"weights": model.weights, "means": model.means, "covariances": model.covariances},
        lambda count, g: mixture.sample(model, count, g)[0],
        lambda x: mixture.log_prob(x, model),
        {"train_nll_nats": seen, "held_out_nll_nats": unseen},
    )
    run.metrics["components"] = best
    return run


def _fit(
    config: Config, x: Tensor, components: int, generator: torch.Generator
) -> mixture.Mixture:
    return mixture.fit(
        x,
        components,
        generator,
        starts=config.starts,
        steps=config.steps,
        tolerance=config.tolerance,
    )


def _rounded(model: mixture.Mixture) -> mixture.Mixture:
    """Return the mixture that a run's half precision can hold, on the CPU."""
    parts = (model.weights, model.means, model.covariances)
    return _normalized(*(part.half().float().cpu() for part in parts))


def _normalized(weights: Tensor, means: Tensor, covariances: Tensor) -> mixture.Mixture:
    return mixture.Mixture(weights / weights.sum(), means, covariances)


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return ("moons",)


def restore(run: Run) -> mixture.Mixture:
    """Return the mixture of a run."""
    part = run.part("model")
    return _normalized(part["weights"], part["means"], part["covariances"])


def sample(run: Run, count: int, generator: torch.Generator) -> Float[Tensor, "count 2"]:
    """Draw points from the mixture."""
    return mixture.sample(restore(run), count, generator)[0]


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure the shared metrics anew."""
    model = restore(run)
    return comparison.score(
        lambda count, g: mixture.sample(model, count, g)[0],
        lambda x: mixture.log_prob(x, model),
    )
