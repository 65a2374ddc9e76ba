"""Proof for litgen/recipes/autoencoders: denoising.py, denoising_any.py, masking.py; on bars."""

import dataclasses
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from litgen import runs
from litgen.autoencoders import denoising as formulas
from litgen.data.sources import ImageSet, Record
from litgen.recipes import pictures
from litgen.recipes.autoencoders import denoising as recipe
from litgen.recipes.autoencoders import denoising_any, masking

CPU = torch.device("cpu")
SIDE, PIXELS = 8, 64
TINY = dataclasses.replace(
    recipe.CPU, widths=(24,), steps=150, batch_size=32, test_images=60, mixed=False
)
Sets = dict[str, ImageSet]


def bars(count: int, split: str, seed: int) -> ImageSet:
    """Return 8x8 images of one bright row, whose place is the label."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, SIDE, (count,), generator=generator)
    images = torch.randint(0, 30, (count, 1, SIDE, SIDE), generator=generator)
    for image, place in zip(images, labels.tolist(), strict=True):
        image[0, place] = 230
    record = Record("bars", f"drawn, {split}", "none", "none", f"{split}{seed}", {}, True)
    return ImageSet(images.to(torch.uint8), labels, record)


@pytest.fixture(autouse=True)
def sets(monkeypatch: pytest.MonkeyPatch) -> Sets:
    """Put the bars in the place of both data sets."""
    made = {"train": bars(400, "train", 1), "test": bars(80, "test", 2)}
    for name in ("mnist", "fashion_mnist"):
        monkeypatch.setitem(pictures.LOADERS, name, made.__getitem__)
    return made


@pytest.fixture(autouse=True)
def _precision() -> Iterator[None]:
    """Undo what runs.train sets for the whole process."""
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def decibels(x: Tensor, answer: Tensor) -> float:
    """Return the mean over images of 10 log10(1 / mean squared error)."""
    errors = (x - answer).pow(2).mean(dim=1)
    return float(sum(10 * torch.log10(1 / e) for e in errors) / len(errors))


def test_a_run_from_training_to_measuring(sets: Sets) -> None:
    """What is stored is what was measured; a fresh draw of noise agrees with the metrics."""
    run = runs.train("autoencoders/denoising", "cpu", seed=0, config=TINY)
    model = recipe.restore(run)
    assert not model.training
    x = sets["test"].images.flatten(1).float() / 255
    y = formulas.noisy(x, torch.randn(x.shape, generator=torch.Generator().manual_seed(9)), 0.5)
    assert decibels(x, y) == pytest.approx(run.metrics["psnr_noisy_db"], abs=0.2)
    assert decibels(x, model(y)) == pytest.approx(run.metrics["psnr_network_db"], abs=0.5)
    train = sets["train"].images.flatten(1).float() / 255
    covariance = torch.cov(train.T)
    gain = torch.linalg.inv(covariance + 0.25 * torch.eye(PIXELS)) @ covariance
    filtered = train.mean(dim=0) + (y - train.mean(dim=0)) @ gain
    assert decibels(x, filtered) == pytest.approx(run.metrics["psnr_wiener_db"], abs=0.3)
    cut = run.metrics["psnr_noisy_cut_db"]
    assert decibels(x, y.clamp(0, 1)) == pytest.approx(cut, abs=0.3)
    assert run.metrics["psnr_network_db"] > run.metrics["psnr_noisy_db"] + 6
    assert run.metrics["psnr_wiener_db"] > run.metrics["psnr_filter_db"]
    assert recipe.evaluate(run, CPU) == pytest.approx(run.metrics, abs=0.02)
    assert run.history["level"] == list(recipe.LEVELS)
    assert run.history["psnr_wiener_db"] == sorted(run.history["psnr_wiener_db"], reverse=True)
    drawn = recipe.sample(run, 11, torch.Generator().manual_seed(3))
    assert drawn.shape == (11, 1, SIDE, SIDE)
    assert 0 <= drawn.min() < drawn.max() <= 1
    assert torch.equal(
        run.tensors["examples.x"].long().view(-1, SIDE, SIDE)[3, 3], 230 * torch.ones(8).long()
    )


def test_the_loss_is_the_clean_images_and_the_noise_is_fresh(sets: Sets) -> None:
    """eq:dae-loss: at the first step, by hand; the noise is new at each step."""
    pixels = sets["train"].images.flatten(1)
    config = dataclasses.replace(TINY, steps=3, batch_size=400, learning_rate=1e-9)
    losses = [now.loss.item() for now in recipe.fit(config, pixels, seed=5)]
    assert len(set(losses)) == 3
    torch.manual_seed(5)
    model = recipe.Denoiser("dense", (24,), PIXELS)
    x = pixels.float() / 255
    expected = []
    for seed in range(20):
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
        expected.append((x - model(x + 0.5 * noise)).square().mean().item())
    mean = sum(expected) / 20
    assert losses[0] == pytest.approx(mean, rel=0.01)
    clean = (x - model(x)).square().mean().item()
    assert abs(clean / mean - 1) > 0.02


def test_levels_are_drawn_between_the_two_ends(
    sets: Sets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One level an image, evenly from the lowest to the highest."""
    seen: list[Tensor] = []

    def watched(x: Tensor, noise: Tensor, scale: Tensor) -> Tensor:
        seen.append(scale)
        return formulas.noisy(x, noise, scale)

    monkeypatch.setattr(recipe, "noisy", watched)
    config = dataclasses.replace(TINY, lowest=0.2, highest=0.8, steps=30)
    for _ in recipe.fit(config, sets["train"].images.flatten(1), seed=1):
        pass
    levels = torch.cat(seen)
    assert levels.shape == (30 * 32, 1)
    assert 0.2 <= levels.min() < 0.21
    assert 0.79 < levels.max() <= 0.8
    assert levels.mean().item() == pytest.approx(0.5, abs=0.03)


def test_the_filters_width_is_the_best_of_the_list(sets: Sets) -> None:
    """No other width has more decibels on the images it was tuned on, and noise widens it."""
    x = sets["train"].images[:100].flatten(1).float() / 255
    width = recipe.tuned_filter(x, 0.5)
    assert width in recipe.FILTERS
    assert recipe.tuned_filter(x, 0.1) < width


def test_the_page_network_is_of_all_levels() -> None:
    """Small enough to travel with the page in both profiles."""
    for config in (denoising_any.CPU, denoising_any.GPU):
        assert (config.network, config.lowest, config.highest) == ("dense", 0.0, 1.0)
        model = recipe.Denoiser(config.network, config.widths, 784)
        assert 2 * sum(p.numel() for p in model.parameters()) < 500_000


def test_masked_training_and_its_probe(sets: Sets) -> None:
    """Labels can be read off the features; the networks come back by their share."""
    config = dataclasses.replace(
        masking.CPU, shares=(0.0, 0.5), hidden=20, steps=120, batch_size=40, labelled=400
    )
    run = runs.train("autoencoders/masking", "cpu", seed=0, config=config)
    found = masking.models(run)
    assert list(found) == [0.0, 0.5]
    torch.testing.assert_close(masking.restore(run).weight, found[0.5].weight)
    assert (found[0.0].weight - found[0.5].weight).abs().max() > 0.01
    for share in ("0", "50"):
        right, half = (
            run.metrics[f"{n}_error_percent_put_out_{share}"] for n in ("test", "half_seen")
        )
        assert right < 10
        assert right <= half < 80
    assert masking.evaluate(run, CPU) == pytest.approx(run.metrics)
    x = sets["test"].images.flatten(1).float() / 255
    with torch.no_grad():
        answer = torch.sigmoid(found[0.0](x))
    assert (answer - x).square().mean() < 0.5 * x.var()


def test_the_probe_by_least_squares(sets: Sets) -> None:
    """Least squares on features, a one, and rows that stand for the ridge; errors counted."""
    model = masking.TiedAutoencoder(PIXELS, 3, torch.Generator().manual_seed(4))
    config = dataclasses.replace(masking.CPU, labelled=300)
    found = masking.probe(config, model, sets["train"], sets["test"])
    with torch.no_grad():
        train, test = (
            torch.cat([model.features(s.images.flatten(1) / 255), torch.ones(len(s.images), 1)], 1)
            for s in (sets["train"], sets["test"])
        )
    target = torch.eye(10, dtype=torch.float64)[sets["train"].labels[:300]]
    rows = torch.cat([train[:300].double(), (300 * 1e-4) ** 0.5 * torch.eye(4).double()])
    fitted = torch.linalg.lstsq(rows, torch.cat([target, torch.zeros(4, 10)])).solution
    out = torch.rand(80, PIXELS, generator=torch.Generator().manual_seed(1)) < 0.5
    pictures_seen = sets["test"].images.flatten(1) / 255 * ~out
    with torch.no_grad():
        half = torch.cat([model.features(pictures_seen), torch.ones(80, 1)], 1)
    counted = [
        sum(
            int(a) != int(b)
            for a, b in zip((h.double() @ fitted).argmax(1), sets["test"].labels, strict=True)
        )
        for h in (test, half)
    ]
    assert 0 < counted[0] < counted[1] < 80
    assert found["test_error_percent"] == pytest.approx(100 * counted[0] / 80)
    assert found["half_seen_error_percent"] == pytest.approx(100 * counted[1] / 80)
