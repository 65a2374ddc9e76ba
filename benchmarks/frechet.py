"""Fréchet distance of two sets of 10,000 points with 2,048 features, against three packages.

Proof: tests/test_benchmarks.py.

All are given the same features and begin with their moments. They lie as those of a network with
ReLUs do: positive, correlated, of widely different variances. Everyone's value is printed as well,
with its relative distance from litgen's.
"""

import statistics
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from pytorch_fid.fid_score import calculate_frechet_distance
from torch import Tensor, nn
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torchmetrics.image.fid import FrechetInceptionDistance

from benchmarks import harness
from benchmarks.harness import Contender, Options
from litgen.evaluation.frechet import frechet_distance

__all__ = ["COUNT", "DIMS", "PEERS", "features", "run"]

COUNT, DIMS = 10_000, 2_048
Distance = Callable[[Tensor, Tensor], float]


class Given(nn.Module):
    """Stands where a package expects the network: the features are there already."""

    num_features = DIMS

    def forward(self, x: Tensor) -> Tensor:
        """Return what came in."""
        return x


def features(count: int, dims: int) -> tuple[Tensor, Tensor]:
    """Return two sets of one law up to a small shift."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(dims, dims, generator=generator) / dims**0.5
    scale = torch.logspace(-1, 0, dims)
    x, y = (torch.randn(count, dims, generator=generator) @ mixing * scale for _ in range(2))
    return x.relu(), (1.05 * y + 0.02).relu()


def pytorch_fid(x: Tensor, y: Tensor) -> float:
    """Return pytorch-fid's distance."""
    moments = [(f.mean(axis=0), np.cov(f, rowvar=False)) for f in (x.numpy(), y.numpy())]
    return float(calculate_frechet_distance(*moments[0], *moments[1]))


def torch_fidelity(x: Tensor, y: Tensor) -> float:
    """Return torch-fidelity's distance."""
    moments = [fid_features_to_statistics(part) for part in (x, y)]
    (found,) = fid_statistics_to_metric(*moments, verbose=False).values()
    return float(found)


def torchmetrics(x: Tensor, y: Tensor) -> float:
    """Return torchmetrics' distance."""
    network = Given()
    network.num_features = x.shape[1]
    metric: Any = FrechetInceptionDistance(feature=network, input_img_size=(1, 1, x.shape[1]))
    metric.update(x, real=True)
    metric.update(y, real=False)
    return float(metric.compute())


def litgen(x: Tensor, y: Tensor) -> float:
    """Return litgen's distance."""
    return frechet_distance(x, y).item()


PEERS: dict[str, Distance] = {
    "pytorch-fid": pytorch_fid,
    "torch-fidelity": torch_fidelity,
    "torchmetrics": torchmetrics,
}


def run(options: Options, count: int = COUNT, dims: int = DIMS) -> Iterator[dict[str, Any]]:
    """Yield the result; a slice is one distance, since each takes seconds."""
    x, y = features(count, dims)
    values: dict[str, float] = {}

    def contender(name: str, distance: Distance) -> Contender:
        def work() -> int:
            values[name] = distance(x, y)
            return 1

        return Contender(name, work)

    everyone = [
        contender(name, distance) for name, distance in (PEERS | {"litgen": litgen}).items()
    ]
    rates = harness.race(everyone, options.rounds, 0.0)
    yield {
        "name": "frechet",
        "ratio_fastest": harness.compare(rates, "litgen", list(PEERS)),
        "ratio_pytorch_fid": harness.compare(rates, "litgen", ["pytorch-fid"]),
        "seconds": {n: round(1 / statistics.median(r), 2) for n, r in rates.items()},
        "values": values,
        "relative_difference": {n: abs(values[n] / values["litgen"] - 1) for n in PEERS},
        "units": f"distances of {count} x {dims} features, in CPU seconds, moments included",
        "rounds": options.rounds,
        "versions": harness.versions(
            ("litgen", "torch", "numpy", "scipy", "pytorch-fid", "torch-fidelity", "torchmetrics")
        ),
    }
