"""Ways through the space of codes: walks between two of them, and sums of averages.

Chapter: book/gan/faces.md.  Proof: tests/gan/test_codes.py.
References: Radford, Metz & Chintala (2016), section 6.3.2, for the sums; White, "Sampling
Generative Networks" (2016), for the spherical walk.

Codes are standard normal, so nearly all of them are about sqrt(d) long in d dimensions.
"""

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = ["combined", "on_shell", "spherical", "straight"]


def straight(
    start: Float[Tensor, "*batch latent"],
    end: Float[Tensor, "*batch latent"],
    share: Float[Tensor, " steps"],
) -> Float[Tensor, "steps *batch latent"]:
    """Return the codes on the straight line, from share 0 to share 1. eq:dcgan-straight."""
    along = share.view(-1, *[1] * start.dim())
    return (1 - along) * start + along * end


def spherical(
    start: Float[Tensor, "*batch latent"],
    end: Float[Tensor, "*batch latent"],
    share: Float[Tensor, " steps"],
) -> Float[Tensor, "steps *batch latent"]:
    """Return the codes on an arc around the origin. Implements eq:dcgan-spherical.

    Codes of one length keep it on the whole way. Parallel ones have no arc between them, and
    opposite ones no single one: for both, the line is returned.
    """
    cosine = torch.cosine_similarity(start, end, dim=-1).unsqueeze(-1)
    angle = cosine.clamp(-1, 1).acos()
    along = share.view(-1, *[1] * start.dim())
    arc = (((1 - along) * angle).sin() * start + (along * angle).sin() * end) / angle.sin()
    return torch.where(cosine.abs() < 1 - 1e-6, arc, straight(start, end, share))


def combined(
    have: Float[Tensor, "*batch with_it latent"],
    lack: Float[Tensor, "*batch without latent"],
    base: Float[Tensor, "*batch others latent"],
) -> Float[Tensor, "*batch latent"]:
    """Return mean(have) - mean(lack) + mean(base). Implements eq:dcgan-arithmetic.

    Of three groups of codes that are standard normal otherwise, the result's mean square length is
    3 d / count (eq:dcgan-arithmetic-length).

    Raises:
        ValueError: an empty group.
    """
    if 0 in (have.shape[-2], lack.shape[-2], base.shape[-2]):
        raise ValueError("each of the three groups needs at least one code")
    return have.mean(dim=-2) - lack.mean(dim=-2) + base.mean(dim=-2)


def on_shell(z: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch latent"]:
    """Return codes of the same directions and of length sqrt(d), as most drawn codes have.

    Raises:
        ValueError: a code of length zero.
    """
    length = z.norm(dim=-1, keepdim=True)
    if not bool((length > 0).all()):
        raise ValueError("a code of length zero has no direction")
    scaled: Tensor = z / length * z.shape[-1] ** 0.5
    return scaled
