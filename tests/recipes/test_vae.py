"""Proof for litgen/recipes/vae/digits.py and plane.py, on a tiny data set in MNIST's format."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Normal, kl_divergence

from litgen import runs
from litgen.data.sources import ImageSet, Record
from litgen.recipes.vae import digits, plane
from litgen.vae.networks import VAE
from tests import oracles

CPU = torch.device("cpu")
SIDE, PIXELS = 8, 64
TINY = digits.Config(
    hidden=(16,), latent=3, epochs=8, batch_size=16, test_images=300, samples=3, mixed=False
)
CONVOLUTIONAL = dataclasses.replace(TINY, network="convolutional", hidden=(16,), epochs=4)
FLAT = dataclasses.replace(TINY, latent=2, hidden=(16, 8))
CONFIGS = [pytest.param(TINY, id="dense"), pytest.param(CONVOLUTIONAL, id="convolutional")]


def bars(count: int, split: str, seed: int) -> ImageSet:
    """Return 8x8 images of one bright bar each, upright or lying; the label says which."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 60, (count, 1, SIDE, SIDE), generator=generator)
    labels = torch.randint(0, 2, (count,), generator=generator)
    where = torch.randint(0, SIDE, (count,), generator=generator)
    for image, label, place in zip(images, labels, where, strict=True):
        bar = image[0, place] if label else image[0, :, place]
        bar.fill_(230)
    record = Record(
        "bars", f"drawn, {split}", "none", "none", f"{split}{seed}", {split: count}, True
    )
    return ImageSet(images.to(torch.uint8), labels, record)


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> dict[str, ImageSet]:
    """Put the bars in MNIST's place, and keep the matrix products' precision as it was."""
    sets = {"train": bars(170, "train", 1), "test": bars(310, "test", 2)}
    monkeypatch.setitem(digits.LOADERS, "mnist", sets.__getitem__)
    return sets


@pytest.fixture(autouse=True)
def _precision() -> Iterator[None]:
    """Undo what runs.train sets for the whole process."""
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def with_provenance(run: runs.Run, config: digits.Config) -> runs.Run:
    """Add what the store would add and the recipe reads."""
    run.provenance["config"] = dataclasses.asdict(config)
    return run


# binarize ---------------------------------------------------------------------------------------


def test_a_pixel_is_on_with_its_grey_value_as_probability(
    monkeypatch: pytest.MonkeyPatch, generator: torch.Generator
) -> None:
    """eq:binarization: of 255 evenly spaced uniform numbers exactly g turn grey g on."""
    even = ((torch.arange(255) + 0.5) / 255)[:, None].expand(255, 256)
    monkeypatch.setattr(torch, "rand", lambda *_args, **_kwargs: even)
    grey = torch.arange(256, dtype=torch.uint8).expand(255, 256)
    on = digits.binarize(grey, generator).sum(dim=0)
    torch.testing.assert_close(on, torch.arange(256.0), rtol=0, atol=0)


def test_black_is_never_on_and_white_never_off(
    monkeypatch: pytest.MonkeyPatch, generator: torch.Generator
) -> None:
    """eq:binarization at the ends of what torch.rand can return: 0 and 1 - 2^-24."""
    for uniform in (0.0, 1 - 2**-24):
        monkeypatch.setattr(torch, "rand", lambda *_a, u=uniform, **_k: torch.full((1, 2), u))
        found = digits.binarize(torch.tensor([[0, 255]], dtype=torch.uint8), generator)
        torch.testing.assert_close(found, torch.tensor([[0.0, 1.0]]), rtol=0, atol=0)


def test_binarized_counts_follow_the_bernoulli_law(generator: torch.Generator) -> None:
    """eq:binarization by chi-square over all grey values: neither too far from p nor too near."""
    draws, grey = 4000, torch.arange(256, dtype=torch.uint8)
    x = digits.binarize(grey.expand(draws, 256), generator)
    assert x.dtype == torch.float32
    assert set(x.unique().tolist()) == {0.0, 1.0}
    p = grey.double() / 255
    expected, spread = draws * p, (draws * p * (1 - p)).sqrt()
    inner = slice(1, 255)
    chi_square = (((x.double().sum(dim=0) - expected) / spread)[inner] ** 2).sum().item()
    assert 1e-6 < scipy.stats.chi2.sf(chi_square, 254) < 1 - 1e-6
    # pixels and images are drawn independently of each other
    half = digits.binarize(torch.full((draws, 8), 128, dtype=torch.uint8), generator)
    correlation = torch.corrcoef(torch.cat([half.T, half.T.roll(1, dims=1)]))
    assert (correlation - torch.eye(16)).abs().max() < 6 / math.sqrt(draws)


def test_binarize_draws_from_its_generator_alone() -> None:
    """The same generator gives the same pixels, another one others; the global seed has no say."""
    grey = torch.full((20, PIXELS), 128, dtype=torch.uint8)
    state = torch.get_rng_state()
    first, again, other = (
        digits.binarize(grey, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(state, torch.get_rng_state())


# build ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [*CONFIGS, FLAT, digits.CPU, digits.GPU, plane.CPU, plane.GPU])
def test_build_makes_encoder_and_decoder_mirror_each_other(config: digits.Config) -> None:
    """The widths are the config's, read backwards in the decoder; the code has its dimensions."""
    model = digits.build(config)
    mean, log_var = model.encoder(torch.zeros(2, 784))
    assert mean.shape == log_var.shape == (2, config.latent)
    assert model.decoder(mean).shape == (2, 784)
    assert any(isinstance(m, nn.Conv2d) for m in model.modules()) == (
        config.network == "convolutional"
    )
    if config.network == "dense":
        for net, inputs in ((model.encoder, 784), (model.decoder, config.latent)):
            linear = [m for m in net.modules() if isinstance(m, nn.Linear)]
            widths = config.hidden if inputs == 784 else config.hidden[::-1]
            assert [m.in_features for m in linear] == [inputs, *widths]
    else:
        first = next(m for m in model.encoder.modules() if isinstance(m, nn.Conv2d))
        assert first.out_channels == config.hidden[0]


def test_build_refuses_what_does_not_fit() -> None:
    """Two widths for a convolutional network, or a network nobody knows."""
    wide = dataclasses.replace(CONVOLUTIONAL, hidden=(8, 8))
    with pytest.raises(ValueError, match=r"takes one width, got \(8, 8\)"):
        digits.build(wide, PIXELS)
    odd = dataclasses.replace(TINY)
    object.__setattr__(odd, "network", "quantum")
    with pytest.raises(ValueError, match="unknown network 'quantum'; there are: dense, conv"):
        digits.build(odd, PIXELS)


# fit --------------------------------------------------------------------------------------------


def by_hand(config: digits.Config, grey: Tensor, seed: int) -> tuple[nn.Module, list[Tensor]]:
    """Train with torch.distributions, Adam's own formulas and half a cosine, step by step."""
    torch.manual_seed(seed)
    model = digits.build(config, grey.shape[1])
    parameters = list(model.parameters())
    first = [torch.zeros_like(p) for p in parameters]
    second = [torch.zeros_like(p) for p in parameters]
    shuffle = torch.Generator().manual_seed(seed)
    draw = torch.Generator().manual_seed(seed)
    losses: list[Tensor] = []
    per_epoch = len(grey) // config.batch_size
    total = config.epochs * per_epoch
    for _ in range(config.epochs):
        order = torch.randperm(len(grey), generator=shuffle)
        for i in range(per_epoch):
            batch = grey[order[i * config.batch_size : (i + 1) * config.batch_size]]
            x = (torch.rand(batch.shape, generator=draw) < batch.double() / 255).float()
            noise = torch.randn(len(x), config.latent, generator=draw)
            mean, log_var = model.encoder(x)
            q = Normal(mean, log_var.exp().sqrt())
            likelihood = Bernoulli(logits=model.decoder(mean + q.scale * noise)).log_prob(x)
            divergence = kl_divergence(q, Normal(torch.zeros_like(mean), torch.ones_like(mean)))
            loss = (divergence.sum(dim=1) - likelihood.sum(dim=1)).sum() / len(x)
            rate = config.learning_rate * (1 + math.cos(math.pi * len(losses) / total)) / 2
            losses.append(loss.detach())
            gradients = torch.autograd.grad(loss, parameters)
            t = len(losses)
            with torch.no_grad():
                for p, g, m, v in zip(parameters, gradients, first, second, strict=True):
                    m += 0.1 * (g - m)
                    v += 0.001 * (g * g - v)
                    p -= rate * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
    return model, losses


@pytest.mark.parametrize("config", CONFIGS)
def test_fit_is_adam_on_the_negative_elbo(
    data: dict[str, ImageSet], config: digits.Config
) -> None:
    """eq:elbo-estimator lowered by hand, with torch.distributions: same losses, same weights."""
    config = dataclasses.replace(config, epochs=2)
    grey = data["train"].images.flatten(1)
    model, expected = by_hand(config, grey, seed=5)
    found = list(digits.fit(config, grey, seed=5))
    assert [now.turn for now in found] == list(range(2 * (170 // 16)))
    losses = torch.stack([now.loss for now in found])
    assert not losses.requires_grad
    torch.testing.assert_close(losses, torch.stack(expected), rtol=1e-4, atol=1e-3)
    torch.manual_seed(5)
    start = digits.build(config, PIXELS).state_dict()
    same = model.state_dict()
    for name, weight in found[-1].model.state_dict().items():
        moved, apart = (weight - start[name]).abs(), (weight - same[name]).abs()
        assert moved.max() > 1e-3, name
        assert apart.mean() < 0.01 * moved.mean(), name


def test_fit_takes_another_likelihood(data: dict[str, ImageSet]) -> None:
    """The same training with log p(x|z) weighted by 3: its first loss by hand, and it goes on."""
    grey = data["train"].images.flatten(1)
    plain, again = (next(digits.fit(TINY, grey, 5)) for _ in range(2))
    assert plain.loss == again.loss

    def tripled(x: Tensor, logits: Tensor) -> Tensor:
        return 3 * Bernoulli(logits=logits).log_prob(x).sum(dim=-1)

    zero = next(digits.fit(TINY, grey, 5, lambda x, logits: 0 * x.sum(dim=-1) * logits.sum(-1)))
    first, second, *_ = digits.fit(TINY, grey, 5, tripled)
    assert zero.loss < 5 < 40 < plain.loss, "without a likelihood the KL alone is left"
    expected = 3 * (plain.loss - zero.loss) + zero.loss
    torch.testing.assert_close(first.loss, expected, rtol=1e-4, atol=1e-3)
    assert second.loss != first.loss


def test_the_loss_falls(data: dict[str, ImageSet]) -> None:
    """From about 64 log 2 nats an image to well below the cost of the average image."""
    config = dataclasses.replace(TINY, hidden=(64,), epochs=60, learning_rate=1e-2, batch_size=17)
    losses = torch.stack(
        [now.loss for now in digits.fit(config, data["train"].images.flatten(1), seed=0)]
    )
    p = data["train"].images.flatten(1).double().div(255).mean(dim=0)
    unconditional = Bernoulli(p).entropy().sum().item()
    assert losses[0] > 0.9 * PIXELS * math.log(2)
    assert losses[-20:].mean() < unconditional - 1.5
    assert losses[-20:].mean() < losses[:20].mean() - 4


def test_the_learning_rate_ends_near_zero(
    data: dict[str, ImageSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a cosine over all steps: the rate at every step, read off the optimizer."""
    optimizers: list[torch.optim.Adam] = []

    class Spy(torch.optim.Adam):
        def __init__(self, *args: Any, **kwargs: Any):
            super().__init__(*args, **kwargs)
            optimizers.append(self)

    monkeypatch.setattr(torch.optim, "Adam", Spy)
    rates = [TINY.learning_rate]
    for _ in digits.fit(TINY, data["train"].images.flatten(1), seed=0):
        rates.append(optimizers[0].param_groups[0]["lr"])
    total = TINY.epochs * (170 // 16)
    expected = [2e-3 * (1 + math.cos(math.pi * t / total)) / 2 for t in range(total + 1)]
    assert rates == pytest.approx(expected, abs=1e-9)


def test_mixed_precision_reaches_the_networks(
    data: dict[str, ImageSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the config and the hardware allow it, and only there, layers compute in bfloat16."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    grey = data["train"].images.flatten(1)
    for mixed in (True, False):
        kinds = set()
        config = dataclasses.replace(TINY, mixed=mixed)
        steps = digits.fit(config, grey, seed=0)
        now = next(steps)
        layer = next(m for m in now.model.modules() if isinstance(m, nn.Linear))
        layer.register_forward_hook(lambda _m, _i, out, kinds=kinds: kinds.add(out.dtype))
        loss = next(steps).loss
        digits.measure(config, now.model, digits.test_batch(config, data["test"].images)[:20])
        assert kinds == {torch.bfloat16 if mixed else torch.float32}
        assert loss.dtype == torch.float32
        assert all(p.dtype == torch.float32 for p in now.model.parameters())


# train, package, restore ------------------------------------------------------------------------


@pytest.mark.parametrize("config", CONFIGS)
def test_a_run_is_complete(data: dict[str, ImageSet], config: digits.Config) -> None:
    """Weights, examples, metrics, curve and the provenance of both splits."""
    run = digits.train(config, seed=0, device=CPU)
    weights = digits.build(config, PIXELS).state_dict()
    assert {k for k in run.tensors if k.startswith("model.")} == {f"model.{k}" for k in weights}
    x, labels = run.tensors["examples.x"], run.tensors["examples.label"]
    assert x.shape == (300, PIXELS)
    assert x.dtype == labels.dtype == torch.uint8
    assert set(x.unique().tolist()) == {0, 1}
    torch.testing.assert_close(labels[:300].long(), data["test"].labels[:300], rtol=0, atol=0)
    # each image is the bar that its label names: the drawn pixels agree with the grey ones
    grey = data["test"].images[:300].flatten(1).double() / 255
    assert torch.corrcoef(torch.stack([x.double().flatten(), grey.flatten()]))[0, 1] > 0.5
    assert set(run.metrics) == {
        "test_nll_nats",
        "test_negative_elbo_nats",
        "test_kl_nats",
        "test_reconstruction_nats",
        "test_images",
        "importance_samples",
    }
    assert run.metrics["test_images"] == 300
    assert run.metrics["importance_samples"] == 3
    assert [(d["name"], d["split"], d["checksum"]) for d in run.data] == [
        ("mnist", "train", "train1"),
        ("mnist", "test", "test2"),
    ]
    assert run.stand_in
    curve = run.history["train_loss_nats"]
    assert len(curve) == config.epochs * (170 // 16)
    assert curve[-1] < curve[0]


@pytest.mark.parametrize("count", [200, 230, 40])
def test_the_curve_is_a_hundred_averages(data: dict[str, ImageSet], count: int) -> None:
    """Every loss counts: a hundred averages of neighbours, nearly equal in number; 40 stay 40."""
    losses = torch.arange(float(count)) ** 1.5
    model = digits.build(TINY, PIXELS)
    run = digits.package(TINY, model, losses, data["train"], data["test"])
    groups = np.array_split(losses.numpy(), min(100, count))
    assert sum(map(len, groups)) == count
    assert run.history["train_loss_nats"] == pytest.approx([g.mean() for g in groups])


def test_only_a_thousand_examples_are_kept(data: dict[str, ImageSet]) -> None:
    """A run's file stays small; all test images are measured all the same."""
    many = bars(1010, "test", 3)
    config = dataclasses.replace(TINY, test_images=1005, samples=1)
    run = digits.package(config, digits.build(config, PIXELS), torch.ones(3), data["train"], many)
    assert run.tensors["examples.x"].shape == (1000, PIXELS)
    assert run.tensors["examples.label"].shape == (1000,)
    assert run.metrics["test_images"] == 1005


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.usefixtures("data")
def test_a_seed_reproduces_a_run_to_the_bit(config: digits.Config) -> None:
    """Same seed, same tensors, metrics and curve; another seed, others."""
    config = dataclasses.replace(config, epochs=1, mixed=True)
    first = digits.train(config, seed=1, device=CPU)
    torch.rand(7)  # the state of the world before a training does not matter
    again = digits.train(config, seed=1, device=CPU)
    other = digits.train(config, seed=2, device=CPU)
    torch.testing.assert_close(first.tensors, again.tensors, rtol=0, atol=0)
    assert first.metrics == again.metrics
    assert first.history == again.history
    assert first.history["train_loss_nats"][0] != other.history["train_loss_nats"][0]
    differing = [k for k in first.tensors if not torch.equal(first.tensors[k], other.tensors[k])]
    assert all(k.startswith("model.") for k in differing)
    assert {f"model.{part}" for part in ("encoder", "decoder")} <= {
        ".".join(k.split(".")[:2]) for k in differing
    }


def test_the_test_batch_is_the_same_in_every_run(data: dict[str, ImageSet]) -> None:
    """Whatever the global seed; as many images as the config says, in their order."""
    torch.manual_seed(1)
    first = digits.test_batch(TINY, data["test"].images)
    torch.manual_seed(2)
    again = digits.test_batch(TINY, data["test"].images)
    assert torch.equal(first, again)
    assert first.shape == (300, PIXELS)
    black_and_white = (data["test"].images > 100).to(torch.uint8) * 255
    certain = digits.test_batch(TINY, black_and_white)
    assert torch.equal(certain, black_and_white[:300].flatten(1).float() / 255)


@pytest.mark.parametrize("config", CONFIGS)
def test_the_whole_path_of_a_gpu_config(
    data: dict[str, ImageSet], config: digits.Config, tmp_path: Path
) -> None:
    """A tiny config through the store, to a file and back: same weights, same metrics."""
    wanted = dataclasses.replace(digits.GPU, hidden=(8,), latent=3, epochs=1, batch_size=32)
    if config.network == "dense":
        wanted = dataclasses.replace(wanted, network="dense", hidden=(12, 10))
    wanted = dataclasses.replace(wanted, test_images=260, samples=60)
    run = runs.train("vae/digits", "gpu", seed=3, config=wanted)
    runs.save(run, tmp_path / "run.safetensors")
    back = runs.load(tmp_path / "run.safetensors")
    assert back.metrics == run.metrics
    assert back.provenance["profile"] == "gpu"
    assert back.provenance["seed"] == 3
    model = digits.restore(back)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    trained = digits.train(wanted, 3, CPU).part("model")
    torch.testing.assert_close(dict(model.state_dict()), trained, rtol=0, atol=0)
    # what was measured was measured on the very weights that are stored
    assert digits.evaluate(back, CPU) == pytest.approx(run.metrics, rel=1e-12)
    z = torch.randn(5, 3, generator=torch.Generator().manual_seed(4))
    images = digits.sample(back, 5, torch.Generator().manual_seed(4))
    assert images.shape == (5, 1, SIDE, SIDE)
    assert 0 <= images.min() < images.max() <= 1
    expected = 1 / (1 + (-model.decoder(z)).exp())
    torch.testing.assert_close(images.flatten(1), expected)
    x = back.tensors["examples.x"][:, :].float()
    torch.testing.assert_close(model.encoder(x), digits.restore(run).encoder(x), rtol=0, atol=0)
    assert digits.data(wanted) == ("mnist",)
    assert set(data) == {"train", "test"}


def test_evaluate_reads_the_config_of_the_run(data: dict[str, ImageSet]) -> None:
    """The first test images only, as many samples as were asked, and the weights of the run."""
    config = dataclasses.replace(TINY, epochs=1)
    run = with_provenance(digits.train(config, 0, CPU), config)
    assert digits.evaluate(run, CPU) == run.metrics
    run.provenance["config"] |= {"test_images": 17, "samples": 5}
    fewer = digits.evaluate(run, CPU)
    assert (fewer["test_images"], fewer["importance_samples"]) == (17, 5)
    for name in [k for k in run.tensors if k.startswith("model.decoder")]:
        run.tensors[name] = torch.zeros_like(run.tensors[name])
    blank = digits.evaluate(run, CPU)
    assert blank["test_reconstruction_nats"] == pytest.approx(PIXELS * math.log(2), rel=1e-5)
    assert data["test"].images.shape[0] == 310


# measure ----------------------------------------------------------------------------------------


def test_measure_is_what_a_slow_loop_finds(data: dict[str, ImageSet]) -> None:
    """eq:elbo-estimator and eq:importance-bound, image by image, with torch.distributions."""
    config = dataclasses.replace(TINY, samples=60)
    *_, last = digits.fit(config, data["train"].images.flatten(1), seed=0)
    model = last.model
    x = digits.test_batch(config, data["test"].images)[:255]
    found = digits.measure(config, model, x)
    draw = torch.Generator().manual_seed(0)
    nll, kl, reconstruction = [], [], []
    for batch in (x[:250], x[250:]):
        noise = torch.randn(len(batch), 3, generator=draw)
        together = 1000 // len(batch)  # samples of all images that are decoded at once
        chunks = [min(together, 60 - done) for done in range(0, 60, together)]
        many = torch.cat([torch.randn(k, len(batch), 3, generator=draw) for k in chunks])
        for i, image in enumerate(batch):
            with torch.no_grad():
                mean, log_var = (v[0] for v in model.encoder(image[None]))
                q, prior = Normal(mean, log_var.exp().sqrt()), Normal(0.0, 1.0)
                z = mean + q.scale * noise[i]
                pixels = Bernoulli(logits=model.decoder(z[None])[0])
                reconstruction.append(-pixels.log_prob(image).sum().item())
                kl.append(kl_of(q))
                zs = mean + q.scale * many[:, i]
                joint = Bernoulli(logits=model.decoder(zs)).log_prob(image).sum(dim=1)
                ratio = joint + (prior.log_prob(zs) - q.log_prob(zs)).sum(dim=1)
                nll.append(-oracles.log_mean_exp(ratio.tolist()))
    average = {
        "test_nll_nats": math.fsum(nll) / 255,
        "test_kl_nats": math.fsum(kl) / 255,
        "test_reconstruction_nats": math.fsum(reconstruction) / 255,
        "test_negative_elbo_nats": math.fsum(kl + reconstruction) / 255,
        "test_images": 255,
        "importance_samples": 60,
    }
    assert average["test_kl_nats"] > 0.1
    assert average["test_nll_nats"] < average["test_negative_elbo_nats"] - 0.01
    assert found == pytest.approx(average, rel=1e-4)


def kl_of(q: Normal) -> float:
    """Return the registered divergence from the standard normal."""
    return kl_divergence(q, Normal(torch.zeros_like(q.loc), torch.ones_like(q.loc))).sum().item()


def test_measuring_leaves_no_graph_and_asks_for_every_sample(
    data: dict[str, ImageSet],
) -> None:
    """The decoder sees one code an image, then all importance samples, and never a gradient."""
    model = digits.build(TINY, PIXELS)
    seen: list[tuple[tuple[int, ...], bool]] = []
    model.decoder.register_forward_hook(
        lambda _m, inputs, out: seen.append((tuple(inputs[0].shape), out.requires_grad))
    )
    digits.measure(TINY, model, digits.test_batch(TINY, data["test"].images))
    assert seen == [
        ((250, 3), False),
        ((3, 250, 3), False),
        ((50, 3), False),
        ((3, 50, 3), False),
    ]


# plane ------------------------------------------------------------------------------------------


class Coordinates(nn.Module):
    """A decoder that shows its code: logits (first, second, 0, 0) as a 2x2 image."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.ones(()))

    def forward(self, z: Tensor) -> Tensor:
        """Return the four logits."""
        return torch.cat([z, torch.zeros_like(z)], dim=-1) * self.one


def test_the_plane_lies_as_on_a_page() -> None:
    """First coordinate from left to right, second from bottom to top, both over +-EXTENT."""
    shown = plane.decoded_plane(VAE(nn.Identity(), Coordinates()), 5)
    assert shown.shape == (5, 5, 2, 2)
    assert not shown.requires_grad
    code = torch.logit(shown.double())
    axis = [-3.0, -1.5, 0.0, 1.5, 3.0]
    for row in range(5):
        for column in range(5):
            first, second = code[row, column, 0].tolist()
            assert first == pytest.approx(axis[column], abs=1e-4)
            assert second == pytest.approx(axis[4 - row], abs=1e-4)
    torch.testing.assert_close(shown[:, :, 1], torch.full((5, 5, 2), 0.5))
    assert plane.EXTENT == 3.0


@pytest.mark.parametrize("turns", [1, 2, 14, 50, 2340, 46800])
def test_snapshots_are_close_together_at_the_start(turns: int) -> None:
    """From the first step to the last; the gaps never shrink by more than rounding."""
    moments = plane.snapshot_turns(turns).tolist()
    assert moments[0] == 1
    assert moments[-1] == turns
    assert len(moments) == len(set(moments)) <= 14
    gaps = [b - a for a, b in itertools.pairwise(moments)]
    assert all(later >= earlier - 1 for earlier, later in itertools.pairwise(gaps))
    if turns > 1000:
        assert len(moments) == 14
        # 14 points of 1 + (turns - 1) (10^u - 1) / 9 for u from 0 to 1
        expected = [1 + (turns - 1) * (10 ** (i / 13) - 1) / 9 for i in range(14)]
        assert moments == pytest.approx(expected, abs=0.51)


def test_the_plane_unfolds_in_snapshots(data: dict[str, ImageSet]) -> None:
    """The kept planes and means are those of the same training, stopped at those steps."""
    run = plane.train(FLAT, seed=0, device=CPU)
    kept = {k.removeprefix("snapshots."): v for k, v in run.tensors.items() if "snapshots." in k}
    moments = kept["turn"].tolist()
    assert moments == plane.snapshot_turns(FLAT.epochs * (170 // 16)).tolist()
    assert len(moments) == 14
    x = run.tensors["examples.x"].float()
    assert kept["mean"].shape == (14, 300, 2)
    assert kept["plane"].shape == (14, 10, 10, SIDE, SIDE)
    assert kept["plane"].dtype == torch.uint8
    assert not kept["mean"].requires_grad, "fourteen graphs would be kept until the end"
    at = 0
    for now in digits.fit(FLAT, data["train"].images.flatten(1), seed=0):
        if now.turn == moments[at] - 1:
            with torch.no_grad():
                mean, _ = now.model.encoder(x)
                corner = torch.sigmoid(now.model.decoder(torch.tensor([[-3.0, 3.0]])))
            torch.testing.assert_close(kept["mean"][at], mean)
            grey = kept["plane"][at, 0, 0].flatten().float()
            assert (grey - 255 * corner[0]).abs().max() <= 0.501
            at += 1
    assert at == 14
    assert (kept["mean"][-1] - kept["mean"][0]).abs().max() > 0.01
    assert kept["plane"].float().std() > 1


def test_a_plane_run_is_a_digits_run_with_snapshots(data: dict[str, ImageSet]) -> None:
    """Same weights, metrics and curve as vae/digits gives for this config and seed."""
    flat = plane.train(FLAT, seed=4, device=CPU)
    plain = digits.train(FLAT, seed=4, device=CPU)
    assert set(flat.tensors) - set(plain.tensors) == {
        "snapshots.turn",
        "snapshots.mean",
        "snapshots.plane",
    }
    for name, tensor in plain.tensors.items():
        torch.testing.assert_close(flat.tensors[name], tensor, rtol=0, atol=0)
    assert flat.metrics == plain.metrics
    assert flat.history == plain.history
    assert flat.data == plain.data
    assert len(data["train"].images) == 170


def test_only_a_thousand_test_images_are_followed(
    data: dict[str, ImageSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    """More test images are measured, but not kept at every moment."""
    monkeypatch.setitem(data, "test", bars(1010, "test", 3))
    run = plane.train(dataclasses.replace(FLAT, epochs=1, test_images=1005, samples=1), 0, CPU)
    assert run.tensors["snapshots.mean"].shape[1:] == (1000, 2)
    assert run.metrics["test_images"] == 1005


def test_a_code_that_is_no_plane_is_an_error() -> None:
    """The message says how many dimensions there are."""
    with pytest.raises(ValueError, match="a plane has 2 latent dimensions, the config 3"):
        plane.train(TINY, seed=0, device=CPU)


def test_a_plane_run_survives_the_store(data: dict[str, ImageSet], tmp_path: Path) -> None:
    """Snapshots are kept in half precision and whole bytes; plane's functions are digits'."""
    config = dataclasses.replace(plane.GPU, hidden=(12, 10), epochs=1, batch_size=32)
    config = dataclasses.replace(config, test_images=40, samples=4)
    run = runs.train("vae/plane", "gpu", config=config)
    runs.save(run, tmp_path / "run.safetensors")
    back = runs.load(tmp_path / "run.safetensors")
    assert back.tensors["snapshots.mean"].dtype == torch.float16
    assert back.tensors["snapshots.plane"].dtype == torch.uint8
    assert back.tensors["snapshots.turn"].tolist()[-1] == 170 // 32
    shown = plane.decoded_plane(plane.restore(back), plane.SNAPSHOT_SIDE).mul(255)
    # the last snapshot was taken just before the weights were rounded
    assert (shown - back.tensors["snapshots.plane"][-1].float()).abs().max() < 2
    assert plane.sample(back, 2, torch.Generator()).shape == (2, 1, SIDE, SIDE)
    assert plane.evaluate(back, CPU) == pytest.approx(back.metrics, rel=1e-12)
    assert len(data["test"].labels) == 310


def test_every_image_set_has_a_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    """The config's name chooses the loader; the training set comes first."""
    asked: list[str] = []

    def loader(name: str) -> Callable[[str], ImageSet]:
        def load(split: str) -> ImageSet:
            asked.append(f"{name} {split}")
            return bars(3 if split == "train" else 2, split, 0)

        return load

    assert set(digits.LOADERS) == {"mnist", "fashion_mnist"}
    assert all(digits.LOADERS[k].__module__ == f"litgen.data.{k}" for k in digits.LOADERS)
    for name in ("mnist", "fashion_mnist"):
        monkeypatch.setitem(digits.LOADERS, name, loader(name))
        config = dataclasses.replace(TINY, data=name)
        train_set, test_set = digits.load_data(config)
        assert (len(train_set.images), len(test_set.images)) == (3, 2)
        assert digits.data(config) == (name,)
    assert asked == ["mnist train", "mnist test", "fashion_mnist train", "fashion_mnist test"]
