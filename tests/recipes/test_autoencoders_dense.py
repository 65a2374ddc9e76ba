"""Proof for litgen/recipes/autoencoders/dense.py and digits.py, on tiny images."""

import dataclasses
from collections.abc import Iterator

import pytest
import torch
from sklearn.decomposition import PCA

from litgen import runs
from litgen.data.sources import ImageSet, Record
from litgen.recipes import pictures
from litgen.recipes.autoencoders import dense, digits
from tests.recipes import watched

TINY = dataclasses.replace(
    dense.CPU, latents=(1, 3), random=(3,), hidden=(8, 6), steps=6, batch_size=20, mixed=False
)


def bars(count: int, split: str, seed: int) -> ImageSet:
    """Return 28x28 images of a bright bar on noise."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 90, (count, 1, 28, 28), generator=generator)
    places = torch.randint(2, 20, (count,), generator=generator).tolist()
    for image, place in zip(images, places, strict=True):
        image[0, place : place + 5] = 220
    record = Record("bars", f"drawn, {split}", "none", "none", f"{split}{seed}", {}, True)
    return ImageSet(images.to(torch.uint8), torch.zeros(count, dtype=torch.long), record)


@pytest.fixture(autouse=True)
def sets(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ImageSet]]:
    """Put the bars in the place of both data sets; undo what trainings set for the process."""
    made = {"train": bars(900, "train", 1), "test": bars(60, "test", 2)}
    for name in ("mnist", "fashion_mnist"):
        monkeypatch.setitem(pictures.LOADERS, name, made.__getitem__)
    before = torch.get_float32_matmul_precision()
    yield made
    torch.set_float32_matmul_precision(before)


def test_models_start_at_pca_of_the_training_images(sets: dict[str, ImageSet]) -> None:
    """eq:ae-start: before the first step, scikit-learn's errors; random ones at the mean."""
    x = sets["train"].images.flatten(1).float() / 255
    axes = dense.axes_of(x)
    test = sets["test"].images.flatten(1).float() / 255
    torch.manual_seed(0)
    model = dense.made(TINY, "pca-3", axes)
    pca = PCA(3, svd_solver="full").fit(x.double().numpy())
    back = torch.from_numpy(pca.inverse_transform(pca.transform(test.double().numpy())))
    expected = (test - back).square().sum(dim=1).mean().item()
    assert dense.measure(model, test)["test_error"] == pytest.approx(expected, rel=1e-3)
    plain = dense.made(TINY, "random-3", axes)
    torch.testing.assert_close(plain.decode[-1].bias, axes.mean)  # type: ignore[index]
    for name in ("pca", "ppca-3", "random-x"):
        with pytest.raises(ValueError, match=f"not {name}"):
            dense.made(TINY, name, axes)


def test_a_run_holds_its_models_and_their_errors(sets: dict[str, ImageSet]) -> None:
    """Errors summed over pixels, by a loop over the restored models; PCA's among them."""
    run = runs.train("autoencoders/dense", "cpu", config=TINY)
    test = sets["test"].images.flatten(1).float() / 255
    models = dense.models(run)
    assert list(models) == ["pca-1", "pca-3", "random-3"]
    for name, model in models.items():
        error = (model(test) - test).square().sum(dim=1).mean().item()
        assert run.metrics[f"{name}_test_error"] == pytest.approx(error, rel=1e-4)
        count = sum(p.numel() for p in model.parameters())
        assert run.metrics[f"{name}_parameters"] == count
        assert len(run.history[f"{name}_loss"]) == TINY.steps
    pca = PCA(1, svd_solver="full").fit((sets["train"].images.flatten(1) / 255).double().numpy())
    lost = pca.noise_variance_ * 783 * 899 / 900
    assert run.metrics["linear-1_train_error"] == pytest.approx(lost, rel=1e-3)
    for key, value in dense.evaluate(run, torch.device("cpu")).items():
        assert run.metrics[key] == pytest.approx(value, rel=1e-4)
    assert dense.restore(run).encode(test).shape[1] in (1, 3)


def test_training_helps_and_depends_on_nothing_but_the_seed(sets: dict[str, ImageSet]) -> None:
    """The same seed gives the same run; some steps lower the error of every model."""
    longer = dataclasses.replace(TINY, steps=60, learning_rate=5e-3)
    one, two = (runs.train("autoencoders/dense", "cpu", config=longer) for _ in range(2))
    torch.testing.assert_close(one.tensors, two.tensors, rtol=0, atol=0)
    for name in ("pca-1", "random-3"):
        assert one.history[f"{name}_loss"][-1] < one.history[f"{name}_loss"][0]
    assert one.metrics["pca-1_test_error"] < one.metrics["linear-1_test_error"]


def test_digits_are_the_same_recipe() -> None:
    """Another data set and the paper's code size."""
    assert digits.train is dense.train
    assert digits.CPU.data == digits.GPU.data == "mnist"
    assert digits.CPU.latents == (30,)


@pytest.mark.parametrize(("name", "faster"), [("pca-3", 1.0), ("random-3", 2.5)])
def test_the_first_loss_and_the_rate(sets: dict[str, ImageSet], name: str, faster: float) -> None:
    """Summed over pixels, a mean over images; models that start at random go faster."""
    pixels = sets["train"].images.flatten(1)
    config = dataclasses.replace(TINY, steps=9, batch_size=16, learning_rate=0.004)
    axes = dense.axes_of(pixels / 255)
    memory, steps = watched.watched(lambda: dense.fit(config, name, pixels, axes, 4))
    assert memory.line() == pytest.approx(watched.one_cycle(0.004 * faster, 9), rel=1e-6)
    assert memory.things["batches"].batch_size == 16
    assert [step.turn for step in steps] == list(range(9))
    torch.manual_seed(4)
    model = dense.made(config, name, axes)
    x = pixels[torch.randperm(900, generator=torch.Generator().manual_seed(4))[:16]] / 255
    with torch.no_grad():
        expected = (model(x) - x).pow(2).sum().item() / 16
    assert steps[0].loss.item() == pytest.approx(expected, rel=1e-4)


def test_codes_start_with_variance_one(sets: dict[str, ImageSet]) -> None:
    """eq:ae-start: those of the training images; all eigenvalues are kept, not some."""
    x = sets["train"].images.flatten(1) / 255
    axes = dense.axes_of(x)
    assert axes.directions.shape == (784, 784)
    assert axes.variances.sum() == pytest.approx(x.var(dim=0, correction=0).sum().item(), rel=1e-4)
    with torch.no_grad():
        codes = dense.made(TINY, "pca-3", axes).encode(x)
    torch.testing.assert_close(codes.var(dim=0, correction=0), torch.ones(3), atol=1e-2, rtol=0)
    with pytest.raises(ValueError, match="pca-16 or random-16, not line-3"):
        dense.made(TINY, "line-3", axes)


def test_what_is_trained_on_and_measured(
    sets: dict[str, ImageSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training images and their axes; test images for the scores, PCA's among them."""
    fitted = watched.calls(monkeypatch, dense, "fit")
    measured = watched.calls(monkeypatch, dense, "measure")
    config = dataclasses.replace(TINY, data="mnist", latents=(2, 4), random=(1,), steps=3)
    run = dense.train(config, 5, torch.device("cpu"))
    train, test = (sets[name].images.flatten(1) for name in ("train", "test"))
    names = ["pca-2", "pca-4", "random-1"]
    for call, name in zip(fitted, names, strict=True):
        assert (call[1], call[4]) == (name, 5)
        assert torch.equal(call[2], train)
        torch.testing.assert_close(call[3].mean, (train / 255).mean(dim=0))
    for call, name in zip(list(measured), names, strict=True):
        assert call[-1]["half"]
        assert torch.equal(call[1], test / 255)
        for key, value in call[0].state_dict().items():
            assert torch.equal(run.tensors[f"{name}.{key}"], value)
    assert torch.equal(run.tensors["examples.pixels"], test)
    x = (train / 255).double().numpy()
    for latent in (2, 4):
        pca = PCA(latent, svd_solver="full").fit(x)
        for name, seen in (("train", x), ("test", (test / 255).double().numpy())):
            lost = ((pca.inverse_transform(pca.transform(seen)) - seen) ** 2).sum(axis=1).mean()
            assert run.metrics[f"linear-{latent}_{name}_error"] == pytest.approx(lost, rel=1e-3)
    assert run.metrics["test_images"] == 60
    watched.check_records(run.data, "mnist", train=sets["train"].record, test=sets["test"].record)
    assert dense.data(config) == ("mnist",)
    run.provenance["config"] = dataclasses.asdict(config)
    assert all(watched.is_at_rest(model) for model in dense.models(run).values())
    for best in names:
        run.metrics |= {f"{name}_test_error": 2.0 - (name == best) for name in names}
        found = dense.restore(run).state_dict()
        assert all(
            torch.equal(v, dense.models(run)[best].state_dict()[k]) for k, v in found.items()
        )
    assert dense.evaluate(run, torch.device("cpu"))["test_images"] == 60


def test_errors_are_means_over_all_images(sets: dict[str, ImageSet]) -> None:
    """More of them than are asked about at once."""
    x = sets["train"].images.flatten(1)[:600].repeat(2, 1) / 255
    x[1100:] = 0
    torch.manual_seed(1)
    model = dense.made(TINY, "random-3")
    with torch.no_grad():
        expected = (model(x) - x).square().sum(dim=1).mean().item()
    assert dense.measure(model, x)["test_error"] == pytest.approx(expected, rel=1e-5)


def test_digits_have_the_papers_code_in_both_profiles() -> None:
    """Thirty numbers; the full one trains from random weights too."""
    assert digits.GPU.latents == digits.GPU.random == (30,)
    assert digits.CPU.random == ()
