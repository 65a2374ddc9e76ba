"""Proof for litgen/gan/linear_games.py: turns played one by one, eigenvalues by LAPACK, expm."""

import math

import pytest
import scipy.linalg
import torch
from torch import Tensor

from litgen.gan import linear_games


def played(step: float, turns: int, x: float = 1.0, y: float = -0.4) -> list[tuple[float, float]]:
    """Return the states of V = xy, each player's gradient taken where the other stands."""
    states = [(x, y)]
    for _ in range(turns):
        x = x - step * y  # dV/dx = y, lowered
        y = y + step * x  # dV/dy = x, raised
        states.append((x, y))
    return states


@pytest.mark.parametrize("step", [0.1, 0.7, 1.6])
def test_a_turn_is_two_gradient_steps(step: float) -> None:
    """eq:stable-turn: powers of the matrix are the states of the game played by hand."""
    matrix, start = linear_games.turn(step), torch.tensor([1.0, -0.4], dtype=torch.float64)
    for k, state in enumerate(played(step, 12)):
        expected = torch.tensor(state, dtype=torch.float64)
        torch.testing.assert_close(torch.linalg.matrix_power(matrix, k) @ start, expected)


@pytest.mark.parametrize("step", [0.1, 0.7, 1.6])
def test_the_state_turns_for_ever(step: float) -> None:
    """eq:stable-angle: eigenvalues of modulus one at the angle of the text."""
    values = torch.linalg.eigvals(linear_games.turn(step))
    torch.testing.assert_close(values.abs(), torch.ones(2, dtype=torch.float64))
    angle = values.angle().abs()
    torch.testing.assert_close(2 * angle.cos(), torch.full_like(angle, 2 - step**2))
    kept = [x * x + y * y - step * x * y for x, y in played(step, 50)]  # the ellipse
    assert kept == pytest.approx([kept[0]] * 51)


@pytest.mark.parametrize("count", [1, 2, 37, 1_000])
def test_the_average_is_the_mean_of_the_states(count: int) -> None:
    """eq:stable-average: the closed form is the sum of played states over their number."""
    matrix, start = linear_games.turn(0.3), torch.tensor([1.0, -0.4], dtype=torch.float64)
    states = torch.tensor(played(0.3, count - 1), dtype=torch.float64)
    found = linear_games.average(matrix, start, count)
    torch.testing.assert_close(found, states.mean(dim=0))
    assert len(states) == count


def test_the_average_ends_in_the_middle_though_no_state_does() -> None:
    """Its distance falls like one over the turns; the states' distance does not fall."""
    matrix, start = linear_games.turn(0.3), torch.tensor([1.0, -0.4], dtype=torch.float64)
    states = torch.tensor(played(0.3, 4_000), dtype=torch.float64).norm(dim=1)
    assert states[-50:].max().item() == pytest.approx(states[:50].max().item(), rel=0.02)
    for count in (20, 100, 1_000, 4_000):
        assert linear_games.average(matrix, start, count).norm() < 8 / count


@pytest.mark.parametrize(("decay", "step"), [(0.9, 0.2), (0.99, 0.2), (0.95, 1.2)])
def test_a_moving_average_shrinks_the_circle(decay: float, step: float) -> None:
    """eq:stable-moving: the settled average's ellipse over the states' ellipse, by playing."""
    angle = math.acos(1 - step**2 / 2)
    mean, sizes = torch.zeros(2, dtype=torch.float64), []
    for x, y in played(step, 6_000)[1:]:
        mean = decay * mean + (1 - decay) * torch.tensor([x, y], dtype=torch.float64)
        a, b = mean.tolist()
        sizes.append(math.sqrt(a * a + b * b - step * a * b))
    own = math.sqrt(1 + 0.16 + step * 0.4)
    assert sizes[-1] / own == pytest.approx(linear_games.moving_gain(decay, angle), rel=1e-6)


@pytest.mark.parametrize(("step", "momentum"), [(0.3, 0.5), (0.3, -0.3), (1.1, 0.9), (0.1, 0.2)])
def test_momentum_stretches_or_shrinks_the_circle(step: float, momentum: float) -> None:
    """eq:stable-momentum: the growth of a game that is played, with averaged gradients."""
    x, y, m, n, logs = 1.0, -0.4, 0.0, 0.0, []
    for _ in range(6_000):
        m = momentum * m + (1 - momentum) * y
        x -= step * m
        n = momentum * n + (1 - momentum) * x
        y += step * n
        size = math.sqrt(x * x + y * y + m * m + n * n)
        logs.append(math.log(size))
        x, y, m, n = (v / size for v in (x, y, m, n))
    found = linear_games.momentum_radius(step, momentum)
    assert math.log(found) == pytest.approx(sum(logs[2_000:]) / 4_000, abs=2e-4)
    assert (found > 1) == (momentum > 0)
    assert linear_games.momentum_radius(step, 0.0) == pytest.approx(1)


def flow(ratio: float, curvature: float, state: Tensor, seconds: float) -> Tensor:
    """Return where the gradient flow leads, in 50,000 tiny steps of the two derivatives."""
    x, y = state.tolist()
    tiny = seconds / 50_000
    for _ in range(50_000):
        x, y = x - tiny * y, y + tiny * ratio * (x - curvature * y)
    return torch.tensor([x, y], dtype=torch.float64)


def test_the_flow_is_both_gradients_at_their_own_rates() -> None:
    """eq:stable-flow: the matrix's exponential against a crawl along dV/dx and dV/dy."""
    start = torch.tensor([0.8, -0.5], dtype=torch.float64)
    for ratio, curvature in ((3.0, 0.7), (0.4, 1.3)):
        matrix = linear_games.two_scales(ratio, curvature)
        exact = torch.as_tensor(scipy.linalg.expm(1.5 * matrix.numpy())) @ start
        crawled = flow(ratio, curvature, start, 1.5)
        torch.testing.assert_close(crawled, exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("curvature", [0.3, 1.0, 2.5])
def test_the_slowest_rate_is_an_eigenvalues(curvature: float) -> None:
    """eq:stable-rate: minus the largest real part; best at ratio 4 / c^2, where it is 2 / c."""
    ratios = [0.01, 0.5, 1.0, 4.0, 30.0, 1_000.0]
    for ratio in ratios:
        values = torch.linalg.eigvals(linear_games.two_scales(ratio, curvature))
        slowest = -values.real.max().item()
        assert linear_games.slowest_rate(ratio, curvature) == pytest.approx(slowest, rel=1e-9)
    best = 4 / curvature**2
    assert linear_games.slowest_rate(best, curvature) == pytest.approx(2 / curvature)
    for other in (0.9 * best, 1.1 * best):
        assert linear_games.slowest_rate(other, curvature) < 2 / curvature
    assert linear_games.slowest_rate(1e9, curvature) == pytest.approx(1 / curvature, rel=1e-6)


def test_impossible_games_are_refused() -> None:
    """Steps that fly apart, rates that do not move, averages over nothing."""
    for step in (0.0, 2.0, -0.1):
        with pytest.raises(ValueError, match="between 0 and 2"):
            linear_games.turn(step)
    with pytest.raises(ValueError, match="must be positive"):
        linear_games.two_scales(0.0, 1.0)
    with pytest.raises(ValueError, match="must be positive"):
        linear_games.two_scales(1.0, -1.0)
    for step, momentum in ((0.0, 0.5), (2.0, 0.5), (0.3, 1.0), (0.3, -1.0)):
        with pytest.raises(ValueError, match="momentum in"):
            linear_games.momentum_radius(step, momentum)
    with pytest.raises(ValueError, match="at least 1"):
        linear_games.average(linear_games.turn(0.3), torch.zeros(2, dtype=torch.float64), 0)
