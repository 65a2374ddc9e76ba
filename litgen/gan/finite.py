"""The adversarial game on a finite set of points, where every quantity of it is a short sum.

Chapter: book/gan/toy2d.md.  Proof: tests/gan/test_finite.py.
Reference: Goodfellow et al., "Generative Adversarial Nets" (2014), proposition 1, theorem 1.

``p`` holds the probabilities of the points in the data, ``q`` among the samples, ``d`` the
discriminator's probability, for each point, that it is a datum. Logarithms are natural.
"""

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = [
    "ascend",
    "best_discriminator",
    "best_generator",
    "jensen_shannon",
    "slope",
    "value",
]


def value(
    d: Float[Tensor, "*batch points"],
    p: Float[Tensor, "*batch points"],
    q: Float[Tensor, "*batch points"],
) -> Float[Tensor, "*batch"]:
    """Return V = sum p log d + q log(1 - d) in nats: the discriminator raises it.

    Implements eq:game-value. A point without data (samples) adds nothing for them, so d may be 0
    (1) there.

    Raises:
        ValueError: other numbers of points, or probabilities that do not sum to one.
    """
    _check(d, p, q)
    return (torch.xlogy(p, d) + torch.xlogy(q, 1 - d)).sum(dim=-1)


def best_discriminator(
    p: Float[Tensor, "*batch points"], q: Float[Tensor, "*batch points"]
) -> Float[Tensor, "*batch points"]:
    """Return p / (p + q), and 1/2 at a point that neither reaches. Implements eq:game-best.

    Raises:
        ValueError: other numbers of points, or probabilities that do not sum to one.
    """
    _check(p, p, q)
    reached = p + q > 0
    return torch.where(reached, p / torch.where(reached, p + q, 1.0), 0.5)


def jensen_shannon(
    p: Float[Tensor, "*batch points"], q: Float[Tensor, "*batch points"]
) -> Float[Tensor, "*batch"]:
    """Return KL(p || m) / 2 + KL(q || m) / 2 in nats, with m = (p + q) / 2.

    Implements eq:game-optimum: the best discriminator's value is twice this, minus log 4.

    Raises:
        ValueError: other numbers of points, or probabilities that do not sum to one.
    """
    _check(p, p, q)
    m = (p + q) / 2
    middle = torch.xlogy(m, m)  # p log p - p log m + q log q - q log m, over two
    return (torch.xlogy(p, p) / 2 + torch.xlogy(q, q) / 2 - middle).sum(dim=-1)


def slope(
    logits: Float[Tensor, "*batch points"],
    p: Float[Tensor, "*batch points"],
    q: Float[Tensor, "*batch points"],
) -> Float[Tensor, "*batch points"]:
    """Return dV / d logits = p (1 - d) - q d, with d = s(logits). Implements eq:game-slope."""
    d = torch.sigmoid(logits)
    return p * (1 - d) - q * d


def ascend(
    logits: Float[Tensor, " points"],
    p: Float[Tensor, " points"],
    q: Float[Tensor, " points"],
    rate: float,
    steps: int,
) -> Float[Tensor, "moments points"]:
    """Return the logits before and after each step of gradient ascent on V.

    Args:
        logits: to begin with.
        p: probabilities in the data.
        q: probabilities among the samples.
        rate: learning rate.
        steps: how many; one more row is returned.

    Raises:
        ValueError: other numbers of points, or probabilities that do not sum to one.
    """
    _check(logits, p, q)
    path = [logits]
    for _ in range(steps):
        path.append(path[-1] + rate * slope(path[-1], p, q))
    return torch.stack(path)


def best_generator(d: Float[Tensor, " points"]) -> Float[Tensor, " points"]:
    """Return the q that lowers V most against a discriminator that holds still.

    Implements eq:game-collapse: all samples on the point where d is largest, the first if several
    are. Both losses of the generator choose it.
    """
    return torch.nn.functional.one_hot(d.argmax(), len(d)).to(d.dtype)


def _check(d: Tensor, p: Tensor, q: Tensor) -> None:
    """Refuse what is no pair of distributions over the discriminator's points."""
    if not d.shape[-1] == p.shape[-1] == q.shape[-1]:
        shapes = [tuple(part.shape) for part in (d, p, q)]
        raise ValueError(f"d, p and q are over the same points, got shapes {shapes}")
    for name, part in (("p", p), ("q", q)):
        off = (part.sum(dim=-1) - 1).abs().max().item()
        if off > 1e-4 or part.min() < 0:
            raise ValueError(f"{name} is no distribution: sum off by {off:.2g}, or negative")
