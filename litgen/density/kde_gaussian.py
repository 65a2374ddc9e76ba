"""What kernel density estimation does to standard normal data, exactly.

Chapter: book/density/kde.md.  Proof: tests/density/test_kde_gaussian.py.
References: Silverman, "Density estimation for statistics and data analysis" (1986), section 4.3;
Marron & Wand, "Exact mean integrated squared error" (1992).

Everything rests on one fact: two Gaussians multiplied and integrated are a Gaussian of the
difference of their means, with their variances added up.
"""

import math

from torch import Tensor

from litgen import gaussian
from litgen.density import kde
from litgen.shapes import Float

__all__ = [
    "expected_log_density",
    "integrated_squared_error",
    "mean_integrated_squared_error",
    "relative_error_at_origin",
    "samples_needed",
]


def expected_log_density(
    x: Float[Tensor, "points dims"], bandwidth: float
) -> Float[Tensor, " points"]:
    """Return log E p_hat(x) in nats, N(0, 1 + h^2). Implements eq:kde-gaussian-mean."""
    log_var = x.new_full((x.shape[1],), math.log1p(bandwidth**2))
    return gaussian.log_prob(x, x.new_zeros(x.shape[1]), log_var)


def relative_error_at_origin(count: int, bandwidth: float, dims: int) -> float:
    """Return E (p_hat(0) - p(0))^2 / p(0)^2. Implements eq:kde-origin-error.

    It is the squared bias plus eq:kde-variance, both at the origin.
    """
    squared = bandwidth**2
    mean: float = (1 + squared) ** (-dims / 2)
    second: float = (squared * (2 + squared)) ** (-dims / 2)
    return (mean - 1) ** 2 + (second - mean**2) / count


def mean_integrated_squared_error(count: int, bandwidth: float, dims: int) -> float:
    """Return E of the integral of (p_hat - p)^2. Implements eq:kde-gaussian-mise."""
    squared = bandwidth**2
    bumps: float = (4 * math.pi * squared) ** (-dims / 2) / count
    pairs: float = (4 * math.pi * (1 + squared)) ** (-dims / 2) * (1 - 1 / count)
    cross: float = (2 * math.pi * (2 + squared)) ** (-dims / 2)
    truth: float = (4 * math.pi) ** (-dims / 2)
    return bumps + pairs - 2 * cross + truth


def integrated_squared_error(data: Float[Tensor, "count dims"], bandwidth: float) -> float:
    """Return the integral of (p_hat - p)^2 for one set of data. Implements eq:kde-gaussian-ise."""
    pairs = kde.log_prob(data, data, math.sqrt(2) * bandwidth).exp().mean().item()
    cross = expected_log_density(data, bandwidth).exp().mean().item()
    truth: float = (4 * math.pi) ** (-data.shape[1] / 2)
    return pairs - 2 * cross + truth


def samples_needed(dims: int, error: float = 0.1) -> tuple[int, float]:
    """Return how few data bring the relative error at the origin to ``error``, and at which h.

    Raises:
        ValueError: an error that is not between 0 and 1: at 1 no data are needed.
    """
    if not 0 < error < 1 or dims < 1:
        raise ValueError(f"an error between 0 and 1 in some dims expected, got {error}, {dims}")
    low, high = 0, 1
    while _best_at_origin(high, dims)[0] > error:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        enough = _best_at_origin(middle, dims)[0] <= error
        low, high = (low, middle) if enough else (middle, high)
    return high, _best_at_origin(high, dims)[1]


def _best_at_origin(count: int, dims: int) -> tuple[float, float]:
    """Return the smallest relative error at the origin and its bandwidth, by golden section."""
    ratio = (math.sqrt(5) - 1) / 2
    low, high = math.log(1e-3), math.log(10.0)

    def error(log_bandwidth: float) -> float:
        return relative_error_at_origin(count, math.exp(log_bandwidth), dims)

    while high - low > 1e-9:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if error(left) < error(right) else (left, high)
    return error((low + high) / 2), math.exp((low + high) / 2)
