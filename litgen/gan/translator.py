"""The generator of pix2pix: a U-Net of strided convolutions, with dropout as its only noise.

Chapter: book/gan/pix2pix.md.  Proof: tests/gan/test_translator.py.
Reference: Isola, Zhu, Zhou & Efros, "Image-to-Image Translation with Conditional Adversarial
Networks" (2017), sections 3.2.1 and 6.1.1.
"""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from litgen.gan.networks import initialise
from litgen.gan.patch import Norm, normalisation
from litgen.shapes import Float

__all__ = ["Translator"]


class Translator(nn.Module):
    """Images to images of the same size in [-1, 1].

    Each stage down halves height and width by a convolution of 4x4, each stage up doubles them; a
    skip hands what a stage down has made to the stage up that ends at its size.

    Args:
        inputs: channels of what is translated.
        outputs: channels of the translation.
        widths: channels of the stages down, from the finest on.
        skips: without them all goes through the coarsest stage.
        dropout: share of features that the coarse half of the stages up drop, in training mode.
        norm: of all stages but the first, the coarsest one down, and the last.

    Raises:
        ValueError: fewer than two stages, or a dropout outside [0, 1).
    """

    def __init__(
        self,
        inputs: int = 3,
        outputs: int = 3,
        widths: Sequence[int] = (64, 128, 256, 512),
        skips: bool = True,
        dropout: float = 0.5,
        norm: Norm = "batch",
    ):
        if len(widths) < 2 or not 0 <= dropout < 1:
            raise ValueError(
                f"two stages or more and a dropout in [0, 1), got {widths}, {dropout}"
            )
        super().__init__()
        self.inputs, self.skips = inputs, skips
        last = len(widths) - 1
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for i, (a, b) in enumerate(itertools.pairwise((inputs, *widths))):
            kind: Norm = norm if 0 < i < last else "none"
            entry = nn.LeakyReLU(0.2) if i else nn.Identity()
            convolution = nn.Conv2d(a, b, 4, 2, 1, bias=kind == "none")
            self.down.append(nn.Sequential(entry, convolution, normalisation(kind, b)))
        for i, (a, b) in enumerate(zip(widths[::-1], (*widths[-2::-1], outputs), strict=True)):
            kind = norm if i < last else "none"
            wide = 2 * a if skips and i else a
            spread = nn.ConvTranspose2d(wide, b, 4, 2, 1, bias=kind == "none")
            drop = nn.Dropout(dropout) if i < len(widths) // 2 else nn.Identity()
            end = drop if i < last else nn.Tanh()
            self.up.append(nn.Sequential(nn.ReLU(), spread, normalisation(kind, b), end))
        initialise(self)

    def forward(
        self, x: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs height width"]:
        """Return the translations. Implements eq:p2p-skip.

        Raises:
            ValueError: another number of channels, or sides that cannot be halved so often.
        """
        step = 2 ** len(self.down)
        if x.shape[1] != self.inputs or x.shape[2] % step or x.shape[3] % step:
            raise ValueError(
                f"the translator takes {self.inputs} channels and sides divisible by {step}, "
                f"got shape {tuple(x.shape)}"
            )
        passed: list[Tensor] = []
        for stage in self.down:
            x = stage(x)
            passed.append(x)
        for i, stage in enumerate(self.up):
            across = passed.pop()
            x = stage(torch.cat([x, across], dim=1) if self.skips and i else x)
        return x
