"""Proof for litgen/recipes/primer/optimisers.py, on a tiny data set in Fashion-MNIST's format.

The judges are torch.nn and torch.optim, one training at a time.
"""

import dataclasses
import itertools
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from litgen import runs
from litgen.data import fashion_mnist
from litgen.data.sources import ImageSet, Record
from litgen.recipes.primer import optimisers

CPU = torch.device("cpu")
TINY = optimisers.Config(
    side=4, hidden=5, steps=12, batch_size=6, rates=3, seeds=2, test_images=50
)
THEIRS: dict[str, Any] = {
    "SGD": torch.optim.SGD,
    "heavy ball": partial(torch.optim.SGD, momentum=0.9),
    "Nesterov": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
    "RMSProp": torch.optim.RMSprop,
    "Adam": torch.optim.Adam,
}


def patches(split: str, count: int, seed: int) -> ImageSet:
    """Return images whose bright patch says their class."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 80, (count, 1, 28, 28), generator=generator)
    labels = torch.randint(0, 10, (count,), generator=generator)
    for image, label in zip(images, labels.tolist(), strict=True):
        row, column = 7 * (label // 4), 7 * (label % 4)
        image[0, row : row + 7, column : column + 7] = 250
    record = Record("patches", "drawn", "none", "none", f"{split}{seed}", {split: count}, True)
    return ImageSet(images.to(torch.uint8), labels, record)


@pytest.fixture(autouse=True)
def _data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the patches in Fashion-MNIST's place."""
    sets = {"train": patches("train", 200, 1), "test": patches("test", 60, 2)}
    monkeypatch.setattr(fashion_mnist, "load", sets.__getitem__)
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def one_by_one(name: str, rate: float, seed: int, images: Tensor, labels: Tensor) -> Any:
    """Train one network with torch.nn and torch.optim; return losses and the network."""
    generator = torch.Generator().manual_seed(4)
    start = optimisers.initial(TINY, images.shape[1], generator)
    model = nn.Sequential(nn.Linear(images.shape[1], 5), nn.ReLU(), nn.Linear(5, 10))
    with torch.no_grad():
        for mine, theirs in zip(model.parameters(), start, strict=True):
            value = theirs[seed]
            mine.copy_(value.T if mine.dim() == 2 else value[0])
    optimizer = THEIRS[name](model.parameters(), lr=rate)
    found = []
    for _ in range(TINY.steps):
        index = torch.randint(len(images), (TINY.seeds, TINY.batch_size), generator=generator)
        loss = F.cross_entropy(model(images[index[seed]]), labels[index[seed]])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found, model


@pytest.mark.parametrize("name", list(THEIRS))
def test_trainings_side_by_side_are_trainings_alone(name: str) -> None:
    """Losses, weights, test loss and accuracy of every learning rate and seed."""
    train_set = fashion_mnist.load("train")
    images = F.avg_pool2d(train_set.images.float(), 7).flatten(1) / 255
    config = dataclasses.replace(TINY)
    curve, parameters = optimisers.fit(config, name, images, train_set.labels, seed=4)
    nll, accuracy = optimisers.measure(parameters, images, train_set.labels)
    low = optimisers.OPTIMISERS[name][1]
    assert curve.shape == (6, 10)
    for r, s in itertools.product(range(3), range(2)):
        losses, model = one_by_one(name, 10 ** (low + r / 2), s, images, train_set.labels)
        i = r * TINY.seeds + s
        groups = torch.tensor(losses).tensor_split(10)
        expected = torch.stack([g.mean() for g in groups])
        torch.testing.assert_close(curve[i], expected, rtol=1e-3, atol=1e-3)
        output = model(images)
        loss = F.cross_entropy(output, train_set.labels)
        torch.testing.assert_close(nll[i], loss.detach(), rtol=1e-3, atol=1e-3)
        right = (output.argmax(1) == train_set.labels).float().mean()
        assert accuracy[i].item() == pytest.approx(right.item(), abs=0.011)
    assert nll.std() > 1e-3


def test_a_run_is_complete_and_comes_back(tmp_path: Path) -> None:
    """Results of each optimiser by rate and seed, the best by validation, the kept network."""
    longer = dataclasses.replace(TINY, steps=200)
    run = runs.train("primer/optimisers", "cpu", seed=0, config=longer)
    runs.save(run, tmp_path / "run.safetensors")
    back = runs.load(tmp_path / "run.safetensors")
    for name in THEIRS:
        assert back.tensors[f"{name}.curve"].shape == (3, 2, 10)
        validation, nll, accuracy = (
            back.tensors[f"{name}.{kind}"].float()
            for kind in ("validation_nll", "nll", "accuracy")
        )
        best = validation.mean(dim=1).argmin()
        low = optimisers.OPTIMISERS[name][1]
        assert run.metrics[f"{name}_rate"] == pytest.approx(10 ** (low + best.item() / 2))
        assert run.metrics[f"{name}_test_nll_nats"] == pytest.approx(
            nll[best].mean().item(), abs=2e-3
        )
        assert run.metrics[f"{name}_test_accuracy"] == pytest.approx(
            accuracy[best].mean().item(), abs=1e-3
        )
        assert validation.std() > 1e-4
        assert not torch.equal(validation, nll)
    kept = optimisers.restore(back)
    again = optimisers.evaluate(back, CPU)
    assert again == pytest.approx({k: back.metrics[k] for k in again})
    test = fashion_mnist.load("test")
    images = optimisers.shrunk(test.images[:50], 4)
    loss = F.cross_entropy(kept(images), test.labels[:50]).item()
    assert loss == pytest.approx(back.metrics["test_nll_nats"], abs=1e-4)
    adam = back.tensors["Adam.nll"].float()
    row = back.tensors["Adam.validation_nll"].float().mean(dim=1).argmin()
    assert row > 0
    assert (adam[row, 0] - adam[0, 0]).abs() > 0.01
    assert adam[row, 0].item() == pytest.approx(loss, abs=5e-3)
    assert run.stand_in
    assert [(d["name"], d["split"]) for d in run.data] == [
        ("fashion_mnist", "train"),
        ("fashion_mnist", "test"),
    ]


def test_validation_images_are_not_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last tenth of a small set, at most 5,000 images, is held out."""
    seen, measured = [], []
    fit, measure = optimisers.fit, optimisers.measure

    def spy(config: Any, name: str, images: Tensor, labels: Tensor, seed: int) -> Any:
        seen.append(images)
        return fit(config, name, images, labels, seed)

    def spy_too(parameters: list[Tensor], images: Tensor, labels: Tensor) -> Any:
        measured.append((images, labels))
        return measure(parameters, images, labels)

    monkeypatch.setattr(optimisers, "fit", spy)
    monkeypatch.setattr(optimisers, "measure", spy_too)
    optimisers.train(TINY, 0, CPU)
    train = optimisers.shrunk(fashion_mnist.load("train").images, 4)
    assert all(torch.equal(images, train[:180]) for images in seen)
    assert len(measured) == 2 * len(seen) + 1
    for images, labels in measured[:-1:2]:
        assert torch.equal(images, train[180:])
        assert torch.equal(labels, fashion_mnist.load("train").labels[180:])


def test_a_seed_reproduces_a_run() -> None:
    """Same seed, same results; another seed, others; all rates start from the same weights."""
    first, again, other = (optimisers.train(TINY, seed, CPU) for seed in (1, 1, 2))
    torch.testing.assert_close(first.tensors, again.tensors, rtol=0, atol=0)
    assert not torch.equal(first.tensors["Adam.nll"], other.tensors["Adam.nll"])
    start = optimisers.initial(TINY, 16, torch.Generator().manual_seed(0))
    for values in start:
        assert torch.equal(values[:2], values[2:4])
        assert not torch.equal(values[0], values[1])
        bound = 1 / 4 if values.shape[-1] == 5 else 1 / 5**0.5
        assert 0.6 * bound < values.abs().max() <= bound


def test_images_are_averaged_over_squares() -> None:
    """White stays 1; each pixel is the mean of its square; a side of 28 changes nothing else."""
    images = fashion_mnist.load("train").images[:3]
    white = torch.full((1, 1, 28, 28), 255, dtype=torch.uint8)
    assert (optimisers.shrunk(white, 14) == 1).all()
    found = optimisers.shrunk(images, 14).view(3, 14, 14)
    square = images[1, 0, 6:8, 10:12].float().mean() / 255
    torch.testing.assert_close(found[1, 3, 5], square)
    torch.testing.assert_close(optimisers.shrunk(images, 28), images.flatten(1).float() / 255)


def test_what_diverged_has_an_infinite_loss() -> None:
    """And not one that compares as nothing at all."""
    parameters = [p.double() for p in optimisers.initial(TINY, 16, torch.Generator())]
    parameters[3][0] = float("nan")
    images, labels = torch.rand(7, 16).double(), torch.arange(7)
    nll, accuracy = optimisers.measure(parameters, images, labels)
    assert nll[0] == float("inf")
    assert nll[1:].isfinite().all()
    assert accuracy.isfinite().all()


@pytest.mark.usefixtures("unchecked")
def test_what_does_not_fit_is_refused() -> None:
    """Unknown optimisers, sides that do not divide 28, and samples of a classifier."""
    with pytest.raises(ValueError, match="unknown optimiser 'Adagrad'; there are: SGD, heavy"):
        optimisers.rates(TINY, "Adagrad")
    with pytest.raises(ValueError, match="side 28 do not shrink to 5"):
        optimisers.shrunk(torch.zeros(1, 1, 28, 28, dtype=torch.uint8), 5)
    run = optimisers.train(TINY, 0, CPU)
    with pytest.raises(ValueError, match="draws no samples"):
        optimisers.sample(run, 3, torch.Generator())
