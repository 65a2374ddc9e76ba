"""Proof for litgen/recipes/autoencoders/convolutional.py, on tiny images."""

import dataclasses
from collections.abc import Iterator

import pytest
import torch

from litgen import runs
from litgen.data.sources import ImageSet
from litgen.recipes import pictures
from litgen.recipes.autoencoders import convolutional as recipe
from tests.recipes.test_autoencoders_dense import bars

TINY = dataclasses.replace(
    recipe.CPU,
    channels=(2, 3),
    latent=3,
    steps=5,
    batch_size=10,
    test_images=30,
    looks=3,
    mixed=False,
)


@pytest.fixture(autouse=True)
def sets(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ImageSet]]:
    """Put the bars in the place of both data sets; undo what trainings set for the process."""
    made = {"train": bars(60, "train", 1), "test": bars(50, "test", 2)}
    for name in ("mnist", "fashion_mnist"):
        monkeypatch.setitem(pictures.LOADERS, name, made.__getitem__)
    before = torch.get_float32_matmul_precision()
    yield made
    torch.set_float32_matmul_precision(before)


def test_variants_differ_in_kernel_and_noise(sets: dict[str, ImageSet]) -> None:
    """The uneven one has kernels of 3; only the noisy one's first loss has noise and penalty."""
    assert {recipe.made(TINY, v).encoder[0].kernel_size for v in ("plain", "noisy")} == {(4, 4)}
    assert recipe.made(TINY, "uneven").encoder[0].kernel_size == (3, 3)
    images = sets["train"].images
    firsts = {}
    for variant in recipe.VARIANTS:
        torch.manual_seed(4)
        model = recipe.made(TINY, variant)
        draw = torch.Generator().manual_seed(4)
        order = torch.randperm(60, generator=torch.Generator().manual_seed(4))[:10]
        x = images[order].float() / 255
        z = model.encode(x)
        noise = TINY.noise * torch.randn(10, 3, generator=draw) if variant == "noisy" else 0.0
        weight = TINY.weight if variant == "noisy" else 0.0
        error = (model.decode(z + noise) - x).square().sum(dim=(1, 2, 3))
        expected = (error + weight * z.square().sum(dim=1)).mean().item()
        firsts[variant] = next(recipe.fit(TINY, variant, images, seed=4)).loss.item()
        assert firsts[variant] == pytest.approx(expected, rel=1e-5)
    assert firsts["plain"] != pytest.approx(firsts["noisy"], rel=1e-6)
    with pytest.raises(ValueError, match="unknown variant 'odd'"):
        recipe.made(TINY, "odd")


def test_a_run_holds_its_models_and_their_errors(sets: dict[str, ImageSet]) -> None:
    """Errors summed over pixels, by the restored models; lattices at the asked moments."""
    run = runs.train("autoencoders/convolutional", "cpu", config=TINY)
    x = sets["test"].images[:30].float() / 255
    for variant, model in recipe.models(run).items():
        error = (model(x) - x).square().sum(dim=(1, 2, 3)).mean().item()
        assert run.metrics[f"{variant}_test_error"] == pytest.approx(error, rel=1e-4)
        count = sum(p.numel() for p in model.parameters())
        assert run.metrics[f"{variant}_parameters"] == count
        assert len(run.history[f"{variant}_lattice"]) == 3
    assert run.history["turns"] == [0.0, 2.0, 4.0]
    for key, value in recipe.evaluate(run, torch.device("cpu")).items():
        assert run.metrics[key] == pytest.approx(value, rel=1e-4)
    assert torch.equal(recipe.restore(run).encode(x), recipe.models(run)["plain"].encode(x))


def test_training_helps(sets: dict[str, ImageSet]) -> None:
    """Every variant's loss falls."""
    longer = dataclasses.replace(TINY, steps=40)
    for variant in recipe.VARIANTS:
        losses = [now.loss.item() for now in recipe.fit(longer, variant, sets["train"].images, 0)]
        assert losses[-1] < 0.95 * losses[0]
