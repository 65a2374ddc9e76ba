"""Orthogonal regularisation: filters of a layer that do not point alike, and what it leaves free.

Chapter: book/gan/biggan.md.  Proof: tests/gan/test_orthogonal.py.
References: Brock, Lim, Ritchie & Weston, "Neural Photo Editing with Introspective Adversarial
Networks" (2017); Brock, Donahue & Simonyan, "Large Scale GAN Training for High Fidelity Natural
Image Synthesis" (2019), section 3.1.

Notation: a layer's matrix W has a row for each filter. (The paper writes W'W, with filters as
columns.)
"""

import torch
from torch import Tensor, nn

from litgen.shapes import Float

__all__ = ["filters", "off_diagonal_penalty", "orthogonal_penalty", "total_penalty"]


def filters(layer: nn.Module) -> Float[Tensor, "filters inputs"]:
    """Return a layer's matrix: one row for each output channel, whatever the kernel's shape.

    Raises:
        ValueError: a layer that is neither linear nor a convolution.
    """
    weight = getattr(layer, "weight", None)
    if not isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d) or weight is None:
        raise ValueError(f"no filters in a {type(layer).__name__}")
    if isinstance(layer, nn.ConvTranspose2d):  # its weight is (inputs, outputs, height, width)
        weight = weight.transpose(0, 1)
    matrix: Tensor = weight.flatten(1)
    return matrix


def orthogonal_penalty(
    weight: Float[Tensor, "*copies filters inputs"],
) -> Float[Tensor, "*copies"]:
    """Return ||WW' - I||^2, zero where filters are orthogonal and of length one.

    Implements eq:big-orthogonal. Its gradient is 4 (WW' - I) W (eq:big-orthogonal-slope).
    """
    lengths = weight.square().sum(dim=-1)
    return _gram_square(weight) - 2 * lengths.sum(dim=-1) + weight.shape[-2]


def off_diagonal_penalty(
    weight: Float[Tensor, "*copies filters inputs"],
) -> Float[Tensor, "*copies"]:
    """Return ||WW' (1 - I)||^2, zero where filters are orthogonal, however long they are.

    Implements eq:big-off-diagonal, the relaxed form that BigGAN uses.
    """
    lengths = weight.square().sum(dim=-1)
    return _gram_square(weight) - lengths.square().sum(dim=-1)


def _gram_square(weight: Float[Tensor, "*copies filters inputs"]) -> Float[Tensor, "*copies"]:
    """Return ||WW'||^2 = ||W'W||^2, by the smaller of the two products: eq:big-gram."""
    small = weight if weight.shape[-2] <= weight.shape[-1] else weight.mT
    return (small @ small.mT).square().sum(dim=(-2, -1))


def total_penalty(network: nn.Module) -> Float[Tensor, ""]:
    """Return the sum of eq:big-off-diagonal over all linear layers and convolutions.

    Embeddings are left out: a class's vector may well point where another one does.

    Raises:
        ValueError: a network without such a layer.
    """
    kinds = nn.Linear | nn.Conv2d | nn.ConvTranspose2d
    layers = [layer for layer in network.modules() if isinstance(layer, kinds)]
    if not layers:
        raise ValueError(f"no layer with filters in a {type(network).__name__}")
    return torch.stack([off_diagonal_penalty(filters(layer)) for layer in layers]).sum()
