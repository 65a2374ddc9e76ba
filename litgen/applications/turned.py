"""The two players on profiles: a generator of clean vessels of a class, and a critic.

Chapter: book/applications/archaeology.md.  Proof: tests/applications/test_turned.py.
References: Goodfellow et al., "Generative Adversarial Nets" (2014); Mirza & Osindero,
"Conditional Generative Adversarial Nets" (2014).

A vessel is a row of numbers: its radii from base to rim, then its height. The generator returns
the clean vessel; the potter's hand, whose scale is known, is added outside.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from litgen.blocks import MLP
from litgen.shapes import Float, Int

__all__ = ["VesselCritic", "VesselGenerator"]

SPREAD = 0.25
"""What a network's 1 means in a vessel's units; drawn vessels vary by 0.17 around their mean."""


class VesselGenerator(nn.Module):
    """Codes and classes to clean vessels. Implements eq:pot-generator.

    A class's mean and a linear map of the code, as in probabilistic PCA, plus what a network adds:
    nothing at the start. So the game begins with one Gaussian a class and bends it.

    Args:
        mean: of each class.
        weight: of each class, to start with.
        hidden: widths of the network's layers.

    Raises:
        ValueError: means and weights that do not fit.
    """

    def __init__(
        self,
        mean: Float[Tensor, "classes dims"],
        weight: Float[Tensor, "classes dims latent"],
        hidden: Sequence[int],
    ):
        if mean.dim() != 2 or weight.dim() != 3 or weight.shape[:2] != mean.shape:
            shapes = tuple(mean.shape), tuple(weight.shape)
            raise ValueError(f"means and weights have shapes {shapes}: they do not fit")
        super().__init__()
        self.classes, dims, self.latent = weight.shape
        self.mean, self.weight = nn.Parameter(mean.clone()), nn.Parameter(weight.clone())
        self.net = MLP([self.latent + self.classes, *hidden, dims], nn.SiLU)
        for parameter in self.net[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(
        self, z: Float[Tensor, "*batch latent"], labels: Int[Tensor, "*batch"]
    ) -> Float[Tensor, "*batch dims"]:
        """Return clean vessels of the classes asked for."""
        told = nn.functional.one_hot(labels, self.classes).to(z.dtype)
        bent: Tensor = SPREAD * self.net(torch.cat([z, told], dim=-1))
        each = torch.einsum("...l,cdl->...cd", z, self.weight) + self.mean
        return (told[..., None] * each).sum(dim=-2) + bent


class VesselCritic(nn.Module):
    """Vessels and classes to one logit each, positive for "data of this class".

    Beside the numbers themselves it is shown the differences between neighbouring radii, four
    times as large: a profile's roughness is small in the numbers.

    Args:
        mean: of the data, which is taken off.
        classes: how many there are.
        hidden: widths of the layers.
    """

    mean: Tensor

    def __init__(self, mean: Float[Tensor, " dims"], classes: int, hidden: Sequence[int]):
        super().__init__()
        self.classes = classes
        self.register_buffer("mean", mean.clone())
        self.net = MLP([2 * len(mean) - 2 + classes, *hidden, 1], nn.LeakyReLU)

    def forward(
        self, x: Float[Tensor, "batch dims"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Return logits."""
        told = nn.functional.one_hot(labels, self.classes).to(x.dtype)
        off = (x - self.mean) / SPREAD
        steps = 4 * x[:, :-1].diff(dim=1) / SPREAD  # of the radii; the height has no neighbour
        logits: Tensor = self.net(torch.cat([off, steps, told], dim=1)).squeeze(1)
        return logits
