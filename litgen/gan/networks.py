"""Convolutional players for small images, after DCGAN's guidelines.

Chapter: book/gan/dcgan.md.  Proof: tests/gan/test_networks.py.
Reference: Radford, Metz & Chintala, "Unsupervised Representation Learning with Deep Convolutional
Generative Adversarial Networks" (2016), section 3.

Strided convolutions instead of pooling, normalisation in all layers but the generator's last and
the critic's first, ReLU in the generator, LeakyReLU of slope 0.2 in the critic, tanh at the end.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from litgen.shapes import Float

__all__ = ["ConvCritic", "ConvGenerator", "Norm", "initialise", "settle"]

Norm = Literal["batch", "layer", "none"]
SCALE = 0.02
"""Standard deviation of weights at the start."""


class ConvGenerator(nn.Module):
    """Codes to images in [-1, 1], each stage of which doubles height and width.

    Args:
        latent: dimensions of a code.
        widths: channels from the coarsest stage on; as many doublings as widths.
        channels: of the image.
        side: height and width of the image, divisible by 2 for each width.
        norm: of the hidden layers.

    Raises:
        ValueError: a side that cannot be halved so often, or no widths.
    """

    def __init__(
        self,
        latent: int = 64,
        widths: Sequence[int] = (64, 32),
        channels: int = 1,
        side: int = 28,
        norm: Norm = "batch",
    ):
        super().__init__()
        coarse = _coarsest(side, len(widths))
        first = nn.Sequential(
            nn.Linear(latent, widths[0] * coarse**2),
            nn.Unflatten(1, (widths[0], coarse, coarse)),
            _norm(norm, widths[0]),
            nn.ReLU(),
        )
        stages = [
            nn.Sequential(nn.ConvTranspose2d(a, b, 4, 2, 1), _norm(norm, b), nn.ReLU())
            for a, b in itertools.pairwise(widths)
        ]
        last = nn.Sequential(nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1), nn.Tanh())
        self.stages = nn.Sequential(first, *stages, last)
        initialise(self)

    def forward(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch channels h w"]:
        """Return images."""
        images: Tensor = self.stages(z)
        return images


class ConvCritic(nn.Module):
    """Images to one logit each; each stage halves height and width.

    Args:
        widths: channels of the stages, from the finest on.
        channels: of the image.
        side: height and width of the image, divisible by 2 for each width.
        norm: of all stages but the first. Batch normalisation makes an image's logit depend on
            the images beside it, which a gradient penalty does not allow.

    Raises:
        ValueError: a side that cannot be halved so often, or no widths.
    """

    def __init__(
        self,
        widths: Sequence[int] = (32, 64),
        channels: int = 1,
        side: int = 28,
        norm: Norm = "batch",
    ):
        super().__init__()
        coarse = _coarsest(side, len(widths))
        stages = [
            nn.Sequential(
                nn.Conv2d(a, b, 4, 2, 1),
                _norm(norm if i else "none", b),
                nn.LeakyReLU(0.2),
            )
            for i, (a, b) in enumerate(zip([channels, *widths], widths, strict=False))
        ]
        self.stages = nn.Sequential(*stages)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(widths[-1] * coarse**2, 1))
        initialise(self)

    def features(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch features"]:
        """Return what the last layer sees."""
        seen: Tensor = self.stages(x).flatten(1)
        return seen

    def forward(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, " batch"]:
        """Return logits, positive for "data"."""
        logits: Tensor = self.head(self.stages(x)).squeeze(1)
        return logits


def initialise(module: nn.Module) -> None:
    """Draw all weights of convolutions and linear layers from N(0, 0.02^2); biases are 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, std=SCALE)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


@torch.no_grad()
def settle(network: nn.Module, batches: Iterable[tuple[Tensor, ...]]) -> None:
    """Set all running moments to their averages over batches; leave evaluation mode behind.

    Averaged weights have activations of their own: running moments that were collected while
    other weights played do not fit them. Implements eq:dcgan-settle.

    Args:
        network: with batch normalisation, or without, which changes nothing but the mode.
        batches: of what the network is called with, codes for a generator.

    Raises:
        ValueError: no batches, where there is something to average.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    rates = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the running moments become plain averages
    network.train()
    count = sum(1 for batch in batches if network(*batch) is not None)
    for norm, rate in zip(norms, rates, strict=True):
        norm.momentum = rate
    network.eval()
    if norms and not count:
        raise ValueError("no batches to take moments from")


def _norm(kind: Norm, channels: int) -> nn.Module:
    """Return a normalisation; "layer" is over all channels and places of one image.

    "batch" is over all places of all images: eq:dcgan-batch-norm and eq:dcgan-scale-free.
    """
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(1, channels) if kind == "layer" else nn.Identity()


def _coarsest(side: int, halvings: int) -> int:
    """Return the side of the coarsest stage."""
    if halvings < 1 or side % 2**halvings:
        raise ValueError(f"a side of {side} cannot be halved {halvings} times")
    return int(side // 2**halvings)
