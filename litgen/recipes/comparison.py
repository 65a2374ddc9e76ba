"""What every family leaves of its fit to the two moons, so that they stand in one table.

Chapter: book/start/why_generative.md.  Proof: tests/recipes/test_comparison.py.

A family's recipe is called ``<family>/moons`` or ``<family>/<model>_moons``. It trains on
``train_points()`` and returns ``package(...)``.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from litgen.data import moons
from litgen.evaluation.energy import energy_distance
from litgen.runs import Run
from litgen.shapes import Float

__all__ = ["EXTENT", "GRID", "SAMPLES", "grid", "package", "score", "train_points", "yardsticks"]

SAMPLES = 10_000
"""Points that are drawn from a model and compared with as many test points."""

EXTENT = 2.2
"""Densities are shown from -EXTENT to EXTENT on both axes."""

GRID = 100
"""Places along one side of the square on which a density is kept."""

LOWEST = -60_000.0
"""Log-densities below it are kept as this: half precision has no number beyond -65,504."""

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


def yardsticks() -> dict[str, float]:
    """Return what a perfect model scores: ``energy_floor`` (a fresh draw) and ``entropy_nats``."""
    return dict(_yardsticks(SAMPLES))


@functools.cache
def _yardsticks(count: int) -> dict[str, float]:
    test = moons.load("test").points
    real = moons.sample(count, torch.Generator().manual_seed(1))
    entropy = -torch.cat([moons.log_prob(part) for part in test.split(1_000)]).mean().item()
    return {"energy_floor": energy_distance(real, test).item(), "entropy_nats": entropy}


@torch.no_grad()
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
    metrics = {
        "energy_distance": energy_distance(drawn, test).item(),
        "energy_floor": yardsticks()["energy_floor"],
    }
    if log_prob is not None:
        values = _log_densities(log_prob, test)
        if not values.isfinite().all():
            raise ValueError("the log-density of a test point is not finite")
        metrics["test_nll_nats"] = -values.mean().item()
        metrics["entropy_nats"] = yardsticks()["entropy_nats"]
    return metrics


@torch.no_grad()
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
        kept = _log_densities(log_prob, grid()).clamp(min=LOWEST)
        tensors["log_density"] = kept.view(GRID, GRID)
    metrics = score(sampler, log_prob)
    metrics["parameters"] = sum(value.numel() for value in model.values())
    records = [
        dataclasses.asdict(moons.load(split).record)
        | {"name": "moons", "title": "two moons", "split": split}
        for split in ("train", "test")
    ]
    return Run(tensors=tensors, metrics=metrics, history=dict(history or {}), data=records)


def _log_densities(log_prob: LogProb, points: Float[Tensor, "count 2"]) -> Float[Tensor, " count"]:
    """Return log-densities on the CPU, a thousand points at a time; one number a point."""
    parts = []
    for part in points.split(1_000):
        values = log_prob(part).float().cpu()
        if values.shape != part.shape[:1]:
            got = f"{tuple(values.shape)} for {len(part)} points"
            raise ValueError(f"one log-density a point expected, got {got}")
        parts.append(values)
    return torch.cat(parts)
