"""Proof for litgen/recipes/autoencoders: denoising.py, denoising_any.py, masking.py; on bars."""

import dataclasses
from collections.abc import Iterator
from typing import Literal

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch import Tensor

from litgen import runs
from litgen.autoencoders import denoising as formulas
from litgen.data.sources import ImageSet, Record
from litgen.recipes import pictures
from litgen.recipes.autoencoders import denoising as recipe
from litgen.recipes.autoencoders import denoising_any, masking
from tests.recipes import watched

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


@pytest.mark.parametrize("network", ["dense", "unet"])
def test_the_first_loss_and_the_rate(sets: Sets, network: Literal["dense", "unet"]) -> None:
    """eq:dae-loss: a mean over pixels, with the seed's weights, order, noise and levels."""
    pixels = sets["train"].images.flatten(1)
    config = dataclasses.replace(
        TINY, network=network, widths=(8,), steps=9, batch_size=20, learning_rate=0.006
    )
    config = dataclasses.replace(config, lowest=0.2, highest=0.9)
    memory, steps = watched.watched(lambda: recipe.fit(config, pixels, 4))
    assert memory.line() == pytest.approx(watched.one_cycle(0.006, 9), rel=1e-6)
    assert memory.things["batches"].batch_size == 20
    assert [step.turn for step in steps] == list(range(9))
    torch.manual_seed(4)
    model = recipe.Denoiser(network, (8,), PIXELS)
    rows = torch.randperm(400, generator=torch.Generator().manual_seed(4))[:20]
    draw = torch.Generator().manual_seed(4)
    noise = torch.randn(20, PIXELS, generator=draw)
    levels = 0.2 + 0.7 * torch.rand(20, 1, generator=draw)
    x = pixels[rows] / 255
    with torch.no_grad():
        expected = torch.nn.functional.mse_loss(model(x + levels * noise), x).item()
    assert steps[0].loss.item() == pytest.approx(expected, rel=1e-4)


def test_what_is_trained_on_and_measured(sets: Sets, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training images for both, the first test images for the scores, the first of each class."""
    monkeypatch.setitem(pictures.LOADERS, "mnist", {"train": None, "test": None}.__getitem__)
    fitted = watched.calls(monkeypatch, recipe, "fit")
    measured = watched.calls(monkeypatch, recipe, "measure")
    config = dataclasses.replace(TINY, steps=120, test_images=30)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    seen: list[int] = []
    real = recipe.noisy
    monkeypatch.setattr(
        recipe, "noisy", lambda *given: (seen.append(torch.get_num_threads()), real(*given))[1]
    )
    try:
        run = recipe.train(config, 3, CPU)
    finally:
        torch.set_num_threads(threads)
    assert set(seen[:120]) == {1}
    train, test = (sets[name].images.flatten(1) for name in ("train", "test"))
    assert torch.equal(fitted[0][1], train)
    assert fitted[0][2] == 3
    assert measured[0][-1] == {"training": False, "half": True}
    assert torch.equal(measured[0][2], train)
    assert torch.equal(measured[0][3], test)
    labels = sets["test"].labels
    first = [next(i for i, c in enumerate(labels.tolist()) if c == k) for k in range(SIDE)]
    assert torch.equal(run.tensors["examples.x"], test[first])
    assert len(run.history["train_error"]) == 100
    assert run.history["train_error"][-1] < run.history["train_error"][0]
    about = {name: part.record for name, part in sets.items()}
    watched.check_records(run.data, "fashion_mnist", **about)
    assert recipe.data(dataclasses.replace(config, data="mnist")) == ("mnist",)
    run.provenance["config"] = dataclasses.asdict(config)
    assert watched.is_at_rest(recipe.restore(run))
    drawn = recipe.sample(run, 11, torch.Generator().manual_seed(3))
    with torch.no_grad():
        rows = torch.arange(11) % 8
        noise = torch.randn(11, PIXELS, generator=torch.Generator().manual_seed(3))
        expected = measured[0][1](test[first][rows] / 255 + 0.5 * noise)
    assert expected.min() < 0
    torch.testing.assert_close(drawn.flatten(1), expected.clamp(0, 1))


def test_curves_are_decibels_of_each_way_at_each_level(sets: Sets) -> None:
    """Written out for all five levels: nothing, Gaussian, Wiener, network; whole and cut."""
    torch.manual_seed(0)
    model = recipe.Denoiser("dense", (8,), PIXELS).eval()
    train, test = (sets[name].images.flatten(1) for name in ("train", "test"))
    config = dataclasses.replace(TINY, test_images=33)
    metrics, curves = recipe.measure(config, model, train, test)
    x, clean = test[:33] / 255, (train / 255).double()
    noise = torch.randn(33, PIXELS, generator=torch.Generator().manual_seed(1))
    mean, covariance = clean.mean(dim=0), torch.from_numpy(np.cov(clean.numpy().T))
    assert curves["level"] == [0.1, 0.25, 0.5, 0.75, 1.0]
    for i, level in enumerate(curves["level"]):
        y = x + level * noise
        gain = torch.linalg.inv(covariance + level**2 * torch.eye(PIXELS).double()) @ covariance
        width = curves["filter_width_pixels"][i]
        assert width == recipe.tuned_filter(train[:300] / 255, level)
        smooth = scipy.ndimage.gaussian_filter(
            y.view(-1, SIDE, SIDE).numpy(), width, axes=(1, 2), mode="constant"
        )
        with torch.no_grad():
            answers = {
                "noisy": y,
                "filter": torch.from_numpy(smooth).flatten(1),
                "wiener": mean + (y.double() - mean) @ gain,
                "network": model(y),
            }
        for name, answer in answers.items():
            for cut in (False, True):
                key = f"psnr_{name}_cut_db" if cut else f"psnr_{name}_db"
                expected = decibels(x, answer.clamp(0, 1) if cut else answer)
                assert curves[key][i] == pytest.approx(expected, abs=2e-3)
                if level == 0.5:
                    assert metrics[key] == curves[key][i]
    assert set(metrics) == {*curves, "test_images"} - {"level"}
    assert metrics["test_images"] == 33
    assert metrics["filter_width_pixels"] == curves["filter_width_pixels"][2]


def test_the_tuned_width_by_trying_all(sets: Sets) -> None:
    """scipy's filter at each of thirty widths from 0.3 to 3.2 pixels, on noise of another seed."""
    assert list(recipe.FILTERS) == [n / 10 for n in range(3, 33)]
    x = sets["train"].images[:40].flatten(1) / 255
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    for level in (0.2, 0.6):
        y = (x + level * noise).view(-1, SIDE, SIDE).numpy()

        def found(width: float, y: np.ndarray = y) -> float:
            smooth = scipy.ndimage.gaussian_filter(y, width, axes=(1, 2), mode="constant")
            return decibels(x, torch.from_numpy(smooth).flatten(1))

        assert recipe.tuned_filter(x, level) == max(recipe.FILTERS, key=found)


def test_the_network_is_asked_about_all_images() -> None:
    """More than one batch of them, in order; what it is given is not cut."""

    class Same(recipe.Denoiser):
        """Says what it sees."""

        def forward(self, y: Tensor) -> Tensor:
            """Return it."""
            return y

    y = 3 * torch.randn(260, PIXELS, generator=torch.Generator().manual_seed(0))
    moments = torch.zeros(PIXELS), torch.eye(PIXELS)
    found = recipe.answers(Same("dense", (4,), PIXELS), y, moments, 2.0, 0.3)
    assert torch.equal(found["network"], y)
    assert torch.equal(found["noisy"], y)
    torch.testing.assert_close(found["wiener"], y / 5)


def test_the_first_masked_loss_and_the_rate(sets: Sets) -> None:
    """eq:dae-masking: nats summed over pixels against the whole image, a mean over images."""
    pixels = sets["train"].images.flatten(1)
    config = dataclasses.replace(masking.CPU, hidden=5, steps=7, batch_size=30, learning_rate=0.03)
    memory, steps = watched.watched(lambda: masking.fit(config, 0.3, pixels, 6))
    assert memory.line() == pytest.approx(watched.half_cosine(0.03, 7), rel=1e-6)
    assert memory.things["batches"].batch_size == 30
    model = masking.TiedAutoencoder(PIXELS, 5, torch.Generator().manual_seed(6))
    rows = torch.randperm(400, generator=torch.Generator().manual_seed(6))[:30]
    out = torch.rand(30, PIXELS, generator=torch.Generator().manual_seed(6)) < 0.3
    x = (pixels[rows] / 255).double()
    with torch.no_grad():
        said = torch.sigmoid(model((x * ~out).float())).double()
    nats = -(x * said.log() + (1 - x) * (1 - said).log()).sum(dim=1).mean().item()
    assert steps[0].loss.item() == pytest.approx(nats, rel=1e-4)


def test_every_share_has_its_network(sets: Sets, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained on training images from the same seed, rounded, and probed on both sets."""
    fitted = watched.calls(monkeypatch, masking, "fit")
    probed = watched.calls(monkeypatch, masking, "probe")
    shares = (0.5, 0.0, 0.25)
    config = dataclasses.replace(
        masking.CPU, data="fashion_mnist", shares=shares, hidden=6, steps=4, batch_size=40
    )
    run = masking.train(config, 3, CPU)
    assert [(call[1], call[3]) for call in fitted] == [(share, 3) for share in shares]
    assert all(torch.equal(call[2], sets["train"].images.flatten(1)) for call in fitted)
    for call, key in zip(list(probed), ("50", "0", "25"), strict=True):
        assert call[2] is sets["train"]
        assert call[3] is sets["test"]
        assert call[-1]["half"]
        assert len(run.history[f"loss_nats_put_out_{key}"]) == 4
        for name, value in masking.probe(*call[:4]).items():
            assert run.metrics[f"{name}_put_out_{key}"] == pytest.approx(value)
        assert torch.equal(run.tensors[f"put_out_{key}.weight"], call[1].weight)
    assert run.metrics["test_images"] == 80
    assert torch.equal(run.tensors["examples.x"], sets["test"].images.flatten(1))
    about = {name: part.record for name, part in sets.items()}
    watched.check_records(run.data, "fashion_mnist", **about)
    assert masking.data(config) == ("fashion_mnist",)
    run.provenance["config"] = dataclasses.asdict(config)
    assert all(watched.is_at_rest(model) for model in masking.models(run).values())
    assert torch.equal(masking.restore(run).weight, run.tensors["put_out_50.weight"])
    assert masking.evaluate(run, CPU) == pytest.approx(run.metrics)


def test_a_u_net_comes_back_and_tuning_has_noise_of_its_own(
    sets: Sets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run says which network it has; the filter is not tuned on the noise it is measured on."""
    model = recipe.Denoiser("unet", (8,), PIXELS)
    config = dataclasses.replace(TINY, network="unet", widths=(8,))
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors["examples.x"] = sets["test"].images[:3].flatten(1)
    run = runs.Run(tensors, {}, {}, [], {"config": dataclasses.asdict(config)})
    y = torch.rand(2, PIXELS, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(recipe.restore(run)(y), model.eval()(y))
    drawn = watched.calls(monkeypatch, recipe, "noisy")
    recipe.measure(config, model, sets["train"].images.flatten(1), y.mul(255).to(torch.uint8))
    shown, tuned = drawn[0][1], drawn[1][1]
    assert (shown[:2] - tuned[:2]).abs().min() > 0
    assert all(torch.equal(call[1], (shown, tuned)[i % 2]) for i, call in enumerate(drawn))
