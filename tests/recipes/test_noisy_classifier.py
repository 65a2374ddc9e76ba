"""Proof for litgen/recipes/diffusion/noisy_classifier.py, on tiny drawn sets."""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from litgen import runs
from litgen.data.sources import ImageSet, Record
from litgen.recipes.diffusion import noisy_classifier
from litgen.recipes.diffusion.noisy_classifier import Config, NoisyClassifier

CPU = torch.device("cpu")
TINY = Config(width=8, turns=60, batch_size=32, learning_rate=0.01, test_images=150, mixed=False)


def squares(count: int, split: str, seed: int) -> ImageSet:
    """Return black images with one white square; the label says in which quarter it lies."""
    labels = torch.randint(0, 4, (count,), generator=torch.Generator().manual_seed(seed))
    images = torch.zeros(count, 1, 28, 28, dtype=torch.uint8)
    for image, label in zip(images, labels.tolist(), strict=True):
        top, left = 2 + 14 * (label // 2), 2 + 14 * (label % 2)
        image[0, top : top + 10, left : left + 10] = 255
    record = Record(
        "squares", f"drawn, {split}", "none", "none", f"{split}{seed}", {split: count}, True
    )
    return ImageSet(images, labels, record)


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> dict[str, ImageSet]:
    """Put the squares in the place of the digits."""
    sets = {"train": squares(300, "train", 1), "test": squares(200, "test", 2)}
    monkeypatch.setattr(noisy_classifier.mnist, "load", sets.__getitem__)
    return sets


@pytest.fixture(autouse=True)
def _precision() -> Iterator[None]:
    """Undo what runs.train sets for the whole process."""
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def test_it_names_what_is_under_the_noise(data: dict[str, ImageSet]) -> None:
    """Nearly all without noise and with half of it, a quarter by luck where only noise is left."""
    run = noisy_classifier.train(TINY, 0, CPU)
    accuracy = [v for k, v in run.metrics.items() if k.startswith("test_accuracy_")]
    assert list(run.metrics)[:3] == ["test_accuracy_0", "test_accuracy_10", "test_accuracy_20"]
    assert len(accuracy) == 11
    assert min(accuracy[:6]) > 0.95
    assert accuracy[-1] < 0.45
    assert run.metrics["test_images"] == 150
    curve = run.history["train_loss_nats"]
    assert len(curve) == 60
    assert curve[0] == pytest.approx(math.log(10), abs=0.6)
    assert curve[-1] < 1.0
    for name, tensor in run.tensors.items():
        assert torch.equal(tensor.half().float(), tensor), name
    assert [(r["name"], r["split"], r["title"]) for r in run.data] == [
        ("mnist", "train", "squares"),
        ("mnist", "test", "squares"),
    ]


def test_the_loss_is_that_of_images_under_noise_of_their_own_times(
    data: dict[str, ImageSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    """x_t = sqrt(alpha_bar) x + sqrt(1 - alpha_bar) noise for x in [-1, 1], t even over 0..T."""
    seen: list[tuple[Tensor, Tensor, Tensor]] = []
    original = NoisyClassifier.forward

    def forward(self: NoisyClassifier, x_t: Tensor, t: Tensor) -> Tensor:
        logits = original(self, x_t, t)
        seen.append((x_t.detach(), t, logits.detach()))
        return logits

    monkeypatch.setattr(NoisyClassifier, "forward", forward)
    images, labels = data["train"].images, data["train"].labels
    config = dataclasses.replace(TINY, turns=40, batch_size=100)
    losses = [now.loss for now in noisy_classifier.fit(config, images, labels, 3)]
    order = torch.randperm(300, generator=torch.Generator().manual_seed(3))
    bar = noisy_classifier.schedule_of(config).alpha_bar.float()
    draw = torch.Generator().manual_seed(3)
    for n in range(3):
        x_t, t, logits = seen[n]
        chosen = order[100 * n : 100 * (n + 1)]
        share = bar[t].view(-1, 1, 1, 1)
        x = images[chosen] / 255 * 2 - 1
        noise = torch.randn(x.shape, generator=draw)
        torch.testing.assert_close(x_t, share.sqrt() * x + (1 - share).sqrt() * noise)
        torch.testing.assert_close(losses[n], F.cross_entropy(logits, labels[chosen]))
    times = torch.cat([t for _, t, _ in seen])
    assert times.min() < 5
    assert times.max() > config.steps - 5
    assert times.float().mean().item() == pytest.approx(500, abs=5 * 289 / math.sqrt(len(times)))


def test_the_network_is_told_the_time(generator: torch.Generator) -> None:
    """The same image at two times has two answers; gradients reach the image."""
    torch.manual_seed(0)
    model = NoisyClassifier(TINY)
    x = torch.randn(2, 1, 28, 28, generator=generator).requires_grad_()
    early, late = (model(x, torch.tensor([t, t])) for t in (10, 900))
    assert early.shape == (2, 10)
    assert (early - late).abs().max() > 1e-3
    gradient = torch.autograd.grad(early[0, 3], x)[0]
    assert gradient[0].abs().mean() > 1e-5
    assert not gradient[1].any()


def test_the_rate_goes_through_one_cycle_and_the_seed_counts(
    data: dict[str, ImageSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to the peak, down to nearly nothing; the same seed gives the same network."""
    rates: list[float] = []
    original = torch.optim.Adam.step

    def step(self: torch.optim.Adam, *args: object) -> object:
        rates.append(self.param_groups[0]["lr"])
        return original(self)

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    config = dataclasses.replace(TINY, turns=10)
    ends = []
    for seed in (0, 0, 1):
        modes = []
        for now in noisy_classifier.fit(config, data["train"].images, data["train"].labels, seed):
            modes.append(now.model.training)
        assert all(modes)
        assert not now.model.training
        ends.append(torch.cat([p.detach().flatten() for p in now.model.parameters()]))
    assert len(rates) == 30
    assert max(rates[:10]) == pytest.approx(0.01, rel=0.01)
    assert rates[9] < 1e-5
    assert torch.equal(ends[0], ends[1])
    assert (ends[0] - ends[2]).abs().max() > 0.01


def test_measure_counts_right_answers(data: dict[str, ImageSet]) -> None:
    """By a network that knows the answer: it counts bright pixels of each quarter."""

    class Knows(NoisyClassifier):
        """It sees through noise up to half of T, and says class 0 later."""

        def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
            """Return the mean of each quarter."""
            quarters = F.avg_pool2d(x_t, 14).flatten(1)
            late = F.one_hot(torch.zeros_like(t), 4).float()
            return torch.where((t <= 500)[:, None], quarters, late)

    images, labels = data["test"].images, data["test"].labels
    found = noisy_classifier.measure(TINY, Knows(TINY), images, labels)
    assert found["test_accuracy_0"] == found["test_accuracy_50"] == 1.0
    first = (labels[:150] == 0).float().mean().item()
    assert found["test_accuracy_60"] == found["test_accuracy_100"] == pytest.approx(first)


def test_a_run_survives_the_store(data: dict[str, ImageSet], tmp_path: Path) -> None:
    """The restored network computes the same, is frozen, and is measured the same."""
    config = dataclasses.replace(TINY, turns=5, blocks=2)
    run = runs.train("diffusion/noisy_classifier", "cpu", config=config)
    runs.save(run, tmp_path / "run.safetensors")
    back = runs.load(tmp_path / "run.safetensors")
    model = noisy_classifier.restore(back)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert len(model.blocks) == 2
    assert noisy_classifier.evaluate(back, CPU) == pytest.approx(back.metrics, rel=1e-6)
    assert back.titles == "squares (STAND-IN)"


def test_the_configs() -> None:
    """Digits; the guided model's schedule; the full one is small enough to publish."""
    assert noisy_classifier.data(noisy_classifier.CPU) == ("mnist",)
    for config in (noisy_classifier.CPU, noisy_classifier.GPU):
        assert noisy_classifier.schedule_of(config).steps == 1_000
    linear = noisy_classifier.schedule_of(dataclasses.replace(TINY, schedule="linear", steps=50))
    assert linear.steps == 50
    assert linear.betas.diff().std() < 1e-6
    weights = NoisyClassifier(noisy_classifier.GPU).state_dict().values()
    assert sum(w.numel() for w in weights) * 2 < 0.95 * runs.LIMIT
