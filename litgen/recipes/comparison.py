"""What every family leaves of its fit to the two moons, so that they stand in one table.

Chapter: book/start/why_generative.md.  Proof: tests/recipes/test_comparison.py.

A family's recipe is called ``<family>/moons`` or ``<family>/<model>_moons``. It trains on
``train_points()`` and returns ``package(...)``.
"""

import dataclasses
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from litgen.data import moons
from litgen.evaluation.energy import energy_distance
from litgen.runs import Run
from litgen.shapes import Float

__all__ = ["EXTENT", "GRID", "SAMPLES", "grid", "package", "score", "train_points"]

SAMPLES = 10_000
"""Points that are drawn from a model and compared with as many test points."""

EXTENT = 2.2
"""Densities are shown from -EXTENT to EXTENT on both axes."""

GRID = 100
"""Places along one side of the square on which a density is kept."""

Sampler = Callable[[int, torch.Generator], Float[Tensor, "count 2"]]
LogProb = Callable[[Float[Tensor, "count 2"]], Float[Tensor, " count"]]


def train_points() -> Float[Tensor, "count 2"]:
    """Return the 10,000 training points."""
    return moons.load("train").points


def grid(count: int = GRID) -> Float[Tensor, "places 2"]:
    """Return the centres of count x count cells, the row with the largest y first."""
    axis = (torch.arange(count) + 0.5) / count * 2 * EXTENT - EXTENT
    x, y = torch.meshgrid(axis, axis.flip(0), indexing="xy")
    return torch.stack([x, y], dim=-1).view(-1, 2)


def score(sampler: Sampler, log_prob: LogProb | None = None) -> dict[str, float]:
    """Return the shared metrics of a model.

    ``energy_distance`` of its samples from the test set; ``energy_floor``, the same number for a
    fresh draw from the true density; and, if the model has a density, ``test_nll_nats``, with
    ``entropy_nats``, what the true density scores on the same points.

    Raises:
        ValueError: samples or log-densities of the wrong shape, or not finite.
    """
    test = moons.load("test").points
    drawn = sampler(SAMPLES, torch.Generator().manual_seed(0)).float().cpu()
    if drawn.shape != test.shape:
        raise ValueError(f"{SAMPLES} points of the plane expected, got {tuple(drawn.shape)}")
    real = moons.sample(SAMPLES, torch.Generator().manual_seed(1))
    metrics = {
        "energy_distance": energy_distance(drawn, test).item(),
        "energy_floor": energy_distance(real, test).item(),
    }
    if log_prob is not None:
        values = torch.cat([log_prob(part).float().cpu() for part in test.split(1_000)])
        if values.shape != test.shape[:1] or not values.isfinite().all():
            raise ValueError(f"one finite log-density a point expected, got {tuple(values.shape)}")
        metrics["test_nll_nats"] = -values.mean().item()
        metrics["entropy_nats"] = -moons.log_prob(test).mean().item()
    return metrics


def package(
    model: Mapping[str, Tensor],
    sampler: Sampler,
    log_prob: LogProb | None = None,
    history: Mapping[str, list[float]] | None = None,
) -> Run:
    """Return a run: weights, 2,000 samples, the log-density on the grid, and the shared metrics.

    Args:
        model: the parameters by name, as they are stored.
        sampler: draws points, given how many and a CPU generator.
        log_prob: log-density in nats, for the families that have one.
        history: curves of the training.
    """
    tensors = {f"model.{name}": value.detach().cpu() for name, value in model.items()}
    tensors["samples"] = sampler(2_000, torch.Generator().manual_seed(2)).float().cpu()
    if log_prob is not None:
        parts = [log_prob(part).float().cpu() for part in grid().split(1_000)]
        tensors["log_density"] = torch.cat(parts).view(GRID, GRID)
    metrics = score(sampler, log_prob)
    metrics["parameters"] = sum(value.numel() for value in model.values())
    records = [
        dataclasses.asdict(moons.load(split).record)
        | {"name": "moons", "title": "two moons", "split": split}
        for split in ("train", "test")
    ]
    return Run(tensors=tensors, metrics=metrics, history=dict(history or {}), data=records)
