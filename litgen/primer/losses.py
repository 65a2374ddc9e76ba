"""Losses as negative log-likelihoods: one number per example, in nats, smaller is better.

Chapter: book/primer/networks.md.  Proof: tests/primer/test_losses.py.

Notation: ``x`` is the datum that the network should explain and the rest is what it returned:
``mean`` or ``median``, ``logits``, ``log_scale`` (log of the standard deviation sigma, or of the
Laplace scale b). Every function sums over the last axis; the caller averages over examples.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from litgen.shapes import Float, Int

__all__ = [
    "absolute_error",
    "bernoulli",
    "best_scale",
    "categorical",
    "gaussian",
    "laplace",
    "squared_error",
]


def squared_error(
    x: Float[Tensor, "*batch dim"], mean: Float[Tensor, "*batch dim"]
) -> Float[Tensor, "*batch"]:
    """Return the sum of (x - mean)^2, in squared units of x and not in nats: see eq:net-gaussian.

    Raises:
        ValueError: the shapes differ; broadcasting would compute a number, and the wrong one.
    """
    _check_same(x, mean)
    return (x - mean).square().sum(dim=-1)


def absolute_error(
    x: Float[Tensor, "*batch dim"], median: Float[Tensor, "*batch dim"]
) -> Float[Tensor, "*batch"]:
    """Return the sum of distances from the median, in units of x, not in nats: see eq:net-laplace.

    Raises:
        ValueError: the shapes differ.
    """
    _check_same(x, median)
    return (x - median).abs().sum(dim=-1)


def gaussian(
    x: Float[Tensor, "*batch dim"],
    mean: Float[Tensor, "*batch dim"],
    log_scale: Float[Tensor, "*#batch #dim"],
) -> Float[Tensor, "*batch"]:
    """Return -log N(x; mean, exp(log_scale)^2) in nats. Implements eq:net-gaussian.

    Args:
        x: data.
        mean: what the network says x is, on average.
        log_scale: log of the standard deviation; of one entry, or of each.

    Raises:
        ValueError: x and mean differ in shape.
    """
    _check_same(x, mean)
    squared = ((x - mean) / log_scale.exp()).square()
    return (0.5 * squared + log_scale + 0.5 * math.log(2 * math.pi)).sum(dim=-1)


def laplace(
    x: Float[Tensor, "*batch dim"],
    median: Float[Tensor, "*batch dim"],
    log_scale: Float[Tensor, "*#batch #dim"],
) -> Float[Tensor, "*batch"]:
    """Return minus the log-density of a Laplace distribution in nats. Implements eq:net-laplace.

    Args:
        x: data.
        median: where the density peaks.
        log_scale: log of the mean distance from the median; of one entry, or of each.

    Raises:
        ValueError: x and median differ in shape.
    """
    _check_same(x, median)
    return (math.log(2) + log_scale + (x - median).abs() / log_scale.exp()).sum(dim=-1)


def best_scale(
    x: Float[Tensor, "batch dim"], mean: Float[Tensor, "batch dim"]
) -> Float[Tensor, ""]:
    """Return the one standard deviation that makes the data likeliest. Implements eq:net-scale.

    Raises:
        ValueError: the shapes differ, or there are no data.
    """
    _check_same(x, mean)
    if x.numel() == 0:
        raise ValueError("no data: their scale cannot be measured")
    return (x - mean).square().mean().sqrt()


def bernoulli(
    x: Float[Tensor, "*batch dim"], logits: Float[Tensor, "*batch dim"]
) -> Float[Tensor, "*batch"]:
    """Return -log P(x) of coins x in {0, 1} in nats. Implements eq:net-bernoulli.

    Written as log(1 + e^l) - x l, it neither overflows nor takes the log of 0. Its derivative
    with respect to the logits is eq:net-residual.

    Raises:
        ValueError: the shapes differ, or x outside [0, 1] or not a number.
    """
    _check_same(x, logits)
    if not ((x >= 0) & (x <= 1)).all():
        raise ValueError("x holds values outside [0, 1], or no numbers: these are no coins")
    return (softplus(logits) - x * logits).sum(dim=-1)


def categorical(
    label: Int[Tensor, "*batch"], logits: Float[Tensor, "*batch classes"]
) -> Float[Tensor, "*batch"]:
    """Return -log P(label) in nats. Implements eq:net-categorical, the cross-entropy.

    Its derivative with respect to the logits is eq:net-residual.

    Args:
        label: class of each example, 0 .. classes - 1.
        logits: any real numbers; a constant added to all of an example changes nothing.

    Raises:
        ValueError: another number of labels than examples, or a label that is no class.
    """
    if label.shape != logits.shape[:-1]:
        raise ValueError(f"labels {tuple(label.shape)} do not fit logits {tuple(logits.shape)}")
    classes = logits.shape[-1]
    if label.numel() and not 0 <= label.min() <= label.max() < classes:
        found = f"{label.min().item()} to {label.max().item()}"
        raise ValueError(f"labels run from {found}, there are {classes} classes")
    chosen = logits.gather(-1, label.long().unsqueeze(-1)).squeeze(-1)
    return torch.logsumexp(logits, dim=-1) - chosen


def _check_same(x: Tensor, parameter: Tensor) -> None:
    if x.shape != parameter.shape:
        raise ValueError(
            f"x has shape {tuple(x.shape)}, the network's output {tuple(parameter.shape)}"
        )
