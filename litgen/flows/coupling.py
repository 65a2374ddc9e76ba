"""Affine couplings: invertible layers whose Jacobian is triangular, and flows made of them.

Chapter: book/flows/coupling.md.  Proof: tests/flows/test_coupling.py.
References: Dinh, Krueger & Bengio, "NICE" (2015); Dinh, Sohl-Dickstein & Bengio, "Density
estimation using Real NVP" (2017), section 3.

Notation: the paper's s is ``log_scale``, t is ``shift``. Forward is from data x to latent z
everywhere; a log-determinant is always that of the forward map.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from litgen.blocks import MLP
from litgen.gaussian import standard_log_prob
from litgen.shapes import Float

__all__ = ["AffineCoupling", "CouplingFlow", "change_of_variables"]


def change_of_variables(
    z: Float[Tensor, "*batch dims"], log_det: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """Return log p(x) in nats, for z = f(x) with z ~ N(0, I). Implements eq:change-of-variables.

    Args:
        z: where the data land.
        log_det: log|det dz/dx|, positive where the map stretches.
    """
    return standard_log_prob(z) + log_det


class AffineCoupling(nn.Module):
    """Stretch and shift one part of the coordinates by amounts read off the other part.

    Args:
        kept: coordinates that pass through and are read.
        moved: coordinates that are changed.
        hidden: widths of the conditioner's hidden layers.

    Raises:
        ValueError: a part without coordinates.
    """

    def __init__(self, kept: int, moved: int, hidden: Sequence[int]):
        super().__init__()
        if min(kept, moved) < 1:
            raise ValueError(f"both parts need coordinates, got {kept} kept and {moved} moved")
        self.conditioner = MLP([kept, *hidden, 2 * moved])

    def forward(
        self, kept: Float[Tensor, "*batch kept"], moved: Float[Tensor, "*batch moved"]
    ) -> tuple[Float[Tensor, "*batch moved"], Float[Tensor, "*batch moved"]]:
        """Return the moved part of z and the log-scales. Implements eq:coupling-forward.

        The log-determinant of the layer, eq:coupling-log-det, is the sum of the log-scales.
        """
        log_scale, shift = self.log_scale_and_shift(kept)
        return torch.addcmul(shift, moved, log_scale.exp()), log_scale

    def inverse(
        self, kept: Float[Tensor, "*batch kept"], moved: Float[Tensor, "*batch moved"]
    ) -> Float[Tensor, "*batch moved"]:
        """Return the moved part of x, given that of z. Implements eq:coupling-inverse."""
        log_scale, shift = self.log_scale_and_shift(kept)
        return (moved - shift) * torch.exp(-log_scale)

    def log_scale_and_shift(
        self, kept: Float[Tensor, "*batch kept"]
    ) -> tuple[Float[Tensor, "*batch moved"], Float[Tensor, "*batch moved"]]:
        """Read both off the kept part; tanh keeps a layer's stretch within [1/e, e]."""
        log_scale, shift = self.conditioner(kept).chunk(2, dim=-1)
        return torch.tanh(log_scale), shift


class CouplingFlow(nn.Module):
    """A density on vectors: couplings that change the second and the first half in turn.

    The halves stay two tensors all the way through, so no layer copies what it does not change.

    Args:
        dims: coordinates, at least 2; with an odd number the first half is the smaller one.
        couplings: layers.
        hidden: widths of each conditioner's hidden layers.

    Raises:
        ValueError: fewer than 2 dims, or no couplings.
    """

    def __init__(self, dims: int, couplings: int, hidden: Sequence[int]):
        super().__init__()
        if dims < 2 or couplings < 1:
            raise ValueError(f"need dims >= 2 and couplings >= 1, got {dims} and {couplings}")
        self.sizes = [dims // 2, dims - dims // 2]
        sizes = [self.sizes[i % 2] for i in range(couplings + 1)]
        self.couplings = nn.ModuleList(
            AffineCoupling(sizes[i], sizes[i + 1], hidden) for i in range(couplings)
        )

    def forward(
        self, x: Float[Tensor, "*batch dims"]
    ) -> tuple[Float[Tensor, "*batch dims"], Float[Tensor, "*batch"]]:
        """Map data to latent; return z and log|det dz/dx|. Implements eq:flow-composition."""
        parts = list(x.split(self.sizes, dim=-1))
        log_scales = []
        for i, coupling in enumerate(self.couplings):
            kept, moved = i % 2, 1 - i % 2
            parts[moved], log_scale = coupling(parts[kept], parts[moved])
            log_scales.append(log_scale)
        return torch.cat(parts, dim=-1), torch.cat(log_scales, dim=-1).sum(dim=-1)

    def inverse(self, z: Float[Tensor, "*batch dims"]) -> Float[Tensor, "*batch dims"]:
        """Map latent to data: the layers' inverses in reverse order."""
        parts = list(z.split(self.sizes, dim=-1))
        for i in reversed(range(len(self.couplings))):
            kept, moved = i % 2, 1 - i % 2
            coupling = self.couplings[i]
            assert isinstance(coupling, AffineCoupling)
            parts[moved] = coupling.inverse(parts[kept], parts[moved])
        return torch.cat(parts, dim=-1)

    def log_prob(self, x: Float[Tensor, "*batch dims"]) -> Float[Tensor, "*batch"]:
        """Return log p(x) in nats. Implements eq:change-of-variables."""
        return change_of_variables(*self(x))

    def sample(self, noise: Float[Tensor, "*batch dims"]) -> Float[Tensor, "*batch dims"]:
        """Turn standard normal noise into data, without a gradient."""
        with torch.no_grad():
            return self.inverse(noise)
