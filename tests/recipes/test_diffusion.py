"""Proof for litgen/recipes/diffusion/digits.py and clothes.py, on a tiny set in MNIST's format."""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from litgen import runs
from litgen.data.sources import ImageSet, Record
from litgen.diffusion import ddpm
from litgen.diffusion import schedule as schedules
from litgen.diffusion.schedule import Schedule
from litgen.recipes.diffusion import clothes, digits

CPU = torch.device("cpu")
TINY = dataclasses.replace(
    digits.CPU, widths=(8, 8), turns=12, batch_size=8, steps=50, test_images=6, mixed=False
)


def shapes(count: int, split: str, seed: int) -> ImageSet:
    """Return 28x28 images of one bright square each, whose place and size say the class."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 40, (count, 1, 28, 28), generator=generator)
    labels = torch.randint(0, 10, (count,), generator=generator)
    for image, label in zip(images, labels.tolist(), strict=True):
        image[0, 2 * label : 2 * label + 8, 4 : 8 + 2 * label] = 230
    record = Record("squares", f"drawn, {split}", "none", "none", f"{split}{seed}", {}, True)
    return ImageSet(images.to(torch.uint8), labels, record)


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> dict[str, ImageSet]:
    """Put the squares in the place of both data sets."""
    sets = {"train": shapes(60, "train", 1), "test": shapes(120, "test", 2)}
    for name in ("mnist", "fashion_mnist"):
        monkeypatch.setitem(digits.LOADERS, name, sets.__getitem__)
    return sets


@pytest.fixture(autouse=True)
def _precision() -> Iterator[None]:
    """Undo what runs.train sets for the whole process."""
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def test_a_seed_reproduces_a_run_to_the_bit(data: dict[str, ImageSet]) -> None:
    """Same seed, same tensors, metrics and curve; another seed, others."""
    first = digits.train(TINY, 1, CPU)
    torch.rand(7)  # the state of the world before a training does not matter
    again, other = digits.train(TINY, 1, CPU), digits.train(TINY, 2, CPU)
    torch.testing.assert_close(first.tensors, again.tensors, rtol=0, atol=0)
    assert first.metrics == again.metrics
    assert first.history == again.history
    assert first.history["train_loss"] != other.history["train_loss"]
    assert torch.equal(first.tensors["examples.x"], data["test"].images[:100])
    assert torch.equal(first.tensors["examples.label"].long(), data["test"].labels[:100])


def test_training_learns(data: dict[str, ImageSet]) -> None:
    """The loss falls well below that of the silent network the training starts with."""
    config = dataclasses.replace(TINY, turns=60, batch_size=16)
    losses = torch.stack(
        [now.loss for now in digits.fit(config, data["train"].images, data["train"].labels, 0)]
    )
    assert losses[-10:].mean() < 0.6 * losses[:3].mean()


def test_the_average_follows_the_weights(data: dict[str, ImageSet]) -> None:
    """What is yielded is the moving average: with decay 0 the last weights, else behind them."""
    images, labels = data["train"].images, data["train"].labels
    ends = []
    for decay in (0.0, 0.9):
        config = dataclasses.replace(TINY, average=decay)
        *_, now = digits.fit(config, images, labels, 0)
        ends.append(torch.cat([p.detach().flatten() for p in now.model.parameters()]))
    torch.manual_seed(0)
    start = torch.cat([p.detach().flatten() for p in digits.Denoiser(TINY).parameters()])
    assert 0 < (ends[1] - start).norm() < (ends[0] - start).norm()


def test_some_labels_are_hidden(
    data: dict[str, ImageSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    """About the share that the config says; the others are those of the images shown."""
    seen = []
    forward = digits.Denoiser.forward

    def spy(self: digits.Denoiser, x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        seen.append((t, labels))
        return forward(self, x_t, t, labels)

    monkeypatch.setattr(digits.Denoiser, "forward", spy)
    config = dataclasses.replace(TINY, dropout=0.3, turns=40, batch_size=16)
    list(digits.fit(config, data["train"].images, data["train"].labels, 0))
    times, labels = (torch.cat(part) for part in zip(*seen, strict=True))
    assert len(labels) == 640
    assert 0.2 < (labels == 10).float().mean() < 0.4
    assert set(labels.tolist()) <= {*data["train"].labels.tolist(), 10}
    assert (times.min(), times.max()) == (1, 50)


def test_the_network_sees_blocks_of_pixels_as_channels() -> None:
    """An answer depends on its own block with patch 2, before the U-Net looks around."""
    model = digits.Denoiser(TINY)
    asked = []
    model.unet.register_forward_pre_hook(lambda _m, inputs: asked.append(inputs[0]))
    x = torch.arange(2 * 28 * 28.0).view(2, 1, 28, 28)
    assert model(x, torch.tensor([1, 50]), torch.tensor([3, 10])).shape == x.shape
    assert asked[0].shape == (2, 4, 14, 14)
    for k, (i, j) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        assert torch.equal(asked[0][:, k], x[:, 0, i::2, j::2])
    # and back again: a U-Net that repeats its input leaves the image as it is
    model.unet = Echo()  # type: ignore[assignment]
    assert torch.equal(model(x, torch.tensor([1, 50]), torch.tensor([3, 10])), x)


class Echo(torch.nn.Module):
    """Says what it hears."""

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """Return the input."""
        return x


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_the_schedule_is_the_configs(name: str) -> None:
    """By its name, with the config's number of steps."""
    expected = {"linear": schedules.linear, "cosine": schedules.cosine}[name](70)
    config = dataclasses.replace(TINY, schedule=name, steps=70)  # type: ignore[arg-type]
    torch.testing.assert_close(digits.schedule_of(config).alpha_bar, expected.alpha_bar)


def test_grey_values_fill_the_unit_range() -> None:
    """0 is -1, 255 is 1, in equal steps."""
    found = digits.to_unit(torch.tensor([0, 51, 255], dtype=torch.uint8))
    torch.testing.assert_close(found, torch.tensor([-1.0, -0.6, 1.0]))


def exact_parts(x: Tensor, guess: float, times: Schedule) -> tuple[float, float]:
    """Return the bound's middle and prior for a model that always guesses one grey, in nats.

    Both are known: with a guess that does not depend on x_t, neither does a term of the sum.
    """
    middle, alpha_bar = torch.zeros(()).double(), times.alpha_bar
    for t in range(2, times.steps + 1):
        before, now = alpha_bar[t - 1], alpha_bar[t]
        beta = 1 - now / before
        shift = before.sqrt() * beta / (1 - now) * (x.double() - guess)
        variance = beta * (1 - before) / (1 - now)
        middle += (shift.square() / (2 * variance)).flatten(1).sum(dim=1).mean()
    last = Normal(alpha_bar[-1].sqrt() * x.double(), (1 - alpha_bar[-1]).sqrt())
    prior = kl_divergence(last, Normal(torch.zeros(()).double(), 1.0)).flatten(1).sum(dim=1)
    return float(middle), float(prior.mean())


def test_measure_is_the_sum_over_all_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """eq:ddpm-bound: for a model that always guesses grey 0.25, by an exact sum over t."""
    config = dataclasses.replace(TINY, prediction="x", steps=40, schedule="linear")
    images = shapes(6, "test", 2).images
    asked: list[Tensor] = []

    def grey(self: digits.Denoiser, x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        assert (labels == 10).all(), "the bound is that of the unconditional model"
        asked.append(t)
        return torch.full_like(x_t, 0.25)

    monkeypatch.setattr(digits.Denoiser, "forward", grey)
    found = digits.measure(config, digits.Denoiser(config), images, draws=600)
    times = digits.schedule_of(config)
    middle, prior = exact_parts(digits.to_unit(images), 0.25, times)
    scale = digits.PIXELS * math.log(2)
    # many narrow stretches of log t: every time is asked, early ones more often
    assert found["test_bits_middle"] == pytest.approx(middle / scale, rel=1e-2)
    assert found["test_bits_prior"] == pytest.approx(prior / scale, rel=1e-2)
    often = torch.bincount(torch.cat(asked[:600]), minlength=41) / 3_600
    expected = [math.log((t + 1) / t) / math.log(41 / 2) for t in range(2, 41)]
    assert often.tolist() == pytest.approx([0, 0, *expected], abs=3e-3)
    assert asked[600].tolist() == [1] * 6
    parts = sum(found[f"test_bits_{part}"] for part in ("prior", "middle", "decoder"))
    assert found["test_bits_per_dim"] == pytest.approx(parts)
    assert found["test_images"] == 6
    x = digits.to_unit(images)  # the decoder's own judge is in tests/diffusion/test_ddpm.py
    decoder = -ddpm.decoder_log_prob(x, torch.full_like(x, 0.25), times).mean().item()
    assert found["test_bits_decoder"] == pytest.approx(decoder / scale, rel=1e-5)
    assert decoder / scale > 1
    few = digits.measure(config, digits.Denoiser(config), images, draws=8)
    assert few["test_bits_middle"] == pytest.approx(found["test_bits_middle"], rel=0.3)
    assert few["test_bits_middle"] != found["test_bits_middle"]
    assert few["test_bits_decoder"] == found["test_bits_decoder"]


def test_the_network_is_the_configs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Widths, blocks, attention and classes of the U-Net; a channel for each pixel of a patch."""
    heard: list[tuple] = []
    whole = digits.UNet

    def building(*args, **named):
        heard.append((args, named))
        return whole(*args, **named)

    monkeypatch.setattr(digits, "UNet", building)
    config = dataclasses.replace(TINY, widths=(8, 16), blocks=3, patch=4, attention=True)
    digits.Denoiser(config)
    named = {"time": True, "classes": 10, "attention": True}
    assert heard == [((16, 16, (8, 16), 3), named)]


def test_how_a_training_goes(data: dict[str, ImageSet], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked of the network, the rate of one cycle, and the average by its recursion."""
    heard: list[tuple] = []
    asked: list[tuple] = []
    whole, loss = digits.play, ddpm.simple_loss

    def watching(players, batches, turns):
        heard.append(players)
        return whole(players, batches, turns)

    def listening(model, *args):
        asked.append((args, loss(model, *args)))
        return asked[-1][1]

    monkeypatch.setattr(digits, "play", watching)
    monkeypatch.setattr(digits.ddpm, "simple_loss", listening)
    config = dataclasses.replace(
        TINY, turns=20, learning_rate=2e-3, average=0.7, prediction="x", steps=9, widths=(8,)
    )
    images, labels = data["train"].images, data["train"].labels
    rates, losses, average = [], [], None
    for now in digits.fit(config, images, labels, 0):
        (player,) = heard[0]
        groups = player.optimizer.param_groups
        rates.append(groups[0]["lr"])
        losses.append(now.loss.item())
        weights = [p.detach().clone() for group in groups for p in group["params"]]
        if average is None:
            average = weights
        else:
            average = [0.7 * a + 0.3 * w for a, w in zip(average, weights, strict=True)]
    for found, expected in zip(now.model.parameters(), average, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    for turn, rate in enumerate(rates[:19], start=1):  # up to turn 1, down from there
        part = (1 + math.cos(math.pi * (turn - 1) / 18)) / 2
        assert rate == pytest.approx(2e-3 / 25e4 + (2e-3 - 2e-3 / 25e4) * part, rel=1e-5)
    known = {digits.to_unit(image).numpy().tobytes() for image in images}
    for ((x, t, noise, times, prediction), each), mean in zip(asked, losses, strict=True):
        assert {image.numpy().tobytes() for image in x} <= known
        assert 1 <= t.min() <= t.max() <= 9
        assert prediction == "x"
        assert times.steps == 9
        assert abs(noise.std().item() - 1) < 0.1
        assert mean == pytest.approx(sum(each.tolist()) / 8, rel=1e-5)
    assert {int(t) for (_, t, *_), _ in asked for t in t} == set(range(1, 10))


def test_what_a_drawing_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many steps of DDIM, clipped to the range of grey, with the config's prediction."""
    config = dataclasses.replace(TINY, prediction="noise")
    model = digits.Denoiser(config)
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    run = runs.Run(tensors, {}, {}, [])
    run.provenance["config"] = dataclasses.asdict(config)
    heard: list[tuple] = []

    def listening(*args, **named):
        heard.append((args, named))
        return iter([args[1]])

    monkeypatch.setattr(digits.ddim, "trajectory", listening)
    noise = torch.zeros(2, 1, 28, 28)
    found = digits.draw(run, torch.tensor([1, 2]), noise, steps=7)
    assert (found == 0.5).all()
    (_, start, times, chosen), named = heard[0]
    assert start is noise
    assert named == {"prediction": "noise", "clip": 1.0}
    assert times.steps == config.steps
    assert len(chosen) == len(digits.ddim.times(times, 7))


@pytest.mark.usefixtures("data")
def test_the_whole_path_of_a_gpu_config(tmp_path: Path) -> None:
    """A tiny config through the store, to a file and back: same weights, same metrics."""
    small = dataclasses.replace(
        digits.GPU, widths=(8,), blocks=1, turns=3, batch_size=8, steps=30, test_images=5
    )
    run = runs.train("diffusion/digits", "gpu", seed=3, config=small)
    runs.save(run, tmp_path / "run.safetensors")
    back = runs.load(tmp_path / "run.safetensors")
    assert back.metrics == run.metrics
    assert digits.config_of(back) == small
    model = digits.restore(back)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert digits.evaluate(back, CPU) == pytest.approx(run.metrics, rel=1e-6)
    assert digits.data(small) == ("mnist",)


@pytest.mark.usefixtures("data")
def test_draws_are_of_the_classes_asked_for() -> None:
    """Guidance 0 ignores the labels, guidance 1 and more do not; all start at the same noise."""
    run = runs.train("diffusion/digits", "cpu", seed=0, config=TINY)
    noise = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    first, second = torch.tensor([1, 2]), torch.tensor([8, 9])

    def drawn(labels: Tensor, scale: float) -> Tensor:
        return digits.draw(run, labels, noise, steps=3, scale=scale)

    assert torch.equal(drawn(first, 0.0), drawn(second, 0.0))
    for scale in (1.0, 2.0):
        assert (drawn(first, scale) - drawn(second, scale)).abs().max() > 1e-4
    again = drawn(first, 2.0)
    torch.testing.assert_close(again, drawn(first, 2.0), rtol=0, atol=0)
    assert 0 <= again.min() < 0.3 < 0.7 < again.max() <= 1, "not the whole range of grey"
    images = digits.sample(run, 11, torch.Generator().manual_seed(0))
    assert images.shape == (11, 1, 28, 28)
    assert 0 <= images.min() < images.max() <= 1
    # sample says classes 0..9 in turn, by 50 steps and guidance 2
    start = torch.randn(11, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    asked = torch.tensor([*range(10), 0])
    expected = digits.draw(run, asked, start, steps=50, scale=2.0).clamp(0, 1)
    torch.testing.assert_close(images, expected)


def test_clothes_are_the_same_model_on_other_data(data: dict[str, ImageSet]) -> None:
    """The twin differs from diffusion/digits in its data and the length of its training."""
    differing = {"data": "fashion_mnist", "turns": clothes.CPU.turns}
    assert dataclasses.replace(digits.CPU, **differing) == clothes.CPU  # type: ignore[arg-type]
    assert dataclasses.replace(digits.GPU, data="fashion_mnist") == clothes.GPU
    assert clothes.data(clothes.CPU) == ("fashion_mnist",)
    assert digits.LOADERS["fashion_mnist"]("train") is data["train"]
    assert runs.planned("diffusion/clothes")[0] == "cpu"
