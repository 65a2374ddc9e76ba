"""Solutions of the exercises of book/evaluation/metrics.md and traps.md, tested."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from litgen.evaluation import few_samples, kernel, manifolds, two_sample
from litgen.evaluation.inception_score import inception_score
from litgen.evaluation.manifolds import Manifolds
from tests import oracles

Draw = Callable[..., Tensor]


def shares_of_copies(k: int) -> Manifolds:
    """Say the four shares of samples that are the data themselves, each once."""
    return Manifolds(precision=1.0, recall=1.0, density=(k + 1) / k, coverage=1.0)


def price_of_the_diagonal(dims: int, count: int) -> float:
    """Return what pairs of a point with itself add to the kernel distance of N(0, I)."""
    second = 1 + 2 / dims  # of u = |x|^2 / dims, whose mean is 1
    third = second * (1 + 4 / dims)
    with_itself = third + 3 * second + 3 + 1
    with_another = 1 + 3 / dims
    return 2 * (with_itself - with_another) / count


def samples_needed(cov: Tensor, bias: float) -> int:
    """Return the fewest points a set for which the Fréchet distance's bias is at most this."""
    low, high = 1, 2
    while few_samples.frechet_bias(cov, high) > bias:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        enough = few_samples.frechet_bias(cov, middle) <= bias
        low, high = (low, middle) if enough else (middle, high)
    return high


def score_at_temperature(logits: Tensor, temperature: float) -> float:
    """Return the score of the same samples by a classifier that is more or less sure."""
    return inception_score(logits / temperature).item()


def variation_of_a_share(share: float, overlap: float) -> float:
    """Return the total variation when a share of samples comes from elsewhere.

    Args:
        share: of the samples that do; the rest has the data's distribution.
        overlap: 1 minus the total variation of that other distribution and the data's.
    """
    return share * (1 - overlap)


def images_to_notice(share: float, confidence: float = 0.95) -> int:
    """Return how many unseen images show a share of foreign ones, by a rule that knows them."""
    count = 1
    best = (1 + share) / 2
    while two_sample.variation_bound(best, count, confidence) == 0:
        count *= 2
    return count


def mutual_nearest(x: Tensor) -> float:
    """Return the share of points that are the nearest neighbour of their own nearest one."""
    distance = torch.cdist(x.double(), x.double())
    distance.fill_diagonal_(math.inf)
    nearest = distance.argmin(dim=1)
    return (nearest[nearest] == torch.arange(len(x))).double().mean().item()


def balanced_score(shares: Tensor) -> float:
    """Return the inception score of one sure image a class, used with these shares."""
    return float(torch.special.entr(shares).sum().exp())


@pytest.mark.parametrize("k", [1, 5])
def test_shares_of_copies(k: int, normal: Draw) -> None:
    """On random points of three dimensions."""
    x = normal(40, 3)
    assert manifolds.compare(x, x.clone(), k) == pytest.approx(shares_of_copies(k))


def test_price_of_the_diagonal(normal: Draw) -> None:
    """Over many sets: the mean over all pairs, less the mean over different points."""
    for dims, count in ((1, 12), (3, 20)):
        found = []
        for _ in range(3_000 // count):
            x, y = normal(count, dims), normal(count, dims)
            everything = [kernel.cubic_kernel(p, p).mean() for p in (x, y)]
            slipped = sum(everything) - 2 * kernel.cubic_kernel(x, y).mean()
            found.append(slipped - kernel.kernel_distance(x, y))
        mean, error = torch.stack(found).mean(), torch.stack(found).std() / math.sqrt(len(found))
        assert (mean - price_of_the_diagonal(dims, count)).abs() < 3.5 * error
    nodes, weights = oracles.normal_nodes(2, 8)
    itself = weights @ ((nodes.square().sum(dim=1) / 2 + 1) ** 3)
    zero, eye = torch.zeros(2).double(), torch.eye(2).double()
    another = kernel._mean_kernel(zero, eye, zero, eye)
    expected = 2 * (itself - another).item() / 7
    assert price_of_the_diagonal(2, 7) == pytest.approx(expected)


def test_samples_needed() -> None:
    """One fewer is not enough."""
    cov = torch.diag(torch.tensor([3.0, 1.0, 0.1]))
    for bias in (1.0, 0.05):
        count = samples_needed(cov, bias)
        assert few_samples.frechet_bias(cov, count) <= bias
        assert few_samples.frechet_bias(cov, count - 1) > bias


def test_score_at_temperature(normal: Draw) -> None:
    """1 for hot, exp of the entropy of the named classes for cold, rising between."""
    logits = normal(60, 4)
    named = logits.argmax(dim=1).bincount(minlength=4).double() / 60
    limit = torch.special.entr(named).sum().exp().item()
    scores = [score_at_temperature(logits, t) for t in (1e6, 3.0, 1.0, 0.3, 1e-6)]
    assert scores == sorted(scores)
    assert scores[0] == pytest.approx(1)
    assert scores[-1] == pytest.approx(limit)


def test_variation_of_a_share() -> None:
    """By sums over ten outcomes."""
    p = torch.arange(1.0, 11) / 55
    q = p.flip(0)
    overlap = torch.minimum(p, q).sum().item()
    for share in (0.01, 0.5, 1.0):
        samples = (1 - share) * p + share * q
        expected = 0.5 * (samples - p).abs().sum().item()
        assert variation_of_a_share(share, overlap) == pytest.approx(expected, abs=1e-6)


def test_images_to_notice() -> None:
    """About log(20) 2 / share^2, and never fewer."""
    for share in (0.01, 0.1):
        least = 2 * math.log(20) / share**2
        assert least <= images_to_notice(share) <= 2 * least + 2


def test_mutual_nearest() -> None:
    """Two thirds on a line: one minus the expected authenticity."""
    for dims in (1, 2):
        x = torch.rand(3_000, dims, generator=torch.Generator().manual_seed(dims))
        expected = 1 - two_sample.expected_authenticity(dims)
        assert mutual_nearest(x) == pytest.approx(expected, abs=0.03)


def test_balanced_score(normal: Draw) -> None:
    """By sure logits, repeated."""
    shares = torch.tensor([0.5, 0.3, 0.2])
    logits = (50 * torch.eye(3)).repeat_interleave(torch.tensor([5, 3, 2]), dim=0)
    assert inception_score(logits).item() == pytest.approx(balanced_score(shares), rel=1e-5)
    assert balanced_score(torch.full((7,), 1 / 7)) == pytest.approx(7)
