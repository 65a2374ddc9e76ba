"""Fit a kernel density estimate to the two moons: its bandwidth is all there is to fit.

Chapter: book/density/kde.md.  Proof: tests/recipes/test_kde.py.
Reference: Duin, "On the choice of smoothing parameters for Parzen estimators" (1976).
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from litgen import checkpoints
from litgen.density import kde
from litgen.recipes import comparison
from litgen.runs import Run
from litgen.shapes import Float

__all__ = [
    "CPU",
    "GPU",
    "Config",
    "Kernels",
    "data",
    "draw",
    "evaluate",
    "restore",
    "sample",
    "train",
]


@dataclass(frozen=True)
class Config:
    """What a fit depends on.

    Attributes:
        points: training points that become kernels, the first of the 10,000.
        first: points of a quick fit, whose bandwidth is where the search starts.
    """

    points: int = 10_000
    first: int = 1_000


CPU = GPU = Config()


class Kernels(NamedTuple):
    """A fitted estimate: the middles of its kernels, and their common standard deviation."""

    data: Float[Tensor, "count dims"]
    bandwidth: float

    def log_prob(self, x: Float[Tensor, "points dims"]) -> Float[Tensor, " points"]:
        """Return the log-density in nats."""
        return kde.log_prob(x, self.data, self.bandwidth)


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Choose the bandwidth by the leave-one-out likelihood; the kernels sit on the data."""
    points = comparison.train_points()[: config.points].to(device)
    found: list[tuple[float, float]] = []  # bandwidth and log-likelihood of both fits
    memory = checkpoints.current()
    memory.keep(found=found)
    for turn in memory.turns(2):
        some = points[: config.first] if turn == 0 else points
        rate = (config.first / config.points) ** (1 / 6)  # the optimum's in the plane
        found.append(kde.fit_bandwidth(some, found[0][0] * rate if turn else None))
    bandwidth, log_likelihood = found[-1]
    run = packaged(Kernels(points, bandwidth))
    run.metrics["loo_nll_nats"] = -log_likelihood
    run.metrics["bandwidth"] = bandwidth
    return run


def packaged(model: Kernels) -> Run:
    """Return the run with the shared metrics, measured on the model's device."""
    device = model.data.device
    return comparison.package(
        {"points": model.data, "bandwidth": torch.tensor(model.bandwidth, dtype=torch.float64)},
        lambda count, generator: draw(model, count, generator),
        lambda x: model.log_prob(x.to(device)),
    )


def draw(model: Kernels, count: int, generator: torch.Generator) -> Float[Tensor, "count dims"]:
    """Draw from an estimate; the generator lives on the CPU."""
    index = torch.randint(len(model.data), (count,), generator=generator)
    noise = torch.randn(count, model.data.shape[1], generator=generator)
    device = model.data.device
    return kde.sample(model.data, model.bandwidth, index.to(device), noise.to(device))


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return ("moons",)


def restore(run: Run) -> Kernels:
    """Return the estimate of a run."""
    return Kernels(run.part("model")["points"], run.tensors["model.bandwidth"].item())


def sample(run: Run, count: int, generator: torch.Generator) -> Float[Tensor, "count 2"]:
    """Return points drawn from the estimate."""
    return draw(restore(run), count, generator)


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Compare a run's estimate with the test set anew."""
    points, bandwidth = restore(run)
    model = Kernels(points.to(device), bandwidth)
    return comparison.score(
        lambda count, generator: draw(model, count, generator),
        lambda x: model.log_prob(x.to(device)),
    )
