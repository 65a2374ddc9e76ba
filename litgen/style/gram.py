"""A picture's style: how often features meet, wherever in the picture they do.

Chapter: book/style/gatys.md.  Proof: tests/style/test_gram.py.
Paper: Gatys, Ecker & Bethge, "A neural algorithm of artistic style" (2015); the kernel distance:
Li, Wang, Liu & Hou, "Demystifying neural style transfer" (2017).

    F_ik   features: channel i at place k     G, A   Gram matrices of the image and of the style
    P      features of the content            N, M   channels; places (height times width)

All losses are one number an example, in squared units of features (content) or of their products
(style).
"""

from typing import Any

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = ["content_loss", "gram", "quadratic_mmd", "style_gradient", "style_loss"]


def gram(
    features: Float[Tensor, "batch channels h w"],
) -> Float[Tensor, "batch channels channels"]:
    """Return each picture's second moments, G_ij = 1/M sum_k F_ik F_jk. Implements eq:gatys-gram.

    Division by the number of places M lets pictures of different sizes be compared.
    """
    moments: Tensor = _Gram.apply(features.flatten(2))
    return moments


class _Gram(torch.autograd.Function):
    """F F^T / M. Its slope takes one product of matrices, (S + S^T) F / M; torch takes two."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor) -> Tensor:
        ctx.save_for_backward(flat)
        return flat @ flat.transpose(1, 2) / flat.shape[2]

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        (flat,) = ctx.saved_tensors
        both = (slopes[0] + slopes[0].transpose(1, 2)) / flat.shape[2]
        slope: Tensor = both @ flat
        return slope


def style_loss(
    found: Float[Tensor, "batch channels channels"],
    wanted: Float[Tensor, "#batch channels channels"],
) -> Float[Tensor, " batch"]:
    """Return 1/(4 N^2) sum_ij (G_ij - A_ij)^2 for each example. Implements eq:gatys-style-layer.

    Args:
        found: Gram matrices G of the pictures that are judged.
        wanted: those of their styles, A; one may serve all.

    Raises:
        ValueError: other numbers of channels, or of examples.
    """
    _check("Gram matrices", found, wanted)
    return (found - wanted).square().sum(dim=(1, 2)) / (4 * found.shape[1] ** 2)


def content_loss(
    found: Float[Tensor, "batch channels h w"], wanted: Float[Tensor, "#batch channels h w"]
) -> Float[Tensor, " batch"]:
    """Return 1/(2 N M) sum_ik (F_ik - P_ik)^2 for each example. Implements eq:gatys-content.

    Args:
        found: features F of the pictures that are judged.
        wanted: those of their content, P; one may serve all.

    Raises:
        ValueError: other shapes.
    """
    _check("features", found, wanted)
    return (found - wanted).square().mean(dim=(1, 2, 3)) / 2


def style_gradient(
    features: Float[Tensor, "batch channels h w"],
    wanted: Float[Tensor, "#batch channels channels"],
) -> Float[Tensor, "batch channels h w"]:
    """Return the slope of `style_loss` in the features. Implements eq:gatys-style-slope.

    Raises:
        ValueError: as `style_loss` does.
    """
    found = gram(features)
    _check("Gram matrices", found, wanted)
    flat = features.flatten(2)
    slope = (found - wanted) @ flat / (flat.shape[1] ** 2 * flat.shape[2])
    return slope.view_as(features)


def quadratic_mmd(
    x: Float[Tensor, "places channels"], y: Float[Tensor, "others channels"]
) -> Float[Tensor, ""]:
    """Return the squared kernel distance of two sets of vectors, k(a, b) = (a . b)^2.

    Implements eq:gatys-mmd, kernel by kernel; every vector is paired with itself too.

    Raises:
        ValueError: vectors of different lengths, or a set without any.
    """
    if x.shape[1] != y.shape[1] or not len(x) or not len(y):
        raise ValueError(f"sets of vectors of one length, got {tuple(x.shape)}, {tuple(y.shape)}")
    within = (x @ x.T).square().mean() + (y @ y.T).square().mean()
    return within - 2 * (x @ y.T).square().mean()


def _check(what: str, found: Tensor, wanted: Tensor) -> None:
    """Refuse what would broadcast silently."""
    fits = found.shape[1:] == wanted.shape[1:] and len(wanted) in (1, len(found))
    if not fits:
        raise ValueError(f"{what} are {tuple(found.shape)}, wanted are {tuple(wanted.shape)}")
