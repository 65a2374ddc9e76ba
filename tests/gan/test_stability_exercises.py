"""The solutions of the exercises in book/gan/stability.md, each with its own judge."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from litgen.gan import losses
from litgen.gan.minibatch import MinibatchDiscrimination
from litgen.gan.stability import smoothed_loss, smoothed_optimum


def settled_loss(real_target: float) -> float:
    """Return the critic's loss, in nats, where samples are as the data and it is at its best."""
    d = real_target / 2  # what it says everywhere
    return -real_target * math.log(d) - (2 - real_target) * math.log(1 - d)


def packed_distance(kept: int, modes: int, pack: int) -> float:
    """Return the total variation between packs of data and of samples that miss some modes.

    Data are spread evenly over ``modes`` places, samples over ``kept`` of them; points of a pack
    are drawn independently.
    """
    return 1 - (kept / modes) ** pack


def power_steps(ratio: float, error: float) -> int:
    """Return how many power steps bring sigma within a relative error, from a middling start.

    Args:
        ratio: the second singular value over the largest.
        error: allowed, relative.
    """
    # from a start with equal shares, tan^2 of the angle after n steps of u is ratio^(4 n)
    n = 0
    while True:
        tangent = ratio ** (4 * n)
        # u'W W'u = sigma^2 (1 + ratio^2 tangent) / (1 + tangent)
        if 1 - math.sqrt((1 + ratio**2 * tangent) / (1 + tangent)) <= error:
            return n
        n += 1


def historical_game(step: float, weight: float, turns: int) -> list[float]:
    """Return the distances from the middle in V = xy, each player held to its own past mean.

    Each loss has ``weight`` times the squared distance of the player's number from the mean of
    all its earlier ones.
    """
    x, y, mean_x, mean_y, found = 1.0, -0.4, 1.0, -0.4, []
    for turn in range(1, turns + 1):
        x -= step * (y + 2 * weight * (x - mean_x))
        y += step * (x - 2 * weight * (y - mean_y))
        mean_x += (x - mean_x) / (turn + 1)
        mean_y += (y - mean_y) / (turn + 1)
        found.append(math.hypot(x, y))
    return found


class PackReader(nn.Module):
    """A critic of points that sees, beside each, how close the batch's other points lie."""

    def __init__(self, kernels: int):
        super().__init__()
        last: list[nn.Module] = [MinibatchDiscrimination(16, kernels, 3)] if kernels else []
        self.net = nn.Sequential(
            nn.Linear(2, 16), nn.LeakyReLU(0.2), *last, nn.Linear(16 + kernels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return one logit a point."""
        logits: Tensor = self.net(x)
        return logits


def collapse_told(kernels: int, turns: int = 60) -> float:
    """Return the share of points that a critic judges rightly when each fake batch is collapsed.

    Data are normal; a fake batch is one normal point, repeated: point by point the same law.
    """
    torch.manual_seed(0)
    chance = torch.Generator().manual_seed(1)
    critic = PackReader(kernels)
    adam = torch.optim.Adam(critic.parameters(), lr=2e-2, fused=True)
    right = []
    for _ in range(turns + 20):
        real = torch.randn(16, 2, generator=chance)
        fake = torch.randn(1, 2, generator=chance).expand(16, 2)
        real_logits, fake_logits = critic(real), critic(fake)
        right.append(((real_logits > 0).float().mean() + (fake_logits < 0).float().mean()) / 2)
        adam.zero_grad()
        losses.discriminator_loss(real_logits, fake_logits).backward()
        adam.step()
    return torch.stack(right[turns:]).mean().item()


def test_the_settled_loss_is_the_lowest() -> None:
    """Exercise 1: on equal tables, what the best critic's loss is; 2 log 2 without smoothing."""
    assert settled_loss(1.0) == pytest.approx(2 * math.log(2))
    log_p = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64).log()
    places = torch.repeat_interleave(torch.arange(3), torch.tensor([2, 3, 5]))
    best = smoothed_optimum(log_p, log_p, 0.8)[places]
    assert smoothed_loss(best, best, 0.8).item() == pytest.approx(settled_loss(0.8))
    for shift in (-0.1, 0.1):
        assert smoothed_loss(best + shift, best + shift, 0.8).item() > settled_loss(0.8)


@pytest.mark.parametrize(("kept", "modes", "pack"), [(1, 3, 2), (2, 3, 3), (4, 5, 1), (3, 4, 4)])
def test_the_packed_distance_is_a_sum_over_packs(kept: int, modes: int, pack: int) -> None:
    """Exercise 2: half the sum of |p - q| over every pack that there is."""
    total = 0.0
    for places in itertools.product(range(modes), repeat=pack):
        q = 1 / kept**pack if max(places) < kept else 0.0
        total += abs(1 / modes**pack - q)
    assert packed_distance(kept, modes, pack) == pytest.approx(total / 2)


@pytest.mark.parametrize(("ratio", "error"), [(0.9, 1e-2), (0.99, 1e-3), (0.5, 1e-6)])
def test_power_steps_are_enough_and_no_more(ratio: float, error: float) -> None:
    """Exercise 3: played with a diagonal matrix and a start of equal shares."""
    w = torch.diag(torch.tensor([1.0, ratio], dtype=torch.float64))
    u = torch.ones(2, dtype=torch.float64) / 2**0.5
    errors = []
    for _ in range(power_steps(ratio, error) + 1):
        errors.append(1 - (w.T @ u).norm().item())  # sigma as the step from u finds it
        u = w @ (w.T @ u)
        u = u / u.norm()
    assert errors[-1] <= error
    assert all(e > error for e in errors[:-1])
    assert len(errors) > 3


def test_a_past_to_be_held_to_ends_the_circling() -> None:
    """Exercise 4: without the weight the distance stays, with it the game ends in the middle."""
    free, held = (historical_game(0.1, weight, 4_000) for weight in (0.0, 0.5))
    assert min(free[-200:]) > 0.8
    assert held[-1] < 0.1 * held[0]
    assert min(held[:40]) > 0.3


def test_only_a_batchs_reader_tells_collapse() -> None:
    """Exercise 5: at chance without closeness, nearly always right with it."""
    assert collapse_told(0) < 0.6
    assert collapse_told(4) > 0.9
