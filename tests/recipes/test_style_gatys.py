"""Proof for litgen/recipes/style/gatys.py: on stand-ins, small."""

import dataclasses
import inspect

import pytest
import torch

from litgen.data import paintings, photographs, vgg
from litgen.recipes.style import gatys as recipe
from litgen.runs import Run
from litgen.style import gatys
from litgen.style.gram import gram
from litgen.style.pictures import prepared

CPU = torch.device("cpu")
TINY = dataclasses.replace(
    recipe.CPU,
    side=16,
    content_layers=("conv1_2", "conv2_1"),
    style_layers=("conv1_1", "conv1_2"),
    style_weights=(0.1, 5.0),
    turns=6,
    snapshots=3,
    mixed=False,
)


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the random kernels that stand in for VGG's have few channels."""
    monkeypatch.setattr(vgg, "WIDTHS", (8, 8, 8, 8, 8))


def trained(config: recipe.Config, seed: int = 0) -> Run:
    """Return a run with the provenance that the store would give it."""
    run = recipe.train(config, seed, CPU)
    run.provenance = {
        "config": {k: list(v) if isinstance(v, tuple) else v for k, v in vars(config).items()}
    }
    return run


def test_what_is_given_is_named_and_in_units() -> None:
    """The pictures asked for, the mean of every layer 1, records of all three sets."""
    found = recipe.given("coffee", "bridge", 16, "max")
    photos = [prepared(image, 16) for image in photographs.load().images]
    torch.testing.assert_close(found.content, photos[photographs.NAMES.index("coffee")])
    work = paintings.load().images[paintings.NAMES.index("bridge")]
    torch.testing.assert_close(found.style, prepared(work, 16))
    assert found.network.pooling == "max"
    values = found.network(torch.cat(photos), ["conv1_1", "conv3_2"])
    for features in values.values():
        assert features.mean().item() == pytest.approx(1, rel=1e-3)
    assert [r["name"] for r in found.records] == ["vgg", "photographs", "paintings"]
    assert all(r["split"] == "train" and r["title"] and r["checksum"] for r in found.records)
    assert recipe.given("coffee", "bridge", 16).network.pooling == "average"
    with pytest.raises(ValueError, match="unknown picture 'tea'; there are: astronaut, "):
        recipe.given("tea", "bridge", 16)
    with pytest.raises(ValueError, match="unknown picture 'scream'; there are: church, "):
        recipe.given("coffee", "scream", 16)


def test_a_run_holds_pictures_for_all_weights_and_measures_them() -> None:
    """Losses anew from the stored bytes, in the paper's form; more weight, less loss of style."""
    run = trained(TINY)
    images = run.tensors["images"]
    assert images.dtype == torch.uint8
    assert images.shape == (2, 3, 16, 16)
    network, content, style, _ = recipe.given(TINY.content, TINY.style, 16)
    for i, beta in enumerate(TINY.style_weights):
        x = images[i : i + 1] / 255
        content_loss = style_loss = 0.0
        for name in TINY.content_layers:
            difference = network(x, [name])[name] - network(content, [name])[name]
            content_loss += difference.square().mean().item() / 2 / 2
        for name in TINY.style_layers:
            g, a = (gram(network(p, [name])[name])[0] for p in (x, style))
            style_loss += (g - a).square().sum().item() / (4 * len(g) ** 2) / 2
        assert run.metrics[f"content_{beta:g}"] == pytest.approx(content_loss, rel=1e-4)
        assert run.metrics[f"style_{beta:g}"] == pytest.approx(style_loss, rel=1e-4)
    assert run.metrics["style_5"] < run.metrics["style_0.1"]
    assert run.metrics["content_5"] > run.metrics["content_0.1"]
    assert run.metrics["turns"] == 6
    for pooling in ("max", "average"):
        run = trained(dataclasses.replace(TINY, pooling=pooling))  # type: ignore[arg-type]
        stale = dataclasses.replace(run, metrics=dict.fromkeys(run.metrics, -1.0) | {"turns": 6})
        assert recipe.evaluate(stale, CPU) == pytest.approx(run.metrics)
    torch.testing.assert_close(run.tensors["content"], recipe.bytes_of(content))
    torch.testing.assert_close(recipe.prepared_style(run), recipe.bytes_of(style) / 255)
    assert run.tensors["snapshots.turn"].tolist() == [0, 1, 2, 6]
    assert torch.equal(
        run.tensors["snapshots.images"][0], run.tensors["content"].expand(2, -1, -1, -1)
    )
    assert torch.equal(run.tensors["snapshots.images"][-1], run.tensors["images"])
    assert len(run.history["loss"]) == 6
    assert run.history["loss"][-1] < run.history["loss"][0]


def test_the_loss_at_the_start_has_the_configs_weights() -> None:
    """From the photograph, content costs nothing: the first loss is the weighted style alone."""
    run = trained(TINY)
    network, content, style, _ = recipe.given(TINY.content, TINY.style, 16)
    goal = gatys.aim(network, None, style, (), TINY.style_layers)
    terms = gatys.losses(network, content, goal, {}, dict.fromkeys(TINY.style_layers, 0.5))
    assert run.history["loss"][0] == pytest.approx(5.1 * terms.style.item(), rel=1e-4)
    # from noise both terms count: content half a layer, twice, for it has no weight but 1
    run = trained(dataclasses.replace(TINY, start="noise", turns=1), 3)
    noise = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    goal = gatys.aim(network, content, style, TINY.content_layers, TINY.style_layers)
    shares = (dict.fromkeys(names, 0.5) for names in (TINY.content_layers, TINY.style_layers))
    terms = gatys.losses(network, 0.5 + 0.1 * noise, goal, *shares)
    expected = 2 * terms.content.item() + 5.1 * terms.style.item()
    assert run.history["loss"][0] == pytest.approx(expected, rel=1e-4)


def test_adams_first_step_has_the_length_of_its_rate() -> None:
    """Each pixel moves by the rate, whatever its slope."""
    config = dataclasses.replace(TINY, optimiser="adam", rate=0.03, turns=1)
    network, content, _, _ = recipe.given(TINY.content, TINY.style, 16)
    goal = gatys.aim(network, content, None, TINY.content_layers, ())
    start = 0.4 + 0.2 * torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    weights = dict.fromkeys(TINY.content_layers, 1.0)
    (now,) = recipe.fit(config, network, goal, start, weights, {})
    assert (now.canvas - start).abs().median().item() == pytest.approx(0.03, rel=0.01)


def test_seeds_matter_to_noise_alone() -> None:
    """Noise around grey, the same for all weights; the photograph needs no seed."""
    assert torch.equal(trained(TINY, 1).tensors["images"], trained(TINY, 2).tensors["images"])
    config = dataclasses.replace(TINY, start="noise", turns=2)
    one, same, other = (trained(config, seed).tensors["snapshots.images"] for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one[0], other[0])
    assert torch.equal(one[0, 0], one[0, 1])
    start = one[0, 0].float() / 255
    assert start.mean().item() == pytest.approx(0.5, abs=0.02)
    assert start.std().item() == pytest.approx(0.1, abs=0.01)


def test_each_weight_goes_its_own_way() -> None:
    """A batch of two ends where each alone ends."""
    both = trained(TINY).tensors["images"]
    for i, beta in enumerate(TINY.style_weights):
        alone = trained(dataclasses.replace(TINY, style_weights=(beta,))).tensors["images"][0]
        assert (alone.int() - both[i].int()).abs().max() <= 1


@pytest.mark.parametrize(
    "change",
    [
        {"optimiser": "adam", "rate": 0.03},
        {"rate": 0.5},
        {"history": 1},
        {"reach": 1e-3},
        {"pooling": "max"},
    ],
)
def test_every_choice_is_heard(change: dict[str, object]) -> None:
    """Another optimiser, rate, memory or pooling gives another picture."""
    config = dataclasses.replace(TINY, **change)  # type: ignore[arg-type]
    assert not torch.equal(trained(config).tensors["images"], trained(TINY).tensors["images"])


def test_fast_networks_are_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Channels last; bfloat16 where the hardware has it and it is wanted; the mean stays fine."""
    network = recipe.given("china", "church", 16).network
    abilities = {"avx512_bf16": True}
    monkeypatch.setattr("litgen.training.cpu_abilities", lambda: abilities)
    start = torch.rand(2, 3, 16, 16)
    for mixed, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        quick, canvas = recipe.fast(network, start, mixed)
        assert {kernel.dtype for pair in quick.pairs() for kernel in pair} == {dtype}
        assert quick.mean.dtype == canvas.dtype == torch.float32
        assert torch.equal(quick.mean, network.mean)
        assert canvas.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(canvas, start)
        canvas.data.zero_()
    assert start.mean() > 0.4
    assert network.pairs()[0][0].dtype == torch.float32
    abilities.clear()
    assert recipe.fast(network, start, True)[0].pairs()[0][0].dtype == torch.float32


def test_bytes_are_rounded_and_cut() -> None:
    """Below 0 and above 1 there is nothing."""
    x = torch.tensor([-0.5, 0.0, 0.4999 / 255, 0.5001 / 255, 0.5, 1.0, 1.7]).view(1, 1, 1, 7)
    found = recipe.bytes_of(x.expand(1, 3, 1, 7))
    assert found[0, 0, 0].tolist() == [0, 0, 0, 1, 128, 255, 255]


def test_what_the_command_line_asks() -> None:
    """Config from JSON, pictures in turn, names of data; paper's layers in the full config."""
    run = trained(TINY)
    assert recipe.config_of(run) == TINY
    assert recipe.data(TINY) == ("vgg", "photographs", "paintings")
    drawn = recipe.sample(run, 3, torch.Generator())
    torch.testing.assert_close(drawn, run.tensors["images"][[0, 1, 0]] / 255)
    torch.testing.assert_close(recipe.restore(run), run.tensors["images"] / 255)
    assert recipe.GPU.style_layers == tuple(f"conv{b}_1" for b in range(1, 6))
    assert recipe.CPU.content_layers == ("conv4_2",)
    assert inspect.signature(recipe.given).parameters["pooling"].default == "average"
