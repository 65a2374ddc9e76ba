"""Proof for litgen/style/gatys.py: on a small random network of real depth."""

import inspect
import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from litgen.style import gatys
from litgen.style.features import VGG
from litgen.style.gram import gram
from litgen.style.memory import LimitedMemory
from litgen.training import Player

Draw = Callable[..., Tensor]
NAMES = ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1")
WIDTHS = (4, 5, 6, 3, 7)
CONTENT, STYLE = ("conv2_2", "conv3_1"), ("conv1_1", "conv2_1")


@pytest.fixture
def network(normal: Draw) -> VGG:
    """Return a network with positive biases, so that features live."""
    inputs = (3, *WIDTHS[:-1])
    kernels = [normal(o, i, 3, 3) / (3 * i**0.5) for i, o in zip(inputs, WIDTHS, strict=True)]
    return VGG(NAMES, kernels, [normal(o).abs() for o in WIDTHS], normal(3) / 9 + 0.5)


def picture(normal: Draw, batch: int, height: int, width: int) -> Tensor:
    """Return numbers between 0 and 1."""
    return normal(batch, 3, height, width).sigmoid()


def test_the_goal_is_features_and_moments(network: VGG, normal: Draw) -> None:
    """Of the layers asked for, without slopes."""
    content, style = picture(normal, 1, 12, 16), picture(normal, 1, 20, 14)
    goal = gatys.aim(network, content, style, CONTENT, STYLE)
    assert tuple(goal.content) == CONTENT
    assert tuple(goal.style) == STYLE
    for name in CONTENT:
        torch.testing.assert_close(goal.content[name], network(content, [name])[name])
    for name in STYLE:
        f = network(style, [name])[name][0].flatten(1)
        torch.testing.assert_close(goal.style[name][0], f @ f.T / f.shape[1])
    assert gatys.aim(network, None, style, CONTENT, STYLE).content == {}
    assert gatys.aim(network, content, None, CONTENT, STYLE).style == {}
    with pytest.raises(ValueError, match="a goal needs a content or a style"):
        gatys.aim(network, None, None)


def test_layers_are_the_papers_by_default() -> None:
    """Content at conv4_2, style at the first convolution of each block."""
    parameters = inspect.signature(gatys.aim).parameters
    assert parameters["content_layers"].default == ("conv4_2",)
    assert parameters["style_layers"].default == tuple(f"conv{b}_1" for b in range(1, 6))


def test_a_style_smaller_than_a_field_is_refused(network: VGG, normal: Draw) -> None:
    """Conv3_1 sees 24 pixels."""
    with pytest.raises(
        ValueError, match="the style is 23x40, but conv3_1 sees 24x24: take a larg"
    ):
        gatys.aim(network, None, picture(normal, 1, 23, 40), (), ("conv1_1", "conv3_1"))
    gatys.aim(network, None, picture(normal, 1, 24, 40), (), ("conv3_1",))


def test_losses_are_weighted_sums_of_the_papers(network: VGG, normal: Draw) -> None:
    """Layer by layer in the paper's own form, each example with its weights. eq:gatys-style."""
    content, style = picture(normal, 1, 12, 16), picture(normal, 1, 20, 14)
    images = picture(normal, 2, 12, 16)
    goal = gatys.aim(network, content, style, CONTENT, STYLE)
    alpha = {"conv2_2": 0.7, "conv3_1": torch.tensor([0.0, 2.0], dtype=torch.float64)}
    beta = {"conv1_1": torch.tensor([3.0, 0.5], dtype=torch.float64), "conv2_1": 1.5}
    found = gatys.losses(network, images, goal, alpha, beta)
    for b in range(2):
        one = images[b : b + 1]
        expected = 0.0
        for name, weight in alpha.items():
            a = weight if isinstance(weight, float) else weight[b].item()
            difference = network(one, [name])[name] - network(content, [name])[name]
            expected += a * 0.5 * difference.square().mean().item()
        assert found.content[b].item() == pytest.approx(expected)
        expected = 0.0
        for name, weight in beta.items():
            w = weight if isinstance(weight, float) else weight[b].item()
            g, a = (gram(network(x, [name])[name])[0] for x in (one, style))
            expected += w * (g - a).square().sum().item() / (4 * len(g) ** 2)
        assert found.style[b].item() == pytest.approx(expected)
        assert expected > 1e-4


def test_the_style_itself_and_the_content_itself_cost_nothing(network: VGG, normal: Draw) -> None:
    """Zero, and only there: its mirror image, too, has another style. eq:gatys-total."""
    content, style = picture(normal, 1, 16, 16), picture(normal, 1, 20, 14)
    goal = gatys.aim(network, content, style, CONTENT, STYLE)
    alpha, beta = dict.fromkeys(CONTENT, 1.0), dict.fromkeys(STYLE, 1.0)
    assert gatys.losses(network, style, gatys.aim(network, None, style, (), STYLE), {}, beta)[
        1
    ].item() == pytest.approx(0, abs=1e-20)
    found = gatys.losses(network, content, goal, alpha, beta)
    assert found.content.item() == pytest.approx(0, abs=1e-20)
    assert found.style.item() > 1e-4
    shifted = gatys.losses(network, content.flip(3), goal, alpha, beta)
    assert shifted.content.item() > 1e-4


def test_weights_of_other_layers_are_refused(network: VGG, normal: Draw) -> None:
    """A forgotten layer would cost nothing in silence."""
    x = picture(normal, 1, 16, 16)
    goal = gatys.aim(network, x, x, CONTENT, STYLE)
    alpha, beta = dict.fromkeys(CONTENT, 1.0), dict.fromkeys(STYLE, 1.0)
    with pytest.raises(
        ValueError, match=r"content is wanted at .*, weights are for \['conv2_2'\]"
    ):
        gatys.losses(network, x, goal, {"conv2_2": 1.0}, beta)
    with pytest.raises(ValueError, match=r"style is wanted at .*, weights are for \[\]"):
        gatys.losses(network, x, goal, alpha, {})


@pytest.mark.parametrize("kind", ["memory", "adam"])
def test_the_descent_lowers_what_it_says(network: VGG, normal: Draw, kind: str) -> None:
    """The step's loss is the sum over pictures of both terms; it falls. eq:gatys-total."""
    content, style = picture(normal, 1, 16, 16), picture(normal, 1, 20, 14)
    goal = gatys.aim(network, content, style, CONTENT, STYLE)
    weights = torch.tensor([0.5, 5.0], dtype=torch.float64)
    alpha, beta = dict.fromkeys(CONTENT, 1.0), dict.fromkeys(STYLE, weights)
    canvas = torch.nn.Parameter(content.repeat(2, 1, 1, 1))
    first = gatys.losses(network, canvas, goal, alpha, beta)
    adam = torch.optim.Adam([canvas], 0.02)
    optimizer = LimitedMemory(canvas) if kind == "memory" else adam
    player = gatys.seeker(canvas, optimizer, network, goal, alpha, beta)
    steps = list(gatys.paint(player, 40))
    assert [s.turn for s in steps] == list(range(40))
    assert steps[0].player == "picture"
    assert steps[0].loss.item() == pytest.approx((first.content + first.style).sum().item())
    assert steps[-1].loss < 0.5 * steps[0].loss
    assert len(list(itertools.islice(gatys.paint(player, iter([5, 6])), 5))) == 2


@pytest.mark.parametrize("kind", ["memory", "adam"])
def test_what_cannot_be_shown_is_cut_after_every_step(normal: Draw, kind: str) -> None:
    """A descent to a picture outside [0, 1] ends at the nearest one inside."""
    wanted = 0.5 + normal(2, 3, 4, 5)
    assert wanted.min() < -0.5
    assert wanted.max() > 1.5
    canvas = torch.nn.Parameter(torch.full_like(wanted, 0.5))
    adam = torch.optim.Adam([canvas], 0.05)
    optimizer = LimitedMemory(canvas) if kind == "memory" else adam
    player = Player("picture", optimizer, lambda _: (canvas - wanted).square().sum())
    for _ in gatys.paint(player, 200):
        assert canvas.min() >= 0
        assert canvas.max() <= 1
    torch.testing.assert_close(canvas.detach(), wanted.clip(0, 1), rtol=0, atol=2e-3)


def test_coarse_features_are_summed_in_float32(network: VGG, normal: Draw) -> None:
    """A network in bfloat16 has goals and losses in float32, near those in double."""
    content, style = picture(normal, 1, 16, 16), picture(normal, 1, 20, 14)
    alpha, beta = dict.fromkeys(CONTENT, 1.0), dict.fromkeys(STYLE, 1.0)
    goal = gatys.aim(network, content, style, CONTENT, STYLE)
    fine = gatys.losses(network, content.flip(2), goal, alpha, beta)
    coarse = network.to(torch.bfloat16)
    goal = gatys.aim(coarse, content.float(), style.float(), CONTENT, STYLE)
    found = gatys.losses(coarse, content.float().flip(2), goal, alpha, beta)
    assert goal.style["conv1_1"].dtype == found.style.dtype == torch.float32
    assert found.style.item() == pytest.approx(fine.style.item(), rel=0.1)
    assert found.content.item() == pytest.approx(fine.content.item(), rel=0.1)
    expected = 0.0  # from the very numbers that the coarse network gives
    for name in CONTENT:
        assert goal.content[name].dtype == found.content.dtype == torch.float32
        f, p = (coarse(x.float(), [name])[name].double() for x in (content.flip(2), content))
        expected += (f - p).square().mean().item() / 2
    assert found.content.item() == pytest.approx(expected, rel=1e-5)
