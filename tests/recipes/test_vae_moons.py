"""Proof for litgen/recipes/vae/moons.py: quadrature over the code, and a tiny training."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from litgen import runs
from litgen.data import moons as two_moons
from litgen.recipes import comparison
from litgen.recipes.vae import moons
from tests import oracles

TINY = moons.Config(hidden=(24, 16), steps=500, batch_size=100, learning_rate=5e-3, samples=60)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trained() -> tuple[moons.MoonVAE, list[float]]:
    """Return a tiny VAE and its losses."""
    steps = list(moons.fit(TINY, comparison.train_points(), seed=1))
    return moons.half_rounded_model(steps[-1].model), [step.loss.item() for step in steps]


def evidence(model: moons.MoonVAE, x: Tensor) -> Tensor:
    """Return p(x) by quadrature over the plane of codes."""
    model = model.double()
    decoded, scale = model.decoder, model.log_scale.exp()

    def joint(z: Tensor) -> Tensor:
        prior = torch.exp(-z.square().sum(dim=1) / 2) / (2 * math.pi)
        squares = (decoded.net(z) - x).square().sum(dim=1)
        return prior * torch.exp(-squares / (2 * scale**2)) / (2 * math.pi * scale**2)

    return oracles.integrate_plane(joint, extent=5, nodes=161)


def test_the_density_is_the_integral_over_codes(
    trained: tuple[moons.MoonVAE, list[float]],
) -> None:
    """eq:importance-bound: with enough codes as good as exact; with 100 within 0.02 nats below."""
    model = trained[0]
    x = two_moons.load("test").points[:20]
    many, few = (moons.log_prob(model, x, count).double() for count in (4_000, 100))
    double = moons.MoonVAE(TINY).requires_grad_(False)
    double.load_state_dict(model.state_dict())
    exact = torch.stack([evidence(double, place.double()) for place in x]).log()
    assert exact.std() > 0.3
    assert (many - exact).mean().abs() < 0.01
    assert -0.04 < (few - exact).mean() < 0.02
    assert torch.equal(moons.log_prob(model, x, 100), few.float()), "one function, not a draw"


def test_training_raises_the_bound(trained: tuple[moons.MoonVAE, list[float]]) -> None:
    """Well below the 2.1 nats that one Gaussian needs for these points."""
    losses = trained[1]
    assert len(losses) == 500
    assert losses[0] > 2.3
    assert sum(losses[-50:]) / 50 < 1.9
    assert trained[0].log_scale.exp() < 0.7
    assert not any(p.requires_grad for p in trained[0].parameters())


def test_a_sample_is_a_decoded_code_plus_noise() -> None:
    """With a decoder that is linear the points are Gaussian, of known mean and covariance."""
    model = moons.MoonVAE(dataclasses.replace(TINY, hidden=()))
    weight, bias = model.decoder.net[0].weight.detach(), model.decoder.net[0].bias.detach()
    model.log_scale.data.fill_(math.log(0.5))
    weight.copy_(torch.tensor([[1.0, 0.5], [-0.3, 0.2]]))
    with torch.no_grad():
        x = moons.draw(model, 20_000, torch.Generator().manual_seed(0))
    covariance = weight @ weight.T + 0.25 * torch.eye(2)
    assert (x.mean(dim=0) - bias).abs().max() < 4 * (1.5 / 20_000) ** 0.5
    assert (x.T.cov() - covariance).abs().max() < 0.05
    again = moons.draw(model, 20_000, torch.Generator().manual_seed(0))
    assert torch.equal(again, x)


def test_a_run_survives_the_store(tmp_path: Path) -> None:
    """Measured again after it, its weights give the same numbers; samples come from them."""
    config = dataclasses.replace(TINY, steps=20, samples=2)
    run = runs.train("vae/moons", "cpu", config=config)
    runs.save(run, tmp_path / "run.safetensors")
    back = runs.load(tmp_path / "run.safetensors")
    assert moons.evaluate(back, CPU) == pytest.approx(run.metrics, rel=1e-7)
    assert set(run.metrics) >= {"energy_distance", "energy_floor", "test_nll_nats", "parameters"}
    drawn = moons.sample(back, 2_000, torch.Generator().manual_seed(2))
    assert (drawn - back.tensors["samples"].float()).abs().max() < 2e-3
    places = comparison.grid()[4_000:4_100]
    density = moons.log_prob(moons.restore(back), places, 2)
    assert (density - back.tensors["log_density"].float()[40]).abs().median() < 0.5
    assert len(run.history["train_loss_nats"]) == 20
    assert run.metrics["parameters"] == sum(p.numel() for p in moons.MoonVAE(TINY).parameters())


def test_the_configs_name_their_data() -> None:
    """The moons and nothing else; two sizes of one model."""
    assert moons.data(moons.CPU) == moons.data(moons.GPU) == ("moons",)
    assert moons.GPU.steps > moons.CPU.steps
    one, again, other = (
        next(moons.fit(TINY, comparison.train_points(), seed)).loss for seed in (1, 1, 2)
    )
    assert one == again != other
