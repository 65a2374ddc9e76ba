"""Wasserstein distance as a game: a critic without logits, kept Lipschitz by clipping.

Chapter: book/gan/wasserstein.md.  Proof: tests/gan/test_wasserstein.py.
References: Arjovsky, Chintala & Bottou, "Wasserstein GAN" (2017), theorem 3 and algorithm 1; Anil,
Lucas & Grosse, "Sorting Out Lipschitz Function Approximation" (2019), for the critic that needs no
clipping.
"""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import orthogonal

from litgen.shapes import Float

__all__ = [
    "PairSort",
    "clip_weights",
    "clipped_slope",
    "critic_loss",
    "generator_loss",
    "slope_bound",
    "sorting_critic",
]


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
    """Return -f(G(z)) for each sample, to be lowered. Implements eq:wgan-generator.

    With the best critic its mean has the gradient of the distance itself (eq:wgan-gradient).
    """
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


def clipped_slope(sizes: Sequence[int], limit: float) -> float:
    """Return the steepest that a clipped ReLU network can be. Implements eq:wgan-clip-slope.

    Args:
        sizes: widths from input to output.
        limit: of every weight.
    """
    return math.prod([limit * math.sqrt(n * m) for n, m in itertools.pairwise(sizes)])


@torch.no_grad()
def slope_bound(critic: nn.Module) -> float:
    """Return the product of the largest singular values of a critic's linear layers.

    Implements eq:wgan-slope: no slope is steeper, if the activations' are at most one.
    """
    layers = [m.weight for m in critic.modules() if isinstance(m, nn.Linear)]
    norms: list[float] = [torch.linalg.matrix_norm(weight, 2).item() for weight in layers]
    return math.prod(norms)


class PairSort(nn.Module):
    """Sort neighbouring pairs of features: an activation that turns no slope flat.

    Implements eq:wgan-sort.
    """

    def forward(self, x: Float[Tensor, "*batch features"]) -> Float[Tensor, "*batch features"]:
        """Return the pairs (smaller, larger), in their places.

        Raises:
            ValueError: an odd number of features.
        """
        if x.shape[-1] % 2:
            raise ValueError(f"pairs need an even number of features, got {x.shape[-1]}")
        one, other = x.unflatten(-1, (-1, 2)).unbind(dim=-1)
        return torch.stack([one.minimum(other), one.maximum(other)], dim=-1).flatten(-2)


def sorting_critic(sizes: Sequence[int]) -> nn.Sequential:
    """Return a network that cannot be steeper than one: orthogonal layers, sorted pairs between.

    Each layer's matrix has orthonormal rows or columns, so that eq:wgan-slope is one.

    Args:
        sizes: widths from input to output, even between the two.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [orthogonal(nn.Linear(inputs, outputs), orthogonal_map="cayley"), PairSort()]
    return nn.Sequential(*layers[:-1])
