"""Proof for litgen/recipes/density/ppca_moons.py: one Gaussian on the real moons."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from litgen import runs
from litgen.recipes import comparison
from litgen.recipes.density import ppca_moons


@pytest.fixture(scope="module")
def run() -> runs.Run:
    """Return the run of the recipe's only config."""
    precision = torch.get_float32_matmul_precision()
    found = runs.train("density/ppca_moons", "cpu", config=ppca_moons.CPU)
    torch.set_float32_matmul_precision(precision)
    return found


def judge() -> MultivariateNormal:
    """Return the Gaussian with the training points' mean and covariance."""
    x = comparison.train_points().double().numpy()
    covariance = torch.from_numpy(np.cov(x.T, bias=True))
    return MultivariateNormal(torch.from_numpy(x.mean(axis=0)), covariance)


def test_one_latent_in_the_plane_is_a_full_gaussian(run: runs.Run) -> None:
    """The stored density is the sample's Gaussian, up to the half precision of its parameters."""
    expected = judge().log_prob(comparison.grid().double()).view(100, 100)
    assert expected.std() > 1
    torch.testing.assert_close(run.tensors["log_density"].double(), expected, rtol=0.01, atol=0.01)
    assert run.metrics["parameters"] == 5


def test_a_gaussian_misses_the_moons(run: runs.Run) -> None:
    """Half a nat above the entropy, and many times the distance of a fresh draw."""
    metrics = run.metrics
    area = judge().entropy().item()  # of training data's Gaussian: what it says of its own kind
    assert metrics["test_nll_nats"] == pytest.approx(area, abs=0.02)
    assert metrics["test_nll_nats"] > metrics["entropy_nats"] + 0.5
    assert metrics["energy_distance"] > 20 * abs(metrics["energy_floor"])


def test_samples_follow_the_model(run: runs.Run) -> None:
    """Mean and covariance of 40,000 draws, within six standard errors; drawn by the generator."""
    count = 40_000
    drawn = ppca_moons.sample(run, count, torch.Generator().manual_seed(0)).double()
    law = judge()
    variance = law.covariance_matrix.diagonal()
    assert (drawn.mean(dim=0).abs() < 6 * (variance / count).sqrt() + 1e-3).all()
    error = 6 * variance.max() * math.sqrt(2 / count) + 1e-3
    assert ((torch.cov(drawn.T) - law.covariance_matrix).abs() < error).all()
    again = ppca_moons.sample(run, 5, torch.Generator().manual_seed(3))
    assert torch.equal(again, ppca_moons.sample(run, 5, torch.Generator().manual_seed(3)))
    assert not torch.equal(again, ppca_moons.sample(run, 5, torch.Generator().manual_seed(4)))


def test_the_run_survives_the_store(run: runs.Run, tmp_path: Path) -> None:
    """Parameters are stored exactly: the same density after loading."""
    runs.save(run, tmp_path / "run.safetensors")
    back = ppca_moons.restore(runs.load(tmp_path / "run.safetensors"))
    x = comparison.grid(10)
    torch.testing.assert_close(
        back.log_prob(x), ppca_moons.restore(run).log_prob(x), rtol=0, atol=0
    )
    assert run.provenance["config"] == {"latent": 1}
    assert ppca_moons.data(ppca_moons.CPU) == ("moons",)
    assert ppca_moons.CPU == ppca_moons.GPU


def test_evaluating_scores_the_stored_model(
    run: runs.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is handed to the shared metrics: the sampler and the density of the run."""
    monkeypatch.setattr(
        comparison,
        "score",
        lambda sampler, log_prob: {
            "first": sampler(3, torch.Generator().manual_seed(1)).sum().item(),
            "second": log_prob(torch.ones(2, 2)).sum().item(),
        },
    )
    found = ppca_moons.evaluate(run, torch.device("cpu"))
    drawn = ppca_moons.sample(run, 3, torch.Generator().manual_seed(1))
    assert found["first"] == pytest.approx(drawn.sum().item())
    assert found["second"] == pytest.approx(judge().log_prob(torch.ones(2)).item() * 2, abs=0.05)


def test_what_is_measured_is_what_is_stored(
    run: runs.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The density that is scored has the parameters in half precision already."""
    seen: dict[str, Any] = {}

    def package(parts: dict[str, Tensor], _: Any, log_prob: Any) -> runs.Run:
        seen.update(parts, log_prob=log_prob)
        return run

    monkeypatch.setattr(comparison, "package", package)
    ppca_moons.train(ppca_moons.CPU, 0, torch.device("cpu"))
    x = comparison.grid(10)
    expected = ppca_moons.restore(run).log_prob(x)
    torch.testing.assert_close(seen["log_prob"](x), expected, rtol=0, atol=0)
    assert all(torch.equal(seen[k], seen[k].half().float()) for k in ("mean", "weight"))


def test_two_latents_leave_no_noise() -> None:
    """The plane has two dimensions."""
    with pytest.raises(ValueError, match="from 0 to 1 in 2 dimensions, got 2"):
        ppca_moons.train(ppca_moons.Config(latent=2), 0, torch.device("cpu"))
