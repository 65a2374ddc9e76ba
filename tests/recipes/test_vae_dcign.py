"""Proof for litgen/recipes/vae/dcign.py and dcign_plain.py, on a tiny set of scenes."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from litgen import runs
from litgen.data import rendered
from litgen.data.sources import Record
from litgen.recipes.vae import dcign, dcign_plain

CPU = torch.device("cpu")
TINY = dcign.Config(channels=4, hidden=16, turns=12, share=6, mixed=False)
TINY_GPU = dataclasses.replace(dcign.GPU, channels=4, hidden=16, turns=3, share=4)


def scenes(split: str) -> rendered.SceneSet:
    """Return eight clamped batches, or 40 free scenes."""
    random = np.random.default_rng(3)
    varied = torch.arange(8) % 4 if split == "train" else torch.zeros(0, dtype=torch.long)
    factors = rendered.clamped_factors(varied, random)
    if split == "test":
        factors = torch.from_numpy(random.uniform(-1, 1, (40, 4))).float()
    record = Record("heads", "rendered", "none", "none", split, {split: len(factors)}, True)
    return rendered.SceneSet(rendered.render(factors), factors, varied, record)


@pytest.fixture
def _tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the tiny sets in the place of the large ones; keep the precision as it was."""
    before = torch.get_float32_matmul_precision()
    sets = {split: scenes(split) for split in ("train", "test")}
    monkeypatch.setattr(dcign.rendered, "load", sets.__getitem__)
    yield
    torch.set_float32_matmul_precision(before)


def with_provenance(run: runs.Run, config: dcign.Config) -> runs.Run:
    """Add what the store would add and the recipe reads."""
    run.provenance["config"] = dataclasses.asdict(config)
    return run


@pytest.mark.parametrize("config", [TINY, dataclasses.replace(TINY, clamp=False), TINY_GPU])
@pytest.mark.usefixtures("_tiny")
def test_a_run_can_be_restored_sampled_and_measured_anew(config: dcign.Config) -> None:
    """Weights, codes and metrics belong together; the tables are those of the stored codes."""
    run = with_provenance(dcign.train(config, 0, CPU), config)
    model = dcign.restore(run)
    x = scenes("test").images.flatten(1).float() / 255
    mean, _ = model.encoder(x)
    torch.testing.assert_close(run.tensors["examples.code"], mean, atol=1e-4, rtol=1e-4)
    for i, name in enumerate(rendered.FACTORS):
        table = np.corrcoef(mean.T.numpy(), scenes("test").factors.T.numpy())[:4, 4:] ** 2
        assert run.metrics[f"own_r2_{name}"] == pytest.approx(table[i, i], abs=1e-3)
        assert run.metrics[f"best_r2_{name}"] == pytest.approx(table[:, i].max(), abs=1e-3)
    error = 255 * (model.decoder(mean) - x).square().mean().sqrt().item()
    assert run.metrics["test_rmse_grey_levels"] == pytest.approx(error, rel=1e-3)
    again = dcign.evaluate(run, CPU)
    assert again == pytest.approx(run.metrics, rel=1e-3)
    pictures = dcign.sample(run, 3, torch.Generator().manual_seed(0))
    assert pictures.shape == (3, 1, 28, 28)
    assert 0 <= pictures.min() <= pictures.max() <= 1
    assert run.tensors["snapshots.turn"][-1] == config.turns
    assert run.tensors["snapshots.code"].shape == (len(run.tensors["snapshots.turn"]), 40, 4)
    assert len(run.history["train_loss_nats"]) == config.turns
    assert [d["split"] for d in run.data] == ["train", "test"]
    assert dcign.data(config) == ("rendered",)


def clamped_by_hand(head: Tensor) -> Tensor:
    """Return codes of four batches of five, each latent but its own at the batch's mean."""
    out = head.clone()
    for k in range(4):
        for j in range(4):
            if j != k:
                out[5 * k : 5 * k + 5, j] = head[5 * k : 5 * k + 5, j].mean()
    return out


@pytest.mark.parametrize("clamp", [True, False])
def test_the_loss_is_the_negative_bound_of_the_clamped_codes(clamp: bool) -> None:
    """eq:dcign-bound by torch.distributions: batch k moves latent k; or the plain bound."""
    torch.manual_seed(0)
    config = dataclasses.replace(TINY, clamp=clamp)
    model = dcign.build(config)
    with torch.no_grad():
        model.encoder.net[-1].weight.mul_(3)
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(20, 784, generator=generator)
    noise = torch.randn(20, 4, generator=generator)
    with torch.no_grad():
        heads = model.encoder(x)
        mean, log_var = (clamped_by_hand(h) if clamp else h for h in heads)
        sd = (0.5 * log_var).exp()
        pixels = Normal(model.decoder(mean + sd * noise), model.log_scale.exp())
        kl = kl_divergence(Normal(mean, sd), Normal(torch.zeros_like(mean), torch.ones_like(sd)))
        expected = (kl.sum(dim=1) - pixels.log_prob(x).sum(dim=1)).mean()
        found = dcign.loss_of(config, model, x, noise)
    torch.testing.assert_close(found.double(), expected.double(), rtol=1e-4, atol=1e-3)
    assert heads[0].std(dim=0).min() > 1e-3


@pytest.mark.usefixtures("_tiny")
def test_a_step_sees_one_batch_of_each_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts of a clamped step are of one clamped batch each, in the factors' order."""
    train_set, seen = scenes("train"), []

    def spy(config: Any, model: Any, x: Tensor, noise: Tensor) -> Tensor:
        seen.append(x.clone())
        return sum(p.square().sum() for p in model.parameters())

    monkeypatch.setattr(dcign, "loss_of", spy)
    for _ in dcign.fit(TINY, train_set, 0, CPU):
        pass
    known = train_set.images.flatten(1).float() / 255
    where = set()
    for x in seen:
        origin = [int((known - row).abs().sum(dim=1).argmin()) // rendered.BATCH for row in x]
        parts = [set(origin[k * 6 : k * 6 + 6]) for k in range(4)]
        assert all(len(p) == 1 for p in parts)
        assert [int(train_set.varied[p.pop()]) for p in parts] == [0, 1, 2, 3]
        assert len(x.unique(dim=0)) == 24
        where.add(origin[0])
    assert len(where) == 2
    assert not torch.equal(seen[0], seen[2])


def test_the_plain_recipe_differs_in_the_clamp_alone() -> None:
    """Same data, networks and length, on both profiles."""
    for ours, plain in ((dcign.CPU, dcign_plain.CPU), (dcign.GPU, dcign_plain.GPU)):
        assert ours.clamp
        assert dataclasses.replace(plain, clamp=True) == ours
    assert dcign_plain.train is dcign.train
