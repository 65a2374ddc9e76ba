"""Proof for litgen/recipes/primer/classifier.py and digit_classifier.py, on tiny drawn sets."""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from litgen import runs
from litgen.classifier import Classifier
from litgen.data.sources import ImageSet, Record
from litgen.recipes.primer import classifier, digit_classifier

CPU = torch.device("cpu")
SIDE = 28
TINY = classifier.Config(width=2, epochs=6, batch_size=16, mixed=False, learning_rate=0.01)


def squares(count: int, split: str, seed: int) -> ImageSet:
    """Return dark images with one bright square; the label says in which quarter it lies."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 60, (count, 1, SIDE, SIDE), generator=generator)
    labels = torch.randint(0, 4, (count,), generator=generator)
    for image, label in zip(images, labels.tolist(), strict=True):
        top, left = 3 + 14 * (label // 2), 3 + 14 * (label % 2)
        image[0, top : top + 8, left : left + 8] = 230
    record = Record(
        "squares", f"drawn, {split}", "none", "none", f"{split}{seed}", {split: count}, True
    )
    return ImageSet(images.to(torch.uint8), labels, record)


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> dict[str, ImageSet]:
    """Put the squares in the place of both sets."""
    sets = {"train": squares(170, "train", 1), "test": squares(210, "test", 2)}
    for name in ("mnist", "fashion_mnist"):
        monkeypatch.setitem(classifier.LOADERS, name, sets.__getitem__)
    return sets


@pytest.fixture(autouse=True)
def _precision() -> Iterator[None]:
    """Undo what runs.train sets for the whole process."""
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


# augment -----------------------------------------------------------------------------------------


def placed(image: Tensor, down: int, right: int, mirrored: bool) -> Tensor:
    """Move an image pixel by pixel over a black ground, mirrored afterwards."""
    result = torch.zeros_like(image)
    height, width = image.shape
    for r in range(height):
        for c in range(width):
            if 0 <= r - down < height and 0 <= c - right < width:
                result[r, c] = image[r - down, c - right]
    return result.flip(1) if mirrored else result


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("shift", [0, 1, 2])
def test_augmented_images_are_all_shifts_and_mirrors_alike(
    shift: int, flip: bool, generator: torch.Generator
) -> None:
    """Each image is one of the possible ones; every one comes up, about as often as the others."""
    image = torch.randint(1, 255, (5, 6), generator=generator).to(torch.uint8)
    steps = range(-shift, shift + 1)
    ways = [(a, b, m) for a in steps for b in steps for m in ((False, True) if flip else (False,))]
    possible = torch.stack([placed(image, *way) for way in ways])
    assert len(possible.flatten(1).unique(dim=0)) == len(ways)
    count = 200 * len(ways)
    found = classifier.augment(image.expand(count, 1, 5, 6), shift, flip, generator)
    assert found.dtype == torch.uint8
    which = (found == possible).flatten(2).all(dim=2).int()
    assert (which.sum(dim=1) == 1).all()
    assert (which.sum(dim=0) - 200).abs().max() < 6 * math.sqrt(200)


def test_without_augmentation_nothing_is_drawn(generator: torch.Generator) -> None:
    """The images themselves, and a generator as it was; with it the same seed gives the same."""
    images = squares(3, "train", 0).images
    before = generator.get_state()
    assert classifier.augment(images, 0, False, generator) is images
    assert torch.equal(generator.get_state(), before)
    one, two, three = (
        classifier.augment(images, 2, True, torch.Generator().manual_seed(s)) for s in (5, 5, 6)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, three)


# training ----------------------------------------------------------------------------------------


def test_a_training_learns_where_the_square_is(data: dict[str, ImageSet]) -> None:
    """Nearly all test squares; the curve falls from about log 10; weights are halves."""
    run = classifier.train(TINY, 0, CPU)
    assert run.metrics["test_accuracy"] > 0.95
    assert run.metrics["test_images"] == 210
    curve = run.history["train_loss_nats"]
    assert len(curve) == 60
    assert curve[0] == pytest.approx(math.log(10), abs=0.8)
    assert curve[-1] < 0.3
    for name, tensor in run.tensors.items():
        if tensor.is_floating_point():
            assert torch.equal(tensor.half().float(), tensor), name
    assert torch.equal(run.tensors["examples.x"], data["test"].images[:200])
    assert torch.equal(run.tensors["examples.label"], data["test"].labels[:200].to(torch.uint8))
    assert [(r["name"], r["split"], r["title"]) for r in run.data] == [
        ("fashion_mnist", "train", "squares"),
        ("fashion_mnist", "test", "squares"),
    ]


def test_the_first_steps_are_adams(data: dict[str, ImageSet]) -> None:
    """Two steps of decoupled Adam with one cycle, written out from the batches that it saw."""
    config = dataclasses.replace(TINY, epochs=1, weight_decay=0.1, dropout=0.0, smoothing=0.2)
    images, labels = data["train"].images, data["train"].labels
    seen: list[tuple[Tensor, Tensor]] = []

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        log_prob = logits.log_softmax(dim=1)
        own = log_prob.gather(1, target[:, None])[:, 0]
        value = -(0.8 * own + 0.2 * log_prob.mean(dim=1)).mean()
        seen.append((logits.detach(), target))
        return value

    given = [p.loss for p in classifier.fit(config, images, labels, 0, loss)]
    smoothed = [p.loss for p in classifier.fit(config, images, labels, 0)]
    torch.testing.assert_close(torch.stack(given), torch.stack(smoothed), rtol=1e-4, atol=1e-5)
    assert len(given) == 170 // 16
    torch.manual_seed(0)
    model = classifier.build(config)
    order = torch.randperm(170, generator=torch.Generator().manual_seed(0))
    first = model(images[order[:16]].float() / 255)
    torch.testing.assert_close(first, seen[0][0], rtol=1e-4, atol=1e-5)
    assert torch.equal(seen[0][1], labels[order[:16]])
    assert torch.equal(seen[1][1], labels[order[16:32]])


def test_the_learning_rate_goes_through_one_cycle(
    data: dict[str, ImageSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up for 30 percent of the steps, then down to nearly nothing; decay and peak are given on."""
    rates: list[float] = []
    original = torch.optim.AdamW.step

    def step(self: torch.optim.AdamW, *args: object) -> object:
        rates.append(self.param_groups[0]["lr"])
        assert self.param_groups[0]["weight_decay"] == 0.03
        return original(self)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    config = dataclasses.replace(TINY, weight_decay=0.03)
    for _ in classifier.fit(config, data["train"].images, data["train"].labels, 0):
        pass
    assert len(rates) == 60
    assert rates.index(max(rates)) in (16, 17, 18)
    assert max(rates) == pytest.approx(0.01, rel=0.01)
    assert rates[0] == pytest.approx(0.01 / 25, rel=1e-6)
    assert rates[-1] < 1e-5


def test_augmentation_and_seed_reach_the_training(data: dict[str, ImageSet]) -> None:
    """Same seed, same losses; another seed, a shift or a mirror, others."""
    short = dataclasses.replace(TINY, epochs=1)

    def losses(config: classifier.Config, seed: int) -> Tensor:
        steps = classifier.fit(config, data["train"].images, data["train"].labels, seed)
        return torch.stack([p.loss for p in steps])

    base = losses(short, 0)
    assert torch.equal(base, losses(short, 0))
    assert not torch.equal(base, losses(short, 1))
    assert not torch.equal(base, losses(dataclasses.replace(short, shift=2), 0))
    assert not torch.equal(base, losses(dataclasses.replace(short, flip=True), 0))


def test_build_gives_the_network_of_the_config() -> None:
    """Width, depth and dropout, each one that is not the default."""
    model = classifier.build(dataclasses.replace(TINY, width=3, depth=2, dropout=0.35))
    kernels = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [k.out_channels for k in kernels] == [3, 3, 6, 6, 12, 12]
    assert model.dropout.p == 0.35


def test_the_seed_sets_the_weights(data: dict[str, ImageSet]) -> None:
    """Before they have moved: a learning rate of nearly nothing, one step."""
    still = dataclasses.replace(TINY, epochs=1, batch_size=170, learning_rate=1e-9)
    images, labels = data["train"].images, data["train"].labels
    kernels = []
    for seed in (0, 1):
        for now in classifier.fit(still, images, labels, seed):
            kernels.append(next(now.model.parameters()).detach().clone())
    torch.manual_seed(1)
    expected = next(classifier.build(still).parameters()).detach()
    torch.testing.assert_close(kernels[1], expected, rtol=0, atol=1e-6)
    assert (kernels[0] - kernels[1]).abs().max() > 0.05


def test_the_network_is_ready_for_use_after_the_last_step(data: dict[str, ImageSet]) -> None:
    """In training mode on the way, in evaluation mode at the end."""
    modes = []
    for now in classifier.fit(TINY, data["train"].images, data["train"].labels, 0):
        modes.append(now.model.training)
    assert all(modes)
    assert not now.model.training


# measuring ---------------------------------------------------------------------------------------


def test_measure_counts_and_averages(data: dict[str, ImageSet]) -> None:
    """By a loop over images, in evaluation mode, and the mode is left as it was."""
    torch.manual_seed(3)
    model = Classifier(width=2).train()
    images, labels = data["test"].images, data["test"].labels
    found = classifier.measure(model, images, labels)
    assert model.training
    model.eval()
    assert classifier.measure(model, images, labels) == found
    assert not model.training
    right, nats = 0, 0.0
    with torch.no_grad():
        for image, label in zip(images, labels.tolist(), strict=True):
            logits = model(image[None].float() / 255)[0]
            right += int(logits.argmax() == label)
            nats += F.cross_entropy(logits[None], torch.tensor([label])).item()
    assert found["test_accuracy"] == pytest.approx(right / 210)
    assert found["test_cross_entropy_nats"] == pytest.approx(nats / 210, rel=1e-5)


def test_a_run_survives_the_store(data: dict[str, ImageSet], tmp_path: Path) -> None:
    """The restored network computes the same, is frozen, and is measured the same."""
    config = dataclasses.replace(TINY, depth=2, epochs=1)
    run = runs.train(
        "primer/digit_classifier", "cpu", config=dataclasses.replace(config, data="mnist")
    )
    runs.save(run, tmp_path / "run.safetensors")
    back = runs.load(tmp_path / "run.safetensors")
    model = classifier.restore(back)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert digit_classifier.evaluate(back, CPU) == pytest.approx(back.metrics, rel=1e-6)
    assert back.metrics["parameters"] == sum(p.numel() for p in model.parameters())
    assert back.titles == "squares (STAND-IN)"


def test_the_full_config_fits_into_a_published_run(tmp_path: Path) -> None:
    """Untrained weights of the GPU config, in half precision, are smaller than the limit."""
    for config in (classifier.GPU, digit_classifier.GPU):
        model = classifier.build(config)
        assert sum(t.numel() for t in model.state_dict().values()) * 2 < 0.95 * runs.LIMIT


def test_the_configs_name_their_data() -> None:
    """Clothes and digits; mirrored digits are no digits."""
    assert classifier.data(classifier.CPU) == classifier.data(classifier.GPU) == ("fashion_mnist",)
    assert digit_classifier.data(digit_classifier.CPU) == ("mnist",)
    assert digit_classifier.data(digit_classifier.GPU) == ("mnist",)
    assert not digit_classifier.GPU.flip
    assert {k: f.__module__ for k, f in classifier.LOADERS.items()} == {
        "mnist": "litgen.data.mnist",
        "fashion_mnist": "litgen.data.fashion_mnist",
    }
