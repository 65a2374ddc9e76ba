"""Spectral normalisation: divide a matrix by its largest singular value, found by power steps.

Chapter: book/gan/stability.md.  Proof: tests/gan/test_spectral.py.
Reference: Miyato, Kataoka, Koyama & Yoshida, "Spectral Normalization for Generative Adversarial
Networks" (2018), algorithm 1.

`parametrizations.spectral_norm` is the same for one layer; it flattens a stack of
matrices into a single one, which is why the lines here keep axes in front apart.
"""

from torch import Tensor
from torch.nn.functional import normalize

from litgen.shapes import Float

__all__ = ["power_step", "spectral_norm"]


def power_step(
    weight: Float[Tensor, "*copies outputs inputs"], u: Float[Tensor, "*copies height"]
) -> tuple[Float[Tensor, "*copies outputs"], Float[Tensor, "*copies inputs"]]:
    """Return the next u and v, unit vectors that turn to the leading singular pair.

    Implements eq:stable-power: v along W'u, then u along Wv. The share of other pairs falls by the
    squared ratio of singular values (eq:stable-power-rate).

    Raises:
        ValueError: u is not as long as the matrix is high.
    """
    if u.shape != weight.shape[:-1]:
        raise ValueError(f"u has shape {tuple(u.shape)}, weight {tuple(weight.shape)}")
    v = normalize((weight.mT @ u[..., None])[..., 0], dim=-1)
    return normalize((weight @ v[..., None])[..., 0], dim=-1), v


def spectral_norm(
    weight: Float[Tensor, "*copies outputs inputs"],
    u: Float[Tensor, "*copies outputs"],
    v: Float[Tensor, "*copies inputs"],
) -> Float[Tensor, "*copies"]:
    """Return u'Wv, which is the largest singular value where u and v are its pair.

    Implements eq:stable-sigma. With u and v held fixed, its gradient in W is their outer product,
    which is the singular value's own (eq:stable-sigma-slope).
    """
    return (u * (weight @ v[..., None])[..., 0]).sum(dim=-1)
