"""Steps of style transfer against the usual ones: equal network, pictures, layers, weights, steps.

Proof: tests/test_benchmarks.py.

The peer is style transfer as PyTorch's well-known tutorial builds it, written out here: modules
that compute a loss and hand their input on are inserted into the network after the layers they
judge, what lies behind the last is cut off; torch.optim.LBFGS with its defaults asks for the loss
twenty times a step, and pixels are cut to [0, 1] before each. Both sides have the paper's layers,
average pooling, the same fixed units and the same weighted sum of losses.

litgen-float32   litgen's step in float32
litgen-shipped   litgen's step as its recipe runs it: bfloat16 where the processor has it
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import harness
from benchmarks.harness import Contender, Options
from litgen.data import paintings, photographs, vgg
from litgen.recipes.style import gatys as recipe
from litgen.style import gatys
from litgen.style.features import VGG, block_of, scaled_to_mean_one
from litgen.style.memory import LimitedMemory
from litgen.style.pictures import prepared

__all__ = ["Setting", "UsualDescent", "contenders", "finals", "quality", "run", "usual_network"]

EVALUATIONS, STARTS = 100, 4
CONTENT, STYLE = ("conv4_2",), ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")


@dataclass(frozen=True, eq=False)
class Setting:
    """What is raced: one network, two pictures, one weight of the style."""

    network: VGG
    content: Tensor
    style: Tensor
    style_layers: tuple[str, ...] = STYLE
    style_weight: float = 1.0

    def shares(self) -> dict[str, float | Tensor]:
        """Return beta w_l."""
        return {name: self.style_weight / len(self.style_layers) for name in self.style_layers}


def setting(side: int = 192, style_layers: tuple[str, ...] = STYLE) -> Setting:
    """Return the temple to be painted as the church, with VGG-16 in units of mean one."""
    found = vgg.load()
    network = VGG(found.names, found.kernels, found.biases, found.mean)
    pictures = [prepared(image, side) for image in photographs.load().images]
    network = scaled_to_mean_one(network, pictures)
    return Setting(network, pictures[3], prepared(paintings.load().images[0], side), style_layers)


# -- the usual way --------------------------------------------------------------------------------


class Normalised(nn.Module):
    """The first layer of the usual network: the mean goes away."""

    def __init__(self, mean: Tensor):
        super().__init__()
        self.mean = mean.view(-1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return x less the mean."""
        return x - self.mean


def usual_gram(features: Tensor) -> Tensor:
    """Return the matrix of products of channels, divided by the number of places."""
    count, channels, height, width = features.size()
    rows = features.view(count * channels, height * width)
    return torch.mm(rows, rows.t()).div(height * width)


class ContentJudge(nn.Module):
    """Keeps its loss, hands on what came in."""

    def __init__(self, target: Tensor):
        super().__init__()
        self.target, self.loss = target.detach(), torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        """Return x; ``loss`` is half the mean square of the difference."""
        self.loss = F.mse_loss(x, self.target) / 2
        return x


class StyleJudge(nn.Module):
    """Keeps its loss, hands on what came in."""

    def __init__(self, target: Tensor):
        super().__init__()
        self.target, self.loss = usual_gram(target).detach(), torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        """Return x; ``loss`` is a quarter of the mean square of the Gram matrices' difference."""
        self.loss = F.mse_loss(usual_gram(x), self.target) / 4
        return x


def usual_network(
    given: Setting,
) -> tuple[nn.Sequential, list[tuple[float, ContentJudge | StyleJudge]]]:
    """Return the network with judges in it, cut behind the last, and the judges' weights."""
    model, block = nn.Sequential(Normalised(given.network.mean)), 1
    judges: list[tuple[float, ContentJudge | StyleJudge]] = []
    shares, left = given.shares(), {*CONTENT, *given.style_layers}
    for name, (kernel, bias) in zip(given.network.names, given.network.pairs(), strict=True):
        if block_of(name) != block:
            block = block_of(name)
            model.append(nn.AvgPool2d(2))
        layer = nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1)
        layer.weight.data, layer.bias = kernel.data.clone(), nn.Parameter(bias.data.clone())
        model.extend([layer, nn.ReLU(inplace=False)])
        judge: ContentJudge | StyleJudge
        if name in CONTENT:
            judge = ContentJudge(model(given.content))
            judges.append((1.0, judge))
            model.append(judge)
        if name in given.style_layers:
            judge = StyleJudge(model(given.style))
            judges.append((float(shares[name]), judge))
            model.append(judge)
        left.discard(name)
        if not left:
            break
    model.eval().requires_grad_(False)
    return model, judges


class UsualDescent:
    """The usual loop: torch's L-BFGS, which asks for the loss some twenty times a step.

    Attributes:
        image: the picture.
        asked: how often the loss was asked for, so far.
    """

    def __init__(self, given: Setting):
        self.model, self.judges = usual_network(given)
        self.image = given.content.clone().requires_grad_(True)
        self.optimizer, self.asked = torch.optim.LBFGS([self.image]), 0

    def closure(self) -> Tensor:
        """Return the loss, with its slope in the picture."""
        with torch.no_grad():
            self.image.clamp_(0, 1)
        self.optimizer.zero_grad()
        self.model(self.image)
        total = torch.zeros(())
        for weight, judge in self.judges:
            total = total + weight * judge.loss
        total.backward()
        self.asked += 1
        return total

    def step(self) -> int:
        """Take one of torch's steps; return how often it asked."""
        before = self.asked
        self.optimizer.step(self.closure)
        return self.asked - before


# -- litgen's way ---------------------------------------------------------------------------------


def litgen_steps(given: Setting, mixed: bool) -> Iterator[Tensor]:
    """Yield the picture after each step of litgen's descent."""
    network, canvas = recipe.fast(given.network, given.content, mixed)
    goal = gatys.aim(network, given.content, given.style, CONTENT, given.style_layers)
    optimizer = LimitedMemory(canvas, reach=recipe.CPU.reach)
    alpha = dict.fromkeys(CONTENT, 1.0)
    player = gatys.seeker(canvas, optimizer, network, goal, alpha, given.shares())
    for _ in gatys.paint(player, 10**9):
        yield canvas.detach()


def contenders(given: Setting) -> list[Contender]:
    """Return the usual descent and litgen's two, from one start."""
    ours = [harness.steps(litgen_steps(given, mixed)) for mixed in (False, True)]
    return [
        Contender("usual", UsualDescent(given).step),
        Contender("litgen-float32", ours[0], harness.float32),
        Contender("litgen-shipped", ours[1], harness.as_shipped),
    ]


def quality(given: Setting, steps: int, starts: int) -> dict[str, Any]:
    """Return each side's final losses under one judge in float32, pixels cut to [0, 1].

    Descents that differ in their last digits part after some dozen steps, so there are several
    starts: the photograph, and the photograph with a thousandth of noise, the same for each side.
    The usual descent asks for the loss as often as the others or up to nineteen times more.
    """
    found: dict[str, list[float]] = {}
    for seed in range(starts):
        noise = torch.randn(given.content.shape, generator=torch.Generator().manual_seed(seed))
        start = (given.content + 1e-3 * noise).clamp(0, 1) if seed else given.content
        for name, loss in finals(dataclasses.replace(given, content=start), steps).items():
            found.setdefault(name, []).append(loss)
    evaluations = found.pop("usual evaluations")
    means = {name: round(sum(losses) / starts, 5) for name, losses in found.items()}
    return means | {"each": found, "usual evaluations": max(evaluations)}


def finals(given: Setting, steps: int) -> dict[str, float]:
    """Return the losses to which one start leads."""
    usual = UsualDescent(given)
    while usual.asked < steps:
        usual.step()
    ends = {"usual": usual.image.detach()}
    for name, mixed in (("litgen-float32", False), ("litgen-shipped", True)):
        for number, canvas in enumerate(litgen_steps(given, mixed), start=1):
            if number == steps:
                ends[name] = canvas
                break
    goal = gatys.aim(given.network, given.content, given.style, CONTENT, given.style_layers)
    weights = dict.fromkeys(CONTENT, 1.0), given.shares()
    found = {}
    for name, image in ends.items():
        with torch.no_grad():
            terms = gatys.losses(given.network, image.clamp(0, 1), goal, *weights)
        found[name] = round(float(terms.content + terms.style), 5)
    return found | {"usual evaluations": float(usual.asked)}


def run(options: Options) -> Iterator[dict[str, Any]]:
    """Yield the result for two sizes; the smaller one without the layer that sees 132 pixels."""
    for side, layers in ((160, STYLE), (96, STYLE[:4])):
        given = setting(side, layers)
        rates = harness.race(contenders(given), options.rounds, options.seconds)
        yield {
            "name": "gatys-step",
            "side": side,
            "style_layers": len(layers),
            **harness.verdict(rates, ["usual"]),
            **({"final_loss": quality(given, EVALUATIONS, STARTS)} if options.quality else {}),
            "units": "evaluations of loss and slope a CPU second, with the steps they lead to",
            "rounds": options.rounds,
            "versions": harness.versions(("litgen", "torch")),
        }
