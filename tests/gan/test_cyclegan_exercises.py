"""Solutions of the exercises of book/gan/cyclegan.md, and what proves them.

They call litgen/gan/cycle.py, litgen/gan/buffer.py and litgen/gan/unpaired.py.
"""

import itertools
import math
from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from litgen.gan import buffer, cycle, unpaired

Normal = Callable[..., Tensor]


def content_bijections(p: list[int], q: list[int]) -> int:
    """Count the bijections between finite domains that keep the number of copies of each image."""
    x, y = Counter(p), Counter(q)
    return math.prod(math.factorial(count) for count in x.values()) if x == y else 0


@pytest.mark.parametrize("p", [[1, 1, 1, 1], [1, 2, 2, 3], [4, 3, 2, 1]])
def test_bijections_by_trying_all(p: list[int]) -> None:
    """Against a walk over all permutations; different laws have none."""
    q = p[::-1]
    tried = sum(all(p[i] == q[j] for i, j in enumerate(way)) for way in permutations(len(p)))
    assert content_bijections(p, q) == tried > 0
    assert content_bijections(p, [9, *q[1:]]) == 0


def permutations(count: int) -> list[tuple[int, ...]]:
    """Return all orders of that many things."""
    return list(itertools.permutations(range(count)))


def slope_at_rest(pull: float, weight: float) -> tuple[float, float]:
    """Return the loss's slopes to the right and left of b = 0 for G(y) = y + b.

    The critic pulls with this force to the right, the identity loss has this weight.
    """
    y, sides = torch.linspace(-1, 1, 7), []
    for sign in (1.0, -1.0):
        b = torch.tensor(sign * 1e-6, requires_grad=True)
        identity = cycle.distance((y + b).view(1, -1), y.view(1, -1)).mean()
        (slope,) = torch.autograd.grad(-pull * b + weight * identity, b)
        sides.append(slope.item())
    return sides[0], sides[1]


def test_a_weak_critic_cannot_leave_the_kink() -> None:
    """The loss rises on both sides exactly if the pull is less than the weight."""
    for pull, weight in ((0.5, 1.0), (2.0, 1.0), (4.9, 5.0), (5.1, 5.0)):
        right, left = slope_at_rest(pull, weight)
        assert (right > 0 > left) == (pull < weight)
        assert right == pytest.approx(weight - pull, rel=1e-4)


def shown_by(capacity: int, share: float) -> int:
    """Return after how many images that share of new ones has been shown."""
    if share <= 0.5:
        return 0
    return math.ceil(math.log(2 * (1 - share)) / math.log(1 - 1 / (2 * capacity)))


@pytest.mark.parametrize(("capacity", "share"), [(50, 0.99), (50, 0.9), (3, 0.6), (10, 0.4)])
def test_the_wait_is_the_laws_quantile(capacity: int, share: float) -> None:
    """eq:cycle-age: the first age at which the law's sum reaches the share."""
    total = buffer.age_law(capacity, 5_000).cumsum(dim=0)
    assert shown_by(capacity, share) == int((total < share - 1e-12).sum())


def honest_way_back(there: Tensor, cov_x: Tensor, noise: float) -> tuple[Tensor, Tensor]:
    """Return the best linear way back through noise, and its mean squared error."""
    size = there.shape[0]
    seen = there @ cov_x @ there.mT + noise**2 * torch.eye(size, dtype=there.dtype)
    back = cov_x @ there.mT @ torch.linalg.inv(seen)
    return back, (cov_x - back @ there @ cov_x).trace()


def test_the_best_way_back_beats_the_inverse(normal: Normal) -> None:
    """Errors by eq:cycle-gain and eq:cycle-error; any step aside is worse, the inverse too."""
    draws = normal(2, 3, 3)
    cov_x, cov_y = (m @ m.T + 0.1 * torch.eye(3) for m in draws)
    there = unpaired.solution(cov_x, 0.05 * cov_y, torch.linalg.qr(normal(3, 3)).Q)
    eye = torch.eye(3).double()

    def error(back: Tensor) -> Tensor:
        kept = unpaired.hidden_error(back @ there, eye, cov_x)
        return kept + unpaired.noise_through(back, 0.3)

    back, least = honest_way_back(there, cov_x, 0.3)
    torch.testing.assert_close(error(back), least)
    for _ in range(20):
        assert error(back + 0.05 * normal(3, 3)) > least
    assert error(torch.linalg.inv(there)) > 1.2 * least
