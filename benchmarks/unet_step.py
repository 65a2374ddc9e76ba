"""The U-Net's forward and backward pass, and its inference, against equal networks of others.

Proof: tests/test_benchmarks.py.

usual            the U-Net as public reimplementations write it, with litgen's weights
smp              segmentation-models-pytorch: its decoder and head on the same contracting path; it
                 raises by repetition instead of by a transposed convolution, so its blocks are
                 wider at their entrance
litgen-float32   litgen's network, channels last
litgen-shipped   as its recipes run it: bfloat16 where the processor has it

Widths 32 to 512, four images of 128x128 pixels. Inference folds litgen's normalisations into the
convolutions, which changes no output beyond rounding. In float32 litgen's wide convolutions go by
tiles (litgen/winograd.py), which rounds a digit more; bfloat16 has no digit to spare for that.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks import harness
from benchmarks.harness import Contender, Options
from litgen.data import cells
from litgen.segmentation import scores
from litgen.segmentation.unet import UNet, folded
from litgen.training import mixed_precision

__all__ = ["SMPUNet", "UsualUNet", "inference", "parameter_counts", "quality", "run", "step"]

WIDTHS = (32, 64, 128, 256, 512)
SIDE, BATCH = 128, 4
PACKAGES = ("torch", "segmentation-models-pytorch")
PEERS = ["usual", "smp"]
CPU = torch.device("cpu")


class UsualUNet(nn.Module):
    """Blocks named one by one, every layer a module of its own, as one reads it elsewhere."""

    def __init__(self, outputs: int = 2, widths: Sequence[int] = WIDTHS):
        super().__init__()
        self.enter = self._double(1, widths[0])
        self.down = nn.ModuleList(
            nn.Sequential(nn.MaxPool2d(2), self._double(a, b))
            for a, b in itertools.pairwise(widths)
        )
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(a, b, kernel_size=2, stride=2) for a, b in pairs
        )
        self.join = nn.ModuleList(self._double(2 * b, b) for _, b in pairs)
        self.leave = nn.Conv2d(widths[0], outputs, kernel_size=1)

    @staticmethod
    def _double(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return logits for each pixel."""
        across = [self.enter(x)]
        for down in self.down:
            across.append(down(across[-1]))
        x = across.pop()
        for up, join in zip(self.up, self.join, strict=True):
            x = join(torch.cat([across.pop(), up(x)], dim=1))
        logits: Tensor = self.leave(x)
        return logits


class SMPUNet(nn.Module):
    """The package's decoder and head on a contracting path of the same blocks."""

    def __init__(self, outputs: int = 2, widths: Sequence[int] = WIDTHS):
        from segmentation_models_pytorch.base import SegmentationHead
        from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder

        super().__init__()
        usual = UsualUNet(outputs, widths)
        self.enter, self.down = usual.enter, usual.down
        rising = widths[-2::-1]
        self.decoder = UnetDecoder((1, *widths), rising, n_blocks=len(rising))
        self.head = SegmentationHead(widths[0], outputs, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits for each pixel."""
        features = [x, self.enter(x)]
        for down in self.down:
            features.append(down(features[-1]))
        logits: Tensor = self.head(self.decoder(features))
        return logits


def networks() -> dict[str, nn.Module]:
    """Return one of each; the usual one and litgen's compute the same function."""
    ours = by_litgen()
    usual = UsualUNet()
    usual.load_state_dict(dict(zip(usual.state_dict(), _usual_order(ours), strict=True)))
    smp = SMPUNet()
    for part, theirs in (("enter", usual.enter), ("down", usual.down)):
        getattr(smp, part).load_state_dict(theirs.state_dict())
    return {"usual": usual, "smp": smp, "litgen": ours}


def by_litgen() -> UNet:
    """Return litgen's network, always with the same weights."""
    torch.manual_seed(0)
    return UNet(1, 2, WIDTHS).to(memory_format=torch.channels_last)


def _usual_order(ours: UNet) -> list[Tensor]:
    """Return litgen's weights in the order in which the usual network lists its own."""
    return list(ours.state_dict().values())


def parameter_counts() -> dict[str, int]:
    """Return how many numbers each learns.

    Raises:
        RuntimeError: the usual network's number is not litgen's.
    """
    counts = {name: sum(p.numel() for p in net.parameters()) for name, net in networks().items()}
    if counts["usual"] != counts["litgen"]:
        raise RuntimeError(f"the networks are not equal: {counts}")
    return counts


def run(options: Options) -> Iterator[dict[str, Any]]:
    """Yield the results of a step and of inference, and if asked what a training gives."""
    harness.one_core()
    yield step(options)
    yield inference(options)
    if options.quality:
        yield quality()


def step(options: Options, side: int = SIDE) -> dict[str, Any]:
    """Race forward and backward passes; a unit is an image."""
    x, y = pictures(side)
    nets = networks()
    contenders = [Contender(name, stepping(nets[name], x, y)) for name in PEERS]
    ours = x.contiguous(memory_format=torch.channels_last)
    contenders += [
        Contender("litgen-float32", stepping(nets["litgen"], ours, y), harness.float32),
        Contender("litgen-shipped", stepping(nets["litgen"], ours, y, True), harness.as_shipped),
    ]
    return described("unet-step", harness.race(contenders, options.rounds, options.seconds))


def inference(options: Options, side: int = SIDE) -> dict[str, Any]:
    """Race networks in evaluation mode; a unit is an image."""
    x, _ = pictures(side)
    nets = {name: net.eval() for name, net in networks().items()}
    contenders = [Contender(name, looking(nets[name], x)) for name in PEERS]
    ours = x.contiguous(memory_format=torch.channels_last)
    fast = isinstance(mixed_precision(CPU), torch.autocast)
    half = torch.bfloat16 if fast else torch.float32
    shipped = looking(folded(by_litgen(), half), ours.to(half))
    contenders += [
        Contender("litgen-float32", looking(folded(by_litgen()), ours), harness.float32),
        Contender("litgen-shipped", shipped, harness.as_shipped),
    ]
    return described("unet-inference", harness.race(contenders, options.rounds, options.seconds))


def described(name: str, rates: dict[str, list[float]]) -> dict[str, Any]:
    """Return a race's record."""
    return {
        "name": name,
        **harness.verdict(rates, PEERS),
        "parameters": parameter_counts(),
        "versions": harness.versions(PACKAGES),
    }


def pictures(side: int) -> tuple[Tensor, Tensor]:
    """Return a batch of noise and of classes."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(BATCH, 1, side, side, generator=draw)
    return x, torch.randint(2, (BATCH, side, side), generator=draw)


def stepping(net: nn.Module, x: Tensor, y: Tensor, shipped: bool = False) -> Callable[[], int]:
    """Return work that computes a batch's loss and its gradients."""

    def work() -> int:
        net.zero_grad(set_to_none=True)
        with mixed_precision(CPU, shipped):
            logits = net(x)
        cross_entropy(logits.float(), y).backward()
        return len(x)

    return work


def looking(net: nn.Module, x: Tensor) -> Callable[[], int]:
    """Return work that computes a batch's logits."""

    def work() -> int:
        with torch.inference_mode():
            net(x)
        return len(x)

    return work


def quality(steps: int = 150, widths: Sequence[int] = (16, 32, 64)) -> dict[str, Any]:
    """Train both ways on drawn cells and report mean intersection over union on unseen ones."""
    found = {}
    for name, shipped in (("float32", False), ("shipped", True)):
        torch.manual_seed(0)
        net = UNet(1, 2, widths).to(memory_format=torch.channels_last)
        with harness.as_shipped():
            found[name] = round(_trained_iou(net, steps, shipped), 4)
    return {"name": "unet-quality", "steps": steps, "mean_iou": found}


def _trained_iou(net: nn.Module, steps: int, shipped: bool) -> float:
    train, test = cells.load("train"), cells.load("test")
    optimizer = torch.optim.Adam(net.parameters(), lr=4e-3)
    draw = torch.Generator().manual_seed(0)
    for _ in range(steps):
        chosen = torch.randint(len(train.images), (8,), generator=draw)
        optimizer.zero_grad()
        with mixed_precision(CPU, shipped):
            logits = net(train.images[chosen].float() / 127.5 - 1)
        target = cells.separated(train.cells[chosen]).long()
        cross_entropy(logits.float(), target).backward()
        optimizer.step()
    net.eval()
    with torch.inference_mode(), mixed_precision(CPU, shipped):
        guess = net(test.images.float() / 127.5 - 1).argmax(dim=1)
    truth = cells.separated(test.cells).long()
    return scores.mean_iou(scores.confusion(truth, guess, 2))
