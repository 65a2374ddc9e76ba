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
