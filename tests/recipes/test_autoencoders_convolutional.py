"""Proof for litgen/recipes/autoencoders/convolutional.py, on tiny images."""

import dataclasses
from collections.abc import Iterator

import pytest
import torch

from litgen import runs
from litgen.data.sources import ImageSet
from litgen.recipes import pictures
from litgen.recipes.autoencoders import convolutional as recipe
from tests.recipes import watched
from tests.recipes.test_autoencoders_dense import bars

TINY = dataclasses.replace(
    recipe.CPU,
    channels=(2, 3),
    latent=3,
    steps=5,
    batch_size=10,
    test_images=30,
    looks=3,
    noise=0.4,
    weight=0.2,
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


@pytest.mark.parametrize("variant", recipe.VARIANTS)
def test_the_rate_and_the_batches(sets: dict[str, ImageSet], variant: str) -> None:
    """One cycle over all steps; as many images as asked for."""
    config = dataclasses.replace(TINY, steps=9, batch_size=7, learning_rate=0.004)
    images = sets["train"].images
    memory, steps = watched.watched(lambda: recipe.fit(config, variant, images, 4))
    assert memory.line() == pytest.approx(watched.one_cycle(0.004, 9), rel=1e-6)
    assert memory.things["batches"].batch_size == 7
    assert [step.turn for step in steps] == list(range(9))


def test_what_is_trained_on_and_measured(
    sets: dict[str, ImageSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training images; the first test images for errors and lattices; weights as they are kept."""
    fitted = watched.calls(monkeypatch, recipe, "fit")
    measured = watched.calls(monkeypatch, recipe, "measure")
    looks = watched.calls(monkeypatch, recipe, "residual_lattice")
    config = dataclasses.replace(TINY, data="mnist", steps=6, looks=3)
    run = recipe.train(config, 5, torch.device("cpu"))
    x = sets["test"].images[:30] / 255
    for call, variant in zip(fitted, recipe.VARIANTS, strict=True):
        assert (call[1], call[3]) == (variant, 5)
        assert torch.equal(call[2], sets["train"].images)
        assert len(run.history[f"{variant}_loss"]) == 6
    for call, variant in zip(list(measured), recipe.VARIANTS, strict=True):
        assert call[-1]["half"]
        assert torch.equal(call[1], x)
        for key, value in call[0].state_dict().items():
            assert torch.equal(run.tensors[f"{variant}.{key}"], value)
    assert len(looks) == 9
    assert all(torch.equal(call[1], x) for call in looks)
    assert run.history["turns"] == [0.0, 2.0, 5.0]  # linspace says 2.5, which rounds to even
    assert torch.equal(run.tensors["examples.pixels"], sets["test"].images)
    assert run.metrics["test_images"] == 30
    watched.check_records(run.data, "mnist", train=sets["train"].record, test=sets["test"].record)
    assert recipe.data(config) == ("mnist",)
    run.provenance["config"] = dataclasses.asdict(config)
    assert all(watched.is_at_rest(model) for model in recipe.models(run).values())
    assert recipe.evaluate(run, torch.device("cpu"))["test_images"] == 30


def test_the_lattice_is_that_of_what_a_model_adds(sets: dict[str, ImageSet]) -> None:
    """A model that adds stripes of two levels: the square of half their distance, averaged."""

    class Striped(recipe.ConvAutoencoder):
        """Adds stripes that grow with the image's brightness."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            """Return the image with stripes."""
            stripes = torch.zeros(x.shape[-2:])
            stripes[::2] = 1
            return x + stripes * x.amax(dim=(1, 2, 3), keepdim=True)

    x = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    x[1:] *= torch.tensor([0.1, 0.4, 0.7])[:, None, None, None]
    tops = x.flatten(1).amax(dim=1)
    model = Striped(28, 28, (2,), 2)
    expected = (tops / 2).square().mean().item()
    assert recipe.residual_lattice(model, x) == pytest.approx(expected, rel=1e-4)
    found = recipe.measure(model, torch.cat([x] * 150))  # more than are asked about at once
    assert found["test_error"] == pytest.approx(392 * tops.square().mean().item(), rel=1e-4)
