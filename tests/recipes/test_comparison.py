"""Proof for litgen/recipes/comparison.py: the truth itself, models known to be worse, bad ones."""

import inspect
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from litgen import runs
from litgen.data import moons
from litgen.data.sources import Split
from litgen.evaluation.energy import energy_distance
from litgen.recipes import comparison

HALVES = torch.distributions.Normal(0.0, 0.8)


def shifted(count: int, generator: torch.Generator) -> Tensor:
    """Draw from the truth moved a fifth to the right."""
    return moons.sample(count, generator) + torch.tensor([0.2, 0.0])


def shifted_log_prob(x: Tensor) -> Tensor:
    """Return the log-density of `shifted`."""
    return moons.log_prob(x - torch.tensor([0.2, 0.0]))


def blob(count: int, generator: torch.Generator) -> Tensor:
    """Draw from one round Gaussian."""
    return 0.8 * torch.randn(count, 2, generator=generator)


def blob_log_prob(x: Tensor) -> Tensor:
    """Return the log-density of `blob`."""
    return HALVES.log_prob(x).sum(dim=-1)


@pytest.fixture
def fewer(monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """Compare with 2,000 test points, a twenty-fifth of the work; return them."""
    load = moons.load

    def part(split: Split) -> moons.PointSet:
        whole = load(split)
        return moons.PointSet(whole.points[:2_000], whole.labels[:2_000], whole.record)

    monkeypatch.setattr(moons, "load", part)
    monkeypatch.setattr(comparison, "SAMPLES", 2_000)
    return part("test").points


def test_training_points_are_the_training_set() -> None:
    """Not the test set."""
    assert torch.equal(comparison.train_points(), moons.load("train").points)


def test_the_grid_reads_like_a_page() -> None:
    """Centres of cells, left to right, the upper row first."""
    axis = [-1.65, -0.55, 0.55, 1.65]
    expected = torch.tensor([[x, y] for y in reversed(axis) for x in axis])
    torch.testing.assert_close(comparison.grid(4), expected)
    assert comparison.grid().shape == (100 * 100, 2)
    total = moons.log_prob(comparison.grid().double()).exp().sum() * (4.4 / 100) ** 2
    assert total.item() == pytest.approx(1, abs=1e-4)


def test_a_perfect_model_scores_the_entropy_and_the_floor() -> None:
    """Its energy distance is as far from 0 as a fresh draw's: about the noise of the estimate."""
    found = comparison.score(moons.sample, moons.log_prob)
    assert set(found) == {"energy_distance", "energy_floor", "test_nll_nats", "entropy_nats"}
    assert found["test_nll_nats"] == found["entropy_nats"]
    test = moons.load("test").points
    assert found["entropy_nats"] == pytest.approx(-moons.log_prob(test).mean().item(), rel=1e-6)
    drawn = moons.sample(10_000, torch.Generator().manual_seed(0))
    expected = energy_distance(drawn, test).item()
    assert found["energy_distance"] == pytest.approx(expected, abs=1e-7)
    assert max(abs(found["energy_distance"]), abs(found["energy_floor"])) < 5e-4
    assert found["energy_distance"] != found["energy_floor"]


def test_worse_models_score_worse_in_order(fewer: Tensor) -> None:
    """A small shift costs little, one Gaussian for two moons much, on both scores."""
    rows = [
        comparison.score(moons.sample, moons.log_prob),
        comparison.score(shifted, shifted_log_prob),
        comparison.score(blob, blob_log_prob),
    ]
    for name in ("energy_distance", "test_nll_nats"):
        assert rows[0][name] + 0.005 < rows[1][name]
    assert rows[1]["energy_distance"] == pytest.approx(0.03, abs=0.015)
    assert rows[0]["test_nll_nats"] + 0.5 < rows[2]["test_nll_nats"]
    expected = -blob_log_prob(fewer).mean().item()
    assert rows[2]["test_nll_nats"] == pytest.approx(expected, rel=1e-5)
    assert len({row["entropy_nats"] for row in rows}) == 1
    assert len({row["energy_floor"] for row in rows}) == 1


def test_a_model_without_a_density_has_no_likelihood(fewer: Tensor) -> None:
    """And no entropy beside it."""
    assert set(comparison.score(blob)) == {"energy_distance", "energy_floor"}


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        (lambda n, g: blob(n - 1, g), r"10000 points of the plane expected, got \(9999, 2\)"),
        (lambda n, g: torch.randn(n, 3, generator=g), r"got \(10000, 3\)"),
        (lambda n, g: torch.randn(n, generator=g), r"got \(10000,\)"),
        (lambda n, g: blob(n, g) / torch.zeros(n, 1), "not finite"),
    ],
)
def test_bad_samplers_are_refused(sampler: comparison.Sampler, message: str) -> None:
    """Too few points, a third coordinate, no coordinates, infinities."""
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(comparison.score)(sampler)


@pytest.mark.parametrize(
    ("log_prob", "message"),
    [
        (lambda x: blob_log_prob(x)[:, None], r"got \(1000, 1\) for 1000 points"),
        (lambda x: blob_log_prob(x).mean(), r"got \(\) for 1000 points"),
        (lambda x: blob_log_prob(x).where(x[:, 0] < 1, -math.inf), "not finite"),
        (lambda x: blob_log_prob(x).where(x[:, 0] < 1, math.nan), "not finite"),
    ],
    ids=["column", "mean", "minus infinity", "nan"],
)
def test_bad_densities_are_refused(
    log_prob: comparison.LogProb, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One finite number a point; a mean over the batch would pass as a likelihood."""
    monkeypatch.setattr(comparison, "energy_distance", lambda *_: torch.zeros(()))
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(comparison.score)(blob, log_prob)


def test_a_package_holds_weights_samples_density_and_metrics(fewer: Tensor) -> None:
    """Each tensor from its own source, the density in the grid's order, records of the data."""
    weight = torch.nn.Parameter(torch.arange(6.0).view(2, 3))
    model = {"weight": weight, "bias": torch.zeros(3)}
    run = comparison.package(model, shifted, shifted_log_prob, {"loss": [2.0, 1.0]})
    assert set(run.tensors) == {"model.weight", "model.bias", "samples", "log_density"}
    assert torch.equal(run.tensors["model.weight"], weight.detach())
    assert not run.tensors["model.weight"].requires_grad
    drawn = shifted(2_000, torch.Generator().manual_seed(2))
    assert torch.equal(run.tensors["samples"], drawn)
    assert run.tensors["log_density"].shape == (100, 100)
    for row, column in ((0, 0), (10, 70), (99, 40)):
        x, y = (column + 0.5) * 0.044 - 2.2, 2.2 - (row + 0.5) * 0.044
        expected = shifted_log_prob(torch.tensor([[x, y]])).item()
        assert run.tensors["log_density"][row, column].item() == pytest.approx(expected, rel=1e-4)
    assert run.metrics == comparison.score(shifted, shifted_log_prob) | {"parameters": 9}
    assert run.history == {"loss": [2.0, 1.0]}
    assert [(r["name"], r["title"], r["split"]) for r in run.data] == [
        ("moons", "two moons", "train"),
        ("moons", "two moons", "test"),
    ]
    assert [r["checksum"] for r in run.data] == [moons.CHECKSUM["train"], moons.CHECKSUM["test"]]
    assert run.stand_in is False


def test_a_package_without_a_density_survives_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `runs` stores it; the map of log-densities stays finite in half precision."""
    monkeypatch.setattr(comparison, "score", lambda *_: {"energy_distance": 0.5})
    run = comparison.package({}, blob)
    assert set(run.tensors) == {"samples"}
    assert run.metrics == {"energy_distance": 0.5, "parameters": 0}
    assert run.history == {}
    steep = comparison.package(
        {}, blob, lambda x: (x[:, 0] < 1).double().log() - 1e6 * x[:, 1].relu()
    )
    kept = steep.tensors["log_density"].half()
    assert kept.isfinite().all()
    assert kept.min() < -59_000
    steep.provenance = dict.fromkeys(runs.FIELDS, 0)
    runs.save(steep, tmp_path / "x.safetensors")
    back = runs.load(tmp_path / "x.safetensors")
    assert back.titles == "two moons"
    assert back.metrics["parameters"] == 0
