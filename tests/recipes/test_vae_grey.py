"""Proof for litgen/recipes/vae/grey.py, on a tiny data set in MNIST's format."""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, ContinuousBernoulli, Normal, kl_divergence

from litgen import runs
from litgen.data.sources import ImageSet, Record
from litgen.recipes import pictures
from litgen.recipes.vae import grey as recipe
from tests import oracles

CPU = torch.device("cpu")
SIDE, PIXELS = 8, 64
TINY = dataclasses.replace(
    recipe.CPU,
    hidden=(12,),
    latent=3,
    steps=6,
    batch_size=16,
    test_images=40,
    samples=4,
    mixed=False,
)
NAMES = recipe.Config.likelihoods
Sets = dict[str, ImageSet]


def blobs(count: int, split: str, seed: int) -> ImageSet:
    """Return 8x8 images of a bright bar on grey noise, with many exact zeros."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 60, (count, 1, SIDE, SIDE), generator=generator)
    images[:, :, :2] = 0
    places = torch.randint(2, SIDE, (count,), generator=generator).tolist()
    for image, place in zip(images, places, strict=True):
        image[0, place] = 250
    record = Record("blobs", f"drawn, {split}", "none", "none", f"{split}{seed}", {}, True)
    return ImageSet(images.to(torch.uint8), torch.zeros(count, dtype=torch.long), record)


@pytest.fixture(autouse=True)
def sets(monkeypatch: pytest.MonkeyPatch) -> Sets:
    """Put the blobs in the place of both data sets."""
    made = {"train": blobs(200, "train", 1), "test": blobs(60, "test", 2)}
    for name in ("mnist", "fashion_mnist"):
        monkeypatch.setitem(pictures.LOADERS, name, made.__getitem__)
    return made


@pytest.fixture(autouse=True)
def _precision() -> Iterator[None]:
    """Undo what runs.train sets for the whole process."""
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def outputs_of(name: recipe.Likelihood) -> tuple[recipe.GreyVAE, Tensor]:
    """Return a model and one image's decoder outputs, some far out."""
    model = recipe.GreyVAE(TINY, name, PIXELS)
    outputs = torch.linspace(-0.4, 1.4, PIXELS)
    if name in ("bernoulli_as_if", "continuous_bernoulli"):
        outputs = 10 * (outputs - 0.5)
    return model, outputs


@pytest.mark.parametrize("name", NAMES)
def test_all_likelihoods_are_probabilities_over_the_same_values(name: recipe.Likelihood) -> None:
    """Whatever training raised, P over the 256 values of each pixel sums to one."""
    model, outputs = outputs_of(name)
    for pixel in range(0, PIXELS, 9):
        total = model.log_probability(
            torch.arange(256.0)[:, None], outputs[pixel].expand(256, 1)
        ).exp()
        assert total.sum().item() == pytest.approx(1, abs=1e-4)
        assert total.std() > 0


@pytest.mark.parametrize("name", NAMES)
def test_objectives_are_those_of_torch(name: recipe.Likelihood) -> None:
    """The densities at (v + u) / 256, the others at v / 255, by torch and by scipy's bins."""
    model, outputs = outputs_of(name)
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(0, 256, (5, PIXELS), generator=generator).float()
    noise = torch.rand(5, PIXELS, generator=generator)
    x = (values + noise) / 256
    with torch.no_grad():
        found = model.objective(values, outputs.expand(5, PIXELS), noise)
    if name == "bernoulli_as_if":
        law = Bernoulli(logits=outputs, validate_args=False)
        expected = law.log_prob(values / 255).sum(dim=1)
    elif name == "continuous_bernoulli":
        expected = ContinuousBernoulli(logits=outputs).log_prob(x).sum(dim=1)
    elif name == "gaussian":
        expected = Normal(outputs, model.log_scale.exp().item()).log_prob(x).sum(dim=1)
    else:
        scale = model.log_scale.exp().item()
        bins = [oracles.logistic_bins(m, scale) for m in outputs.tolist()]
        expected = torch.tensor(
            [sum(math.log(bins[j][int(v)]) for j, v in enumerate(row)) for row in values.tolist()]
        )
    torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=3e-3)
    assert found.std() > 0.1


def test_pictures_are_means() -> None:
    """s(l), the continuous Bernoulli's mean by torch, and the mean itself cut to [0, 1]."""
    line = torch.tensor([-4.0, -0.7, 0.9, 6.0])
    found = {name: recipe.GreyVAE(TINY, name, PIXELS).picture(line) for name in NAMES}
    torch.testing.assert_close(found["bernoulli_as_if"], 1 / (1 + (-line).exp()))
    mean = ContinuousBernoulli(logits=line.double()).mean.float()
    torch.testing.assert_close(found["continuous_bernoulli"], mean, rtol=1e-4, atol=1e-4)
    for name in ("gaussian", "discretized_logistic"):
        torch.testing.assert_close(found[name], torch.tensor([0.0, 0.0, 0.9, 1.0]))


@pytest.mark.parametrize("name", NAMES)
def test_the_first_loss_is_the_negative_elbo(name: recipe.Likelihood, sets: Sets) -> None:
    """eq:elbo-estimator with the KL by torch.distributions: sums, and the mean over the batch."""
    pixels = sets["train"].images.flatten(1)
    config = dataclasses.replace(TINY, learning_rate=0.0)
    now = next(recipe.fit(config, name, pixels, seed=5))
    shuffle, draw = (torch.Generator().manual_seed(5) for _ in range(2))
    batch = pixels[torch.randperm(200, generator=shuffle)[:16]].float()
    noise = torch.randn(16, 3, generator=draw)
    spread = torch.rand(16, PIXELS, generator=draw)
    mean, log_var = now.model.encoder(batch / 255)
    q = Normal(mean, log_var.exp().sqrt())
    outputs = now.model.decoder(mean + q.scale * noise)
    kl = kl_divergence(q, Normal(torch.zeros_like(mean), torch.ones_like(mean))).sum(dim=1)
    expected = (kl - now.model.objective(batch, outputs, spread)).sum() / 16
    torch.testing.assert_close(now.loss, expected.detach(), rtol=1e-4, atol=1e-3)
    assert hasattr(now.model, "log_scale") == (name in ("gaussian", "discretized_logistic"))


def test_training_lowers_every_loss() -> None:
    """150 steps on 200 images: each model needs fewer bits than at the start."""
    short = recipe.train(dataclasses.replace(TINY, steps=2), seed=0, device=CPU)
    long = recipe.train(dataclasses.replace(TINY, steps=150), seed=0, device=CPU)
    for name in NAMES:
        key = f"{name}_importance_bits"
        assert long.metrics[key] < short.metrics[key] - 0.1, name
        curve = long.history[f"{name}_loss_nats"]
        assert curve[-1] < curve[0]


def test_measured_bits_are_the_negative_mean_log_probability(sets: Sets) -> None:
    """Each metric by hand from the same noise; importance weighting helps; claims are as said."""
    values = sets["test"].images[:40].flatten(1).float()
    for name in NAMES:
        torch.manual_seed(1)
        model = recipe.GreyVAE(TINY, name, PIXELS).requires_grad_(False)
        found = recipe.measure(TINY, model, values)
        draw = torch.Generator().manual_seed(0)
        noise = torch.randn(40, 3, generator=draw)
        spread = torch.rand(40, PIXELS, generator=draw)
        mean, log_var = model.encode(values)
        q = Normal(mean, log_var.exp().sqrt())
        kl = kl_divergence(q, Normal(torch.zeros_like(mean), torch.ones_like(mean))).sum(dim=1)
        outputs = model.decoder(mean + q.scale * noise)
        bound = (model.log_probability(values, outputs) - kl).mean().item()
        claimed = (model.objective(values, outputs, spread) - kl).mean().item()
        assert found["kl_nats"] == pytest.approx(kl.mean().item(), rel=1e-4)
        assert found["claimed_nats"] == pytest.approx(-claimed, rel=1e-4)
        assert found["elbo_bits"] == pytest.approx(-bound / PIXELS / math.log(2), rel=1e-4)
        assert found["importance_bits"] < found["elbo_bits"] + 0.01
        assert ("dequantized_bits" in found) == (name in ("continuous_bernoulli", "gaussian"))
        if "dequantized_bits" in found:
            loose = -claimed / PIXELS / math.log(2) + 8
            assert found["dequantized_bits"] == pytest.approx(loose, rel=1e-4)
        assert ("scale" in found) == (name in ("gaussian", "discretized_logistic"))
        assert found.get("scale", 0.25) == pytest.approx(0.25)


@pytest.mark.parametrize("network", ["dense", "convolutional"])
def test_the_whole_path_of_a_gpu_config(network: str, tmp_path: Path) -> None:
    """A tiny config through the store, to a file and back: same weights, same metrics."""
    wanted = dataclasses.replace(
        recipe.GPU, hidden=(8,), latent=3, steps=3, batch_size=16, test_images=30, samples=3
    )
    object.__setattr__(wanted, "network", network)
    run = runs.train("vae/grey", "gpu", seed=3, config=wanted)
    runs.save(run, tmp_path / "run.safetensors")
    back = runs.load(tmp_path / "run.safetensors")
    assert recipe.evaluate(back, CPU) == pytest.approx(run.metrics, rel=1e-9)
    assert run.metrics["test_images"] == 30
    assert run.metrics["importance_samples"] == 3
    assert [record["split"] for record in back.data] == ["train", "test"]
    assert recipe.data(wanted) == ("fashion_mnist",)
    found = recipe.models(back)
    assert tuple(found) == NAMES
    best = recipe.restore(back)
    bits = {name: back.metrics[f"{name}_importance_bits"] for name in NAMES}
    assert bits[best.likelihood] == min(bits.values())
    assert not best.training
    assert not any(p.requires_grad for p in best.parameters())
    images = recipe.sample(back, 5, torch.Generator().manual_seed(4))
    assert images.shape == (5, 1, SIDE, SIDE)
    assert 0 <= images.min() < images.max() <= 1
    values = back.tensors["examples.values"]
    assert values.dtype == torch.uint8
    assert values.shape == (30, PIXELS)


def test_a_seed_reproduces_a_run_to_the_bit() -> None:
    """Same seed, same tensors and metrics; another seed, others."""
    first, again, other = (recipe.train(TINY, seed, CPU) for seed in (1, 1, 2))
    torch.testing.assert_close(first.tensors, again.tensors, rtol=0, atol=0)
    assert first.metrics == again.metrics
    assert first.metrics["gaussian_kl_nats"] != other.metrics["gaussian_kl_nats"]


@pytest.mark.usefixtures("unchecked")
def test_what_does_not_fit_is_refused() -> None:
    """A likelihood or network nobody knows; two widths for a convolutional network."""
    with pytest.raises(ValueError, match="unknown likelihood 'poisson'; there are: bernoulli_as"):
        recipe.GreyVAE(TINY, "poisson", PIXELS)  # type: ignore[arg-type]
    wide = dataclasses.replace(TINY, network="convolutional", hidden=(8, 8))
    with pytest.raises(ValueError, match=r"no convolutional network has the widths \(8, 8\)"):
        recipe.GreyVAE(wide, "gaussian", PIXELS)
