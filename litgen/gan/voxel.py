"""Players for objects of voxels: 3-D convolutions, and how far they have come.

Chapter: book/gan/voxel.md.  Proof: tests/gan/test_voxel.py.
Reference: Wu, Zhang, Xue, Freeman & Tenenbaum, "Learning a Probabilistic Latent Space of Object
Shapes via 3D Generative-Adversarial Modeling" (2016), section 3 and appendix.

The paper's networks are those of DCGAN with one axis more: strided convolutions with kernels of
4, batch normalisation, ReLU in the generator, LeakyReLU of slope 0.2 in the critic. Its objects
have 64 voxels a side, and its codes 200 dimensions, even in [0, 1].
"""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from litgen.shapes import Float

__all__ = ["VoxelCritic", "VoxelGenerator", "codes", "convolved_side", "spread", "spread_side"]


def spread_side(side: int, kernel: int, stride: int, padding: int) -> int:
    """Return the side after a transposed convolution. Implements eq:vox-side.

    Raises:
        ValueError: nothing would be left.
    """
    found = (side - 1) * stride + kernel - 2 * padding
    if found < 1:
        raise ValueError(f"side {side}, kernel {kernel}, padding {padding}: nothing is left")
    return found


def convolved_side(side: int, kernel: int, stride: int, padding: int) -> int:
    """Return the side after a convolution, as in eq:vox-side with the roles exchanged.

    Raises:
        ValueError: the kernel does not fit.
    """
    if side + 2 * padding < kernel:
        raise ValueError(f"a kernel of {kernel} does not fit into {side} and twice {padding}")
    return (side + 2 * padding - kernel) // stride + 1


def spread(
    x: Float[Tensor, "batch inputs s s s"],
    weight: Float[Tensor, "inputs outputs k k k"],
    stride: int,
    padding: int,
) -> Float[Tensor, "batch outputs t t t"]:
    """Return a transposed convolution as it is defined. Implements eq:vox-spread.

    Every voxel lays the kernel, times its value, on the output, ``stride`` apart; ``padding``
    voxels are cut off at every wall. One product of matrices, and as many sums as the kernel has
    places.
    """
    side, kernel = x.shape[-1], weight.shape[-1]
    laid = torch.einsum("bizyx,iozyxpqr->bopqrzyx", x, _everywhere(weight, side))
    whole = (side - 1) * stride + kernel
    out = x.new_zeros(len(x), weight.shape[1], whole, whole, whole)
    span = (side - 1) * stride + 1
    for p, q, r in itertools.product(range(kernel), repeat=3):
        place = (slice(i, i + span, stride) for i in (p, q, r))
        out[(slice(None), slice(None), *place)] += laid[:, :, p, q, r]
    end = whole - padding
    return out[..., padding:end, padding:end, padding:end]


def _everywhere(weight: Tensor, side: int) -> Tensor:
    """Return a kernel that is the same at every voxel: inputs, outputs, side 3 times, kernel."""
    return weight[:, :, None, None, None].expand(-1, -1, side, side, side, -1, -1, -1)


def codes(
    count: int, latent: int, generator: torch.Generator, device: torch.device | None = None
) -> Float[Tensor, "count latent"]:
    """Return codes that are even in [-1, 1]: the paper's, moved so that their mean is 0."""
    return 2 * torch.rand(count, latent, generator=generator, device=device) - 1


class VoxelGenerator(nn.Module):
    """Codes to the logits of voxels; the first stage makes 4x4x4, each other one doubles the side.

    Args:
        latent: dimensions of a code.
        widths: channels from the coarsest stage on; the side is 4 times 2 for each of them.
    """

    def __init__(self, latent: int = 32, widths: Sequence[int] = (32, 16)):
        super().__init__()
        self.latent = latent
        first = nn.Sequential(
            nn.Linear(latent, widths[0] * 4**3),  # a transposed convolution of one voxel
            nn.Unflatten(1, (widths[0], 4, 4, 4)),
            nn.BatchNorm3d(widths[0]),
            nn.ReLU(),
        )
        stages = [
            nn.Sequential(nn.ConvTranspose3d(a, b, 4, 2, 1), nn.BatchNorm3d(b), nn.ReLU())
            for a, b in itertools.pairwise(widths)
        ]
        self.stages = nn.Sequential(first, *stages, nn.ConvTranspose3d(widths[-1], 1, 4, 2, 1))

    def logits(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch 1 s s s"]:
        """Return the logits of the voxels."""
        found: Tensor = self.stages(z)
        return found

    def forward(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch 1 s s s"]:
        """Return the probability that each voxel is filled."""
        return self.logits(z).sigmoid()


class VoxelCritic(nn.Module):
    """Voxels in [0, 1] to one logit an object, positive for "data"; each stage halves the side.

    Args:
        widths: channels of the stages, from the finest on; 4x4x4 places are left after the last.
        norm: batch normalisation in all stages but the first.
    """

    def __init__(self, widths: Sequence[int] = (16, 32), norm: bool = True):
        super().__init__()
        self.side = 4 * 2 ** len(widths)
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv3d(a, b, 4, 2, 1),
                nn.BatchNorm3d(b) if i and norm else nn.Identity(),
                nn.LeakyReLU(0.2),
            )
            for i, (a, b) in enumerate(zip([1, *widths], widths, strict=False))
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(widths[-1] * 4**3, 1))

    def forward(self, x: Float[Tensor, "batch 1 s s s"]) -> Float[Tensor, " batch"]:
        """Return logits.

        Raises:
            ValueError: objects of another side.
        """
        if x.shape[-1] != self.side:
            raise ValueError(f"the critic reads {self.side} voxels a side, got {x.shape[-1]}")
        for stage in self.stages:
            x = stage(x)
        logits: Tensor = self.head(x).squeeze(1)
        return logits

    @torch.no_grad()
    def features(self, x: Float[Tensor, "batch 1 s s s"]) -> Float[Tensor, "batch features"]:
        """Return every stage's maxima over blocks, 2 places a side, side by side.

        The paper pools its second, third and fourth layer to the same few places and joins them.
        """
        found = []
        for stage in self.stages:
            x = stage(x)
            found.append(functional.adaptive_max_pool3d(x, 2).flatten(1))
        return torch.cat(found, dim=1)
