"""RealNVP on vectors: equal couplings and widths, against zuko, nflows, normflows and FrEIA.

Proof: tests/test_benchmarks.py.

All contenders have the same number of affine couplings, each with a conditioner of two hidden ReLU
layers of the same width, that read one half of the coordinates and move the other; a standard
normal base, Adam at the same rate, and the same batches. Each is built by its
library's own classes. Where a library insists on an option of its own (a scale squashed by tanh,
by a sigmoid, or not at all), it keeps it.

litgen-float32   float32 products as torch makes them unless told otherwise
litgen-shipped   configured as the recipe's own training is: for matrices this small that is the
                 same, since lower precision does not pay for them
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import FrEIA.framework as freia
import FrEIA.modules as freia_modules
import normflows
import torch
import zuko
from nflows.distributions import StandardNormal
from nflows.flows import Flow
from nflows.transforms import AffineCouplingTransform, CompositeTransform
from torch import Tensor, nn

from benchmarks import harness
from benchmarks.harness import Contender, Options
from litgen.blocks import MLP
from litgen.flows.coupling import CouplingFlow
from litgen.training import Player, plain_products, play

__all__ = ["contenders", "parameters", "sample", "train"]

VERSIONS = ("litgen", "torch", "zuko", "nflows", "normflows", "FrEIA")
SIZES = {"2-D": (2, 8, 64, 512), "64-D": (64, 8, 128, 64)}
"""Dimensions, couplings, hidden width, batch."""

LogProb = Callable[[Tensor], Tensor]
Sampler = Callable[[int], Tensor]
Built = tuple[nn.Module, LogProb, Sampler]


def build_litgen(dims: int, couplings: int, width: int) -> Built:
    """Return litgen's flow."""
    flow = CouplingFlow(dims, couplings, [width, width])
    return flow, flow.log_prob, lambda count: flow.sample(torch.randn(count, dims))


def build_normflows(dims: int, couplings: int, width: int) -> Built:
    """Return normflows' affine coupling blocks with a swap after each."""
    layers: list[nn.Module] = []
    for _ in range(couplings):
        net = normflows.nets.MLP([dims // 2, width, width, dims], init_zeros=False, leaky=0.0)
        layers += [
            normflows.flows.AffineCouplingBlock(net),
            normflows.flows.Permute(dims, mode="swap"),
        ]
    flow = normflows.NormalizingFlow(normflows.distributions.DiagGaussian(dims, False), layers)
    return flow, flow.log_prob, lambda count: flow.sample(count)[0]


def build_nflows(dims: int, couplings: int, width: int) -> Built:
    """Return nflows' affine couplings with alternating masks."""
    even = torch.arange(dims) % 2
    layers = [
        AffineCouplingTransform(
            even if i % 2 else 1 - even, lambda a, b: MLP([a, width, width, b])
        )
        for i in range(couplings)
    ]

    class Plain(nn.Module):
        """Accept the context that nflows hands on."""

        def __init__(self, net: nn.Module):
            super().__init__()
            self.net = net

        def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
            out: Tensor = self.net(x)
            return out

    for layer in layers:
        layer.transform_net = Plain(layer.transform_net)
    flow = Flow(CompositeTransform(layers), StandardNormal([dims]))
    return flow, flow.log_prob, flow.sample


def build_zuko(dims: int, couplings: int, width: int) -> Built:
    """Return zuko's NICE, which has affine couplings, without its random permutations."""
    flow = zuko.flows.NICE(dims, transforms=couplings, hidden_features=(width, width))
    return flow, lambda x: flow().log_prob(x), lambda count: flow().sample((count,))


def build_freia(dims: int, couplings: int, width: int) -> Built:
    """Return FrEIA's one-sided affine couplings with a swap after each."""
    flow = freia.SequenceINN(dims)
    for _ in range(couplings):
        flow.append(
            freia_modules.AffineCouplingOneSided,
            subnet_constructor=lambda a, b: MLP([a, width, width, b]),
        )
        flow.append(freia_modules.PermuteRandom, seed=0)

    def log_prob(x: Tensor) -> Tensor:
        z, log_det = flow(x)
        nats: Tensor = -0.5 * (z.square() + 1.8378770664093453).sum(dim=1) + log_det
        return nats

    return flow, log_prob, lambda count: flow(torch.randn(count, dims), rev=True)[0]


BUILDERS: dict[str, Callable[[int, int, int], Built]] = {
    "zuko": build_zuko,
    "nflows": build_nflows,
    "normflows": build_normflows,
    "FrEIA": build_freia,
}


def parameters(dims: int, couplings: int, width: int) -> dict[str, int]:
    """Return how many parameters each contender has."""
    builders = BUILDERS | {"litgen": build_litgen}
    return {
        name: sum(p.numel() for p in build(dims, couplings, width)[0].parameters())
        for name, build in builders.items()
    }


def training(built: Built, batches: Iterator[Tensor]) -> Iterator[object]:
    """Return the usual loop of a peer."""
    model, log_prob, _ = built
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    while True:
        optimizer.zero_grad()
        loss = -log_prob(next(batches)).mean()
        loss.backward()
        optimizer.step()
        yield loss


def litgen_training(built: Built, batches: Iterator[Tensor]) -> Iterator[object]:
    """Return litgen's loop."""
    model, log_prob, _ = built
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    player = Player("flow", optimizer, lambda x: -log_prob(x).mean())
    return play([player], batches, 10**9)


@contextlib.contextmanager
def as_shipped() -> Iterator[None]:
    """Configure torch as litgen.recipes.flows.moons does when it trains."""
    with harness.as_shipped(), plain_products(torch.device("cpu")):
        yield


def endless(dims: int, batch: int) -> Iterator[Tensor]:
    """Return the same batches again and again."""
    x = torch.randn(64, batch, dims, generator=torch.Generator().manual_seed(0))
    return itertools.cycle((x * (1 + x.roll(1, -1).tanh() / 2)).unbind())


def contenders(dims: int, couplings: int, width: int, batch: int, kind: str) -> list[Contender]:
    """Return all contenders for training or sampling."""
    torch.manual_seed(0)
    found = []
    for name, build in BUILDERS.items():
        built = build(dims, couplings, width)
        if kind == "train":
            work = harness.steps(training(built, endless(dims, batch)))
        else:
            work = sampling(built, batch)
        found.append(Contender(name, work))
    for name, around in (
        ("litgen-float32", harness.full_precision),
        ("litgen-shipped", as_shipped),
    ):
        built = build_litgen(dims, couplings, width)
        if kind == "train":
            work = harness.steps(litgen_training(built, endless(dims, batch)))
        else:
            work = sampling(built, batch)
        found.append(Contender(name, work, around))
    return found


def sampling(built: Built, batch: int) -> Callable[[], int]:
    """Return work that draws one batch."""

    def work() -> int:
        with torch.no_grad():
            built[2](batch)
        return 1

    return work


def raced(kind: str, options: Options) -> Iterator[dict[str, Any]]:
    """Yield one record for each size."""
    for label, (dims, couplings, width, batch) in SIZES.items():
        entrants = contenders(dims, couplings, width, batch, kind)
        rates = harness.race(entrants, options.rounds, options.seconds)
        peers = list(BUILDERS)
        float32 = harness.compare(rates, "litgen-float32", peers)
        shipped = harness.compare(rates, "litgen-shipped", peers)
        yield {
            "name": f"realnvp-{kind}",
            "size": label,
            "ratio_float32": float32["ratio"],
            "ratio_shipped": shipped["ratio"],
            "spread": {"ratio_float32": float32["spread"], "ratio_shipped": shipped["spread"]},
            "best_peer": float32["best_peer"],
            "peers": harness.medians(rates, peers),
            "litgen": harness.medians(rates, ["litgen-float32", "litgen-shipped"]),
            "parameters": parameters(dims, couplings, width),
            "units": f"batches of {batch} a CPU second, {couplings} couplings of width {width}",
            "rounds": options.rounds,
            "versions": harness.versions(VERSIONS),
        }


def train(options: Options) -> Iterator[dict[str, Any]]:
    """Yield the results of training."""
    return raced("train", options)


def sample(options: Options) -> Iterator[dict[str, Any]]:
    """Yield the results of sampling."""
    return raced("sample", options)
