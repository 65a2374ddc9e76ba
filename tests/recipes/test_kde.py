"""Proof for litgen/recipes/density/kde_moons.py and kde_digits.py, on few and small data."""

import dataclasses
import math

import numpy as np
import pytest
import scipy.special
import torch
from sklearn.neighbors import KernelDensity
from torch import Tensor

from litgen import runs
from litgen.data import mnist, moons
from litgen.data.sources import ImageSet, Record
from litgen.recipes import comparison
from litgen.recipes.density import kde_digits, kde_moons

CPU = torch.device("cpu")
SIDE, PIXELS = 4, 16
TINY = kde_digits.Config(counts=(50, 60), folds=5, test_images=30)


def strokes(count: int, split: str, seed: int) -> ImageSet:
    """Return 4x4 images in pairs: ten in a row resemble each other, like a writer's digits."""
    generator = torch.Generator().manual_seed(seed)
    styles = torch.randint(0, 200, (count // 10, 1, SIDE, SIDE), generator=generator)
    noise = torch.randint(0, 40, (count, 1, SIDE, SIDE), generator=generator)
    images = styles.repeat_interleave(10, dim=0) + noise
    record = Record("strokes", "drawn", "none", "none", f"{split}{seed}", {split: count}, True)
    return ImageSet(images.to(torch.uint8), torch.zeros(count, dtype=torch.int64), record)


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> dict[str, ImageSet]:
    """Put the strokes in MNIST's place."""
    sets = {"train": strokes(70, "train", 1), "test": strokes(50, "test", 2)}
    monkeypatch.setattr(mnist, "load", sets.__getitem__)
    return sets


@pytest.fixture
def digits(data: dict[str, ImageSet]) -> runs.Run:
    """Return a tiny run."""
    run = kde_digits.train(TINY, seed=0, device=CPU)
    run.provenance["config"] = dataclasses.asdict(TINY) | {"counts": list(TINY.counts)}
    return run


def pixels(images: Tensor, count: int, seed: int) -> np.ndarray:
    """Dequantise by numpy, with the protocol's noise."""
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(count, PIXELS, generator=generator).double().numpy()
    return (images[:count].reshape(count, PIXELS).double().numpy() + uniform) / 256


def scored(x: np.ndarray, middles: np.ndarray, bandwidth: float) -> float:
    """Return scikit-learn's mean log-density."""
    judge = KernelDensity(bandwidth=bandwidth, rtol=1e-10).fit(middles)
    return float(judge.score_samples(x).mean())


def test_the_curve_is_scikit_learns(data: dict[str, ImageSet], digits: runs.Run) -> None:
    """Test, fold and leave-one-out likelihoods at each number of images, refitted one by one."""
    test = pixels(data["test"].images, 30, 1)
    whole = pixels(data["train"].images, 60, 0)
    assert digits.history["images"] == [50, 60]
    for k, count in enumerate((50, 60)):
        middles, h = whole[:count], digits.history["bandwidth"][k]
        assert digits.history["test_nll_nats"][k] == pytest.approx(
            -scored(test, middles, h), abs=2e-3
        )
        for key, folds in (("folds_nll_nats", 5), ("loo_nll_nats", count)):
            size = count // folds
            parts = [
                scored(
                    middles[i * size : (i + 1) * size],
                    np.delete(middles, range(i * size, (i + 1) * size), axis=0),
                    h,
                )
                for i in range(folds)
            ]
            assert digits.history[key][k] == pytest.approx(-np.mean(parts), abs=2e-3)
    assert digits.history["loo_nll_nats"][1] < digits.history["folds_nll_nats"][1] - 0.1


def test_the_bandwidth_is_the_best_for_the_folds(
    data: dict[str, ImageSet], digits: runs.Run
) -> None:
    """A little more or less of it lowers the folds' likelihood."""
    middles, best = pixels(data["train"].images, 60, 0), digits.metrics["bandwidth"]

    def folds(h: float) -> float:
        parts = [
            scored(middles[i : i + 12], np.delete(middles, range(i, i + 12), axis=0), h)
            for i in range(0, 60, 12)
        ]
        return float(np.mean(parts))

    assert folds(best) > max(folds(best * 0.98), folds(best * 1.02))


def test_metrics_of_the_digits(data: dict[str, ImageSet], digits: runs.Run) -> None:
    """The last fit's numbers; the nearest kernel's share by a softmax in numpy."""
    test, middles = pixels(data["test"].images, 30, 1), pixels(data["train"].images, 60, 0)
    metrics, h = digits.metrics, digits.metrics["bandwidth"]
    squares = ((test[:, None] - middles) ** 2).sum(axis=2)
    share = scipy.special.softmax(-squares / (2 * h * h), axis=1).max(axis=1).mean()
    assert 0.2 < share < 0.999
    assert metrics["nearest_share"] == pytest.approx(share, abs=1e-4)
    distance = math.sqrt(squares.min(axis=1).mean() / PIXELS)
    assert metrics["nearest_distance"] == pytest.approx(distance, rel=1e-4)
    nats = scored(test, middles, h)
    assert metrics["test_nll_nats"] == pytest.approx(-nats, abs=2e-3)
    bits = 8 - nats / (PIXELS * math.log(2))
    assert metrics["test_bits_per_pixel"] == pytest.approx(bits, abs=1e-3)
    for key in ("test_nll_nats", "folds_nll_nats", "loo_nll_nats"):
        assert metrics[key] == pytest.approx(digits.history[key][-1], abs=1e-3)
    assert (metrics["test_images"], metrics["train_images"]) == (30, 60)
    assert [(d["name"], d["split"], d["checksum"]) for d in digits.data] == [
        ("mnist", "train", "train1"),
        ("mnist", "test", "test2"),
    ]
    assert digits.stand_in


def test_digits_are_restored_sampled_and_evaluated(
    data: dict[str, ImageSet], digits: runs.Run
) -> None:
    """The kernels sit on the training images again; samples are those images with noise."""
    model = kde_digits.restore(digits)
    middles = pixels(data["train"].images, 60, 0)
    np.testing.assert_allclose(model.data.double().numpy(), middles, atol=1e-6)
    assert model.bandwidth == digits.metrics["bandwidth"]
    drawn = kde_digits.sample(digits, 500, torch.Generator().manual_seed(3))
    assert drawn.shape == (500, 1, SIDE, SIDE)
    away = torch.cdist(drawn.flatten(1), model.data).min(dim=1).values.square().mean() / PIXELS
    assert 0.7 < away.sqrt() / model.bandwidth < 1.05
    mean = drawn.flatten(1).mean(dim=0) - model.data.mean(dim=0)
    assert mean.abs().max() < 6 * drawn.std() / math.sqrt(500)
    again = kde_digits.evaluate(digits, CPU)
    assert {key: digits.metrics[key] for key in again} == pytest.approx(again)
    assert kde_digits.data(TINY) == ("mnist",)


def test_a_smaller_set_is_used_whole(data: dict[str, ImageSet]) -> None:
    """A stand-in may have fewer images than a config asks for."""
    config = dataclasses.replace(TINY, counts=(20, 1_000, 10_000))
    run = kde_digits.train(config, seed=0, device=CPU)
    assert run.history["images"] == [20.0, 70.0]
    assert len(kde_digits.restore(run).data) == 70


def test_the_protocol_is_the_configs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU profile's model is that of the three chapters: 10,000 and 2,000 images."""
    assert kde_digits.CPU.counts[-1] == 10_000
    assert kde_digits.CPU.test_images == 2_000
    assert kde_digits.GPU.counts[-1] == 60_000
    first = torch.rand(3, 5, generator=torch.Generator().manual_seed(0))
    more = torch.rand(7, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(first, more[:3]), "the noise of the first images is that of the protocol"


@pytest.fixture
def flat(monkeypatch: pytest.MonkeyPatch) -> runs.Run:
    """Return a fit to few points of the moons, scored on few."""
    whole = {split: moons.load(split) for split in ("train", "test")}
    few = {
        split: dataclasses.replace(each, points=each.points[:1000], labels=each.labels[:1000])
        for split, each in whole.items()
    }
    monkeypatch.setattr(moons, "load", few.__getitem__)
    monkeypatch.setattr(comparison, "SAMPLES", 1000)
    return kde_moons.train(kde_moons.Config(points=400, first=100), seed=0, device=CPU)


def test_moons_are_scored_by_scikit_learn(flat: runs.Run) -> None:
    """The shared metrics and the density on the grid are those of kernels on the points."""
    points = comparison.train_points()[:400]
    torch.testing.assert_close(flat.tensors["model.points"], points, rtol=0, atol=0)
    h = flat.metrics["bandwidth"]
    expected = -scored(moons.load("test").points.double().numpy(), points.double().numpy(), h)
    assert flat.metrics["test_nll_nats"] == pytest.approx(expected, abs=1e-4)
    assert flat.metrics["entropy_nats"] < flat.metrics["test_nll_nats"] < 1.4
    assert abs(flat.metrics["energy_distance"]) < 0.05
    squares = torch.cdist(points.double(), points.double()).square().fill_diagonal_(math.inf)

    def left_out(h: float) -> float:
        sums = scipy.special.logsumexp(-squares.numpy() / (2 * h * h), axis=1)
        return float(sums.mean()) - math.log(399 * 2 * math.pi * h * h)

    assert flat.metrics["loo_nll_nats"] == pytest.approx(-left_out(h), abs=1e-4)
    assert left_out(h) > max(left_out(0.99 * h), left_out(1.01 * h))
    assert flat.tensors["log_density"].shape == (comparison.GRID, comparison.GRID)
    assert flat.metrics["parameters"] == 801


def test_moons_are_restored_sampled_and_evaluated(flat: runs.Run) -> None:
    """What is stored is the model: points, bandwidth, samples around the points."""
    model = kde_moons.restore(flat)
    assert model.bandwidth == flat.metrics["bandwidth"]
    drawn = kde_moons.sample(flat, 3_000, torch.Generator().manual_seed(5))
    again = kde_moons.draw(model, 3_000, torch.Generator().manual_seed(5))
    assert torch.equal(drawn, again)
    spread = drawn.var(dim=0, correction=0) - model.data.var(dim=0, correction=0)
    torch.testing.assert_close(spread, torch.full((2,), model.bandwidth**2), rtol=0, atol=0.05)
    assert torch.unique(torch.cdist(drawn, model.data).argmin(dim=1)).numel() > 300
    measured = kde_moons.evaluate(flat, CPU)
    assert {key: flat.metrics[key] for key in measured} == pytest.approx(measured)
    kept = dataclasses.replace(flat, tensors={k: runs.stored(v) for k, v in flat.tensors.items()})
    assert kde_moons.evaluate(kept, CPU) == pytest.approx(measured, abs=0.02)  # in half precision
    assert kde_moons.data(kde_moons.CPU) == ("moons",)
    assert kde_moons.CPU.points == 10_000
