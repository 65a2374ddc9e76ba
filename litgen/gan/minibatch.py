"""What a critic can see only in many samples at once: mean features, and how alike samples are.

Chapter: book/gan/stability.md.  Proof: tests/gan/test_minibatch.py.
References: Salimans et al., "Improved Techniques for Training GANs" (2016), sections 3.1 and 3.2,
for feature matching and minibatch discrimination; Karras, Aila, Laine & Lehtinen, "Progressive
Growing of GANs" (2018), section 3, for the deviation.

The batch is the last axis but one throughout; axes before it are copies that never meet.
"""

import torch
from torch import Tensor, nn

from litgen.shapes import Float

__all__ = ["MinibatchDiscrimination", "closeness", "deviation", "feature_gap"]


def feature_gap(
    real: Float[Tensor, "*copies m features"], fake: Float[Tensor, "*copies n own_features"]
) -> Float[Tensor, "*copies"]:
    """Return the squared distance of the mean features, to be lowered. Implements eq:stable-match.

    Its gradient in a sample vanishes where the means agree (eq:stable-match-end), whatever else
    differs.

    Raises:
        ValueError: another number of features.
    """
    if real.shape[-1] != fake.shape[-1]:
        raise ValueError(f"data have {real.shape[-1]} features, samples {fake.shape[-1]}")
    return (real.mean(dim=-2) - fake.mean(dim=-2)).square().sum(dim=-1)


def deviation(
    features: Float[Tensor, "*copies batch features"], eps: float = 1e-8
) -> Float[Tensor, "*copies batch 1"]:
    """Return the batch's standard deviation, averaged over features, beside every sample.

    Implements eq:stable-deviation. ``eps`` is added to variances: the root's slope at 0 is
    infinite.
    """
    spread = (features.var(dim=-2, correction=0) + eps).sqrt().mean(dim=-1)
    return spread[..., None, None].expand(*features.shape[:-1], 1)


def closeness(
    rows: Float[Tensor, "batch kernels dims"],
) -> Float[Tensor, "batch kernels"]:
    """Return for each sample the sum of ``exp(-|distance|_1)`` to all others.

    Implements eq:stable-closeness: between 0, alone, and batch - 1, all samples alike.
    """
    points = rows.transpose(0, 1)
    near = torch.exp(-torch.cdist(points, points, p=1.0))
    return (near.sum(dim=2) - 1).T


class MinibatchDiscrimination(nn.Module):
    """Append to each sample's features how close it lies to the batch's other samples.

    Args:
        features: of a sample.
        kernels: numbers to append.
        dims: of the space in which each kernel measures distance.
    """

    def __init__(self, features: int, kernels: int = 8, dims: int = 3):
        super().__init__()
        self.kernels, self.dims = kernels, dims
        self.project = nn.Linear(features, kernels * dims, bias=False)

    def forward(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch more"]:
        """Return features and closeness side by side."""
        rows = self.project(x).view(len(x), self.kernels, self.dims)
        return torch.cat([x, closeness(rows)], dim=1)
