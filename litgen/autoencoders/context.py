"""Filling a hole: what the network is given, which pixels its loss sees, and both losses.

Chapter: book/autoencoders/context.md.  Proof: tests/autoencoders/test_context.py.
Reference: Pathak, Krahenbuhl, Donahue, Darrell & Efros, "Context Encoders: Feature Learning by
Inpainting" (2016), equations 1 to 3 and section 5.1.

Notation: the paper's x is ``x``, its mask is ``hole`` (True or 1 where a pixel is missing), F's
output is ``fill``, an image of which only what lies in the hole is used. The weights w of the
reconstruction loss are ``weights``; lambda_rec is ``share`` and lambda_adv is 1 - ``share``.
"""

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, softplus

from litgen.shapes import Bool, Float

__all__ = [
    "critic_loss",
    "cut",
    "fooling_loss",
    "joint_loss",
    "paste",
    "reconstruction_loss",
    "roaming_holes",
    "square_hole",
    "weights",
]


def square_hole(side: int, top: int, left: int, size: int) -> Bool[Tensor, "side side"]:
    """Return a mask that is True in a square of ``size`` pixels whose first corner is given.

    Raises:
        ValueError: a square that is empty, sticks out, or leaves nothing to see.
    """
    low, high = min(top, left), max(top, left) + size
    if size < 1 or low < 0 or high > side or size == side:
        raise ValueError(f"no hole of {size} pixels at ({top}, {left}) in an image of {side}")
    hole = torch.zeros(side, side, dtype=torch.bool)
    hole[top : top + size, left : left + size] = True
    return hole


def roaming_holes(
    count: int, side: int, size: int, generator: torch.Generator
) -> Bool[Tensor, "count side side"]:
    """Return square holes, each anywhere in the image with the same probability.

    Args:
        count: of masks.
        side: of the image.
        size: of the holes.
        generator: draws the corners; the masks are on its device.

    Raises:
        ValueError: a hole as large as the image, or empty.
    """
    if not 0 < size < side:
        raise ValueError(f"no holes of {size} pixels in images of {side}")
    corners = torch.randint(
        side - size + 1, (2 * count, 1), generator=generator, device=generator.device
    ).view(2, count, 1)
    place = torch.arange(side, device=generator.device)
    rows, columns = (place >= corners) & (place < corners + size)
    holes: Tensor = rows[:, :, None] & columns[:, None, :]
    return holes


def weights(
    hole: Bool[Tensor, "*batch height width"], overlap: int = 0, factor: float = 10.0
) -> Float[Tensor, "*batch height width"]:
    """Return each pixel's weight in the loss: 1 in the hole, ``factor`` in the band around it.

    Implements eq:ctx-weights. The band has ``overlap`` pixels on every side, corners too; beyond
    it the weight is 0.

    Raises:
        ValueError: a mask without a missing pixel, a negative overlap or factor.
    """
    if overlap < 0 or factor < 0:
        raise ValueError(f"overlap and factor must not be negative, got {overlap} and {factor}")
    inside = hole.float()
    if not bool(hole.flatten(-2).any(dim=-1).all()):
        raise ValueError("a mask has no missing pixel")
    maps = inside.reshape(-1, 1, *hole.shape[-2:])
    wide = max_pool2d(maps, 2 * overlap + 1, stride=1, padding=overlap).view_as(inside)
    return inside + factor * (wide - inside)


def cut(
    x: Float[Tensor, "batch channels height width"], hole: Bool[Tensor, "*#batch height width"]
) -> Float[Tensor, "batch more height width"]:
    """Return the images with zeros in the hole, and the hole itself as a last channel.

    Implements eq:ctx-cut. Colours lie in [-1, 1], so that 0 is their middle.
    """
    missing = _as_maps(hole, x)
    return torch.cat([x * (1 - missing), missing.expand(len(x), 1, *x.shape[2:])], dim=1)


def paste(
    x: Float[Tensor, "batch channels height width"],
    fill: Float[Tensor, "batch channels height width"],
    hole: Bool[Tensor, "*#batch height width"],
) -> Float[Tensor, "batch channels height width"]:
    """Return the image outside the hole and the fill inside. Implements eq:ctx-paste."""
    missing = _as_maps(hole, x)
    return x * (1 - missing) + fill * missing


def reconstruction_loss(
    x: Float[Tensor, "batch channels height width"],
    fill: Float[Tensor, "batch channels height width"],
    weights: Float[Tensor, "*#batch height width"],
) -> Float[Tensor, " batch"]:
    """Return the weighted squared error per image, to be lowered. eq:ctx-reconstruction.

    It is averaged over the channels and over the pixels whose weight is not 0, in the square of
    the data's unit. Where the weight is 0 so is its gradient, exactly (eq:ctx-zero-gradient).

    Raises:
        ValueError: images of different shapes, or weights of another size.
    """
    if x.shape != fill.shape or weights.shape[-2:] != x.shape[-2:]:
        shapes = [tuple(part.shape) for part in (x, fill, weights)]
        raise ValueError(f"images, fills and weights do not fit: {shapes}")
    squares = (x - fill).square().mean(dim=1) * weights
    counted = (weights != 0).sum(dim=(-2, -1))
    return squares.sum(dim=(-2, -1)) / counted


def critic_loss(
    real_logits: Float[Tensor, " real"], fake_logits: Float[Tensor, " fake"]
) -> Float[Tensor, ""]:
    """Return -E[log D(x)] - E[log(1 - D(F(x)))] in nats, to be lowered. Implements eq:ctx-critic.

    D is the logistic function of a logit. A critic that cannot tell has 2 log 2 = 1.386 nats.
    """
    return softplus(-real_logits).mean() + softplus(fake_logits).mean()


def fooling_loss(fake_logits: Float[Tensor, " fake"]) -> Float[Tensor, " fake"]:
    """Return -log D(F(x)) for each fill, in nats, to be lowered. Implements eq:ctx-fooling."""
    return softplus(-fake_logits)


def joint_loss(
    reconstruction: Float[Tensor, " batch"], fooling: Float[Tensor, " batch"], share: float
) -> Float[Tensor, " batch"]:
    """Return ``share`` of the first and the rest of the second. Implements eq:ctx-joint.

    Raises:
        ValueError: a share outside [0, 1].
    """
    if not 0 <= share <= 1:
        raise ValueError(f"a share lies between 0 and 1, got {share}")
    return share * reconstruction + (1 - share) * fooling


def _as_maps(hole: Tensor, x: Tensor) -> Tensor:
    """Return masks as numbers of shape (batch or 1, 1, height, width).

    Raises:
        ValueError: a mask of another size than the images.
    """
    if (
        hole.shape[-2:] != x.shape[-2:]
        or hole.dim() > 3
        or len(hole.view(-1, *hole.shape[-2:])) not in (1, len(x))
    ):
        raise ValueError(f"hole of shape {tuple(hole.shape)} for images {tuple(x.shape)}")
    return hole.to(x.dtype).reshape(-1, 1, *hole.shape[-2:])
