"""How good a fill is: its error, its edges, its spread, and what a linear probe reads off a code.

Chapter: book/autoencoders/context.md.  Proof: tests/autoencoders/test_fill_scores.py.
Reference: Pathak et al., "Context Encoders: Feature Learning by Inpainting" (2016), tables 1, 2.

A fill can have the least error and look like no image at all. So the error is measured inside the
hole, and beside it what the eye would miss: edges, and how much fills differ from one another.
"""

import torch
from torch import Tensor

from litgen.shapes import Bool, Float

__all__ = ["edge_energy", "linear_probe", "psnr", "seam", "spread"]


def psnr(
    x: Float[Tensor, "count channels height width"],
    fill: Float[Tensor, "count channels height width"],
    peak: float = 2.0,
) -> Float[Tensor, ""]:
    """Return 10 log10(peak^2 / mean squared error) over all pixels, in dB. eq:ctx-psnr.

    Args:
        x: data, cut to what is judged.
        fill: of the same shape.
        peak: largest possible difference: 2 for colours in [-1, 1].

    Raises:
        ValueError: shapes that differ.
    """
    if x.shape != fill.shape:
        raise ValueError(f"data {tuple(x.shape)} and fills {tuple(fill.shape)} differ in shape")
    return 10 * torch.log10(peak**2 / (x - fill).square().mean())


def edge_energy(x: Float[Tensor, "count channels height width"]) -> Float[Tensor, ""]:
    """Return the mean squared difference of neighbouring pixels. Implements eq:ctx-edges.

    Half of it from neighbours beside, half from those above each other.
    """
    return (x.diff(dim=-1).square().mean() + x.diff(dim=-2).square().mean()) / 2


def seam(
    x: Float[Tensor, "count channels height width"], hole: Bool[Tensor, "height width"]
) -> Float[Tensor, ""]:
    """Return the mean squared difference across the hole's edge. Implements eq:ctx-seam.

    Over all pairs of neighbours, beside or above each other, of which one is missing.

    Raises:
        ValueError: a mask without an edge, or of another size.
    """
    if hole.shape != x.shape[-2:] or not bool((hole != hole.flatten()[0]).any()):
        raise ValueError(f"a hole of size {tuple(x.shape[-2:])} with an edge, got {hole.shape}")
    beside = x.diff(dim=-1)[..., hole[:, 1:] != hole[:, :-1]]
    above = x.diff(dim=-2)[..., hole[1:] != hole[:-1]]
    return torch.cat([beside, above], dim=-1).square().mean()


def spread(x: Float[Tensor, "count *shape"]) -> Float[Tensor, ""]:
    """Return the variance over the images (over count), averaged over all pixels."""
    return x.var(dim=0, correction=0).mean()


def linear_probe(
    features: Float[Tensor, "count dims"],
    has: Bool[Tensor, "count attributes"],
    unseen: Float[Tensor, "others dims"],
    ridge: float = 1e-2,
) -> Bool[Tensor, "others attributes"]:
    """Fit a linear reader of yes and no to features; return what it says of unseen ones.

    Ridge regression on -1 and 1: ``ridge`` times the mean variance of a feature is added to the
    covariance's diagonal. Features are centred and scaled by those of the first set; constant ones
    do not count. Implements eq:ctx-probe.

    Raises:
        ValueError: features and labels that do not fit.
    """
    if len(features) != len(has) or features.shape[1] != unseen.shape[1]:
        shapes = [tuple(part.shape) for part in (features, has, unseen)]
        raise ValueError(f"features, labels and unseen features do not fit: {shapes}")
    mean, sd = features.double().mean(dim=0), features.double().std(dim=0, correction=0)
    scale = torch.where(sd > 1e-6, 1 / sd.clamp(min=1e-6), torch.zeros_like(sd))
    rows, others = ((part.double() - mean) * scale for part in (features, unseen))
    target = 2.0 * has.double() - 1
    centre = target.mean(dim=0)
    strength = ridge * len(rows) * rows.square().mean()
    if rows.shape[1] <= len(rows):
        gram = rows.T @ rows
        gram.diagonal().add_(strength)
        slope = torch.linalg.solve(gram, rows.T @ (target - centre))
    else:  # the same solution from the smaller system
        gram = rows @ rows.T
        gram.diagonal().add_(strength)
        slope = rows.T @ torch.linalg.solve(gram, target - centre)
    says: Tensor = others @ slope + centre > 0
    return says
