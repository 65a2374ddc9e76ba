"""Where a projection is the exact log-ratio: Gaussian classes whose shapes do not know the class.

Chapter: book/gan/biggan.md.  Proof: tests/gan/test_projection.py.
Reference: Miyato & Koyama, "cGANs with Projection Discriminator" (2018), section 3.

Notation: data of class y are N(mu_y, S), samples N(nu_y, T); S and T are shared by all classes.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from litgen.gan.conditional import project
from litgen.shapes import Float, Int

__all__ = ["GaussianRatio", "gaussian_ratio", "log_ratio"]


class GaussianRatio(NamedTuple):
    """What a projection critic has to learn for Gaussian classes: eq:big-gaussian-ratio.

    Attributes:
        vectors: v_y, one row a class; its last number multiplies a feature that is always 1.
        curvature: of the part without a class, b(x) = offset - x'(curvature)x / 2.
        offset: b(0).
    """

    vectors: Float[Tensor, "classes features"]
    curvature: Float[Tensor, "dims dims"]
    offset: Float[Tensor, ""]


def gaussian_ratio(
    data_means: Float[Tensor, "classes dims"],
    data_cov: Float[Tensor, "rows columns"],
    sample_means: Float[Tensor, "others size"],
    sample_cov: Float[Tensor, "lines across"],
) -> GaussianRatio:
    """Return v_y and b of log p(x|y) - log q(x|y). Implements eq:big-gaussian-ratio.

    Raises:
        ValueError: means of other classes or dimensions, or covariances that do not fit.
    """
    dims = data_means.shape[1]
    shapes = {tuple(data_cov.shape), tuple(sample_cov.shape)}
    if data_means.shape != sample_means.shape or shapes != {(dims, dims)}:
        found = tuple(data_means.shape), tuple(sample_means.shape)
        raise ValueError(f"means of shapes {found[0]}, {found[1]}, covariances {sorted(shapes)}")
    data_inverse, sample_inverse = torch.linalg.inv(data_cov), torch.linalg.inv(sample_cov)
    slopes = data_means @ data_inverse - sample_means @ sample_inverse
    heights = _squares(sample_means, sample_inverse) - _squares(data_means, data_inverse)
    return GaussianRatio(
        torch.cat([slopes, heights[:, None] / 2], dim=1),
        data_inverse - sample_inverse,
        (torch.logdet(sample_cov) - torch.logdet(data_cov)) / 2,
    )


def log_ratio(
    ratio: GaussianRatio, x: Float[Tensor, "batch dims"], labels: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Return log p(x|y) - log q(x|y) in nats, as a projection: v_y . (x, 1) + b(x)."""
    features = torch.cat([x, torch.ones_like(x[:, :1])], dim=1)
    unconditional = ratio.offset - _squares(x, ratio.curvature) / 2
    return project(features, ratio.vectors[labels], unconditional)


def _squares(x: Tensor, matrix: Tensor) -> Tensor:
    """Return x'Mx of each row."""
    return ((x @ matrix) * x).sum(dim=1)
