"""How a decoder stretches its plane of codes: metric, volume, length.

Chapter: book/vae/convolutional.md.  Proof: tests/vae/test_geometry.py.
References: Arvanitidis, Hansen & Hauberg, "Latent space oddity" (2018); Amari, "Natural gradient
works efficiently in learning" (1998), for the metric of a family of distributions.

Notation: the Jacobian J of a map f from codes to pixels is ``jacobian``, J^T J is ``metric``.
Every row of a batch of codes must be decoded on its own.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = [
    "bernoulli_information",
    "curve_length",
    "jacobian",
    "laplace_log_det",
    "metric",
    "volume_element",
]


def jacobian(
    function: Callable[[Tensor], Tensor], z: Float[Tensor, "batch latent"]
) -> Float[Tensor, "batch pixels latent"]:
    """Return df/dz at every code, one column for each latent dimension.

    A column is a derivative of J^T u, which is linear in u, with respect to u: two passes for each
    latent dimension, where one for each pixel would be the usual way.
    """
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        pixels = function(z)
        u = torch.zeros_like(pixels, requires_grad=True)
        (pulled,) = torch.autograd.grad(pixels, z, u, create_graph=True)
        columns = [
            torch.autograd.grad(pulled[:, j].sum(), u, retain_graph=True)[0]
            for j in range(z.shape[1])
        ]
    return torch.stack(columns, dim=-1).detach()


def metric(
    function: Callable[[Tensor], Tensor], z: Float[Tensor, "batch latent"]
) -> Float[Tensor, "batch latent latent"]:
    """Return J^T J: squared pixels of change by a step dz are dz^T G dz. Implements eq:evo-metric.

    Args:
        function: from codes to the decoder's mean image, pixels in the last axis.
        z: where.
    """
    columns = jacobian(function, z)
    return columns.mT @ columns


def bernoulli_information(
    logits: Callable[[Tensor], Tensor], z: Float[Tensor, "batch latent"]
) -> Float[Tensor, "batch latent latent"]:
    """Return the Fisher information about z in one binary image. Implements eq:evo-information.

    Each pixel's logit counts with the variance p (1 - p) of its Bernoulli variable; then
    KL(p(x|z) || p(x|z + dz)) is half of dz^T F dz for a small step, in nats.

    Args:
        logits: the decoder, from codes to one logit a pixel.
        z: where.
    """
    columns, p = jacobian(logits, z), torch.sigmoid(logits(z))
    return columns.mT @ (columns * (p * (1 - p)).unsqueeze(-1))


def volume_element(
    metric: Float[Tensor, "*batch latent latent"],
) -> Float[Tensor, "*batch"]:
    """Return sqrt(det G): image volume per volume of codes. Implements eq:evo-volume."""
    element: Tensor = torch.linalg.det(metric).clamp(min=0).sqrt()
    return element


def curve_length(points: Float[Tensor, "*batch steps pixels"]) -> Float[Tensor, "*batch"]:
    """Return the length of the polygon through decoded codes. Implements eq:evo-length.

    It approaches the integral of sqrt(dz^T G dz) along the curve from below as steps are added.

    Raises:
        ValueError: fewer than two points.
    """
    if points.shape[-2] < 2:
        raise ValueError(f"a curve needs at least 2 points, got {points.shape[-2]}")
    length: Tensor = points.diff(dim=-2).norm(dim=-1).sum(dim=-1)
    return length


def laplace_log_det(
    information: Float[Tensor, "*batch latent latent"],
) -> Float[Tensor, "*batch"]:
    """Return log det of the posterior's covariance, (I + F)^-1. Implements eq:evo-laplace.

    Exact for a linear-Gaussian model, where F = W^T W / sigma^2; elsewhere what a Gaussian fitted
    at the posterior's peak would have, up to the decoder's curvature.
    """
    eye = torch.eye(information.shape[-1], dtype=information.dtype, device=information.device)
    log_det: Tensor = -torch.linalg.slogdet(eye + information).logabsdet
    return log_det
