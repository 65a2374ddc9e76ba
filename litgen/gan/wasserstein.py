"""Wasserstein distance as a game: a critic without logits, kept Lipschitz by clipping.

Chapter: book/gan/wasserstein.md.  Proof: tests/gan/test_wasserstein.py.
References: Arjovsky, Chintala & Bottou, "Wasserstein GAN" (2017), algorithm 1; Peyré & Cuturi,
"Computational Optimal Transport" (2019), chapter 6.
"""

import torch
from torch import Tensor, nn

from litgen.shapes import Float

__all__ = ["clip_weights", "critic_loss", "generator_loss"]


def critic_loss(real: Float[Tensor, "*real"], fake: Float[Tensor, "*fake"]) -> Float[Tensor, ""]:
    """Return E[f(G(z))] - E[f(x)], to be lowered: minus the estimate of the distance.

    Implements eq:wgan-critic, in the unit of the data, for a critic of slope at most one.

    Raises:
        ValueError: an empty batch.
    """
    if real.numel() == 0 or fake.numel() == 0:
        raise ValueError(f"{real.numel()} real and {fake.numel()} fake values, need some of both")
    return fake.mean() - real.mean()


def generator_loss(fake: Float[Tensor, "*fake"]) -> Float[Tensor, "*fake"]:
    """Return -f(G(z)) for each sample, to be lowered. Implements eq:wgan-generator."""
    return -fake


@torch.no_grad()
def clip_weights(critic: nn.Module, limit: float) -> None:
    """Cut all parameters of a critic to [-limit, limit], in place. Implements eq:wgan-clip.

    Raises:
        ValueError: a limit that is not positive.
    """
    if not limit > 0:
        raise ValueError(f"limit must be positive, got {limit}")
    for parameter in critic.parameters():
        parameter.clamp_(-limit, limit)
