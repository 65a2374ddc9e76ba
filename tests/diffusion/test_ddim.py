"""Proof for litgen/diffusion/ddim.py: DDPM's step, the exact flow of a Gaussian, marginals."""

import itertools
import math
from collections.abc import Callable

import pytest
import scipy.integrate
import torch
from torch import Tensor

from litgen.diffusion import ddim, ddpm, schedule
from litgen.diffusion.ddpm import Denoised
from litgen.diffusion.known import GaussianMixture

Draw = Callable[..., Tensor]
FEW = schedule.from_betas(torch.tensor([0.1, 0.3, 0.4, 0.6, 0.8], dtype=torch.float64))
FINE = schedule.cosine(1_000)
MEAN, SCALE = 0.8, 0.5
DATA = GaussianMixture(torch.ones(1).double(), torch.tensor([[MEAN]]).double(), SCALE)


def exact_model(x_t: Tensor, t: Tensor) -> Tensor:
    """Return the mean noise in x_t for Gaussian data, on the fine schedule."""
    return DATA.noise(x_t, t, FINE)


def exact_end(x_t: Tensor) -> Tensor:
    """Return where the deterministic flow takes x_T: the point of the same quantile."""
    last = FINE.alpha_bar[-1]
    return MEAN + SCALE * (x_t - last.sqrt() * MEAN) / (last * SCALE**2 + 1 - last).sqrt()


def test_times_fall_from_the_last_to_zero() -> None:
    """Whole numbers, no repetition, evenly spaced to within one."""
    assert ddim.times(FEW, 5) == [5, 4, 3, 2, 1, 0]
    assert ddim.times(FEW, 1) == [5, 0]
    found = ddim.times(FINE, 30)
    gaps = [a - b for a, b in itertools.pairwise(found)]
    assert (found[0], found[-1], len(found)) == (1_000, 0, 31)
    assert set(gaps) <= {33, 34}


@pytest.mark.parametrize("t", [1, 2, 3, 5])
def test_eta_1_is_ddpms_step(t: int, normal: Draw) -> None:
    """eq:ddim-step, eq:ddim-sigma: with eta 1 and one step down, the same state to rounding."""
    x, noise, fresh = normal(4, 3), normal(4, 3), normal(4, 3)
    times = torch.full((4,), t)
    x_t = ddpm.diffuse(x, times, noise, FEW)
    expected = ddpm.reverse_step(x, x_t, times, fresh, FEW)
    found = ddim.step(Denoised(x, noise), t, t - 1, FEW, 1.0, fresh)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize(("t", "s"), [(5, 2), (4, 3), (3, 1), (2, 0)])
def test_every_member_has_the_same_marginals(eta: float, t: int, s: int, normal: Draw) -> None:
    """eq:ddim-step: given x, the law of x_s is that of the forward process, for every eta.

    The step is linear in the two noises, so its coefficients give the variance: their squares
    add up to 1 - alpha_bar[s].
    """
    x, one, zero = normal(1, 1), torch.ones(1, 1).double(), torch.zeros(1, 1).double()
    by_x = ddim.step(Denoised(x, zero), t, s, FEW, eta, zero)
    by_old = ddim.step(Denoised(zero, one), t, s, FEW, eta, zero)
    by_new = ddim.step(Denoised(zero, zero), t, s, FEW, eta, one)
    torch.testing.assert_close(by_x, FEW.alpha_bar[s].sqrt() * x)
    torch.testing.assert_close(by_old**2 + by_new**2, (1 - FEW.alpha_bar[s]).view(1, 1))
    assert (by_new > 0).item() == (eta > 0 and s > 0)


def test_sigma_between_distant_times_is_the_posteriors() -> None:
    """eq:ddim-sigma: eta times the standard deviation of q(x_s | x_t, x), by precisions."""
    now, then = 0.9 * 0.7 * 0.6 * 0.4, 0.9 * 0.7
    share = now / then
    precision = 1 / (1 - then) + share / (1 - share)
    assert ddim.sigma(FEW, 4, 2, 1.0) == pytest.approx(1 / math.sqrt(precision))
    assert ddim.sigma(FEW, 4, 2, 0.3) == pytest.approx(0.3 / math.sqrt(precision))


def errors(counts: list[int]) -> list[float]:
    """Return the greatest distance from the exact flow's end for each number of steps."""
    x_t = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    found = []
    for count in counts:
        *_, x = ddim.trajectory(exact_model, x_t, FINE, ddim.times(FINE, count))
        found.append((x - exact_end(x_t)).abs().max().item())
    return found


def test_the_error_falls_with_the_step() -> None:
    """eq:ddim-step: order 1: twice the steps, half the error, on a Gaussian."""
    found = errors([10, 20, 40, 80])
    assert found[0] > 0.01
    for coarse, fine in itertools.pairwise(found):
        assert 1.7 < coarse / fine < 2.5


def test_the_deterministic_trajectory_draws_nothing(normal: Draw) -> None:
    """eta 0 is a function of x_T; eta 1 is not."""
    x_t, times = normal(5, 1), ddim.times(FINE, 20)
    first, again = (list(ddim.trajectory(exact_model, x_t, FINE, times)) for _ in range(2))
    assert len(first) == 20
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a, b)
    ends = []
    for seed in (0, 1):
        generator = torch.Generator().manual_seed(seed)
        *_, end = ddim.trajectory(exact_model, x_t, FINE, times, 1.0, generator)
        ends.append(end)
    assert (ends[0] - ends[1]).abs().min() > 1e-3


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_all_members_return_the_datas_mean_and_variance(eta: float) -> None:
    """With the exact denoiser and many steps, whatever eta."""
    generator = torch.Generator().manual_seed(2)
    x_t = torch.randn(40_000, 1, generator=generator, dtype=torch.float64)
    times = ddim.times(FINE, 250)
    *_, x = ddim.trajectory(exact_model, x_t, FINE, times, eta, generator)
    assert (x.mean() - MEAN).abs() < 0.02
    assert (x.std() / SCALE - 1).abs() < 0.03


def test_encoding_leads_back(normal: Draw) -> None:
    """eq:ddim-encode: to the noise of the same quantile, at order 1, and forth again."""
    x = MEAN + SCALE * torch.linspace(-2, 2, 7, dtype=torch.float64)[:, None]
    last = FINE.alpha_bar[-1]
    exact = last.sqrt() * MEAN + (last * SCALE**2 + 1 - last).sqrt() * (x - MEAN) / SCALE
    off = []
    for count in (50, 100, 200):
        code = ddim.encode(exact_model, x, FINE, ddim.times(FINE, count))
        off.append((code - exact).abs().max().item())
    assert off[0] > 0.01
    assert off[2] < 0.6 * off[1] < 0.36 * off[0] * 1.2
    *_, again = ddim.trajectory(exact_model, code, FINE, ddim.times(FINE, 200))
    assert (again - x).abs().max() < 0.05


@pytest.mark.parametrize(("t", "s"), [(900, 0), (700, 250), (0, 600)])
def test_the_flow_of_a_gaussian_solves_the_ode(t: int, s: int) -> None:
    """eq:ddim-gaussian-flow: scipy integrates dx/dr = noise in r = sqrt(1/alpha_bar - 1)."""
    mean, scale = torch.tensor([0.8, -1.3]).double(), 0.5
    x_t = torch.tensor([[1.5, 0.2], [-2.0, 0.7]]).double()
    found = ddim.gaussian_flow(x_t, t, s, mean, scale, FINE)
    now, then = float(FINE.alpha_bar[t]), float(FINE.alpha_bar[s])
    ends = [math.sqrt(1 / share - 1) for share in (now, then)]
    for row, expected in zip(x_t, found, strict=True):
        for i in range(2):
            m = mean[i].item()
            solved = scipy.integrate.solve_ivp(
                lambda r, y, m=m: r * (y - m) / (scale**2 + r**2),  # E[noise | y], by regression
                ends,
                [row[i].item() / math.sqrt(now)],
                rtol=1e-10,
                atol=1e-12,
            )
            assert solved.y[0, -1] * math.sqrt(then) == pytest.approx(expected[i].item(), abs=1e-7)
    assert (found - x_t).abs().max() > 0.3


def test_the_arc_turns_at_constant_speed(normal: Draw) -> None:
    """eq:ddim-spherical: in the plane, angles and lengths by hand; ends; batches of images."""
    start, end = torch.tensor([[2.0, 0.0]]).double(), torch.tensor([[-1.0, math.sqrt(3)]]).double()
    for share in (0.0, 0.25, 0.5, 1.0):
        angle = share * 2 * math.pi / 3
        expected = torch.tensor([[2 * math.cos(angle), 2 * math.sin(angle)]]).double()
        torch.testing.assert_close(ddim.spherical(start, end, share), expected)
    one, other = normal(3, 1, 20, 20), normal(3, 1, 20, 20)
    torch.testing.assert_close(ddim.spherical(one, other, 0.0), one)
    torch.testing.assert_close(ddim.spherical(one, other, 1.0), other)
    middle = ddim.spherical(one, other, 0.5)
    straight = (one + other) / 2
    assert (middle.flatten(1).norm(dim=1) / 20 - 1).abs().max() < 0.1
    assert (straight.flatten(1).norm(dim=1) / 20).max() < 0.8
    each = torch.cat(
        [ddim.spherical(a[None], b[None], 0.3) for a, b in zip(one, other, strict=True)]
    )
    torch.testing.assert_close(ddim.spherical(one, other, 0.3), each)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_clipping_keeps_guess_and_noise_together(side: float) -> None:
    """The cut guess, at either end, and the noise that goes with it still make up x_t."""
    x_t = torch.tensor([[6.0 * side]], dtype=torch.float64)
    (state,) = ddim.trajectory(exact_model, x_t, FINE, [400, 200], clip=0.7)
    now, then = FINE.alpha_bar[400], FINE.alpha_bar[200]
    noise = (x_t - now.sqrt() * 0.7 * side) / (1 - now).sqrt()
    torch.testing.assert_close(state, then.sqrt() * 0.7 * side + (1 - then).sqrt() * noise)


def test_bad_input(unchecked: None) -> None:
    """Steps that do not go down, too many of them, noise that is missing."""
    guess = Denoised(torch.zeros(1, 1), torch.zeros(1, 1))
    for count in (0, 6):
        with pytest.raises(ValueError, match=r"1\.\.5"):
            ddim.times(FEW, count)
    for t, s in ((2, 2), (1, 3), (6, 1), (2, -1)):
        with pytest.raises(ValueError, match="0 <= s < t"):
            ddim.step(guess, t, s, FEW)
    with pytest.raises(ValueError, match="eta"):
        ddim.step(guess, 2, 1, FEW, -0.1)
    with pytest.raises(ValueError, match="needs noise"):
        ddim.step(guess, 2, 1, FEW, 0.5)
    for end in (2.0, -1.0):
        with pytest.raises(ValueError, match="different directions"):
            ddim.spherical(torch.ones(1, 3), end * torch.ones(1, 3), 0.5)
