"""Proof for litgen/recipes/flows/digits.py and fashion.py, on tiny drawn sets."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from litgen import runs
from litgen.data.sources import ImageSet, Record
from litgen.flows.realnvp import ActNorm, RealNVP
from litgen.recipes.flows import digits, fashion

CPU = torch.device("cpu")
SIDE, PIXELS = 28, 784
TINY = digits.Config(
    couplings=1,
    hidden=4,
    blocks=0,
    margin=0.01,
    turns=12,
    batch_size=8,
    average=0.8,
    test_images=60,
    mixed=False,
)


def squares(count: int, split: str, seed: int) -> ImageSet:
    """Return dark images with one bright square each; the label says in which quarter."""
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
    sets = {"train": squares(60, "train", 1), "test": squares(270, "test", 2)}
    for name in ("mnist", "fashion_mnist"):
        monkeypatch.setitem(digits.LOADERS, name, sets.__getitem__)
    return sets


@pytest.fixture(autouse=True)
def _precision() -> Iterator[None]:
    """Undo what runs.train sets for the whole process."""
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def shaken(config: digits.Config, size: float = 0.1) -> RealNVP:
    """Return a flow whose weights are all random: what starts at zero would hide mistakes."""
    model = digits.build(config)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(size * torch.randn(parameter.shape, generator=generator))
    return model


# log_prob ----------------------------------------------------------------------------------------


def test_log_prob_is_the_density_of_the_whole_map_less_log_256_a_pixel(
    data: dict[str, ImageSet],
) -> None:
    """eq:dequantize-bound, eq:change-of-variables: autograd's Jacobian from noise to z."""
    model = shaken(TINY).double()
    values = data["train"].images[:2]
    noise = torch.rand(values.shape, generator=torch.Generator().manual_seed(3)).double()

    def whole(u: Tensor, value: Tensor) -> Tensor:
        inner = 0.01 + 0.98 * (value + u) / 256
        return model((inner / (1 - inner)).log()[None])[0][0]

    found = digits.log_prob(TINY, model, values, noise)
    for i in range(2):
        # columns of the Jacobian of u -> z: a step of u is a step of 1/256 in x
        jacobian = torch.func.jacrev(whole)(noise[i], values[i].double()).view(PIXELS, PIXELS)
        z = whole(noise[i], values[i].double())
        expected = Normal(0.0, 1.0).log_prob(z).sum() + torch.linalg.slogdet(jacobian).logabsdet
        torch.testing.assert_close(found[i], expected)
    assert (found[0] - found[1]).abs() > 1


# fit ---------------------------------------------------------------------------------------------


def by_hand(config: digits.Config, images: Tensor, seed: int) -> tuple[RealNVP, list[Tensor]]:
    """Train with Adam's own formulas, a cycle of cosines and a running average of the weights."""
    torch.manual_seed(seed)
    model = digits.build(config)
    shuffle, draw = (torch.Generator().manual_seed(seed) for _ in range(2))
    first = images[: 4 * config.batch_size]
    model.initialize(logits(config, first, torch.rand(first.shape, generator=draw)))
    parameters = list(model.parameters())
    mean, square = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
    average: list[Tensor] = []
    losses: list[Tensor] = []
    order: list[int] = []
    for turn in range(config.turns):
        if len(order) < config.batch_size:
            order = torch.randperm(len(images), generator=shuffle).tolist()
        batch, order = images[order[: config.batch_size]], order[config.batch_size :]
        noise = torch.rand(batch.shape, generator=draw)
        nats = digits.log_prob(config, model, batch, noise)
        loss = -(nats / math.log(2) / PIXELS).sum() / len(batch)
        losses.append(loss.detach())
        gradients = torch.autograd.grad(loss, parameters)
        norm = math.sqrt(sum(float(g.square().sum()) for g in gradients))
        cut = min(1.0, config.clip / (norm + 1e-6))
        rate, momentum = one_cycle(config, turn)
        with torch.no_grad():
            for p, g, m, v in zip(parameters, gradients, mean, square, strict=True):
                m += (1 - momentum) * (cut * g - m)
                v += 0.001 * ((cut * g) ** 2 - v)
                step = (m / (1 - momentum ** (turn + 1))) / (
                    (v / (1 - 0.999 ** (turn + 1))).sqrt() + 1e-8
                )
                p -= rate * step
            now = [p.clone() for p in parameters]
            average = average if average else now
            for a, p in zip(average, now, strict=True):
                a += (1 - config.average) * (p - a)
    with torch.no_grad():
        for p, a in zip(parameters, average, strict=True):
            p.copy_(a)
    return model, losses


def logits(config: digits.Config, images: Tensor, noise: Tensor) -> Tensor:
    """Return what the flow sees of images and noise."""
    inner = config.margin + (1 - 2 * config.margin) * (images + noise) / 256
    return (inner / (1 - inner)).log()


def one_cycle(config: digits.Config, turn: int) -> tuple[float, float]:
    """Return learning rate and first momentum: up from 1/25, down to nothing, in cosines."""
    up = 0.1 * config.turns - 1
    low, high, end = config.learning_rate / 25, config.learning_rate, config.learning_rate / 25e4
    if turn <= up:
        part = (1 - math.cos(math.pi * turn / up)) / 2
        return low + part * (high - low), 0.9
    part = (1 - math.cos(math.pi * (turn - up) / (config.turns - 1 - up))) / 2
    return high + part * (end - high), 0.9


def test_fit_is_adam_on_bits_per_dimension(data: dict[str, ImageSet]) -> None:
    """eq:bits-per-dim, eq:dequantize-bound: same losses, same averaged weights as by hand."""
    config = dataclasses.replace(TINY, turns=30, clip=0.5)
    expected, losses = by_hand(config, data["train"].images, seed=2)
    found = []
    for now in digits.fit(config, data["train"].images, seed=2):
        found.append(now.loss)
    assert len(found) == 30
    assert found[-1] < found[0] - 0.05
    assert not now.loss.requires_grad
    torch.testing.assert_close(torch.stack(found), torch.stack(losses), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        dict(now.model.named_parameters()),
        dict(expected.named_parameters()),
        rtol=1e-2,
        atol=2e-4,
    )


def test_fit_starts_with_normalised_activations(data: dict[str, ImageSet]) -> None:
    """eq:actnorm: the first loss is that of a flow whose norms saw the first four batches."""
    config = dataclasses.replace(TINY, turns=1, average=0.0, learning_rate=0.0)
    *_, now = digits.fit(config, data["train"].images, seed=0)
    torch.manual_seed(0)
    model = digits.build(config)
    draw = torch.Generator().manual_seed(0)
    first = data["train"].images[:32]
    model.initialize(logits(config, first, torch.rand(first.shape, generator=draw)))
    found = [m.shift for m in now.model.modules() if isinstance(m, ActNorm)]
    known = [m.shift for m in model.modules() if isinstance(m, ActNorm)]
    assert max(s.abs().max() for s in known) > 0.5
    torch.testing.assert_close(found, known)


def test_the_same_seed_gives_the_same_flow(data: dict[str, ImageSet]) -> None:
    """Bit for bit; another seed another one."""
    config = dataclasses.replace(TINY, turns=3)
    ends = []
    for seed in (0, 0, 1):
        *_, now = digits.fit(config, data["train"].images, seed)
        ends.append(torch.cat([p.detach().flatten() for p in now.model.parameters()]))
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


# measuring ---------------------------------------------------------------------------------------


def test_image_bits_is_the_mean_over_draws_image_by_image(data: dict[str, ImageSet]) -> None:
    """eq:bits-per-dim: more images than one batch, three draws each."""
    model = shaken(TINY)
    images = data["test"].images[:255]
    found = digits.image_bits(TINY, model, images, draws=3)
    assert not found.requires_grad
    draw = torch.Generator().manual_seed(0)
    expected = []
    for batch in (images[:250], images[250:]):
        noise = torch.rand(3, *batch.shape, generator=draw)
        for i, image in enumerate(batch):
            each = digits.log_prob(TINY, model, image.expand(3, -1, -1, -1), noise[:, i])
            expected.append(-each.detach().mean() / PIXELS / math.log(2))
    assert found.std() > 0.001
    torch.testing.assert_close(found, torch.stack(expected))


def test_measure_averages_and_says_how_sure_it_is(data: dict[str, ImageSet]) -> None:
    """Mean, standard error over images, and what was counted."""
    config = dataclasses.replace(TINY, draws=2)
    model = shaken(config)
    images = data["test"].images[:50]
    bits = digits.image_bits(config, model, images, 2).double()
    found = digits.measure(config, model, images)
    mean = sum(bits.tolist()) / 50
    spread = math.sqrt(sum((b - mean) ** 2 for b in bits.tolist()) / 49)
    # one pair at each scale: an actnorm and a conditioner of two convolutions, twice
    first = 2 * (2 * 4 + (2 * 4 * 9 + 4) + (4 * 4 * 9 + 4))
    second = 2 * (2 * 8 + (4 * 4 * 9 + 4) + (4 * 8 * 9 + 8))
    assert found == pytest.approx(
        {
            "test_bits_per_dim": mean,
            "standard_error": spread / math.sqrt(50),
            "test_images": 50,
            "parameters": first + second,
        },
        rel=1e-5,
    )


# the whole path ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["flows/digits", "flows/fashion"])
def test_the_whole_path_of_a_gpu_config(
    data: dict[str, ImageSet], name: str, tmp_path: Path
) -> None:
    """A tiny config through the store, to a file and back: same weights, same metrics."""
    recipe = fashion if name == "flows/fashion" else digits
    config = dataclasses.replace(
        recipe.GPU, couplings=1, hidden=4, blocks=1, turns=5, batch_size=8, test_images=20, draws=2
    )
    run = runs.train(name, "gpu", seed=3, config=config)
    runs.save(run, tmp_path / "run.safetensors")
    back = runs.load(tmp_path / "run.safetensors")
    assert back.metrics == run.metrics
    assert back.metrics["test_images"] == 20
    assert digits.config_of(back) == config
    assert len(back.history["train_bits_per_dim"]) == 5
    model = recipe.restore(back)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert recipe.evaluate(back, CPU) == pytest.approx(run.metrics, rel=1e-6)
    assert torch.equal(back.tensors["examples.x"], data["test"].images[:200])
    assert back.tensors["examples.label"].tolist() == data["test"].labels[:200].tolist()
    drawn = recipe.sample(back, 3, torch.Generator().manual_seed(1))
    assert drawn.shape == (3, 1, SIDE, SIDE)
    assert 0 <= drawn.min() < drawn.max() <= 1
    z = torch.randn(3, PIXELS, generator=torch.Generator().manual_seed(1))
    expected = torch.sigmoid(model.inverse(z))
    expected = ((expected - config.margin) / (1 - 2 * config.margin)).clamp(0, 1)
    torch.testing.assert_close(drawn, expected)
    assert recipe.data(config) == (config.data,)
    assert config.data == ("fashion_mnist" if name == "flows/fashion" else "mnist")


def test_decode_undoes_encode(data: dict[str, ImageSet]) -> None:
    """Codes are those of pixels in the middle of their cells, which come back."""
    model = shaken(TINY)
    images = data["test"].images[:5]
    z = digits.encode(TINY, model, images)
    assert z.shape == (5, PIXELS)
    middle = (images + 0.5) / 256
    torch.testing.assert_close(digits.decode(TINY, model, z), middle, rtol=0, atol=1e-5)
    expected, _ = model(logits(TINY, images, torch.full(images.shape, 0.5)))
    torch.testing.assert_close(z, expected)


def test_both_recipes_are_listed_and_share_everything_but_the_data() -> None:
    """By their family's name; the twin has no function of its own."""
    for name in ("flows/digits", "flows/fashion"):
        assert runs.planned(name)[0] == "cpu"
    assert fashion.train is digits.train
    assert dataclasses.replace(digits.CPU, data="fashion_mnist") == fashion.CPU
    assert dataclasses.replace(digits.GPU, data="fashion_mnist") == fashion.GPU


@pytest.mark.parametrize("config", [digits.CPU, digits.GPU])
def test_a_run_fits_into_its_file(config: digits.Config) -> None:
    """Weights in half precision and 200 example images, below what a run may weigh."""
    weights = sum(p.numel() for p in digits.build(config).parameters())
    assert 2 * weights + 200 * (PIXELS + 1) < 0.95 * runs.LIMIT
    model = digits.build(config)
    assert len(model.scales) == config.scales
    assert sum(isinstance(m, ActNorm) for m in model.modules()) == 4 * config.couplings


def test_every_image_set_has_a_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    """The config's name chooses the loader; the training set comes first."""
    asked: list[str] = []

    def loader(name: str) -> Callable[[str], ImageSet]:
        def load(split: str) -> ImageSet:
            asked.append(f"{name} {split}")
            return squares(3 if split == "train" else 2, split, 0)

        return load

    assert all(digits.LOADERS[k].__module__ == f"litgen.data.{k}" for k in digits.LOADERS)
    for name in ("mnist", "fashion_mnist"):
        monkeypatch.setitem(digits.LOADERS, name, loader(name))
        train_set, test_set = digits.load_data(dataclasses.replace(TINY, data=name))
        assert (len(train_set.images), len(test_set.images)) == (3, 2)
    assert asked == ["mnist train", "mnist test", "fashion_mnist train", "fashion_mnist test"]
