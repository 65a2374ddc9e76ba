"""Proof for litgen/recipes/vae: evolution.py, evolution_clothes.py, evolution_dense.py, nll.py."""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Normal, kl_divergence

from litgen import runs
from litgen.data.sources import ImageSet, Record
from litgen.recipes.vae import (
    digits,
    evolution,
    evolution_clothes,
    evolution_dense,
    nll,
    plane,
)
from litgen.vae.convolutional import StridedEncoder, TransposedDecoder
from litgen.vae.residual import ResidualBlock, ResidualDecoder, ResidualEncoder

CPU = torch.device("cpu")
SIDE, PIXELS = 8, 64
TINY = dataclasses.replace(
    evolution.CPU, hidden=(4,), epochs=3, batch_size=20, test_images=60, samples=2, mixed=False
)
ALL = {
    "vae/evolution": evolution,
    "vae/evolution_clothes": evolution_clothes,
    "vae/evolution_dense": evolution_dense,
    "vae/nll": nll,
}


def stripes(count: int, split: str, seed: int) -> ImageSet:
    """Return 8x8 images that are bright below a row of their own; the label says which."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, SIDE, (count,), generator=generator)
    bright = torch.arange(SIDE)[None, :, None] >= labels[:, None, None]
    images = (bright * 200 + 20).expand(count, SIDE, SIDE).unsqueeze(1).to(torch.uint8)
    record = Record(
        "stripes", f"drawn, {split}", "none", "none", f"{split}{seed}", {split: count}, True
    )
    return ImageSet(images, labels, record)


@pytest.fixture(autouse=True)
def _data(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the stripes in the place of both data sets; undo what runs.train sets."""
    sets = {"train": stripes(210, "train", 1), "test": stripes(90, "test", 2)}
    for name in ("mnist", "fashion_mnist"):
        monkeypatch.setitem(digits.LOADERS, name, sets.__getitem__)
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("turns", [1, 2, 30, 468, 24_000])
def test_moments_have_equal_ratios(turns: int) -> None:
    """From the first step to the last; 12 powers of one number, rounded, none twice."""
    moments = evolution.log_moments(turns).tolist()
    expected = sorted({round(turns ** (i / 11)) for i in range(12)})
    assert moments == expected
    assert moments[0] == 1
    assert moments[-1] == turns


def test_snapshots_are_those_of_the_training() -> None:
    """Codes, plane and both terms of the bound, from the same training stopped at each moment."""
    run = evolution.train(TINY, seed=3, device=CPU)
    kept = {k.removeprefix("snapshots."): v for k, v in run.tensors.items() if "snapshots." in k}
    assert set(kept) == {"turn", "mean", "log_var", "plane"}
    moments = kept["turn"].tolist()
    assert moments == evolution.log_moments(30).tolist()
    assert kept["plane"].dtype == torch.uint8
    assert kept["plane"].shape == (len(moments), 10, 10, SIDE, SIDE)
    assert kept["mean"].shape == kept["log_var"].shape == (len(moments), 60, 2)
    x = run.tensors["examples.x"].float()
    noise = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    at = 0
    grey = digits.load_data(TINY)[0].images.flatten(1)
    for now in digits.fit(TINY, grey, seed=3):
        if now.turn + 1 != moments[at]:
            continue
        with torch.no_grad():
            mean, log_var = now.model.encoder(x)
            q = Normal(mean, (log_var / 2).exp())
            logits = now.model.decoder(mean + q.scale * noise)
            corner = torch.sigmoid(now.model.decoder(torch.tensor([[-3.0, 3.0]])))
        torch.testing.assert_close(kept["mean"][at], mean)
        torch.testing.assert_close(kept["log_var"][at], log_var)
        assert (kept["plane"][at, 0, 0].flatten() - 255 * corner[0]).abs().max() <= 0.501
        prior = Normal(torch.zeros_like(mean), torch.ones_like(mean))
        rate = kl_divergence(q, prior).sum(dim=1).mean().item()
        distortion = -Bernoulli(logits=logits).log_prob(x).sum(dim=1).mean().item()
        assert run.history["snapshot_rate_nats"][at] == pytest.approx(rate, rel=1e-4)
        assert run.history["snapshot_distortion_nats"][at] == pytest.approx(distortion, rel=1e-4)
        at += 1
    assert at == len(moments)
    seconds = run.history["snapshot_seconds"]
    assert len(seconds) == len(moments)
    assert seconds == sorted(seconds)
    assert seconds[0] > 0
    assert (kept["mean"][-1] - kept["mean"][0]).abs().max() > 0.01


def test_snapshots_leave_the_training_alone() -> None:
    """Weights, metrics and curve are those that vae/digits gives for the same config and seed."""
    run, plain = evolution.train(TINY, 4, CPU), digits.train(TINY, 4, CPU)
    for name, tensor in plain.tensors.items():
        torch.testing.assert_close(run.tensors[name], tensor, rtol=0, atol=0)
    assert run.metrics == plain.metrics
    assert run.history["train_loss_nats"] == plain.history["train_loss_nats"]
    other = evolution.train(TINY, 5, CPU)
    assert not torch.equal(other.tensors["snapshots.mean"], run.tensors["snapshots.mean"])


def test_only_a_thousand_images_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """More are measured, but not kept at every moment."""
    sets = {"train": stripes(210, "train", 1), "test": stripes(1010, "test", 2)}
    monkeypatch.setitem(digits.LOADERS, "mnist", sets.__getitem__)
    config = dataclasses.replace(TINY, epochs=1, test_images=1005, samples=1)
    run = evolution.train(config, 0, CPU)
    assert run.tensors["snapshots.mean"].shape[1] == 1000
    assert run.metrics["test_images"] == 1005


def test_a_code_that_is_no_plane_is_an_error() -> None:
    """The message says how many dimensions there are."""
    with pytest.raises(ValueError, match="a plane has 2 latent dimensions, the config 3"):
        evolution.train(dataclasses.replace(TINY, latent=3), 0, CPU)


@pytest.mark.parametrize("name", ALL)
def test_the_whole_path_of_a_gpu_config(name: str, tmp_path: Path) -> None:
    """A tiny GPU config through the store, to a file and back: same weights and metrics."""
    gpu = ALL[name].GPU
    hidden = {"dense": (12, 6), "strided": (4,), "residual": (4, 1)}[gpu.network]
    wanted = dataclasses.replace(
        gpu, hidden=hidden, epochs=1, batch_size=30, test_images=50, samples=7
    )
    run = runs.train(name, "gpu", seed=1, config=wanted)
    runs.save(run, tmp_path / "run.safetensors")
    back = runs.load(tmp_path / "run.safetensors")
    module = ALL[name]
    assert module.evaluate(back, CPU) == pytest.approx(run.metrics, rel=1e-12)
    assert back.metrics["importance_samples"] == 7
    assert module.sample(back, 3, torch.Generator()).shape == (3, 1, SIDE, SIDE)
    model = module.restore(back)
    trained = module.train(wanted, 1, CPU).part("model")
    torch.testing.assert_close(dict(model.state_dict()), trained, rtol=0, atol=0)
    if name != "vae/nll":
        shown = plane.decoded_plane(model, plane.SNAPSHOT_SIDE).mul(255)
        # the last snapshot was taken just before the weights were rounded
        assert (shown - back.tensors["snapshots.plane"][-1].float()).abs().max() < 2


def test_the_configs_are_what_the_chapter_compares() -> None:
    """One training, two data sets; a dense rival on the same digits; 50 latents."""
    for profile in ("CPU", "GPU"):
        config = getattr(evolution, profile)
        assert (config.data, config.network, config.latent) == ("mnist", "strided", 2)
        clothes = getattr(evolution_clothes, profile)
        assert clothes == dataclasses.replace(config, data="fashion_mnist")
        dense = getattr(evolution_dense, profile)
        assert (dense.network, dense.data, dense.latent) == ("dense", "mnist", 2)
        assert dense.samples == config.samples
        assert getattr(nll, profile).latent == 50
    assert (nll.CPU.network, nll.GPU.network) == ("dense", "residual")
    assert (nll.GPU.samples, nll.GPU.test_images, nll.GPU.data) == (5_000, 10_000, "mnist")
    assert evolution_clothes.data(evolution_clothes.CPU) == ("fashion_mnist",)


@pytest.mark.parametrize(
    ("network", "hidden", "kinds"),
    [
        ("strided", (5,), (StridedEncoder, TransposedDecoder)),
        ("residual", (6, 2), (ResidualEncoder, ResidualDecoder)),
    ],
)
def test_build_knows_the_networks(
    network: str, hidden: tuple[int, ...], kinds: tuple[type, type]
) -> None:
    """The classes, the first width, the blocks, the code's dimensions and the image's size."""
    config = dataclasses.replace(digits.CPU, network=network, hidden=hidden, latent=7)
    model = digits.build(config)
    assert (type(model.encoder), type(model.decoder)) == kinds
    first = next(m for m in model.encoder.modules() if isinstance(m, nn.Conv2d))
    assert first.out_channels == hidden[0]
    blocks = [m for m in model.encoder.modules() if isinstance(m, ResidualBlock)]
    assert len(blocks) == (0 if len(hidden) == 1 else 2 * hidden[1])
    mean, _ = model.encoder(torch.zeros(2, 784))
    assert mean.shape == (2, 7)
    assert model.decoder(mean).shape == (2, 784)
    wrong = dataclasses.replace(config, hidden=(4, 4, 4))
    takes = "one width" if len(hidden) == 1 else "channels and blocks"
    message = rf"a {network} network takes {takes}, got \(4, 4, 4\)"
    with pytest.raises(ValueError, match=message):
        digits.build(wrong)


def test_a_published_run_fits_its_file() -> None:
    """Weights of the GPU configs in half precision, a thousand images, below four mebibytes."""
    for module in ALL.values():
        model = digits.build(module.GPU)
        weights = 2 * sum(p.numel() for p in model.parameters())
        snapshots = 0 if module is nll else 12 * (100 * 784 + 2 * 1000 * 2 * 2)
        assert weights + snapshots + 1000 * 785 < 0.95 * runs.LIMIT
    assert math.isqrt(784) == 28
