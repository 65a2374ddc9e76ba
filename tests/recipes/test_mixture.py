"""Proof for litgen/recipes/density/mixture_moons.py and mixture_digits.py, on small configs."""

import dataclasses
import itertools
import math

import pytest
import torch
from torch import Tensor

from litgen import runs
from litgen.data.sources import ImageSet, Record
from litgen.density import factors, mixture
from litgen.recipes import comparison, density_protocol
from litgen.recipes.density import mixture_digits, mixture_moons

CPU = torch.device("cpu")
FEW = mixture_moons.Config(candidates=(1, 6, 3), held_out=500, starts=1, steps=30, tolerance=1e-3)
TINY = mixture_digits.Config(
    components=4, factors=2, floors=(1e-7, 1e-3, 10.0), held_out=60, steps=5
)


@pytest.fixture(scope="module")
def moons_run() -> runs.Run:
    """Return a small run on the moons, as it is stored."""
    run = mixture_moons.train(FEW, 0, CPU)
    run.tensors = {name: value.half() for name, value in run.tensors.items()}
    return run


def test_the_held_out_points_choose(moons_run: runs.Run) -> None:
    """Of 1, 6 and 3 components six fit best; each score is of the last 500 points."""
    held_out = moons_run.history["held_out_nll_nats"]
    assert moons_run.metrics["components"] == 6
    assert min(held_out) == held_out[1]
    points = comparison.train_points()
    one = torch.distributions.MultivariateNormal(
        points[:-500].mean(dim=0), torch.cov(points[:-500].T, correction=0)
    )
    assert held_out[0] == pytest.approx(-one.log_prob(points[-500:]).mean().item(), abs=1e-4)
    seen = moons_run.history["train_nll_nats"][0]
    assert seen == pytest.approx(-one.log_prob(points[:-500]).mean().item(), abs=1e-4)


def test_rounded_weights_are_normalized_again(moons_run: runs.Run) -> None:
    """Half precision leaves a sum that is nearly 1; the restored mixture's is 1."""
    off = dataclasses.replace(moons_run, tensors=dict(moons_run.tensors))
    off.tensors["model.weights"] = 0.999 * moons_run.tensors["model.weights"].float()
    assert mixture_moons.restore(off).weights.sum().item() == pytest.approx(1, abs=1e-6)


def test_the_floors_are_chosen_on_images_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fit sees all but the last 60 images, the score is theirs, once for each floor."""
    x = torch.rand(100, 784, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    seen: list[Tensor] = []
    real = mixture_digits.start

    def start(config: mixture_digits.Config, kept: Tensor, *rest: object) -> mixture.Mixture:
        seen.append(kept)
        return real(config, kept, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(mixture_digits, "start", start)
    config = dataclasses.replace(TINY, floors=(0.05, 0.2), components=1)
    found = mixture_digits.choose_floor(config, x, torch.Generator().manual_seed(0))
    assert all(torch.equal(kept, x[:40]) for kept in seen)
    assert len(found) == len(seen) == 2
    variances = x[:40].var(dim=0, correction=0)
    for bits, floor in zip(found, (0.05, 0.2), strict=True):
        law = torch.distributions.Normal(x[:40].mean(dim=0), variances.clamp(min=floor).sqrt())
        expected = 8 - law.log_prob(x[40:]).sum(dim=1).mean().item() / (784 * math.log(2))
        assert bits == pytest.approx(expected, abs=1e-9)


def test_fitted_points_do_not_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 100 points of one Gaussian four components fit those better, and new ones worse."""
    points = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(comparison, "train_points", lambda: points)
    config = dataclasses.replace(FEW, candidates=(4, 1), held_out=300, steps=40)
    run = mixture_moons.train(config, 0, CPU)
    seen, unseen = (run.history[f"{name}_nll_nats"] for name in ("train", "held_out"))
    assert seen[0] < seen[1]
    assert unseen[0] > unseen[1]
    assert run.metrics["components"] == 1


def test_a_moons_run_is_measured_as_it_is_stored(moons_run: runs.Run) -> None:
    """The restored mixture has the metrics that the run states, and draws its samples."""
    model = mixture_moons.restore(moons_run)
    assert len(model.weights) == 6
    assert model.weights.sum().item() == pytest.approx(1)
    again = mixture_moons.evaluate(moons_run, CPU)
    for name, value in again.items():
        assert moons_run.metrics[name] == pytest.approx(value, abs=1e-5)
    drawn = mixture_moons.sample(moons_run, 2_000, torch.Generator().manual_seed(2))
    assert (drawn - moons_run.tensors["samples"].float()).abs().max() < 0.01
    assert mixture_moons.data(FEW) == ("moons",)


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put small images of bars in MNIST's place: 784 pixels, two directions, moving."""

    def load(split: str) -> ImageSet:
        generator = torch.Generator().manual_seed(len(split))
        count = {"train": 240, "test": 80}[split]
        grey = torch.randint(0, 40, (count, 1, 28, 28), generator=generator)
        where = torch.randint(0, 28, (count,), generator=generator)
        for i, place in enumerate(where.tolist()):
            (grey[i, 0, place] if i % 2 else grey[i, 0, :, place]).fill_(200)
        record = Record("bars", "drawn", "none", "none", split, {split: count}, True)
        return ImageSet(grey.to(torch.uint8), torch.zeros(count).long(), record)

    monkeypatch.setattr(density_protocol.mnist, "load", load)


@pytest.mark.usefixtures("images")
def test_a_digits_run_is_measured_as_it_is_stored() -> None:
    """Metrics by hand from the restored model; the floor with the best held-out score is taken."""
    run = mixture_digits.train(TINY, 0, CPU)
    run.tensors = {name: value.half() for name, value in run.tensors.items()}
    run.provenance["config"] = dataclasses.asdict(TINY)
    scores = run.history["floor_bits"]
    assert run.metrics["floor"] == TINY.floors[scores.index(min(scores))] == 1e-3
    model = mixture_digits.restore(run)
    assert model.variances.min() > 0.99e-3
    train, test = (part.double() for part in density_protocol.grey_digits())

    def bits(x: Tensor) -> float:
        return 8 - factors.log_prob(x, model).mean().item() / (784 * math.log(2))

    assert run.metrics["test_bits"] == pytest.approx(bits(test), abs=1e-9)
    assert run.metrics["train_bits"] == pytest.approx(bits(train), abs=1e-9)
    assert mixture_digits.evaluate(run, CPU)["test_bits"] == pytest.approx(bits(test), abs=1e-9)
    curve = run.history["train_bits"]
    assert len(curve) == 5
    assert all(b <= a + 1e-9 for a, b in itertools.pairwise(curve))
    assert curve[-1] == pytest.approx(bits(train), abs=0.01)
    drawn = mixture_digits.sample(run, 3, torch.Generator().manual_seed(0))
    assert drawn.shape == (3, 1, 28, 28)
    assert [record["name"] for record in run.data] == ["mnist", "mnist"]
    assert run.metrics["parameters"] == 4 + 4 * 784 * (1 + 1 + 2)
    assert mixture_digits.data(TINY) == ("mnist",)


@pytest.mark.usefixtures("images")
def test_the_plain_fit_is_where_the_factors_start() -> None:
    """EM with diagonal covariances from a start among the first images; factors only gain."""
    x = density_protocol.grey_digits()[0].double()
    plain = mixture_digits.start(TINY, x, 1e-3, 4, torch.Generator().manual_seed(0))
    first = mixture.start(x, 4, torch.Generator().manual_seed(0), mixture.diagonal, 1e-3)
    *_, (expected, value) = mixture.em(x, first, 4, 1e-3)
    torch.testing.assert_close(plain.means, expected.means)
    model, curve = mixture_digits.fit(TINY, x, plain, 1e-3, torch.Generator().manual_seed(0))
    assert curve[-1] < 8 - value.item() / (784 * math.log(2))
    torch.testing.assert_close(
        curve[-1], 8 - factors.log_prob(x, model).mean().item() / (784 * math.log(2))
    )
