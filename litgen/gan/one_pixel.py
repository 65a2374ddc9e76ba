"""One pixel whose value the condition leaves open: what each loss makes of it, exactly.

Chapter: book/gan/pix2pix.md.  Proof: tests/gan/test_one_pixel.py.
References: Isola, Zhu, Zhou & Efros, "Image-to-Image Translation with Conditional Adversarial
Networks" (2017), section 4.2, which argues with medians and means of colours; Goodfellow et al.,
"Generative Adversarial Nets" (2014), theorem 1.

The pixel takes ``values`` v_j with ``chances`` p_j, given the condition. A generator without noise
answers with one value; one with noise draws from a law q of its own.
"""

import math

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = [
    "absolute_costs",
    "best_law",
    "law_objective",
    "mean_value",
    "median_value",
    "point_divergences",
    "squared_costs",
]


def squared_costs(
    values: Float[Tensor, " count"], chances: Float[Tensor, " count"]
) -> Float[Tensor, " count"]:
    """Return the expected squared error of answering each value. Implements eq:p2p-squared."""
    return (chances * (values[:, None] - values).square()).sum(dim=1)


def absolute_costs(
    values: Float[Tensor, " count"], chances: Float[Tensor, " count"]
) -> Float[Tensor, " count"]:
    """Return the expected absolute error of answering each value. Implements eq:p2p-absolute."""
    return (chances * (values[:, None] - values).abs()).sum(dim=1)


def mean_value(values: Float[Tensor, " count"], chances: Float[Tensor, " count"]) -> float:
    """Return the answer with the least squared error. Implements eq:p2p-mean."""
    return (values * chances).sum().item()


def median_value(values: Float[Tensor, " count"], chances: Float[Tensor, " count"]) -> float:
    """Return the answer with the least absolute error. Implements eq:p2p-median.

    The first value, in rising order, up to which at least half of the chances lie.
    """
    order = values.argsort()
    reached = chances[order].cumsum(0) >= 0.5 * chances.sum()
    return values[order][int(reached.int().argmax())].item()


def point_divergences(chances: Float[Tensor, " count"]) -> Float[Tensor, " count"]:
    """Return the Jensen-Shannon divergence, in nats, from a point at each value.

    Implements eq:p2p-point. It falls with the value's chance, from log 2 at 0 to 0 at 1, so the
    best answer without noise is the mode.
    """
    m = chances
    rest = (1 - m) * math.log(2)
    return 0.5 * (rest + torch.xlogy(m, 2 * m / (1 + m)) + torch.log(2 / (1 + m)))


def law_objective(
    law: Float[Tensor, " count"],
    chances: Float[Tensor, " count"],
    costs: Float[Tensor, " count"],
    weight: float,
) -> Float[Tensor, ""]:
    """Return 2 JSD(p, q) + weight * E_q[cost] in nats, to be lowered. Implements eq:p2p-law.

    Twice the divergence is what a generator lowers against the best critic, up to a constant.
    """
    middle = (0.5 * (law + chances)).clamp(min=1e-38)
    divergence = sum(torch.xlogy(one, one) - torch.xlogy(one, middle) for one in (law, chances))
    assert isinstance(divergence, Tensor)
    return divergence.sum() + weight * (law * costs).sum()


def best_law(
    chances: Float[Tensor, " count"],
    costs: Float[Tensor, " count"],
    weight: float,
    steps: int = 200,
) -> Float[Tensor, " count"]:
    """Return the law q that lowers `law_objective` most. Implements eq:p2p-tilt.

    A share r of the even mixture of p and q that is q's, at most 1, is 1/2 exp(level - weight *
    cost) at each value; q = p r / (1 - r), and the level at which q adds up to 1 is found by
    halving an interval.

    Raises:
        ValueError: chances that are negative or do not add up to 1, a negative weight, or a value
            without a chance that costs less than all others: the formula leaves it out.
    """
    if weight < 0 or (chances < 0).any() or abs(chances.sum().item() - 1) > 1e-6:
        raise ValueError(
            f"weight {weight} must be at least 0, chances {chances.tolist()} sum to 1"
        )
    if costs[chances > 0].min() > costs.min():
        raise ValueError("the value of least cost must have a chance")
    live = weight * costs[chances > 0]
    low, high = live.min().item() - 1.0, live.min().item() + math.log(2)

    def law(level: float) -> Tensor:
        share = 0.5 * torch.exp(level - weight * costs)
        return torch.where(chances > 0, chances * share / (1 - share), 0)

    while law(low).sum() > 1:
        low -= 1.0
    for _ in range(steps):
        level = 0.5 * (low + high)
        low, high = (low, level) if law(level).sum() > 1 else (level, high)
    found = law(low)
    return found / found.sum()
