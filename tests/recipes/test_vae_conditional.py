"""Proof for litgen/recipes/vae/conditional_digits.py and quadrants.py, on tiny images."""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.distributions import Bernoulli, Normal

from litgen import runs
from litgen.data.sources import ImageSet, Record
from litgen.recipes import pictures
from litgen.recipes.vae import conditional_digits, quadrants
from litgen.vae.conditional import from_prior
from litgen.vae.conditional_networks import CVAE, one_hot
from litgen.vae.quadrants import Quadrants, nearest
from tests import oracles

CPU = torch.device("cpu")
SIDE, PIXELS = 8, 64
DIGITS = conditional_digits.Config(
    hidden=(16,), latent=2, epochs=12, batch_size=20, test_images=40, samples=4, mixed=False
)
CUT = quadrants.Config(
    hidden=(16,),
    baseline=(16,),
    latent=2,
    epochs=20,
    baseline_epochs=20,
    batch_size=20,
    known=150,
    test_images=40,
    samples=4,
    mixed=False,
)


def bars(count: int, split: str, seed: int) -> ImageSet:
    """Return 8x8 images with one bright row; the label is the row, its right half may be dark.

    Whether it is, the left half does not tell: a completion has to choose.
    """
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 20, (count, 1, SIDE, SIDE), generator=generator)
    labels = torch.randint(0, SIDE, (count,), generator=generator)
    bright = torch.randint(0, 2, (count,), generator=generator)
    for image, label, right in zip(images, labels, bright, strict=True):
        image[0, label, : 8 if right else 4] = 240
    record = Record(
        "bars", f"drawn, {split}", "none", "none", f"{split}{seed}", {split: count}, True
    )
    return ImageSet(images.to(torch.uint8), labels, record)


@pytest.fixture(autouse=True)
def data(monkeypatch: pytest.MonkeyPatch) -> dict[str, ImageSet]:
    """Put the bars in MNIST's place."""
    sets = {"train": bars(200, "train", 1), "test": bars(50, "test", 2)}
    monkeypatch.setitem(pictures.LOADERS, "mnist", sets.__getitem__)
    return sets


@pytest.fixture(autouse=True)
def _precision() -> Iterator[None]:
    """Undo what runs.train sets for the whole process."""
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def test_a_class_is_learned_and_read(data: dict[str, ImageSet], tmp_path: Path) -> None:
    """The whole path of the GPU config, tiny: the row asked for is the brightest."""
    wanted = dataclasses.replace(
        conditional_digits.GPU,
        hidden=(24,),
        latent=2,
        epochs=15,
        batch_size=20,
        learning_rate=1e-2,
        test_images=40,
        samples=4,
        mixed=False,
    )
    run = runs.train("vae/conditional_digits", "gpu", seed=3, config=wanted)
    runs.save(run, tmp_path / "run.safetensors")
    back = runs.load(tmp_path / "run.safetensors")
    assert conditional_digits.evaluate(back, CPU) == pytest.approx(run.metrics, rel=1e-5)
    losses = run.history["train_loss_nats"]
    assert losses[-1] < 0.8 * losses[0]
    model = conditional_digits.restore(back)
    assert not model.training
    asked = torch.arange(SIDE)
    drawn = conditional_digits.draw(model, asked, torch.zeros(SIDE, 2))
    assert drawn.shape == (SIDE, 1, SIDE, SIDE)
    assert 0 <= drawn.min() < drawn.max() <= 1
    assert torch.equal(drawn[:, 0, :, :4].sum(dim=2).argmax(dim=1), asked)
    pictures_ = conditional_digits.sample(back, 12, torch.Generator().manual_seed(0))
    z = torch.randn(12, 2, generator=torch.Generator().manual_seed(0))
    expected = conditional_digits.draw(model, torch.arange(12) % 10, z)
    torch.testing.assert_close(pictures_, expected)
    assert conditional_digits.data(wanted) == ("mnist",)
    assert len(data) == 2


def test_measure_of_digits_is_what_a_slow_loop_finds(data: dict[str, ImageSet]) -> None:
    """eq:cvae-estimator and eq:cvae-importance, image by image, with torch.distributions."""
    *_, last = conditional_digits.fit(
        DIGITS, data["train"].images.flatten(1), data["train"].labels, seed=0
    )
    pixels, labels = data["test"].images.flatten(1)[:30], data["test"].labels[:30]
    found = conditional_digits.measure(DIGITS, last.model, pixels, labels)
    uniform = torch.rand(30, PIXELS, generator=torch.Generator().manual_seed(0))
    x, y = (uniform * 255 < pixels).float(), torch.eye(10)[labels]
    draw = torch.Generator().manual_seed(0)
    one = torch.randn(30, 2, generator=draw)
    many = torch.randn(4, 30, 2, generator=draw)
    nll, bound, kls = [], [], []
    with torch.no_grad():
        mean, log_var = last.model.encoder(x, y)
        for i in range(30):
            q, p = Normal(mean[i], log_var[i].exp().sqrt()), Normal(torch.zeros(2), torch.ones(2))
            terms = []
            for noise in (one[i], *many[:, i]):
                z = q.mean + q.stddev * noise
                law = Bernoulli(logits=last.model.decoder(z[None], y[i : i + 1])[0])
                ratio = (p.log_prob(z) - q.log_prob(z)).sum()
                terms.append((law.log_prob(x[i]).sum().item(), ratio.item()))
            kls.append(torch.distributions.kl_divergence(q, p).sum().item())
            bound.append(kls[-1] - terms[0][0])
            nll.append(-oracles.log_mean_exp([a + b for a, b in terms[1:]]))
    assert found["test_nll_nats"] == pytest.approx(math.fsum(nll) / 30, rel=1e-4)
    assert found["test_negative_elbo_nats"] == pytest.approx(math.fsum(bound) / 30, rel=1e-4)
    assert found["test_kl_nats"] == pytest.approx(math.fsum(kls) / 30, rel=1e-4)
    assert found["test_kl_nats"] > 0.1
    assert (found["test_images"], found["importance_samples"]) == (30, 4)


def test_a_model_that_is_not_told_sees_no_class(data: dict[str, ImageSet]) -> None:
    """Its condition's weights never move from where they started."""
    images, labels = data["train"].images.flatten(1), data["train"].labels
    config = dataclasses.replace(DIGITS, epochs=1)
    weights = {}
    for told in (True, False):
        for now in conditional_digits.fit(config, images, labels, 0, told=told):
            if now.turn == 0:
                start = now.model.decoder.condition.weight.detach().clone()
        weights[told] = (now.model.decoder.condition.weight - start).abs().max()
    assert weights[True] > 1e-4
    assert weights[False] == 0


@pytest.fixture(scope="module")
def completed() -> runs.Run:
    """Train the tiny models of one and of three quadrants, once."""
    config = dataclasses.replace(
        quadrants.GPU,
        **{
            field.name: getattr(CUT, field.name)
            for field in dataclasses.fields(CUT)
            if field.name not in ("learning_rate", "quadrants")
        },
        quadrants=(1, 3),
        learning_rate=1e-2,
    )
    sets = {"train": bars(200, "train", 1), "test": bars(50, "test", 2)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(pictures.LOADERS, "mnist", sets.__getitem__)
        return runs.train("vae/quadrants", "gpu", seed=2, config=config)


def test_the_whole_path_of_quadrants(completed: runs.Run, tmp_path: Path) -> None:
    """Trained, stored, read, measured again; a CVAE beats independent pixels where it must."""
    runs.save(completed, tmp_path / "run.safetensors")
    back = runs.load(tmp_path / "run.safetensors")
    again = quadrants.evaluate(back, CPU)
    assert again == pytest.approx(completed.metrics, rel=1e-5)
    models = quadrants.restore(back)
    assert set(models) == {"cvae1", "cvae3", "baseline1", "baseline3"}
    assert not any(m.training for m in models.values())
    m = completed.metrics
    assert m["cvae_1_importance_nats"] < m["baseline_1_nats"]
    assert m["cvae_1_importance_nats"] < m["neighbours_1_nats"] <= m["nearest_1_nats"] + 1e-9
    assert m["cvae_1_importance_nats"] <= m["cvae_1_negative_elbo_nats"]
    assert m["cvae_1_kl_nats"] > 0.05
    shown = quadrants.sample(back, 6, torch.Generator().manual_seed(1))
    assert shown.shape == (6, 1, SIDE, SIDE)
    kept = back.tensors["examples.x"][:6].float()
    seen = Quadrants(SIDE, 1).seen
    assert torch.equal(shown.flatten(1)[:, seen], kept[:, seen])
    assert 0 < shown.flatten(1)[:, ~seen].min() < shown.flatten(1)[:, ~seen].max() < 1
    with pytest.raises(ValueError, match="the run keeps 40 images, 41 asked for"):
        quadrants.sample(back, 41, torch.Generator())
    assert quadrants.data(CUT) == ("mnist",)


def test_measure_of_quadrants_is_what_a_slow_loop_finds(
    completed: runs.Run, data: dict[str, ImageSet]
) -> None:
    """eq:cvae-importance and eq:cvae-monte-carlo, and the baseline's sum over hidden pixels."""
    models = quadrants.restore(completed)
    images = quadrants.test_images(CUT, data["test"])
    assert images.shape == (40, PIXELS)
    assert torch.equal(images, quadrants.test_images(CUT, data["test"]))
    seen = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    seen[4:, :4] = True
    y, x = images[:, seen.flatten()], images[:, ~seen.flatten()]
    model = models["cvae1"]
    assert isinstance(model, CVAE)
    found = quadrants.measure(CUT, "cvae", 1, model, images)
    for name, proposal in (
        ("importance", model.encoder),
        ("monte_carlo", from_prior(model.prior)),
    ):
        noise = torch.randn(4, 40, 2, generator=torch.Generator().manual_seed(0))
        total = []
        for i in range(40):
            q, p = (
                Normal(mean[0], log_var[0].exp().sqrt())
                for mean, log_var in (
                    proposal(x[i : i + 1], y[i : i + 1]),
                    model.prior(y[i : i + 1]),
                )
            )
            terms = []
            for e in noise[:, i]:
                z = q.mean + q.stddev * e
                law = Bernoulli(logits=model.decoder(z[None], y[i : i + 1])[0])
                weight = law.log_prob(x[i]).sum() + (p.log_prob(z) - q.log_prob(z)).sum()
                terms.append(weight.item())
            total.append(-oracles.log_mean_exp(terms))
        assert found[f"cvae_1_{name}_nats"] == pytest.approx(math.fsum(total) / 40, rel=1e-4)
    law = Bernoulli(logits=models["baseline1"](y))
    expected = -law.log_prob(x).sum(dim=1).mean().item()
    assert quadrants.measure(CUT, "baseline", 1, models["baseline1"], images) == {
        "baseline_1_nats": pytest.approx(expected, rel=1e-5)
    }


def test_neighbours_are_chosen_without_the_test_images(
    data: dict[str, ImageSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    """eq:cvae-neighbour: the validation images choose; then the test images are measured."""
    pixels, images = data["train"].images.flatten(1), quadrants.test_images(CUT, data["test"])
    asked: list[int] = []

    def counted(condition: torch.Tensor, known: torch.Tensor, k: int) -> torch.Tensor:
        asked.append(len(condition))
        return nearest(condition, known, k)

    monkeypatch.setattr(quadrants, "nearest", counted)
    found = quadrants.neighbours(CUT, 1, pixels, images)
    assert asked == [len(pixels) - 150, len(images)], "first the validation, then the test images"
    draw = torch.Generator().manual_seed(1)
    cut = Quadrants(SIDE, 1)

    def drawn(grey: torch.Tensor) -> torch.Tensor:
        return (torch.rand(grey.shape, generator=draw) * 255 < grey).float()

    known, validation = drawn(pixels[:150]), drawn(pixels[150:])
    grey = cut.split(pixels[:150])[0].float() / 255

    def nats(x: torch.Tensor, k: int, count: float) -> float:
        order = nearest(cut.split(x)[1], cut.split(known)[1], 40)[:, :k]
        p = (grey[order].sum(dim=1) + count) / (k + 2 * count)
        return -Bernoulli(p).log_prob(cut.split(x)[0]).sum(dim=1).mean().item()

    errors = {choice: nats(validation, *choice) for choice in quadrants.CHOICES}
    best = min(errors, key=errors.__getitem__)
    single = min((c for c in errors if c[0] == 1), key=errors.__getitem__)
    assert found["neighbours_1"] == best[0]
    assert found["neighbours_1_nats"] == pytest.approx(nats(images, *best), rel=1e-4)
    assert found["nearest_1_nats"] == pytest.approx(nats(images, *single), rel=1e-4)


def test_completions_come_from_the_learned_prior(completed: runs.Run) -> None:
    """Probabilities for codes mean + sd * noise of p(z|y); other noise, other completions."""
    model = quadrants.restore(completed)["cvae1"]
    assert isinstance(model, CVAE)
    condition = Quadrants(SIDE, 1).split(completed.tensors["examples.x"][:5].float())[1]
    noise = torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(1))
    found = quadrants.complete(model, condition, noise)
    mean, log_var = model.prior(condition)
    for s in range(3):
        logits = model.decoder(mean + log_var.exp().sqrt() * noise[s], condition)
        torch.testing.assert_close(found[s], 1 / (1 + (-logits).exp()))
    assert found.std(dim=0).max() > 0.01


def test_a_seed_reproduces_a_run(data: dict[str, ImageSet]) -> None:
    """Same seed, same tensors; another seed, others; both recipes."""
    assert len(data) == 2
    short = dataclasses.replace(CUT, quadrants=(2,), epochs=1, baseline_epochs=1)
    for module, config in (
        (conditional_digits, dataclasses.replace(DIGITS, epochs=1)),
        (quadrants, short),
    ):
        first, again, other = (module.train(config, seed, CPU) for seed in (1, 1, 2))
        torch.testing.assert_close(first.tensors, again.tensors, rtol=0, atol=0)
        assert first.metrics == again.metrics
        assert first.history == again.history
        assert first.history != other.history


def test_unknown_kinds_are_errors() -> None:
    """The message names those there are."""
    with pytest.raises(ValueError, match="unknown kind 'gan'; there are: cvae, baseline"):
        quadrants.build(CUT, "gan", 1)
    with pytest.raises(ValueError, match="1, 2 or 3 quadrants can be seen, got 4"):
        quadrants.build(CUT, "cvae", 4)
    assert one_hot(torch.tensor([9]), conditional_digits.CLASSES).shape == (1, 10)
