"""Clamped mini-batches: one factor varies in a batch, so one group of latents may tell it.

Chapter: book/vae/dcign.md.  Proof: tests/vae/test_clamped.py.
Reference: Kulkarni, Whitney, Kohli & Tenenbaum, "Deep Convolutional Inverse Graphics Network"
(2015), section 3.1 (the clamp), section 3.2 and algorithm 1 (the gradients).

Notation: the paper's z_train is where ``active`` is True; its factor 1/100 is ``strength``.
Several clamped batches may be stacked: leading axes of ``codes`` and of ``active``.
"""

from typing import Any

import torch
from torch import Tensor

from litgen.shapes import Bool, Float
from litgen.vae.elbo import Encoder

__all__ = ["STRENGTH", "Clamp", "active_latents", "clamp", "clamped_encoder", "spread"]

STRENGTH = 0.01
"""What the paper multiplies the gradient of the clamped latents by."""


def clamp(
    codes: Float[Tensor, "*batches batch latent"],
    active: Bool[Tensor, "*batches latent"],
    strength: float = STRENGTH,
) -> Float[Tensor, "*batches batch latent"]:
    """Hold all latents but the active ones at their mean over the batch.

    Implements eq:dcign-clamp forwards and eq:dcign-gradient backwards, for a loss that is a mean
    over all examples: the gradient of a clamped latent is its difference from its batch's mean,
    times strength, over the number of examples, whatever the loss says; that of an active latent
    passes unchanged.

    Raises:
        ValueError: a batch without an active latent, other shapes than these, batches of fewer
            than two examples, or a negative strength.
    """
    if codes.dim() < 2 or active.shape != codes.shape[:-2] + codes.shape[-1:]:
        raise ValueError(
            f"codes have shape {tuple(codes.shape)}, active {tuple(active.shape)}: "
            "expected (..., batch, latent) and (..., latent)"
        )
    if not bool(active.any(dim=-1).all()):
        raise ValueError(f"a batch in which no latent is active has no factor: {active.tolist()}")
    if codes.shape[-2] < 2:
        raise ValueError(f"a clamped batch has at least two examples, got {codes.shape[-2]}")
    if not strength >= 0:
        raise ValueError(f"strength must not be negative, got {strength}")
    clamped: Tensor = Clamp.apply(codes, active, strength)
    return clamped


class Clamp(torch.autograd.Function):
    """The clamp, with the paper's gradient in place of its own; call it through `clamp`."""

    @staticmethod
    def forward(ctx: Any, codes: Tensor, active: Tensor, strength: float) -> Tensor:
        """Return the batch's mean where a latent is not active."""
        mean = codes.mean(dim=-2, keepdim=True)
        ctx.save_for_backward(codes - mean, active)
        ctx.strength = strength
        return torch.where(active.unsqueeze(-2), codes, mean)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Return what comes from above for the active ones, a pull to the mean for the others."""
        difference, active = ctx.saved_tensors
        examples = difference.shape[:-1].numel()
        pull = difference * (ctx.strength / examples)
        return torch.where(active.unsqueeze(-2), grad, pull), None, None


def clamped_encoder(
    encoder: Encoder, active: Bool[Tensor, "*batches latent"], strength: float = STRENGTH
) -> Encoder:
    """Return an encoder of stacked batches, mean and log-variance both clamped.

    In the place of the encoder of `litgen.vae.elbo.elbo` it makes the bound that training raises:
    implements eq:dcign-bound. The examples of one batch follow one another.
    """

    def encode(x: Tensor) -> tuple[Tensor, Tensor]:
        codes = encoder(x)
        stacked = (head.view(*active.shape[:-1], -1, active.shape[-1]) for head in codes)
        mean, log_var = (clamp(head, active, strength).flatten(0, -2) for head in stacked)
        return mean, log_var

    return encode


def spread(
    codes: Float[Tensor, "*batches batch latent"], active: Bool[Tensor, "*batches latent"]
) -> Float[Tensor, ""]:
    """Return half the mean squared distance of the clamped latents from their batch's mean.

    Implements eq:dcign-spread: the loss whose gradient, times strength, the clamp puts in.
    """
    difference = codes - codes.mean(dim=-2, keepdim=True)
    return 0.5 * difference.square().masked_fill(active.unsqueeze(-2), 0).sum(dim=-1).mean()


def active_latents(
    factor: int, groups: tuple[tuple[int, ...], ...], latent: int
) -> Bool[Tensor, " latent"]:
    """Return which latents belong to a factor.

    Args:
        factor: the one that varies in the batch.
        groups: the latents of each factor; together each latent once.
        latent: how many there are.

    Raises:
        ValueError: no such factor, or groups that leave a latent out or share one.
    """
    if not 0 <= factor < len(groups):
        raise ValueError(f"factor {factor} of {len(groups)}: the batch varies no known factor")
    if sorted(i for group in groups for i in group) != list(range(latent)):
        raise ValueError(f"groups {groups} must hold each of the {latent} latents once")
    return torch.tensor([i in groups[factor] for i in range(latent)])
