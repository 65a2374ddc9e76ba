"""Proof for litgen/recipes/style/gatys_layers.py: on stand-ins, small."""

import dataclasses
from typing import Any

import pytest
import torch

from litgen.data import vgg
from litgen.recipes.style import gatys as recipe
from litgen.recipes.style import gatys_layers as layers
from litgen.style.features import VGG
from litgen.style.gram import gram

CPU = torch.device("cpu")
TINY = layers.Config(
    dataclasses.replace(recipe.CPU, side=16, turns=25, mixed=False, optimiser="adam", rate=0.03),
    ("conv1_1", "conv2_1"),
    ("conv1_1", "conv1_2"),
)


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the random kernels that stand in for VGG's have few channels."""
    monkeypatch.setattr(vgg, "WIDTHS", (8, 8, 8, 8, 8))


def test_each_picture_meets_its_own_layers() -> None:
    """Losses at start and end by hand: one layer of content, all layers of style up to one."""
    run = layers.train(TINY, 3, CPU)
    network, content, style, _ = recipe.given("china", "church", 16)
    noise = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    start = 0.5 + 0.1 * noise
    for i, name in enumerate(TINY.content_layers):
        for when, x in (("start", start), ("end", run.tensors["content"][i : i + 1] / 255)):
            difference = network(x, [name])[name] - network(content, [name])[name]
            expected = difference.square().mean().item() / 2
            assert run.metrics[f"content_{name}_{when}"] == pytest.approx(expected, rel=1e-4)
    for i, name in enumerate(TINY.style_layers):
        for when, x in (("start", start), ("end", run.tensors["style"][i : i + 1] / 255)):
            expected = 0.0
            for one in TINY.style_layers[: i + 1]:
                g, a = (gram(network(p, [one])[one])[0] for p in (x, style))
                expected += (g - a).square().sum().item() / (4 * len(g) ** 2) / (i + 1)
            assert run.metrics[f"style_{name}_{when}"] == pytest.approx(expected, rel=1e-4)
    for key in run.metrics:
        if key.endswith("_end"):
            assert run.metrics[key] < 0.7 * run.metrics[key.replace("_end", "_start")]
    torch.testing.assert_close(run.tensors["wanted_content"], recipe.bytes_of(content))
    torch.testing.assert_close(run.tensors["wanted_style"], recipe.bytes_of(style))
    assert not torch.equal(layers.train(TINY, 4, CPU).tensors["style"], run.tensors["style"])


def test_the_descent_is_the_configs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pooling, turns and rate are those of every picture's own descent."""
    heard: list[tuple[recipe.Config, str]] = []
    original = recipe.fit

    def listen(config: recipe.Config, network: VGG, *more: Any) -> Any:
        heard.append((config, network.pooling))
        return original(config, network, *more)

    monkeypatch.setattr(recipe, "fit", listen)
    descent = dataclasses.replace(TINY.descent, pooling="max", turns=2)
    run = layers.train(dataclasses.replace(TINY, descent=descent), 0, CPU)
    assert heard == [(descent, "max")] * 4
    network, content, *_ = recipe.given("china", "church", 16, "max")
    x = run.tensors["content"][1:] / 255
    gap = network(x, ["conv2_1"])["conv2_1"] - network(content, ["conv2_1"])["conv2_1"]
    expected = gap.square().mean().item() / 2
    assert run.metrics["content_conv2_1_end"] == pytest.approx(expected, rel=1e-4)


def test_what_the_command_line_asks() -> None:
    """Config from JSON, pictures in turn, names of data."""
    run = layers.train(TINY, 0, CPU)
    inner = {k: list(v) if isinstance(v, tuple) else v for k, v in vars(TINY.descent).items()}
    run.provenance = {
        "config": {
            "descent": inner,
            "content_layers": list(TINY.content_layers),
            "style_layers": list(TINY.style_layers),
        }
    }
    assert layers.config_of(run) == TINY
    assert layers.data(TINY) == recipe.data(recipe.CPU)
    both = torch.cat([run.tensors["content"], run.tensors["style"]]) / 255
    torch.testing.assert_close(layers.restore(run), both)
    drawn = layers.sample(run, 5, torch.Generator())
    torch.testing.assert_close(drawn, both[[0, 1, 2, 3, 0]])
    assert layers.evaluate(run, CPU) == run.metrics
