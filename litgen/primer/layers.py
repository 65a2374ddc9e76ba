"""Layers of a network as plain functions: parameters in, features out.

Chapter: book/primer/networks.md.  Proof: tests/primer/test_layers.py.
References: Ioffe & Szegedy (2015), batch normalisation; Ba, Kiros & Hinton (2016), layer
normalisation; Srivastava et al. (2014), dropout.

Notation: W is ``weight``, b is ``bias``, gamma and beta of a normalisation are ``scale`` and
``shift``. PyTorch has each of them as a module that also holds its parameters (torch.nn).
"""

import torch
from torch import Tensor, nn

from litgen.shapes import Bool, Float, Int

__all__ = [
    "batch_norm",
    "dropout",
    "embedding",
    "layer_norm",
    "linear",
    "parameter_count",
    "relu",
    "sigmoid",
    "silu",
]

EPS = 1e-5
"""Added to a variance before its root is divided by, as torch.nn does."""


def linear(
    x: Float[Tensor, "*batch inputs"],
    weight: Float[Tensor, "outputs inputs"],
    bias: Float[Tensor, " outputs"],
) -> Float[Tensor, "*batch outputs"]:
    """Return W x + b for each row x. Implements eq:net-linear.

    Raises:
        ValueError: x has another number of inputs than the weight.
    """
    if x.shape[-1] != weight.shape[-1]:
        raise ValueError(f"x has {x.shape[-1]} inputs, the weight takes {weight.shape[-1]}")
    return x @ weight.T + bias


def relu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return max(x, 0). Implements eq:net-activations."""
    return x.clamp(min=0)


def sigmoid(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the logistic function s(x), between 0 and 1. Implements eq:net-activations."""
    return 0.5 * (1 + torch.tanh(0.5 * x))  # no exp() that could overflow


def silu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return x s(x), a smooth relative of relu. Implements eq:net-activations."""
    return x * sigmoid(x)


def embedding(
    index: Int[Tensor, "*batch"], table: Float[Tensor, "entries features"]
) -> Float[Tensor, "*batch features"]:
    """Return one row of the table for each index. Implements eq:net-embedding.

    Raises:
        ValueError: an index outside 0 .. entries - 1.
    """
    if index.numel() and not 0 <= index.min() <= index.max() < len(table):
        found = f"{index.min().item()} to {index.max().item()}"
        raise ValueError(f"indices run from {found}, the table has {len(table)} entries")
    return table[index]


def layer_norm(
    x: Float[Tensor, "*batch features"],
    scale: Float[Tensor, " features"],
    shift: Float[Tensor, " features"],
    eps: float = EPS,
) -> Float[Tensor, "*batch features"]:
    """Give each example mean 0 and variance 1 over its features. Implements eq:net-norm."""
    mean = x.mean(dim=-1, keepdim=True)
    var = (x - mean).square().mean(dim=-1, keepdim=True)
    return scale * (x - mean) / torch.sqrt(var + eps) + shift


def batch_norm(
    x: Float[Tensor, "batch features"],
    scale: Float[Tensor, " features"],
    shift: Float[Tensor, " features"],
    eps: float = EPS,
) -> Float[Tensor, "batch features"]:
    """Give each feature mean 0 and variance 1 over the batch. Implements eq:net-norm.

    This is what happens in training; in evaluation running averages take the batch's place.

    Raises:
        ValueError: a batch of fewer than two examples, whose variance would be 0.
    """
    if len(x) < 2:
        raise ValueError(f"a batch's variance needs at least 2 examples, got {len(x)}")
    mean = x.mean(dim=0)
    var = (x - mean).square().mean(dim=0)
    return scale * (x - mean) / torch.sqrt(var + eps) + shift


def dropout(
    x: Float[Tensor, "*shape"], kept: Bool[Tensor, "*shape"], rate: float
) -> Float[Tensor, "*shape"]:
    """Set dropped features to 0 and enlarge the others. Implements eq:net-dropout.

    Args:
        x: features.
        kept: drawn outside, true with probability 1 - rate.
        rate: the probability of being dropped.

    Raises:
        ValueError: a rate outside [0, 1).
    """
    if not 0 <= rate < 1:
        raise ValueError(f"the dropout rate must lie in [0, 1), got {rate}")
    return x * kept / (1 - rate)


def parameter_count(module: nn.Module) -> int:
    """Return how many numbers a module learns."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
